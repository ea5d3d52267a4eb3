//! Loads the plugin that is developed as soon as it changes, so that a mistake in its code is seen before the first call.

use std::{path::PathBuf, sync::Arc};

use executor_api::{CallIo, Executor, Observer, PluginState, ToolFailure, ToolOutcome};
use executor_python::PythonExecutor;
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};

use super::console::Console;

/// The executor of Python plugins; what it is asked to prepare is started, where it is the folder's.
pub(super) struct Eager {
    inner: PythonExecutor,
    folder: PathBuf,
    console: Arc<Console>,
}

impl Eager {
    pub(super) const fn new(inner: PythonExecutor, folder: PathBuf, console: Arc<Console>) -> Self {
        Self { inner, folder, console }
    }
}

impl Executor for Eager {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        self.inner.run(call, io)
    }

    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        Box::pin(async move {
            if plugin.root != self.folder {
                return self.inner.prepare(plugin, allowed).await;
            }
            let begun = std::time::Instant::now();
            match self.inner.load(plugin.clone(), allowed.clone()).await {
                Ok(faults) if faults.is_empty() => self.console.loaded(&plugin, begun.elapsed()),
                Ok(faults) => faults.iter().for_each(|(tool, failure)| self.console.not_loaded(tool, failure)),
                Err(failure) => {
                    self.console.not_loaded(plugin.manifest.name.as_str(), &failure);
                    return Err(failure);
                }
            }
            self.inner.prepare(plugin, allowed).await
        })
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.retire(plugin)
    }

    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.finish(plugin)
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        self.inner.end_session(session)
    }

    fn level(&self) -> Level {
        self.inner.level()
    }

    fn states(&self) -> Vec<PluginState> {
        self.inner.states()
    }

    fn observe(&self, observer: Observer) {
        self.inner.observe(observer);
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        self.inner.metrics()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.shutdown()
    }
}
