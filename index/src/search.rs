//! The immutable index: exact names first, then words and meaning fused.
//!
//! A search never fails and never waits long: when the encoder does not answer, words alone do, and the answer says so.

use std::collections::HashMap;
use std::sync::Arc;

use crate::among::{Among, Gate};
use crate::cache::TextKey;
use crate::clauses::clauses;
use crate::document::{clean, clip};
use crate::embed::{EmbedError, Embedder};
use crate::fusion::{Candidate, DEPTH, Fused, Ranked, dense_weight, fuse, lexical_only};
use crate::learned::Lessons;
use crate::lexical::LexicalView;
use crate::shared::{Chunked, Multimap};
use crate::vectors::{Quantized, VectorTable};

/// Bytes of a request that are read.
const MAX_QUERY_BYTES: usize = 4096;
/// Most hits an answer holds.
const MAX_HITS: usize = 1000;
/// How much nearer the best tool must be to a request without a single word of the catalog: what that shares with anything may be chance.
const WORDLESS: f32 = 2.0;
/// The whole request's share when it was taken apart; the best clause has the rest.
const WHOLE_SHARE: f32 = 0.6;

/// A request in plain words, or a tool's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The words; the first 4 KiB are read.
    pub text: String,
    /// Most hits wanted, at most 1000.
    pub limit: usize,
}

impl Query {
    /// The ten best tools for `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), limit: 10 }
    }

    /// Another number of hits.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A tool that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The served name.
    pub id: String,
    /// 0 to 1, relative to the other hits of the same answer; 1 for an exact name.
    pub score: f32,
    /// Raw lexical score of the whole request, if the tool was among the best by words.
    pub lexical: Option<f32>,
    /// Cosine of the whole request, if the tool was among the best by meaning.
    pub dense: Option<f32>,
    /// The request was, or contained, this tool's name.
    pub exact: bool,
}

/// How an index finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// By words alone: there is no embedder, or it has not seen most tools yet.
    Lexical,
    /// By words and meaning.
    Hybrid {
        /// The embedder's id.
        embedder: String,
    },
}

/// The hits, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How they were found: lexical in a hybrid index when the embedder failed.
    pub mode: Mode,
    /// Why this answer is less than the index can do.
    pub degraded: Option<EmbedError>,
}

/// A tool in the index, as far as answers and later updates need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    /// The served name.
    pub(crate) id: String,
    /// The tool's own name.
    pub(crate) name: String,
    /// Digest of its contents.
    pub(crate) digest: [u8; 32],
    /// The texts that its vectors stand for.
    pub(crate) texts: Vec<TextKey>,
}

/// A tool under one of its names: served names before short ones, then in the order of the served names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    short: bool,
    entry: Arc<Entry>,
}

impl Named {
    /// A tool's names, in lower case.
    pub(crate) fn all(entry: &Arc<Entry>) -> impl Iterator<Item = (String, Self)> {
        let served = Some((entry.id.to_lowercase(), Self { short: false, entry: Arc::clone(entry) }));
        let short = (!entry.name.eq_ignore_ascii_case(&entry.id))
            .then(|| (entry.name.to_lowercase(), Self { short: true, entry: Arc::clone(entry) }));
        served.into_iter().chain(short)
    }

    /// Names are kept by hash: is it this one?
    fn is(&self, name: &str) -> bool {
        let own = if self.short { &self.entry.name } else { &self.entry.id };
        own.to_lowercase() == name
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.short.cmp(&other.short).then_with(|| self.entry.id.cmp(&other.entry.id))
    }
}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The dense half of a snapshot.
pub(crate) struct Dense {
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) table: VectorTable,
    /// Most tools have a vector; below that, cosines would only tell old tools from new ones.
    pub(crate) usable: bool,
}

/// One state of the catalog, for any number of threads. Made by [`crate::Indexer`].
pub struct ToolIndex {
    /// Tells this snapshot from every other of the process.
    pub(crate) number: u64,
    pub(crate) lexical: LexicalView,
    pub(crate) dense: Option<Dense>,
    /// By slot; free slots are empty.
    pub(crate) entries: Chunked<Option<Arc<Entry>>>,
    /// By lower-case served and short names.
    pub(crate) names: Multimap<Named>,
    pub(crate) tools: usize,
}

impl std::fmt::Debug for ToolIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolIndex").field("tools", &self.tools).field("mode", &self.mode()).finish_non_exhaustive()
    }
}

impl ToolIndex {
    /// The best tools among those that `accept` lets through (by served name), best first.
    ///
    /// `accept` is asked before the lists are cut: a refused tool neither appears nor takes a place.
    pub fn search(&self, query: &Query, accept: &dyn Fn(&str) -> bool) -> Vec<Hit> {
        self.answer(query, accept).hits
    }

    /// [`ToolIndex::search`], with how the hits were found.
    pub fn answer(&self, query: &Query, accept: &dyn Fn(&str) -> bool) -> Answer {
        self.answer_with(query, accept, &Lessons::default())
    }

