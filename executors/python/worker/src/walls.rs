//! The walls that close after the interpreter has started. They only tighten what the launcher has set up; nothing here can
//! loosen, so a plugin that calls these functions gains nothing.

use std::{
    ffi::{c_int, c_ulong},
    io, mem,
};

use pyo3::prelude::*;

use crate::bpf;

/// Landlock rights by name (include/uapi/linux/landlock.h).
mod right {
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const REMOVE_AND_MAKE: u64 = 0b1_1111_1111 << 4;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
}

const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
const LANDLOCK_RULE_PATH_BENEATH: c_int = 1;
/// Abstract unix sockets and signals: each call is a scope of its own, so that it can't reach the next call's process.
const LANDLOCK_SCOPES: u64 = 0b11;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

pub(crate) fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forbids execve for this process and all that it forks, and hides its memory from siblings. The zygote calls it before the
/// first plugin byte runs (`.pth` files and `sitecustomize` included).
#[pyfunction]
pub(crate) fn forbid_exec() -> PyResult<()> {
    hide_memory()?;
    bpf::install(&bpf::no_exec_filter())?;
    Ok(())
}

/// The last walls of a call: limits, its own scratch folder, no new process.
///
/// `limits` are `(resource, value)` pairs, set soft and hard. `readable` and `writable` are `O_PATH` descriptors of the folders
/// that the call may see; anything else, such as another call's scratch folder, is closed by Landlock. An empty `writable` with an
/// empty `readable` leaves the file view as the launcher made it.
#[pyfunction]
pub(crate) fn enter_call(
    limits: Vec<(u32, u64)>,
    readable: Vec<c_int>,
    writable: Vec<c_int>,
    parent: c_int,
    may_fork: bool,
) -> PyResult<()> {
    Ok(Walls::new(readable, writable, may_fork).enter(&limits, None, parent)?)
}

/// The walls of a plugin's calls, made before the fork: a child that allocates writes pages that it shares until then.
pub(crate) struct Walls {
    readable: Vec<c_int>,
    writable: Vec<c_int>,
    no_fork: Option<Vec<bpf::SockFilter>>,
}

impl Walls {
    pub(crate) fn new(readable: Vec<c_int>, writable: Vec<c_int>, may_fork: bool) -> Self {
        Self { readable, writable, no_fork: (!may_fork).then(bpf::no_fork_filter) }
    }

    /// As [`enter_call`], without Python: between a fork and the interpreter's own clean-up nothing else may run. `own` is the call's
    /// scratch folder.
    pub(crate) fn enter(&self, limits: &[(u32, u64)], own: Option<c_int>, parent: c_int) -> io::Result<()> {
        hide_memory()?;
        // SAFETY: plain integers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong) }.into())?;
        // SAFETY: takes nothing.
        if parent != 0 && unsafe { libc::getppid() } != parent {
            return Err(io::Error::other("the zygote is gone"));
        }
        for (resource, value) in limits {
            lower_limit(*resource, *value)?;
        }
        if own.is_some() || !(self.readable.is_empty() && self.writable.is_empty()) {
            self.narrow_files(own)?;
        }
        match &self.no_fork {
            Some(filter) => bpf::install(filter),
            None => Ok(()),
        }
    }
}

fn hide_memory() -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as c_ulong) }.into())?;
    Ok(())
}

/// Sets both limits to `value`, or to the hard limit where that is lower already.
fn lower_limit(resource: u32, value: u64) -> io::Result<()> {
    // SAFETY: an all-zero rlimit is valid, and the call only writes into it.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: `limit` is a valid rlimit to write into.
    check(unsafe { libc::getrlimit(resource as _, &raw mut limit) }.into())?;
    let value = value.min(limit.rlim_max);
    limit.rlim_cur = value;
    limit.rlim_max = value;
    // SAFETY: `limit` is initialised.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) }.into())?;
    Ok(())
}

impl Walls {
    fn narrow_files(&self, own: Option<c_int>) -> io::Result<()> {
        // SAFETY: the version query takes no attribute.
        let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, LANDLOCK_CREATE_RULESET_VERSION) };
        let abi = check(abi)?;
        let read = right::READ_FILE | right::READ_DIR;
        let mut all = read | right::WRITE_FILE | right::REMOVE_AND_MAKE;
        if abi >= 2 {
            all |= right::REFER;
        }
        if abi >= 3 {
            all |= right::TRUNCATE;
        }
        let attr =
            RulesetAttr { handled_access_fs: all, handled_access_net: 0, scoped: if abi >= 6 { LANDLOCK_SCOPES } else { 0 } };
        // SAFETY: `attr` is initialised and its size is given. Kernels accept a longer one whose unknown end is zero.
        let ruleset =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, mem::size_of::<RulesetAttr>(), 0u32) };
        let ruleset = check(ruleset)?;
        let writable = own.iter().chain(&self.writable).map(|fd| (*fd, all));
        let mut rules = self.readable.iter().map(|fd| (*fd, read)).chain(writable);
        let added = rules.try_for_each(|(parent_fd, allowed_access)| add_rule(ruleset, parent_fd, allowed_access));
        // SAFETY: `ruleset` is ours.
        let entered = added.and_then(|()| check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0u32) }));
        // SAFETY: `ruleset` is ours and not used again.
        unsafe { libc::close(ruleset as c_int) };
        entered.map(|_| ())
    }
}

fn add_rule(ruleset: i64, parent_fd: c_int, allowed_access: u64) -> io::Result<()> {
    let rule = PathBeneathAttr { allowed_access, parent_fd };
    // SAFETY: `rule` is initialised and outlives the call.
    let added = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0u32) };
    match check(added) {
        Ok(_) => Ok(()),
        // A file, not a folder: only the rights that a file can have.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let file = right::READ_FILE | right::WRITE_FILE | right::TRUNCATE;
            let rule = PathBeneathAttr { allowed_access: allowed_access & file, parent_fd };
            // SAFETY: as above.
            check(unsafe {
                libc::syscall(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0u32)
            })?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A time of the kernel's in microseconds.
pub(crate) fn micros(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

/// CPU time in microseconds and the largest resident size in KiB of this process.
#[pyfunction]
pub(crate) fn usage() -> PyResult<(u64, u64)> {
    // SAFETY: an all-zero rusage is valid, and the call only writes into it.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is a valid rusage to write into.
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }.into())?;
    Ok((micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss as u64))
}
