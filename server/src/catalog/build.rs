//! Puts a catalog together: plugins from the folders, the operator's side, and what the sandbox derived. Blocking, off the request path.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use manifest_schema::{Diagnostics, Digest, Runtime, ServedName, Status, ToolSpec};
use policy::{Declared, Definition, Level, Missing, Plugin, Source, readiness};
use registry::Lease;
use semver::Version;

use super::{
    Availability, BrokenPlugin, Catalog, Known, PluginEntry, Schema, ServedTool, load::Found, load::problem,
    neighbours::Neighbours, upstream,
};
use crate::{Operator, gate::Gate, mcp::Lists, observed::Record};

/// What a plugin's preparation came to, kept by name and content.
#[derive(Debug, Clone)]
pub(crate) enum Preparation {
    /// Its tools, every schema filled in.
    Ready(Arc<Vec<ToolSpec>>),
    /// What went wrong.
    Failed(String),
}

/// Everything a catalog is made of.
pub(crate) struct Ingredients<'a> {
    pub(crate) generation: u64,
    pub(crate) found: Found,
    pub(crate) operator: Arc<Operator>,
    pub(crate) prepared: &'a HashMap<(String, Digest), Preparation>,
    pub(crate) previous: Option<&'a Catalog>,
    pub(crate) reached: Level,
    /// Runtimes that an executor is there for.
    pub(crate) runtimes: Vec<Runtime>,
    /// What upstream servers were seen to offer, by plugin.
    pub(crate) records: HashMap<String, Record>,
    /// Installed plugins that nobody vouches for, where somebody has to, with the reason.
    pub(crate) untrusted: BTreeMap<String, String>,
    pub(crate) lease: Option<Arc<Lease>>,
    pub(crate) queue_per_plugin: usize,
    pub(crate) lists: Lists,
}

/// Puts the catalog together. What is wrong with one plugin is in the catalog, and concerns that plugin alone.
pub(crate) fn build(ingredients: Ingredients<'_>) -> Catalog {
    let mut broken = std::mem::take(&mut { ingredients.found.broken.clone() });
    let mut plugins = Vec::with_capacity(ingredients.found.plugins.len());
    let neighbours = Neighbours::of(&ingredients.found.plugins, |plugin| untrusted(&ingredients, plugin).is_some());
    for (plugin, notes) in &ingredients.found.plugins {
        match entry(&ingredients, &neighbours, plugin, notes) {
            Ok(entry) => plugins.push(Arc::new(entry)),
            Err(diagnostics) => broken.push(BrokenPlugin {
                name: plugin.manifest.name.to_string(),
                root: plugin.root.clone(),
                source: plugin.source.clone(),
                diagnostics,
            }),
        }
    }
    plugins.sort_by(|a, b| a.name().cmp(b.name()));
    broken.sort_by(|a, b| (&a.name, &a.root).cmp(&(&b.name, &b.root)));
    let mut known = BTreeMap::new();
    let mut tools = Vec::new();
    for plugin in &plugins {
        for tool in &plugin.tools {
            if plugin.availability == Availability::Served {
                tools.push(tool.clone());
            }
            known.insert(tool.name.clone(), Known { plugin: plugin.clone(), tool: Some(tool.clone()) });
        }
        for tool in &plugin.pending {
            let name = ServedName::new(&plugin.plugin.manifest.name, tool);
            known.insert(name, Known { plugin: plugin.clone(), tool: None });
        }
    }
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    Catalog {
        generation: ingredients.generation,
        plugins,
        broken,
        operator: ingredients.operator,
        tools,
        lease: ingredients.lease,
        known,
        lists: ingredients.lists,
    }
}

