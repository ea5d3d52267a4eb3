//! Runs the tools of container plugins (`runtime: container`) on Docker Engine or Podman: images built by digest, warm containers without a
//! network, called over a unix socket in a folder that both see.
//!
//! Whether a call may happen was decided in `policy`. Nothing here starts a process: the engine does, at our asking.

mod build;
mod context;
mod contract;
mod dockerfile;
mod engine;
mod health;
mod ignored;
mod image;
mod labels;
mod metrics;
mod plan;
mod replica;
mod settings;
mod supervisor;
mod survey;
mod walls;
mod wire;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use executor_api::{CallIo, Executor, FailureKind, KeepLimits, Kept as _, KeptPlugins, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

pub use engine::{EngineError, EngineFacts, EngineKind};
pub use metrics::Usage;
pub use settings::ContainerSettings;
pub use survey::{Found, Pruned};

use crate::{engine::Engine, image::Making, labels::Instance, supervisor::Supervisor};

/// What all plugins share.
struct Parts {
    settings: ContainerSettings,
    engine: Engine,
    instance: Instance,
    /// Replicas so far.
    count: AtomicU64,
    /// What a dead host left behind was looked for.
    swept: OnceCell<()>,
}

/// Runs the tools of `runtime: container` plugins.
#[derive(Clone)]
pub struct ContainerExecutor {
    settings: Arc<ContainerSettings>,
    /// Made at the first use: a host that runs no container leaves no trace.
    parts: Arc<OnceCell<Arc<Parts>>>,
    plugins: Arc<KeptPlugins<Supervisor>>,
}

impl std::fmt::Debug for ContainerExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerExecutor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The engine that would be used, and what it is.
///
/// # Errors
/// [`EngineError`]: none, or one that can't be used.
pub async fn look(sockets: &[PathBuf]) -> Result<EngineFacts, EngineError> {
    engine::connect(sockets).await.map(|connected| (*connected.facts).clone())
}

impl ContainerExecutor {
    /// Asks no engine, writes no file and starts nothing yet.
    #[must_use]
    pub fn new(settings: ContainerSettings) -> Self {
        let limits = KeepLimits { warm: settings.plugins, idle: settings.idle, sweep: settings.sweep };
        Self { settings: Arc::new(settings), parts: Arc::default(), plugins: KeptPlugins::new(limits) }
    }

    async fn parts(&self) -> Result<&Arc<Parts>, ToolFailure> {
        let begin = || async {
            let settings = (*self.settings).clone();
            let instance = Instance::begin(&settings.home).map_err(|error| {
                let home = settings.home.display();
                ToolFailure::new(FailureKind::Internal, format!("the folder for sockets `{home}` can't be used: {error}"))
            })?;
            let engine = Engine::new(settings.sockets.clone());
            Ok(Arc::new(Parts { settings, engine, instance, count: AtomicU64::new(0), swept: OnceCell::new() }))
        };
        self.parts.get_or_try_init(begin).await
    }

