//! From a change on disk to a new catalog: watches, waits for the change to settle, builds off the request path, swaps whole,
//! ends what changed, tells the clients, and brings the index after.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use executor_api::{FailureKind, Observation};
use manifest_schema::{Digest, Runtime, ToolSpec};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use policy::Allowed;
use registry::{FileDigest, LOCKFILE, Lease, Lockfile, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    Availability, Code, Executors, Host, Operator, OperatorError, Seen, Settings, StartError, View,
    catalog::{Catalog, Ingredients, Loader, Preparation, Vouchers, build},
    mcp::Lists,
    observed::Records,
    operator::read_trust,
    witness,
};

/// Plugins that are made ready at once.
const PREPARE_AT_ONCE: usize = 2;
/// A failed preparation that may succeed later is tried again after this, and then at twice the distance each time.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_LAST: Duration = Duration::from_secs(600);
/// How often to look where the operating system cannot tell.
const POLL: Duration = Duration::from_millis(750);
/// How often to ask again who vouches for what is installed, where nothing else asks: a key's last day ends by itself.
const RECHECK: Duration = Duration::from_secs(3_600);
/// The list of all tools is expensive for a model above this, in tokens.
const EXPENSIVE_LIST: usize = 10_000;

/// What asks for a new catalog.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// A file changed.
    Files,
    /// A plugin was made ready, or could not be.
    Prepared { plugin: String, content: Digest, result: Result<Vec<ToolSpec>, (FailureKind, String)>, deriving: bool },
    /// A preparation that failed may be tried again.
    Retry { plugin: String, content: Digest },
    /// An upstream server gave its list.
    Observed(Box<Observation>),
}

/// What is kept from one catalog to the next.
pub(crate) struct Refresher {
    loader: Loader,
    operator: Arc<Operator>,
    lockfile: Lockfile,
    /// None: nobody has to vouch for what is installed.
    vouchers: Option<Vouchers>,
    prepared: HashMap<(String, Digest), Preparation>,
    /// Preparations that run, that wait to be tried again, or that failed for good, with what the plugin was allowed.
    preparing: HashMap<(String, Digest), Arc<Allowed>>,
    attempts: HashMap<(String, Digest), u32>,
    slots: Arc<tokio::sync::Semaphore>,
    watcher: Option<Watch>,
    linked: BTreeSet<PathBuf>,
    lists: Lists,
    generation: u64,
    records: Records,
    /// Lists of upstream servers that are not taken down yet.
    seen: Vec<Observation>,
}

/// Reads everything for the first time.
pub(crate) fn begin(settings: &Settings, executors: &Executors) -> Result<(Refresher, Catalog), StartError> {
    let Moment { lockfile, operator } = read(settings)?;
    let mut refresher = Refresher {
        loader: Loader::default(),
        operator: Arc::new(operator?),
        lockfile: lockfile?,
        vouchers: if settings.require_signature { Some(Vouchers::new(read_trust(&settings.dirs)?)) } else { None },
        prepared: HashMap::new(),
        preparing: HashMap::new(),
        attempts: HashMap::new(),
        slots: Arc::new(tokio::sync::Semaphore::new(PREPARE_AT_ONCE)),
        watcher: None,
        linked: BTreeSet::new(),
        lists: Lists::new(settings)?,
        generation: 0,
        records: Records::new(&settings.dirs.cache),
        seen: Vec::new(),
    };
    let catalog = refresher.build(settings, executors, None)?;
    Ok((refresher, catalog))
}

/// What is installed and what the operator gave, of one moment.
struct Moment {
    lockfile: Result<Lockfile, StartError>,
    operator: Result<Operator, OperatorError>,
}

/// Reads both while nobody changes them: a command may be changing them together.
fn read(settings: &Settings) -> Result<Moment, StartError> {
    let failed = |source| StartError::Lockfile { source: Box::new(source) };
    let store = Store::at(&settings.dirs.data, &settings.dirs.config);
    let _steady = store.steady().map_err(failed)?;
    Ok(Moment { lockfile: store.read().map_err(failed), operator: Operator::read(&settings.dirs) })
}

