//! Reads a folder with `tools.jsonl` and `queries.jsonl`, and opens an indexer for it. Shared by the examples.
//!
//! `tools.jsonl`: `{id, name, description, args_schema, server?, category?, examples?}`;
//! `queries.jsonl`: `{id, query, relevant: [id], match?: "any", alt?: {id: id}}`.
#![allow(dead_code, reason = "each example uses a part of it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use pegboard_index::{FastEmbedder, Indexer, StaticEmbedder, ToolDocument};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct ToolLine {
    id: String,
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    args_schema: Option<Map<String, Value>>,
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    examples: Vec<String>,
}

/// One request and its right answers.
#[derive(Deserialize)]
pub(crate) struct QueryLine {
    pub(crate) id: String,
    pub(crate) query: String,
    pub(crate) relevant: Vec<String>,
    #[serde(default)]
    pub(crate) r#match: Option<String>,
    #[serde(default)]
    pub(crate) alt: HashMap<String, String>,
}

pub(crate) fn tools(folder: &Path) -> anyhow::Result<Vec<ToolDocument>> {
    let lines: Vec<ToolLine> = lines(&folder.join("tools.jsonl"))?;
    let document = |line: ToolLine| ToolDocument {
        id: line.id,
        plugin: line.server.unwrap_or_default(),
        name: line.name,
        description: line.description.unwrap_or_default(),
        category: line.category,
        args_schema: line.args_schema,
        examples: line.examples,
        ..ToolDocument::default()
    };
    Ok(lines.into_iter().map(document).collect())
}

pub(crate) fn queries(folder: &Path) -> anyhow::Result<Vec<QueryLine>> {
    lines(&folder.join("queries.jsonl"))
}

/// The shipped table; `--model DIR --onnxruntime FILE [--cache DIR]` takes an ONNX model, `--table FILE` another table,
/// `--lexical` words alone.
pub(crate) fn indexer(arguments: &[String]) -> anyhow::Result<Indexer> {
    if arguments.iter().any(|argument| argument == "--lexical") {
        return Ok(Indexer::lexical()?);
    }
    let path = |name: &str| option(arguments, name).map(PathBuf::from);
    if let (Some(model), Some(runtime)) = (path("--model"), path("--onnxruntime")) {
        let embedder = FastEmbedder::open(&model, &runtime).map_err(|error| anyhow::anyhow!("{error}\nhint: {}", error.hint))?;
        return Ok(Indexer::hybrid(Arc::new(embedder), path("--cache").as_deref())?);
    }
    let embedder = match path("--table") {
        // It is needed until the program ends.
        Some(table) => StaticEmbedder::read(Box::leak(std::fs::read(table)?.into_boxed_slice()))?,
        None => StaticEmbedder::shipped()?,
    };
    Ok(Indexer::hybrid(Arc::new(embedder), None)?)
}

/// `--name VALUE` from the command line.
pub(crate) fn option(arguments: &[String], name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}

fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("{}: {line:.120}", path.display()));
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}
