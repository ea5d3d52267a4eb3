//! `tools.jsonl` and `queries.jsonl`: one JSON object a line, read whole and bounded. A line that does not fit is an error with its number.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::document::ToolDocument;

/// Bytes of one file; a hundred thousand tools with full schemas are a tenth of it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Why a set or a ranking cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The system could not read the file.
    #[error("could not read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than any set.
    #[error("`{path}` is too large: expected at most {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// A line is not what it should be.
    #[error("{path}:{line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// One-based; 0 for the file as a whole.
        line: usize,
        /// What was expected and found.
        problem: String,
    },
}

/// What counts as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// All right answers are wanted.
    #[default]
    All,
    /// One of them is the whole answer.
    Any,
}

/// A request with its right answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// Unique in its set.
    pub id: String,
    /// The request.
    pub query: String,
    /// Ids of the right tools.
    pub relevant: Vec<String>,
    /// Whether one is enough.
    pub matching: Matching,
    /// Equal stand-ins: another tool's id, and the right one it stands for.
    pub alt: HashMap<String, String>,
    /// A part of the set that is also reported by itself.
    pub subset: Option<String>,
}

/// Tools, and requests for them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    /// The tools.
    pub tools: Vec<ToolDocument>,
    /// The requests.
    pub queries: Vec<Judged>,
}

impl Dataset {
    /// Reads `tools.jsonl` and `queries.jsonl` of a folder.
    ///
    /// # Errors
    /// [`EvalError`] with the line that does not fit.
    pub fn read(folder: &Path) -> Result<Self, EvalError> {
        Ok(Self { tools: read_tools(&folder.join("tools.jsonl"))?, queries: read_queries(&folder.join("queries.jsonl"))? })
    }
}

#[derive(Deserialize)]
struct ToolLine {
    id: String,
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    args_schema: Option<Map<String, Value>>,
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    examples: Vec<String>,
}

#[derive(Deserialize)]
struct QueryLine {
    id: String,
    query: String,
    relevant: Vec<String>,
    #[serde(default)]
    r#match: Option<Matching>,
    #[serde(default)]
    alt: Option<HashMap<String, String>>,
    #[serde(default)]
    subset: Option<String>,
}

fn read_tools(path: &Path) -> Result<Vec<ToolDocument>, EvalError> {
    let mut seen = HashSet::new();
    let mut tools = Vec::new();
    for (number, line) in lines::<ToolLine>(path)? {
        if !seen.insert(line.id.clone()) {
            return Err(wrong(path, number, format!("tool `{}` is given twice", line.id)));
        }
        tools.push(ToolDocument {
            id: line.id,
            plugin: line.server.unwrap_or_default(),
            name: line.name,
            title: line.title,
            description: line.description.unwrap_or_default(),
            category: line.category,
            keywords: line.keywords,
            capabilities: line.capabilities,
            args_schema: line.args_schema,
            examples: line.examples,
        });
    }
    Ok(tools)
}

fn read_queries(path: &Path) -> Result<Vec<Judged>, EvalError> {
    let mut seen = HashSet::new();
    let mut queries = Vec::new();
    for (number, line) in lines::<QueryLine>(path)? {
        let matching = line.r#match.unwrap_or_default();
        if !seen.insert(line.id.clone()) {
            return Err(wrong(path, number, format!("query `{}` is given twice", line.id)));
        }
        if line.relevant.is_empty() && matching == Matching::All {
            return Err(wrong(
                path,
                number,
                format!("query `{}` has no right answer: expected at least one id in `relevant`", line.id),
            ));
        }
        queries.push(Judged {
            id: line.id,
            query: line.query,
            relevant: line.relevant,
            matching,
            alt: line.alt.unwrap_or_default(),
            subset: line.subset,
        });
    }
    Ok(queries)
}

/// The objects of a file, with the numbers of their lines; empty lines are passed over.
pub(super) fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>, EvalError> {
    let text = text(path)?;
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map(|value| (at + 1, value)).map_err(|error| wrong(path, at + 1, error.to_string()))
    };
    filled.map(parse).collect()
}

pub(super) fn text(path: &Path) -> Result<String, EvalError> {
    let unreadable = |source| EvalError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err(EvalError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

pub(super) fn wrong(path: &Path, line: usize, problem: String) -> EvalError {
    EvalError::Line { path: path.to_owned(), line, problem }
}