fn entry(
    ingredients: &Ingredients<'_>,
    neighbours: &Neighbours,
    plugin: &Arc<Plugin>,
    notes: &[String],
) -> Result<PluginEntry, Diagnostics> {
    let name = plugin.manifest.name.as_str();
    let previous = ingredients.previous.and_then(|catalog| catalog.plugin(name));
    let preparation = ingredients.prepared.get(&(name.to_owned(), plugin.content.clone()));
    let specs = match preparation {
        Some(Preparation::Ready(derived)) => complete(plugin, derived),
        _ => plugin.manifest.mcps.clone(),
    };
    let operator = &ingredients.operator;
    let approval = operator.approvals.get(name).map(|approved| &approved.approval).filter(|approval| approval.fits(plugin));
    let mut offered = approval.map(|approval| upstream::offer(&plugin.manifest, approval, ingredients.records.get(name)));
    let is_upstream = plugin.manifest.runtime == Runtime::Mcp;
    let (tools, pending) = match (&mut offered, is_upstream) {
        (_, false) => tools(plugin, &specs, previous)?,
        (Some(offered), true) => (upstream_tools(plugin, offered, previous), Vec::new()),
        (None, true) => (Vec::new(), Vec::new()),
    };
    let offered = offered.filter(|_| is_upstream);
    let declared = Declared::of(&plugin.manifest);
    let grant = operator.grants.of(plugin, &declared);
    let kept = operator.config.get(name);
    // Kept by name; judged and handed over only when it is this plugin's.
    let config = kept.filter(|_| grant.is_some_and(|grant| grant.config)).cloned().unwrap_or_default();
    let config_problem = config_problem(plugin, operator, &config)?;
    let limit = plugin.manifest.resource_limits.max_concurrent_requests as usize;
    let gate = previous
        .filter(|entry| entry.gate.limit() == limit.max(1))
        .map_or_else(|| Arc::new(Gate::new(limit, ingredients.queue_per_plugin)), |entry| entry.gate.clone());
    let mut entry = PluginEntry {
        plugin: plugin.clone(),
        grant: grant.cloned(),
        declared,
        availability: Availability::Served,
        tools,
        pending,
        quarantined: offered.as_ref().map(|offered| offered.quarantined.clone()).unwrap_or_default(),
        notes: notes.iter().cloned().chain(offered.iter().flat_map(|offered| offered.notes.clone())).collect(),
        preparation: preparation.and_then(|preparation| match preparation {
            Preparation::Failed(message) => Some(message.clone()),
            Preparation::Ready(_) => None,
        }),
        allowed: None,
        gate,
        secrets: operator.secrets.get(name).cloned().unwrap_or_default(),
        config,
        config_problem,
        // A container is a container on every machine that has an engine.
        reached: if plugin.manifest.runtime == Runtime::Container { Level::L3 } else { ingredients.reached },
    };
    let refused = operator.problems.iter().filter(|problem| problem.plugin == name);
    entry.notes.extend(refused.map(|problem| problem.error.to_string()));
    entry.notes.extend(elsewhere(&entry, kept.is_some()));
    match readiness(&entry.declared, &entry.standing()) {
        Ok(allowed) => entry.allowed = Some(Arc::new(allowed)),
        Err(missing) => entry.availability = Availability::Withheld(missing),
    }
    if is_upstream && offered.is_none() {
        match &mut entry.availability {
            Availability::Withheld(missing) => missing.push(Missing::Approval),
            availability => *availability = Availability::Withheld(vec![Missing::Approval]),
        }
    }
    if let Some(reason) = untrusted(ingredients, plugin) {
        // Nothing of it may run, and what runs is ended.
        entry.allowed = None;
        entry.availability = Availability::Untrusted { reason: reason.clone() };
    } else if let Some(availability) = neighbours.availability(name).or_else(|| unavailable(plugin, &ingredients.runtimes)) {
        entry.availability = availability;
    }
    Ok(entry)
}

fn untrusted<'a>(ingredients: &'a Ingredients<'_>, plugin: &Plugin) -> Option<&'a String> {
    (plugin.source == Source::Store).then(|| ingredients.untrusted.get(plugin.manifest.name.as_str()))?
}

/// What is kept under the plugin's name and is not its own: given to another plugin of that name, or before it declared something else.
fn elsewhere(entry: &PluginEntry, configured: bool) -> Vec<String> {
    let name = entry.name();
    let held = entry.grant.as_ref();
    let theirs = |secret: &&String| !held.is_some_and(|grant| grant.secrets.contains(*secret));
    let secrets = entry.declared.secrets.iter().filter(|secret| entry.secrets.contains_key(*secret)).filter(theirs);
    let mut notes: Vec<String> = secrets
        .map(|secret| {
            format!(
                "secret `{secret}` was set for another plugin named `{name}`, or before this one declared what it does now, and is not \
                 handed over: pegboard secret set {name} {secret}, or pegboard secret keep {name} {secret}"
            )
        })
        .collect();
    if configured && entry.plugin.manifest.config_schema.is_some() && !held.is_some_and(|grant| grant.config) {
        notes.push(format!(
            "the configuration of `{name}` was made for another plugin of that name, or before this one declared what it does now, and \
             is not handed over: pegboard config keep {name}"
        ));
    }
    notes
}

/// Why nothing the operator does could make the plugin run here.
fn unavailable(plugin: &Plugin, runtimes: &[Runtime]) -> Option<Availability> {
    let manifest = &plugin.manifest;
    if manifest.status == Status::Disabled {
        return Some(Availability::Disabled);
    }
    let ours = Version::parse(env!("CARGO_PKG_VERSION")).ok()?;
    if let Some(least) = manifest.min_core_version.as_ref().filter(|least| **least > ours) {
        return Some(Availability::Incompatible { wanted: format!("at least {least}") });
    }
    if let Some(most) = manifest.max_core_version.as_ref().filter(|most| **most < ours) {
        return Some(Availability::Incompatible { wanted: format!("at most {most}") });
    }
    (!runtimes.contains(&manifest.runtime)).then_some(Availability::Unsupported { runtime: manifest.runtime })
}

