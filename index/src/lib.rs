//! Which tool fits these words?
//!
//! ```text
//! ToolDocument ─ Indexer::update ─► Arc<ToolIndex> ─ search(Query, accept) ─► Vec<Hit>
//!                 (one writer,         (immutable,
//!                  off the request      any number of
//!                  path)                threads)
//! ```
//!
//! Lexical: tantivy in memory over an analysis of our own ([`analysis`], [`lexical`]), one idf for all fields (`postings`).
//! Dense: an [`Embedder`] (the shipped table, [`StaticEmbedder`], or an ONNX model, [`FastEmbedder`]), int8 vectors,
//! brute-force dot product ([`vectors`]), kept on disk by content ([`VectorCache`]).
//! Both are fused by score, not by rank ([`fusion`]); a request for several things is taken apart ([`clauses`]).
//! Without an embedder the index is lexical alone and says so ([`ToolIndex::mode`]).
//!
//! This crate reads no environment, opens no connection, downloads nothing and knows nothing of MCP.
#![forbid(unsafe_code)]

mod among;
pub mod analysis;
mod cache;
pub mod clauses;
mod convincing;
mod document;
mod embed;
mod encoding;
mod error;
pub mod eval;
mod fast;
pub mod fusion;
mod hub;
mod indexer;
mod kept;
pub mod learned;
mod lesson_store;
pub mod lexical;
mod locate;
pub mod onnx;
mod postings;
mod runtime;
mod search;
mod shared;
mod table;
pub mod vectors;
mod wordpiece;

pub use among::{Among, ToolSet};
pub use cache::{CacheProblem, VectorCache};
pub use convincing::convincing;
pub use document::ToolDocument;
pub use embed::{EmbedError, Embedder};
pub use encoding::{Encoding, GraphOutput, Pooled, pooled};
pub use error::{IndexError, Warning};
pub use fast::FastEmbedder;
pub use hub::{HubModel, UnfitModel, hub_models, unfit_models};
pub use indexer::{Indexer, UpdateStats};
pub use kept::Keep;
pub use learned::{Lesson, Lessons};
pub use lesson_store::{Accepted, Counted, KeptLesson, LessonError, LessonStore, ModelLessons, clear_lessons, lessons_in};
pub use locate::{Located, Places, locate};
pub use runtime::{EmbedderUnavailable, Unavailable, check_runtime};
pub use search::{Answer, Hit, Mode, Query, ToolIndex};
pub use table::{BadTable, StaticEmbedder};