/// Builds a catalog whenever something asks for one, until the host stops or is gone.
pub(crate) async fn run(
    host: Weak<Host>,
    stopping: CancellationToken,
    mut refresher: Refresher,
    mut triggers: mpsc::Receiver<Trigger>,
) {
    loop {
        let Some(settle) = host.upgrade().map(|host| host.settings.debounce) else { return };
        let poll = refresher.watcher.as_ref().is_some_and(|watch| watch.blind);
        let recheck = refresher.vouchers.is_some();
        let trigger = tokio::select! {
            trigger = triggers.recv() => trigger,
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(POLL), if poll => Some(Trigger::Files),
            () = tokio::time::sleep(RECHECK), if recheck => Some(Trigger::Files),
        };
        let Some(trigger) = trigger else { return };
        let mut batch = vec![trigger];
        let settled = tokio::time::Instant::now() + settle;
        while let Ok(Some(trigger)) = tokio::time::timeout_at(settled, triggers.recv()).await {
            batch.push(trigger);
        }
        let Some(host) = host.upgrade() else { return };
        let derived = batch.into_iter().map(|trigger| refresher.note(&host, trigger)).sum::<usize>();
        let task = tokio::task::spawn_blocking(move || {
            refresher.refresh(&host);
            // Only now, so that nobody finds the host ready while the new schemas are still on their way.
            host.progress.send_modify(|now| now.deriving = now.deriving.saturating_sub(derived));
            (refresher, host)
        });
        match task.await {
            Ok((back, host)) => {
                refresher = back;
                refresher.prepare(&host);
            }
            Err(error) => {
                tracing::error!(%error, "the catalog can no longer be renewed");
                return;
            }
        }
    }
}