    /// [`ToolIndex::answer`], with what accepted calls taught.
    pub fn answer_with(&self, query: &Query, accept: &dyn Fn(&str) -> bool, lessons: &Lessons) -> Answer {
        self.answer_among(query, Among::Asked(accept), lessons)
    }

    /// [`ToolIndex::answer_with`], among tools that need not be asked about one by one.
    pub fn answer_among(&self, query: &Query, among: Among<'_>, lessons: &Lessons) -> Answer {
        let text = clean(clip(&query.text, MAX_QUERY_BYTES));
        let limit = query.limit.min(MAX_HITS);
        let gate = Gate::new(self, among);
        let (scored, degraded) = self.candidates(&text, limit.max(DEPTH), &gate, lessons);
        let mut hits = self.exact_hits(&text, &scored, &gate);
        hits.truncate(limit);
        let named: Vec<u32> = hits.iter().map(|(slot, _)| *slot).collect();
        let mut rest: Vec<(u32, Candidate)> = scored.into_iter().filter(|(slot, _)| !named.contains(slot)).collect();
        let wanted = limit - hits.len();
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted, |a, b| self.best_first(a, b));
            rest.truncate(wanted);
        }
        rest.sort_unstable_by(|a, b| self.best_first(a, b));
        hits.extend(rest.into_iter().filter_map(|(slot, found)| self.hit(slot, found)));
        let mode = if degraded.is_some() { Mode::Lexical } else { self.mode() };
        Answer { hits: hits.into_iter().map(|(_, hit)| hit).collect(), mode, degraded }
    }

    /// How this index finds.
    pub fn mode(&self) -> Mode {
        match self.usable_dense() {
            Some(dense) => Mode::Hybrid { embedder: dense.embedder.id().to_owned() },
            None => Mode::Lexical,
        }
    }

    /// Number of tools.
    pub fn len(&self) -> usize {
        self.tools
    }

    /// Id and dimension of what measures meaning here.
    pub fn embedder(&self) -> Option<(&str, usize)> {
        self.usable_dense().map(|dense| (dense.embedder.id(), dense.embedder.dimension()))
    }

    /// The vector of a request and the id of what made it, for learning; `None` without an embedder or where it failed.
    pub fn request_vector(&self, text: &str) -> Option<(String, Quantized)> {
        let dense = self.usable_dense()?;
        let vector = dense.embedder.embed_query(&clean(clip(text, MAX_QUERY_BYTES))).ok()?;
        Some((dense.embedder.id().to_owned(), Quantized::new(&vector, dense.embedder.dimension()).ok()?))
    }

    /// The place of a served name.
    pub(crate) fn slot(&self, id: &str) -> Option<u32> {
        self.names.get(&id.to_lowercase()).iter().find(|named| named.entry.id == id).map(|named| named.entry.slot)
    }

    /// No tool at all.
    pub fn is_empty(&self) -> bool {
        self.tools == 0
    }

    fn usable_dense(&self) -> Option<&Dense> {
        self.dense.as_ref().filter(|dense| dense.usable)
    }

    /// Scores of the whole request, lifted by the best clause where there are several.
    fn candidates(
        &self,
        text: &str,
        depth: usize,
        gate: &Gate<'_>,
        lessons: &Lessons,
    ) -> (HashMap<u32, Candidate>, Option<EmbedError>) {
        let clauses = clauses(text);
        let texts: Vec<&str> = std::iter::once(text).chain(clauses.iter().map(String::as_str)).collect();
        let (by_meaning, degraded) = match self.by_meaning(&texts, depth, gate, lessons) {
            Ok(lists) => (lists, None),
            Err(error) => (None, Some(error)),
        };
        let mut by_words = self.by_words(&texts, depth, gate).into_iter();
        let has_vector = |slot: u32| self.usable_dense().is_some_and(|dense| dense.table.has(slot));
        let floor = self.usable_dense().map_or(f32::NEG_INFINITY, |dense| dense.embedder.floor());
        let mut scored = (0..texts.len()).map(|at| {
            let lexical = by_words.next().unwrap_or_default();
            match by_meaning.as_ref().and_then(|lists| lists.get(at)) {
                Some(dense) => {
                    let near = |(_, cosine): &(u32, f32)| *cosine >= WORDLESS * floor;
                    if lexical.is_empty() && !dense.first().is_some_and(near) {
                        return Fused::default();
                    }
                    fuse(&lexical, dense, dense_weight(self.tools) + lessons.share_gained(), floor, has_vector)
                }
                None => lexical_only(&lexical),
            }
        });
        let whole = scored.next().unwrap_or_default();
        let fused = if clauses.is_empty() { whole } else { lift(whole, scored) };
        (relative(fused), degraded)
    }

    fn by_words(&self, texts: &[&str], depth: usize, gate: &Gate<'_>) -> Vec<Ranked> {
        let found = self.lexical.top(texts, depth, &mut |slot| gate.accepts(slot));
        // An index in memory has nothing left to fail with; if it does, the tools are still found by meaning and name.
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "the lexical index failed");
            Vec::new()
        })
    }

    /// The nearest tools of each text; nothing without an embedder or without words.
    fn by_meaning(
        &self,
        texts: &[&str],
        depth: usize,
        gate: &Gate<'_>,
        lessons: &Lessons,
    ) -> Result<Option<Vec<Ranked>>, EmbedError> {
        let Some(dense) = self.usable_dense() else { return Ok(None) };
        if texts.first().is_none_or(|text| text.trim().is_empty()) {
            return Ok(None);
        }
        // One failure is enough: the clauses must not each wait for an embedder that is gone.
        let embed = |text: &&str| Quantized::new(&dense.embedder.embed_query(text)?, dense.embedder.dimension());
        let vectors = texts.iter().map(embed).collect::<Result<Vec<_>, EmbedError>>()?;
        let queries: Vec<&Quantized> = vectors.iter().collect();
        let mut lists = dense.table.nearest(&queries, depth, &mut |slot| gate.accepts(slot));
        for (query, list) in queries.iter().zip(&mut lists) {
            lessons.lift(query, list, depth, &dense.table, &mut |slot| gate.accepts(slot));
        }
        Ok(Some(lists))
    }

    /// Tools whose name is the whole request, then those whose served name is one of its words.
    fn exact_hits(&self, text: &str, scored: &HashMap<u32, Candidate>, gate: &Gate<'_>) -> Vec<(u32, Hit)> {
        let whole = bare_name(text).to_lowercase();
        let served = text.split_whitespace().map(|word| bare_name(word).to_lowercase()).filter(|word| word.contains("__"));
        let mut exact: Vec<(u32, Hit)> = Vec::new();
        for name in std::iter::once(whole).chain(served) {
            for slot in self.names.get(&name).iter().filter(|named| named.is(&name)).map(|named| named.entry.slot) {
                if exact.iter().all(|(taken, _)| *taken != slot)
                    && gate.accepts(slot)
                    && let Some((slot, hit)) = self.hit(slot, scored.get(&slot).copied().unwrap_or_default())
                {
                    exact.push((slot, Hit { score: 1.0, exact: true, ..hit }));
                }
            }
        }
        exact
    }

    fn entry(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// By fused score, then by what lies beyond the depth of fusion, then by name: the same question has one answer.
    fn best_first(&self, a: &(u32, Candidate), b: &(u32, Candidate)) -> std::cmp::Ordering {
        let raw = |score: Option<f32>| score.unwrap_or(f32::NEG_INFINITY);
        let name = |slot: u32| self.entry(slot).map(|entry| entry.id.as_str());
        let ((slot, a), (other, b)) = (a, b);
        b.score
            .total_cmp(&a.score)
            .then_with(|| raw(b.lexical).total_cmp(&raw(a.lexical)))
            .then_with(|| raw(b.dense).total_cmp(&raw(a.dense)))
            .then_with(|| name(*slot).cmp(&name(*other)))
    }

    fn hit(&self, slot: u32, found: Candidate) -> Option<(u32, Hit)> {
        let id = self.entry(slot)?.id.clone();
        Some((slot, Hit { id, score: found.score, lexical: found.lexical, dense: found.dense, exact: false }))
    }
}

