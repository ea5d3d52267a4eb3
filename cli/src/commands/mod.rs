//! One file a command: its flags, what it does, and how its result looks. What they share stands beside them.

pub(crate) mod activate;
pub(crate) mod add;
pub(crate) mod approve;
pub(crate) mod asking;
pub(crate) mod call;
mod check_folder;
pub(crate) mod client_config;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod dev;
pub(crate) mod doctor;
mod embedder;
pub(crate) mod engine;
pub(crate) mod eval;
pub(crate) mod grant;
pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod import;
pub(crate) mod import_config;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod install;
pub(crate) mod keygen;
pub(crate) mod learn;
pub(crate) mod list;
mod machine;
pub(crate) mod models;
pub(crate) mod package;
pub(crate) mod packages;
pub(crate) mod pin;
mod powers;
mod progress;
pub(crate) mod publish;
mod readying;
pub(crate) mod remove;
pub(crate) mod revoke;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod shelf;
pub(crate) mod sign;
mod standing;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod trust;
pub(crate) mod uninstall;
pub(crate) mod update;
pub(crate) mod validate;
mod vendor;
pub(crate) mod verify;
mod words;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::{
    args::Global,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// What is logged when neither a flag, the environment nor pegboard.toml says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultLog {
    /// Nothing: the command says itself what went wrong.
    Off,
    /// A server that somebody watches.
    Serving,
    /// A server whose log goes to a file that nobody empties.
    InBackground,
}

/// Log lines go to stderr: a server's by default, any other command's when they are asked for.
pub(crate) fn start_log(global: &Global, settings: &Settings, default: DefaultLog) -> Outcome {
    let serving = default != DefaultLog::Off;
    let default = match default {
        DefaultLog::Off => "off",
        // The protocol library says a line or two for every request.
        DefaultLog::Serving => "info,rmcp=warn",
        DefaultLog::InBackground => "warn,rmcp=error",
    };
    let wanted = global.log.as_deref().or(settings.file.log.as_deref().filter(|_| serving)).unwrap_or(default);
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        Failure::usage("log.filter", format!("`{wanted}` is no log filter: {error}"))
            .hint("for example: --log info,pegboard_server=debug")
    })?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let started = if global.log_json { log.json().try_init() } else { log.try_init() };
    started.map_err(|error| Failure::from(anyhow::anyhow!("could not start the log: {error}")))
}
