//! Real jails, attacked. Each denial stands beside its positive control: the same act outside, or where it is granted.
//!
//! Every test runs for the user it is started as; started as root, `ordinary_user` runs all of them once more as uid 65534.
//! What only root can show is registered with `needs_root`, which says so instead of passing in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the control of a confined process is an unconfined one")]

mod calls;
mod files;
mod harness;
mod leaks;
mod life;
mod limits;
mod network;
mod ordinary_user;
mod probe;
