//! The folders and files of control groups: reading, writing, killing, removing. Both layouts share this.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::CgroupError;

/// How long killing is tried before the group is called alive.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A group's folder in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
}

impl Dir {
    /// Makes the folder, and the ones above it, if missing.
    pub(super) fn create(path: PathBuf) -> Result<Self, CgroupError> {
        std::fs::create_dir_all(&path).map_err(|source| CgroupError::Io { path: path.clone(), what: "make it", source })?;
        Ok(Self { path })
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        write(&self.path.join(file), value)
    }

    /// A file that holds one number.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        std::fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }

    /// A number behind a name, in a file of `name number` lines.
    pub(super) fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.path.join(file)).ok()?;
        text.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name)?.1.trim().parse().ok()
    }

    pub(super) fn remove(&self) -> Result<(), CgroupError> {
        match std::fs::remove_dir(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(CgroupError::Io { path: self.path.clone(), what: "remove it", source })
            }
            _ => Ok(()),
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let text = std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect()
    }

    /// Kills until the group is empty. Nothing outside is hit when a number is used again meanwhile: a process is signalled by a
    /// descriptor that was opened before the group was seen (again) to hold its number.
    pub(super) fn kill_until_empty(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + KILL_LIMIT;
        loop {
            let opened: Vec<_> =
                self.processes().into_iter().filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?))).collect();
            let still = self.processes();
            if still.is_empty() {
                return Ok(());
            }
            for (pid, pidfd) in &opened {
                if still.contains(pid) {
                    let _ = pidfd_send_signal(pidfd, Signal::KILL);
                }
            }
            if Instant::now() > deadline {
                return Err(CgroupError::Alive { path: self.path.clone(), seconds: KILL_LIMIT.as_secs() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    std::fs::write(path, value).map_err(|source| CgroupError::Io { path: path.to_owned(), what: "write to it", source })
}

/// Whether this process may write there (as the kernel sees it, read-only mounts included).
pub(super) fn writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

/// The folder of all groups of one server.
pub(super) fn prefix_of(server: u32) -> String {
    format!("pegboard-{server}")
}

/// Removes what servers left behind that are gone. Only empty groups go, so that a server this process cannot see (in another pid
/// namespace) loses nothing that it is using.
pub(super) fn sweep(base: &Path, server: u32) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner: Option<u32> = name.to_str().and_then(|name| name.strip_prefix("pegboard-")?.parse().ok());
        let gone = |pid: u32| pid != server && !Path::new("/proc").join(pid.to_string()).exists();
        if owner.is_some_and(gone) {
            remove_tree(&entry.path());
        }
    }
}

/// Removes a group and those in it, as far as they are empty. In a control group's folder only folders can be removed.
pub(super) fn remove_tree(path: &Path) {
    if let Ok(entries) = std::fs::read_dir(path) {
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .for_each(|entry| remove_tree(&entry.path()));
    }
    let _ = std::fs::remove_dir(path);
}
