//! Search over the served tools a caller may call, the same for MCP and for the command line.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Caller, Host, ServedTool, catalog::Catalog, clean::one_line, retrieval::IndexMode};

/// The most tools of one answer.
pub(crate) const MAX_LIMIT: usize = 50;
/// The longest request that is looked at, in bytes.
pub(crate) const MAX_QUERY_BYTES: usize = 4 << 10;
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
    /// Whether the tool says that it changes nothing.
    pub read_only: Option<bool>,
}

impl Filters {
    fn lets(&self, tool: &ServedTool) -> bool {
        let manifest = &tool.plugin.manifest;
        self.plugin.as_deref().is_none_or(|plugin| plugin == manifest.name.as_str())
            && (self.category.is_none() || self.category == manifest.category)
            && self.capability.as_ref().is_none_or(|wanted| tool.spec.capabilities.contains(wanted))
            && self.read_only.is_none_or(|wanted| wanted == tool.read_only())
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
    /// Who asks; only tools that the caller may call are found.
    pub caller: Caller,
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
            SearchReply { tools: Vec::new(), total: 0, mode: self.retrieval.mode() }
        })
    }

    fn search_now(&self, request: &SearchRequest) -> SearchReply {
        let catalog = self.catalog();
        let lets = |tool: &ServedTool| request.caller.covers(tool.name.as_str()) && request.filters.lets(tool);
        let accept = |name: &str| catalog.tool(name).is_some_and(|tool| lets(tool));
        let mut end = request.query.len().min(MAX_QUERY_BYTES);
        while !request.query.is_char_boundary(end) {
            end -= 1;
        }
        let query = request.query.get(..end).unwrap_or_default();
        let limit = request.limit.clamp(1, MAX_LIMIT);
        // Twins take places in the index's answer that they give back here.
        let hits = self.retrieval.search(query, limit * 2, &accept);
        let mut distinct: Vec<(&ServedTool, FoundTool)> = Vec::with_capacity(limit);
        for (tool, score) in hits.iter().filter_map(|hit| Some((catalog.tool(&hit.id)?, hit.score))) {
            let twin = distinct.iter().position(|(first, _)| twins(first, tool));
            if let Some((_, found)) = twin.and_then(|at| distinct.get_mut(at)) {
                found.also.push(tool.name.to_string());
            } else if distinct.len() < limit {
                distinct.push((tool, describe(tool, score, request.detail)));
            }
        }
        let tools = distinct.into_iter().map(|(_, found)| found).collect();
        let total = catalog.tools.iter().filter(|tool| lets(tool)).count();
        SearchReply { tools, total, mode: self.retrieval.mode() }
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

/// The same tool of two plugins, as far as can be told from outside. A tool without a description says too little to be another's twin.
fn twins(one: &ServedTool, other: &ServedTool) -> bool {
    let words = |tool: &ServedTool| -> Vec<String> {
        let text = tool.wire.description.as_deref().unwrap_or_default();
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    one.spec.name.as_str().eq_ignore_ascii_case(other.spec.name.as_str())
        && one.wire.input_schema == other.wire.input_schema
        && !words(one).is_empty()
        && words(one) == words(other)
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
