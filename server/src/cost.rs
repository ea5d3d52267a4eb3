//! What a list of tools costs a prompt: bytes of JSON, and tokens estimated at four bytes each, as everywhere in the program.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Caller, View,
    catalog::Catalog,
    mcp::{Behind, definitions},
};

const BYTES_A_TOKEN: usize = 4;

/// A tool as far as a list shows it.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its plugin's name.
    pub plugin: &'a str,
    /// Its plugin's category.
    pub category: Option<&'a str>,
    /// What it does.
    pub description: &'a str,
    /// Schema of its arguments.
    pub input_schema: Option<&'a Map<String, Value>>,
}

/// Tokens of `tools/list`, by view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptCost {
    /// Every tool, and the search tools.
    pub all: usize,
    /// The search tools.
    pub search: usize,
}

/// The cost of tools that nobody serves.
#[must_use]
pub fn prompt_cost(tools: &[Described<'_>]) -> PromptCost {
    let mut behind = Behind::default();
    for tool in tools {
        behind.add(tool.plugin, tool.category);
    }
    let empty = Map::new();
    let shown = |tool: &Described<'_>| {
        let schema = tool.input_schema.unwrap_or(&empty);
        bytes(&json!({"name": tool.name, "description": tool.description, "inputSchema": schema}))
    };
    let listed: usize = tools.iter().map(shown).sum();
    PromptCost { all: tokens(searching(View::All, &behind) + listed), search: tokens(searching(View::Search, &behind)) }
}

/// The cost of what is served, pinned tools included.
#[must_use]
pub fn prompt_cost_of(catalog: &Catalog) -> PromptCost {
    let cost = |view| tokens(catalog.lists.of(catalog, view, &Caller::local()).bytes());
    PromptCost { all: cost(View::All), search: cost(View::Search) }
}

fn searching(view: View, behind: &Behind<'_>) -> usize {
    definitions(view, behind).iter().map(bytes).sum()
}

fn bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_A_TOKEN)
}

/// Counts of names, most first, and by name among equals.
pub(crate) fn ranked<'a>(counts: &BTreeMap<&'a str, usize>) -> Vec<(&'a str, usize)> {
    let mut ranked: Vec<(&str, usize)> = counts.iter().map(|(name, count)| (*name, *count)).collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    ranked
}
