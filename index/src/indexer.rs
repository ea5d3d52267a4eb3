//! The one writer: compares a catalog with what it holds, changes only what differs, and makes a new [`ToolIndex`].
//!
//! Blocking; called off the request path. [`Indexer::update`] does all; where a first embedding takes minutes, a caller
//! publishes [`Indexer::prepare`] at once and then what [`Indexer::embed_pending`] returns.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::cache::{CacheProblem, MAX_SPARE, TextKey, VectorCache, Vectors};
use crate::document::ToolDocument;
use crate::embed::{EmbedError, Embedder};
use crate::error::{IndexError, Warning};
use crate::kept::{Keep, Kept, KeptFile};
use crate::lexical::LexicalWriter;
use crate::search::{Dense, Entry, Named, ToolIndex};
use crate::shared::{Chunked, Multimap};
use crate::vectors::{BLOCK_SLOTS, NewRow, Quantized, VectorTable};

pub(crate) const MAX_TOOLS: usize = 1_000_000;
const MAX_ID_BYTES: usize = 512;
/// Texts given to the embedder at once; what is done is kept when a later batch fails.
const BATCH: usize = 256;
/// New vectors between two writes of the cache: a kill costs at most this much work.
const CHECKPOINT: usize = 2048;

/// Snapshots of this process, of all indexers.
static PUBLISHED: AtomicU64 = AtomicU64::new(0);

/// The whole index is written when one tool in this many has changed since: a start brings up the others.
const KEEP_SHARE: usize = 50;

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

/// A tool of the last published index, found by its served name.
struct ById(Arc<Entry>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}

/// Owns the lexical index and the vectors. What it publishes shares all that did not change with what it published before.
pub struct Indexer {
    lexical: LexicalWriter,
    held: HashSet<ById>,
    entries: Chunked<Option<Arc<Entry>>>,
    names: Multimap<Named>,
    free_slots: Vec<u32>,
    slots: u32,
    dense: Option<DenseStore>,
    kept: Option<KeptFile>,
    /// Tools that differ from what is kept on disk.
    unkept: usize,
    /// Found when something was read; reported with the next update.
    warnings: Vec<Warning>,
}

/// The embedder and every vector known, live or spare.
struct DenseStore {
    embedder: Arc<dyn Embedder>,
    /// Those of tools that are served.
    table: VectorTable,
    /// Those of texts that were served before, or are known from disk.
    spare: Vectors,
    /// Texts of served tools without a vector, and the slots they belong to.
    missing: BTreeMap<TextKey, Missing>,
    /// Blocks whose vectors are no longer those of their tools.
    stale: BTreeSet<usize>,
    cache: Option<VectorCache>,
}

#[derive(Default)]
struct Missing {
    text: String,
    slots: Vec<u32>,
}

/// A tool with other contents than before, their digest, and the tool as it was.
type Fresh<'t> = (&'t ToolDocument, [u8; 32], Option<Arc<Entry>>);

/// What an update will do, found before anything is changed.
#[derive(Default)]
struct Plan<'t> {
    fresh: Vec<Fresh<'t>>,
    gone: Vec<Arc<Entry>>,
    unchanged: usize,
}

impl Indexer {
    /// Words alone.
    pub fn lexical() -> Result<Self, IndexError> {
        Ok(Self {
            lexical: LexicalWriter::new()?,
            held: HashSet::new(),
            entries: Chunked::default(),
            names: Multimap::default(),
            free_slots: Vec::new(),
            slots: 0,
            dense: None,
            kept: None,
            unkept: 0,
            warnings: Vec::new(),
        })
    }

    /// Words and meaning; vectors are kept by content in `cache_dir` when one is given.
    pub fn hybrid(embedder: Arc<dyn Embedder>, cache_dir: Option<&Path>) -> Result<Self, IndexError> {
        let cache = cache_dir.map(|folder| VectorCache::new(folder, embedder.id(), embedder.dimension()));
        let (spare, warning) = cache.as_ref().map(VectorCache::load).unwrap_or_default();
        let table = VectorTable::new(embedder.dimension(), embedder.even());
        let dense = DenseStore { embedder, table, spare, missing: BTreeMap::new(), stale: BTreeSet::new(), cache };
        Ok(Self { dense: Some(dense), warnings: warning.into_iter().collect(), ..Self::lexical()? })
    }

    /// Reads the whole index of `catalogue` from `folder`, where [`Indexer::keep`] has left one, and will keep it there.
    /// The catalogue's name says which tools are served; the same name under another model is another index.
    #[must_use]
    pub fn kept_in(mut self, folder: &Path, catalogue: &str) -> Self {
        let (model, dimension) = self.dense.as_ref().map_or(("", 0), |dense| (dense.embedder.id(), dense.embedder.dimension()));
        let file = KeptFile::new(folder, catalogue, model, dimension);
        let (kept, warning) = file.load();
        self.warnings.extend(warning);
        if kept.is_some_and(|kept| self.restore(kept).is_err()) {
            self.warnings.push(file.ignored(CacheProblem::Damaged("the lexical engine refused its files")));
            self.forget();
        }
        self.kept = Some(file);
        self
    }

