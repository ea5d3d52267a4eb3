//! `pegboard remove`: takes back what `pegboard add` or `pegboard import-config --apply` wrote: plugin, approval, grants, secrets.

use clap::Args;
use manifest_schema::PluginName;
use serde_json::json;

use super::words;
use crate::{
    failure::{Failure, Outcome},
    operator::{added, approved, grants, secrets},
    output::Output,
    settings::{Places, Settings},
    upstream::observed,
};

/// Remove a plugin that was added
///
/// Its manifest, what was approved and granted, and its secrets. Plugins of folders given with --plugins are not touched. A running server follows
/// within a second and ends the plugin's processes.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  pegboard remove files")]
pub(crate) struct Remove {
    /// Name of the plugin
    plugin: String,
}

impl Remove {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let name = words::plugin_name(&self.plugin)?;
        if !added::exists(&settings.places, &name) {
            return Err(Failure::not_found("plugin.not_added", format!("no plugin `{name}` was added"))
                .hint("pegboard list shows where each plugin comes from; only those of `pegboard add` can be removed"));
        }
        let forgotten = remove(&settings.places, &name)?;
        let document = json!({"plugin": name.as_str(), "removed": true, "secrets": forgotten});
        output.show(&document, |_| format!("removed `{name}`"))
    }
}

/// Removes the plugin first, so that nothing is served without what it was granted.
pub(crate) fn remove(places: &Places, name: &PluginName) -> Outcome<Vec<String>> {
    added::remove(places, name)?;
    approved::forget(places, name)?;
    grants::change(places, |grants| {
        grants.take(name, None);
        Ok(())
    })?;
    let held: Vec<String> =
        secrets::all(places)?.into_iter().filter(|secret| secret.plugin == name.as_str()).map(|secret| secret.name).collect();
    for secret in &held {
        secrets::forget(places, name, &secrets::SecretName::parse(secret)?)?;
    }
    observed::forget(places, name);
    Ok(held)
}
