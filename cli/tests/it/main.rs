//! The program as its users meet it: flags in, exit code, documents and files out. Each file is one behaviour; the harness is `run`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    reason = "a test that can't go on must stop; it starts the program under test; literals are passed whole"
)]

mod author;
mod client_config;
mod config;
mod crowd;
mod encoder;
mod engine;
mod eval;
mod faults;
mod grants;
mod help;
mod hub;
mod import;
mod import_config;
mod installs;
mod json;
mod learn;
mod models;
mod needs;
mod packages;
mod pages;
mod repository;
mod run;
mod secrets;
mod serve;
mod settings;
mod shelf;
mod tokens;
mod upstream;
mod validate;
