//! Runs the tools of existing MCP servers (`runtime: mcp`): one process or connection a plugin for all callers, started at first use,
//! kept warm, every definition compared with the approved one before a call passes.
//!
//! What confines a process is in `sandbox`; whether a call may happen was decided in `policy`, and what was approved is kept by the
//! command line. Nothing here writes a file of the operator's.

mod inspection;
mod settings;

use std::sync::Arc;

use executor_api::{FailureKind, ToolFailure};
use policy::{Allowed, Plugin};

pub use inspection::{Inspection, Offered, ServerIdentity};
pub use settings::{McpSettings, Observation, Observer};

/// Why the executor can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The client for addresses could not be made.
    #[error("the HTTP client could not be made: {problem}")]
    Client {
        /// What went wrong.
        problem: String,
    },
}

/// Runs the tools of `runtime: mcp` plugins.
#[derive(Debug, Clone)]
pub struct McpExecutor {
    settings: Arc<McpSettings>,
}

impl McpExecutor {
    /// Starts nothing yet.
    ///
    /// # Errors
    /// [`StartError`] when the HTTP client can't be made.
    pub fn new(settings: McpSettings) -> Result<Self, StartError> {
        Ok(Self { settings: Arc::new(settings) })
    }

    /// Starts the plugin's server in its jail (or connects to its address), asks what it offers, and ends it again.
    ///
    /// # Errors
    /// The failure that a call would get: the server does not start, does not answer in time, breaks the protocol or a limit.
    pub async fn inspect(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<Inspection, ToolFailure> {
        tracing::debug!(plugin = plugin.manifest.name.as_str(), powers = allowed.powers.len(), cache = %self.settings.cache.display(), "inspect");
        Err(ToolFailure::new(FailureKind::Unsupported, "upstream servers can't be asked yet"))
    }
}
