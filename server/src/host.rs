//! Where the parts meet: the host owns catalog, executors, index and everything that runs beside requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use executor_api::{Executor, PluginState};
use manifest_schema::Runtime;
use policy::{Level, SessionId, TraceId};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Availability, CallReply, Caller, IndexMode, SessionKeys, Settings, Shutdown, StartError,
    catalog::Catalog,
    learning::Learning,
    mcp::{HeldCalls, Subscribers},
    metrics::{Levels, Metrics},
    refresh::{self, Trigger},
    retrieval::Retrieval,
    session::{self, StatelessSessions},
};

/// How long cancelled calls may take to end at shutdown, beyond the drain.
const KILL_GRACE: Duration = Duration::from_secs(3);

/// One assembled server, without a transport.
pub struct Host {
    pub(crate) settings: Settings,
    pub(crate) executors: Executors,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) retrieval: Retrieval,
    /// What accepted calls teach the search.
    pub(crate) learning: Learning,
    pub(crate) metrics: Metrics,
    /// Signs the handles of stateless callers.
    pub(crate) sessions: SessionKeys,
    /// Sessions of stateless callers that are still in use.
    pub(crate) stateless: StatelessSessions,
    /// Their calls that wait for an answer.
    pub(crate) held: HeldCalls,
    /// Who is told when the list of tools changes.
    pub(crate) subscribers: Subscribers,
    /// Calls that run or wait now.
    pub(crate) running: Running,
    /// Cancelled when nothing new is taken any more; at the latest when the host is dropped, so that nothing beside it lives on.
    pub(crate) stopping: CancellationToken,
    _stop_when_dropped: DropGuard,
    /// Cancelled when running calls have had their time.
    pub(crate) killing: CancellationToken,
    /// Asks for a new catalog.
    pub(crate) triggers: mpsc::Sender<Trigger>,
    /// What is complete; written by the refresh and index tasks, waited for by `ready`.
    pub(crate) progress: watch::Sender<Progress>,
    /// First part of every trace made here.
    trace_prefix: String,
    trace_counter: AtomicU64,
}

/// What runs the tools, by runtime.
#[derive(Clone)]
pub struct Executors {
    python: Arc<dyn Executor>,
    mcp: Option<Arc<dyn Executor>>,
    container: Option<Arc<dyn Executor>>,
}

impl Executors {
    /// Python alone.
    #[must_use]
    pub fn new(python: Arc<dyn Executor>) -> Self {
        Self { python, mcp: None, container: None }
    }

    /// With an executor for upstream MCP servers.
    #[must_use]
    pub fn with_mcp(mut self, mcp: Arc<dyn Executor>) -> Self {
        self.mcp = Some(mcp);
        self
    }

    /// With an executor for containers.
    #[must_use]
    pub fn with_container(mut self, container: Arc<dyn Executor>) -> Self {
        self.container = Some(container);
        self
    }

    /// Runtimes that an executor is there for.
    pub(crate) fn runtimes(&self) -> Vec<Runtime> {
        [Runtime::Python, Runtime::Mcp, Runtime::Container].into_iter().filter(|runtime| self.of(*runtime).is_some()).collect()
    }

    /// The level that calls run at on this machine, outside of containers.
    pub(crate) fn level(&self) -> Level {
        self.python.level()
    }

