//! What this machine can enforce, found by doing it: a launcher enters each level and reports instead of starting a program.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Backend, Cgroups, Enforced};
use crate::error::SpawnError;
use crate::jail::{Identity, Jail, Level};
use crate::spawn::spawn;
use crate::wire::Entry;

/// What this machine can enforce for this user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The strongest level that was entered.
    pub level: Level,
    /// Whether the server is root: plugins then get users of their own.
    pub as_root: bool,
    /// L1, as it went.
    pub l1: LevelReport,
    /// L2, as it went.
    pub l2: LevelReport,
    /// Landlock's version, 0 without.
    pub landlock_abi: i32,
    /// Whether L2 makes a user namespace here.
    pub userns: bool,
    /// Whether L2 has `/proc`.
    pub proc_mount: bool,
    /// The control group layout, with the reason when there is none.
    pub cgroup: Backend,
    /// Which limits groups hold.
    pub cgroup_limits: Enforced,
    /// What is not enforced at the level reached, in words.
    pub notes: Vec<String>,
}

/// Whether a level can be entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelReport {
    /// It was entered.
    Entered(Entry),
    /// It was not.
    Refused {
        /// Step, system error and what was tried.
        reason: String,
        /// What the operator can do.
        hint: Option<String>,
    },
}

impl LevelReport {
    /// What was entered.
    #[must_use]
    pub const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entered(entry) => Some(entry),
            Self::Refused { .. } => None,
        }
    }
}

/// Tries both levels with the given launcher (the `pegboard` binary). Blocks for some ten milliseconds.
#[must_use]
pub fn probe(launcher: &Path) -> Capability {
    let as_root = rustix::process::geteuid().is_root();
    let l1 = try_level(launcher, Level::L1, as_root);
    let l2 = try_level(launcher, Level::L2, as_root);
    let reached = l2.entry().or(l1.entry());
    let groups = Cgroups::detect_here();
    let mut notes: Vec<String> = reached.map(|entry| entry.notes.clone()).unwrap_or_default();
    if let Backend::None { reason } = groups.backend() {
        notes.push(format!("memory and processes are limited per process only: {reason}"));
    }
    if !as_root {
        notes.push("all plugins run under the server's own user".into());
    }
    Capability {
        level: reached.map_or(Level::L0, |entry| entry.level),
        as_root,
        landlock_abi: reached.map_or(0, |entry| entry.landlock_abi),
        userns: l2.entry().is_some_and(|entry| entry.user_namespace),
        proc_mount: l2.entry().is_some_and(|entry| entry.proc_mounted),
        cgroup_limits: groups.enforced(),
        cgroup: groups.backend().clone(),
        notes,
        l1,
        l2,
    }
}

fn try_level(launcher: &Path, level: Level, as_root: bool) -> LevelReport {
    let mut jail = Jail { probe: true, ..Jail::new(level, Vec::new()) };
    // Any user that is not root shows what has to be shown; `nobody` exists everywhere.
    jail.identity = as_root.then_some(Identity { uid: 65534, gid: 65534, exclusive: false });
    match try_spawn(launcher, &jail) {
        Ok(entry) => LevelReport::Entered(entry),
        Err(error) => LevelReport::Refused { hint: error.hint().map(str::to_owned), reason: error.to_string() },
    }
}

fn try_spawn(launcher: &Path, jail: &Jail) -> Result<Entry, SpawnError> {
    let (control, _ours) = UnixStream::pair().map_err(|source| SpawnError::Launch { what: "socketpair".into(), source })?;
    let mut confined = spawn(launcher, jail, OwnedFd::from(control))?;
    let ended = confined.wait().map_err(|source| SpawnError::Launch { what: "wait".into(), source })?;
    match ended.code {
        Some(0) => Ok(confined.entry.clone()),
        _ => Err(SpawnError::Died(format!("{ended:?}"))),
    }
}
