//! What comes back while a call runs. Worker protocol and container contract speak the same frames.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{Content, ToolFailure};

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

/// Something only the host can do, with the way back for its answer. Kinds not built yet are refused by dropping it.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRequest {
    /// `ask_user`, `call_tool`, `fetch`.
    pub kind: String,
    /// Its parameters.
    pub params: Value,
    back: WayBack,
}

/// What the host answered: a value, or why not.
pub type HostAnswer = Result<Value, ToolFailure>;

impl HostRequest {
    /// A request, and where its answer arrives. The receiver fails when nobody answered: whoever held the request let go of it.
    #[must_use]
    pub fn new(kind: impl Into<String>, params: Value) -> (Self, oneshot::Receiver<HostAnswer>) {
        let (sender, receiver) = oneshot::channel();
        (Self { kind: kind.into(), params, back: WayBack(Arc::new(Mutex::new(Some(sender)))) }, receiver)
    }

    /// Answers. The first answer counts.
    pub fn answer(&self, answer: HostAnswer) {
        let sender = self.back.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        }
    }
}

/// Shared by the copies of one request; two are equal when they lead to the same place.
#[derive(Debug, Clone)]
struct WayBack(Arc<Mutex<Option<oneshot::Sender<HostAnswer>>>>);

impl PartialEq for WayBack {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
