//! One plugin's processes: started on first use, kept warm, refilled, ended when idle, started again with back-off.
//!
//! What a call is and whether it may happen was decided before; how a jail is built is in `jail`.

mod kept;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use executor_api::{Busy, CallIo, FailureKind, ToolFailure, ToolOutcome};
use manifest_schema::{Isolation, Permission, ToolSpec};
use policy::{Allowed, PermittedCall, Plugin, SessionId};

use crate::{
    Parts,
    child::{CallLimits, Child},
    environment::Environment,
    message::CallRequest,
    pool::{Pool, Taken},
    start::{self, Made},
    zygote::{News, Zygote},
};

/// Children lost in a row before the zygote counts as broken.
const LOST_LIMIT: usize = 3;
/// Failed starts in a row before the circuit opens.
const BREAKER: u32 = 5;
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How long a child of a session or worker may take for `cleanup`.
const CLEANUP_GRACE: Duration = Duration::from_secs(1);
/// Growth of the memory of a long-lived process after which it is replaced is bounded by its cgroup; calls by this.
const WORKER_CALLS: u64 = 100_000;

/// Runs one plugin.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) allowed: Arc<Allowed>,
    parts: Arc<Parts>,
    life: tokio::sync::Mutex<Life>,
    warm: RwLock<Option<Arc<Warm>>>,
    kept: Mutex<HashMap<Key, Kept>>,
    busy: Busy,
    ids: AtomicU64,
}

type Kept = Arc<tokio::sync::Mutex<Option<(Child, u64)>>>;

/// Whose long-lived child it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Session(SessionId),
    Worker,
}

/// What the last starts were like.
#[derive(Debug, Default)]
struct Life {
    failures: u32,
    retry_at: Option<Instant>,
    problem: Option<ToolFailure>,
    starts: u64,
    preparing: bool,
}

/// A plugin that can take calls.
#[derive(Debug)]
pub(crate) struct Warm {
    road: Road,
    pool: Arc<Pool>,
    environment: Environment,
}

#[derive(Debug)]
enum Road {
    /// Children are forked from this zygote.
    Fork(Arc<Zygote>),
    /// One confined process a call, and why.
    Spawn { first: Arc<Zygote>, reason: String },
}

impl Warm {
    pub(crate) fn zygote(&self) -> &Arc<Zygote> {
        match &self.road {
            Road::Fork(zygote) | Road::Spawn { first: zygote, .. } => zygote,
        }
    }
}

impl Supervisor {
    pub(crate) fn new(plugin: Arc<Plugin>, allowed: Arc<Allowed>, parts: Arc<Parts>) -> Self {
        Self {
            plugin,
            allowed,
            parts,
            life: tokio::sync::Mutex::default(),
            warm: RwLock::default(),
            kept: Mutex::default(),
            busy: Busy::default(),
            ids: AtomicU64::new(1),
        }
    }