    fn of(&self, runtime: Runtime) -> Option<&Arc<dyn Executor>> {
        match runtime {
            Runtime::Python => Some(&self.python),
            Runtime::Mcp => self.mcp.as_ref(),
            Runtime::Container => self.container.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<dyn Executor>> {
        std::iter::once(&self.python).chain(&self.mcp).chain(&self.container)
    }
}

impl<E: Executor> From<Arc<E>> for Executors {
    fn from(python: Arc<E>) -> Self {
        Self::new(python)
    }
}

impl From<Arc<dyn Executor>> for Executors {
    fn from(python: Arc<dyn Executor>) -> Self {
        Self::new(python)
    }
}

/// How far the work beside requests is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Generation of the catalog that is served.
    pub(crate) catalog: u64,
    /// Generation that the index knows.
    pub(crate) index: u64,
    /// Plugins whose schemas are being derived.
    pub(crate) deriving: usize,
    /// Another embedder is wanted than the one that serves.
    pub(crate) switching: bool,
    /// Tools are known by their words, and not all by their meaning yet.
    pub(crate) embedding: bool,
    /// An older index answers searches until the first of this run is made.
    pub(crate) answers: bool,
}

impl Host {
    /// Reads the operator's files and the plugins, and serves the first catalog. The index, and schemas that the sandbox must
    /// derive, follow in the background: see [`Host::ready`]. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`StartError`]: a malformed `grants.yaml`, an unreadable folder, a setting out of range. A broken plugin is no error.
    pub fn assemble(settings: Settings, executors: impl Into<Executors>) -> Result<Arc<Self>, StartError> {
        let executors = executors.into();
        if settings.page_size == 0 {
            return Err(StartError::Setting { setting: "page_size", expected: "at least 1", found: "0".to_owned() });
        }
        let (mut refresher, first) = refresh::begin(&settings, &executors)?;
        let (triggers, receiver) = mpsc::channel(64);
        let stopping = CancellationToken::new();
        let host = Arc::new(Self {
            _stop_when_dropped: stopping.clone().drop_guard(),
            stopping,
            retrieval: Retrieval::new(&settings)?,
            learning: Learning::new(&settings.dirs.data),
            metrics: Metrics::new()?,
            sessions: SessionKeys::random()?,
            stateless: StatelessSessions::default(),
            held: HeldCalls::default(),
            subscribers: Subscribers::default(),
            running: Running::default(),
            killing: CancellationToken::new(),
            triggers,
            progress: watch::Sender::new(Progress::default()),
            trace_prefix: session::hex(&session::random::<6>()?),
            trace_counter: AtomicU64::new(0),
            catalog: ArcSwap::from_pointee(first),
            executors,
            settings,
        });
        host.hear_of_servers();
        refresher.adopt(&host);
        tokio::spawn(refresh::run(Arc::downgrade(&host), host.stopping.clone(), refresher, receiver));
        tokio::spawn(refresh::index(Arc::downgrade(&host)));
        tokio::spawn(session::sweep(Arc::downgrade(&host), host.stopping.clone()));
        Ok(host)
    }

    /// What is served now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Waits until the first catalog is complete: its index made, and every schema derived that could be.
    pub async fn ready(&self) {
        let mut progress = self.progress.subscribe();
        let complete = |now: &Progress| now.catalog > 0 && now.deriving == 0 && now.index >= now.catalog;
        // The sender lives as long as `self`.
        let _ = progress.wait_for(complete).await;
    }

    /// Whether [`Host::ready`] would return at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let now = *self.progress.borrow();
        now.catalog > 0 && now.deriving == 0 && now.index >= now.catalog
    }

    /// Waits until every tool of a complete catalog is known by its meaning too; at once without an embedder. The first time this
    /// takes about a second for 300 tools.
    pub async fn embedded(&self) {
        self.ready().await;
        let _ = self.progress.subscribe().wait_for(|now| now.index >= now.catalog && !now.embedding).await;
    }

    pub(crate) async fn index_ready(&self) {
        let _ = self.progress.subscribe().wait_for(|now| now.index > 0 || now.answers).await;
    }

    /// How the index works now.
    #[must_use]
    pub fn index_mode(&self) -> IndexMode {
        self.retrieval.mode()
    }

    /// State of every plugin inside the executors.
    #[must_use]
    pub fn states(&self) -> Vec<PluginState> {
        self.executors.all().flat_map(|executor| executor.states()).collect()
    }

    /// The settings it was assembled with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends what is kept for a client's session.
    pub async fn end_session(&self, session: &SessionId) {
        for executor in self.executors.all() {
            executor.end_session(session).await;
        }
    }

    /// Lets running calls end for as long as the settings say, then cancels them, then ends every process. Nothing is taken any more.
    pub async fn shutdown(&self) {
        self.drain(&Shutdown::manual()).await;
        futures::future::join_all(self.executors.all().map(|executor| executor.shutdown())).await;
        self.learning.settled().await;
    }

