//! The launcher's child half: confines itself, step by step, and becomes the program. docs/sandbox.md holds the same steps under
//! the same numbers.
//!
//! Each step either does what it says or ends the start; nothing is passed over except what [`crate::wire::Entry`] reports.

pub(crate) mod paths;
pub(crate) mod privileges;
pub(crate) mod tree;

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, chdir, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use crate::error::{AtStep, Step, StepError};
use crate::jail::{Jail, Level};
use crate::seccomp::{FilterPlan, launcher_filter};
use crate::wire::{self, Entry, Word};
use crate::{bpf, landlock_rules, sys};

/// What the parent half hands down.
pub(crate) struct Entrance {
    /// The monitor's pidfd, readable once it is dead.
    pub(crate) monitor: OwnedFd,
    /// Whether steps 4 and 5 made a user namespace.
    pub(crate) user_namespace: bool,
}

/// Confines this process and starts the program. Returns only with what failed.
pub(crate) fn enter(jail: &Jail, entrance: &Entrance, control: OwnedFd, status: &OwnedFd) -> StepError {
    match confine(jail, entrance, control, status) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn confine(jail: &Jail, entrance: &Entrance, control: OwnedFd, status: &OwnedFd) -> Result<Infallible, StepError> {
    sys::reset_signals();
    // 7. Dies when the monitor does.
    die_with_monitor(&entrance.monitor)?;
    // 8. The control groups come before everything that can use memory or make processes.
    join_cgroups(jail)?;
    // 9. to 12. What exists: namespaces, file tree, /proc, host name.
    let (mounts, proc_missing) = if jail.level == Level::L2 {
        own_namespaces(jail)?;
        let tree = tree::enter(jail)?;
        sys::sethostname("pegboard").at(Step::Hostname, "sethostname")?;
        (tree.mounts, tree.proc_missing)
    } else {
        let wanted: &[_] = if jail.level == Level::L1 { &jail.mounts } else { &[] };
        (paths::resolve_all(wanted)?, None)
    };
    // 13. Standard descriptors and the control socket.
    arrange_descriptors(jail, &control)?;
    drop(control);
    // 14. Limits.
    privileges::set_limits(jail)?;
    let proc_mounted = jail.level == Level::L2 && proc_missing.is_none();
    let rules = if jail.level >= Level::L1 { Some(landlock_rules::prepare(jail, &mounts, proc_mounted)?) } else { None };
    // 15. and 16. Who: capabilities, user and groups.
    let has_identity = jail.identity.is_some();
    if jail.level >= Level::L1 {
        privileges::drop_bounding_set()?;
    }
    if let Some(identity) = jail.identity {
        privileges::take_identity(identity)?;
        // The change of user cleared it.
        die_with_monitor(&entrance.monitor)?;
    }
    if jail.level >= Level::L1 {
        privileges::drop_capabilities()?;
        // 17. No way back up, and no reading of this process's memory by others of its user.
        privileges::seal()?;
    }
    // 18. Working folder.
    if !jail.probe {
        chdir(&jail.workdir).at(Step::WorkingFolder, &format!("chdir `{}`", jail.workdir.display()))?;
    }
    // 19. Landlock.
    let abi = rules.map(landlock_rules::enforce).transpose()?.unwrap_or(0);
    drop(mounts);
    let entry = describe(jail, entrance, abi, proc_missing.as_deref(), has_identity);
    // 20. The system call filter, and with it everything is in force; 21. the program.
    start(jail, status, entry, abi)
}

/// Step 7. The check after the call closes the gap in which the monitor may have died already.
fn die_with_monitor(monitor: &OwnedFd) -> Result<(), StepError> {
    set_parent_process_death_signal(Some(Signal::KILL)).at(Step::DeathSignal, "PR_SET_PDEATHSIG")?;
    let mut fds = [PollFd::new(monitor, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)).at(Step::DeathSignal, "poll")? {
        0 => Ok(()),
        _ => Err(StepError::new(Step::DeathSignal, "the monitor is gone")),
    }
}

/// Step 8. Also first in line when the whole machine runs out of memory.
fn join_cgroups(jail: &Jail) -> Result<(), StepError> {
    for procs in &jail.cgroups {
        std::fs::write(procs, "0").at(Step::Cgroup, &format!("join `{}`", procs.display()))?;
    }
    // A wish, not a wall: without /proc there is no such file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Step 9. The cgroup namespace comes after joining, so that the group is its root.
fn own_namespaces(jail: &Jail) -> Result<(), StepError> {
    use UnshareFlags as F;
    let network = if jail.network { F::empty() } else { F::NEWNET };
    sys::unshare(F::NEWNS | F::NEWIPC | F::NEWUTS | F::NEWCGROUP | network).at(Step::OwnNamespaces, "unshare")
}

/// Step 13. 0 is empty (or the control descriptor, for a program that reads its orders there), 1 and 2 are the pipes the server reads, 3 is the control socket; all others close when the program
/// starts.
fn arrange_descriptors(jail: &Jail, control: &OwnedFd) -> Result<(), StepError> {
    if jail.control_is_input {
        sys::dup_onto(control.as_fd(), 0).at(Step::Descriptors, "dup2")?;
        return sys::cloexec_from(3).at(Step::Descriptors, "close_range");
    }
    let null = File::open("/dev/null").at(Step::Descriptors, "open /dev/null")?;
    sys::dup_onto(null.as_fd(), 0).at(Step::Descriptors, "dup2")?;
    drop(null);
    sys::dup_onto(control.as_fd(), 3).at(Step::Descriptors, "dup2")?;
    sys::cloexec_from(4).at(Step::Descriptors, "close_range")
}

fn describe(jail: &Jail, entrance: &Entrance, abi: i32, proc_missing: Option<&str>, has_identity: bool) -> Entry {
    let signals_confined = match jail.level {
        Level::L0 => false,
        Level::L1 => abi >= 6 || has_identity,
        Level::L2 => true,
    };
    let mut notes = Vec::new();
    notes.extend(proc_missing.map(str::to_owned));
    if jail.level == Level::L1 {
        notes.push("whether a path of the host exists, and its size and times, can be seen (L1)".into());
        notes.push("the scratch folder's total size is not limited (L1), only the size of one file".into());
    }
    if jail.level == Level::L2 && !has_identity {
        notes.push("supplementary groups cannot be dropped by an ordinary user".into());
    }
    if !signals_confined && jail.level == Level::L1 {
        notes.push("Landlock is older than ABI 6: sending signals is refused altogether".into());
    }
    Entry {
        level: jail.level,
        landlock_abi: abi,
        user_namespace: entrance.user_namespace,
        proc_mounted: jail.level == Level::L2 && proc_missing.is_none(),
        signals_confined,
        notes,
    }
}

/// Steps 20 and 21. Everything that allocates is done before the memory limits, which come before the filter.
fn start(jail: &Jail, status: &OwnedFd, entry: Entry, abi: i32) -> Result<Infallible, StepError> {
    let c_string = |text: String| CString::new(text).at(Step::Exec, "argv or env");
    let argv = jail.argv.iter().cloned().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let env = jail.env.iter().map(|(k, v)| c_string(format!("{k}={v}"))).collect::<Result<Vec<_>, _>>()?;
    let program = argv.first().cloned().unwrap_or_default();
    let (argv, env) = (sys::StringArray::new(argv), sys::StringArray::new(env));
    let filter = (jail.level >= Level::L1).then(|| launcher_filter(filter_plan(jail, abi)));
    let failed = format!("exec `{}`", program.to_string_lossy());
    privileges::set_memory_limits(jail)?;
    if let Some(filter) = &filter {
        bpf::install(filter).at(Step::Seccomp, "seccomp")?;
    }
    if jail.probe {
        privileges::prove(jail)?;
    }
    wire::write_line(status, &Word::Entered(entry));
    if jail.probe {
        sys::exit_now(0);
    }
    sys::execve(&program, &argv, &env).at(Step::Exec, &failed)
}

fn filter_plan(jail: &Jail, abi: i32) -> FilterPlan {
    FilterPlan {
        network: jail.network,
        sees_host: jail.level < Level::L2,
        shares_user: jail.level < Level::L2 && !jail.identity.is_some_and(|identity| identity.exclusive),
        signals_scoped: abi >= 6,
        truncate_governed: abi >= 3,
    }
}
