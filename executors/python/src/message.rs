//! What the host and a confined interpreter say to each other, as types. The Python side is `runtime/pegboard_runtime`.
//!
//! Everything that comes from a plugin's process is untrusted: sizes are bounded before parsing and texts are cut.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use executor_api::{Content, FailureKind, LogLevel, ToolFailure, ToolOutcome, ToolOutput};
use manifest_schema::ToolSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Largest control message, in bytes; `zygote.py` holds the same number.
pub(crate) const MESSAGE_LIMIT: usize = 192 * 1024;
const MESSAGE_TEXT: usize = 8 * 1024;
const DETAIL_TEXT: usize = 16 * 1024;

/// The first order: everything a zygote needs to know.
#[derive(Debug, Serialize)]
pub(crate) struct StartOrder<'a> {
    /// File of the worker module; `None` where it can't load.
    pub(crate) worker: Option<&'a Path>,
    /// Whether `process_spawn` is granted.
    pub(crate) may_spawn: bool,
    /// Whether to enter a virtualenv's site-packages.
    pub(crate) site: bool,
    /// Variables set before the plugin's imports.
    pub(crate) environment: BTreeMap<&'a str, &'a str>,
    /// The tools.
    pub(crate) tools: Vec<ToolOrder<'a>>,
    /// The plugin's folder.
    pub(crate) root: &'a Path,
    /// Ask for schemas that the manifest lacks.
    pub(crate) describe: bool,
    /// The operator's configuration, for `initialize`.
    pub(crate) config: &'a Map<String, Value>,
    /// `plugin_id`, `version`.
    pub(crate) context: BTreeMap<&'a str, &'a str>,
    /// Folder that holds the calls' scratch folders.
    pub(crate) scratch: &'a Path,
    /// What a call may read beside its scratch folder.
    pub(crate) readable: Vec<PathBuf>,
    /// What a call may write beside its scratch folder.
    pub(crate) writable: Vec<PathBuf>,
    /// Largest result in bytes.
    pub(crate) max_result: usize,
    /// One call a child.
    pub(crate) single: bool,
}

/// What the runtime needs of a tool.
#[derive(Debug, Serialize)]
pub(crate) struct ToolOrder<'a> {
    name: &'a str,
    module_path: Option<&'a str>,
    class_name: Option<&'a str>,
    function: Option<&'a str>,
    script: Option<&'a str>,
    args_schema: Option<&'a Map<String, Value>>,
    output_schema: Option<&'a Map<String, Value>>,
}

impl<'a> ToolOrder<'a> {
    pub(crate) fn of(tool: &'a ToolSpec) -> Self {
        Self {
            name: tool.name.as_str(),
            module_path: tool.module_path.as_deref(),
            class_name: tool.class_name.as_deref(),
            function: tool.function.as_deref(),
            script: tool.script.as_deref(),
            args_schema: tool.args_schema.as_ref(),
            output_schema: tool.output_schema.as_ref(),
        }
    }
}

/// First byte of an order to fork. Every other message is a JSON object.
const FORK: u8 = 0;

/// An order to fork one child for each identity, under these rlimits (resource number and value).
///
/// Not JSON: the worker module reads it (`steady.rs`), without the interpreter. `0`, the two counts (`u32`), identities (`u64`), limits
/// (`u32`, `u64`), all little-endian.
pub(crate) fn fork_order(ids: &[u64], limits: &[(u32, u64)]) -> Vec<u8> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut order = vec![FORK];
    order.extend(count(ids.len()));
    order.extend(count(limits.len()));
    order.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    for (resource, value) in limits {
        order.extend(resource.to_le_bytes());
        order.extend(value.to_le_bytes());
    }
    order
}

/// An order to serve one call in the zygote's own process.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename = "become")]
pub(crate) struct BecomeOrder<'a> {
    /// Identity, ours to choose.
    pub(crate) id: u64,
    /// rlimits of the call: resource number and value.
    pub(crate) limits: &'a [(u32, u64)],
}

