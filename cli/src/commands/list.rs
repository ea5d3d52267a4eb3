//! `pegboard list`: every plugin, where it stands and why, and what mends it.

use clap::Args;
use manifest_schema::ToolName;
use policy::Advisory;
use registry::Entry;
use serde_json::{Value, json};
use server::{BrokenPlugin, PluginEntry, ServedTool};

use super::{
    powers,
    shelf::{self, Found},
    standing::{self, Reason},
};
use crate::{
    args::Shelf,
    failure::Outcome,
    installs,
    output::{Cell, Output, Tone},
    settings::Settings,
    upstream::quarantine::{self, Quarantine},
};

/// Show the plugins, or their tools
///
/// A plugin is served when it holds every key it declares; withheld when one is missing; broken when its manifest is not valid. Each reason comes
/// with the command that mends it. Nothing of the plugins runs.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard list\n  pegboard list --tools\n  pegboard list --plugins ./my-plugins --json")]
pub(crate) struct List {
    /// Show tools instead of plugins
    #[arg(long)]
    tools: bool,
    #[command(flatten)]
    shelf: Shelf,
}

impl List {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let found = shelf::load(settings, &self.shelf)?;
        if self.tools {
            return tools(&found, output);
        }
        let catalog = &found.catalog;
        let kept = catalog.plugins.iter().map(|entry| quarantine::of(&settings.places, entry)).collect::<Outcome<Vec<_>>>()?;
        let plugins = catalog.plugins.iter().zip(&kept).map(|(entry, kept)| document(entry, kept.as_ref(), &found));
        let plugins = plugins.chain(catalog.broken.iter().map(broken_document));
        let lockfile = installs::lockfile(&settings.places)?;
        let idle: Vec<&Entry> = lockfile.entries().filter(|entry| !entry.active).collect();
        let plugins = plugins.chain(idle.iter().map(|entry| idle_document(entry)));
        let document = json!({"level": found.reached.as_str(), "plugins": plugins.collect::<Vec<_>>()});
        output.show(&document, |output| table(&found, &kept, &idle, output))
    }
}

fn document(entry: &PluginEntry, kept: Option<&Quarantine<'_>>, found: &Found) -> Value {
    let manifest = &entry.plugin.manifest;
    json!({
        "name": manifest.name.as_str(),
        "version": manifest.version.to_string(),
        "description": manifest.description,
        "state": standing::state(entry).0,
        "reasons": standing::reasons(entry).iter().map(Reason::document).collect::<Vec<_>>(),
        "tools": entry.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
        "pending": entry.pending.iter().map(ToolName::as_str).collect::<Vec<_>>(),
        "level": {"least": entry.grant.as_ref().map(|grant| grant.least_level().as_str()), "reached": found.reached(&entry.plugin).as_str()},
        "advisory": of_powers(entry, found).iter().map(|advisory| &advisory.text).collect::<Vec<_>>(),
        "source": entry.plugin.source.to_string(),
        "root": entry.plugin.root,
        "notes": entry.notes,
        "quarantined": kept.map_or_else(|| json!([]), Quarantine::document),
    })
}

fn broken_document(broken: &BrokenPlugin) -> Value {
    json!({
        "name": broken.name,
        "version": null,
        "description": null,
        "state": "broken",
        "reasons": standing::broken(broken).iter().map(Reason::document).collect::<Vec<_>>(),
        "diagnostics": broken.diagnostics,
        "tools": [],
        "pending": [],
        "source": broken.source.to_string(),
        "root": broken.root,
        "notes": [],
    })
}

/// An installed plugin that is not served.
fn idle_document(entry: &Entry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "version": entry.release.version.to_string(),
        "description": null,
        "state": "deactivated",
        "reasons": [{"kind": "deactivated", "message": "it was deactivated", "remedy": format!("pegboard activate {}", entry.name)}],
        "tools": [],
        "pending": [],
        "source": "store",
        "notes": [],
    })
}