    /// The index as it was kept, compared with nothing yet: what can answer until the first [`Indexer::update`] is done. `None` where
    /// nothing was kept.
    pub fn as_kept(&mut self) -> Option<Arc<ToolIndex>> {
        if self.held.is_empty() { None } else { self.publish().ok() }
    }

    /// The whole index, to be written to where [`Indexer::kept_in`] reads it; nothing where too little has changed since.
    pub fn keep(&mut self) -> Option<Keep> {
        let file = self.kept.clone()?;
        if self.unkept == 0 || self.unkept * KEEP_SHARE < self.held.len() {
            return None;
        }
        let engine = match self.lexical.files() {
            Ok(engine) => engine,
            Err(error) => {
                self.warnings.push(file.ignored(CacheProblem::Unreadable(error.to_string())));
                return None;
            }
        };
        self.unkept = 0;
        let mut entries: Vec<Arc<Entry>> = self.held.iter().map(|held| Arc::clone(&held.0)).collect();
        entries.sort_by_key(|entry| entry.slot);
        Some(Keep { file, entries, rows: self.dense.as_ref().map(|dense| dense.table.clone()), engine })
    }

    /// Makes the index of exactly these tools. On an error the last index stays as it is.
    ///
    /// A failing embedder is a warning: the index is then lexical, wholly or in part.
    pub fn update(&mut self, tools: &[ToolDocument]) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        self.bring_up(|held| Plan::of_all(held, tools), usize::MAX)
    }

    /// [`Indexer::update`] with the vectors that are known already; `pending` says how many texts are left.
    pub fn prepare(&mut self, tools: &[ToolDocument]) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        self.bring_up(|held| Plan::of_all(held, tools), 0)
    }

    /// Puts `put` in and takes `removed` out, by served name, and leaves the rest as it is: what a caller that knows what
    /// changed need not pay for. At most `embed` of the texts that lack a vector are embedded.
    pub fn change(
        &mut self,
        put: &[ToolDocument],
        removed: &[&str],
        embed: usize,
    ) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        self.bring_up(|held| Plan::of_change(held, put, removed), embed)
    }

    /// Embeds up to `limit` of the texts that are left.
    pub fn embed_pending(&mut self, limit: usize) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        let mut stats = UpdateStats { unchanged: self.held.len(), ..UpdateStats::default() };
        self.embed(limit, &mut stats);
        Ok((self.publish()?, stats))
    }

    fn bring_up<'t>(
        &mut self,
        plan: impl FnOnce(&HashSet<ById>) -> Result<Plan<'t>, IndexError>,
        embed_limit: usize,
    ) -> Result<(Arc<ToolIndex>, UpdateStats), IndexError> {
        let plan = plan(&self.held)?;
        let result = self.apply(plan).and_then(|mut stats| {
            self.embed(embed_limit, &mut stats);
            Ok((self.publish()?, stats))
        });
        if result.is_err() {
            // Half a change must not be published by the next update: that one starts from nothing.
            self.forget();
            self.lexical = LexicalWriter::new()?;
        }
        result
    }

    /// No tools; their vectors stay, as spare ones.
    fn forget(&mut self) {
        if let Some(dense) = &mut self.dense {
            dense.spare.extend(dense.table.rows().map(|(_, key, row)| (key, row)));
            dense.table = VectorTable::new(dense.embedder.dimension(), dense.embedder.even());
            dense.missing.clear();
            dense.stale.clear();
        }
        self.held.clear();
        self.entries = Chunked::default();
        self.names = Multimap::default();
        self.free_slots.clear();
        self.slots = 0;
        self.unkept = 1;
    }

    /// Takes what was kept for the last published index. Slots must be the engine's: they are compared.
    fn restore(&mut self, kept: Kept) -> Result<(), IndexError> {
        let mut lexical = LexicalWriter::restore(kept.engine)?;
        let found = lexical.publish()?.slots();
        if found.len() != kept.entries.len() || !kept.entries.iter().zip(&found).all(|(entry, slot)| entry.slot == *slot) {
            return Err(IndexError::TooManyTools { found: found.len(), limit: kept.entries.len() });
        }
        self.lexical = lexical;
        for entry in kept.entries {
            while self.slots < entry.slot {
                self.free_slots.push(self.slots);
                self.slots += 1;
            }
            self.slots = self.slots.max(entry.slot.saturating_add(1));
            self.hold(Arc::new(entry));
        }
        if let Some(dense) = &mut self.dense {
            dense.table = VectorTable::pack_keyed(dense.embedder.dimension(), dense.embedder.even(), &kept.rows);
        }
        Ok(())
    }

    fn hold(&mut self, entry: Arc<Entry>) {
        self.entries.set(entry.slot as usize, Some(Arc::clone(&entry)));
        for (name, named) in Named::all(&entry) {
            self.names.insert(&name, named);
        }
        self.held.replace(ById(entry));
    }

    fn drop_entry(&mut self, entry: &Arc<Entry>) {
        self.lexical.remove(&entry.id);
        self.entries.set(entry.slot as usize, None);
        for (name, named) in Named::all(entry) {
            self.names.remove(&name, &named);
        }
        self.held.remove(entry.id.as_str());
        if let Some(dense) = &mut self.dense {
            dense.set_aside(entry);
        }
    }

    /// Brings the lexical writer and everything held in line with the plan.
    fn apply(&mut self, plan: Plan<'_>) -> Result<UpdateStats, IndexError> {
        let mut stats = UpdateStats { unchanged: plan.unchanged, removed: plan.gone.len(), ..UpdateStats::default() };
        self.unkept += plan.gone.len() + plan.fresh.len();
        for entry in &plan.gone {
            self.drop_entry(entry);
            self.free_slots.push(entry.slot);
        }
        for (tool, digest, before) in plan.fresh {
            let slot = match before {
                Some(before) => {
                    stats.changed += 1;
                    self.drop_entry(&before);
                    before.slot
                }
                None => {
                    stats.added += 1;
                    self.free_slots.pop().unwrap_or_else(|| {
                        self.slots += 1;
                        self.slots - 1
                    })
                }
            };
            self.lexical.add(slot, tool)?;
            let texts = self.dense.as_mut().map(|dense| dense.expect(slot, tool)).unwrap_or_default();
            self.hold(Arc::new(Entry { slot, id: tool.id.clone(), name: tool.name.clone(), digest, texts }));
        }
        Ok(stats)
    }

    /// Embeds at most `limit` missing texts, keeps them, and counts what is left.
    fn embed(&mut self, limit: usize, stats: &mut UpdateStats) {
        stats.warnings.append(&mut self.warnings);
        let Some(dense) = &mut self.dense else { return };
        let missing: Vec<(TextKey, String)> =
            dense.missing.iter().take(limit).map(|(key, missing)| (*key, missing.text.clone())).collect();
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
                dense.settle(&self.entries);
                stats.warnings.extend(dense.save());
                unsaved = 0;
            }
        }
        dense.settle(&self.entries);
        if unsaved > 0 {
            stats.warnings.extend(dense.save());
        }
        dense.forget_spare();
        self.unkept += stats.embedded;
        stats.pending = dense.missing.len();
        stats.warnings.extend(failure.map(|error| Warning::NotEmbedded { pending: stats.pending, error }));
    }

    fn publish(&mut self) -> Result<Arc<ToolIndex>, IndexError> {
        let lexical = self.lexical.publish()?;
        let dense = self.dense.as_ref().map(|dense| {
            let embedded = dense.table.slots();
            Dense {
                embedder: Arc::clone(&dense.embedder),
                table: dense.table.clone(),
                usable: embedded > 0 && embedded * 2 >= self.held.len(),
            }
        });
        let (entries, names) = (self.entries.clone(), self.names.clone());
        let number = PUBLISHED.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(ToolIndex { number, lexical, dense, entries, names, tools: self.held.len() }))
    }
}

