//! The tools of an upstream MCP server as the server defines them, what the operator approved of them, and how the two compare.
//!
//! A definition is what a model reads before it calls: a server that changes it after it was approved has changed the tool. How definitions
//! are fetched is the executor's, where approvals are kept the command line's.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::{Digest, PluginName, UpstreamServer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Plugin, Source};

/// One tool as its server defines it: an item of `tools/list` (MCP, Tool), as far as a client or a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The name that the server calls it by; any text.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub input_schema: Map<String, Value>,
    /// JSON Schema of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Map<String, Value>>,
    /// Hints about its effects, as the server claims them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map<String, Value>>,
    /// Pictures that a client may show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icons: Option<Vec<Value>>,
}

impl Definition {
    /// Identifies the definition: SHA-256 of its canonical JSON, in which the order of keys, white space and absent keys do not count.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of([self.canonical().as_bytes()])
    }

    fn canonical(&self) -> String {
        sorted(&serde_json::to_value(self).unwrap_or_default()).to_string()
    }
}

/// The value with the keys of every object in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// What the operator approved of one upstream server: the content of `approved/<plugin>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The plugin's name.
    pub plugin: PluginName,
    /// Where it came from.
    pub source: Source,
    /// Digest of the manifest's `mcp` section: another command or address is another server.
    pub server: Digest,
    /// The definitions, in the server's order.
    pub tools: Vec<Definition>,
}

impl Approval {
    /// Nothing approved yet.
    #[must_use]
    pub fn none(plugin: &Plugin) -> Self {
        let manifest = &plugin.manifest;
        Self {
            plugin: manifest.name.clone(),
            source: plugin.source.clone(),
            server: server_digest(manifest.mcp.as_ref()),
            tools: Vec::new(),
        }
    }

    /// Whether it was given for this plugin: same name, same source, same server.
    #[must_use]
    pub fn fits(&self, plugin: &Plugin) -> bool {
        let manifest = &plugin.manifest;
        self.plugin == manifest.name && self.source == plugin.source && self.server == server_digest(manifest.mcp.as_ref())
    }

    /// The approved definition of a tool.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Definition> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Compares what the server says now with what was approved.
    #[must_use]
    pub fn review(&self, observed: &[Definition]) -> Review {
        let mut review = Review::default();
        let mut seen = BTreeSet::new();
        for now in observed.iter().filter(|now| seen.insert(now.name.clone())) {
            match self.tool(&now.name) {
                None => review.new.push(now.clone()),
                Some(was) if was.digest() == now.digest() => review.unchanged.push(now.name.clone()),
                Some(was) => review.changed.push(Change { was: was.clone(), now: now.clone() }),
            }
        }
        review.gone = self.tools.iter().map(|tool| tool.name.clone()).filter(|name| !seen.contains(name)).collect();
        review
    }
}

fn server_digest(server: Option<&UpstreamServer>) -> Digest {
    Digest::of([sorted(&serde_json::to_value(server).unwrap_or_default()).to_string().as_bytes()])
}

/// How a server's tools compare with what was approved. Only `unchanged` may be served.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Review {
    /// As approved.
    pub unchanged: Vec<String>,
    /// Approved, and defined otherwise now: quarantined.
    pub changed: Vec<Change>,
    /// Never approved: quarantined.
    pub new: Vec<Definition>,
    /// Approved, and not offered any more.
    pub gone: Vec<String>,
}

/// A definition that is not the approved one any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// As approved.
    pub was: Definition,
    /// As it is.
    pub now: Definition,
}

impl Change {
    /// What differs, by JSON pointer, with the values before and after; `None` where there is none.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let value = |definition: &Definition| serde_json::to_value(definition).unwrap_or_default();
        compare(&value(&self.was), &value(&self.now), String::new(), &mut found);
        found
    }
}

/// One place where two definitions differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// JSON pointer into the definition.
    pub path: String,
    /// The approved value.
    pub was: Option<Value>,
    /// The value now.
    pub now: Option<Value>,
}

fn compare(was: &Value, now: &Value, path: String, found: &mut Vec<Difference>) {
    if let (Value::Object(was), Value::Object(now)) = (was, now) {
        let keys: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
        for key in keys {
            let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (was.get(key), now.get(key)) {
                (Some(was), Some(now)) => compare(was, now, path, found),
                (was, now) => found.push(Difference { path, was: was.cloned(), now: now.cloned() }),
            }
        }
    } else if sorted(was) != sorted(now) {
        found.push(Difference { path, was: Some(was.clone()), now: Some(now.clone()) });
    }
}
