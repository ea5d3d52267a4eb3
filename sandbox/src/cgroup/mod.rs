//! Control groups: limits on memory, processes and CPU for everything a plugin starts, whatever it starts.
//!
//! Two layouts exist in the wild: v2, one tree that must have been delegated to us, and v1, one tree per resource. Where
//! neither is
//! usable there are no groups, with the reason in words, and the limits of single processes (rlimits) are what is left; the
//! caller
//! sees which limits hold ([`Slot::enforced`]) and decides. Detection reads only; [`Cgroups::open`] is what changes the system.

mod files;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use files::{Dir, prefix_of};
pub use v1::Trees as V1Trees;
pub use v2::Tree as V2Tree;

/// What a group may use. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupLimits {
    /// Memory in bytes, page cache and tmpfs included, swap excluded (none is allowed).
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// CPU time in percent of one processor.
    pub cpu_percent: Option<u32>,
}

/// Which kinds of limit hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// Memory.
    pub memory: bool,
    /// Processes.
    pub pids: bool,
    /// CPU.
    pub cpu: bool,
}

/// The layout found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version", rename_all = "snake_case")]
pub enum Backend {
    /// One tree.
    V2(v2::Tree),
    /// One tree per resource.
    V1(v1::Trees),
    /// Nothing usable.
    None {
        /// Why, for the operator.
        reason: String,
    },
}

/// A failure to set up or read a group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The system refused.
    #[error("control group `{}`: cannot {what}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// There are no groups here.
    #[error("no control groups: {0}")]
    Unavailable(String),
    /// A name that is no folder name.
    #[error("control group name `{0}`: expected 1 to 64 letters, digits, `-`, `_`")]
    Name(String),
    /// Processes would not die in time.
    #[error("control group `{}` still has processes after {seconds} s of killing", path.display())]
    Alive {
        /// The group.
        path: PathBuf,
        /// How long it was tried.
        seconds: u64,
    },
}

/// All groups of this server.
#[derive(Debug, Clone)]
pub struct Cgroups {
    backend: Backend,
    server: u32,
    /// Groups that were dropped before their last process was gone; the next [`Cgroups::create`] removes them.
    leftovers: Leftovers,
}

type Leftovers = Arc<Mutex<Vec<PathBuf>>>;

impl Cgroups {
    /// Looks at what there is. `root` is `/sys/fs/cgroup`, `proc_self_cgroup` the content of `/proc/self/cgroup`, `server` our
    /// process id. Changes nothing.
    #[must_use]
    pub fn detect(root: &Path, proc_self_cgroup: &str, server: u32) -> Self {
        let backend = match v2::detect(root, proc_self_cgroup, server) {
            v2::Found::Usable(tree) => Backend::V2(tree),
            v2::Found::Unusable(reason) => Backend::None { reason },
            v2::Found::OtherLayout => {
                v1::detect(root, proc_self_cgroup).map_or_else(|reason| Backend::None { reason }, Backend::V1)
            }
        };
        Self { backend, server, leftovers: Leftovers::default() }
    }

    /// [`Cgroups::detect`] for this process on this machine.
    #[must_use]
    pub fn detect_here() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::detect(Path::new("/sys/fs/cgroup"), &own, std::process::id())
    }

    /// Detects, makes ready (v2: moves this process into a leaf, so that its siblings may have limits), and removes empty
    /// groups of
    /// servers that are gone. When making ready fails, the backend is `None` with that reason.
    #[must_use]
    pub fn open(root: &Path, proc_self_cgroup: &str, server: u32) -> Self {
        let mut found = Self::detect(root, proc_self_cgroup, server);
        let ready = match &found.backend {
            Backend::V2(tree) => tree.prepare(server),
            Backend::V1(_) | Backend::None { .. } => Ok(()),
        };
        if let Err(error) = ready {
            found.backend = Backend::None { reason: error.to_string() };
        }
        for base in found.bases() {
            files::sweep(&base, server);
        }
        found
    }

    /// [`Cgroups::open`] for this process on this machine.
    #[must_use]
    pub fn open_here() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::open(Path::new("/sys/fs/cgroup"), &own, std::process::id())
    }

    /// The layout, and for `None` the reason.
    #[must_use]
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Which limits a group made here will hold.
    #[must_use]
    pub fn enforced(&self) -> Enforced {
        match &self.backend {
            Backend::V2(tree) => tree.enforced(),
            Backend::V1(trees) => trees.enforced(),
            Backend::None { .. } => Enforced::default(),
        }
    }

    fn bases(&self) -> Vec<PathBuf> {
        match &self.backend {
            Backend::V2(tree) => vec![tree.base.clone()],
            Backend::V1(trees) => trees.bases(),
            Backend::None { .. } => Vec::new(),
        }
    }

    /// Makes the group `pegboard-<server>/<name>` with its limits. Two slots must not share a name while either lives.
    ///
    /// # Errors
    /// The system's refusals; [`CgroupError::Unavailable`] without a usable layout.
    pub fn create(&self, name: &str, limits: &CgroupLimits) -> Result<Slot, CgroupError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(CgroupError::Name(name.to_owned()));
        }
        self.bury();
        let below = PathBuf::from(prefix_of(self.server)).join(name);
        let group = match &self.backend {
            Backend::V2(tree) => Group::V2(tree.create(&below, limits)?),
            Backend::V1(trees) => Group::V1(trees.create(&below, limits)?),
            Backend::None { reason } => return Err(CgroupError::Unavailable(reason.clone())),
        };
        Ok(Slot { group, leftovers: Arc::clone(&self.leftovers) })
    }

    fn bury(&self) {
        if let Ok(mut leftovers) = self.leftovers.lock() {
            leftovers.retain(|path| std::fs::remove_dir(path).is_err() && path.exists());
        }
    }

    /// Removes this server's own (empty) folders, at its end.
    pub fn close(&self) {
        for base in self.bases() {
            files::remove_tree(&base.join(prefix_of(self.server)));
        }
    }
}

