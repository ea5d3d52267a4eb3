//! The search index behind the catalog. Temporary: word overlap, until the `index` crate is there.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{StartError, catalog::ServedTool};

/// How the meaning of words is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedderChoice {
    /// Words alone.
    Lexical,
    /// A fastembed model; where it cannot be loaded, words alone, and the log says why.
    Fastembed {
        /// Folder of the model.
        model: PathBuf,
        /// The ONNX runtime library.
        onnxruntime: PathBuf,
    },
}

/// What the index does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexMode {
    /// The first index is being made.
    Building,
    /// Words alone, with the reason where something better was asked for.
    Lexical(Option<String>),
    /// Words and meaning.
    Hybrid(String),
}

impl IndexMode {
    /// The stable word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Lexical(_) => "lexical",
            Self::Hybrid(_) => "hybrid",
        }
    }
}

/// One tool that fits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub(crate) name: String,
    pub(crate) score: f32,
}

pub(crate) struct Retrieval {
    documents: Mutex<Option<Arc<Vec<(String, Vec<String>)>>>>,
}

impl Retrieval {
    pub(crate) fn new(_choice: &EmbedderChoice, _cache: &std::path::Path) -> Result<Self, StartError> {
        Ok(Self { documents: Mutex::new(None) })
    }

    pub(crate) fn mode(&self) -> IndexMode {
        if self.documents.lock().unwrap_or_else(PoisonError::into_inner).is_some() { IndexMode::Lexical(None) } else { IndexMode::Building }
    }

    /// Blocking.
    pub(crate) fn update(&self, tools: &[Arc<ServedTool>]) {
        let documents = tools.iter().map(|tool| (tool.name.to_string(), words(&format!("{} {} {}", tool.name, tool.spec.description, tool.spec.capabilities.join(" "))))).collect();
        *self.documents.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(documents));
    }

    pub(crate) fn search(&self, query: &str, limit: usize, accept: &dyn Fn(&str) -> bool) -> Vec<Hit> {
        let Some(documents) = self.documents.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Vec::new() };
        let query = words(query);
        let mut hits: Vec<Hit> = documents
            .iter()
            .filter(|(name, _)| accept(name))
            .filter_map(|(name, words)| {
                let common = query.iter().filter(|word| words.contains(word)).count();
                #[expect(clippy::cast_precision_loss, reason = "counts of words are small")]
                (common > 0).then(|| Hit { name: name.clone(), score: common as f32 / query.len() as f32 })
            })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.name.cmp(&b.name)));
        hits.truncate(limit);
        hits
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