/// The whole request's scores and those of its best clause, each with its share.
fn lift(whole: Fused, clauses: impl Iterator<Item = Fused>) -> Fused {
    let Fused { candidates: mut lifted, mut top } = whole;
    let mut best: HashMap<u32, f32> = HashMap::new();
    let mut best_top = 0f32;
    for clause in clauses {
        best_top = best_top.max(clause.top);
        for (slot, candidate) in clause.candidates {
            let entry = best.entry(slot).or_default();
            *entry = entry.max(candidate.score);
        }
    }
    for candidate in lifted.values_mut() {
        candidate.score *= WHOLE_SHARE;
    }
    for (slot, score) in best {
        lifted.entry(slot).or_default().score += (1.0 - WHOLE_SHARE) * score;
    }
    top = WHOLE_SHARE * top + (1.0 - WHOLE_SHARE) * best_top;
    Fused { candidates: lifted, top }
}

/// Scores from 0 to 1: 1 is what is first by words, by meaning, and in a clause.
fn relative(fused: Fused) -> HashMap<u32, Candidate> {
    let share = if fused.top > 0.0 { 1.0 / fused.top } else { 0.0 };
    let mut candidates = fused.candidates;
    candidates.values_mut().for_each(|candidate| candidate.score = (candidate.score * share).clamp(0.0, 1.0));
    candidates
}

/// A name without the quotes, backticks and punctuation people put around it.
fn bare_name(text: &str) -> &str {
    text.trim().trim_matches(|c: char| c.is_whitespace() || "\"'`.,;:!?()[]{}<>".contains(c))
}
