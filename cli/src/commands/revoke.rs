//! `pegboard revoke`: takes granted powers back. Works for plugins that are no longer there, too.

use clap::Args;
use manifest_schema::{Permission, PluginName};
use serde_json::json;

use super::words;
use crate::{
    failure::{Failure, Outcome},
    operator,
    output::Output,
    settings::Settings,
};

/// Take granted powers back
///
/// Without POWER everything that was granted to the plugin is taken back. A running server follows within a second:
/// it ends the plugin's processes and stops serving its tools.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard revoke weather network_access\n  pegboard revoke weather")]
pub(crate) struct Revoke {
    /// Name of the plugin
    plugin: String,
    /// A power, such as network_access
    power: Option<String>,
}

impl Revoke {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let plugin = words::plugin_name(&self.plugin)?;
        let power = self.power.as_deref().map(words::power).transpose()?;
        let taken = operator::grants::change(&settings.places, |grants| Ok(grants.take(&plugin, power)))?;
        if !taken {
            return Err(nothing(&plugin, power));
        }
        let document = json!({"plugin": plugin.as_str(), "revoked": power.map_or("everything", Permission::as_str)});
        output.show(&document, |_| match power {
            Some(power) => format!("revoked `{power}` from `{plugin}`"),
            None => format!("revoked everything from `{plugin}`"),
        })
    }
}

fn nothing(plugin: &PluginName, power: Option<Permission>) -> Failure {
    let what = power.map_or_else(|| "nothing".to_owned(), |power| format!("no `{power}`"));
    Failure::not_found("grant.not_found", format!("plugin `{plugin}` holds {what}"))
        .hint("pegboard grants shows what was granted")
}
