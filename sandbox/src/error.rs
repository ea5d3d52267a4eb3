//! What can go wrong when a process is confined, as values: the step, the system's error, and a hint for the operator.
//!
//! Rendering is the caller's. Nothing here says what a plugin did; that is the executor's to tell.

use std::io;

use serde::{Deserialize, Serialize};

/// The steps of a confinement, in the order in which they are taken (docs/sandbox.md numbers them alike).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The server starts the launcher.
    Launch,
    /// The launcher reads and checks its jail.
    ReadJail,
    /// Own session, no terminal.
    Session,
    /// The monitor's own signal scope, from which nothing outside can be killed.
    MonitorScope,
    /// User and pid namespace.
    Namespaces,
    /// The one user that exists inside the user namespace.
    IdMap,
    /// The monitor forks the process to be confined.
    Fork,
    /// Dies with its monitor.
    DeathSignal,
    /// Joins the control groups.
    Cgroup,
    /// Mount, network, ipc, uts and cgroup namespace.
    OwnNamespaces,
    /// The file tree.
    Mounts,
    /// `/proc`.
    Proc,
    /// The file tree becomes the root.
    PivotRoot,
    /// Host name.
    Hostname,
    /// Standard descriptors.
    Descriptors,
    /// Resource limits.
    Rlimits,
    /// User, group, supplementary groups.
    Identity,
    /// Capabilities.
    Capabilities,
    /// `no_new_privs`, not dumpable.
    NoNewPrivileges,
    /// Working folder.
    WorkingFolder,
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// The program itself.
    Exec,
}

/// A start that failed. The process is gone when this is returned.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The level was not entered, or the program could not be started.
    #[error("step `{}` of confinement failed: {what}", step_name(*.step))]
    Refused {
        /// Where it failed.
        step: Step,
        /// The system's error number, 0 when the launcher itself refused.
        errno: i32,
        /// What failed and how.
        what: String,
        /// What the operator can do.
        hint: Option<String>,
    },
    /// The launcher ended without a word.
    #[error("the launcher ended before the program started: {0}")]
    Died(String),
    /// The program had not started in time, and was killed.
    #[error("the program had not started within {seconds} s")]
    TimedOut {
        /// The time given.
        seconds: u64,
    },
    /// The server's side failed: no launcher, no descriptors, no processes left.
    #[error("cannot start the launcher: {what}")]
    Launch {
        /// What was tried.
        what: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl SpawnError {
    /// What the operator can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => hint.as_deref(),
            Self::Died(_) | Self::TimedOut { .. } | Self::Launch { .. } => None,
        }
    }
}

/// A step's name as it stands in JSON and in docs/sandbox.md.
#[must_use]
pub fn step_name(step: Step) -> String {
    match serde_json::to_value(step) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{step:?}"),
    }
}

/// A failed step, inside the launcher.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepError {
    pub(crate) step: Step,
    pub(crate) errno: i32,
    pub(crate) what: String,
}

impl StepError {
    pub(crate) fn new(step: Step, what: impl Into<String>) -> Self {
        Self { step, errno: 0, what: what.into() }
    }

    pub(crate) fn io(step: Step, what: &str, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(0), what: format!("{what}: {error}") }
    }

    /// What the operator can do, for the failures that have one common cause.
    pub(crate) fn hint(&self) -> Option<String> {
        let denied = self.errno == libc::EPERM || self.errno == libc::EACCES;
        let text = match self.step {
            Step::Namespaces | Step::IdMap | Step::OwnNamespaces if denied || self.errno == libc::ENOSPC => {
                "this system does not let the user make user namespaces (sysctl user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, or a container's own filter): \
                 allow it, run as root, or accept L1"
            }
            Step::Mounts | Step::PivotRoot if self.errno == libc::ENOSYS => "level L2 needs Linux 5.12 or newer",
            Step::Mounts if self.errno == libc::ELOOP => "give the folder by its real path, without symbolic links",
            Step::Landlock => {
                "levels L1 and L2 need Landlock: Linux 5.13 or newer, with `landlock` in the kernel's list of security modules"
            }
            Step::Exec if self.errno == libc::EACCES => {
                "the program, its interpreter or its loader is not inside a mount, or its folders are closed to the plugin's user"
            }
            Step::Exec if self.errno == libc::ENOENT => "the program or its loader is not inside a mount",
            Step::Exec if self.errno == libc::EAGAIN => "the plugin's user has reached its limit of processes",
            Step::Cgroup => "the control group was removed, or is not writable by this user",
            _ => return None,
        };
        Some(text.to_owned())
    }

    pub(crate) fn into_spawn_error(self) -> SpawnError {
        let hint = self.hint();
        SpawnError::Refused { step: self.step, errno: self.errno, what: self.what, hint }
    }
}

/// Attaches a step to a system error.
pub(crate) trait AtStep<T> {
    fn at(self, step: Step, what: &str) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> AtStep<T> for Result<T, E> {
    fn at(self, step: Step, what: &str) -> Result<T, StepError> {
        self.map_err(|error| StepError::io(step, what, &error.into()))
    }
}