    /// Runs one call to its end.
    pub(crate) async fn run(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> ToolOutcome {
        let _in_use = self.busy.begin();
        let outcome = match self.plugin.manifest.isolation {
            Isolation::Call => self.run_fresh(call, io).await,
            Isolation::Worker => self.run_kept(Key::Worker, call, io).await,
            Isolation::Session => match &call.call().session {
                Some(session) => self.run_kept(Key::Session(session.clone()), call, io).await,
                // Without a session there is nothing to keep.
                None => self.run_fresh(call, io).await,
            },
        };
        outcome.unwrap_or_else(ToolOutcome::Failed)
    }

    async fn run_fresh(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> Result<ToolOutcome, ToolFailure> {
        let warm = self.warm_for(call, io).await?;
        let mut child = self.take(&warm, io).await?;
        let outcome = child.serve(&self.request(call), &self.fresh_deadline(io), self.call_limits()).await;
        drop(child);
        self.refill(&warm);
        Ok(outcome)
    }

    async fn run_kept(self: &Arc<Self>, key: Key, call: &PermittedCall, io: &CallIo) -> Result<ToolOutcome, ToolFailure> {
        let warm = self.warm_for(call, io).await?;
        let place = Arc::clone(self.kept.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let mut place = tokio::select! {
            place = place.lock() => place,
            () = io.cancel.cancelled() => return Err(ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call")),
            () = tokio::time::sleep_until(self.queue_end(io).into()) => return Err(waited_too_long()),
        };
        let (mut child, calls) = match place.take() {
            Some(kept) => kept,
            None => {
                let child = self.take(&warm, io).await?;
                self.refill(&warm);
                (child, 0)
            }
        };
        let outcome = child.serve(&self.request(call), &self.fresh_deadline(io), self.call_limits()).await;
        if child.is_usable() && calls + 1 < WORKER_CALLS {
            *place = Some((child, calls + 1));
        } else {
            drop(child);
        }
        Ok(outcome)
    }

    /// A warm plugin whose code for this tool is loaded.
    async fn warm_for(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> Result<Arc<Warm>, ToolFailure> {
        let known = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone();
        let warm = match known {
            Some(warm) => warm,
            None => {
                tokio::select! {
                    warm = self.start() => warm?,
                    () = io.cancel.cancelled() => return Err(ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call")),
                }
            }
        };
        match warm.zygote().loaded.faults.get(call.call().tool.name.as_str()) {
            Some(failure) => Err(failure.clone()),
            None => Ok(warm),
        }
    }

    /// Starts the plugin, unless it is started, being prepared, or backing off.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Arc<Warm>, ToolFailure> {
        let mut life = self.life.lock().await;
        if let Some(warm) = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(warm);
        }
        if let Some(wait) = life.retry_at.and_then(|at| at.checked_duration_since(Instant::now())) {
            return Err(unavailable(life.problem.as_ref(), wait, life.failures));
        }
        if life.preparing || !self.parts.environments.is_ready(&self.plugin) {
            if !std::mem::replace(&mut life.preparing, true) {
                self.prepare_aside();
            }
            return Err(ToolFailure::new(FailureKind::Preparing, "the plugin's packages are being installed")
                .with_hint("call again in a moment; it is done once"));
        }
        life.starts += 1;
        match start::start(&self.parts, &self.plugin, &self.allowed, &self.schemaless()).await {
            Ok(made) => {
                life.failures = 0;
                life.retry_at = None;
                life.problem = None;
                Ok(self.settle(made))
            }
            Err(failure) => {
                let wait = self.note_failure(&mut life, &failure);
                tracing::warn!(plugin = %self.plugin.manifest.name, %failure, detail = failure.detail, retry_s = wait.as_secs(), "the plugin did not start");
                Err(failure)
            }
        }
    }

    fn note_failure(&self, life: &mut Life, failure: &ToolFailure) -> Duration {
        life.failures += 1;
        let wait = Duration::from_secs(1 << life.failures.saturating_sub(1).min(6)).min(LONGEST_BACKOFF);
        life.retry_at = Some(Instant::now() + wait);
        life.problem = Some(failure.clone());
        wait
    }

    /// Makes the environment off the path of any call.
    fn prepare_aside(self: &Arc<Self>) {
        let supervisor = Arc::clone(self);
        drop(tokio::spawn(async move {
            let made = supervisor.ensure_environment().await;
            let mut life = supervisor.life.lock().await;
            life.preparing = false;
            if let Err(failure) = made {
                supervisor.note_failure(&mut life, &failure);
            }
        }));
    }

    /// The plugin's environment, made if need be. Minutes, possibly.
    pub(crate) async fn ensure_environment(self: &Arc<Self>) -> Result<Environment, ToolFailure> {
        start::environment(&self.parts, &self.plugin).await
    }

    /// Opens the pool and listens to the zygote.
    fn settle(self: &Arc<Self>, made: Made) -> Arc<Warm> {
        let settings = &self.parts.settings;
        let pool = Arc::new(Pool::new(settings.pool, settings.pool_limit));
        let road = match made.spawn_reason {
            None => Road::Fork(made.zygote),
            Some(reason) => Road::Spawn { first: made.zygote, reason },
        };
        let warm = Arc::new(Warm { road, pool, environment: made.environment });
        *self.warm.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&warm));
        if let Road::Fork(zygote) = &warm.road {
            drop(tokio::spawn(Arc::clone(self).listen(Arc::clone(&warm), Arc::clone(zygote))));
        }
        self.refill(&warm);
        warm
    }

    /// Hears a zygote until it ends.
    async fn listen(self: Arc<Self>, warm: Arc<Warm>, zygote: Arc<Zygote>) {
        while let Some(news) = zygote.hear().await {
            match news {
                News::Child { socket, log, exit } => {
                    let (supervisor, warm, zygote) = (Arc::clone(&self), Arc::clone(&warm), Arc::clone(&zygote));
                    drop(tokio::spawn(async move {
                        match zygote.greet(socket, log, exit).await {
                            Ok(child) => warm.pool.arrive(child),
                            Err(error) => supervisor.lost(&warm, &error.to_string()),
                        }
                    }));
                }
                News::NotForked { errno } => self.lost(&warm, &format!("fork failed with errno {errno:?}")),
            }
        }
        self.ended(&warm).await;
    }

    /// A child did not come: order another, or give the zygote up.
    fn lost(self: &Arc<Self>, warm: &Arc<Warm>, problem: &str) {
        let Some(lost) = warm.pool.lose() else { return };
        tracing::warn!(plugin = %self.plugin.manifest.name, problem, lost, "a child was lost before it was ready");
        if lost >= LOST_LIMIT {
            // The listener sees the end of the control socket and cleans up.
            drop(warm.zygote().take_jail());
        } else {
            self.refill(warm);
        }
    }

    /// The zygote is gone: waiting calls fail, the next call starts another after a pause.
    async fn ended(self: &Arc<Self>, warm: &Arc<Warm>) {
        let mut life = self.life.lock().await;
        let mut current = self.warm.write().unwrap_or_else(PoisonError::into_inner);
        if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, warm)) {
            return;
        }
        *current = None;
        drop(current);
        let failure = ToolFailure::new(FailureKind::Crashed, "the plugin's process ended");
        self.note_failure(&mut life, &failure);
        tracing::warn!(plugin = %self.plugin.manifest.name, "the plugin's zygote ended");
        self.close(warm, &failure);
    }

