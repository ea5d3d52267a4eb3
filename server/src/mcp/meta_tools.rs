//! The tools about tools: what they are called, what they take, and what they do. Searching itself is `search.rs`, calling `call.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use rmcp::model::{CallToolResult, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::wire::{error_result, structured};
use crate::{
    Caller, Detail, Filters, Host, Schema, SchemaProblem, SearchRequest, ServedTool, View, clean::one_line, cost, search,
    search::RUNTIMES,
};

pub(crate) const SEARCH: &str = "search_tools";
pub(crate) const DETAILS: &str = "get_tool_details";
pub(crate) const CALL: &str = "call_tool";
pub(crate) const CALL_READ_ONLY: &str = "call_read_only_tool";

/// What each of them takes, compiled once: compiling costs as much as all the rest of a small call.
static SCHEMAS: LazyLock<BTreeMap<&'static str, Result<Schema, SchemaProblem>>> = LazyLock::new(|| {
    let names = names(View::Search).iter();
    names.map(|name| (*name, Schema::compile(&definition(name, View::Search, &Behind::default()).input_schema))).collect()
});

/// Tools of an answer when nobody says how many.
const DEFAULT_LIMIT: usize = 5;
/// Areas that the description of the search names, and its bytes: 120 tokens at four bytes each.
const AREAS: usize = 12;
const DESCRIPTION_BYTES: usize = 480;

/// The meta tools of a view.
pub(crate) const fn names(view: View) -> &'static [&'static str] {
    match view {
        View::All => &[SEARCH, DETAILS],
        View::Search => &[SEARCH, DETAILS, CALL_READ_ONLY, CALL],
    }
}

/// The meta tools of a view as clients see them; the search describes what it searches.
pub(crate) fn definitions(view: View, behind: &Behind<'_>) -> Vec<Tool> {
    names(view).iter().map(|name| definition(name, view, behind)).collect()
}

fn definition(name: &'static str, view: View, behind: &Behind<'_>) -> Tool {
    let (description, schema) = match name {
        SEARCH => (search_description(view, behind), search_schema()),
        DETAILS => (
            "Show the full definition of one tool by its name: description, argument schema, result schema, effects.".to_owned(),
            json!({"type": "object", "properties": {"name": {"type": "string", "description": "Name as search_tools returns it"}}, "required": ["name"], "additionalProperties": false}),
        ),
        CALL_READ_ONLY => (
            "Call a tool that search_tools found and that is annotated as read-only. Other tools are refused: use call_tool for them.".to_owned(),
            call_schema(),
        ),
        _ => ("Call a tool that search_tools found, by its name, with arguments that fit its inputSchema.".to_owned(), call_schema()),
    };
    let reads = name != CALL;
    let annotations = ToolAnnotations::new()
        .read_only(reads)
        .destructive(!reads)
        .idempotent(reads)
        .open_world(matches!(name, CALL | CALL_READ_ONLY));
    let mut meta = MetaObject::new();
    meta.0.insert("anthropic/alwaysLoad".to_owned(), json!(true));
    let mut tool = Tool::new(name, description, Arc::new(object(schema))).with_annotations(annotations).with_meta(meta);
    if name == SEARCH {
        tool = tool.with_raw_output_schema(Arc::new(object(search_output_schema())));
    }
    tool
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What is behind the search: plugins and areas, with how many tools each has.
#[derive(Debug, Default)]
pub(crate) struct Behind<'a> {
    tools: usize,
    plugins: BTreeSet<&'a str>,
    areas: BTreeMap<&'a str, usize>,
}

impl<'a> Behind<'a> {
    pub(crate) fn of(tools: &'a [&Arc<ServedTool>]) -> Self {
        let mut behind = Self::default();
        for tool in tools {
            let manifest = &tool.plugin.manifest;
            behind.add(manifest.name.as_str(), manifest.category.as_deref());
        }
        behind
    }

    /// One tool; a plugin without a category is an area of its own.
    pub(crate) fn add(&mut self, plugin: &'a str, category: Option<&'a str>) {
        self.tools += 1;
        self.plugins.insert(plugin);
        *self.areas.entry(category.filter(|name| !name.trim().is_empty()).unwrap_or(plugin)).or_default() += 1;
    }
}