/// Brings the index after the catalog, one update at a time. Vectors that are missing follow in steps, so that the words of a
/// new tool are never kept waiting by the meaning of old ones.
pub(crate) async fn index(host: Weak<Host>) {
    let Some(mut progress) = host.upgrade().map(|host| host.progress.subscribe()) else { return };
    let mut more = false;
    loop {
        if !more && progress.wait_for(|now| now.index < now.catalog || now.switching).await.is_err() {
            return;
        }
        let Some(strong) = host.upgrade() else { return };
        let task = tokio::task::spawn_blocking(move || {
            let catalog = strong.catalog();
            let behind = {
                let now = *strong.progress.borrow();
                now.index < catalog.generation || now.switching
            };
            // Taken back before the work, so that another wish that comes meanwhile is not lost.
            strong.progress.send_modify(|now| now.switching = false);
            let more = if behind {
                strong.retrieval.update(&catalog.tools, || strong.progress.send_modify(|now| now.answers = true))
            } else {
                strong.retrieval.embed_more()
            };
            strong.progress.send_modify(|now| {
                now.index = now.index.max(catalog.generation);
                now.embedding = more;
            });
            let keep = if more { None } else { strong.retrieval.keep() };
            // On a thread of its own: a newer catalog must not wait for the disk.
            drop(keep.map(|keep| {
                tokio::task::spawn_blocking(move || keep.write().inspect(|warning| tracing::warn!(%warning, "search index")))
            }));
            more && !strong.stopping.is_cancelled()
        });
        match task.await {
            Ok(left) => more = left,
            Err(error) => {
                tracing::error!(%error, "the index can no longer be renewed");
                // Whoever waits for it is let go, to find nothing rather than to hang.
                if let Some(host) = host.upgrade() {
                    host.progress.send_modify(|now| now.index = u64::MAX);
                }
                return;
            }
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Refresher {
    /// Takes its place beside the host that serves its first catalog.
    pub(crate) fn adopt(&mut self, host: &Arc<Host>) {
        let catalog = host.catalog();
        announce(host, None, &catalog);
        witness::tell(host.settings.witness.as_ref(), Seen::Catalog(&catalog));
        host.progress.send_modify(|now| now.catalog = catalog.generation);
        if !host.settings.frozen {
            self.watcher = Some(Watch::new(host.triggers.clone(), &host.settings));
            self.watch(host);
        }
        self.prepare(host);
    }

    fn build(&mut self, settings: &Settings, executors: &Executors, previous: Option<&Catalog>) -> Result<Catalog, StartError> {
        let store = Store::at(&settings.dirs.data, &settings.dirs.config);
        // Before anything of them is used.
        let lease = lease(&store, &self.lockfile, previous);
        let found = self.loader.look(&settings.plugins, &store, &self.lockfile)?;
        let untrusted = self.vouchers.as_mut().map(|vouchers| vouchers.missing(&store, &self.lockfile)).unwrap_or_default();
        self.linked.clone_from(&found.linked);
        self.generation += 1;
        let approvals = &self.operator.approvals;
        for seen in self.seen.drain(..) {
            let approved = approvals.get(seen.plugin.manifest.name.as_str()).filter(|known| known.approval.fits(&seen.plugin));
            self.records.note(seen, approved);
        }
        let mut records = HashMap::new();
        for (plugin, _) in found.plugins.iter().filter(|(plugin, _)| plugin.manifest.mcp.is_some()) {
            let name = plugin.manifest.name.as_str();
            let approved = approvals.get(name).filter(|known| known.approval.fits(plugin));
            records.extend(self.records.of(plugin, approved).map(|record| (name.to_owned(), record)));
        }
        Ok(build(Ingredients {
            generation: self.generation,
            found,
            operator: self.operator.clone(),
            prepared: &self.prepared,
            previous,
            reached: executors.level(),
            runtimes: executors.runtimes(),
            records,
            untrusted,
            lease,
            queue_per_plugin: settings.queue_per_plugin,
            lists: self.lists.fresh(),
        }))
    }

    /// Takes down what a trigger says. Returns how many derivations ended with it.
    fn note(&mut self, host: &Host, trigger: Trigger) -> usize {
        match trigger {
            Trigger::Files => 0,
            Trigger::Observed(seen) => {
                self.seen.push(*seen);
                0
            }
            Trigger::Retry { plugin, content } => {
                self.preparing.remove(&(plugin, content));
                0
            }
            Trigger::Prepared { plugin, content, result, deriving } => {
                let key = (plugin, content);
                match result {
                    Ok(specs) => {
                        self.preparing.remove(&key);
                        self.attempts.remove(&key);
                        self.prepared.insert(key, Preparation::Ready(Arc::new(specs)));
                    }
                    Err((kind, message)) => self.prepare_again(host, key, kind, &message),
                }
                usize::from(deriving)
            }
        }
    }

    fn prepare_again(&mut self, host: &Host, key: (String, Digest), kind: FailureKind, message: &str) {
        tracing::error!(plugin = key.0, kind = kind.as_str(), message, "plugin could not be made ready");
        self.prepared.insert(key.clone(), Preparation::Failed(format!("{}: {message}", kind.as_str())));
        if !Code::from(kind).retryable() {
            return;
        }
        let attempt = self.attempts.entry(key.clone()).or_insert(0);
        let wait = RETRY_LAST.min(RETRY_FIRST.saturating_mul(2_u32.saturating_pow(*attempt)));
        *attempt += 1;
        let triggers = host.triggers.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = triggers.send(Trigger::Retry { plugin: key.0, content: key.1 }).await;
        });
    }

    /// Reads everything again and swaps the catalog, if it came out different. Blocking.
    fn refresh(&mut self, host: &Arc<Host>) {
        self.watch(host);
        let wanted = host.settings.reconsider.as_ref().and_then(|reconsider| (reconsider.0)());
        if wanted.is_some_and(|wanted| host.retrieval.want(wanted)) {
            host.progress.send_modify(|now| (now.switching, now.embedding) = (true, true));
        }
        if !host.settings.frozen {
            self.read(&host.settings);
        }
        let old = host.catalog();
        match self.build(&host.settings, &host.executors, Some(&old)) {
            Ok(new) if same(&old, &new) => self.generation = old.generation,
            Ok(new) => {
                let new = Arc::new(new);
                announce(host, Some(&old), &new);
                host.catalog.store(new.clone());
                witness::tell(host.settings.witness.as_ref(), Seen::Catalog(&new));
                host.progress.send_modify(|now| now.catalog = new.generation);
                retire(host, &old, &new);
                if listed(&old) != listed(&new) {
                    host.subscribers.list_changed();
                }
            }
            Err(error) => {
                self.generation = old.generation;
                tracing::error!(%error, "the plugins cannot be read again, the old catalog stays");
            }
        }
        for plugin in self.records.take_outdated() {
            let executor = host.executor(Runtime::Mcp).clone();
            tokio::spawn(async move { executor.retire(&plugin).await });
        }
        self.watch(host);
    }

    /// Reads again what is installed and what the operator gave. What can't be read neither gives nor takes anything, and holds up nothing else.
    fn read(&mut self, settings: &Settings) {
        let Moment { lockfile, operator } = match read(settings) {
            Ok(moment) => moment,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "a change of what is installed is decided and not carried out, the old state stays"
                );
                return;
            }
        };
        match lockfile {
            Ok(lockfile) => self.lockfile = lockfile,
            Err(error) => {
                tracing::error!(error = chain(&error), "what is installed cannot be read again, what was installed stays");
            }
        }
        match operator {
            Ok(operator) if operator == *self.operator => {}
            Ok(operator) => self.operator = Arc::new(operator),
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the operator's files are not valid, the old ones stay in force");
            }
        }
        let Some(vouchers) = &mut self.vouchers else { return };
        match read_trust(&settings.dirs) {
            Ok(trust) => vouchers.renew(trust),
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the trusted keys are not valid, the old ones stay in force");
            }
        }
    }

    /// Watches what is there now. What is watched for the first time may have changed between the last look and now, so it is
    /// looked at once more.
    fn watch(&mut self, host: &Host) {
        if let Some(watch) = &mut self.watcher
            && watch.arm(&host.settings, &self.linked)
        {
            let _ = host.triggers.try_send(Trigger::Files);
        }
    }

    /// Starts what must be made before a first call: schemas, virtual environments, everything with `warm`.
    fn prepare(&mut self, host: &Arc<Host>) {
        let catalog = host.catalog();
        let current: HashSet<(String, Digest)> =
            catalog.plugins.iter().map(|entry| (entry.name().to_owned(), entry.plugin.content.clone())).collect();
        self.prepared.retain(|key, _| current.contains(key));
        self.attempts.retain(|key, _| current.contains(key));
        self.preparing.retain(|key, _| current.contains(key));
        for entry in &catalog.plugins {
            let deriving = !entry.pending.is_empty();
            let needed = deriving || !entry.plugin.manifest.dependencies.is_empty() || host.settings.warm;
            let key = (entry.name().to_owned(), entry.plugin.content.clone());
            let done = matches!(self.prepared.get(&key), Some(Preparation::Ready(_)));
            let Some(allowed) = entry.allowed.clone() else { continue };
            let tried = self.preparing.get(&key) == Some(&allowed);
            if !needed || done || tried || entry.availability != Availability::Served {
                continue;
            }
            self.preparing.insert(key.clone(), allowed.clone());
            if deriving {
                host.progress.send_modify(|now| now.deriving += 1);
            }
            let executor = host.executor(entry.plugin.manifest.runtime).clone();
            let (plugin, slots) = (entry.plugin.clone(), self.slots.clone());
            let triggers = host.triggers.clone();
            let stopping = host.stopping.clone();
            tokio::spawn(async move {
                let _slot = slots.acquire_owned().await;
                let result = tokio::select! {
                    result = executor.prepare(plugin, allowed) => result.map_err(|failure| (failure.kind, failure.message)),
                    // Given up, so that nothing is still being made when the executor is shut down.
                    () = stopping.cancelled() => return,
                };
                let _ = triggers.send(Trigger::Prepared { plugin: key.0, content: key.1, result, deriving }).await;
            });
        }
    }
}

