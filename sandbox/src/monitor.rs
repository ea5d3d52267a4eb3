//! The launcher's parent half: outlives the program, and sees to it that nothing outlives the monitor.
//!
//! It waits for two things: the program's end, and the end of the lifeline (the server dropped it, or died). Either way it kills
//! whatever the program left behind, says how the program ended, and exits with its code (128 + signal for a signal).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, geteuid, getpid, set_child_subreaper, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::error::{AtStep, Step, StepError};
use crate::sys::{self, Reaped, Usage};
use crate::wire::{self, Farewell};

/// Exit code when the confinement or the program could not be started; the reason went to the status pipe.
pub(crate) const NOT_STARTED: i32 = 126;

/// How the monitor reaches all that the program started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The program is its pid namespace's init: the kernel kills the rest with it.
    PidNamespace,
    /// `kill(-1)` reaches the monitor's Landlock domain and nothing else (proven at start). Atomic: no fork escapes it.
    Landlock,
    /// Walks the process tree until it is empty. A program that forks faster than the walk could keep it busy.
    Descendants,
}

/// Before the fork: orphans become the monitor's children, its memory is closed to its own user's other processes, and the
/// child's
/// end is seen even when it comes before the first poll.
pub(crate) fn prepare() -> Result<(), StepError> {
    set_child_subreaper(Some(getpid())).at(Step::Fork, "PR_SET_CHILD_SUBREAPER")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Fork, "PR_SET_DUMPABLE")?;
    sys::set_signal_mask(true);
    Ok(())
}

/// Watches until all is over. Returns the exit code.
pub(crate) fn watch(child: libc::pid_t, scope: Scope, lifeline: &OwnedFd) -> i32 {
    // The program's output pipes must see their end when the program's last copy closes, not the monitor's.
    let _ = detach_output();
    shed_privileges();
    let ended = sys::child_signal_fd().ok().and_then(|signals| wait_for_end(child, &signals, lifeline));
    let ended = kill_all(child, scope, ended);
    let farewell = farewell(ended);
    wire::write_line(lifeline, &farewell);
    farewell.signal.map_or(farewell.code.unwrap_or(NOT_STARTED), |signal| 128 + signal)
}

/// All the monitor still has to do is to kill, as root across users. A failure changes nothing that the program could reach.
fn shed_privileges() {
    let kill = if geteuid().is_root() { CapabilitySet::KILL } else { CapabilitySet::empty() };
    let _ = set_no_new_privs(true);
    let _ = set_capabilities(None, CapabilitySets { effective: kill, permitted: kill, inheritable: CapabilitySet::empty() });
}

fn detach_output() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    sys::dup_onto(null.as_fd(), 1)?;
    sys::dup_onto(null.as_fd(), 2)
}

/// Returns when the program has ended (with how) or the lifeline has (`None`). Reaps orphans meanwhile.
fn wait_for_end(child: libc::pid_t, signals: &OwnedFd, lifeline: &OwnedFd) -> Option<Reaped> {
    loop {
        let mut fds = [PollFd::new(lifeline, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
        }
        let [line, signal] = fds.map(|fd| fd.revents());
        if !signal.is_empty() {
            let _ = rustix::io::read(signals, &mut [0_u8; 128]);
            while let Ok(Some(reaped)) = sys::reap(false) {
                if reaped.pid == child {
                    return Some(reaped);
                }
            }
        }
        // Anything that is said on the lifeline is ignored; its end, or an error, is not.
        if !line.is_empty() && !matches!(rustix::io::read(lifeline, &mut [0_u8; 64]), Ok(1..)) {
            return None;
        }
    }
}

/// Kills all that is left and reaps it. Returns how the program ended.
fn kill_all(child: libc::pid_t, scope: Scope, mut ended: Option<Reaped>) -> Option<Reaped> {
    loop {
        match scope {
            Scope::PidNamespace if ended.is_none() => drop(sys::kill(child, libc::SIGKILL)),
            Scope::PidNamespace => {}
            Scope::Landlock => drop(sys::kill(-1, libc::SIGKILL)),
            Scope::Descendants => kill_descendants(),
        }
        // All who are killed end up as the monitor's children. One is waited for, the others taken along; after the last one the
        // kernel answers ECHILD. Until then it is killed again: someone may have been born during a walk of the tree.
        let mut block = true;
        loop {
            match sys::reap(block) {
                Ok(Some(reaped)) if reaped.pid == child => ended = Some(reaped),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return ended,
            }
            block = false;
        }
    }
}

/// Stops, then kills, every descendant: what is stopped cannot fork, so that the second pass meets no new ones.
fn kill_descendants() {
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for pid in descendants(std::process::id() as libc::pid_t) {
            let _ = sys::kill(pid, signal);
        }
    }
}

/// Everyone below `root` in the process tree, found by the parent that each process names.
fn descendants(root: libc::pid_t) -> Vec<libc::pid_t> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes: Vec<(libc::pid_t, libc::pid_t)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: libc::pid_t| Some((pid, parent_of(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The parent's id in a line of `/proc/*/stat`: the second field after the name, which may hold anything, even `)`.
fn parent_of(stat: &str) -> Option<libc::pid_t> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn farewell(ended: Option<Reaped>) -> Farewell {
    let status = ended.map(|reaped| reaped.status);
    let code = status.filter(|&s| libc::WIFEXITED(s)).map(|s| libc::WEXITSTATUS(s));
    let signal = status.filter(|&s| libc::WIFSIGNALED(s)).map(|s| libc::WTERMSIG(s));
    Farewell { code, signal, usage: ended.map_or(Usage::default(), |reaped| reaped.usage) }
}

#[cfg(test)]
mod tests {
    use super::parent_of;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (a) R 1 (b) S 9 12 12 0"), Some(9));
        assert_eq!(parent_of("12 (a"), None);
    }
}
