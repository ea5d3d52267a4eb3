//! Landlock: what a confined process may open, and whom it may signal. Asked for in full, granted as far as the kernel goes.
//!
//! Its rules are sums: nothing below a writable folder can be read-only by Landlock alone (L2 has mount flags for that; at L1
//! such a
//! jail is refused).

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::enter::paths::{Resolved, open_exact};
use crate::enter::tree::DEVICES;
use crate::error::{AtStep, Step, StepError};
use crate::jail::{Access, Jail, Level};

/// The newest version the rules below were written against. Rights that a kernel lacks are left out by the crate.
const NEWEST: ABI = ABI::V9;

fn read_rights() -> BitFlags<AccessFs> {
    AccessFs::from_read(NEWEST)
}

/// Everything but making device nodes, device ioctls, connecting to sockets, and executing.
fn write_rights(spawn_allowed: bool) -> BitFlags<AccessFs> {
    let all =
        AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev | AccessFs::ResolveUnix);
    if spawn_allowed { all } else { all & !BitFlags::from(AccessFs::Execute) }
}

/// A domain that governs signals and nothing else, for the monitor. `false` when this kernel has no such scope (before ABI 6).
/// Moving files between folders is the one right that every domain denies unless it is named, so it is named, and given
/// everywhere.
pub(crate) fn restrict_signals() -> Result<bool, String> {
    let domain = || -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.scope(Scope::Signal)?.handle_access(AccessFs::Refer)?.create()?;
        Ok(ruleset.add_rule(PathBeneath::new(open_exact(Path::new("/"))?, AccessFs::Refer))?.restrict_self()?)
    };
    match domain() {
        Ok(status) => Ok(status.ruleset == RulesetStatus::FullyEnforced),
        Err(error) if abi() >= 6 => Err(error.to_string()),
        Err(_) => Ok(false),
    }
}

/// Landlock's version on this kernel, 0 when it is missing or switched off.
pub(crate) fn abi() -> i32 {
    crate::sys::landlock_abi()
}

/// The rules for a jail. Made while its paths can be opened, enforced by [`enforce`] later.
pub(crate) fn prepare(jail: &Jail, mounts: &[Resolved], proc_mounted: bool) -> Result<RulesetCreated, StepError> {
    refuse_read_only_below_writable(jail, mounts)?;
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST)).map_err(|e| fault(&e))?;
    ruleset = ruleset.scope(Scope::from_all(NEWEST)).map_err(|e| fault(&e))?;
    if !jail.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST)).map_err(|e| fault(&e))?;
    }
    let mut rules = ruleset.create().map_err(|e| fault(&e))?;
    for mount in mounts {
        let rights = match mount.access {
            Access::ReadOnly => read_rights(),
            Access::ReadWrite => write_rights(jail.spawn_allowed),
        };
        rules = allow(rules, mount.fd.as_fd(), mount.is_dir, rights)?;
    }
    for device in DEVICES {
        let rights = AccessFs::ReadFile | AccessFs::WriteFile;
        rules = allow_path(rules, Path::new(device), false, rights)?;
    }
    if let Some(scratch) = jail.scratch_path() {
        rules = allow_path(rules, scratch, true, write_rights(jail.spawn_allowed))?;
    }
    if proc_mounted {
        rules = allow_path(rules, Path::new("/proc"), true, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    Ok(rules)
}

/// Enters the domain. Returns Landlock's version.
pub(crate) fn enforce(rules: RulesetCreated) -> Result<i32, StepError> {
    let status = rules.restrict_self().map_err(|e| fault(&e))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, LandlockStatus::Available { .. }) => Ok(abi()),
        (_, found) => Err(StepError::new(Step::Landlock, format!("Landlock is not in force on this kernel: {found:?}"))),
    }
}

fn allow_path(rules: RulesetCreated, path: &Path, is_dir: bool, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, StepError> {
    let fd = open_exact(path).at(Step::Landlock, &format!("open `{}`", path.display()))?;
    allow(rules, fd.as_fd(), is_dir, rights)
}

fn allow(
    rules: RulesetCreated,
    fd: BorrowedFd<'_>,
    is_dir: bool,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, StepError> {
    let rights = if is_dir { rights } else { rights & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(fd, rights)).map_err(|e| fault(&e))
}

fn refuse_read_only_below_writable(jail: &Jail, mounts: &[Resolved]) -> Result<(), StepError> {
    if jail.level >= Level::L2 {
        return Ok(());
    }
    let writable: Vec<&Path> = mounts
        .iter()
        .filter(|m| m.access == Access::ReadWrite)
        .map(|m| m.path.as_path())
        .chain(jail.scratch.host_dir.as_deref())
        .collect();
    let lost = mounts.iter().filter(|m| m.access == Access::ReadOnly).find_map(|m| {
        let above = writable.iter().find(|folder| m.path.starts_with(folder))?;
        Some(format!(
            "`{}` cannot be read-only inside `{}`, which is read-write, at {:?}",
            m.path.display(),
            above.display(),
            jail.level
        ))
    });
    lost.map_or(Ok(()), |what| Err(StepError::new(Step::Landlock, what)))
}

/// The crate's errors hold the system's somewhere below.
fn fault(error: &landlock::RulesetError) -> StepError {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let errno = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()?.raw_os_error());
    StepError { step: Step::Landlock, errno: errno.unwrap_or(0), what: error.to_string() }
}
