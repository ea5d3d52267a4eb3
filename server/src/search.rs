//! Search over the served tools a caller may call, the same for MCP and for the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use index::Among;
use manifest_schema::Runtime;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Caller, Host, ServedTool,
    catalog::Catalog,
    clean::one_line,
    retrieval::{IndexMode, believable},
};

/// The most tools of one answer.
pub(crate) const MAX_LIMIT: usize = 50;
/// The longest request that is looked at, in bytes.
pub(crate) const MAX_QUERY_BYTES: usize = 4 << 10;
/// The words of `runtime` in a manifest.
pub(crate) const RUNTIMES: [&str; 6] = ["python", "mcp", "container", "javascript", "openapi", "wasm"];
/// Share of words that two descriptions of one tool have in common.
const NEARLY: f32 = 0.8;
/// The nearest names of an unknown tool.
const NEAREST: usize = 3;

/// How much of each tool is in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Names and scores.
    Names,
    /// Title and first line of the description besides.
    Brief,
    /// Everything that `tools/list` would say.
    #[default]
    Full,
}

/// What the tools found must be; an empty filter lets all through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// The plugin's name.
    pub plugin: Option<String>,
    /// The plugin's category.
    pub category: Option<String>,
    /// One of the tool's capabilities.
    pub capability: Option<String>,
    /// What the plugin runs by, such as `python`; see the manifest's `runtime`.
    pub runtime: Option<String>,
    /// Whether the tool says that it changes nothing.
    pub read_only: Option<bool>,
    /// Whether it says that it may destroy something.
    pub destructive: Option<bool>,
    /// Whether it says that a second call of the same changes nothing more.
    pub idempotent: Option<bool>,
    /// Whether it says that it deals with the world outside.
    pub open_world: Option<bool>,
}

impl Filters {
    pub(crate) fn lets(&self, tool: &ServedTool) -> bool {
        let (manifest, says) = (&tool.plugin.manifest, &tool.spec.annotations);
        self.plugin.as_deref().is_none_or(|plugin| plugin == manifest.name.as_str())
            && (self.category.is_none() || self.category == manifest.category)
            && self.capability.as_ref().is_none_or(|wanted| tool.spec.capabilities.contains(wanted))
            && self.runtime.as_deref().is_none_or(|wanted| wanted == runtime(manifest.runtime))
            && self.read_only.is_none_or(|wanted| wanted == tool.read_only())
            && self.destructive.is_none_or(|wanted| wanted == (says.destructive && !says.read_only))
            && self.idempotent.is_none_or(|wanted| wanted == says.idempotent)
            && self.open_world.is_none_or(|wanted| wanted == says.open_world)
    }
}

/// A search as it is asked for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The task in words.
    pub query: String,
    /// The most tools to return, 1 to 50.
    pub limit: usize,
    /// How much of each.
    pub detail: Detail,
    /// What they must be.
    pub filters: Filters,
    /// Leave out what scores less, 0 to 1; relative to the best of the answer.
    pub min_score: f32,
    /// Who asks; only tools that the caller may call are found.
    pub caller: Caller,
}

impl SearchRequest {
    /// A search by the person at the machine.
    #[must_use]
    pub fn local(query: &str) -> Self {
        Self {
            query: query.to_owned(),
            limit: MAX_LIMIT,
            detail: Detail::Names,
            filters: Filters::default(),
            min_score: 0.0,
            caller: Caller::local(),
        }
    }
}

/// One tool that fits.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundTool {
    /// Served name.
    pub name: String,
    /// How well it fits; comparable within one answer.
    pub score: f32,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Schema of the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Map<String, Value>>,
    /// Schema of the structured result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Map<String, Value>>,
    /// Hints about effects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Value>,
    /// Other served tools of the same name, words and arguments: what one says of itself, they all say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Arguments of the tool's first example.
    #[serde(skip)]
    pub example: Option<Map<String, Value>>,
    /// Whether the tool says that it changes nothing.
    #[serde(skip)]
    pub read_only: bool,
}

/// The answer of a search.
#[derive(Debug, Clone)]
pub struct SearchReply {
    /// Best first.
    pub tools: Vec<FoundTool>,
    /// Served tools that the caller and the filters let through, fitting or not.
    pub total: usize,
    /// How it was searched.
    pub mode: IndexMode,
    /// Names this search in the call that follows; only where calls are learned from.
    pub search_id: Option<String>,
}

impl SearchReply {
    fn nothing(mode: IndexMode) -> Self {
        Self { tools: Vec::new(), total: 0, mode, search_id: None }
    }

    /// What a reader of the answer should know.
    pub(crate) fn note(&self) -> Option<String> {
        if self.tools.is_empty() {
            return Some(match self.total {
                0 => "no tool passes the filters".to_owned(),
                total => format!("nothing fits among {total} tools; say what you want to do in other words"),
            });
        }
        let twins = self.tools.iter().filter(|tool| !tool.also.is_empty()).count();
        (twins > 0).then(|| "a tool that several plugins have is shown once; `also` names the others".to_owned())
    }
}

impl Host {
    /// Finds the tools that fit. Waits for the first index where it is still being made.
    pub async fn search(self: &Arc<Self>, request: SearchRequest) -> SearchReply {
        let started = Instant::now();
        self.index_ready().await;
        let host = self.clone();
        // An embedder may take milliseconds of processor time, which other requests on this thread would feel.
        let reply = tokio::task::spawn_blocking(move || host.search_now(&request)).await;
        self.metrics.search(started.elapsed());
        reply.unwrap_or_else(|error| {
            tracing::error!(%error, "a search failed");
            SearchReply::nothing(self.retrieval.mode())
        })
    }