impl<'t> Plan<'t> {
    /// Exactly these tools.
    fn of_all(held: &HashSet<ById>, tools: &'t [ToolDocument]) -> Result<Self, IndexError> {
        let mut plan = Self::default();
        let mut seen: HashSet<&str> = HashSet::with_capacity(tools.len());
        let mut kept = 0;
        if tools.len() > MAX_TOOLS {
            return Err(IndexError::TooManyTools { found: tools.len(), limit: MAX_TOOLS });
        }
        for tool in tools {
            if !seen.insert(tool.id.as_str()) {
                return Err(IndexError::DuplicateTool { id: tool.id.clone() });
            }
            kept += usize::from(plan.put(held, tool)?);
        }
        if kept < held.len() {
            plan.gone = held.iter().filter(|held| !seen.contains(held.0.id.as_str())).map(|held| Arc::clone(&held.0)).collect();
            plan.gone.sort_by_key(|entry| entry.slot);
        }
        Ok(plan)
    }

    /// These tools besides those that are there.
    fn of_change(held: &HashSet<ById>, put: &'t [ToolDocument], removed: &[&str]) -> Result<Self, IndexError> {
        let mut plan = Self::default();
        let mut seen: HashSet<&str> = removed.iter().copied().collect();
        plan.gone = seen.iter().filter_map(|id| held.get(*id)).map(|held| Arc::clone(&held.0)).collect();
        plan.gone.sort_by_key(|entry| entry.slot);
        for tool in put {
            if !seen.insert(tool.id.as_str()) {
                return Err(IndexError::DuplicateTool { id: tool.id.clone() });
            }
            plan.put(held, tool)?;
        }
        let after = held.len() + put.len();
        if after > MAX_TOOLS {
            return Err(IndexError::TooManyTools { found: after, limit: MAX_TOOLS });
        }
        plan.unchanged = held.len() - plan.gone.len() - plan.fresh.iter().filter(|(_, _, before)| before.is_some()).count();
        Ok(plan)
    }

