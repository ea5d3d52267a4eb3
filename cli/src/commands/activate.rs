//! `pegboard activate` and `pegboard deactivate`: whether an installed plugin is served. Nothing else about it changes.

use clap::Args;
use serde_json::json;

use super::words;
use crate::{
    failure::Outcome,
    installs::{self, Done},
    output::{Output, Tone},
    settings::Settings,
};

/// Serve an installed plugin again
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  pegboard activate text_analysis")]
pub(crate) struct Activate {
    /// Name of the plugin
    plugin: String,
}

/// Stop serving an installed plugin
///
/// It stays installed, with its grants and its configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  pegboard deactivate text_analysis")]
pub(crate) struct Deactivate {
    /// Name of the plugin
    plugin: String,
}

impl Activate {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        set(settings, output, &self.plugin, true)
    }
}

impl Deactivate {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        set(settings, output, &self.plugin, false)
    }
}

fn set(settings: &Settings, output: &Output, plugin: &str, active: bool) -> Outcome {
    let name = words::plugin_name(plugin)?;
    let writer = installs::write(&settings.places)?;
    let mut lockfile = writer.lockfile().clone();
    let before = installs::entry(&lockfile, name.as_str())?.clone();
    if let Some(entry) = lockfile.get_mut(name.as_str()) {
        entry.active = active;
    }
    if before.active != active {
        let what = if active { "activate" } else { "deactivate" };
        let line = Done::new(what, name.as_str(), Some(&before.release), Some(&before.release)).line()?;
        writer.commit(&lockfile, &line, Vec::new()).map_err(|error| installs::failure(&error))?;
    }
    output.show(&json!({"plugin": name.as_str(), "active": active, "changed": before.active != active}), |output| {
        // Whether it is served depends on its grants and its signature, too: `pegboard list` says.
        let word = if active { "active" } else { "not active" };
        output.paint(Tone::Good, &format!("{name} {} is {word}", before.release.version))
    })
}