    fn search_now(&self, request: &SearchRequest) -> SearchReply {
        let catalog = self.catalog();
        let mut end = request.query.len().min(MAX_QUERY_BYTES);
        while !request.query.is_char_boundary(end) {
            end -= 1;
        }
        let query = request.query.get(..end).unwrap_or_default();
        let limit = request.limit.clamp(1, MAX_LIMIT);
        // Twins take places in the index's answer that they give back here.
        let Some(index) = self.retrieval.index() else { return SearchReply::nothing(self.retrieval.mode()) };
        let selection = self.retrieval.selections.of(&catalog, &index, &request.caller, &request.filters);
        // What the index still holds and the catalog does not is left out below.
        let among = selection.as_ref().map_or(Among::Everything, |selection| Among::Set(&selection.set));
        let learns = catalog.operator.learning.on;
        let lessons = if learns { self.learning.lessons(&index, &catalog) } else { Arc::default() };
        let mut hits = believable(&index, query, limit * 2, among, &lessons);
        hits.retain(|hit| hit.score >= request.min_score);
        let mut distinct: Vec<(&ServedTool, FoundTool)> = Vec::with_capacity(limit);
        for (tool, score) in hits.iter().filter_map(|hit| Some((catalog.tool(&hit.id)?, hit.score))) {
            let twin = distinct.iter().position(|(first, _)| twins(first, tool));
            if let Some((_, found)) = twin.and_then(|at| distinct.get_mut(at)) {
                found.also.push(tool.name.to_string());
            } else if distinct.len() < limit {
                distinct.push((tool, describe(tool, score, request.detail)));
            }
        }
        let tools: Vec<FoundTool> = distinct.into_iter().map(|(_, found)| found).collect();
        let total = selection.map_or(catalog.tools.len(), |selection| selection.total);
        let offered = || tools.iter().flat_map(|tool| std::iter::once(&tool.name).chain(&tool.also)).cloned().collect();
        let search_id =
            if self.learns_from(&request.caller) { self.learning.issue(&index, query, offered(), &request.caller) } else { None };
        SearchReply { tools, total, mode: self.retrieval.mode(), search_id }
    }

    /// Whether the operator lets calls of this caller teach the search.
    pub(crate) fn learns_from(&self, caller: &Caller) -> bool {
        caller.teaches() && self.catalog().operator.learning.on
    }

    /// The served tools nearest to a name that is none, of those the caller may call.
    pub(crate) fn nearest(&self, catalog: &Catalog, name: &str, caller: &Caller) -> Vec<String> {
        let words: String =
            one_line(name, 120).chars().map(|character| if character.is_alphanumeric() { character } else { ' ' }).collect();
        let accept = |name: &str| caller.covers(name) && catalog.tool(name).is_some();
        let mut names: Vec<String> = self.retrieval.search(&words, NEAREST, &accept).into_iter().map(|hit| hit.id).collect();
        if names.is_empty() {
            // Words that no tool has: a slip of the pen is still near in letters.
            let mut near: Vec<(usize, &str)> = catalog
                .tools
                .iter()
                .filter(|tool| caller.covers(tool.name.as_str()))
                .map(|tool| (strsim::levenshtein(name.get(..64).unwrap_or(name), tool.name.as_str()), tool.name.as_str()))
                .filter(|(distance, _)| *distance <= 3)
                .collect();
            near.sort_unstable();
            names = near.into_iter().take(NEAREST).map(|(_, name)| name.to_owned()).collect();
        }
        names
    }
}

/// The same tool of two plugins, as far as can be told from outside: one name, the same parameters, nearly the same words. A tool without a
/// description says too little to be another's twin.
fn twins(one: &ServedTool, other: &ServedTool) -> bool {
    let name = |tool: &ServedTool| tool.spec.name.as_str().replace(['_', '-'], "").to_lowercase();
    one.plugin.manifest.name != other.plugin.manifest.name
        && name(one) == name(other)
        && one.spec.annotations == other.spec.annotations
        && parameters(one) == parameters(other)
        && alike(&words(one), &words(other))
}

/// The word of a manifest's `runtime`.
const fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Python => "python",
        Runtime::Mcp => "mcp",
        Runtime::Container => "container",
        Runtime::Javascript => "javascript",
        Runtime::Openapi => "openapi",
        Runtime::Wasm => "wasm",
    }
}

fn words(tool: &ServedTool) -> BTreeSet<String> {
    let text = tool.wire.description.as_deref().unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Names and types; what an author says of a parameter differs more easily than what it is.
fn parameters(tool: &ServedTool) -> BTreeMap<&str, Option<&Value>> {
    let properties = tool.wire.input_schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, property)| (name.as_str(), property.get("type"))).collect()
}

fn alike(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    let (common, all) = (one.intersection(other).count(), one.union(other).count());
    common > 0 && common as f32 >= NEARLY * all as f32
}

pub(crate) fn describe(tool: &ServedTool, score: f32, detail: Detail) -> FoundTool {
    let full = detail == Detail::Full;
    let wire = &tool.wire;
    let description = wire.description.as_deref().unwrap_or_default();
    FoundTool {
        name: tool.name.to_string(),
        score: (score * 10_000.0).round() / 10_000.0,
        title: wire.title.clone().filter(|_| detail != Detail::Names),
        description: match detail {
            Detail::Names => None,
            Detail::Brief => Some(one_line(description.lines().next().unwrap_or_default(), 160)),
            Detail::Full => Some(description.to_owned()),
        },
        input_schema: full.then(|| (*wire.input_schema).clone()),
        output_schema: wire.output_schema.as_deref().filter(|_| full).cloned(),
        annotations: if full { serde_json::to_value(&wire.annotations).ok() } else { None },
        also: Vec::new(),
        example: tool.spec.examples.iter().find_map(|example| example.args.clone()),
        read_only: tool.read_only(),
    }
}
