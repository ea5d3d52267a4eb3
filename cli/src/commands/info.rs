//! `pegboard info`: everything about one plugin: declared against granted, what is advisory, secrets, limits, tools.

use std::rc::Rc;

use clap::Args;
use manifest_schema::{Manifest, Permission, ToolName};
use registry::Entry;
use serde::Serialize;
use serde_json::{Value, json};
use server::PluginEntry;

use super::{
    install::entry_document,
    list::tool_document,
    powers,
    shelf::{self, Found},
    standing::{self, Reason},
};
use crate::{
    args::Shelf,
    clean,
    failure::Outcome,
    installs, operator,
    output::{Cell, Output, Tone},
    settings::Settings,
    upstream::{
        admit::not_served,
        observed,
        quarantine::{self, Quarantine},
    },
};

/// Show everything about a plugin
///
/// What it declares beside what was granted, what the sandbox does not enforce (advisory), which secrets are set, its limits and its tools.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard info weather\n  pegboard info mine --plugins ./my-plugins --json")]
pub(crate) struct Info {
    /// Name of the plugin
    plugin: String,
    #[command(flatten)]
    shelf: Shelf,
}

/// A declared power beside what was granted.
struct Power {
    power: Permission,
    granted: Option<policy::Scope>,
    /// What would not be enforced if it were all granted.
    said: Rc<Vec<policy::Advisory>>,
}

impl Info {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let found = shelf::load(settings, &self.shelf)?;
        let entry = found.entry(&self.plugin)?;
        let set: Vec<String> = operator::secrets::all(&settings.places)?
            .into_iter()
            .filter(|secret| secret.plugin == entry.name() && secret.problem.is_none())
            .filter(|secret| entry.grant.as_ref().is_some_and(|grant| grant.secrets.contains(&secret.name)))
            .map(|secret| secret.name)
            .collect();
        let granted = |power: &Permission| entry.grant.as_ref().and_then(|grant| grant.powers.get(power)).cloned();
        let asked = entry.declared.powers.iter().copied();
        let said = Rc::new(policy::advisory(&entry.plugin.manifest, asked.clone(), found.reached(&entry.plugin)));
        let powers: Vec<Power> = asked.map(|power| Power { power, granted: granted(&power), said: said.clone() }).collect();
        let configuration = operator::config::held(&settings.places, &entry.plugin)?;
        let kept = quarantine::of(&settings.places, entry)?;
        let beside = observed::beside(&settings.places, &entry.plugin.manifest.name);
        let is_installed = entry.plugin.source == policy::Source::Store;
        let installed = installs::lockfile(&settings.places)?.get(entry.name()).filter(|_| is_installed).cloned();
        let mut document = document(&found, entry, &powers, &set, &configuration);
        if let Some(map) = document.as_object_mut() {
            map.insert("mcp".to_owned(), json!(entry.plugin.manifest.mcp));
            map.insert("quarantined".to_owned(), kept.as_ref().map_or_else(|| json!([]), Quarantine::document));
            map.insert("installed".to_owned(), json!(installed.as_ref().map(entry_document)));
            map.insert("not_served".to_owned(), json!({"prompts": beside.prompts, "resources": beside.resources}));
        }
        output.show(&document, |output| {
            let kept = kept.map(|kept| format!("\n{}\n{}", output.paint(Tone::Strong, "Quarantined"), kept.render(output)));
            let beside = not_served(beside.prompts.len(), beside.resources.len());
            let installed = installed.as_ref().map(|entry| life(entry, output)).unwrap_or_default();
            text(&found, entry, &powers, &set, output) + &installed + &kept.unwrap_or_default() + &beside
        })
    }
}

