//! Somebody who watches: told of every call, its log and every new catalog as they happen. For a plugin's author, who sees arguments and results;
//! a server that others use has none.

use std::sync::Arc;

use executor_api::LogLevel;
use policy::TraceId;
use serde_json::{Map, Value};

use crate::{CallReply, Catalog};

/// What is seen.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A call came in; nothing of it was checked yet.
    Begins {
        /// Ties what follows to it.
        trace: &'a TraceId,
        /// What it asks for.
        tool: &'a str,
        /// With what.
        args: &'a Map<String, Value>,
    },
    /// A line of its log, cleaned.
    Log {
        /// Whose.
        trace: &'a TraceId,
        /// Severity.
        level: LogLevel,
        /// The line.
        message: &'a str,
    },
    /// It ended.
    Ends {
        /// What it asked for.
        tool: &'a str,
        /// How.
        reply: &'a CallReply,
    },
    /// This is served from now on.
    Catalog(&'a Catalog),
}

/// Told of what is seen, on the threads that do the work: must not block.
#[derive(Clone)]
pub struct Witness(pub Arc<dyn Fn(Seen<'_>) + Send + Sync>);

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

/// Tells the witness, where there is one.
pub(crate) fn tell(witness: Option<&Witness>, seen: Seen<'_>) {
    if let Some(witness) = witness {
        (witness.0)(seen);
    }
}
