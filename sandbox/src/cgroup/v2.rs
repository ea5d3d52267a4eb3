//! Control groups v2: one tree. A group either has processes or hands resources to groups below it, never both, and we may
//! use only
//! the part that was delegated to us.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, Dir};
use super::{CgroupError, CgroupLimits, Enforced};

/// Where this process goes when its own group has to hand on resources.
const LEAF: &str = "pegboard-leaf";

const RESOURCES: [&str; 3] = ["memory", "pids", "cpu"];

/// The part of the tree that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The group below which ours are made.
    pub base: PathBuf,
    /// Resources it can hand on.
    pub available: Vec<String>,
    /// Whether this process has to leave `base` for a leaf first.
    pub must_move: bool,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) dir: Dir,
    pub(super) enforced: Enforced,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Usable(Tree),
    /// v2, but not ours to use.
    Unusable(String),
    /// Not v2, or a hybrid whose v2 part has no resources.
    OtherLayout,
}

pub(super) fn detect(root: &Path, proc_self_cgroup: &str, server: u32) -> Found {
    if !root.join("cgroup.controllers").exists() {
        return Found::OtherLayout;
    }
    let Some(path) = proc_self_cgroup.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Found::Unusable("`/proc/self/cgroup` names no v2 group".into());
    };
    let own = root.join(path.trim_start_matches('/'));
    let mut base = if own.join("cgroup.procs").exists() { own } else { root.to_owned() };
    // A server that was restarted in place is in its leaf already.
    if base.file_name().is_some_and(|name| name == LEAF) {
        base.pop();
    }
    judge(base, server).map_or_else(Found::Unusable, Found::Usable)
}

fn judge(base: PathBuf, server: u32) -> Result<Tree, String> {
    let words = |file: &str| -> Vec<String> {
        std::fs::read_to_string(base.join(file)).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    const HOW: &str =
        "start the server with `systemd-run --user --scope -p Delegate=yes pegboard …`, or with `Delegate=yes` in its unit";
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        if !files::writable(&base.join(file)) {
            return Err(format!("control group `{}` is not delegated to this user: {HOW}", base.display()));
        }
    }
    let available: Vec<String> =
        words("cgroup.controllers").into_iter().filter(|name| RESOURCES.contains(&name.as_str())).collect();
    if !available.iter().any(|name| name == "memory" || name == "pids") {
        return Err(format!("control group `{}` may limit neither memory nor processes: {HOW}", base.display()));
    }
    let enabled = words("cgroup.subtree_control");
    // The root of the whole tree may have processes and hand on resources; it alone has no `cgroup.type`.
    let is_top = !base.join("cgroup.type").exists();
    let must_move = !is_top && !available.iter().all(|name| enabled.contains(name));
    let strangers = words("cgroup.procs").iter().filter(|pid| pid.parse() != Ok(server)).count();
    if must_move && strangers > 0 {
        return Err(format!("control group `{}` is shared with {strangers} other processes: {HOW}", base.display()));
    }
    Ok(Tree { base, available, must_move })
}

impl Tree {
    fn has(&self, resource: &str) -> bool {
        self.available.iter().any(|name| name == resource)
    }

    pub(super) fn enforced(&self) -> Enforced {
        Enforced { memory: self.has("memory"), pids: self.has("pids"), cpu: self.has("cpu") }
    }

    /// Leaves the base if need be, and lets it hand on its resources.
    pub(super) fn prepare(&self, server: u32) -> Result<(), CgroupError> {
        if self.must_move {
            Dir::create(self.base.join(LEAF))?.write("cgroup.procs", &server.to_string())?;
        }
        self.hand_on(&self.base)
    }

    fn hand_on(&self, from: &Path) -> Result<(), CgroupError> {
        let all: Vec<String> = self.available.iter().map(|name| format!("+{name}")).collect();
        files::write(&from.join("cgroup.subtree_control"), &all.join(" "))
    }

    pub(super) fn create(&self, below: &Path, limits: &CgroupLimits) -> Result<Group, CgroupError> {
        let path = self.base.join(below);
        if let Some(ours) = path.parent() {
            Dir::create(ours.to_owned())?;
            self.hand_on(ours)?;
        }
        let mut group = Group { dir: Dir::create(path)?, enforced: Enforced::default() };
        if let (true, Some(bytes)) = (self.has("memory"), limits.memory_bytes) {
            group.dir.write("memory.max", &bytes.to_string())?;
            // Absent without swap support, and then there is none to forbid.
            let _ = group.dir.write("memory.swap.max", "0");
            // All or none: half a plugin is of no use.
            let _ = group.dir.write("memory.oom.group", "1");
            group.enforced.memory = true;
        }
        if let (true, Some(pids)) = (self.has("pids"), limits.pids) {
            group.dir.write("pids.max", &pids.to_string())?;
            group.enforced.pids = true;
        }
        if let (true, Some(percent)) = (self.has("cpu"), limits.cpu_percent) {
            group.dir.write("cpu.max", &format!("{} 100000", (u64::from(percent) * 1000).max(1000)))?;
            group.enforced.cpu = true;
        }
        Ok(group)
    }
}

impl Group {
    /// The kernel kills the whole group at once since 5.14; before that, one by one with births forbidden.
    pub(super) fn kill_all(&self) -> Result<(), CgroupError> {
        if self.dir.path.join("cgroup.kill").exists() {
            self.dir.write("cgroup.kill", "1")?;
        } else if self.dir.path.join("pids.max").exists() {
            let _ = self.dir.write("pids.max", "0");
        }
        self.dir.kill_until_empty()
    }
}