/// Keeps the packages that are served in the store, whoever clears up there.
fn lease(store: &Store, lockfile: &Lockfile, previous: Option<&Catalog>) -> Option<Arc<Lease>> {
    let digests: BTreeSet<FileDigest> =
        lockfile.entries().filter(|entry| entry.active).map(|entry| entry.release.digest).collect();
    if digests.is_empty() {
        return None;
    }
    let held = previous.and_then(|catalog| catalog.lease.as_ref()).filter(|lease| *lease.digests() == digests);
    let fresh = || {
        let warn = |error: &registry::Error| {
            tracing::warn!(%error, "what is served can't be written down: clearing up the store may take it away");
        };
        store.lease(digests.clone()).inspect_err(warn).ok().flatten().map(Arc::new)
    };
    held.cloned().or_else(fresh)
}

/// Whether nothing that anyone could see differs.
fn same(old: &Catalog, new: &Catalog) -> bool {
    old.operator == new.operator
        && old.broken == new.broken
        && old.plugins.len() == new.plugins.len()
        && old.plugins.iter().zip(&new.plugins).all(|(old, new)| {
            old.plugin == new.plugin
                && old.availability == new.availability
                && old.pending == new.pending
                && old.notes == new.notes
                && old.quarantined == new.quarantined
                && old.preparation == new.preparation
                && old.allowed == new.allowed
                && old.tools.len() == new.tools.len()
                && old.tools.iter().zip(&new.tools).all(|(old, new)| old.json == new.json)
        })
}

