//! One tool of a manifest: what it is called, what it takes, and where its code is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ToolName;

/// One entry of `mcps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The tool's name; it is served as `plugin__tool`.
    pub name: ToolName,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the tool does, in words a model can choose by.
    pub description: String,
    /// Python module in the plugin that holds the class or function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_path: Option<String>,
    /// Class with `_run`, `_arun` or `execute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Function `f(inputs, context)`, usually `execute_plugin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Script that reads one JSON document on stdin and prints JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What an upstream MCP server calls the tool, where that is not `name`; `runtime: mcp` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_name: Option<String>,
    /// JSON Schema 2020-12 of the arguments, rooted in an object. Absent: derived from the code, once, in the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_schema: Option<Map<String, Value>>,
    /// JSON Schema of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Map<String, Value>>,
    /// Words for what the tool can do; they feed search and filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Hints about effects; shown to clients, never trusted by policy.
    #[serde(default)]
    pub annotations: Annotations,
    /// Requests that this tool answers; they feed search, docs and tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// Offered to LangChain clients.
    #[serde(default = "yes")]
    pub langchain_compatible: bool,
    /// Reserved for composed plugins.
    #[serde(default)]
    pub sequential_thinking_enabled: bool,
    /// Reserved for composed plugins; 0 to 100.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub complexity_threshold: u32,
}

const fn yes() -> bool {
    true
}

/// Where a Python tool's code is: exactly one of the three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A class in a module.
    Class {
        /// Module path in the plugin.
        module: &'a str,
        /// Class name.
        class: &'a str,
    },
    /// A function in a module.
    Function {
        /// Module path in the plugin.
        module: &'a str,
        /// Function name.
        function: &'a str,
    },
    /// A script file.
    Script {
        /// File in the plugin.
        file: &'a str,
    },
}

impl ToolSpec {
    /// The code behind the tool; `None` when the manifest names none (runtimes other than Python).
    #[must_use]
    pub fn entry(&self) -> Option<Entry<'_>> {
        let module = self.module_path.as_deref().unwrap_or("main");
        match (&self.class_name, &self.function, &self.script) {
            (Some(class), None, None) => Some(Entry::Class { module, class }),
            (None, Some(function), None) => Some(Entry::Function { module, function }),
            (None, None, Some(file)) => Some(Entry::Script { file }),
            _ => None,
        }
    }
}

/// Hints about a tool's effects (MCP tool annotations). The defaults are the cautious ones of the MCP specification; `read_only: true` makes
/// `destructive` default to false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Annotations {
    /// Changes nothing.
    pub read_only: bool,
    /// May delete or overwrite.
    pub destructive: bool,
    /// The same call twice is the same as once.
    pub idempotent: bool,
    /// Reaches things outside the host.
    pub open_world: bool,
}

impl Default for Annotations {
    fn default() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

/// A request that the tool answers; feeds retrieval, docs and `pegboard test`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The request in a person's words.
    pub query: String,
    /// Arguments that answer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Map<String, Value>>,
    /// The result to expect, if it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}
