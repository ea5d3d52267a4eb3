//! Runs the tools of existing MCP servers (`runtime: mcp`): one process or connection a plugin for all callers, started at first use,
//! kept warm, every definition compared with the approved one before a call passes.
//!
//! What confines a process is in `sandbox`; whether a call may happen was decided in `policy`, and what was approved is kept by the
//! command line. Nothing here writes a file of the operator's. Why the client side is written here and not taken from rmcp:
//! ARCHITECTURE.md.

mod definitions;
mod events;
mod handshake;
mod headers;
mod http;
mod inspection;
mod jail;
mod peer;
mod pipe;
mod program;
mod results;
mod secrets;
mod server;
mod settings;
mod sse;
mod supervisor;
mod web;
mod wire;

use std::{io, sync::Arc, time::Duration};

use executor_api::{CallIo, Executor, FailureKind, KeepLimits, KeptPlugins, Observer, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};
use sandbox::cgroup::Cgroups;

pub use inspection::{Inspection, Offered, ServerIdentity};
pub use settings::McpSettings;

use crate::{
    server::{Parts, Server},
    supervisor::Supervisor,
};

/// How often idle servers are looked for, at most.
const SWEEP: Duration = Duration::from_secs(10);

/// Why the executor can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for package launchers can't be made.
    #[error("`{path}` can't be made: {source}")]
    Cache {
        /// The folder.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs the tools of `runtime: mcp` plugins.
#[derive(Clone)]
pub struct McpExecutor {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Arc<Parts>,
    plugins: Arc<KeptPlugins<Supervisor>>,
}

impl std::fmt::Debug for McpExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpExecutor").field("settings", &self.inner.parts.settings).finish_non_exhaustive()
    }
}

impl McpExecutor {
    /// Starts nothing yet.
    ///
    /// # Errors
    /// [`StartError`] when the cache can't be written.
    pub fn new(settings: McpSettings) -> Result<Self, StartError> {
        let cache = settings.cache.join("upstream");
        std::fs::create_dir_all(&cache).map_err(|source| StartError::Cache { path: cache.display().to_string(), source })?;
        let parts = Parts { groups: Cgroups::open_here(), settings, observer: std::sync::OnceLock::new() };
        let limits = KeepLimits { warm: parts.settings.servers, idle: parts.settings.idle, sweep: SWEEP };
        let inner = Inner { parts: Arc::new(parts), plugins: KeptPlugins::new(limits) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts the plugin's server in its jail (or connects to its address), asks what it offers, and ends it again.
    ///
    /// # Errors
    /// The failure that a call would get: the server does not start, does not answer in time, breaks the protocol or a limit.
    pub async fn inspect(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<Inspection, ToolFailure> {
        let server = Server::start(&self.inner.parts, &plugin, &allowed).await?;
        let known = server.known();
        let inspection = Inspection {
            server: server.identity.clone(),
            protocol: server.protocol.clone(),
            instructions: server.instructions.clone(),
            tools: known.listing.tools.clone(),
            refused: known.listing.refused.clone(),
            prompts: server.offered("prompts", "name").await,
            resources: server.offered("resources", "uri").await,
        };
        server.stop(ToolFailure::new(FailureKind::Unavailable, "the server was ended")).await;
        Ok(inspection)
    }

    /// Starts a plugin's server before its first call.
    ///
    /// # Errors
    /// The failure that its first call would get.
    pub async fn warm(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<(), ToolFailure> {
        self.inner.supervisor(&plugin, &allowed).await.start().await.map(drop)
    }
}

impl Inner {
    async fn supervisor(&self, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Arc<Supervisor> {
        let make = || Supervisor::new(Arc::clone(plugin), Arc::clone(allowed), Arc::clone(&self.parts));
        self.plugins.get(plugin, allowed, make).await
    }
}

impl Executor for McpExecutor {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            let supervisor = self.inner.supervisor(&call.call().plugin, call.allowed()).await;
            supervisor.run(&call, &io).await
        })
    }

    /// Starts the server; what its tools are is not taken from here but from what was approved.
    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        Box::pin(async move {
            self.warm(Arc::clone(&plugin), allowed).await?;
            Ok(plugin.manifest.mcps.clone())
        })
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.plugins.retire(plugin)
    }

    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.plugins.finish(plugin)
    }

    /// A server is one for all callers: nothing of it belongs to a session.
    fn end_session(&self, _session: &SessionId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn level(&self) -> Level {
        self.inner.parts.settings.level
    }

    fn states(&self) -> Vec<PluginState> {
        self.inner.plugins.states()
    }

    fn observe(&self, observer: Observer) {
        if self.inner.parts.observer.set(observer).is_err() {
            tracing::error!("an executor of upstream servers can tell one host alone what it observes");
        }
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.plugins.shutdown())
    }
}
