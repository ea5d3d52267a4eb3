//! The tools about tools: what they are called, what they take, and what they do. Searching itself is `search.rs`, calling `call.rs`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use rmcp::model::{CallToolResult, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::wire::{error_result, structured};
use crate::{Caller, Detail, Filters, Host, Schema, SchemaProblem, SearchRequest, ServedTool, View, clean::one_line, search};

pub(crate) const SEARCH: &str = "search_tools";
pub(crate) const DETAILS: &str = "get_tool_details";
pub(crate) const CALL: &str = "call_tool";
pub(crate) const CALL_READ_ONLY: &str = "call_read_only_tool";

/// What each of them takes, compiled once: compiling costs as much as all the rest of a small call.
static SCHEMAS: LazyLock<BTreeMap<&'static str, Result<Schema, SchemaProblem>>> = LazyLock::new(|| {
    let names = names(View::Search).iter();
    names.map(|name| (*name, Schema::compile(&definition(name, View::Search, &[]).input_schema))).collect()
});

/// Tools of an answer when nobody says how many.
const DEFAULT_LIMIT: usize = 5;
/// Categories that the description of the search names.
const CATEGORIES: usize = 12;

/// The meta tools of a view.
pub(crate) const fn names(view: View) -> &'static [&'static str] {
    match view {
        View::All => &[SEARCH, DETAILS],
        View::Search => &[SEARCH, DETAILS, CALL_READ_ONLY, CALL],
    }
}

/// The meta tools of a view as clients see them; the search describes what it searches.
pub(crate) fn definitions(view: View, tools: &[&Arc<ServedTool>]) -> Vec<Tool> {
    names(view).iter().map(|name| definition(name, view, tools)).collect()
}

fn definition(name: &'static str, view: View, tools: &[&Arc<ServedTool>]) -> Tool {
    let (description, schema) = match name {
        SEARCH => (search_description(view, tools), search_schema()),
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

fn search_description(view: View, tools: &[&Arc<ServedTool>]) -> String {
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    let mut plugins: Vec<&str> = Vec::new();
    for tool in tools {
        let manifest = &tool.plugin.manifest;
        *categories.entry(manifest.category.as_deref().unwrap_or("other")).or_default() += 1;
        if plugins.last() != Some(&manifest.name.as_str()) {
            plugins.push(manifest.name.as_str());
        }
    }
    let mut ranked: Vec<(&str, usize)> = categories.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let areas: Vec<String> =
        ranked.iter().take(CATEGORIES).map(|(name, count)| format!("{} ({count})", one_line(name, 40))).collect();
    let more = if ranked.len() > CATEGORIES { ", and more" } else { "" };
    let how = match view {
        View::All => "Call what is found by its own name.",
        View::Search => {
            "Call what is found with call_read_only_tool where its annotations say readOnlyHint, else with call_tool."
        }
    };
    format!(
        "Find the right tool among {} tools of {} plugins by what you want to do, in plain words. Areas: {}{more}. {how}",
        tools.len(),
        plugins.len(),
        if areas.is_empty() { "none yet".to_owned() } else { areas.join(", ") },
    )
}

fn search_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "description": "The task in plain words, such as: convert a CSV file to JSON"},
            "limit": {"type": "integer", "minimum": 1, "maximum": search::MAX_LIMIT, "default": DEFAULT_LIMIT},
            "detail": {"type": "string", "enum": ["names", "brief", "full"], "default": "full", "description": "full includes the argument schemas"},
            "filters": {
                "type": "object",
                "properties": {
                    "plugin": {"type": "string"},
                    "category": {"type": "string"},
                    "capability": {"type": "string"},
                    "read_only": {"type": "boolean"}
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
            "arguments": {"type": "object", "description": "Arguments that fit the tool's inputSchema"}
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
                read_only: filters.and_then(|filters| filters.get("read_only")).and_then(Value::as_bool),
            },
            caller: caller.clone(),
        })
        .await;
    let mut answer =
        json!({"query": one_line(&query, 500), "tools": reply.tools, "total": reply.total, "mode": reply.mode.as_str()});
    if let (Some(best), Some(answer)) = (reply.tools.first(), answer.as_object_mut()) {
        let arguments = best.example.clone().map_or_else(|| json!({}), Value::Object);
        let call = match view {
            View::All => json!({"name": best.name, "arguments": arguments}),
            View::Search => {
                let through = if best.read_only { CALL_READ_ONLY } else { CALL };
                json!({"name": through, "arguments": {"name": best.name, "arguments": arguments}})
            }
        };
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
        _ => Request::Forward { name, args: args.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default() },
    }
}
