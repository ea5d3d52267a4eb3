//! Encoders on this machine: which there can be, where they come from, and which one is used. Searching with them is `index`'s.

mod chosen;
mod install;
mod known;
mod packages;

pub(crate) use chosen::{choose, chosen};
pub(crate) use install::{Source, install, installed, remove, runtime};
pub(crate) use known::{KNOWN, known};
pub(crate) use packages::requirement;
