//! Packages as their authors, their attackers and their readers meet them. `raw` writes archives byte by byte, as no library would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that can't go on must stop; one starts another program's zip reader"
)]

mod dependencies;
mod hostile;
mod names;
mod package;
mod raw;
mod signature;
mod store;
