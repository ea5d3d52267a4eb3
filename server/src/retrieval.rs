//! The search index behind the catalog: turns served tools into documents, brings the index after them, and answers.
//!
//! How words and meaning are weighed is the `index` crate's; which tools a caller may find is `search.rs`.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use index::{FastEmbedder, Hit, Indexer, Keep, Mode, Query, StaticEmbedder, ToolDocument, ToolIndex, UpdateStats};

use crate::{Settings, StartError, catalog::ServedTool};

/// Texts that are embedded before the index is published again and a newer catalog is looked for.
const STEP: usize = 512;

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

/// The index, and the one writer of it.
pub(crate) struct Retrieval {
    choice: EmbedderChoice,
    /// Where vectors and whole indexes are kept.
    cache: PathBuf,
    /// Which tools are served, as far as it can be said before they are known: the folders they come from.
    catalogue: String,
    /// Made at the first update, because loading a model takes a while.
    writer: Mutex<Option<Writer>>,
    current: ArcSwapOption<ToolIndex>,
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

impl Retrieval {
    pub(crate) fn new(settings: &Settings) -> Result<Self, StartError> {
        let folders = settings.plugins.iter().map(|folder| folder.path.to_string_lossy().into_owned());
        let data = settings.dirs.data.to_string_lossy().into_owned();
        Ok(Self {
            choice: settings.embedder.clone(),
            cache: settings.dirs.cache.join("index"),
            catalogue: std::iter::once(data).chain(folders).collect::<Vec<_>>().join("\n"),
            writer: Mutex::default(),
            current: ArcSwapOption::empty(),
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

    /// Makes the index of these tools, with the vectors that are known already. Returns whether texts without a vector are left.
    /// Blocking.
    pub(crate) fn update(&self, tools: &[Arc<ServedTool>]) -> bool {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            *guard = self.open().map(|indexer| Writer { indexer: indexer.kept_in(&self.cache, &self.catalogue), seen: None });
        }
        let Some(writer) = guard.as_mut() else { return false };
        // A model may take minutes, so what it knows already is served first; the table is done before a second round would begin.
        let embed = if self.waits_for_model() { 0 } else { usize::MAX };
        let made = match &writer.seen {
            Some(seen) => {
                let changed =
                    |tool: &&Arc<ServedTool>| seen.get(tool.name.as_str()).is_none_or(|before| !Arc::ptr_eq(before, tool));
                let put: Vec<ToolDocument> = tools.iter().filter(changed).map(|tool| document(tool)).collect();
                let now: HashSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
                let removed: Vec<&str> = seen.keys().map(String::as_str).filter(|name| !now.contains(name)).collect();
                writer.indexer.change(&put, &removed, embed)
            }
            None => {
                let documents: Vec<ToolDocument> = tools.iter().map(|tool| document(tool)).collect();
                if embed == 0 { writer.indexer.prepare(&documents) } else { writer.indexer.update(&documents) }
            }
        };
        writer.seen =
            made.is_ok().then(|| tools.iter().map(|tool| (tool.name.to_string(), Arc::clone(tool))).collect::<HashMap<_, _>>());
        self.publish(made)
    }

    /// Embeds some of the texts that are left. Returns whether there are more. Blocking, for a second or so.
    pub(crate) fn embed_more(&self) -> bool {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = guard.as_mut() else { return false };
        let made = writer.indexer.embed_pending(STEP);
        if made.is_err() {
            writer.seen = None;
        }
        self.publish(made)
    }

    /// The index, to be left on disk for the next start, where enough has changed. Writing it holds nobody up.
    pub(crate) fn keep(&self) -> Option<Keep> {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_mut().and_then(|writer| writer.indexer.keep())
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

    fn waits_for_model(&self) -> bool {
        matches!(self.choice, EmbedderChoice::Fastembed { .. })
    }

    fn open(&self) -> Option<Indexer> {
        let opened = match &self.choice {
            EmbedderChoice::Lexical => Indexer::lexical(),
            EmbedderChoice::Static => self.with_table(),
            EmbedderChoice::Fastembed { model, onnxruntime } => match FastEmbedder::open(model, onnxruntime) {
                Ok(embedder) => Indexer::hybrid(Arc::new(embedder), Some(&self.cache)),
                Err(unavailable) => {
                    tracing::warn!(reason = %unavailable.reason, hint = unavailable.hint, "no model, the table inside the program takes its place");
                    self.falls_short(unavailable.reason.to_string());
                    self.with_table()
                }
            },
        };
        opened.inspect_err(|error| tracing::error!(error = crate::refresh::chain(error), "there is no search index")).ok()
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
        match self.current.load_full() {
            Some(index) => index.search(&Query::new(query).limit(limit), accept),
            None => Vec::new(),
        }
    }
}

fn document(tool: &ServedTool) -> ToolDocument {
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
