//! How a process is confined, and how one is started at all: product code starts processes only through this crate.
//!
//! [`spawn`] takes a [`Jail`], a plain value, and starts the launcher (this same program, as `pegboard __sandbox`), which enters
//! namespaces, control groups, Landlock and seccomp, drops every privilege, and only then becomes the program. A small
//! monitor stays
//! behind and kills everything when the returned [`Confined`] is dropped or the server dies. [`probe`] says what this machine can
//! enforce; [`run_trusted`] runs the few helper programs of ours that are not confined.
//!
//! The steps, their order and their reasons: docs/sandbox.md. What a plugin may do is decided elsewhere (`policy`); this
//! crate has no
//! opinion, it carries out.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("Pegboard confines plugins with Linux's own means, on x86-64 and arm64; other systems are not supported yet");

pub mod bpf;
pub mod cgroup;
mod enter;
mod error;
mod jail;
mod landlock_rules;
mod launcher;
mod monitor;
mod probe;
mod seccomp;
mod spawn;
mod sys;
mod trusted;
mod wire;

pub use error::{SpawnError, Step, step_name};
pub use jail::{Access, Identity, Jail, Level, Limits, Mount, Scratch, system_mounts};
pub use launcher::launcher_main;
pub use probe::{Capability, LevelReport, probe};
pub use spawn::{Confined, Ended, spawn};
pub use trusted::{Ceiling, Output, TrustedError, TrustedRun, run_trusted};
pub use wire::Entry;