    async fn supervisor(&self, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Result<Arc<Supervisor>, ToolFailure> {
        let parts = self.parts().await?;
        sweep_once(parts).await;
        let make = || Supervisor::new(Arc::clone(plugin), Arc::clone(allowed), Arc::clone(parts));
        Ok(self.plugins.get(plugin, allowed, make).await)
    }

    /// Starts the containers of a plugin before its first call.
    ///
    /// # Errors
    /// The failure that its first call would get.
    pub async fn warm(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<(), ToolFailure> {
        self.supervisor(&plugin, &allowed).await?.start().await.map(drop)
    }

    /// Builds or downloads the image of a plugin again; every line of it goes to `told`. Its identity. A build gets a network only by `network`,
    /// which is the operator's word for this one build.
    ///
    /// # Errors
    /// What a call would be told.
    pub async fn rebuild(&self, plugin: Arc<Plugin>, network: bool, told: impl Fn(&str)) -> Result<String, ToolFailure> {
        let supervisor = self.supervisor(&plugin, &Arc::new(Allowed::default())).await?;
        let mut lines = supervisor.told();
        let building = supervisor.rebuild(network);
        tokio::pin!(building);
        loop {
            tokio::select! {
                built = &mut building => return built,
                Ok(()) = lines.changed() => told(&lines.borrow_and_update().clone()),
            }
        }
    }

    /// Pushes the image of a plugin to the registry that its name says. The name. One that is another image's here is taken from it only where
    /// `replace` says so.
    ///
    /// # Errors
    /// No name, one that is taken, or what the registry said.
    pub async fn push(
        &self,
        plugin: &Plugin,
        replace: bool,
        told: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<String, ToolFailure> {
        let told: image::Told = Arc::new(told);
        let parts = self.parts().await?;
        let is_built = plugin.manifest.container.as_ref().is_some_and(|container| container.dockerfile.is_some());
        let built = match is_built {
            true => {
                Some(image::ready(&parts.engine, &parts.settings, &parts.instance.home, plugin, &told, Making::default()).await?)
            }
            false => None,
        };
        image::push(&parts.engine, plugin, built.as_deref(), replace, &told).await
    }

    /// Every container of this installation, whichever host runs it.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn containers(&self, with_usage: bool) -> Result<Vec<Found>, ToolFailure> {
        survey::containers(self.parts().await?, with_usage).await
    }

    /// The last lines that a container wrote.
    ///
    /// # Errors
    /// The engine does not answer, or has no such container.
    pub async fn logs(&self, id: &str, lines: u32, each: impl FnMut(&[u8])) -> Result<(), ToolFailure> {
        survey::logs(self.parts().await?, id, lines, each).await
    }

    /// Removes a container. A host that runs starts another one at its next call.
    ///
    /// # Errors
    /// The cache can't be written.
    pub async fn remove(&self, id: &str) -> Result<(), ToolFailure> {
        replica::remove(self.parts().await?, id).await;
        Ok(())
    }

    /// Removes what dead hosts left, and images that were built of what these plugins are no longer. With `all_homes` what dead hosts of other
    /// homes left, too.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn prune(&self, plugins: &[Arc<Plugin>], all_homes: bool) -> Result<Pruned, ToolFailure> {
        let parts = self.parts().await?;
        let mut current = Vec::new();
        for plugin in plugins.iter().filter(|plugin| plugin.manifest.container.is_some()) {
            // A plugin that can't be packed now keeps nothing.
            current.extend(image::tag(&parts.settings, plugin).await.ok().flatten());
        }
        let swept = survey::sweep(parts).await?;
        let others = if all_homes { survey::sweep_other_homes(parts).await? } else { Pruned::default() };
        let (containers, volumes) = (swept.containers + others.containers, swept.volumes + others.volumes);
        Ok(Pruned { containers, volumes, images: survey::images(parts, &current).await? })
    }
}

/// Before the first container of ours: what dead hosts left is removed. Beside the call, which need not wait.
async fn sweep_once(parts: &Arc<Parts>) {
    let swept = parts.swept.get_or_init(|| async {
        let parts = Arc::clone(parts);
        drop(tokio::spawn(async move {
            if let Err(failure) = survey::sweep(&parts).await {
                tracing::warn!(%failure, "what dead hosts left behind could not be looked for");
            }
        }));
    });
    swept.await;
}

impl Executor for ContainerExecutor {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(async move {
            match self.supervisor(&call.call().plugin, call.allowed()).await {
                Ok(supervisor) => supervisor.run(&call, &io).await,
                Err(failure) => ToolOutcome::Failed(failure),
            }
        })
    }

    /// Makes the image and starts a container. A tool without a schema takes any object: nobody in the container can be asked.
    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        Box::pin(async move {
            if !image::has_dockerfile(&plugin) {
                return Err(ToolFailure::new(FailureKind::LoadFailed, "the Dockerfile that the manifest names is not there"));
            }
            self.warm(Arc::clone(&plugin), allowed).await?;
            let mut specs = plugin.manifest.mcps.clone();
            for spec in specs.iter_mut().filter(|spec| spec.args_schema.is_none()) {
                spec.args_schema = Some(Map::from_iter([("type".to_owned(), Value::from("object"))]));
            }
            Ok(specs)
        })
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.plugins.retire(plugin)
    }

    fn finish(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.plugins.finish(plugin)
    }

    /// Containers serve all callers: nothing of them belongs to a session.
    fn end_session(&self, _session: &SessionId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn level(&self) -> Level {
        Level::L3
    }

    fn states(&self) -> Vec<PluginState> {
        self.plugins.states()
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        let warm = self.plugins.all().into_iter().filter(|supervisor| supervisor.is_warm()).collect();
        Box::pin(metrics::scrape(warm))
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let used = !self.plugins.all().is_empty();
            self.plugins.shutdown().await;
            if let Some(parts) = self.parts.get().filter(|_| used) {
                survey::own_volumes(parts).await;
            }
        })
    }
}