fn document(
    found: &Found,
    entry: &PluginEntry,
    powers: &[Power],
    set: &[String],
    configuration: &serde_json::Map<String, Value>,
) -> Value {
    let manifest = &entry.plugin.manifest;
    json!({
        "name": manifest.name.as_str(),
        "version": manifest.version.to_string(),
        "description": manifest.description,
        "author": manifest.author,
        "license": manifest.license,
        "homepage": manifest.homepage,
        "repository": manifest.repository,
        "runtime": manifest.runtime,
        "isolation": manifest.isolation,
        "state": standing::state(entry).0,
        "reasons": standing::reasons(entry).iter().map(Reason::document).collect::<Vec<_>>(),
        "source": entry.plugin.source.to_string(),
        "root": entry.plugin.root,
        "content": entry.plugin.content.as_str(),
        "level": {"least": entry.grant.as_ref().map(|grant| grant.least_level().as_str()), "reached": found.reached(&entry.plugin).as_str()},
        "powers": powers.iter().map(|power| json!({
            "power": power.power.as_str(),
            "allows": powers::allows(power.power),
            "granted": power.granted.is_some(),
            "folders": power.granted.as_ref().map(|scope| &scope.folders),
            "hosts": power.granted.as_ref().map(|scope| &scope.hosts),
            "advisory": powers::advisory(&power.said, power.power),
        })).collect::<Vec<_>>(),
        "advisory": standing::advisories(entry, found.reached(&entry.plugin)),
        "hosts": entry.declared.hosts,
        "secrets": manifest.secrets.iter().map(|secret| json!({
            "name": secret.name, "description": secret.description, "required": secret.required, "set": set.contains(&secret.name),
        })).collect::<Vec<_>>(),
        "config": {"schema": manifest.config_schema, "set": configuration},
        "limits": limits(manifest),
        "dependencies": manifest.dependencies,
        "python_requires": manifest.python_requires,
        "tools": entry.tools.iter().map(|tool| tool_document(tool)).collect::<Vec<_>>(),
        "pending": entry.pending.iter().map(ToolName::as_str).collect::<Vec<_>>(),
        "notes": entry.notes,
    })
}

/// From where an installed plugin came, and what it can go back to.
fn life(entry: &Entry, output: &Output) -> String {
    let release = &entry.release;
    let signed = if release.signed_by.is_empty() { "nobody you trust".to_owned() } else { release.signed_by.join(", ") };
    let earlier: Vec<String> = entry.previous.iter().map(|release| release.version.to_string()).collect();
    let pinned = if entry.pinned { ", pinned" } else { "" };
    let facts = [
        ("from", release.source.clone()),
        ("digest", format!("sha256:{}", release.digest)),
        ("signed by", signed),
        ("channel", format!("{}{pinned}", installs::index::word(entry.channel))),
        ("rollback to", if earlier.is_empty() { "nothing yet".to_owned() } else { earlier.join(", ") }),
    ];
    let lines: String = facts.iter().map(|(what, text)| format!("{what:<12} {}\n", clean::line(text))).collect();
    format!("\n{}\n{lines}", output.paint(Tone::Strong, "Installed"))
}

fn limits(manifest: &Manifest) -> Value {
    json!({
        "max_memory_mb": manifest.max_memory_mb,
        "max_execution_time": manifest.max_execution_time,
        "max_cpu_percent": manifest.resource_limits.max_cpu_percent,
        "max_disk_mb": manifest.resource_limits.max_disk_mb,
        "max_network_mb": manifest.resource_limits.max_network_mb,
        "max_concurrent_requests": manifest.resource_limits.max_concurrent_requests,
        "advisory": ["max_network_mb"],
    })
}

