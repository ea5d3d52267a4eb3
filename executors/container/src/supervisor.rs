//! The containers of one plugin: image made ready once, replicas started at first use, the least loaded one serves, more under load, none when
//! idle, started again with back-off, given up for a while after too many failures.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use executor_api::{Busy, CallIo, FailureKind, Frame, PluginState, ToolFailure, ToolOutcome};
use futures::future::{BoxFuture, join_all};
use hyper::{Method, body::Bytes};
use policy::{Allowed, Level, PermittedCall, Plugin};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Parts, contract, health,
    image::{self, Making},
    plan::Plan,
    replica::Replica,
    wire::WireError,
};

/// Failed starts or crashes in a row before the circuit opens.
const BREAKER: u32 = 5;
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How long a container whose connection broke may take to be seen as ended.
const AUTOPSY: Duration = Duration::from_millis(1500);

/// Runs the containers of one plugin.
pub(crate) struct Supervisor {
    pub(crate) plugin: Arc<Plugin>,
    allowed: Arc<Allowed>,
    pub(crate) parts: Arc<Parts>,
    plan: Result<Arc<Plan>, ToolFailure>,
    life: tokio::sync::Mutex<Life>,
    replicas: RwLock<Vec<Arc<Replica>>>,
    busy: Busy,
    growing: AtomicBool,
    /// Cancelled when everything is to end; another one for the next start.
    ending: Mutex<CancellationToken>,
    /// What a build or a download says, for the calls that wait for it.
    told: watch::Sender<String>,
    /// For `state`, which must not wait for a start.
    shown: Mutex<Shown>,
}

/// What the last starts were like.
#[derive(Debug, Default)]
struct Life {
    image: Option<String>,
    failures: u32,
    retry_at: Option<Instant>,
    problem: Option<ToolFailure>,
}

#[derive(Debug, Default, Clone)]
struct Shown {
    starts: u64,
    failures: u32,
    problem: Option<String>,
    starting: bool,
}

impl Supervisor {
    pub(crate) fn new(plugin: Arc<Plugin>, allowed: Arc<Allowed>, parts: Arc<Parts>) -> Self {
        Self {
            plan: Plan::of(&plugin, &allowed).map(Arc::new),
            plugin,
            allowed,
            parts,
            life: tokio::sync::Mutex::default(),
            replicas: RwLock::default(),
            busy: Busy::default(),
            growing: AtomicBool::new(false),
            ending: Mutex::default(),
            told: watch::Sender::new(String::new()),
            shown: Mutex::default(),
        }
    }

