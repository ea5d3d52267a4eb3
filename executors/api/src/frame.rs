//! What comes back while a call runs. Worker protocol and container contract speak the same frames.

use serde::Serialize;
use serde_json::Value;

use crate::Content;

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// For the operator.
    Info,
    /// Something is odd.
    Warning,
    /// Something failed.
    Error,
}

/// One frame from a running call.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// How far the call is; strictly increasing.
    Progress {
        /// Done so far.
        progress: f64,
        /// Of how much.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
    },
    /// A line for the call's log: the plugin's logger, or what it printed.
    Log {
        /// Severity.
        level: LogLevel,
        /// Text, cut and cleaned.
        message: String,
    },
    /// Content ahead of the result.
    Content(Content),
    /// Something only the host can do.
    Host(HostRequest),
    /// What the call cost, sent once at its end.
    Usage {
        /// CPU time in microseconds.
        cpu_us: u64,
        /// Largest resident size in KiB.
        max_rss_kib: u64,
    },
}

/// Something only the host can do. Kinds not built yet are answered with a typed error.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRequest {
    /// `ask_user`, `call_tool`, `fetch`.
    pub kind: String,
    /// Its parameters.
    pub params: Value,
}
