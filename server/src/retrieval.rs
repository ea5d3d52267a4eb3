//! The search index behind the catalog: turns served tools into documents, brings the index after them, and answers.
//!
//! How words and meaning are weighed is the `index` crate's; which tools a caller may find is `search.rs`.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use index::{
    Among, EmbedderUnavailable, FastEmbedder, Hit, Indexer, Keep, Lessons, Mode, Query, StaticEmbedder, ToolDocument, ToolIndex,
    UpdateStats, convincing,
};

use crate::{
    Settings, StartError,
    catalog::{Catalog, ServedTool},
    selection::Selections,
};

/// Texts that are embedded before the index is published again and a newer catalog is looked for.
const STEP: usize = 512;

/// So many tools are not compared in the time that a search may take.
const MANY: usize = 10_000;

/// How the meaning of words is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EmbedderChoice {
    /// Words alone.
    Lexical,
    /// The table inside the program: no file, no library, microseconds a text.
    #[default]
    Static,
    /// A fastembed model; where it cannot be loaded, the table, and the log says why.
    Fastembed {
        /// Folder of the model.
        model: PathBuf,
        /// The ONNX runtime library.
        onnxruntime: PathBuf,
    },
}

/// How the index works now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexMode {
    /// The first index is being made.
    Building,
    /// Words alone, with the reason where something better was asked for.
    Lexical(Option<String>),
    /// Words and meaning, with the embedder's id.
    Hybrid(String),
}

impl IndexMode {
    /// The stable word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Lexical(_) => "lexical",
            Self::Hybrid(_) => "hybrid",
        }
    }
}

/// Says again which embedder is wanted, whenever the operator's files have changed; nothing where that cannot be said.
#[derive(Clone)]
pub struct Reconsider(pub Arc<dyn Fn() -> Option<EmbedderChoice> + Send + Sync>);

impl std::fmt::Debug for Reconsider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reconsider")
    }
}

/// Who writes the index, made at the first update, because loading a model takes a while.
#[derive(Default)]
struct Writers {
    now: Option<Writer>,
    /// The one with another embedder, while it does not know every tool yet.
    next: Option<Writer>,
    /// What the newest of them was opened with.
    opened: Option<EmbedderChoice>,
}

/// The index, and the one writer of it.
pub(crate) struct Retrieval {
    /// What is wanted; what is opened follows at the next update.
    choice: Mutex<EmbedderChoice>,
    /// Where vectors and whole indexes are kept.
    cache: PathBuf,
    /// Which tools are served, as far as it can be said before they are known: the folders they come from.
    catalogue: String,
    writers: Mutex<Writers>,
    current: ArcSwapOption<ToolIndex>,
    /// What callers may find in it.
    pub(crate) selections: Selections,
    /// Why the index is less than what was asked for.
    shortfall: Mutex<Option<String>>,
}

/// The indexer, and the tools it has seen.
struct Writer {
    indexer: Indexer,
    /// By served name; `None` when it is not known what the index holds. A tool that did not change is the same allocation in the
    /// next catalog, so a change of one tool among thousands is found without reading any.
    seen: Option<HashMap<String, Arc<ServedTool>>>,
}

/// What an indexer makes.
type Made = Result<(Arc<ToolIndex>, UpdateStats), index::IndexError>;

impl Writer {
    /// Brings the index after the tools, and embeds at most so many texts.
    fn follow(&mut self, tools: &[Arc<ServedTool>], embed: usize) -> Made {
        let made = match &self.seen {
            Some(seen) => {
                let changed =
                    |tool: &&Arc<ServedTool>| seen.get(tool.name.as_str()).is_none_or(|before| !Arc::ptr_eq(before, tool));
                let put: Vec<ToolDocument> = tools.iter().filter(changed).map(|tool| document(tool)).collect();
                let now: HashSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
                let removed: Vec<&str> = seen.keys().map(String::as_str).filter(|name| !now.contains(name)).collect();
                self.indexer.change(&put, &removed, embed)
            }
            None => {
                let documents: Vec<ToolDocument> = tools.iter().map(|tool| document(tool)).collect();
                if embed == 0 { self.indexer.prepare(&documents) } else { self.indexer.update(&documents) }
            }
        };
        let seen = || tools.iter().map(|tool| (tool.name.to_string(), Arc::clone(tool))).collect::<HashMap<_, _>>();
        self.seen = made.is_ok().then(seen);
        made
    }

