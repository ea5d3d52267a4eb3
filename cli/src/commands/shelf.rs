//! Which plugins are there and how they stand: the server's own catalog, looked at without serving.

use std::sync::Arc;

use manifest_schema::Diagnostics;
use policy::{Level, Plugin};
use serde_json::json;
use server::{BrokenPlugin, Catalog, PluginEntry, View};

use super::host;
use crate::{
    args::Shelf,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    settings::Settings,
};

/// What is there.
pub(crate) struct Found {
    /// The server's view.
    pub(crate) catalog: Arc<Catalog>,
    /// The sandbox level that this machine reaches outside of containers.
    pub(crate) reached: Level,
}

/// Looks. Starts no plugin, installs nothing, watches nothing.
pub(crate) fn load(settings: &Settings, shelf: &Shelf) -> Outcome<Found> {
    let mut told = host::settings(settings, shelf)?;
    told.frozen = true;
    told.warm = false;
    let runners = host::narrow(settings, |_| false)?;
    let reached = runners.level;
    let runtime = host::runtime()?;
    let host = host::assemble(&runtime, told, runners.executors)?;
    let catalog = host.catalog();
    // The index that was begun is of no use here; waiting for it would cost as much as making it.
    runtime.shutdown_background();
    Ok(Found { catalog, reached })
}

impl Found {
    /// The level that the calls of a plugin run at.
    pub(crate) fn reached(&self, plugin: &Plugin) -> Level {
        if plugin.manifest.container.is_some() { Level::L3 } else { self.reached }
    }

    /// Every plugin that could be read.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.catalog.plugins.iter().map(|entry| &*entry.plugin)
    }

    /// The plugin of a name.
    pub(crate) fn plugin(&self, name: &str) -> Outcome<&Plugin> {
        self.entry(name).map(|entry| &*entry.plugin)
    }

    /// The plugin of a name, and how it stands.
    pub(crate) fn entry(&self, name: &str) -> Outcome<&PluginEntry> {
        if let Some(entry) = self.catalog.plugin(name) {
            return Ok(entry);
        }
        if let Some(broken) = self.catalog.broken.iter().find(|broken| broken.name == name) {
            return Err(is_broken(broken));
        }
        let known = self
            .catalog
            .plugins
            .iter()
            .map(|entry| entry.name())
            .chain(self.catalog.broken.iter().map(|broken| broken.name.as_str()));
        let hint =
            nearest(name, known).unwrap_or_else(|| "pegboard list shows what is there; --plugins DIR adds a folder".to_owned());
        Err(Failure::not_found("plugin.not_found", format!("there is no plugin `{name}`")).hint(hint))
    }

    /// Tools that are served.
    pub(crate) fn tool_count(&self) -> usize {
        self.catalog.tools.len()
    }

    /// About how many tokens the list of a view costs a model, at four bytes a token.
    pub(crate) fn list_tokens(&self, view: View) -> usize {
        self.catalog.list_bytes(view) / 4
    }
}

/// Why a plugin that can't be read can't be used.
pub(crate) fn is_broken(broken: &BrokenPlugin) -> Failure {
    let Diagnostics(problems) = &broken.diagnostics;
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    Failure::new(Exit::Invalid, "plugin.broken", format!("plugin `{}` is broken: {first}{more}", broken.name))
        .hint(format!("pegboard validate {}", broken.root.display()))
        .document(json!({"plugin": broken.name, "diagnostics": broken.diagnostics}))
}