/// What clients see of a catalog.
fn listed(catalog: &Catalog) -> Vec<&[u8]> {
    catalog.tools.iter().map(|tool| &*tool.json).collect()
}

/// Ends the processes of plugins that changed or went away, when their last call is over; at once where a plugin may now do something else, so
/// that nothing runs on with what was taken back.
fn retire(host: &Arc<Host>, old: &Catalog, new: &Catalog) {
    for before in old.plugins.iter().filter(|before| before.allowed.is_some()) {
        let after = new.plugin(before.name());
        let same_powers = after.is_none_or(|after| after.allowed == before.allowed);
        if same_powers && after.is_some_and(|after| after.plugin.content == before.plugin.content) {
            continue;
        }
        let (executor, name) = (host.executor(before.plugin.manifest.runtime).clone(), before.name().to_owned());
        tokio::spawn(async move { if same_powers { executor.finish(&name).await } else { executor.retire(&name).await } });
    }
}

/// Tells the operator what changed; a broken or withheld plugin loudly.
fn announce(host: &Host, old: Option<&Catalog>, new: &Catalog) {
    for broken in &new.broken {
        if old.is_none_or(|old| !old.broken.contains(broken)) {
            tracing::error!(plugin = broken.name, root = %broken.root.display(), diagnostics = %broken.diagnostics, "plugin is broken and not served");
        }
    }
    for problem in &new.operator.problems {
        if old.is_none_or(|old| !old.operator.problems.contains(problem)) {
            tracing::error!(plugin = problem.plugin, error = %problem.error, hint = problem.error.hint(), "refused");
        }
    }
    for entry in &new.plugins {
        let before = old.and_then(|old| old.plugin(entry.name()));
        if before.is_some_and(|before| before.availability == entry.availability && before.notes == entry.notes) {
            continue;
        }
        for note in &entry.notes {
            tracing::info!(plugin = entry.name(), note, "note");
        }
        match &entry.availability {
            Availability::Served => {}
            Availability::Withheld(missing) => {
                for missing in missing {
                    let remedy = missing.remedy(&entry.plugin.manifest.name);
                    tracing::warn!(plugin = entry.name(), %missing, remedy, "plugin is withheld");
                }
            }
            other => tracing::warn!(plugin = entry.name(), reason = ?other, "plugin is not served"),
        }
    }
    tracing::info!(
        generation = new.generation,
        plugins = new.plugins.len(),
        broken = new.broken.len(),
        tools = new.tools.len(),
        "catalog"
    );
    warn_of_cost(host, new);
}

