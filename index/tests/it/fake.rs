//! Tools and encoders for the tests: deterministic, and counting what they are asked.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pegboard_index::{EmbedError, Embedder, Hit, Indexer, Query, ToolDocument, ToolIndex};

pub(crate) fn tool(id: &str, description: &str) -> ToolDocument {
    let (plugin, name) = id.split_once("__").unwrap_or(("", id));
    ToolDocument {
        id: id.to_owned(),
        plugin: plugin.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        ..ToolDocument::default()
    }
}

pub(crate) fn catalog() -> Vec<ToolDocument> {
    vec![
        tool("weather__forecast", "Predict temperature and rain for the coming days in a city"),
        tool("weather__current", "Temperature, wind and humidity outside right now"),
        tool("mail__send_message", "Deliver an email to one or more recipients"),
        tool("git__createIssue", "Open a bug report on GitHub"),
        tool("text__text_statistics", "Count words, sentences and reading time of a text"),
        tool("money__convert", "Exchange an amount between currencies at today's rate"),
    ]
}

pub(crate) fn lexical(tools: &[ToolDocument]) -> Arc<ToolIndex> {
    Indexer::lexical().unwrap().update(tools).unwrap().0
}

pub(crate) fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}

pub(crate) fn find(index: &ToolIndex, text: &str) -> Vec<String> {
    index.search(&Query::new(text), &|_| true).into_iter().map(|hit| hit.id).collect()
}

/// Knows a few groups of words that mean the same; a text's vector counts its words by group.
pub(crate) struct Synonyms {
    pub(crate) id: &'static str,
    pub(crate) embedded: AtomicUsize,
    pub(crate) seen: Mutex<HashSet<String>>,
    /// After this many texts, documents fail.
    pub(crate) fails_after: usize,
    /// Requests fail.
    pub(crate) deaf: bool,
}

const GROUPS: [&[&str]; 4] = [
    &["temperature", "rain", "umbrella", "climate", "wind"],
    &["email", "letter", "recipients", "deliver"],
    &["currencies", "amount", "dollars", "euros"],
    &["bug", "ticket", "issue"],
];

impl Synonyms {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { id, embedded: AtomicUsize::new(0), seen: Mutex::default(), fails_after: usize::MAX, deaf: false }
    }

    pub(crate) fn embedded(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }

    fn vector(text: &str) -> Vec<f32> {
        let text = text.to_lowercase();
        let mut vector: Vec<f32> =
            GROUPS.iter().map(|group| group.iter().filter(|word| text.contains(*word)).count() as f32).collect();
        // A little of everything: an unrelated text is near to nothing, not to a zero vector.
        vector.push(0.1);
        vector
    }
}

impl Embedder for Synonyms {
    fn id(&self) -> &str {
        self.id
    }

    fn dimension(&self) -> usize {
        GROUPS.len() + 1
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        if self.deaf { Err(EmbedError::TimedOut { milliseconds: 500 }) } else { Ok(Self::vector(text)) }
    }

    fn embed_documents(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.embedded() + texts.len() > self.fails_after {
            return Err(EmbedError::Stopped);
        }
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        self.seen.lock().unwrap().extend(texts.iter().cloned());
        Ok(texts.iter().map(|text| Self::vector(text)).collect())
    }
}
