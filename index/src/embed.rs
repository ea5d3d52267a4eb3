//! The encoder's contract: text in, vector out. Which encoder, and where its files are, is not known here.

/// Turns texts into vectors whose cosine says how near they are in meaning.
///
/// Implementations are called from many threads; they bound their own waiting.
pub trait Embedder: Send + Sync {
    /// Identifies model, file contents and settings: vectors of different ids are never compared.
    fn id(&self) -> &str;
    /// Length of every vector.
    fn dimension(&self) -> usize;
    /// The vector of a request. On the request path: fails rather than waits long.
    fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbedError>;
    /// Whether every component says as much as any other and is as often positive as negative: then the signs alone tell near from
    /// far well enough to choose what is compared wholly.
    fn even(&self) -> bool {
        false
    }
    /// The cosine below which a tool that shares no word with a request is no answer to it.
    fn floor(&self) -> f32 {
        0.1
    }
    /// The vectors of tools' texts, in order. Off the request path: may take seconds.
    fn embed_documents(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why there is no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// More requests are waiting than the queue holds.
    #[error("the embedder is busy: {waiting} texts are waiting")]
    Busy {
        /// Requests in the queue.
        waiting: usize,
    },
    /// The answer did not come in time.
    #[error("the embedder did not answer within {milliseconds} ms")]
    TimedOut {
        /// How long was waited.
        milliseconds: u64,
    },
    /// The embedder's thread has ended.
    #[error("the embedder has stopped")]
    Stopped,
    /// The model failed on these texts.
    #[error("the model failed: {message}")]
    Model {
        /// What the runtime said.
        message: String,
    },
    /// The model's answer is not usable.
    #[error("the model gave an unusable vector: expected {expected} finite numbers, found {found}")]
    BadVector {
        /// The embedder's dimension.
        expected: usize,
        /// What came.
        found: String,
    },
    /// Fewer or more vectors than texts.
    #[error("the model gave {found} vectors for {expected} texts")]
    BadCount {
        /// Texts given.
        expected: usize,
        /// Vectors received.
        found: usize,
    },
}