fn table(found: &Found, kept: &[Option<Quarantine<'_>>], idle: &[&Entry], output: &Output) -> String {
    let catalog = &found.catalog;
    if catalog.plugins.is_empty() && catalog.broken.is_empty() && idle.is_empty() {
        return "no plugins; --plugins DIR adds a folder of them".to_owned();
    }
    let mut rows = Vec::new();
    let mut below = String::new();
    for (entry, kept) in catalog.plugins.iter().zip(kept) {
        let (word, tone) = standing::state(entry);
        let (manifest, listed, pending) = (&entry.plugin.manifest, entry.tools.len(), entry.pending.len());
        rows.push(vec![
            Cell::toned(Tone::Strong, entry.name()),
            manifest.version.to_string().into(),
            Cell::toned(tone, word),
            if pending > 0 {
                format!("{} ({pending} without schema yet)", listed + pending).into()
            } else {
                listed.to_string().into()
            },
            found.reached(&entry.plugin).as_str().into(),
            held(entry, found).into(),
            entry.plugin.source.to_string().into(),
        ]);
        below.push_str(&explain(output, entry.name(), word, tone, &standing::reasons(entry)));
        let remarks = of_powers(entry, found)
            .into_iter()
            .map(|advisory| format!("not enforced: {advisory}"))
            .chain(entry.notes.iter().cloned());
        below.push_str(&remarks.map(|remark| format!("{}: {}\n", entry.name(), crate::clean::line(&remark))).collect::<String>());
        below.push_str(&kept.as_ref().map(|kept| kept.render(output)).unwrap_or_default());
    }
    for entry in idle {
        let name = Cell::toned(Tone::Strong, entry.name.as_str());
        let version = entry.release.version.to_string();
        let state = Cell::toned(Tone::Dim, "deactivated");
        rows.push(vec![name, version.into(), state, "0".into(), "".into(), "".into(), "store".into()]);
    }
    for broken in &catalog.broken {
        rows.push(vec![
            Cell::toned(Tone::Strong, &broken.name),
            "".into(),
            Cell::toned(Tone::Bad, "broken"),
            "0".into(),
            "".into(),
            "".into(),
            broken.source.to_string().into(),
        ]);
        below.push_str(&explain(output, &crate::clean::line(&broken.name), "broken", Tone::Bad, &standing::broken(broken)));
    }
    let table = output.table(&["PLUGIN", "VERSION", "STATE", "TOOLS", "LEVEL", "POWERS", "SOURCE"], rows);
    if below.is_empty() { table } else { format!("{table}\n{below}") }
}

/// What is not enforced of this plugin's powers; what holds for every plugin at the level is said by `info` and `doctor`.
fn of_powers(entry: &PluginEntry, found: &Found) -> Vec<Advisory> {
    let mut said = standing::advisories(entry, found.reached(&entry.plugin));
    said.retain(|advisory| advisory.power.is_some());
    said
}

/// Granted powers that are in force; a star stands for "part of it is not enforced".
fn held(entry: &PluginEntry, found: &Found) -> String {
    let said = of_powers(entry, found);
    let star = |power| if powers::advisory(&said, power).is_some() { "*" } else { "" };
    let granted = entry.grant.iter().flat_map(|grant| &grant.powers).filter(|(power, _)| entry.declared.powers.contains(power));
    granted.map(|(power, scope)| format!("{}{}", powers::with_scope(*power, scope), star(*power))).collect::<Vec<_>>().join(" ")
}

fn explain(output: &Output, name: &str, word: &str, tone: Tone, reasons: &[Reason]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    format!("{name} is {}\n{}", output.paint(tone, word), standing::render(output, reasons))
}

fn tools(found: &Found, output: &Output) -> Outcome {
    let catalog = &found.catalog;
    let document = json!({"tools": catalog.tools.iter().map(|tool| tool_document(tool)).collect::<Vec<_>>()});
    output.show(&document, |output| {
        if catalog.tools.is_empty() {
            return "no tool is served; pegboard list says why".to_owned();
        }
        let rows = catalog.tools.iter().map(|tool| {
            let effect = if tool.read_only() { Cell::toned(Tone::Good, "reads") } else { Cell::toned(Tone::Care, "acts") };
            vec![Cell::toned(Tone::Strong, tool.name.as_str()), effect, (&tool.spec.description).into()]
        });
        output.table(&["TOOL", "EFFECT", "WHAT"], rows.collect())
    })
}

/// A served tool for machines.
pub(crate) fn tool_document(tool: &ServedTool) -> Value {
    json!({
        "name": tool.name.as_str(),
        "plugin": tool.plugin.manifest.name.as_str(),
        "tool": tool.spec.name.as_str(),
        "title": tool.spec.title,
        "description": tool.spec.description,
        "annotations": tool.spec.annotations,
        "input_schema": tool.input_schema(),
        "output_schema": tool.output_schema(),
    })
}
