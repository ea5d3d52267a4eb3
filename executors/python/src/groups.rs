//! The control group of a plugin's processes. How a group is made is in `sandbox`.

use std::{
    path::Path,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use policy::{Level, Plugin};
use sandbox::cgroup::{CgroupLimits, Cgroups, Slot};

/// Memory that imports may take beside what a call may.
const IMPORT_MB: u64 = 512;
/// Processes and threads of a zygote, what its imports start included.
const ZYGOTE_TASKS: u64 = 128;
/// Threads of one call.
const CALL_TASKS: u64 = 64;

/// The level a machine reaches, in policy's words. Really enters each level once.
pub(crate) fn reached_level(launcher: &Path) -> Level {
    match sandbox::probe(launcher).level {
        sandbox::Level::L0 => Level::L0,
        sandbox::Level::L1 => Level::L1,
        sandbox::Level::L2 => Level::L2,
    }
}

/// The control groups of this machine.
#[derive(Debug)]
pub(crate) struct Groups {
    cgroups: Cgroups,
}

/// Names of groups are unique in the process: two executors in one host must not remove each other's.
static COUNTER: AtomicU64 = AtomicU64::new(1);

/// One control group; removed when dropped.
#[derive(Debug)]
pub(crate) struct Group(Slot);

impl Groups {
    /// Finds and opens what there is; nothing is an answer too.
    pub(crate) fn open() -> Self {
        Self { cgroups: Cgroups::open_here() }
    }

    /// Whether a group's memory limit holds here.
    pub(crate) fn limit_memory(&self) -> bool {
        self.cgroups.enforced().memory
    }

    /// The group of a plugin's zygote and of all that it forks.
    ///
    /// One group a plugin and not one a call: moving a process into a group waits for an RCU grace period (10 ms, one at a time on the
    /// whole machine), while a child is born into its parent's for nothing. What a single call may take is limited by its rlimits.
    pub(crate) fn of_plugin(&self, plugin: &Plugin, children: usize) -> Option<Group> {
        let calls = u64::from(plugin.manifest.resource_limits.max_concurrent_requests).min(children as u64).max(1);
        let limits = CgroupLimits {
            memory_bytes: Some((u64::from(plugin.manifest.max_memory_mb) * calls + IMPORT_MB) * 1024 * 1024),
            pids: Some(ZYGOTE_TASKS + CALL_TASKS * calls),
            cpu_percent: Some(plugin.manifest.resource_limits.max_cpu_percent.saturating_mul(calls as u32)),
        };
        self.make(plugin, &limits)
    }

    fn make(&self, plugin: &Plugin, limits: &CgroupLimits) -> Option<Group> {
        let enforced = self.cgroups.enforced();
        if !(enforced.memory || enforced.pids || enforced.cpu) {
            return None;
        }
        let name = format!("{}-{}", plugin.manifest.name, COUNTER.fetch_add(1, Ordering::Relaxed));
        match self.cgroups.create(&name, limits) {
            Ok(slot) => Some(Group(slot)),
            Err(error) => {
                tracing::warn!(plugin = %plugin.manifest.name, %error, "a control group could not be made");
                None
            }
        }
    }
}

impl Group {
    /// How often the memory limit has ended something in it.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.0.oom_kills()
    }

    /// What the launcher writes itself into.
    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        self.0.procs_files()
    }
}
