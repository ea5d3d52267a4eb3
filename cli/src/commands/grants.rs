//! `pegboard grants`: what was granted, to whom, and whether it still fits a plugin that is there.

use clap::Args;
use policy::{Advisory, Declared, Grant, Grants as AllGrants};
use serde_json::{Value, json};

use super::{powers, shelf};
use crate::{
    args::Shelf,
    failure::Outcome,
    operator,
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Show what was granted
///
/// A grant belongs to a plugin's name, its source and what it declared when the grant was given: its powers, its secrets, its configuration. `stale` means that the plugin there now is
/// another one, or asks for something else: the grant gives it nothing, and `pegboard revoke` removes it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard grants\n  pegboard grants --plugins ./my-plugins --json")]
pub(crate) struct Grants {
    #[command(flatten)]
    shelf: Shelf,
}

impl Grants {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let grants = operator::grants::read(&settings.places)?;
        let found = shelf::load(settings, &self.shelf)?;
        let in_use: Vec<bool> = grants
            .grants
            .iter()
            .map(|grant| found.plugins().any(|plugin| grants.of(plugin, &Declared::of(&plugin.manifest)) == Some(grant)))
            .collect();
        let said = |grant: &Grant| {
            let plugin = found.plugins().find(|plugin| grants.of(plugin, &Declared::of(&plugin.manifest)) == Some(grant));
            plugin.map_or_else(Vec::new, |plugin| {
                policy::advisory(&plugin.manifest, grant.powers.keys().copied(), found.reached(plugin))
            })
        };
        let document = json!({
            "grants": grants.grants.iter().zip(&in_use).map(|(grant, in_use)| document(grant, *in_use, &said(grant))).collect::<Vec<_>>()
        });
        output.show(&document, |output| table(&grants, &in_use, output))
    }
}

fn document(grant: &Grant, in_use: bool, said: &[Advisory]) -> Value {
    json!({
        "plugin": grant.plugin.as_str(),
        "source": grant.source.to_string(),
        "declared": grant.declared.as_str(),
        "level": grant.least_level().as_str(),
        "in_use": in_use,
        "powers": grant.powers.iter().map(|(power, scope)| json!({
            "power": power.as_str(), "folders": scope.folders, "hosts": scope.hosts, "advisory": powers::advisory(said, *power),
        })).collect::<Vec<_>>(),
        "secrets": grant.secrets,
        "config": grant.config,
    })
}

fn table(grants: &AllGrants, in_use: &[bool], output: &Output) -> String {
    if grants.grants.is_empty() {
        return "nothing was granted; plugins that need nothing run without a grant".to_owned();
    }
    let mut rows = Vec::new();
    for (grant, in_use) in grants.grants.iter().zip(in_use) {
        let state = if *in_use { Cell::toned(Tone::Good, "in use") } else { Cell::toned(Tone::Dim, "stale") };
        let powers = grant.powers.iter().map(|(power, scope)| powers::with_scope(*power, scope));
        let secrets = grant.secrets.iter().map(|secret| format!("secret {secret}"));
        let held: Vec<String> = powers.chain(secrets).chain(grant.config.then(|| "configuration".to_owned())).collect();
        rows.push(vec![
            Cell::toned(Tone::Strong, grant.plugin.as_str()),
            state,
            grant.least_level().as_str().into(),
            if held.is_empty() { "nothing".into() } else { held.join(", ").into() },
            grant.source.to_string().into(),
        ]);
    }
    output.table(&["PLUGIN", "STATE", "LEVEL", "HOLDS", "SOURCE"], rows)
}
