//! A catalogue of any size, the same each time: plugins on disk for us, one JSON file for the peer.
//!
//! The tools do nothing; what counts is their number and the words they are described with.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

const VERBS: &[(&str, &str)] = &[
    ("create", "Create"),
    ("delete", "Delete"),
    ("update", "Change"),
    ("list", "List"),
    ("find", "Search for"),
    ("export", "Export"),
    ("archive", "Archive"),
    ("share", "Share"),
    ("assign", "Assign"),
    ("approve", "Approve"),
];
const OBJECTS: &[&str] = &[
    "invoice",
    "order",
    "ticket",
    "contact",
    "meeting",
    "document",
    "repository",
    "branch",
    "deployment",
    "payment",
    "refund",
    "shipment",
    "product",
    "campaign",
    "survey",
    "employee",
    "vacation",
    "expense",
    "contract",
    "project",
    "task",
    "milestone",
    "message",
    "channel",
    "playlist",
    "recipe",
    "flight",
    "booking",
    "vehicle",
    "sensor",
    "report",
    "dashboard",
    "alert",
    "backup",
    "certificate",
    "domain",
    "subscription",
    "coupon",
    "review",
    "warehouse",
];
const AREAS: &[&str] = &[
    "billing",
    "support",
    "sales",
    "logistics",
    "marketing",
    "human resources",
    "engineering",
    "finance",
    "travel",
    "healthcare",
    "education",
    "security",
    "operations",
    "retail",
    "legal",
    "media",
    "farming",
    "energy",
    "housing",
    "sports",
    "research",
    "catering",
    "insurance",
    "banking",
    "telecom",
];
const PARAMETERS: &[(&str, &str)] = &[
    ("identifier", "Which one, by its number"),
    ("title", "A short title for people"),
    ("owner", "Who is responsible for it"),
    ("due_date", "When it must be done, as a date"),
    ("amount", "How much, in the smallest unit of the currency"),
    ("status", "Its state: open, waiting or closed"),
    ("comment", "A remark that is kept with it"),
    ("limit", "How many at most"),
];

/// One generated tool.
pub(crate) struct Tool {
    /// Its plugin.
    pub(crate) plugin: String,
    /// Its name in the plugin.
    pub(crate) name: String,
    /// What it does.
    pub(crate) description: String,
    /// Its arguments.
    pub(crate) args_schema: Value,
}

/// `plugins` plugins with `each` tools.
pub(crate) fn generate(plugins: usize, each: usize) -> Vec<Tool> {
    (0..plugins * each).map(|index| tool(index / each, index % each, index)).collect()
}

fn tool(plugin: usize, within: usize, index: usize) -> Tool {
    let object = OBJECTS[(plugin + within / VERBS.len()) % OBJECTS.len()];
    let area = AREAS[plugin / OBJECTS.len() % AREAS.len()];
    let (verb, does) = VERBS[(within + plugin) % VERBS.len()];
    let chosen: Vec<&(&str, &str)> =
        (0..2 + index % 3).map(|step| &PARAMETERS[(index * 7 + step * 3) % PARAMETERS.len()]).collect();
    let properties: serde_json::Map<String, Value> =
        chosen.iter().map(|(name, about)| ((*name).to_owned(), json!({"type": "string", "description": about}))).collect();
    Tool {
        plugin: format!("{}_{plugin}", area.replace(' ', "_")),
        name: format!("{verb}_{object}_{within}"),
        description: format!(
            "{does} a {object} of the {area} department, number {plugin}, and return what is known about it afterwards"
        ),
        args_schema: json!({"type": "object", "properties": properties, "required": [chosen[0].0]}),
    }
}

/// Writes the tools as plugins, one folder each.
pub(crate) fn write_plugins(tools: &[Tool], folder: &Path) -> Result<()> {
    let mut start = 0;
    while start < tools.len() {
        let plugin = &tools[start].plugin;
        let end = start + tools[start..].iter().take_while(|tool| tool.plugin == *plugin).count();
        let mcps: Vec<Value> = tools[start..end]
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "function": "answer", "args_schema": tool.args_schema}))
            .collect();
        let description = format!("Generated for the benches: {plugin}");
        let manifest = json!({"name": plugin, "version": "1.0.0", "description": description, "mcps": mcps});
        let home = folder.join(plugin);
        fs::create_dir_all(&home)?;
        // JSON is YAML.
        fs::write(home.join("plugin.yaml"), manifest.to_string())?;
        fs::write(
            home.join("main.py"),
            "def answer(inputs, context):\n    return {\"success\": True, \"outputs\": {\"ok\": True}}\n",
        )?;
        start = end;
    }
    Ok(())
}

/// Writes the tools as the peer reads them.
pub(crate) fn write_json(tools: &[Tool], file: &Path) -> Result<()> {
    let all: Vec<Value> = tools
        .iter()
        .map(|tool| json!({"name": format!("{}__{}", tool.plugin, tool.name), "description": tool.description, "args_schema": tool.args_schema}))
        .collect();
    Ok(fs::write(file, serde_json::to_string(&all)?)?)
}

/// Requests in words that no tool has literally, for searching.
pub(crate) const QUERIES: &[&str] = &[
    "send the customer his bill",
    "close an open support ticket",
    "who is on vacation next week",
    "book a flight for the sales team",
    "export the expense report of last month",
    "approve a refund",
    "find the contract of an employee",
    "archive old messages of a channel",
    "create a backup before the deployment",
    "share a dashboard with finance",
    "delete a coupon",
    "list the sensors of a warehouse",
    "assign a task to a project",
    "update the shipment status",
    "cancel a subscription",
    "review of a product",
];