/// Says what can be found, the largest areas first, and never more than a prompt should pay for it.
fn search_description(view: View, behind: &Behind<'_>) -> String {
    let how = match view {
        View::All => "Call what is found by its own name.",
        View::Search => {
            "Call what is found with call_read_only_tool where its annotations say readOnlyHint, else with call_tool."
        }
    };
    let (tools, plugins) = (behind.tools, behind.plugins.len());
    let head =
        format!("Find the right tool among {tools} tools of {plugins} plugins by what you want to do, in plain words. Areas: ");
    let mut left = DESCRIPTION_BYTES.saturating_sub(head.len() + how.len() + ", and more. ".len());
    let mut areas: Vec<String> = Vec::new();
    let ranked = cost::ranked(&behind.areas);
    for (name, count) in ranked.iter().take(AREAS).filter(|(name, _)| !name.trim().is_empty()) {
        let area = format!("{} ({count})", one_line(name, 40));
        match left.checked_sub(area.len() + ", ".len()) {
            Some(rest) => left = rest,
            None => break,
        }
        areas.push(area);
    }
    let more = if ranked.len() > areas.len() && !areas.is_empty() { ", and more" } else { "" };
    let named = if areas.is_empty() { "none yet".to_owned() } else { areas.join(", ") };
    format!("{head}{named}{more}. {how}")
}

fn search_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "description": "The task in plain words, such as: convert a CSV file to JSON"},
            "limit": {"type": "integer", "minimum": 1, "maximum": search::MAX_LIMIT, "default": DEFAULT_LIMIT},
            "min_score": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "Leave out what fits less"},
            "detail": {"type": "string", "enum": ["names", "brief", "full"], "default": "full", "description": "full includes the argument schemas"},
            "filters": {
                "type": "object",
                "properties": {
                    "plugin": {"type": "string"},
                    "category": {"type": "string"},
                    "capability": {"type": "string"},
                    "runtime": {"type": "string", "enum": RUNTIMES},
                    "read_only": {"type": "boolean"},
                    "destructive": {"type": "boolean"},
                    "idempotent": {"type": "boolean"},
                    "open_world": {"type": "boolean"}
                },
                "additionalProperties": false
            }
        },
        "required": ["query"],
        "additionalProperties": false
    })
}

fn search_output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "tools": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "score": {"type": "number"}}, "required": ["name", "score"]}},
            "total": {"type": "integer"},
            "mode": {"type": "string"},
            "note": {"type": "string"},
            "search_id": {"type": "string"},
            "call_with": {"type": "object"}
        },
        "required": ["query", "tools", "total"]
    })
}

fn call_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Name as search_tools returns it"},
            "arguments": {"type": "object", "description": "Arguments that fit the tool's inputSchema"},
            "search_id": {"type": "string", "maxLength": 64, "description": "As search_tools returned it, if it did"}
        },
        "required": ["name"],
        "additionalProperties": false
    })
}

/// What a meta tool asks the handler to do.
pub(crate) enum Request {
    /// The answer is complete.
    Answer(CallToolResult),
    /// Call this tool and answer with its result.
    Forward {
        /// Served name.
        name: String,
        /// Its arguments.
        args: Map<String, Value>,
        /// The search that led to it.
        search: Option<String>,
    },
}

/// Does what a meta tool does. Bad arguments are an answer, like those of any tool.
pub(crate) async fn run(host: &Arc<Host>, view: View, caller: &Caller, name: &str, args: Map<String, Value>) -> Request {
    if let Err(problem) = check(name, view, &args) {
        return Request::Answer(error_result(&problem));
    }
    let text = |key: &str| args.get(key).and_then(Value::as_str).map(str::to_owned);
    match name {
        SEARCH => Request::Answer(search(host, view, caller, &args).await),
        DETAILS => Request::Answer(details(host, caller, &text("name").unwrap_or_default())),
        _ => forward(host, view, caller, name, text("name").unwrap_or_default(), &args),
    }
}

fn check(name: &str, view: View, args: &Map<String, Value>) -> Result<(), String> {
    if !names(view).contains(&name) {
        return Err(format!("unknown_tool: `{}` is not a tool of this view", one_line(name, 80)));
    }
    let schema = SCHEMAS.get(name).and_then(|schema| schema.as_ref().ok()).ok_or("internal: a schema of ours is not valid")?;
    schema.check(&Value::Object(args.clone())).map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("\n- {problem}")).collect();
        format!(
            "bad_arguments: the arguments do not fit the tool's schema{}\nhint: the inputSchema of `{name}` says what fits",
            list.concat()
        )
    })
}

