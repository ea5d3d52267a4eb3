//! What the tests, the soak and the benches share: starting the built binary, speaking to it, and looking at its processes.
//!
//! Knows the product only from outside: its command line, its wire, its processes. Nothing here judges an answer.
#![allow(clippy::disallowed_methods, reason = "tests start the binary and read where it is; they are no part of the product")]

pub mod http;
pub mod processes;
pub mod report;
pub mod server;
pub mod stdio;
