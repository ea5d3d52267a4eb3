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
use policy::{SessionId, TraceId};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Availability, CallReply, Caller, IndexMode, SessionKeys, Settings, Shutdown, StartError,
    catalog::Catalog,
    mcp::Subscribers,
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
    pub(crate) python: Arc<dyn Executor>,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) retrieval: Retrieval,
    pub(crate) metrics: Metrics,
    /// Signs the handles of stateless callers.
    pub(crate) sessions: SessionKeys,
    /// Sessions of stateless callers that are still in use.
    pub(crate) stateless: StatelessSessions,
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

/// How far the work beside requests is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Generation of the catalog that is served.
    pub(crate) catalog: u64,
    /// Generation that the index knows.
    pub(crate) index: u64,
    /// Plugins whose schemas are being derived.
    pub(crate) deriving: usize,
    /// Tools are known by their words, and not all by their meaning yet.
    pub(crate) embedding: bool,
}

impl Host {
    /// Reads the operator's files and the plugins, and serves the first catalog. The index, and schemas that the sandbox must
    /// derive, follow in the background: see [`Host::ready`]. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`StartError`]: a malformed `grants.yaml`, an unreadable folder, a setting out of range. A broken plugin is no error.
    pub fn assemble(settings: Settings, python: Arc<dyn Executor>) -> Result<Arc<Self>, StartError> {
        if settings.page_size == 0 {
            return Err(StartError::Setting { setting: "page_size", expected: "at least 1", found: "0".to_owned() });
        }
        let (mut refresher, first) = refresh::begin(&settings, python.level())?;
        let (triggers, receiver) = mpsc::channel(64);
        let stopping = CancellationToken::new();
        let host = Arc::new(Self {
            _stop_when_dropped: stopping.clone().drop_guard(),
            stopping,
            retrieval: Retrieval::new(&settings.embedder, &settings.dirs.cache)?,
            metrics: Metrics::new()?,
            sessions: SessionKeys::random()?,
            stateless: StatelessSessions::default(),
            subscribers: Subscribers::default(),
            running: Running::default(),
            killing: CancellationToken::new(),
            triggers,
            progress: watch::Sender::new(Progress::default()),
            trace_prefix: session::hex(&session::random::<6>()?),
            trace_counter: AtomicU64::new(0),
            catalog: ArcSwap::from_pointee(first),
            python,
            settings,
        });
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
        let _ = self.progress.subscribe().wait_for(|now| now.index > 0).await;
    }

    /// How the index works now.
    #[must_use]
    pub fn index_mode(&self) -> IndexMode {
        self.retrieval.mode()
    }

    /// State of every plugin inside the executors.
    #[must_use]
    pub fn states(&self) -> Vec<PluginState> {
        self.python.states()
    }

    /// The settings it was assembled with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends what is kept for a client's session.
    pub async fn end_session(&self, session: &SessionId) {
        self.python.end_session(session).await;
    }

    /// Lets running calls end for as long as the settings say, then cancels them, then ends every process. Nothing is taken any more.
    pub async fn shutdown(&self) {
        self.drain(&Shutdown::manual()).await;
        self.python.shutdown().await;
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

    pub(crate) fn executor(&self, _runtime: Runtime) -> &dyn Executor {
        // The pipeline refuses every other runtime before it gets here.
        &*self.python
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

    /// The text of `/metrics`.
    pub(crate) fn render_metrics(&self) -> String {
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
