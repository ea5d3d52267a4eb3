//! Runs Python tools: one confined zygote a plugin, single-use children forked ahead of their calls, a virtualenv per lock.
//!
//! What confines a process is in `sandbox`; what runs inside is `runtime/pegboard_runtime` and the worker module. Whether a call may
//! happen was decided in `policy`: nothing here can be reached without a `PermittedCall`.

mod child;
mod control;
mod environment;
mod exit;
mod groups;
mod interpreter;
mod jail;
mod lock;
mod message;
mod pool;
mod runtime_files;
mod settings;
mod start;
mod suite;
mod supervisor;
mod trusted;
mod vendor;
mod zygote;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use executor_api::{CallIo, Executor, KeepLimits, KeptPlugins, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};

pub use environment::{Environment, EnvironmentError, Environments};
pub use interpreter::{Interpreter, InterpreterError, Interpreters};
pub use settings::PythonSettings;
pub use suite::{TestOutcome, TestReport};
pub use vendor::{VENDORED, Vendored};

use crate::{groups::Groups, runtime_files::Runtime, supervisor::Supervisor};

/// How often idle plugins are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Why the executor can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime could not be laid into the cache.
    #[error("the Python runtime could not be written to `{path}`: {source}")]
    Runtime {
        /// The cache.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The level asked for can't be reached.
    #[error("sandbox level {wanted} was asked for, this machine reaches {reached}")]
    Level {
        /// Asked for.
        wanted: Level,
        /// Reached.
        reached: Level,
    },
}

/// What all supervisors share.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: PythonSettings,
    pub(crate) runtime: Runtime,
    pub(crate) environments: Environments,
    pub(crate) level: Level,
    pub(crate) groups: Groups,
    /// No cgroup limits memory here: the address space does.
    pub(crate) memory_by_address_space: bool,
    /// We are root: each plugin runs under a user of its own.
    pub(crate) own_uids: bool,
}

/// Runs the tools of `runtime: python` plugins.
#[derive(Debug, Clone)]
pub struct PythonExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Arc<Parts>,
    plugins: Arc<KeptPlugins<Supervisor>>,
}

impl PythonExecutor {
    /// Finds out what this machine enforces and lays the runtime into the cache. Blocks for some milliseconds; starts no plugin.
    ///
    /// # Errors
    /// [`StartError`] when the runtime can't be written or a forced level can't be reached.
    pub fn new(settings: PythonSettings) -> Result<Self, StartError> {
        let runtime = Runtime::unpack(&settings.cache)
            .map_err(|source| StartError::Runtime { path: settings.cache.display().to_string(), source })?;
        let reached = groups::reached_level(&settings.launcher);
        let level = match settings.forced_level {
            Some(wanted) if wanted > reached => return Err(StartError::Level { wanted, reached }),
            Some(wanted) => wanted,
            None => reached,
        };
        let groups = Groups::open();
        let parts = Parts {
            runtime,
            environments: Environments::new(settings.clone()),
            level,
            memory_by_address_space: !groups.limit_memory(),
            groups,
            own_uids: rustix::process::geteuid().is_root(),
            settings,
        };
        let limits = KeepLimits { warm: parts.settings.zygotes, idle: parts.settings.idle, sweep: SWEEP };
        let inner = Inner { parts: Arc::new(parts), plugins: KeptPlugins::new(limits) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What was found on this machine.
    #[must_use]
    pub fn interpreters(&self) -> Vec<Interpreter> {
        self.inner.parts.environments.interpreters().all()
    }

    /// Starts a plugin's processes before its first call.
    ///
    /// # Errors
    /// The failure that its first call would get.
    pub async fn warm(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<(), ToolFailure> {
        self.load(plugin, allowed).await.map(drop)
    }

    /// The same; says which of its tools could not be loaded, and why, in the order of names.
    ///
    /// # Errors
    /// The failure that the first call of each tool would get.
    pub async fn load(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<Vec<(String, ToolFailure)>, ToolFailure> {
        let supervisor = self.inner.supervisor(&plugin, &allowed).await;
        supervisor.ensure_environment().await?;
        let warm = supervisor.start().await?;
        let faults = warm.zygote().loaded.faults.iter();
        let mut faults: Vec<(String, ToolFailure)> = faults.map(|(tool, failure)| (tool.clone(), failure.clone())).collect();
        faults.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(faults)
    }
}

impl Inner {
    async fn supervisor(&self, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Arc<Supervisor> {
        let make = || Supervisor::new(Arc::clone(plugin), Arc::clone(allowed), Arc::clone(&self.parts));
        self.plugins.get(plugin, allowed, make).await
    }
}

impl Executor for PythonExecutor {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            let supervisor = self.inner.supervisor(&call.call().plugin, call.allowed()).await;
            supervisor.run(&call, &io).await
        })
    }

    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        Box::pin(async move {
            let supervisor = self.inner.supervisor(&plugin, &allowed).await;
            supervisor.ensure_environment().await?;
            supervisor.described().await
        })
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.plugins.retire(plugin)
    }

    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.plugins.finish(plugin)
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        let session = session.clone();
        Box::pin(async move {
            for supervisor in self.inner.plugins.all() {
                supervisor.end_session(&session).await;
            }
        })
    }

    fn level(&self) -> Level {
        self.inner.parts.level
    }

    fn states(&self) -> Vec<PluginState> {
        self.inner.plugins.states()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.parts.settings.stop.store(true, Ordering::Relaxed);
            self.inner.plugins.shutdown().await;
        })
    }
}
