//! Encoders on this machine: which there can be, where they come from, and which one is used. Searching with them is `index`'s.

mod chosen;
mod gather;
mod hub;
mod install;
mod known;
mod packages;
mod receipt;
mod runtime;
mod staging;

pub(crate) use chosen::{choose, chosen};
pub(crate) use hub::address as hub_address;
pub(crate) use install::{Source, install, remove};
pub(crate) use known::{Fit, KNOWN, Known, fit, known};
pub(crate) use packages::requirement;
pub(crate) use receipt::{Installed, installed};
pub(crate) use runtime::{NAME as RUNTIME_NAME, RuntimeSource, install as install_runtime};

/// What an installation tells while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    /// A line of its own, or of the installer that it uses.
    Line(&'a str),
    /// How much of all files is here.
    Bytes {
        /// Bytes that came.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
}