fn warn_of_cost(host: &Host, catalog: &Catalog) {
    let tokens = catalog.tools.iter().map(|tool| tool.json.len()).sum::<usize>() / 4;
    if host.settings.view == View::All && tokens > EXPENSIVE_LIST {
        let search = catalog.list_bytes(View::Search) / 4;
        tracing::warn!(
            tokens,
            search_view_tokens = search,
            "the list of tools is long; estimated at 4 bytes a token; `--view search` or /mcp/search would cost less"
        );
    }
}

/// Hears of changes, where the operating system can tell.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    armed: BTreeSet<(PathBuf, bool)>,
    config: PathBuf,
    data: PathBuf,
    /// Something cannot be watched, so it is looked at now and then.
    blind: bool,
}

impl Watch {
    fn new(triggers: mpsc::Sender<Trigger>, settings: &Settings) -> Self {
        let absolute = |folder: &Path| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let (config, data) = (absolute(&settings.dirs.config), absolute(&settings.dirs.data));
        let shown = (config.clone(), data.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(&event, &shown.0, &shown.1)) {
                // A full queue already holds the request for a new catalog.
                let _ = triggers.try_send(Trigger::Files);
            }
        });
        let watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files cannot be watched, they are looked at now and then")).ok();
        Self { blind: watcher.is_none(), watcher, armed: BTreeSet::new(), config, data }
    }

    /// Returns whether something is watched that was not before.
    fn arm(&mut self, settings: &Settings, linked: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut wanted: BTreeSet<(PathBuf, bool)> = linked.iter().map(|path| (path.clone(), true)).collect();
        wanted.extend(settings.plugins.iter().filter_map(|folder| Some((std::fs::canonicalize(&folder.path).ok()?, true))));
        // The folder of configuration may not be there yet: its nearest ancestor hears when it comes.
        let existing = self.config.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        wanted.insert((existing.to_owned(), existing == self.config));
        // So may the folder of the lockfile. The packages it names are watched as what the catalog is made of.
        let existing = self.data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        if !wanted.contains(&(existing.to_owned(), true)) {
            wanted.insert((existing.to_owned(), false));
        }
        for gone in self.armed.difference(&wanted) {
            let _ = watcher.unwatch(&gone.0);
        }
        let (mut blind, mut more) = (false, false);
        let mut armed = BTreeSet::new();
        for (path, recursive) in wanted {
            let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if self.armed.contains(&(path.clone(), recursive)) && path.exists() {
                armed.insert((path, recursive));
                continue;
            }
            match watcher.watch(&path, mode) {
                Ok(()) => {
                    more = true;
                    armed.insert((path, recursive));
                }
                Err(error) => {
                    blind = true;
                    tracing::warn!(path = %path.display(), %error, "folder cannot be watched, it is looked at now and then");
                }
            }
        }
        self.armed = armed;
        self.blind = blind;
        more
    }
}

/// Whether an event can mean a change. Being read is no change, and our own reading must not call us again.
fn matters(event: &notify::Event, config: &Path, data: &Path) -> bool {
    let changed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    let concerns = |path: &PathBuf| {
        if path.components().any(|part| part.as_os_str() == "__pycache__" || part.as_os_str() == ".git") {
            return false;
        }
        if config.starts_with(path) || data.starts_with(path) {
            return true;
        }
        let parent = path.parent().unwrap_or(path);
        // Of the folder of data the lockfile alone counts: what is staged beside it is nothing yet.
        if parent == data {
            return path.file_name().is_some_and(|name| name == LOCKFILE);
        }
        let beside = |folder: &Path| folder.starts_with(parent) && !path.starts_with(folder);
        !beside(config) && !beside(data)
    };
    changed && (event.paths.is_empty() || event.paths.iter().any(concerns))
}
