//! The contract between the host and whatever runs a tool: a [`PermittedCall`] and a [`CallIo`] in, a [`ToolOutcome`] out.
//!
//! A plugin's failure is data ([`ToolOutcome::Failed`]), never an error of ours. No executor is known here.

mod fake;
mod frame;
mod kept;
mod outcome;

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Definition, Level, PermittedCall, Plugin, SessionId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use fake::ScriptedExecutor;
pub use frame::{Frame, HostAnswer, HostRequest, LogLevel};
pub use kept::{Busy, InUse, KeepLimits, Kept, KeptPlugins};
pub use outcome::{Content, FailureKind, ToolFailure, ToolOutcome, ToolOutput};

/// What goes in beside the call, and the way back while it runs.
#[derive(Debug, Clone)]
pub struct CallIo {
    /// Cancelled when the caller gives up: the call's process is killed at once.
    pub cancel: CancellationToken,
    /// The wall clock ends here; measured from dispatch.
    pub deadline: Instant,
    /// Frames while the call runs. Bounded; a full queue drops progress and log frames, never the outcome.
    pub frames: mpsc::Sender<Frame>,
}

/// State of one plugin inside an executor, for `doctor`, `/metrics` and logs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PluginState {
    /// Plugin name.
    pub plugin: String,
    /// `idle`, `preparing`, `warm`, `backing_off`, `broken`.
    pub state: &'static str,
    /// Level reached.
    pub level: Option<Level>,
    /// `zygote` (pre-forked children) or `spawn` (one confined process a call), with the reason when it is `spawn`.
    pub road: String,
    /// Children ready for a call.
    pub ready: usize,
    /// Processes alive.
    pub processes: usize,
    /// Starts since the host began.
    pub starts: u64,
    /// Last thing that went wrong.
    pub problem: Option<String>,
}

/// What the server behind a plugin was seen to offer.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The plugin whose server it is.
    pub plugin: Arc<Plugin>,
    /// All its tools, in its order.
    pub tools: Vec<Definition>,
    /// What was left out, and why.
    pub refused: Vec<String>,
}

/// Told of every list that a server gave. Must not block.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// Runs the calls of one runtime.
pub trait Executor: Send + Sync + 'static {
    /// Runs one call to its end. Never panics on what a plugin does.
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome>;

    /// Gets a plugin ready before its first call: its virtualenv, and its schemas where the manifest has none.
    /// Returns the tools with every `args_schema` filled in.
    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>>;

    /// Ends every process of a plugin, with the calls that run: what it was granted changed.
    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()>;

    /// The plugin changed or went away, and nothing was taken from it: the calls that run come to their end, then its processes do. A later
    /// [`retire`](Self::retire) ends them at once.
    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.retire(plugin)
    }

    /// Ends the processes kept for a client's session.
    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()>;

    /// The level that calls run at on this machine.
    fn level(&self) -> Level;

    /// What runs now.
    fn states(&self) -> Vec<PluginState>;

    /// Says who is told what the servers behind plugins offer; runtimes whose tools stand in the manifest have nothing to tell.
    fn observe(&self, _observer: Observer) {}

    /// What its plugins say of themselves, as lines of Prometheus' text that already bear the plugin's label; runtimes whose plugins say nothing
    /// have none.
    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::ready(String::new()))
    }

    /// Ends everything.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}
