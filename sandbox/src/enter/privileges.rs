//! What a confined process may still be: limits, user, capabilities. All of it one way only.

use std::fs::File;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::error::{AtStep, Step, StepError};
use crate::jail::{Identity, Jail};

const MIB: u64 = 1024 * 1024;

/// Step 14: limits, soft = hard, never above what this process was given itself.
pub(crate) fn set_limits(jail: &Jail) -> Result<(), StepError> {
    let limits = &jail.limits;
    let exclusive = jail.identity.is_some_and(|identity| identity.exclusive);
    let wanted = [
        // Not 0: with 0 the kernel still starts a core dump *handler*, with 1 it does not even do that, and no file is
        // that small.
        (Resource::Core, Some(1), "core"),
        (Resource::Memlock, Some(0), "memlock"),
        (Resource::Msgqueue, Some(0), "msgqueue"),
        (Resource::Rtprio, Some(0), "rtprio"),
        (Resource::Nofile, Some(limits.open_files), "nofile"),
        (Resource::Fsize, limits.file_size_mb.map(|mb| mb.saturating_mul(MIB)), "fsize"),
        (Resource::Cpu, limits.cpu_seconds, "cpu"),
        // It counts all processes of the user: meaningful only when nothing else runs under it.
        (Resource::Nproc, limits.processes.filter(|_| exclusive), "nproc"),
    ];
    apply(&wanted)?;
    umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Memory limits, set last: they would bind the launcher, which is larger than what it starts.
pub(crate) fn set_memory_limits(jail: &Jail) -> Result<(), StepError> {
    let bytes = |mb: Option<u64>| mb.map(|mb| mb.saturating_mul(MIB));
    apply(&[(Resource::As, bytes(jail.limits.address_space_mb), "as"), (Resource::Data, bytes(jail.limits.data_mb), "data")])
}

fn apply(wanted: &[(Resource, Option<u64>, &str)]) -> Result<(), StepError> {
    for &(resource, value, name) in wanted {
        let Some(value) = value else { continue };
        let allowed = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) }).at(Step::Rlimits, name)?;
    }
    Ok(())
}

/// Step 15: nothing this process starts can be given a capability. Before the change of user, which takes the right to do this.
pub(crate) fn drop_bounding_set() -> Result<(), StepError> {
    let held = capabilities(None).at(Step::Capabilities, "capget")?;
    if !held.effective.contains(CapabilitySet::SETPCAP) {
        // An ordinary user at L1. `no_new_privs` closes the same door, and there must be nothing to drop.
        return if held.permitted.is_empty() {
            Ok(())
        } else {
            Err(StepError::new(Step::Capabilities, format!("holds {:?} without CAP_SETPCAP", held.permitted)))
        };
    }
    // The kernel answers EINVAL past its last capability.
    for bit in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error).at(Step::Capabilities, "PR_CAPBSET_DROP"),
        }
    }
    Ok(())
}

/// Step 16 (root): the plugin's own user, in no group but its own.
pub(crate) fn take_identity(identity: Identity) -> Result<(), StepError> {
    let (uid, gid) = (rustix::process::Uid::from_raw(identity.uid), rustix::process::Gid::from_raw(identity.gid));
    set_thread_groups(&[]).at(Step::Identity, "setgroups")?;
    set_thread_res_gid(gid, gid, gid).at(Step::Identity, "setresgid")?;
    set_thread_res_uid(uid, uid, uid).at(Step::Identity, "setresuid")
}

/// Step 15, second half: no capability is left in any set.
pub(crate) fn drop_capabilities() -> Result<(), StepError> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    clear_ambient_capability_set().at(Step::Capabilities, "PR_CAP_AMBIENT_CLEAR_ALL")?;
    set_capabilities(None, none).at(Step::Capabilities, "capset")?;
    let held = capabilities(None).at(Step::Capabilities, "capget")?;
    if held == none { Ok(()) } else { Err(StepError::new(Step::Capabilities, format!("still holds {held:?}"))) }
}

/// Step 17. Exec makes a process dumpable again; a program that holds secrets repeats that part.
pub(crate) fn seal() -> Result<(), StepError> {
    set_no_new_privs(true).at(Step::NoNewPrivileges, "PR_SET_NO_NEW_PRIVS")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::NoNewPrivileges, "PR_SET_DUMPABLE")
}

/// For a probe: two acts that must fail now, one for Landlock, one for the filter.
pub(crate) fn prove(jail: &Jail) -> Result<(), StepError> {
    if File::open("/").is_ok() {
        return Err(StepError::new(Step::Landlock, "`/` could be opened in spite of Landlock"));
    }
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    match socket {
        Err(rustix::io::Errno::ACCESS) => Ok(()),
        other => Err(StepError::new(Step::Seccomp, format!("a socket at {:?} gave {other:?}, not EACCES", jail.level))),
    }
}