async fn search(host: &Arc<Host>, view: View, caller: &Caller, args: &Map<String, Value>) -> CallToolResult {
    let filters = args.get("filters").and_then(Value::as_object);
    let filter = |key: &str| filters.and_then(|filters| filters.get(key)).and_then(Value::as_str).map(str::to_owned);
    let says = |key: &str| filters.and_then(|filters| filters.get(key)).and_then(Value::as_bool);
    let query = args.get("query").and_then(Value::as_str).unwrap_or_default().to_owned();
    let reply = host
        .search(SearchRequest {
            query: query.clone(),
            limit: args
                .get("limit")
                .and_then(Value::as_u64)
                .and_then(|limit| usize::try_from(limit).ok())
                .unwrap_or(DEFAULT_LIMIT),
            detail: match args.get("detail").and_then(Value::as_str) {
                Some("names") => Detail::Names,
                Some("brief") => Detail::Brief,
                _ => Detail::Full,
            },
            filters: Filters {
                plugin: filter("plugin"),
                category: filter("category"),
                capability: filter("capability"),
                runtime: filter("runtime"),
                read_only: says("read_only"),
                destructive: says("destructive"),
                idempotent: says("idempotent"),
                open_world: says("open_world"),
            },
            min_score: args.get("min_score").and_then(Value::as_f64).unwrap_or_default() as f32,
            caller: caller.clone(),
        })
        .await;
    let mut answer =
        json!({"query": one_line(&query, 500), "tools": reply.tools, "total": reply.total, "mode": reply.mode.as_str()});
    if let (Some(note), Some(answer)) = (reply.note(), answer.as_object_mut()) {
        answer.insert("note".to_owned(), json!(note));
    }
    if let (Some(best), Some(answer)) = (reply.tools.first(), answer.as_object_mut()) {
        let arguments = best.example.clone().map_or_else(|| json!({}), Value::Object);
        let mut call = match view {
            View::All => json!({"name": best.name, "arguments": arguments}),
            View::Search => {
                let through = if best.read_only { CALL_READ_ONLY } else { CALL };
                json!({"name": through, "arguments": {"name": best.name, "arguments": arguments}})
            }
        };
        if let Some(search) = &reply.search_id {
            answer.insert("search_id".to_owned(), json!(search));
            if let Some(through) = call.get_mut("arguments").and_then(Value::as_object_mut).filter(|_| view == View::Search) {
                through.insert("search_id".to_owned(), json!(search));
            }
        }
        answer.insert("call_with".to_owned(), call);
    }
    structured(answer)
}

fn details(host: &Host, caller: &Caller, name: &str) -> CallToolResult {
    let catalog = host.catalog();
    match catalog.tool(name).filter(|_| caller.covers(name)) {
        Some(tool) => structured(serde_json::to_value(&tool.wire).unwrap_or_default()),
        None => unknown(host, caller, name),
    }
}

fn unknown(host: &Host, caller: &Caller, name: &str) -> CallToolResult {
    let nearest = host.nearest(&host.catalog(), name, caller);
    error_result(&super::wire::failure_text(name, &crate::CallOutcome::UnknownTool(nearest)))
}

fn forward(host: &Host, view: View, caller: &Caller, through: &str, name: String, args: &Map<String, Value>) -> Request {
    // Itself would be a loop, the others are a tool of their own already.
    if names(View::Search).contains(&name.as_str()) || names(view).contains(&name.as_str()) {
        return Request::Answer(error_result(&format!(
            "bad_arguments: `{through}` does not call `{name}`\nhint: call `{name}` directly"
        )));
    }
    let catalog = host.catalog();
    let tool = catalog.tool(&name).filter(|_| caller.covers(&name));
    match tool {
        None if !catalog.knows(&name) || !caller.covers(&name) => Request::Answer(unknown(host, caller, &name)),
        Some(tool) if through == CALL_READ_ONLY && !tool.read_only() => {
            Request::Answer(error_result(&format!("denied: `{name}` is not annotated as read-only\nhint: call it with `{CALL}`")))
        }
        // A tool that is withheld says through the pipeline which key is missing.
        None if through == CALL_READ_ONLY => {
            Request::Answer(error_result(&format!("denied: `{name}` is not served\nhint: ask the operator")))
        }
        _ => Request::Forward {
            name,
            args: args.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default(),
            search: args.get("search_id").and_then(Value::as_str).map(str::to_owned),
        },
    }
}
