//! The one writer: compares a catalog with what it holds, changes only what differs, and makes a new [`ToolIndex`].
//!
//! Blocking; called off the request path. [`Indexer::update`] does all; where a first embedding takes minutes, a caller
//! publishes [`Indexer::prepare`] at once and then what [`Indexer::embed_pending`] returns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::cache::{MAX_SPARE, TextKey, VectorCache, Vectors};
use crate::document::ToolDocument;
use crate::embed::{EmbedError, Embedder};
use crate::error::{IndexError, Warning};
use crate::lexical::LexicalWriter;
use crate::search::{Dense, Entry, ToolIndex};
use crate::vectors::{Quantized, VectorTable};

const MAX_TOOLS: usize = 1_000_000;
const MAX_ID_BYTES: usize = 512;
/// Texts given to the embedder at once; what is done is kept when a later batch fails.
const BATCH: usize = 256;
/// New vectors between two writes of the cache: a kill costs at most this much work.
const CHECKPOINT: usize = 2048;

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpdateStats {
    /// Tools that were not there before.
    pub added: usize,
    /// Tools with other contents than before.
    pub changed: usize,
    /// Tools that are gone.
    pub removed: usize,
    /// Tools that needed no work.
    pub unchanged: usize,
    /// Texts given to the embedder.
    pub embedded: usize,
    /// Texts without a vector yet; 0 without an embedder.
    pub pending: usize,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
}

/// A tool as the index holds it.
struct Held {
    digest: [u8; 32],
    slot: u32,
    name: String,
    texts: Vec<(TextKey, String)>,
}

/// Owns the lexical index and the vectors.
pub struct Indexer {
    lexical: LexicalWriter,
    /// What the last published index holds, by served name.
    held: BTreeMap<String, Held>,
    free_slots: Vec<u32>,
    slots: u32,
    dense: Option<DenseStore>,
}

/// The embedder and every vector known, live or spare.
struct DenseStore {
    embedder: Arc<dyn Embedder>,
    vectors: Vectors,
    cache: Option<VectorCache>,
    /// Found when the cache was opened; reported with the first update.
    warning: Option<Warning>,
}

impl Indexer {
    /// Words alone.
    pub fn lexical() -> Result<Self, IndexError> {
        Ok(Self { lexical: LexicalWriter::new()?, held: BTreeMap::new(), free_slots: Vec::new(), slots: 0, dense: None })
    }

    /// Words and meaning; vectors are kept in `cache_dir` when one is given.
    pub fn hybrid(embedder: Arc<dyn Embedder>, cache_dir: Option<&Path>) -> Result<Self, IndexError> {
        let cache = cache_dir.map(|folder| VectorCache::new(folder, embedder.id(), embedder.dimension()));
        let (vectors, warning) = cache.as_ref().map(VectorCache::load).unwrap_or_default();
        let dense = Some(DenseStore { embedder, vectors, cache, warning });
        Ok(Self { dense, ..Self::lexical()? })
    }