    fn embed(&mut self, texts: usize) -> Made {
        let made = self.indexer.embed_pending(texts);
        if made.is_err() {
            self.seen = None;
        }
        made
    }
}

impl Retrieval {
    pub(crate) fn new(settings: &Settings) -> Result<Self, StartError> {
        let folders = settings.plugins.iter().map(|folder| folder.path.to_string_lossy().into_owned());
        let data = settings.dirs.data.to_string_lossy().into_owned();
        Ok(Self {
            choice: Mutex::new(settings.embedder.clone()),
            cache: settings.dirs.cache.join("index"),
            catalogue: std::iter::once(data).chain(folders).collect::<Vec<_>>().join("\n"),
            writers: Mutex::default(),
            current: ArcSwapOption::empty(),
            selections: Selections::default(),
            shortfall: Mutex::default(),
        })
    }

    pub(crate) fn mode(&self) -> IndexMode {
        match self.current.load().as_ref().map(|index| index.mode()) {
            None => IndexMode::Building,
            Some(Mode::Hybrid { embedder }) => IndexMode::Hybrid(embedder),
            Some(Mode::Lexical) => IndexMode::Lexical(self.shortfall.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    /// Says which embedder is wanted from now on. Returns whether that is another: [`Retrieval::update`] then begins the change.
    pub(crate) fn want(&self, choice: EmbedderChoice) -> bool {
        let mut wanted = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let another = *wanted != choice;
        *wanted = choice;
        another
    }

    /// Makes the index of these tools, with the vectors that are known already. Returns whether texts without a vector are left.
    /// Calls `answers` where the index that was kept can answer before that is done. Blocking.
    pub(crate) fn update(&self, tools: &[Arc<ServedTool>], answers: impl FnOnce()) -> bool {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.choice.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if writers.now.is_none() {
            writers.now = self.first(&wanted);
            writers.opened = Some(wanted);
            // Thousands of tools take a while to compare with what was kept. Who may find what is decided by the catalog, so until then an
            // answer can miss a tool that is new, or show one by its old words, and never one that is gone or forbidden.
            let kept = writers.now.as_mut().filter(|_| tools.len() >= MANY).and_then(|writer| writer.indexer.as_kept());
            if kept.is_some() {
                self.current.store(kept);
                answers();
            }
        } else if writers.opened.as_ref() != Some(&wanted) {
            writers.next = self.another(&wanted);
            writers.opened = Some(wanted);
        }
        // A model may take minutes, so what it knows already is served first; the table is done before a second round would begin.
        let waits = matches!(writers.opened, Some(EmbedderChoice::Fastembed { .. }));
        let Some(now) = writers.now.as_mut() else { return false };
        let made = now.follow(tools, if waits { 0 } else { usize::MAX });
        let more = self.publish(made);
        match writers.next.as_mut().map(|next| next.follow(tools, 0)) {
            Some(made) => self.ripen(&mut writers, made),
            None => more,
        }
    }

    /// Embeds some of the texts that are left. Returns whether there are more. Blocking, for a second or so.
    pub(crate) fn embed_more(&self) -> bool {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = writers.next.as_mut() {
            let made = next.embed(STEP);
            return self.ripen(&mut writers, made);
        }
        let Some(now) = writers.now.as_mut() else { return false };
        let made = now.embed(STEP);
        self.publish(made)
    }

    /// The index, to be left on disk for the next start, where enough has changed. Writing it holds nobody up.
    pub(crate) fn keep(&self) -> Option<Keep> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.now.as_mut().and_then(|writer| writer.indexer.keep())
    }

    /// The next writer takes over when it knows every tool; until then the vectors of the old one serve. Returns whether it is not there yet.
    fn ripen(&self, writers: &mut Writers, made: Made) -> bool {
        let problem = match made {
            Ok((index, stats)) if stats.pending == 0 => {
                writers.now = writers.next.take();
                tracing::info!(mode = ?index.mode(), "the search has another embedder");
                return self.publish(Ok((index, stats)));
            }
            Ok((_, stats)) if stats.warnings.is_empty() => return true,
            Ok((_, stats)) => stats.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => crate::refresh::chain(&error),
        };
        tracing::error!(problem, "the other embedder fails, the old one stays");
        writers.next = None;
        false
    }

    fn publish(&self, made: Result<(Arc<ToolIndex>, UpdateStats), index::IndexError>) -> bool {
        match made {
            Ok((index, stats)) => {
                for warning in &stats.warnings {
                    tracing::warn!(%warning, "search index");
                }
                tracing::debug!(
                    added = stats.added,
                    changed = stats.changed,
                    removed = stats.removed,
                    pending = stats.pending,
                    "search index"
                );
                self.current.store(Some(index));
                // A batch that made no progress would be tried for ever.
                stats.pending > 0 && stats.warnings.is_empty()
            }
            Err(error) => {
                tracing::error!(error = crate::refresh::chain(&error), "the search index could not be renewed");
                false
            }
        }
    }

    /// The first one: where a model cannot be loaded, the table takes its place.
    fn first(&self, choice: &EmbedderChoice) -> Option<Writer> {
        self.open(choice).unwrap_or_else(|unavailable| {
            tracing::warn!(reason = %unavailable.reason, hint = unavailable.hint, "no model, the table inside the program takes its place");
            self.falls_short(unavailable.reason.to_string());
            self.writer(self.with_table())
        })
    }

    /// Another one: where it cannot be loaded, the old one stays.
    fn another(&self, choice: &EmbedderChoice) -> Option<Writer> {
        self.open(choice).unwrap_or_else(|unavailable| {
            tracing::error!(reason = %unavailable.reason, hint = unavailable.hint, "the other model cannot be loaded, the old one stays");
            None
        })
    }

    fn open(&self, choice: &EmbedderChoice) -> Result<Option<Writer>, EmbedderUnavailable> {
        let opened = match choice {
            EmbedderChoice::Lexical => Indexer::lexical(),
            EmbedderChoice::Static => self.with_table(),
            EmbedderChoice::Fastembed { model, onnxruntime } => {
                Indexer::hybrid(Arc::new(FastEmbedder::open(model, onnxruntime)?), Some(&self.cache))
            }
        };
        Ok(self.writer(opened))
    }

    fn writer(&self, opened: Result<Indexer, index::IndexError>) -> Option<Writer> {
        opened
            .inspect_err(|error| tracing::error!(error = crate::refresh::chain(error), "there is no search index"))
            .ok()
            .map(|indexer| Writer { indexer: indexer.kept_in(&self.cache, &self.catalogue), seen: None })
    }

    /// The table's vectors are not kept by content: making one takes as long as finding it. The whole index is.
    fn with_table(&self) -> Result<Indexer, index::IndexError> {
        match StaticEmbedder::shipped() {
            Ok(table) => Indexer::hybrid(Arc::new(table), None),
            Err(bad) => {
                tracing::error!(%bad, "the table inside the program cannot be used, tools are found by words alone");
                self.falls_short(bad.to_string());
                Indexer::lexical()
            }
        }
    }

    fn falls_short(&self, reason: String) {
        *self.shortfall.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// The best tools of those that `accept` lets through. May wait for an embedder, so it is not for an async thread.
    pub(crate) fn search(&self, query: &str, limit: usize, accept: &dyn Fn(&str) -> bool) -> Vec<Hit> {
        match self.index() {
            Some(index) => index.search(&Query::new(query).limit(limit), accept),
            None => Vec::new(),
        }
    }

    /// The index of now; what is asked of it belongs together.
    pub(crate) fn index(&self) -> Option<Arc<ToolIndex>> {
        self.current.load_full()
    }
}

/// The best tools of an index, or none where not one of them is believable.
pub(crate) fn believable(index: &ToolIndex, query: &str, limit: usize, among: Among<'_>, lessons: &Lessons) -> Vec<Hit> {
    let answer = index.answer_among(&Query::new(query).limit(limit), among, lessons);
    if convincing(&answer.hits, index.len()) { answer.hits } else { Vec::new() }
}

/// What the index is told of every served tool.
#[must_use]
pub fn documents(catalog: &Catalog) -> Vec<ToolDocument> {
    catalog.tools.iter().map(|tool| document(tool)).collect()
}

pub(crate) fn document(tool: &ServedTool) -> ToolDocument {
    let manifest = &tool.plugin.manifest;
    // A tool that names a word twice means it once.
    let mut seen = HashSet::new();
    let examples =
        tool.spec.examples.iter().map(|example| example.query.clone()).filter(|query| seen.insert(query.clone())).collect();
    ToolDocument {
        id: tool.name.to_string(),
        plugin: manifest.name.to_string(),
        name: tool.spec.name.to_string(),
        title: tool.spec.title.clone(),
        description: tool.spec.description.clone(),
        category: manifest.category.clone(),
        keywords: manifest.keywords.clone(),
        capabilities: tool.spec.capabilities.clone(),
        args_schema: tool.spec.args_schema.clone(),
        examples,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use index::{EmbedError, Embedder};
    use manifest_schema::Digest;
    use policy::{Plugin, Source};
    use serde_json::Map;

    use super::*;
    use crate::Dirs;

    /// Knows every text after a while; fails for good after so many.
    struct Slow {
        texts: AtomicUsize,
        limit: usize,
    }

    impl Embedder for Slow {
        fn id(&self) -> &str {
            "slow@1"
        }

        fn dimension(&self) -> usize {
            2
        }

        fn embed_query(&self, _: &str) -> Result<Vec<f32>, EmbedError> {
            Ok(vec![1.0, 0.0])
        }

        fn embed_documents(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let before = self.texts.fetch_add(texts.len(), Ordering::SeqCst);
            if before + texts.len() > self.limit { Err(EmbedError::Stopped) } else { Ok(vec![vec![1.0, 0.0]; texts.len()]) }
        }
    }

    fn tools() -> Vec<Arc<ServedTool>> {
        let plugin = |number: usize| {
            let tool = |tool: usize| format!("  - {{name: t{tool}, description: Says {number} times {tool}, function: f}}\n");
            let tools: String = (0..50).map(tool).collect();
            let text = format!("name: p{number}\nversion: 1.0.0\ndescription: Numbers\nmcps:\n{tools}");
            let manifest = manifest_schema::parse("plugin.yaml", &text).expect("a manifest");
            let content = Digest::of([text.as_bytes()]);
            Arc::new(Plugin { manifest, root: PathBuf::from("/plugins"), source: Source::Bundled, content })
        };
        let compiled = |plugin: Arc<Plugin>| {
            let tools: Vec<_> =
                plugin.manifest.mcps.iter().map(|spec| ServedTool::compile(&plugin, spec, &Map::new(), None)).collect();
            tools.into_iter().map(|tool| Arc::new(tool.expect("a tool")))
        };
        (0..3 * STEP / 50).flat_map(|number| compiled(plugin(number))).collect()
    }

    /// Steps of the change until it is over; every tool is found in each.
    fn change(retrieval: &Retrieval, tools: &[Arc<ServedTool>], limit: usize) -> usize {
        let slow = Indexer::hybrid(Arc::new(Slow { texts: AtomicUsize::new(0), limit }), None);
        retrieval.writers.lock().expect("a lock").next = retrieval.writer(slow);
        let before = retrieval.mode();
        let mut more = retrieval.update(tools, || {});
        let mut steps = 0;
        while more {
            assert_eq!(retrieval.mode(), before, "the old vectors serve until the last new one is there");
            let hits = retrieval.search("says 3 times 7", 3, &|_| true);
            assert!(hits.iter().any(|hit| hit.id == "p3__t7"), "{hits:?}");
            more = retrieval.embed_more();
            steps += 1;
        }
        steps
    }

    #[test]
    fn the_old_vectors_serve_until_the_last_new_one_is_there() {
        let home = tempfile::tempdir().expect("a folder");
        let retrieval = Retrieval::new(&Settings::new(Dirs::under(home.path()))).expect("settings");
        let tools = tools();
        assert!(!retrieval.update(&tools, || {}), "the table is done at once");
        let IndexMode::Hybrid(table) = retrieval.mode() else { panic!("{:?}", retrieval.mode()) };
        assert!(change(&retrieval, &tools, STEP) >= 1, "one that fails half way");
        assert_eq!(retrieval.mode(), IndexMode::Hybrid(table), "changes nothing");
        assert!(change(&retrieval, &tools, usize::MAX) >= 3);
        assert_eq!(retrieval.mode(), IndexMode::Hybrid("slow@1".to_owned()));
    }
}