    /// Returns whether a tool of this name was there before.
    fn put(&mut self, held: &HashSet<ById>, tool: &'t ToolDocument) -> Result<bool, IndexError> {
        if tool.id.is_empty() || tool.id.len() > MAX_ID_BYTES {
            return Err(IndexError::BadId { found: tool.id.len(), limit: MAX_ID_BYTES });
        }
        let digest = tool.digest();
        let before = held.get(tool.id.as_str()).map(|held| Arc::clone(&held.0));
        let there = before.is_some();
        if before.as_ref().is_some_and(|before| before.digest == digest) {
            self.unchanged += 1;
        } else {
            self.fresh.push((tool, digest, before));
        }
        Ok(there)
    }
}

impl DenseStore {
    /// The vectors of a tool that goes, or changes, are spare from now on.
    fn set_aside(&mut self, entry: &Entry) {
        for key in &entry.texts {
            if let Some(row) = self.table.find(entry.slot, key) {
                self.spare.insert(*key, row);
            } else if let Some(missing) = self.missing.get_mut(key) {
                missing.slots.retain(|slot| *slot != entry.slot);
                if missing.slots.is_empty() {
                    self.missing.remove(key);
                }
            }
        }
        self.stale.insert(entry.slot as usize / BLOCK_SLOTS);
    }

    /// The keys of a tool's texts; those without a vector are noted as missing.
    fn expect(&mut self, slot: u32, tool: &ToolDocument) -> Vec<TextKey> {
        self.stale.insert(slot as usize / BLOCK_SLOTS);
        let mut keys = Vec::new();
        for text in tool.embed_texts() {
            let key: TextKey = Sha256::digest(text.as_bytes()).into();
            if keys.contains(&key) {
                continue;
            }
            if !self.spare.contains_key(&key) {
                let missing = self.missing.entry(key).or_default();
                missing.text = text;
                missing.slots.push(slot);
            }
            keys.push(key);
        }
        keys
    }

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
                    self.spare.insert(*key, Arc::new(vector));
                    let slots = self.missing.remove(key).map(|missing| missing.slots).unwrap_or_default();
                    self.stale.extend(slots.iter().map(|slot| *slot as usize / BLOCK_SLOTS));
                    kept += 1;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        (kept, failure)
    }

    /// Brings the blocks in line with their tools. What the table has then is no longer spare.
    fn settle(&mut self, entries: &Chunked<Option<Arc<Entry>>>) {
        let mut used: Vec<TextKey> = Vec::new();
        for block in std::mem::take(&mut self.stale) {
            let slots = block * BLOCK_SLOTS..(block + 1) * BLOCK_SLOTS;
            let tools = slots.filter_map(|slot| entries.get(slot)?.as_ref());
            let rows: Vec<NewRow> = tools
                .flat_map(|entry| entry.texts.iter().map(move |key| (entry.slot, key)))
                .filter_map(|(slot, key)| {
                    let spare = self.spare.get(key).cloned().inspect(|_| used.push(*key));
                    Some((slot, *key, spare.or_else(|| self.table.find(slot, key))?))
                })
                .collect();
            self.table.replace(block, rows.into_iter());
        }
        used.iter().for_each(|key| drop(self.spare.remove(key)));
    }

    /// A server that runs for months over changing tools must not keep every text it has ever seen.
    fn forget_spare(&mut self) {
        if self.spare.len() > MAX_SPARE {
            let surplus: Vec<TextKey> = self.spare.keys().take(self.spare.len() - MAX_SPARE).copied().collect();
            surplus.iter().for_each(|key| drop(self.spare.remove(key)));
        }
    }

    fn save(&self) -> Option<Warning> {
        let cache = self.cache.as_ref()?;
        let mut vectors: Vectors = self.table.rows().map(|(_, key, row)| (key, row)).collect();
        let live: HashSet<TextKey> = vectors.keys().copied().collect();
        vectors.extend(self.spare.iter().map(|(key, row)| (*key, Arc::clone(row))));
        cache.save(&vectors, |key| live.contains(key))
    }
}