    fn close(&self, warm: &Warm, failure: &ToolFailure) {
        for child in warm.pool.close(failure) {
            drop(child);
        }
        let kept: Vec<Kept> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, kept)| kept).collect();
        for place in kept {
            if let Ok(mut place) = place.try_lock()
                && let Some((child, _)) = place.take()
            {
                drop(child);
            }
        }
        drop(warm.zygote().take_jail());
    }

    async fn take(self: &Arc<Self>, warm: &Arc<Warm>, io: &CallIo) -> Result<Child, ToolFailure> {
        match warm.pool.take()? {
            Taken::Now(child) => {
                if warm.pool.is_dry() && warm.pool.ready() == 0 {
                    self.refill(warm);
                }
                Ok(child)
            }
            Taken::Later(receiver) => {
                self.refill(warm);
                tokio::select! {
                    child = receiver => child.unwrap_or_else(|_| Err(ToolFailure::new(FailureKind::Crashed, "the plugin's process ended"))),
                    () = io.cancel.cancelled() => Err(ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call")),
                    () = tokio::time::sleep_until(self.queue_end(io).into()) => Err(waited_too_long()),
                }
            }
        }
    }

    /// Orders what the pool lacks.
    fn refill(self: &Arc<Self>, warm: &Arc<Warm>) {
        let missing = warm.pool.order();
        if missing == 0 {
            return;
        }
        let ids: Vec<u64> = (0..missing).map(|_| self.ids.fetch_add(1, Ordering::Relaxed)).collect();
        let (supervisor, warm) = (Arc::clone(self), Arc::clone(warm));
        drop(tokio::spawn(async move {
            match &warm.road {
                Road::Fork(zygote) => {
                    if let Err(error) = zygote.fork(&ids).await {
                        tracing::debug!(%error, "a zygote took no order; its end is handled where it is heard");
                    }
                }
                Road::Spawn { .. } => {
                    for id in ids {
                        supervisor.spawn_one(&warm, id).await;
                    }
                }
            }
        }));
    }

    /// The spawn road: a whole confined process for one child.
    async fn spawn_one(self: &Arc<Self>, warm: &Arc<Warm>, id: u64) {
        match start::spawn_child(&self.parts, &self.plugin, &self.allowed, &warm.environment, id).await {
            Ok(child) => warm.pool.arrive(child),
            Err(failure) => {
                if warm.pool.lose().is_some_and(|lost| lost >= LOST_LIMIT) {
                    self.ended(warm).await;
                }
                tracing::warn!(plugin = %self.plugin.manifest.name, %failure, "a process for one call did not start");
            }
        }
    }

    fn request(&self, call: &PermittedCall) -> Vec<u8> {
        let (resolved, allowed) = (call.call(), call.allowed());
        let folders = [Permission::FileSystemRead, Permission::FileSystemWrite];
        let mut data: Vec<&std::path::Path> = Vec::new();
        for folder in folders.iter().filter_map(|power| allowed.powers.get(power)).flat_map(|scope| &scope.folders) {
            if !data.contains(&folder.as_path()) {
                data.push(folder);
            }
        }
        let request = CallRequest {
            trace: &resolved.trace.0,
            tool: resolved.tool.name.as_str(),
            args: &resolved.args,
            config: &allowed.config,
            secrets: allowed.secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect(),
            data,
        };
        // Maps with text keys always encode.
        serde_json::to_vec(&request).unwrap_or_default()
    }

    fn call_limits(&self) -> CallLimits {
        let manifest = &self.plugin.manifest;
        CallLimits {
            frame: self.parts.settings.max_result + 64 * 1024,
            cpu_seconds: start::cpu_seconds(manifest),
            memory_mb: manifest.max_memory_mb,
        }
    }

    /// The wall clock of the call itself: waiting for a process does not count against it.
    fn fresh_deadline(&self, io: &CallIo) -> CallIo {
        let limit = Duration::from_secs(self.plugin.manifest.max_execution_time.into());
        CallIo { cancel: io.cancel.clone(), deadline: Instant::now() + limit, frames: io.frames.clone() }
    }

    fn queue_end(&self, io: &CallIo) -> Instant {
        io.deadline.max(Instant::now()) + self.parts.settings.start_limit
    }

    /// Ends the child kept for a session.
    pub(crate) async fn end_session(&self, session: &SessionId) {
        let place = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&Key::Session(session.clone()));
        if let Some(place) = place
            && let Some((child, _)) = place.lock().await.take()
        {
            child.dismiss(CLEANUP_GRACE).await;
        }
    }

    /// The tools with every schema that the manifest lacks, derived from code.
    pub(crate) async fn described(self: &Arc<Self>) -> Result<Vec<ToolSpec>, ToolFailure> {
        let mut tools = self.plugin.manifest.mcps.clone();
        if self.schemaless().is_empty() {
            return Ok(tools);
        }
        let warm = self.start().await?;
        let described = &warm.zygote().loaded.described;
        for tool in tools.iter_mut().filter(|tool| tool.args_schema.is_none()) {
            // Code that does not say what it takes takes any object.
            let derived = described.get(tool.name.as_str()).cloned().flatten();
            tool.args_schema = derived.or_else(|| serde_json::from_str(r#"{"type": "object"}"#).ok());
        }
        Ok(tools)
    }

    fn schemaless(&self) -> Vec<&str> {
        self.plugin.manifest.mcps.iter().filter(|tool| tool.args_schema.is_none()).map(|tool| tool.name.as_str()).collect()
    }
}

fn unavailable(problem: Option<&ToolFailure>, wait: Duration, failures: u32) -> ToolFailure {
    let what = problem.map_or_else(|| "it failed to start".to_owned(), ToString::to_string);
    let open = if failures >= BREAKER { "the circuit is open" } else { "backing off" };
    let mut failure = ToolFailure::new(FailureKind::Unavailable, format!("the plugin does not start ({open}): {what}"))
        .with_hint(format!("it is tried again in {} s", wait.as_secs() + 1));
    failure.detail = problem.and_then(|problem| problem.detail.clone());
    failure
}

fn waited_too_long() -> ToolFailure {
    ToolFailure::new(FailureKind::Overloaded, "no process of the plugin became free in time")
        .with_hint("call again with fewer calls at once")
}
