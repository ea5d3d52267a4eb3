//! What the commands about installed plugins share: the store of this home, how a package gets here, what is shown before it is accepted, and
//! what is kept so that one command brings back what ran before.
//!
//! The stages and the store itself are in `registry`; here is what needs a network, a process, a clock or the operator.

pub(crate) mod accept;
pub(crate) mod fetch;
pub(crate) mod git;
pub(crate) mod index;
pub(crate) mod kept;
pub(crate) mod needs;
pub(crate) mod request;
mod tree;
pub(crate) mod web;

use std::time::{SystemTime, UNIX_EPOCH};

use registry::{Day, Entry, Error, Lockfile, Release, Steady, Store, Writer};
use serde::{Deserialize, Serialize};

use crate::{
    commands::packages,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    settings::Places,
};

/// The store of this home.
pub(crate) fn store(places: &Places) -> Store {
    Store::at(&places.data, &places.config)
}

/// Carries out what an ended command had decided, so that nobody reads half of it. While the answer is held, nothing changes.
pub(crate) fn settle(places: &Places) -> Outcome<Steady> {
    store(places).steady().map_err(|error| failure(&error))
}

/// The right to change what is installed. Waits for other commands.
pub(crate) fn write(places: &Places) -> Outcome<Writer> {
    store(places).write().map_err(|error| failure(&error))
}

/// What is installed.
pub(crate) fn lockfile(places: &Places) -> Outcome<Lockfile> {
    let _steady = settle(places)?;
    store(places).read().map_err(|error| failure(&error))
}

/// How a problem of the store ends the program.
pub(crate) fn failure(error: &Error) -> Failure {
    packages::failure(error)
}

/// The installed plugin of a name.
pub(crate) fn entry<'a>(lockfile: &'a Lockfile, name: &str) -> Outcome<&'a Entry> {
    lockfile.get(name).ok_or_else(|| {
        let hint = nearest(name, lockfile.entries().map(|entry| entry.name.as_str()));
        Failure::not_found("plugin.not_installed", format!("no plugin `{name}` is installed"))
            .hint(hint.unwrap_or_else(|| "pegboard list shows what is there and where it comes from".to_owned()))
    })
}

/// One line of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// When, in UTC.
    pub(crate) at: String,
    /// Seconds since 1970.
    pub(crate) seconds: u64,
    /// Which command.
    pub(crate) what: String,
    /// Which plugin.
    pub(crate) plugin: String,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The version after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Digest of the package that is served after it, or was before it was taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// What the lockfile said of a plugin that was taken out: what brings it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<String>,
}

impl Done {
    /// A line of now.
    pub(crate) fn new(what: &str, plugin: &str, from: Option<&Release>, to: Option<&Release>) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Self {
            at: format!("{}T{hour:02}:{minute:02}:{second:02}Z", Day::of_seconds(seconds)),
            seconds,
            what: what.to_owned(),
            plugin: plugin.to_owned(),
            from: from.map(|release| release.version.to_string()),
            to: to.map(|release| release.version.to_string()),
            digest: to.or(from).map(|release| release.digest.to_string()),
            entry: None,
        }
    }

    /// As it is written.
    pub(crate) fn line(&self) -> Outcome<String> {
        serde_json::to_string(self).map_err(|error| anyhow::anyhow!("could not encode the history: {error}").into())
    }
}

/// What was done, oldest first; a line that is not understood is left out.
pub(crate) fn history(store: &Store) -> Outcome<Vec<Done>> {
    let lines = store.history().map_err(|error| failure(&error))?;
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Refuses what the lockfile can't have had.
pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Failure {
    Failure::new(Exit::Invalid, code, message)
}