fn text(found: &Found, entry: &PluginEntry, powers: &[Power], set: &[String], output: &Output) -> String {
    let manifest = &entry.plugin.manifest;
    let (word, tone) = standing::state(entry);
    let mut text = format!(
        "{} {}  {}\n{}\n",
        output.paint(Tone::Strong, entry.name()),
        manifest.version,
        output.paint(tone, word),
        clean::block(&manifest.description)
    );
    text.push_str(&standing::render(output, &standing::reasons(entry)));
    text.push('\n');
    text.push_str(
        &output.table(&["", ""], facts(found, entry)).lines().skip(1).map(|line| format!("{line}\n")).collect::<String>(),
    );
    text.push_str(&section(output, "Powers", power_rows(powers), "declares none"));
    let secrets = manifest.secrets.iter().map(|secret| {
        let state = match (set.contains(&secret.name), secret.required) {
            (true, _) => Cell::toned(Tone::Good, "set"),
            (false, true) => Cell::toned(Tone::Care, "not set"),
            (false, false) => Cell::toned(Tone::Dim, "not set, optional"),
        };
        vec![Cell::toned(Tone::Strong, &secret.name), state, secret.description.as_deref().unwrap_or_default().into()]
    });
    text.push_str(&section(output, "Secrets", secrets.collect(), "asks for none"));
    let tools =
        entry.tools.iter().map(|tool| vec![Cell::toned(Tone::Strong, tool.name.as_str()), (&tool.spec.description).into()]);
    let pending = entry
        .pending
        .iter()
        .map(|tool| vec![Cell::toned(Tone::Dim, tool.as_str()), "its schema is derived when it is served".into()]);
    text.push_str(&section(output, "Tools", tools.chain(pending).collect(), "has none"));
    text.push_str(&entry.notes.iter().map(|note| format!("\nnote: {}\n", clean::line(note))).collect::<String>());
    text
}

fn section(output: &Output, title: &str, rows: Vec<Vec<Cell>>, none: &str) -> String {
    if rows.is_empty() {
        return format!("\n{}: {none}\n", output.paint(Tone::Strong, title));
    }
    let header = vec![""; rows.first().map_or(0, Vec::len)];
    let table: String = output.table(&header, rows).lines().skip(1).map(|line| format!("  {line}\n")).collect();
    format!("\n{}\n{table}", output.paint(Tone::Strong, title))
}

fn power_rows(powers: &[Power]) -> Vec<Vec<Cell>> {
    powers
        .iter()
        .map(|power| {
            let (name, state) = match &power.granted {
                Some(scope) => (powers::with_scope(power.power, scope), Cell::toned(Tone::Good, "granted")),
                None => (power.power.to_string(), Cell::toned(Tone::Care, "not granted")),
            };
            let what = powers::advisory(&power.said, power.power).map_or_else(
                || powers::allows(power.power).to_owned(),
                |advisory| format!("{}; not enforced: {advisory}", powers::allows(power.power)),
            );
            vec![Cell::toned(Tone::Strong, name), state, what.into()]
        })
        .collect()
}

fn facts(found: &Found, entry: &PluginEntry) -> Vec<Vec<Cell>> {
    let manifest = &entry.plugin.manifest;
    let least = entry.grant.as_ref().map_or("", |grant| grant.least_level().as_str());
    let level = if least.is_empty() {
        format!("reaches {}", found.reached(&entry.plugin))
    } else {
        format!("at least {least}, reaches {}", found.reached(&entry.plugin))
    };
    let limits = &manifest.resource_limits;
    let mut rows: Vec<(&str, String)> = vec![
        ("source", format!("{} ({})", entry.plugin.source, entry.plugin.root.display())),
        ("runtime", format!("{}, isolation {}", word(&manifest.runtime), word(&manifest.isolation))),
        ("sandbox", level),
        (
            "limits",
            format!(
                "{} MiB memory, {} s, {} % CPU, {} MiB disk, {} MiB network (advisory), {} calls at once",
                manifest.max_memory_mb,
                manifest.max_execution_time,
                limits.max_cpu_percent,
                limits.max_disk_mb,
                limits.max_network_mb,
                limits.max_concurrent_requests
            ),
        ),
    ];
    let optional = [
        ("author", manifest.author.clone()),
        ("license", manifest.license.clone()),
        ("homepage", manifest.homepage.clone().or_else(|| manifest.repository.clone())),
        ("python", manifest.python_requires.clone()),
    ];
    rows.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let needs: Vec<String> = manifest
        .dependencies
        .iter()
        .map(|dependency| format!("{}{}", dependency.name, dependency.version.as_deref().unwrap_or_default()))
        .collect();
    if !needs.is_empty() {
        rows.push(("needs", needs.join(", ")));
    }
    if manifest.config_schema.is_some() {
        rows.push(("config", format!("pegboard config get {}", manifest.name)));
    }
    rows.into_iter().map(|(key, value)| vec![Cell::toned(Tone::Dim, key), value.into()]).collect()
}

/// The word that a manifest uses for one of its enums.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