/// The manifest's tools, with schemas that the sandbox derived where the manifest has none. Nothing else is taken from there: it
/// is what the plugin's own code said.
fn complete(plugin: &Plugin, derived: &[ToolSpec]) -> Vec<ToolSpec> {
    let mut specs = plugin.manifest.mcps.clone();
    for spec in specs.iter_mut().filter(|spec| spec.args_schema.is_none()) {
        spec.args_schema = derived.iter().find(|known| known.name == spec.name).and_then(|known| known.args_schema.clone());
    }
    specs
}

type Tools = (Vec<Arc<ServedTool>>, Vec<manifest_schema::ToolName>);

fn tools(plugin: &Arc<Plugin>, specs: &[ToolSpec], previous: Option<&Arc<PluginEntry>>) -> Result<Tools, Diagnostics> {
    let mut tools = Vec::with_capacity(specs.len());
    let mut pending = Vec::new();
    let same = previous.filter(|entry| Arc::ptr_eq(&entry.plugin, plugin));
    let mut problems = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        if specs.iter().take(index).any(|earlier| earlier.name == spec.name) {
            let mut diagnostic = problem(&plugin.root, "manifest.duplicate_tool", format!("tool `{}` is given twice", spec.name));
            diagnostic.path = format!("mcps[{index}].name");
            problems.push(diagnostic);
            continue;
        }
        let Some(args) = &spec.args_schema else {
            pending.push(spec.name.clone());
            continue;
        };
        let compiled =
            same.and_then(|entry| entry.tools.iter().find(|tool| tool.spec.name == spec.name && is_made_of(tool, spec)));
        if let Some(tool) = compiled {
            tools.push(tool.clone());
            continue;
        }
        match ServedTool::compile(plugin, spec, args, None) {
            Ok(tool) => tools.push(Arc::new(tool)),
            Err((key, error)) => {
                let mut diagnostic = problem(&plugin.root, "manifest.schema", error.to_string());
                diagnostic.path = format!("mcps[{index}].{key}");
                problems.push(diagnostic);
            }
        }
    }
    if problems.is_empty() { Ok((tools, pending)) } else { Err(Diagnostics(problems)) }
}

/// The tools of an upstream server. One whose schema can't be used is left out alone: its server's words are not the plugin's fault.
fn upstream_tools(
    plugin: &Arc<Plugin>,
    offered: &mut upstream::Offer,
    previous: Option<&Arc<PluginEntry>>,
) -> Vec<Arc<ServedTool>> {
    let mut tools = Vec::with_capacity(offered.tools.len());
    let same: HashMap<&str, &Arc<ServedTool>> = previous
        .filter(|entry| Arc::ptr_eq(&entry.plugin, plugin))
        .map(|entry| entry.tools.iter().map(|tool| (tool.spec.name.as_str(), tool)).collect())
        .unwrap_or_default();
    for (spec, definition) in &offered.tools {
        let made = |tool: &&&Arc<ServedTool>| {
            tool.definition.as_ref().is_some_and(|of: &Arc<Definition>| of == definition) && is_made_of(tool, spec)
        };
        if let Some(tool) = same.get(spec.name.as_str()).filter(made) {
            tools.push(Arc::clone(tool));
            continue;
        }
        let args = spec.args_schema.clone().unwrap_or_default();
        match ServedTool::compile(plugin, spec, &args, Some(definition)) {
            Ok(tool) => tools.push(Arc::new(tool)),
            Err((key, error)) => {
                offered.notes.push(format!("tool `{}` is left out: its `{key}` can't be used: {error}", spec.name));
            }
        }
    }
    tools
}

/// Whether the compiled tool was made of this very description; a `type` that was added to its schema does not count.
fn is_made_of(tool: &ServedTool, spec: &ToolSpec) -> bool {
    let mut made = (*tool.spec).clone();
    if let (Some(made), Some(given)) = (&mut made.args_schema, &spec.args_schema)
        && !given.contains_key("type")
    {
        made.shift_remove("type");
    }
    made == *spec
}

fn config_problem(
    plugin: &Plugin,
    operator: &Operator,
    config: &serde_json::Map<String, serde_json::Value>,
) -> Result<Option<String>, Diagnostics> {
    if let Some(problem) = operator.config_problem(plugin.manifest.name.as_str()) {
        return Ok(Some(problem));
    }
    let Some(schema) = &plugin.manifest.config_schema else { return Ok(None) };
    let schema = Schema::compile(schema).map_err(|error| {
        let mut diagnostic = problem(&plugin.root, "manifest.schema", error.to_string());
        "config_schema".clone_into(&mut diagnostic.path);
        Diagnostics(vec![diagnostic])
    })?;
    let misfits = schema.check(&serde_json::Value::Object(config.clone())).err();
    Ok(misfits.map(|misfits| misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}
