//! An executor that follows a script: for tests of the host without a sandbox.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};

use crate::{CallIo, Executor, FailureKind, PluginState, ToolFailure, ToolOutcome};

type Script = Arc<dyn Fn(&PermittedCall, &CallIo) -> ToolOutcome + Send + Sync>;

/// Answers each tool by its scripted function; a tool without one fails as unsupported.
#[derive(Clone, Default)]
pub struct ScriptedExecutor {
    scripts: HashMap<String, Script>,
}

impl ScriptedExecutor {
    /// Adds the answer of one served tool name.
    #[must_use]
    pub fn on(mut self, tool: &str, script: impl Fn(&PermittedCall, &CallIo) -> ToolOutcome + Send + Sync + 'static) -> Self {
        self.scripts.insert(tool.to_owned(), Arc::new(script));
        self
    }
}

impl Executor for ScriptedExecutor {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            match self.scripts.get(call.call().name.as_str()) {
                Some(script) => script(&call, &io),
                None => ToolOutcome::Failed(ToolFailure::new(FailureKind::Unsupported, "no script for this tool")),
            }
        })
    }

    fn prepare(&self, plugin: Arc<Plugin>, _allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        Box::pin(async move { Ok(plugin.manifest.mcps.clone()) })
    }

    fn retire(&self, _plugin: &str) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn end_session(&self, _session: &SessionId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn level(&self) -> Level {
        Level::L2
    }

    fn states(&self) -> Vec<PluginState> {
        Vec::new()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
