//! What can go wrong while an index is made. A search never fails: see [`crate::Answer`] for how it degrades.

use std::path::PathBuf;

use crate::cache::CacheProblem;
use crate::embed::EmbedError;

/// The index was not changed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Two tools of one catalog have the same served name.
    #[error("tool `{id}` is given twice: expected unique served names")]
    DuplicateTool {
        /// The served name.
        id: String,
    },
    /// A served name that cannot be a key.
    #[error("tool id has {found} bytes: expected 1 to {limit}")]
    BadId {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More tools than an index holds.
    #[error("catalog has {found} tools: expected at most {limit}")]
    TooManyTools {
        /// Tools given.
        found: usize,
        /// Tools allowed.
        limit: usize,
    },
    /// The lexical engine failed.
    #[error("the lexical index failed")]
    Lexical(#[from] tantivy::TantivyError),
}

/// The index is good, but less than it could be, or more work than it should have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A vector cache was not used; its vectors are made anew.
    #[error("vector cache `{path}` was ignored: {problem}")]
    CacheIgnored {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        problem: CacheProblem,
    },
    /// New vectors could not be kept; the next start makes them again.
    #[error("vector cache `{path}` was not written: {message}")]
    CacheNotWritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// Some tools have no vector and are found by words alone.
    #[error("{pending} texts have no vector: {error}")]
    NotEmbedded {
        /// Texts without a vector.
        pending: usize,
        /// Why the embedding stopped.
        error: EmbedError,
    },
}
