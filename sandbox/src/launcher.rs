//! The hidden `pegboard __sandbox`: reads a jail, makes the outer namespaces, forks. The parent stays as the monitor
//! (`monitor.rs`); the child confines itself (`enter`) and becomes the program.
//!
//! It runs before any thread exists, with an empty environment, and trusts only what comes over its standard input.

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{PidfdFlags, getegid, geteuid, getpid, getppid, getsid, pidfd_open, setsid, test_kill_process};
use rustix::thread::UnshareFlags;

use crate::enter::{self, Entrance};
use crate::error::{AtStep, Step, StepError};
use crate::jail::{Jail, Level};
use crate::sys::{self, Forked};
use crate::wire::{self, Word};
use crate::{
    landlock_rules,
    monitor::{self, NOT_STARTED},
};

/// Runs the launcher. Standard input is the lifeline: the jail comes over it, and its end is the order to kill everything.
pub fn launcher_main() -> ! {
    let lifeline = sys::take_standard_fd(0);
    // Whatever the parent leaked is gone before anything else happens. 3 is kept occupied until the program's control socket gets
    // there: a descriptor that happened to be opened as 3 would be replaced by it.
    let reserved = sys::close_from(3).and_then(|()| sys::dup_onto(lifeline.as_fd(), 3));
    let code = match reserved.at(Step::ReadJail, "close_range").and_then(|()| receive(&lifeline)) {
        Ok((jail, control, status)) => launch(jail, lifeline, control, status),
        Err(_) => NOT_STARTED,
    };
    sys::exit_now(code)
}

/// Step 1. The descriptors are moved out of the way of 0 to 3, where the program's will be.
fn receive(lifeline: &OwnedFd) -> Result<(Jail, OwnedFd, OwnedFd), StepError> {
    let (jail, control, status) = wire::receive_jail(lifeline.as_fd()).at(Step::ReadJail, "read the jail")?;
    let moved = |fd: OwnedFd| rustix::io::fcntl_dupfd_cloexec(&fd, 10).at(Step::ReadJail, "dup");
    Ok((jail, moved(control)?, moved(status)?))
}

fn launch(jail: Jail, lifeline: OwnedFd, control: OwnedFd, status: OwnedFd) -> i32 {
    match fork_confined(&jail) {
        Ok((Split::Child(entrance), _)) => {
            // Not closed, for the same reason as 3: it is replaced in step 13, before the program starts.
            let _ = lifeline.into_raw_fd();
            let error = enter::enter(&jail, &entrance, control, &status);
            wire::write_line(&status, &Word::Failed(error));
            NOT_STARTED
        }
        Ok((Split::Monitor(child), scope)) => {
            wire::write_line(&status, &Word::Child { pid: child });
            drop((control, status, jail));
            monitor::watch(child, scope, &lifeline)
        }
        Err(error) => {
            wire::write_line(&status, &Word::Failed(error));
            NOT_STARTED
        }
    }
}

enum Split {
    Child(Entrance),
    Monitor(libc::pid_t),
}

/// Steps 2 to 6, up to the fork.
fn fork_confined(jail: &Jail) -> Result<(Split, monitor::Scope), StepError> {
    let root = geteuid().is_root();
    jail.check(root).map_err(|fault| StepError::new(fault.step, fault.what))?;
    own_session()?;
    let scope = match jail.level {
        Level::L2 => monitor::Scope::PidNamespace,
        Level::L1 if enter_signal_scope()? => monitor::Scope::Landlock,
        Level::L0 | Level::L1 => monitor::Scope::Descendants,
    };
    if jail.level == Level::L2 {
        outer_namespaces(root)?;
    }
    monitor::prepare()?;
    let monitor = pidfd_open(getpid(), PidfdFlags::empty()).at(Step::Fork, "pidfd_open")?;
    match sys::fork().at(Step::Fork, "fork")? {
        Forked::Child => Ok((Split::Child(Entrance { monitor, user_namespace: jail.level == Level::L2 && !root }), scope)),
        Forked::Parent(child) => Ok((Split::Monitor(child), scope)),
    }
}

/// Step 2: no controlling terminal, and no process group shared with the server.
fn own_session() -> Result<(), StepError> {
    match setsid() {
        Ok(_) => Ok(()),
        // Already a leader: someone started the launcher by hand.
        Err(_) if getsid(None).is_ok_and(|session| session == getpid()) => Ok(()),
        Err(error) => Err(error).at(Step::Session, "setsid"),
    }
}

/// Step 3 (L1): the monitor shuts itself into a Landlock domain that governs signals alone. What it starts is inside, the rest
/// of the system is not, so that `kill(-1)` reaches exactly its descendants. Since that call would be a catastrophe if the
/// domain did
/// not hold, it is proven: the parent could be signalled before and cannot be after. `false`: not proven, walk the process tree.
fn enter_signal_scope() -> Result<bool, StepError> {
    let Some(parent) = getppid() else { return Ok(false) };
    let before = test_kill_process(parent);
    let entered = landlock_rules::restrict_signals().map_err(|e| StepError::new(Step::MonitorScope, e))?;
    Ok(entered && before.is_ok() && test_kill_process(parent) == Err(Errno::PERM))
}

/// Steps 4 and 5 (L2): the pid namespace, which takes effect at the fork; for an ordinary user inside a user namespace in
/// which only
/// that user exists, under its own number, so that granted files look the same inside.
fn outer_namespaces(root: bool) -> Result<(), StepError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let user = if root { UnshareFlags::empty() } else { UnshareFlags::NEWUSER };
    sys::unshare(UnshareFlags::NEWPID | user).at(Step::Namespaces, "unshare")?;
    if !root {
        let write = |file: &str, text: String| std::fs::write(file, text).at(Step::IdMap, file);
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    Ok(())
}
