//! How a call ended: output, or a failure with its kind. Both are data.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// One block of a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Base64.
        data: String,
        /// Media type, `image/png`.
        mime: String,
    },
    /// Sound.
    Audio {
        /// Base64.
        data: String,
        /// Media type.
        mime: String,
    },
    /// A document inside the result: `text` or `blob` (base64), exactly one.
    Resource {
        /// Name of it.
        uri: String,
        /// Media type.
        mime: Option<String>,
        /// As text.
        text: Option<String>,
        /// As base64.
        blob: Option<String>,
    },
    /// A document elsewhere.
    ResourceLink {
        /// Where.
        uri: String,
        /// For people.
        name: String,
        /// Media type.
        mime: Option<String>,
        /// In words.
        description: Option<String>,
    },
}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ToolOutput {
    /// Blocks for the model.
    pub content: Vec<Content>,
    /// The value as the tool returned it (not wrapped); `None` for plain text and pure content.
    pub structured: Option<Value>,
}

/// Why a call failed. The word is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The tool raised an exception or reported an error.
    Raised,
    /// The process died.
    Crashed,
    /// The wall clock or CPU limit ended it.
    TimedOut,
    /// The memory limit ended it.
    OutOfMemory,
    /// The caller gave up.
    Cancelled,
    /// The result is larger than allowed.
    OutputTooLarge,
    /// The result can't be encoded, or does not fit the output schema.
    BadOutput,
    /// The plugin can't be loaded: import, `initialize`, missing class.
    LoadFailed,
    /// The plugin's environment is still being made.
    Preparing,
    /// The plugin failed to start too often; it is tried again later.
    Unavailable,
    /// Too many calls wait.
    Overloaded,
    /// Not built yet, or not on this machine.
    Unsupported,
    /// Our own fault.
    Internal,
}

impl FailureKind {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::Cancelled => "cancelled",
            Self::OutputTooLarge => "output_too_large",
            Self::BadOutput => "bad_output",
            Self::LoadFailed => "load_failed",
            Self::Preparing => "preparing",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// A failed call. `message` and `hint` are safe to show a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolFailure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
    /// The plugin's own frames of a traceback, or the end of its log.
    pub detail: Option<String>,
}

impl ToolFailure {
    /// A failure without hint or detail.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, detail: None }
    }

    /// Adds what can be done.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a traceback or log.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for ToolFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It returned.
    Completed(ToolOutput),
    /// It did not.
    Failed(ToolFailure),
}
