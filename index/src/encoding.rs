//! How a model is asked and read, beside its graph: which tokens make the vector, what is put before a text, which output counts.
//!
//! A model that is asked another way than it was trained gives vectors that are merely worse, and nobody notices; so what is not known for
//! certain is refused here. Nothing is embedded in this file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::runtime::Unavailable;

/// The receipt of an installation; only its `encoding` is read here.
const RECEIPT: &str = "model.json";
const POOLING: &str = "1_Pooling/config.json";
const PROMPTS: &str = "config_sentence_transformers.json";
pub(crate) const MAX_CONFIG_BYTES: u64 = 64 << 20;
const MAX_PREFIX_BYTES: usize = 512;
const MAX_DATA_FILES: usize = 16;

/// Which of the graph's token vectors make the vector of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooled {
    /// The mean of all.
    #[default]
    Mean,
    /// The first one.
    FirstToken,
}

/// An output of the graph that is named, because it is not the one that would be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphOutput {
    /// Pooled inside the graph.
    SentenceEmbedding,
}

/// How a model is asked and read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// Which tokens make the vector.
    pub pooling: Pooled,
    /// Put before a request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query_prefix: String,
    /// Put before a tool's text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub document_prefix: String,
    /// The output that counts, where it is not the only one or the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<GraphOutput>,
    /// Files beside the graph that hold its weights, by the names that the graph has for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// Length of its vectors, where it is known beforehand: another length means that something else was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<usize>,
}

/// What is read of a receipt.
#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    encoding: Option<Encoding>,
}

impl Encoding {
    /// What a model's folder says: the receipt of its installation, else the model's own files, else `otherwise`.
    ///
    /// # Errors
    /// [`Unavailable::ModelFile`] where a file says something that is not understood, or that cannot be done here.
    pub fn of(folder: &Path, otherwise: &Self) -> Result<Self, Unavailable> {
        let receipt = folder.join(RECEIPT);
        if let Some(kept) = document(&receipt)? {
            let kept: Kept = serde_json::from_value(kept).map_err(|error| unusable(&receipt, error.to_string()))?;
            if let Some(encoding) = kept.encoding {
                return encoding.checked(&receipt);
            }
        }
        let mut encoding = otherwise.clone();
        let pooling = folder.join(POOLING);
        if let Some(config) = document(&pooling)? {
            encoding.pooling = pooled(&config).map_err(|problem| unusable(&pooling, problem))?;
        }
        let prompts = folder.join(PROMPTS);
        if let Some(config) = document(&prompts)? {
            let prompt = |names: &[&str]| {
                let found = names.iter().find_map(|name| config.get("prompts")?.get(name)?.as_str());
                found.filter(|text| !text.is_empty()).map(str::to_owned)
            };
            encoding.query_prefix = prompt(&["query"]).unwrap_or(encoding.query_prefix);
            encoding.document_prefix = prompt(&["document", "passage"]).unwrap_or(encoding.document_prefix);
        }
        if encoding.data.is_empty() {
            encoding.data = data_beside_graph(folder);
        }
        encoding.checked(folder)
    }

    /// Sizes and names that a file may not decide.
    fn checked(self, path: &Path) -> Result<Self, Unavailable> {
        if self.query_prefix.len().max(self.document_prefix.len()) > MAX_PREFIX_BYTES {
            return Err(unusable(path, format!("expected prefixes of at most {MAX_PREFIX_BYTES} bytes")));
        }
        let plain = |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if self.data.len() > MAX_DATA_FILES || !self.data.iter().all(plain) {
            return Err(unusable(path, format!("expected at most {MAX_DATA_FILES} plain names of files with weights")));
        }
        Ok(self)
    }
}

/// The weights that a graph has outside of itself, by the names that exporters give them.
fn data_beside_graph(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut data: Vec<String> =
        names.filter(|name| ["model.onnx_data", "model.onnx.data"].iter().any(|start| name.starts_with(start))).collect();
    data.sort();
    data
}

/// What `1_Pooling/config.json` says: one way to make a vector of tokens, and one that is known here.
///
/// # Errors
/// The problem in words, where it is another way or several at once.
pub fn pooled(config: &Value) -> Result<Pooled, String> {
    let ways = config.as_object().ok_or("expected an object")?;
    let chosen: Vec<&str> = ways
        .iter()
        .filter(|(name, chosen)| name.starts_with("pooling_mode_") && chosen.as_bool() == Some(true))
        .map(|(name, _)| name.as_str())
        .chain(ways.get("pooling_mode").and_then(Value::as_str))
        .collect();
    match chosen.as_slice() {
        // The default of those who write this file.
        [] | ["pooling_mode_mean_tokens" | "mean"] => Ok(Pooled::Mean),
        ["pooling_mode_cls_token" | "cls"] => Ok(Pooled::FirstToken),
        others => Err(format!("expected the mean of the tokens or the first one, found {}", others.join(", "))),
    }
}

fn document(path: &Path) -> Result<Option<Value>, Unavailable> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, MAX_CONFIG_BYTES)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(path, error.to_string()))
}

pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Unavailable> {
    let metadata = fs::metadata(path).map_err(|error| unusable(path, error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable(path, "expected a regular file".to_owned()));
    }
    if metadata.len() > limit {
        return Err(unusable(path, format!("expected at most {limit} bytes, found {}", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = fs::File::open(path).map_err(|error| unusable(path, error.to_string()))?;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unusable(path, error.to_string()))?;
    Ok(bytes)
}

fn unusable(path: &Path, message: String) -> Unavailable {
    Unavailable::ModelFile { path: PathBuf::from(path), message }
}