    /// Runs one call to its end.
    pub(crate) async fn run(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> ToolOutcome {
        let _in_use = self.busy.begin();
        self.call(call, io).await.unwrap_or_else(ToolOutcome::Failed)
    }

    async fn call(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> Result<ToolOutcome, ToolFailure> {
        let plan = self.plan.clone()?;
        let method = Method::from_bytes(plan.api.method.as_bytes()).unwrap_or(Method::POST);
        let body = contract::request(call, &plan.folders);
        let annotations = &call.call().tool.annotations;
        let mut repeatable = annotations.idempotent || annotations.read_only;
        // Every replica may be gone at once, and then a new one serves.
        let mut left = plan.most.min(4) + 1;
        loop {
            left -= 1;
            let replica = self.wait_for_replica(io).await?;
            let limit = plan.api.timeout.map_or(io.deadline, |limit| io.deadline.min(Instant::now() + limit));
            let began = Instant::now();
            let _load = replica.take();
            self.grow_if_crowded(&plan, &replica);
            let error = match self.exchange(&replica, &plan, &method, body.clone(), io, limit).await? {
                Ok(outcome) => {
                    self.calm().await;
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            match error {
                WireError::TooLarge(limit) => {
                    return Err(ToolFailure::new(
                        FailureKind::OutputTooLarge,
                        format!("the container's answer has more than {limit} bytes"),
                    )
                    .with_hint("ask for less, or for a part of it"));
                }
                // Nothing of it ran, so nothing can run twice.
                WireError::Unreached(_) if left > 0 => self.look_after(&replica).await,
                WireError::Broken(_) if left > 0 && repeatable => {
                    repeatable = false;
                    self.look_after(&replica).await;
                }
                error => return Err(self.broken(&replica, &error, began).await),
            }
        }
    }

    async fn exchange(
        &self,
        replica: &Replica,
        plan: &Plan,
        method: &Method,
        body: Bytes,
        io: &CallIo,
        limit: Instant,
    ) -> Result<Result<ToolOutcome, WireError>, ToolFailure> {
        tokio::select! {
            answer = replica.ask(method, &plan.api.endpoint, Some(body), self.parts.settings.max_answer) => {
                Ok(answer.map(|answer| contract::outcome(&answer)))
            }
            // Dropping the question closes its connection: all that a container can be told.
            () = io.cancel.cancelled() => Err(cancelled()),
            () = tokio::time::sleep_until(limit.into()) => {
                replica.look.notify_one();
                let allowed = plan.api.timeout.filter(|_| limit < io.deadline);
                let seconds = allowed.map_or_else(|| f64::from(self.plugin.manifest.max_execution_time), |limit| limit.as_secs_f64());
                Err(ToolFailure::new(FailureKind::TimedOut, format!("the call took longer than {seconds} s")))
            }
        }
    }

    /// What to say of a connection that broke: how the container ended, when it did.
    async fn broken(&self, replica: &Arc<Replica>, error: &WireError, began: Instant) -> ToolFailure {
        if let Some(failure) = self.ended(replica).await {
            return failure;
        }
        if let WireError::Unreached(error) = error {
            let away =
                self.parts.engine.get().await.err().map(|failure| format!(", and {}", failure.message)).unwrap_or_default();
            let failure = ToolFailure::new(FailureKind::Unavailable, format!("the container takes no connection: {error}{away}"));
            return failure.with_hint("try again in a few seconds");
        }
        let ms = began.elapsed().as_millis();
        let message = format!("the container broke the connection after {ms} ms: {error}");
        ToolFailure::new(FailureKind::BadOutput, message)
    }

    async fn ended(&self, replica: &Arc<Replica>) -> Option<ToolFailure> {
        let until = Instant::now() + AUTOPSY;
        loop {
            if let Some(failure) = replica.has_ended().await {
                return Some(failure);
            }
            if Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Looks whether a replica that could not be spoken to has ended, so that the next attempt goes elsewhere.
    async fn look_after(self: &Arc<Self>, replica: &Arc<Replica>) {
        if let Some(failure) = self.ended(replica).await {
            self.lost(replica, failure).await;
        }
    }

    /// A replica to serve a call. While there is none the caller hears what its image is doing.
    async fn wait_for_replica(self: &Arc<Self>, io: &CallIo) -> Result<Arc<Replica>, ToolFailure> {
        if let Some(replica) = self.least_loaded() {
            return Ok(replica);
        }
        let supervisor = Arc::clone(self);
        // Goes on when the caller gives up: others wait for it.
        let mut starting = tokio::spawn(async move { supervisor.start().await });
        let mut told = self.told.subscribe();
        let mut lines = 0_u32;
        loop {
            tokio::select! {
                started = &mut starting => {
                    return started.unwrap_or_else(|error| {
                        Err(ToolFailure::new(FailureKind::Internal, format!("starting a container failed: {error}")))
                    });
                }
                Ok(()) = told.changed() => {
                    lines += 1;
                    let message = Some(told.borrow_and_update().clone());
                    // A full queue loses a line of progress.
                    drop(io.frames.try_send(Frame::Progress { progress: f64::from(lines), total: None, message }));
                }
                () = io.cancel.cancelled() => return Err(cancelled()),
                () = tokio::time::sleep_until(io.deadline.into()) => {
                    return Err(ToolFailure::new(FailureKind::Preparing, "the container is still being made ready").with_hint("call again in a moment"));
                }
            }
        }
    }

    fn least_loaded(&self) -> Option<Arc<Replica>> {
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        replicas.iter().filter(|replica| !replica.gone.is_cancelled()).min_by_key(|replica| replica.load()).cloned()
    }

    /// Starts what `scale.min` asks for, at least one, unless it runs or is backing off.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Arc<Replica>, ToolFailure> {
        let mut life = self.life.lock().await;
        if let Some(replica) = self.least_loaded() {
            return Ok(replica);
        }
        if let Some(wait) = life.retry_at.and_then(|at| at.checked_duration_since(Instant::now())) {
            return Err(unavailable(life.problem.as_ref(), wait, life.failures));
        }
        self.show(|shown| shown.starting = true);
        let started = self.add(&mut life).await;
        self.show(|shown| shown.starting = false);
        match started {
            Ok(replica) => {
                let more = self.plan.as_ref().map_or(0, |plan| plan.least.saturating_sub(1));
                for _ in 0..more {
                    let supervisor = Arc::clone(self);
                    drop(tokio::spawn(async move { supervisor.grow().await }));
                }
                Ok(replica)
            }
            Err(failure) => {
                let wait = self.note(&mut life, &failure);
                tracing::warn!(plugin = %self.plugin.manifest.name, %failure, detail = failure.detail, retry_s = wait.as_secs(), "the container did not start");
                Err(failure)
            }
        }
    }

    /// One replica more, of an image that is made ready if need be. The lock on `life` makes concurrent first calls build once.
    async fn add(self: &Arc<Self>, life: &mut Life) -> Result<Arc<Replica>, ToolFailure> {
        let plan = self.plan.clone()?;
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let image = self.image(life, &ending, Making { again: false, network: plan.network }).await?;
        self.show(|shown| shown.starts += 1);
        let name = self.plugin.manifest.name.as_str();
        let started = Replica::start(&self.parts, name, &plan, &image, &ending).await;
        if started.is_err() {
            // It may be gone from the engine.
            life.image = None;
        }
        let replica = started?;
        self.replicas.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&replica));
        drop(tokio::spawn(health::watch(Arc::downgrade(self), Arc::clone(&replica), plan)));
        Ok(replica)
    }

    async fn image(&self, life: &mut Life, ending: &CancellationToken, how: Making) -> Result<String, ToolFailure> {
        if let Some(image) = life.image.clone().filter(|_| !how.again) {
            return Ok(image);
        }
        let told = self.told.clone();
        let name = self.plugin.manifest.name.to_string();
        let told: image::Told = Arc::new(move |line| {
            tracing::info!(plugin = name, line = %line.escape_debug(), "image");
            told.send_replace(line);
        });
        let (parts, home) = (&self.parts, &self.parts.instance.home);
        let image = tokio::select! {
            image = image::ready(&parts.engine, &parts.settings, home, &self.plugin, &told, how) => image?,
            () = ending.cancelled() => {
                return Err(ToolFailure::new(FailureKind::Unavailable, "the plugin was ended while its image was made").with_hint("try again"));
            }
        };
        life.image = Some(image.clone());
        Ok(image)
    }

    fn grow_if_crowded(self: &Arc<Self>, plan: &Plan, replica: &Replica) {
        let running = self.replicas.read().unwrap_or_else(PoisonError::into_inner).len();
        if replica.load() <= plan.crowd || running >= plan.most || self.growing.swap(true, Ordering::AcqRel) {
            return;
        }
        let supervisor = Arc::clone(self);
        drop(tokio::spawn(async move {
            supervisor.grow().await;
            supervisor.growing.store(false, Ordering::Release);
        }));
    }

    /// One replica more, if there may be one.
    async fn grow(self: &Arc<Self>) {
        let mut life = self.life.lock().await;
        let running = self.replicas.read().unwrap_or_else(PoisonError::into_inner).len();
        if running == 0 || self.plan.as_ref().map_or(true, |plan| running >= plan.most) {
            return;
        }
        if let Err(failure) = self.add(&mut life).await {
            tracing::warn!(plugin = %self.plugin.manifest.name, %failure, "one container more could not be started");
        }
    }

    /// A replica ended, or is not healthy: it is taken out, and the failure counts.
    pub(crate) async fn lost(self: &Arc<Self>, replica: &Arc<Replica>, failure: ToolFailure) {
        let was_ours = {
            let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
            let before = replicas.len();
            replicas.retain(|known| !Arc::ptr_eq(known, replica));
            before != replicas.len()
        };
        if !was_ours {
            return;
        }
        replica.gone.cancel();
        tracing::warn!(plugin = %self.plugin.manifest.name, replica = replica.number, %failure, detail = failure.detail, "a container was lost");
        if failure.kind != FailureKind::Unavailable {
            let mut life = self.life.lock().await;
            self.note(&mut life, &failure);
        }
        replica.end().await;
        if self.plan.as_ref().is_ok_and(|plan| plan.least > 0) {
            drop(tokio::spawn(Arc::clone(self).restart()));
        }
    }

    /// Boxed: watching a replica leads back to it.
    fn restart(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { drop(self.start().await) })
    }

    fn note(&self, life: &mut Life, failure: &ToolFailure) -> Duration {
        life.problem = Some(failure.clone());
        // An engine that is away is no fault of the plugin's: it is asked for again soon, and no circuit opens.
        let wait = if failure.kind == FailureKind::Unavailable {
            Duration::from_millis(500)
        } else {
            life.failures += 1;
            match life.failures {
                1 if failure.kind != FailureKind::LoadFailed => Duration::ZERO,
                failures if failures >= BREAKER => LONGEST_BACKOFF,
                failures => Duration::from_secs(1 << (failures - 1).min(6)).min(LONGEST_BACKOFF),
            }
        };
        life.retry_at = Some(Instant::now() + wait);
        self.show(|shown| {
            shown.failures = life.failures;
            shown.problem = Some(failure.message.clone());
        });
        wait
    }

    /// A call that ended well ends the row of failures.
    async fn calm(&self) {
        if self.shown().problem.is_none() {
            return;
        }
        let mut life = self.life.lock().await;
        *life = Life { image: life.image.take(), ..Life::default() };
        self.show(|shown| {
            shown.failures = 0;
            shown.problem = None;
        });
    }

    /// Builds or downloads the image again, and starts anew with it at the next call.
    pub(crate) async fn rebuild(self: &Arc<Self>, network: bool) -> Result<String, ToolFailure> {
        let mut life = self.life.lock().await;
        let ending = CancellationToken::new();
        let image = self.image(&mut life, &ending, Making { again: true, network }).await?;
        drop(life);
        executor_api::Kept::stop(&**self).await;
        Ok(image)
    }

    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn told(&self) -> watch::Receiver<String> {
        self.told.subscribe()
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the executor asks of it.
impl executor_api::Kept for Supervisor {
    fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    fn allowed(&self) -> &Arc<Allowed> {
        &self.allowed
    }

    fn is_warm(&self) -> bool {
        self.least_loaded().is_some()
    }

    /// A plugin with `scale.min` is never idle for longer than would let one replica go.
    fn idle(&self) -> Duration {
        let idle = self.busy.idle();
        if self.plan.as_ref().is_ok_and(|plan| plan.least > 0) { idle.min(self.parts.settings.idle) } else { idle }
    }

    /// Lets replicas go that are more than the least.
    fn shrink(&self) {
        let least = self.plan.as_ref().map_or(1, |plan| plan.least.max(1));
        let surplus: Vec<Arc<Replica>> = {
            let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
            if replicas.len() <= least || replicas.iter().any(|replica| replica.load() > 0) {
                return;
            }
            replicas.split_off(least)
        };
        surplus.iter().for_each(|replica| replica.gone.cancel());
        drop(tokio::spawn(async move {
            join_all(surplus.iter().map(|replica| replica.end())).await;
        }));
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What starts now gives up first, then nothing can start beside us.
            let next = CancellationToken::new();
            let old = std::mem::replace(&mut *self.ending.lock().unwrap_or_else(PoisonError::into_inner), next);
            old.cancel();
            let _life = self.life.lock().await;
            // Taken out first, so that their end is no crash.
            let replicas = std::mem::take(&mut *self.replicas.write().unwrap_or_else(PoisonError::into_inner));
            replicas.iter().for_each(|replica| replica.gone.cancel());
            join_all(replicas.iter().map(|replica| replica.end())).await;
        })
    }

    fn state(&self) -> PluginState {
        let (shown, replicas) = (self.shown(), self.replicas());
        let state = match (replicas.is_empty(), shown.starting, shown.failures) {
            (false, ..) => "warm",
            (_, true, _) => "preparing",
            (_, _, 0) => "idle",
            (_, _, failures) if failures >= BREAKER => "broken",
            _ => "backing_off",
        };
        let door = replicas.first().map_or("none", |replica| replica.door());
        PluginState {
            plugin: self.plugin.manifest.name.to_string(),
            state,
            level: Some(Level::L3),
            road: format!("container ({door})"),
            ready: replicas.len(),
            processes: replicas.len(),
            starts: shown.starts,
            problem: shown.problem,
        }
    }
}

fn cancelled() -> ToolFailure {
    ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call")
}

fn unavailable(problem: Option<&ToolFailure>, wait: Duration, failures: u32) -> ToolFailure {
    let last = problem.map_or_else(String::new, |problem| format!(": {}", problem.message));
    let message = if failures == 0 {
        format!("no container runs{last}")
    } else {
        format!("the container failed {failures} times in a row{last}")
    };
    let mut failure =
        ToolFailure::new(FailureKind::Unavailable, message).with_hint(format!("try again in {} s", wait.as_secs() + 1));
    failure.detail = problem.and_then(|problem| problem.detail.clone());
    failure
}
