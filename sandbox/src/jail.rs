//! What a confinement is, as a value: level, folders, identity, limits, and the program to start.
//!
//! Nothing here touches the system. A [`Jail`] is made by the caller, checked by [`Jail::check`], sent to the
//! launcher as JSON and carried out there by `enter`; it can be printed, compared and stored.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Step;

/// How far a process is confined. The order is strength: `L0 < L1 < L2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// No confinement; only a cleared environment, the lifeline and the limits. Never chosen by itself.
    L0,
    /// Landlock, seccomp, rlimits, no capabilities; the host's file tree, process and network namespaces.
    L1,
    /// L1 inside own mount, pid, network, ipc, uts and cgroup namespaces (and a user namespace when not root).
    L2,
}

/// What a confined process may do with a folder or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read, list and execute.
    ReadOnly,
    /// Read, list, create, change and remove.
    ReadWrite,
}

/// A file or folder of the host that is seen at the same absolute path inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path, without `..`.
    pub path: PathBuf,
    /// What may be done with it.
    pub access: Access,
    /// Whether symbolic links in the path are followed (and reproduced inside). Off for what a plugin was granted:
    /// a plugin that may write a folder could otherwise turn a path below it into a link to anything.
    pub follow_symlinks: bool,
    /// Whether a missing path is passed over instead of being an error.
    pub optional: bool,
}

impl Mount {
    /// A part of the host's own installation: read-only, links followed, must exist.
    #[must_use]
    pub fn system(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), access: Access::ReadOnly, follow_symlinks: true, optional: false }
    }

    /// Like [`Mount::system`], passed over when the host does not have it.
    #[must_use]
    pub fn system_if_present(path: impl Into<PathBuf>) -> Self {
        Self { optional: true, ..Self::system(path) }
    }

    /// A folder the operator granted: must exist, and its path must hold no symbolic link.
    #[must_use]
    pub fn granted(path: impl Into<PathBuf>, access: Access) -> Self {
        Self { path: path.into(), access, follow_symlinks: false, optional: false }
    }
}

/// What an interpreter needs of the host besides itself: the dynamic loader, shared libraries, time zones, certificates;
/// with `network`, the files of name resolution too. Nothing here holds a secret: it is world-readable on every host.
#[must_use]
pub fn system_mounts(network: bool) -> Vec<Mount> {
    const BASE: &[&str] = &[
        "/lib",
        "/lib32",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/share/zoneinfo",
        "/usr/share/ca-certificates",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/ssl/certs",
        "/etc/ssl/openssl.cnf",
        "/etc/pki/tls/certs",
        "/etc/pki/ca-trust/extracted",
    ];
    const NETWORK: &[&str] = &[
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/host.conf",
        "/etc/nsswitch.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/etc/protocols",
    ];
    let network: &[&str] = if network { NETWORK } else { &[] };
    BASE.iter().chain(network).map(Mount::system_if_present).collect()
}

/// Room for temporary files. At [`Level::L2`] a tmpfs at `/tmp` (and `/dev/shm`), gone with the process;
/// at [`Level::L1`] and [`Level::L0`] a folder of the host that the caller makes, owns and removes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scratch {
    /// Size in MiB. Enforced by the tmpfs at L2; at L1 only the size of one file is (RLIMIT_FSIZE).
    pub size_mb: u64,
    /// Number of files and folders, enforced at L2.
    pub inodes: u64,
    /// The folder used at L1 and L0 (ignored at L2); it must belong to the identity the program runs under.
    pub host_dir: Option<PathBuf>,
}

/// The user a program runs as. Needed when the launcher is root, refused when it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// User id, not 0.
    pub uid: u32,
    /// Group id, not 0.
    pub gid: u32,
    /// Whether nothing else on the host runs under this uid. Only then is RLIMIT_NPROC set: it counts the whole uid.
    pub exclusive: bool,
}

/// Limits, each soft = hard. `None` leaves the inherited limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// RLIMIT_NOFILE, a count.
    pub open_files: u64,
    /// RLIMIT_FSIZE in MiB.
    pub file_size_mb: Option<u64>,
    /// RLIMIT_NPROC, set only with an exclusive [`Identity`].
    pub processes: Option<u64>,
    /// RLIMIT_AS in MiB: the memory limit where there is no cgroup.
    pub address_space_mb: Option<u64>,
    /// RLIMIT_DATA in MiB.
    pub data_mb: Option<u64>,
    /// RLIMIT_CPU in seconds of CPU time.
    pub cpu_seconds: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_files: 256,
            file_size_mb: Some(64),
            processes: None,
            address_space_mb: None,
            data_mb: None,
            cpu_seconds: None,
        }
    }
}

/// One confinement and the program that is started in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Entered exactly, or the start fails.
    pub level: Level,
    /// Files and folders of the host that are visible, besides the scratch room and a few device nodes.
    pub mounts: Vec<Mount>,
    /// Room for temporary files.
    pub scratch: Scratch,
    /// Working folder; inside a mount or the scratch room.
    pub workdir: PathBuf,
    /// Whether the host's network is shared. Otherwise there is none.
    pub network: bool,
    /// Whether the program may start other programs that it brings along: allows executing files in the scratch room and
    /// in read-write folders. `execve` itself is not refused by the launcher, since the launcher's program needs it; a
    /// program that wants it refused adds [`crate::bpf::no_exec_filter`].
    pub spawn_allowed: bool,
    /// The user the program runs as.
    pub identity: Option<Identity>,
    /// Limits of the process.
    pub limits: Limits,
    /// `cgroup.procs` files the program joins before anything else (from [`crate::cgroup::Slot::procs_files`]).
    pub cgroups: Vec<PathBuf>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Program and arguments; the program is an absolute path inside.
    pub argv: Vec<String>,
    /// Enter everything, report what was reached, and exit 0 instead of starting `argv`.
    pub probe: bool,
    /// The control descriptor is the program's standard input too, for programs that read their orders there; otherwise it is empty.
    #[serde(default)]
    pub control_is_input: bool,
}

