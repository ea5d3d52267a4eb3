//! An executor whose plugins are made ready in another way than its own, and which is that executor in all else.

use std::sync::Arc;

use executor_api::{CallIo, Executor, Observer, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};

/// What comes of making a plugin ready.
pub(super) type Readied<'a> = BoxFuture<'a, Result<Vec<ToolSpec>, ToolFailure>>;

/// The other way.
pub(super) trait Readies: Send + Sync + 'static {
    /// Makes a plugin ready, by the executor or without it.
    fn ready<'a>(&'a self, executor: &'a dyn Executor, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Readied<'a>;
}

/// An executor and the other way.
pub(super) struct Readying<R> {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) way: R,
}

impl<R: Readies> Executor for Readying<R> {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        self.executor.run(call, io)
    }

    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Readied<'_> {
        self.way.ready(&*self.executor, plugin, allowed)
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.executor.retire(plugin)
    }

    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.executor.finish(plugin)
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        self.executor.end_session(session)
    }

    fn level(&self) -> Level {
        self.executor.level()
    }

    fn states(&self) -> Vec<PluginState> {
        self.executor.states()
    }

    fn observe(&self, observer: Observer) {
        self.executor.observe(observer);
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        self.executor.metrics()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.executor.shutdown()
    }
}
