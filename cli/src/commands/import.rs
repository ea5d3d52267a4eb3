//! `pegboard import`: plugins that were written for other hosts become plugins of ours, a whole tree in one command, each imported or with its
//! reason.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use manifest_schema::foreign::Form;
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    foreign::{self, Candidate},
    output::{Output, Tone},
};

/// Turn plugins of other hosts into plugins of Pegboard
///
/// Looks for folders with a `manifest.json` (a verb and definitions of inputs) or a `plugin.json` (an entry point and a class), and for bundles of
/// MCP servers (`.mcpb`), copies each into a folder of its own with a `plugin.yaml`, and says what could not be carried over. Nothing is run,
/// granted or served by it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard import ./old-plugins -o ./plugins      a whole tree\n  \
                             pegboard import ./old-plugins/weather           one, into ./imported\n  \
                             pegboard import ./server.mcpb && pegboard approve server --plugins ./imported\n  \
                             pegboard serve --plugins ./plugins")]
pub(crate) struct Import {
    /// A plugin's folder, a bundle, or a folder of such folders and bundles
    path: PathBuf,
    /// Where the plugins go; made when it is not there
    #[arg(long, short = 'o', value_name = "DIR", default_value = "imported")]
    output: PathBuf,
}

/// What became of one folder.
struct Report {
    from: PathBuf,
    plugin: Option<String>,
    reason: Option<String>,
    notes: Vec<String>,
}

impl Import {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let candidates = if foreign::is_bundle(&self.path) {
            vec![Candidate::folder(self.path.clone(), Form::ManifestJson)]
        } else if self.path.is_dir() {
            foreign::find(&self.path)?
        } else {
            let message = format!("there is no folder and no bundle `{}`", self.path.display());
            return Err(Failure::not_found("import.not_found", message).hint("name a folder, or a file that ends in .mcpb"));
        };
        if candidates.is_empty() {
            let message = format!("there is no `manifest.json`, no `plugin.json` and no bundle in `{}`", self.path.display());
            return Err(Failure::not_found("import.not_found", message));
        }
        std::fs::create_dir_all(&self.output).map_err(|error| Failure::file("make", &self.output, &error))?;
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let reports: Vec<Report> = candidates.iter().map(|candidate| self.one(candidate, &mut taken)).collect();
        let imported = reports.iter().filter(|report| report.plugin.is_some()).count();
        let document = json!({
            "imported": imported, "refused": reports.len() - imported, "plugins": reports.iter().map(Report::document).collect::<Vec<_>>(),
        });
        if imported == 0 {
            let message = format!("none of {} folders could be imported", reports.len());
            let first = reports.first().and_then(|report| report.reason.clone()).unwrap_or_default();
            return Err(Failure::new(Exit::Invalid, "import.nothing", message).hint(first).document(document));
        }
        output.show(&document, |output| text(output, &reports, imported, &self.output))
    }

    fn one(&self, candidate: &Candidate, taken: &mut BTreeSet<String>) -> Report {
        let from = candidate.root.clone();
        let refused = |reason: String| Report { from: from.clone(), plugin: None, reason: Some(reason), notes: Vec::new() };
        let unpacked = match foreign::is_bundle(&candidate.root).then(|| foreign::unpack(&candidate.root)).transpose() {
            Ok(unpacked) => unpacked,
            Err(reason) => return refused(reason),
        };
        let candidate = unpacked.as_ref().unwrap_or(candidate);
        let mut converted = match foreign::convert(candidate) {
            Ok(converted) => converted,
            Err(reason) => return refused(reason),
        };
        let Some(name) = converted.manifest.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return refused("it has no name".to_owned());
        };
        let free = free_name(&name, |name| taken.contains(name) || self.output.join(name).exists());
        let Some(free) = free else { return refused(format!("no name is free for `{name}`")) };
        if free != name {
            converted.notes.push(format!("`{name}` was taken: it is `{free}`"));
            converted.manifest.insert("name".to_owned(), json!(free));
        }
        let written = foreign::manifest(candidate, &converted)
            .and_then(|manifest| foreign::write(candidate, &converted, &manifest, &self.output.join(&free)));
        match written {
            Ok(()) => {
                taken.insert(free.clone());
                Report { from, plugin: Some(free), reason: None, notes: converted.notes }
            }
            Err(reason) => refused(reason),
        }
    }
}

/// The name, or the name with the first number that is free.
fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> Option<String> {
    if !taken(name) {
        return Some(name.to_owned());
    }
    (2..1_000).find_map(|number| {
        let end = format!("_{number}");
        let head: String = name.chars().take(manifest_schema::PluginName::LIMIT - end.len()).collect();
        let other = format!("{}{end}", head.trim_end_matches('_'));
        (!taken(&other)).then_some(other)
    })
}

impl Report {
    fn document(&self) -> Value {
        json!({"from": self.from, "plugin": self.plugin, "reason": self.reason, "notes": self.notes})
    }
}

fn text(output: &Output, reports: &[Report], imported: usize, target: &Path) -> String {
    let mut text = String::new();
    for report in reports {
        let from = crate::clean::line(&report.from.display().to_string());
        match (&report.plugin, &report.reason) {
            (Some(plugin), _) => text.push_str(&format!("{} {from}\n", output.paint(Tone::Strong, plugin))),
            (None, reason) => {
                let reason = crate::clean::line(reason.as_deref().unwrap_or_default());
                text.push_str(&format!("{} {from}: {reason}\n", output.paint(Tone::Bad, "refused")));
            }
        }
        text.extend(report.notes.iter().map(|note| format!("  {}\n", crate::clean::line(note))));
    }
    let refused = reports.len() - imported;
    text.push_str(&format!(
        "imported {imported}, refused {refused}; next: pegboard validate {0}/*, pegboard serve --plugins {0}\n",
        target.display()
    ));
    text
}
