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
mod supervisor;
mod trusted;
mod zygote;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use executor_api::{CallIo, Executor, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};
use tokio_util::sync::CancellationToken;

pub use environment::{Environment, EnvironmentError, Environments};
pub use interpreter::{Interpreter, InterpreterError, Interpreters};
pub use settings::PythonSettings;

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
    plugins: Mutex<HashMap<String, Arc<Supervisor>>>,
    sweeping: Mutex<bool>,
    stopping: CancellationToken,
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
        let inner = Inner {
            parts: Arc::new(parts),
            plugins: Mutex::default(),
            sweeping: Mutex::new(false),
            stopping: CancellationToken::new(),
        };
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
        let supervisor = self.inner.supervisor(&plugin, &allowed).await;
        supervisor.ensure_environment().await?;
        supervisor.start().await.map(drop)
    }
}

impl Inner {
    fn plugins(&self) -> MutexGuard<'_, HashMap<String, Arc<Supervisor>>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor of exactly this code with exactly these powers; processes of anything else are ended first.
    async fn supervisor(self: &Arc<Self>, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Arc<Supervisor> {
        self.sweep();
        let name = plugin.manifest.name.as_str();
        let (current, old) = {
            let mut plugins = self.plugins();
            match plugins.get(name) {
                Some(supervisor) if supervisor.fits(plugin, allowed) => (Arc::clone(supervisor), None),
                _ => {
                    let new = Arc::new(Supervisor::new(Arc::clone(plugin), Arc::clone(allowed), Arc::clone(&self.parts)));
                    let old = plugins.insert(name.to_owned(), Arc::clone(&new));
                    (new, old)
                }
            }
        };
        if let Some(old) = old {
            old.stop().await;
        }
        self.make_room(name).await;
        current
    }

    /// Ends the plugin that was used longest ago when too many are warm.
    async fn make_room(&self, newcomer: &str) {
        let victim = {
            let plugins = self.plugins();
            if plugins.get(newcomer).is_some_and(|supervisor| supervisor.is_warm()) {
                return;
            }
            let mut warm: Vec<&Arc<Supervisor>> = plugins.values().filter(|supervisor| supervisor.is_warm()).collect();
            if warm.len() < self.parts.settings.zygotes {
                return;
            }
            warm.sort_by_key(|supervisor| supervisor.idle());
            warm.last().map(|supervisor| Arc::clone(supervisor))
        };
        if let Some(victim) = victim {
            victim.stop().await;
        }
    }

    /// Ends idle plugins, from a task that starts with the first call.
    fn sweep(self: &Arc<Self>) {
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *sweeping, true) {
            return;
        }
        let inner = Arc::clone(self);
        drop(tokio::spawn(async move {
            let mut tick = tokio::time::interval(SWEEP);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = inner.stopping.cancelled() => return,
                }
                let warm: Vec<Arc<Supervisor>> =
                    inner.plugins().values().filter(|supervisor| supervisor.is_warm()).cloned().collect();
                for supervisor in warm {
                    if supervisor.idle() > inner.parts.settings.idle {
                        supervisor.stop().await;
                    } else if supervisor.idle() > SWEEP {
                        supervisor.shrink();
                    }
                }
            }
        }));
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
        let old = self.inner.plugins().remove(plugin);
        Box::pin(async move {
            if let Some(old) = old {
                old.stop().await;
            }
        })
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        let session = session.clone();
        Box::pin(async move {
            let all: Vec<Arc<Supervisor>> = self.inner.plugins().values().cloned().collect();
            for supervisor in all {
                supervisor.end_session(&session).await;
            }
        })
    }

    fn level(&self) -> Level {
        self.inner.parts.level
    }

    fn states(&self) -> Vec<PluginState> {
        self.inner.plugins().values().map(|supervisor| supervisor.state()).collect()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.stopping.cancel();
            self.inner.parts.settings.stop.store(true, Ordering::Relaxed);
            let all: Vec<Arc<Supervisor>> = self.inner.plugins().drain().map(|(_, supervisor)| supervisor).collect();
            for supervisor in all {
                supervisor.stop().await;
            }
        })
    }
}