/// One group. Dropping it removes it, at once if it is empty, else with the next group that is made.
#[derive(Debug)]
pub struct Slot {
    group: Group,
    leftovers: Leftovers,
}

#[derive(Debug)]
enum Group {
    V2(v2::Group),
    V1(v1::Group),
}

impl Slot {
    /// What a process writes `0` into to join, for [`crate::Jail::cgroups`].
    #[must_use]
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.dirs().into_iter().map(|dir| dir.path.join("cgroup.procs")).collect()
    }

    /// Moves a process in.
    ///
    /// # Errors
    /// The system's.
    pub fn add(&self, pid: u32) -> Result<(), CgroupError> {
        self.dirs().into_iter().try_for_each(|dir| dir.write("cgroup.procs", &pid.to_string()))
    }

    /// Which of the limits asked for are in force.
    #[must_use]
    pub const fn enforced(&self) -> Enforced {
        match &self.group {
            Group::V2(group) => group.enforced,
            Group::V1(group) => group.enforced,
        }
    }

    /// How many processes of the group the kernel has killed for memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let found = match &self.group {
            Group::V2(group) => group.dir.field("memory.events", "oom_kill"),
            Group::V1(group) => group.memory.as_ref().and_then(|dir| dir.field("memory.oom_control", "oom_kill")),
        };
        found.unwrap_or(0)
    }

    /// Most memory the group ever used at once, in bytes, where the kernel tells.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        match &self.group {
            Group::V2(group) => group.dir.number("memory.peak"),
            Group::V1(group) => group.memory.as_ref()?.number("memory.max_usage_in_bytes"),
        }
    }

    /// CPU time the group has used, where the kernel tells.
    #[must_use]
    pub fn cpu_usage(&self) -> Option<Duration> {
        match &self.group {
            Group::V2(group) => group.dir.field("cpu.stat", "usage_usec").map(Duration::from_micros),
            Group::V1(group) => group.cpuacct.as_ref()?.number("cpuacct.usage").map(Duration::from_nanos),
        }
    }

    /// Kills every process of the group. Returns when none is left alive (they may still be zombies of their parents).
    ///
    /// # Errors
    /// The system's; [`CgroupError::Alive`] when processes survive for seconds, which only a broken kernel or disk brings about.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        match &self.group {
            Group::V2(group) => group.kill_all(),
            Group::V1(group) => group.kill_all(),
        }
    }

    /// Removes the group, which must be empty.
    ///
    /// # Errors
    /// The system's: EBUSY while a process (or a zombie) is in it.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.dirs().into_iter().try_for_each(Dir::remove)
    }

    fn dirs(&self) -> Vec<&Dir> {
        match &self.group {
            Group::V2(group) => vec![&group.dir],
            Group::V1(group) => group.dirs(),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left: Vec<PathBuf> =
            self.dirs().into_iter().filter(|dir| dir.remove().is_err()).map(|dir| dir.path.clone()).collect();
        if let Ok(mut leftovers) = self.leftovers.lock() {
            leftovers.extend(left);
        }
    }
}

#[cfg(test)]
mod tests;
