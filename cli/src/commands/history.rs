//! `pegboard history`: what was installed, updated, rolled back and uninstalled, and when.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    failure::Outcome,
    installs::{self, Done},
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Show what was done with installed plugins
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard history\n  pegboard history text_analysis --json")]
pub(crate) struct History {
    /// Of this plugin alone
    plugin: Option<String>,
}

impl History {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let _steady = installs::settle(&settings.places)?;
        let mut history = installs::history(&installs::store(&settings.places))?;
        history.retain(|done| self.plugin.as_ref().is_none_or(|plugin| done.plugin == *plugin));
        output.show(&json!({"history": history.iter().map(document).collect::<Vec<_>>()}), |output| {
            if history.is_empty() {
                return "nothing was done yet".to_owned();
            }
            let rows = history.iter().map(|done| {
                let [from, to] = [&done.from, &done.to].map(|version| version.clone().unwrap_or_default());
                vec![(&done.at).into(), (&done.what).into(), Cell::toned(Tone::Strong, &done.plugin), from.into(), to.into()]
            });
            output.table(&["WHEN", "WHAT", "PLUGIN", "FROM", "TO"], rows.collect())
        })
    }
}

fn document(done: &Done) -> Value {
    let digest = done.digest.as_ref().map(|digest| format!("sha256:{digest}"));
    json!({"at": done.at, "what": done.what, "plugin": done.plugin, "from": done.from, "to": done.to, "digest": digest})
}
