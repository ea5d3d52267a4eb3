//! Control groups v1: one tree per resource, each joined by itself. Old systems, and hybrids where v2 has no resources.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, Dir};
use super::{CgroupError, CgroupLimits, Enforced};

/// The trees found, each at this process's own group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trees {
    /// Memory.
    pub memory: Option<PathBuf>,
    /// Processes.
    pub pids: Option<PathBuf>,
    /// CPU share.
    pub cpu: Option<PathBuf>,
    /// CPU accounting.
    pub cpuacct: Option<PathBuf>,
}

/// A group in each tree.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) memory: Option<Dir>,
    pub(super) pids: Option<Dir>,
    pub(super) cpu: Option<Dir>,
    pub(super) cpuacct: Option<Dir>,
    pub(super) enforced: Enforced,
}

pub(super) fn detect(root: &Path, proc_self_cgroup: &str) -> Result<Trees, String> {
    let find = |resource: &str| {
        let mount = root.join(resource);
        let inside = own_path(proc_self_cgroup, resource)?;
        // Inside a container the path is the host's, and the mount shows its end as the root.
        let own = mount.join(inside.trim_start_matches('/'));
        let dir = if own.join("cgroup.procs").exists() { own } else { mount };
        (dir.join("cgroup.procs").exists() && files::writable(&dir)).then_some(dir)
    };
    let trees = Trees { memory: find("memory"), pids: find("pids"), cpu: find("cpu"), cpuacct: find("cpuacct") };
    if trees.memory.is_none() && trees.pids.is_none() {
        let visible = root.join("memory/cgroup.procs").exists();
        let why = if visible { "they belong to another user" } else { "none is mounted" };
        return Err(format!("neither memory nor pids can be limited below `{}`: {why}", root.display()));
    }
    Ok(trees)
}

/// This process's group in a resource's tree, from lines of `number:resource,resource:path`.
fn own_path<'a>(proc_self_cgroup: &'a str, resource: &str) -> Option<&'a str> {
    proc_self_cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (resources, path) = (fields.next()?, fields.next()?);
        resources.split(',').any(|name| name == resource).then_some(path)
    })
}

impl Trees {
    pub(super) const fn enforced(&self) -> Enforced {
        Enforced { memory: self.memory.is_some(), pids: self.pids.is_some(), cpu: self.cpu.is_some() }
    }

    pub(super) fn bases(&self) -> Vec<PathBuf> {
        let mut bases: Vec<PathBuf> =
            [&self.memory, &self.pids, &self.cpu, &self.cpuacct].into_iter().flatten().cloned().collect();
        bases.dedup();
        bases
    }

    pub(super) fn create(&self, below: &Path, limits: &CgroupLimits) -> Result<Group, CgroupError> {
        let make = |base: &Option<PathBuf>| base.as_ref().map(|base| Dir::create(base.join(below))).transpose();
        let mut group = Group {
            memory: make(&self.memory)?,
            pids: make(&self.pids)?,
            cpu: make(&self.cpu)?,
            cpuacct: make(&self.cpuacct)?,
            enforced: Enforced::default(),
        };
        if let (Some(dir), Some(bytes)) = (&group.memory, limits.memory_bytes) {
            limit_memory(dir, bytes)?;
            group.enforced.memory = true;
        }
        if let (Some(dir), Some(pids)) = (&group.pids, limits.pids) {
            dir.write("pids.max", &pids.to_string())?;
            group.enforced.pids = true;
        }
        if let (Some(dir), Some(percent)) = (&group.cpu, limits.cpu_percent) {
            dir.write("cpu.cfs_period_us", "100000")?;
            dir.write("cpu.cfs_quota_us", &(u64::from(percent) * 1000).max(1000).to_string())?;
            group.enforced.cpu = true;
        }
        Ok(group)
    }
}

/// Memory and swap together may not exceed memory: no swap. Without swap accounting, at least no wish to swap.
fn limit_memory(dir: &Dir, bytes: u64) -> Result<(), CgroupError> {
    let bytes = bytes.to_string();
    dir.write("memory.limit_in_bytes", &bytes)?;
    if dir.write("memory.memsw.limit_in_bytes", &bytes).is_err() {
        dir.write("memory.swappiness", "0")?;
    }
    Ok(())
}

impl Group {
    pub(super) fn dirs(&self) -> Vec<&Dir> {
        let mut dirs: Vec<&Dir> = [&self.memory, &self.pids, &self.cpu, &self.cpuacct].into_iter().flatten().collect();
        // `cpu` and `cpuacct` are often one tree under two names.
        dirs.dedup_by(|a, b| a.path == b.path || same_folder(&a.path, &b.path));
        dirs
    }

    pub(super) fn kill_all(&self) -> Result<(), CgroupError> {
        // Nothing new is born while the rest is killed.
        if let Some(pids) = &self.pids {
            let _ = pids.write("pids.max", "0");
        }
        self.dirs().into_iter().try_for_each(Dir::kill_until_empty)
    }
}

fn same_folder(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    id(a).is_some() && id(a) == id(b)
}