impl Jail {
    /// A jail with nothing granted: no mounts, no network, 16 MiB of scratch room, default limits, empty environment.
    #[must_use]
    pub fn new(level: Level, argv: Vec<String>) -> Self {
        Self {
            level,
            mounts: Vec::new(),
            scratch: Scratch { size_mb: 16, inodes: 4096, host_dir: None },
            workdir: PathBuf::from("/"),
            network: false,
            spawn_allowed: false,
            identity: None,
            limits: Limits::default(),
            cgroups: Vec::new(),
            env: BTreeMap::new(),
            argv,
            probe: false,
            control_is_input: false,
        }
    }

    /// The scratch room's path as the program sees it.
    #[must_use]
    pub fn scratch_path(&self) -> Option<&Path> {
        match self.level {
            Level::L2 => Some(Path::new("/tmp")),
            Level::L0 | Level::L1 => self.scratch.host_dir.as_deref(),
        }
    }

    /// Refuses a jail that cannot mean what it says: relative paths, root as identity, no program, no scratch folder at L1.
    pub(crate) fn check(&self, launcher_is_root: bool) -> Result<(), InvalidJail> {
        let fault = |what: String| Err(InvalidJail { step: Step::ReadJail, what });
        if !self.probe {
            match self.argv.first() {
                None => return fault("`argv` is empty".into()),
                Some(program) if !program.starts_with('/') => {
                    return fault(format!("program `{program}` is not an absolute path"));
                }
                Some(_) => {}
            }
        }
        let has_nul = |text: &str| text.contains('\0');
        if self.argv.iter().any(|a| has_nul(a)) || self.env.iter().any(|(k, v)| has_nul(k) || k.contains('=') || has_nul(v)) {
            return fault("`argv` or `env` holds a NUL byte, or a variable's name holds `=`".into());
        }
        let paths =
            self.mounts.iter().map(|m| m.path.as_path()).chain([self.workdir.as_path()]).chain(self.scratch.host_dir.as_deref());
        for path in paths {
            if !is_plain_absolute(path) {
                return fault(format!("path `{}` is not absolute or holds `..`", path.display()));
            }
        }
        if let Some(root) = self.mounts.iter().find(|m| m.path == Path::new("/")) {
            return fault(format!("`{}` cannot be mounted: it would hide nothing", root.path.display()));
        }
        if self.level < Level::L2 && self.scratch.host_dir.is_none() && !self.probe {
            return fault(format!("{:?} needs `scratch.host_dir`", self.level));
        }
        match (launcher_is_root, self.identity) {
            (true, None) if self.level > Level::L0 => fault("root needs an `identity` to run the program under".into()),
            (_, Some(Identity { uid: 0, .. } | Identity { gid: 0, .. })) => fault("`identity` is root".into()),
            (false, Some(id)) => fault(format!("`identity` {} can be taken only by root", id.uid)),
            _ => Ok(()),
        }
    }
}

/// Why a jail was refused before anything was done.
#[derive(Debug)]
pub(crate) struct InvalidJail {
    pub(crate) step: Step,
    pub(crate) what: String,
}

/// Absolute and made of names only: the launcher walks such paths one component at a time.
fn is_plain_absolute(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Jail {
        Jail {
            identity: Some(Identity { uid: 200_000, gid: 200_000, exclusive: true }),
            ..Jail::new(Level::L2, vec!["/bin/true".into()])
        }
    }

    #[test]
    fn a_sound_jail_is_accepted_and_survives_json() {
        let jail = sound();
        assert!(jail.check(true).is_ok());
        let json = serde_json::to_string(&jail).unwrap();
        assert_eq!(serde_json::from_str::<Jail>(&json).unwrap(), jail);
    }

    #[test]
    fn each_fault_is_named() {
        let check = |expected: &str, root: bool, change: &dyn Fn(&mut Jail)| {
            let mut jail = sound();
            change(&mut jail);
            let found = jail.check(root).expect_err(expected).what;
            assert!(found.contains(expected), "expected `{expected}` in `{found}`");
        };
        check("`argv` is empty", true, &|j| j.argv.clear());
        check("not an absolute path", true, &|j| j.argv[0] = "true".into());
        check("NUL", true, &|j| j.argv.push("a\0b".into()));
        check("holds `=`", true, &|j| drop(j.env.insert("A=B".into(), String::new())));
        check("holds `..`", true, &|j| j.mounts.push(Mount::system("/usr/../etc")));
        check("holds `..`", true, &|j| j.workdir = "tmp".into());
        check("would hide nothing", true, &|j| j.mounts.push(Mount::system("/")));
        check("scratch.host_dir", true, &|j| j.level = Level::L1);
        check("needs an `identity`", true, &|j| j.identity = None);
        check("is root", true, &|j| j.identity = Some(Identity { uid: 0, gid: 1, exclusive: true }));
        check("is root", true, &|j| j.identity = Some(Identity { uid: 1, gid: 0, exclusive: true }));
        check("only by root", false, &|_| {});
    }
}