    /// Makes the index of exactly these tools. On an error the last index stays as it is.
    ///
    /// A failing embedder is a warning: the index is then lexical, wholly or in part.
    pub fn update(&mut self, tools: &[ToolDocument]) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        self.bring_up(tools, usize::MAX)
    }

    /// [`Indexer::update`] with the vectors that are known already; `pending` says how many texts are left.
    pub fn prepare(&mut self, tools: &[ToolDocument]) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        self.bring_up(tools, 0)
    }

    /// Embeds up to `limit` of the texts that are left.
    pub fn embed_pending(&mut self, limit: usize) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        let mut stats = UpdateStats { unchanged: self.held.len(), ..UpdateStats::default() };
        self.embed(limit, &mut stats);
        Ok((self.publish()?, stats))
    }

    fn bring_up(&mut self, tools: &[ToolDocument], embed_limit: usize) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        check(tools)?;
        let result = self.apply(tools).and_then(|mut stats| {
            self.embed(embed_limit, &mut stats);
            Ok((self.publish()?, stats))
        });
        if result.is_err() {
            // Half a change must not be published by the next update: that one starts from nothing. Vectors stay.
            self.lexical = LexicalWriter::new()?;
            self.held.clear();
            self.free_slots.clear();
            self.slots = 0;
        }
        result
    }

    /// Brings the lexical writer and `held` in line with `tools`.
    fn apply(&mut self, tools: &[ToolDocument]) -> Result<UpdateStats, IndexError> {
        let mut stats = UpdateStats::default();
        let mut free = self.free_slots.clone();
        let mut slots = self.slots;
        let wanted: HashSet<&str> = tools.iter().map(|tool| tool.id.as_str()).collect();
        let gone: Vec<String> = self.held.keys().filter(|id| !wanted.contains(id.as_str())).cloned().collect();
        for id in &gone {
            self.lexical.remove(id);
            free.extend(self.held.get(id).map(|held| held.slot));
        }
        let mut fresh = Vec::new();
        for tool in tools {
            let digest = tool.digest();
            let slot = match self.held.get(&tool.id) {
                Some(held) if held.digest == digest => {
                    stats.unchanged += 1;
                    continue;
                }
                Some(held) => {
                    stats.changed += 1;
                    self.lexical.remove(&tool.id);
                    held.slot
                }
                None => {
                    stats.added += 1;
                    free.pop().unwrap_or_else(|| {
                        slots += 1;
                        slots - 1
                    })
                }
            };
            self.lexical.add(slot, tool)?;
            fresh.push((tool.id.clone(), Held { digest, slot, name: tool.name.clone(), texts: self.texts(tool) }));
        }
        stats.removed = gone.len();
        gone.iter().for_each(|id| drop(self.held.remove(id)));
        self.held.extend(fresh);
        self.free_slots = free;
        self.slots = slots;
        Ok(stats)
    }

    /// The texts to embed, with their keys; none where nobody embeds.
    fn texts(&self, tool: &ToolDocument) -> Vec<(TextKey, String)> {
        if self.dense.is_none() {
            return Vec::new();
        }
        tool.embed_texts().into_iter().map(|text| (Sha256::digest(text.as_bytes()).into(), text)).collect()
    }

    /// Embeds at most `limit` missing texts, keeps them, and counts what is left.
    fn embed(&mut self, limit: usize, stats: &mut UpdateStats) {
        let Some(dense) = &mut self.dense else { return };
        stats.warnings.extend(dense.warning.take());
        let mut missing: BTreeMap<TextKey, &String> = BTreeMap::new();
        for (key, text) in self.held.values().flat_map(|held| &held.texts) {
            if !dense.vectors.contains_key(key) {
                missing.insert(*key, text);
            }
        }
        let missing: Vec<(TextKey, String)> = missing.into_iter().take(limit).map(|(key, text)| (key, text.clone())).collect();
        let live: HashSet<TextKey> = self.held.values().flat_map(|held| &held.texts).map(|(key, _)| *key).collect();
        let mut unsaved = 0;
        let mut failure = None;
        for batch in missing.chunks(BATCH) {
            let (kept, error) = dense.embed(batch);
            stats.embedded += kept;
            unsaved += kept;
            // A text that the model cannot take costs itself; an embedder that is gone or stuck ends the matter.
            let gone = matches!(error, Some(EmbedError::Busy { .. } | EmbedError::TimedOut { .. } | EmbedError::Stopped));
            failure = failure.or(error);
            if gone {
                break;
            }
            if unsaved >= CHECKPOINT {
                stats.warnings.extend(dense.save(&live));
                unsaved = 0;
            }
        }
        if unsaved > 0 {
            stats.warnings.extend(dense.save(&live));
        }
        dense.forget_spare(&live);
        stats.pending = live.iter().filter(|key| !dense.vectors.contains_key(*key)).count();
        stats.warnings.extend(failure.map(|error| Warning::NotEmbedded { pending: stats.pending, error }));
    }

    fn publish(&mut self) -> Result<Arc<ToolIndex>, IndexError> {
        let lexical = self.lexical.publish()?;
        let mut entries: Vec<Option<Arc<Entry>>> = vec![None; self.slots as usize];
        let mut names: HashMap<String, Vec<u32>> = HashMap::with_capacity(self.held.len() * 2);
        let mut rows = Vec::new();
        let mut embedded = 0;
        for (id, held) in &self.held {
            let vectors = self.dense.iter().flat_map(|dense| held.texts.iter().filter_map(|(key, _)| dense.vectors.get(key)));
            let before = rows.len();
            rows.extend(vectors.map(|vector| (held.slot, vector)));
            let has_vector = rows.len() > before;
            embedded += usize::from(has_vector);
            if let Some(entry) = entries.get_mut(held.slot as usize) {
                *entry = Some(Arc::new(Entry { id: id.clone(), embedded: has_vector }));
            }
            names.entry(id.to_lowercase()).or_default().insert(0, held.slot);
        }
        // Short names after all served ones, in the order of the served names.
        for (id, held) in self.held.iter().filter(|(id, held)| !held.name.eq_ignore_ascii_case(id)) {
            debug_assert!(names.contains_key(&id.to_lowercase()));
            names.entry(held.name.to_lowercase()).or_default().push(held.slot);
        }
        let dense = self.dense.as_ref().map(|dense| Dense {
            embedder: Arc::clone(&dense.embedder),
            table: VectorTable::pack(dense.embedder.dimension(), rows.iter().copied()),
            usable: embedded > 0 && embedded * 2 >= self.held.len(),
        });
        Ok(Arc::new(ToolIndex { lexical, dense, entries, names, tools: self.held.len() }))
    }
}

