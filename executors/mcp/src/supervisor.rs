//! One plugin's server: started at first use, one for all callers, ended when idle, started again with back-off.
//!
//! What a call is and whether it may happen was decided before; what a server is, is in `server`.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use executor_api::{Busy, CallIo, FailureKind, Observation, PluginState, ToolFailure, ToolOutcome};
use futures::future::BoxFuture;
use policy::{Allowed, PermittedCall, Plugin};

use crate::{
    peer::Fault,
    server::{Known, Parts, Server, told},
};

/// Failed starts or crashes in a row before the circuit opens.
const BREAKER: u32 = 5;
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Calls in a row that ran out of time while the server said nothing at all, after which it counts as stuck.
const STUCK: u32 = 3;
/// Lists that a server may announce as changed before it is given a rest.
const RELIST_REST: Duration = Duration::from_millis(250);

/// Runs one plugin's server.
pub(crate) struct Supervisor {
    plugin: Arc<Plugin>,
    allowed: Arc<Allowed>,
    parts: Arc<Parts>,
    life: tokio::sync::Mutex<Life>,
    current: RwLock<Option<Arc<Server>>>,
    busy: Busy,
    silent: AtomicU32,
    /// For `state`, which must not wait for a start.
    shown: Mutex<Shown>,
}

/// What the last starts were like.
#[derive(Debug, Default)]
struct Life {
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
            plugin,
            allowed,
            parts,
            life: tokio::sync::Mutex::default(),
            current: RwLock::default(),
            busy: Busy::default(),
            silent: AtomicU32::new(0),
            shown: Mutex::default(),
        }
    }

    /// Runs one call to its end.
    pub(crate) async fn run(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> ToolOutcome {
        let _in_use = self.busy.begin();
        self.call(call, io).await.unwrap_or_else(ToolOutcome::Failed)
    }

    async fn call(self: &Arc<Self>, call: &PermittedCall, io: &CallIo) -> Result<ToolOutcome, ToolFailure> {
        let Some(definition) = &call.call().definition else {
            return Err(ToolFailure::new(FailureKind::Internal, "the call has no approved definition"));
        };
        let server = tokio::select! {
            server = self.server() => server?,
            () = io.cancel.cancelled() => return Err(cancelled()),
            () = tokio::time::sleep_until(io.deadline.into()) => {
                return Err(ToolFailure::new(FailureKind::Preparing, "the server is still starting").with_hint("call again in a moment"));
            }
        };
        self.look_again(&server, io).await?;
        server.check(definition)?;
        let heard = server.peer.heard.load(Ordering::Relaxed);
        match server.call(definition, &call.call().args, io).await {
            Ok(outcome) => {
                self.silent.store(0, Ordering::Relaxed);
                self.calm().await;
                Ok(outcome)
            }
            Err(fault) => Err(self.fault(&server, fault, heard).await),
        }
    }

    /// Before a call the list must be the latest that the server announced.
    async fn look_again(self: &Arc<Self>, server: &Arc<Server>, io: &CallIo) -> Result<(), ToolFailure> {
        if server.is_stale() {
            let listed = tokio::select! {
                listed = server.refresh() => listed,
                () = io.cancel.cancelled() => return Err(cancelled()),
                () = tokio::time::sleep_until(io.deadline.into()) => Err(Fault::TimedOut),
            };
            match listed {
                Ok(known) => known.iter().for_each(|known| self.observed(known)),
                Err(fault) => {
                    // Not to be called unseen: the announcement stands until a list came through.
                    let message = format!("the server said that its tools changed, and they can't be listed: {}", words(&fault));
                    return Err(ToolFailure::new(FailureKind::Unavailable, message));
                }
            }
        } else if server.is_old() {
            let (supervisor, server) = (Arc::clone(self), Arc::clone(server));
            drop(tokio::spawn(async move {
                if let Ok(Some(known)) = server.refresh().await {
                    supervisor.observed(&known);
                }
            }));
        }
        Ok(())
    }

    async fn fault(self: &Arc<Self>, server: &Arc<Server>, fault: Fault, heard_before: u64) -> ToolFailure {
        match fault {
            Fault::Rpc(error) => ToolFailure::new(FailureKind::Raised, format!("the server refused the call: {}", told(&error))),
            Fault::Cancelled => cancelled(),
            Fault::TimedOut => {
                let seconds = self.plugin.manifest.max_execution_time;
                let silent = server.peer.heard.load(Ordering::Relaxed) == heard_before;
                if silent && self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= STUCK {
                    self.silent.store(0, Ordering::Relaxed);
                    tracing::warn!(plugin = %self.plugin.manifest.name, "an upstream server is stuck, and is ended");
                    server.stop(ToolFailure::new(FailureKind::Crashed, "the server was stuck, and was ended")).await;
                }
                ToolFailure::new(FailureKind::TimedOut, format!("the call took longer than {seconds} s"))
            }
            Fault::Broken(failure) if server.peer.gone.is_cancelled() => server.autopsy(failure).await,
            Fault::Broken(failure) => failure,
        }
    }

    /// The server, started if need be. The start goes on when the caller gives up: others wait for it.
    async fn server(self: &Arc<Self>) -> Result<Arc<Server>, ToolFailure> {
        if let Some(server) = self.current() {
            return Ok(server);
        }
        let supervisor = Arc::clone(self);
        let starting = tokio::spawn(async move { supervisor.start().await });
        starting
            .await
            .unwrap_or_else(|error| Err(ToolFailure::new(FailureKind::Internal, format!("starting the server failed: {error}"))))
    }

    fn current(&self) -> Option<Arc<Server>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone().filter(|server| !server.peer.gone.is_cancelled())
    }

    /// Starts the server, unless it runs or is backing off.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Arc<Server>, ToolFailure> {
        let mut life = self.life.lock().await;
        if let Some(server) = self.current() {
            return Ok(server);
        }
        if let Some(wait) = life.retry_at.and_then(|at| at.checked_duration_since(Instant::now())) {
            return Err(unavailable(life.problem.as_ref(), wait, life.failures));
        }
        self.show(|shown| {
            shown.starts += 1;
            shown.starting = true;
        });
        let started = Server::start(&self.parts, &self.plugin, &self.allowed).await;
        self.show(|shown| shown.starting = false);
        match started {
            Ok(server) => {
                let server = Arc::new(server);
                tracing::info!(plugin = %self.plugin.manifest.name, server = server.identity.name.escape_debug().to_string(), protocol = server.protocol, tools = server.known().listing.tools.len(), "upstream server started");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&server));
                self.observed(&server.known());
                server.subscribe();
                drop(tokio::spawn(Arc::clone(self).watch(Arc::clone(&server))));
                Ok(server)
            }
            Err(failure) => {
                let wait = self.note(&mut life, &failure);
                tracing::warn!(plugin = %self.plugin.manifest.name, %failure, detail = failure.detail, retry_s = wait.as_secs(), "the upstream server did not start");
                Err(failure)
            }
        }
    }

    /// Follows a server until it ends.
    async fn watch(self: Arc<Self>, server: Arc<Server>) {
        loop {
            tokio::select! {
                () = server.peer.gone.cancelled() => break,
                () = server.peer.changed.notified() => {}
            }
            if let Ok(Some(known)) = server.refresh().await {
                self.observed(&known);
            }
            tokio::time::sleep(RELIST_REST).await;
        }
        let mut life = self.life.lock().await;
        let is_current = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            let is_current = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &server));
            if is_current {
                *current = None;
            }
            is_current
        };
        if is_current {
            let failure = server.peer.ended().unwrap_or_else(|| ToolFailure::new(FailureKind::Crashed, "the server ended"));
            let failure = server.autopsy(failure).await;
            tracing::warn!(plugin = %self.plugin.manifest.name, %failure, detail = failure.detail, "the upstream server ended");
            self.note(&mut life, &failure);
        }
    }

    fn observed(&self, known: &Known) {
        let name = &self.plugin.manifest.name;
        for problem in &known.listing.refused {
            tracing::warn!(plugin = %name, problem = %problem.escape_debug(), "a tool of an upstream server is left out");
        }
        if let Some(observer) = &self.parts.observer.get() {
            observer(Observation {
                plugin: Arc::clone(&self.plugin),
                tools: known.listing.tools.clone(),
                refused: known.listing.refused.clone(),
            });
        }
    }

    fn note(&self, life: &mut Life, failure: &ToolFailure) -> Duration {
        life.failures += 1;
        let wait = match life.failures {
            failures if failures >= BREAKER => LONGEST_BACKOFF,
            failures => Duration::from_secs(1 << (failures - 1).min(6)).min(LONGEST_BACKOFF),
        };
        life.retry_at = Some(Instant::now() + wait);
        life.problem = Some(failure.clone());
        self.show(|shown| {
            shown.failures = life.failures;
            shown.problem = Some(failure.message.clone());
        });
        wait
    }

    /// A call that ended well ends the row of failures.
    async fn calm(&self) {
        if self.shown().failures == 0 {
            return;
        }
        *self.life.lock().await = Life::default();
        self.show(|shown| {
            shown.failures = 0;
            shown.problem = None;
        });
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
        self.current().is_some()
    }

    fn idle(&self) -> Duration {
        self.busy.idle()
    }

    /// Ends the server.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Taken first, so that the end is no crash.
            let server = self.current.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(server) = server {
                server.stop(ToolFailure::new(FailureKind::Unavailable, "the server was ended").with_hint("try again")).await;
            }
        })
    }

    fn state(&self) -> PluginState {
        let (shown, warm) = (self.shown(), self.is_warm());
        let is_address = self.plugin.manifest.mcp.as_ref().is_some_and(|server| server.url.is_some());
        let state = match (warm, shown.starting, shown.failures) {
            (true, ..) => "warm",
            (_, true, _) => "preparing",
            (_, _, 0) => "idle",
            (_, _, failures) if failures >= BREAKER => "broken",
            _ => "backing_off",
        };
        PluginState {
            plugin: self.plugin.manifest.name.to_string(),
            state,
            level: (!is_address).then_some(self.parts.settings.level),
            road: if is_address { "address" } else { "command" }.to_owned(),
            ready: usize::from(warm),
            processes: usize::from(warm && !is_address),
            starts: shown.starts,
            problem: shown.problem,
        }
    }
}

fn cancelled() -> ToolFailure {
    ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call")
}

fn words(fault: &Fault) -> String {
    match fault {
        Fault::Rpc(error) => told(error),
        Fault::Broken(failure) => failure.message.clone(),
        Fault::TimedOut => "it does not answer".to_owned(),
        Fault::Cancelled => "the caller cancelled the call".to_owned(),
    }
}

fn unavailable(problem: Option<&ToolFailure>, wait: Duration, failures: u32) -> ToolFailure {
    let last = problem.map_or_else(String::new, |problem| format!(": {}", problem.message));
    let message = format!("the server failed {failures} times in a row{last}");
    let mut failure =
        ToolFailure::new(FailureKind::Unavailable, message).with_hint(format!("try again in {} s", wait.as_secs() + 1));
    failure.detail = problem.and_then(|problem| problem.detail.clone());
    failure
}
