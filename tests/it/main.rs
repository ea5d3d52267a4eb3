//! The product as its users meet it: the built binary over stdio, HTTP, signals and the command line, a file a behaviour.
//!
//! What a crate can show by itself is tested there. Attacks on the sandbox are in `attacks/`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is what a test is for")]
#![allow(clippy::disallowed_methods, reason = "tests start the binary; they are no part of the product")]

mod grants;
mod http;
mod installed;
mod prompts;
mod reload;
mod sessions;
mod signals;
mod stdio;
mod survival;
mod tokens;