impl DenseStore {
    /// Embeds a batch; returns how many vectors were kept and the first error.
    fn embed(&mut self, batch: &[(TextKey, String)]) -> (usize, Option<EmbedError>) {
        let texts: Vec<String> = batch.iter().map(|(_, text)| text.clone()).collect();
        let vectors = match self.embedder.embed_documents(&texts) {
            Ok(vectors) if vectors.len() == batch.len() => vectors,
            Ok(vectors) => return (0, Some(EmbedError::BadCount { expected: batch.len(), found: vectors.len() })),
            Err(error) => return (0, Some(error)),
        };
        let mut kept = 0;
        let mut failure = None;
        for ((key, _), vector) in batch.iter().zip(vectors) {
            match Quantized::new(&vector, self.embedder.dimension()) {
                Ok(vector) => {
                    self.vectors.insert(*key, Arc::new(vector));
                    kept += 1;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        (kept, failure)
    }

    /// A server that runs for months over changing tools must not keep every text it has ever seen.
    fn forget_spare(&mut self, live: &HashSet<TextKey>) {
        if self.vectors.len() > live.len() + MAX_SPARE {
            self.vectors.retain(|key, _| live.contains(key));
        }
    }

    fn save(&self, live: &HashSet<TextKey>) -> Option<Warning> {
        self.cache.as_ref()?.save(&self.vectors, |key| live.contains(key))
    }
}

fn check(tools: &[ToolDocument]) -> Result<(), IndexError> {
    if tools.len() > MAX_TOOLS {
        return Err(IndexError::TooManyTools { found: tools.len(), limit: MAX_TOOLS });
    }
    let mut seen = HashSet::with_capacity(tools.len());
    for tool in tools {
        if tool.id.is_empty() || tool.id.len() > MAX_ID_BYTES {
            return Err(IndexError::BadId { found: tool.id.len(), limit: MAX_ID_BYTES });
        }
        if !seen.insert(tool.id.as_str()) {
            return Err(IndexError::DuplicateTool { id: tool.id.clone() });
        }
    }
    Ok(())
}
