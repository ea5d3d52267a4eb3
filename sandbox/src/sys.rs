//! System calls that `rustix` does not wrap, each as a safe function. All other unsafe code of the launcher is `fork` and
//! `execve`.
#![allow(unsafe_code, reason = "thin wrappers over system calls without a safe binding; each block says why it is sound")]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sets flags on a mount, and on all mounts below it when `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attr = MountAttr { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = (libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 }) as libc::c_uint;
    // SAFETY: the path is a NUL-terminated constant, and `attr` is a live `struct mount_attr` of the size given (VER0, 32 bytes).
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
    })
    .map(drop)
}

/// Sets the host name of the uts namespace.
pub(crate) fn sethostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are those of a live string.
    check(unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), name.len()) }).map(drop)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: integers only. The callers hold no owned descriptor at or above `first`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0 as libc::c_uint) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed at exec.
pub(crate) fn cloexec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: integers only; no descriptor is closed by this call.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Makes `target` refer to what `fd` does, open across exec. `target` is below the descriptors that this process owns.
pub(crate) fn dup_onto(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: integers only. Callers use targets 0 to 3, which no `OwnedFd` of the launcher holds at that point.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// The descriptor that the parent handed over as `fd` (0, 1 or 2).
pub(crate) fn take_standard_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: called once per standard descriptor, at the launcher's start; nothing else closes it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What `fork` returned.
pub(crate) enum Forked {
    /// In the new process.
    Child,
    /// In the old one, with the new one's id.
    Parent(libc::pid_t),
}

/// Forks. The launcher has one thread, so the child may do anything the parent could.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: the launcher never starts a thread, so no lock can be held by a thread that the child lacks.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as libc::pid_t)),
    }
}

/// A NULL-terminated array of C strings, for `execve`.
pub(crate) struct StringArray {
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringArray {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

/// Becomes another program. Returns only on failure.
pub(crate) fn execve(program: &CStr, argv: &StringArray, env: &StringArray) -> io::Result<Infallible> {
    // SAFETY: both arrays end in NULL and point at strings that `StringArray` keeps alive.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Ends this process at once: no destructors, no exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Gives every signal its default action and unblocks all: an ignored or blocked signal survives exec, and the Rust runtime
/// ignores SIGPIPE.
pub(crate) fn reset_signals() {
    // `struct sigaction` as the kernel has it, all zero: the default action. The C library's own call keeps two numbers to
    // itself.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the buffer is as large as the kernel's structure; SIG_DFL is valid for every signal, and refusals are fine.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u8>(), 8_usize) };
    }
    set_signal_mask(false);
}

/// Blocks SIGCHLD alone, or nothing.
pub(crate) fn set_signal_mask(child_signal_blocked: bool) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is read.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        if child_signal_blocked {
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        }
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// A descriptor that becomes readable when a child changes state. SIGCHLD must be blocked.
pub(crate) fn child_signal_fd() -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by `sigemptyset`; the returned descriptor is new and owned by nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Sends a signal to one process, or (`-1`) to all that this process may signal.
pub(crate) fn kill(pid: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// A child that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: libc::pid_t,
    pub(crate) status: libc::c_int,
    pub(crate) usage: Usage,
}

/// What a process and the children it waited for used.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Usage {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_kb: u64,
}

/// Reaps one child of any kind. `None`: none has ended yet (only without `block`). Error ECHILD: there is none at all.
pub(crate) fn reap(block: bool) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both out pointers are live; `rusage` is plain integers, valid when zeroed.
        let pid = unsafe { libc::wait4(-1, &raw mut status, flags, usage.as_mut_ptr()) };
        match check(pid.into()) {
            Ok(0) => return Ok(None),
            Ok(_) => {
                // SAFETY: zeroed above, and filled in by the kernel.
                let usage = unsafe { usage.assume_init() };
                let microseconds =
                    |t: libc::timeval| (t.tv_sec as u64).saturating_mul(1_000_000).saturating_add(t.tv_usec as u64);
                let usage = Usage {
                    user_us: microseconds(usage.ru_utime),
                    system_us: microseconds(usage.ru_stime),
                    peak_kb: usage.ru_maxrss as u64,
                };
                return Ok(Some(Reaped { pid, status, usage }));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Landlock's version on this kernel, 0 when it is missing or switched off.
pub(crate) fn landlock_abi() -> i32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with the version flag the kernel asks for a null pointer and size 0, and writes nothing.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    i32::try_from(answer).unwrap_or(0).max(0)
}

/// Leaves the given namespaces for new ones. The flags name namespaces only, so descriptors and memory stay shared as they were.
pub(crate) fn unshare(namespaces: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: rustix marks this unsafe for CLONE_FILES, which would split the descriptor table; no caller passes it, and there is
    // one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(namespaces) }?)
}