    /// The first half of a shutdown: refuse what is new, let end what runs.
    pub(crate) async fn drain(&self, shutdown: &Shutdown) {
        self.stopping.cancel();
        let drained = tokio::select! {
            drained = tokio::time::timeout(self.settings.drain, self.running.idle()) => drained.is_ok(),
            () = shutdown.hurried() => false,
        };
        if !drained {
            tracing::warn!(running = self.running.count(), "calls still run and are cancelled");
        }
        self.killing.cancel();
        if tokio::time::timeout(KILL_GRACE, self.running.idle()).await.is_err() {
            tracing::error!(running = self.running.count(), "calls did not end when they were cancelled");
        }
    }

    pub(crate) fn executor(&self, runtime: Runtime) -> &Arc<dyn Executor> {
        // The pipeline refuses a runtime without an executor before it gets here.
        self.executors.of(runtime).unwrap_or(&self.executors.python)
    }

    /// What servers offer asks for a new catalog, for as long as the host is there.
    fn hear_of_servers(&self) {
        if let Some(mcp) = &self.executors.mcp {
            let triggers = self.triggers.clone();
            mcp.observe(Arc::new(move |seen| {
                // A full queue loses what was seen; the executor compares again before every call.
                if triggers.try_send(Trigger::Observed(Box::new(seen))).is_err() {
                    tracing::warn!("what an upstream server offers could not be taken down");
                }
            }));
        }
    }

    pub(crate) fn new_trace(&self) -> TraceId {
        let count = self.trace_counter.fetch_add(1, Ordering::Relaxed);
        TraceId(format!("{}-{count:x}", self.trace_prefix).into())
    }

    /// The end of every call, however it ended.
    pub(crate) fn record(&self, catalog: &Catalog, name: &str, caller: &Caller, reply: &CallReply) {
        let outcome = reply.outcome.code().map_or("completed", crate::Code::as_str);
        // Names that are no tool's would let a caller grow the metrics without end.
        let tool = if catalog.knows(name) { name } else { "unknown" };
        self.metrics.call(tool, outcome, reply.elapsed);
        let micros = u64::try_from(reply.elapsed.as_micros()).unwrap_or(u64::MAX);
        let caller = caller.name().unwrap_or("local");
        if outcome == "completed" {
            tracing::info!(tool, outcome, caller, trace = %reply.trace.0, micros, "call");
        } else {
            let reason = crate::clean::one_line(&reply.outcome.to_string(), 500);
            tracing::warn!(tool, outcome, caller, trace = %reply.trace.0, micros, reason, "call");
        }
    }

    /// The text of `/metrics`: ours, then what plugins say of themselves.
    pub(crate) async fn render_metrics(&self) -> String {
        let theirs = futures::future::join_all(self.executors.all().map(|executor| executor.metrics())).await.concat();
        self.render_own_metrics() + &theirs
    }

    fn render_own_metrics(&self) -> String {
        let catalog = self.catalog();
        let states = self.states();
        let count =
            |served: bool| catalog.plugins.iter().filter(|entry| (entry.availability == Availability::Served) == served).count();
        self.metrics.render(&Levels {
            generation: catalog.generation,
            served: count(true),
            withheld: count(false),
            broken: catalog.broken.len(),
            tools: catalog.tools.len(),
            running: self.running.count(),
            queues: catalog.plugins.iter().map(|entry| (entry.name(), entry.gate.waiting())).collect(),
            states: &states,
            index_mode: self.retrieval.mode().as_str(),
        })
    }
}

/// Counts what runs, and says when nothing does.
#[derive(Debug, Default)]
pub(crate) struct Running {
    count: AtomicUsize,
    changed: Notify,
}

pub(crate) struct RunningGuard<'a>(&'a Running);

impl Running {
    pub(crate) fn begin(&self) -> RunningGuard<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        RunningGuard(self)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the count is read, so that the last end cannot slip through in between.
            changed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