/// What a zygote says.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum FromZygote {
    /// Loaded; `faults` are tools whose code can't be loaded.
    Ready { faults: BTreeMap<String, WireFailure>, python: String, confines: bool },
    /// Nothing could be loaded.
    Failed { failure: WireFailure },
    /// A schema derived from code.
    Described { tool: String, schema: Option<Map<String, Value>> },
    /// A message that did not fit.
    TooLarge { what: String, bytes: u64 },
    /// A child is coming; its descriptors are with the message.
    Child { id: u64 },
    /// A fork failed.
    NotForked { errno: Option<i32> },
    /// A child ended.
    Exited { id: u64, status: i32, cpu_us: u64 },
}

/// One call, as the child reads it.
#[derive(Debug, Serialize)]
pub(crate) struct CallRequest<'a> {
    pub(crate) trace: &'a str,
    pub(crate) tool: &'a str,
    pub(crate) args: &'a Map<String, Value>,
    pub(crate) config: &'a Map<String, Value>,
    pub(crate) secrets: BTreeMap<&'a str, &'a str>,
    pub(crate) data: Vec<&'a Path>,
}

/// What a child says.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum FromChild {
    /// Confined and waiting.
    Hello,
    /// How far it is.
    Progress { progress: f64, total: Option<f64>, message: Option<String> },
    /// A log line.
    Log { level: String, message: String },
    /// The end.
    Result { cpu_us: u64, rss_kib: u64, result: WireResult },
}

/// A result as the runtime writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct WireResult {
    ok: bool,
    #[serde(default)]
    content: Vec<WireContent>,
    #[serde(default, deserialize_with = "present")]
    structured: Option<Value>,
    #[serde(flatten)]
    failure: WireFailure,
}

/// Keeps `null` apart from absence: a tool may return nothing on purpose.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A failure as the runtime writes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct WireFailure {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireContent {
    Text { text: String },
    Image { data: String, mime: String },
    Audio { data: String, mime: String },
    Resource { uri: String, mime: Option<String>, text: Option<String>, blob: Option<String> },
    ResourceLink { uri: String, name: String, mime: Option<String>, description: Option<String> },
}

impl From<WireContent> for Content {
    fn from(content: WireContent) -> Self {
        match content {
            WireContent::Text { text } => Self::Text { text },
            WireContent::Image { data, mime } => Self::Image { data, mime },
            WireContent::Audio { data, mime } => Self::Audio { data, mime },
            WireContent::Resource { uri, mime, text, blob } => Self::Resource { uri, mime, text, blob },
            WireContent::ResourceLink { uri, name, mime, description } => Self::ResourceLink { uri, name, mime, description },
        }
    }
}

impl WireFailure {
    /// The failure as data of ours. A kind that only the host may claim (a time-out, say) counts as raised.
    pub(crate) fn into_failure(self) -> ToolFailure {
        let kind = match self.kind.as_str() {
            "out_of_memory" => FailureKind::OutOfMemory,
            "output_too_large" => FailureKind::OutputTooLarge,
            "bad_output" => FailureKind::BadOutput,
            "load_failed" => FailureKind::LoadFailed,
            "unsupported" => FailureKind::Unsupported,
            _ => FailureKind::Raised,
        };
        ToolFailure {
            kind,
            message: cut(self.message, MESSAGE_TEXT),
            hint: self.hint.map(|hint| cut(hint, MESSAGE_TEXT)),
            detail: self.detail.map(|detail| cut(detail, DETAIL_TEXT)),
        }
    }
}

impl WireResult {
    pub(crate) fn into_outcome(self) -> ToolOutcome {
        if self.ok {
            let content = self.content.into_iter().map(Content::from).collect();
            ToolOutcome::Completed(ToolOutput { content, structured: self.structured })
        } else {
            ToolOutcome::Failed(self.failure.into_failure())
        }
    }
}

/// The level of a log line; an unknown word counts as information.
pub(crate) fn log_level(word: &str) -> LogLevel {
    match word {
        "debug" => LogLevel::Debug,
        "warning" => LogLevel::Warning,
        "error" | "critical" => LogLevel::Error,
        _ => LogLevel::Info,
    }
}

/// Cuts a text at a character boundary, and says so.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
