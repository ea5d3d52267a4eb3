//! The words' side, as it is searched: the postings of a request's words, added up tool by tool.
//!
//! BM25 over three fields: everything a tool says (weight 1), its name (1) and its description (.3) once more. All three use the
//! idf of the catch-all field, for a word that is rare among names only ("get" in a catalogue of nouns) is not rare. Word by
//! word into one array of scores, and each word of a request and its clauses looked up once. Nothing here writes.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::index::{InvertedIndexReader, SegmentId};
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;
use tantivy::{Searcher, SegmentReader, Term};

use crate::analysis::terms;
use crate::fusion::Ranked;
use crate::lexical::Fields;

/// Distinct words of a request that are looked up: the cost of a search must not be the asker's to choose.
const MAX_QUERY_TERMS: usize = 48;
/// Everything, name, description.
const WEIGHTS: [f32; FIELDS] = [1.0, 1.0, 0.3];
const FIELDS: usize = 3;
/// BM25: how soon a word that comes again counts no more, and how much longer texts count less.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// Lengths are kept in this many classes.
const LENGTHS: usize = 256;

impl Fields {
    fn searched(&self) -> [tantivy::schema::Field; FIELDS] {
        [self.body, self.name, self.description]
    }
}

/// What of a segment never changes.
pub(crate) struct Segment {
    /// Document number → slot.
    slots: Vec<u32>,
    /// Document number → class of length, by field.
    lengths: [Vec<u8>; FIELDS],
}

impl Segment {
    pub(crate) fn read(reader: &SegmentReader, fields: &Fields, slots: Vec<u32>) -> tantivy::Result<Self> {
        let mut lengths = [const { Vec::new() }; FIELDS];
        for (lengths, field) in lengths.iter_mut().zip(fields.searched()) {
            let norms = reader.get_fieldnorms_reader(field)?;
            *lengths = (0..reader.max_doc()).map(|document| norms.fieldnorm_id(document)).collect();
        }
        Ok(Self { slots, lengths })
    }
}

/// A segment of one view.
struct Part {
    fixed: Arc<Segment>,
    reader: SegmentReader,
    postings: [Arc<InvertedIndexReader>; FIELDS],
}

/// One state of the index, for any number of threads.
pub struct LexicalView {
    fields: Fields,
    parts: Vec<Part>,
    documents: u64,
    /// By field and class of length: what is added to a word's count below the fraction.
    damping: [[f32; LENGTHS]; FIELDS],
}

/// A word of a request.
struct Word {
    idf: f32,
    /// By segment and field.
    found: Vec<[Option<TermInfo>; FIELDS]>,
}

impl LexicalView {
    pub(crate) fn new(fields: Fields, searcher: &Searcher, known: &HashMap<SegmentId, Arc<Segment>>) -> tantivy::Result<Self> {
        let mut parts = Vec::with_capacity(known.len());
        let mut documents = 0;
        let mut tokens = [0; FIELDS];
        for reader in searcher.segment_readers() {
            let Some(fixed) = known.get(&reader.segment_id()) else { continue };
            let [body, name, description] = fields.searched();
            let postings = [reader.inverted_index(body)?, reader.inverted_index(name)?, reader.inverted_index(description)?];
            for (tokens, postings) in tokens.iter_mut().zip(&postings) {
                *tokens += postings.total_num_tokens();
            }
            // Deleted ones included, as in the number of documents with a word.
            documents += u64::from(reader.max_doc());
            parts.push(Part { fixed: Arc::clone(fixed), reader: reader.clone(), postings });
        }
        let damping = tokens.map(|tokens| damping(tokens as f32 / documents.max(1) as f32));
        Ok(Self { fields, parts, documents, damping })
    }

    /// For each text the best `depth` tools for its words among those that `accept` lets through, best first.
    ///
    /// `accept` is asked before a tool takes a place, so a refused one neither shows up nor pushes another out.
    pub fn top(&self, texts: &[&str], depth: usize, accept: &mut dyn FnMut(u32) -> bool) -> tantivy::Result<Vec<Ranked>> {
        let mut words = Words { view: self, known: HashMap::new() };
        let texts: Vec<Vec<Arc<Word>>> = texts.iter().map(|text| words.of(text)).collect::<Result<_, _>>()?;
        let most = self.parts.iter().map(|part| part.fixed.slots.len()).max().unwrap_or_default();
        let mut scores = vec![0f32; most];
        let mut lists = Vec::with_capacity(texts.len());
        for words in texts {
            let mut best = TopSlots::new(depth);
            for (at, part) in self.parts.iter().enumerate().filter(|_| !words.is_empty()) {
                let scores = scores.get_mut(..part.fixed.slots.len()).unwrap_or_default();
                self.add_up(part, at, &words, scores)?;
                part.collect(scores, &mut best, accept);
                scores.fill(0.0);
            }
            lists.push(best.into_sorted());
        }
        Ok(lists)
    }

    fn add_up(&self, part: &Part, at: usize, words: &[Arc<Word>], scores: &mut [f32]) -> tantivy::Result<()> {
        for word in words {
            let Some(found) = word.found.get(at) else { continue };
            let fields = found.iter().zip(&part.postings).zip(&part.fixed.lengths).zip(self.damping.iter().zip(WEIGHTS));
            for (((found, postings), lengths), (damping, weight)) in fields {
                let Some(found) = found else { continue };
                let weight = weight * word.idf * (1.0 + K1);
                let mut block = postings.read_block_postings_from_terminfo(found, IndexRecordOption::WithFreqs)?;
                while !block.docs().is_empty() {
                    for (document, count) in block.docs().iter().zip(block.freqs()) {
                        let document = *document as usize;
                        let (Some(score), Some(length)) = (scores.get_mut(document), lengths.get(document)) else { continue };
                        let count = *count as f32;
                        *score += weight * (count / (count + damping.get(usize::from(*length)).copied().unwrap_or(K1)));
                    }
                    block.advance();
                }
            }
        }
        Ok(())
    }

    /// Every slot the engine holds, in order; for consistency checks.
    pub fn slots(&self) -> Vec<u32> {
        let of = |part: &Part| part.reader.doc_ids_alive().filter_map(|document| part.slot(document)).collect::<Vec<_>>();
        let mut slots: Vec<u32> = self.parts.iter().flat_map(of).collect();
        slots.sort_unstable();
        slots
    }
}

impl Part {
    fn slot(&self, document: u32) -> Option<u32> {
        self.fixed.slots.get(document as usize).copied().filter(|slot| *slot != u32::MAX)
    }

    fn collect(&self, scores: &[f32], best: &mut TopSlots, accept: &mut dyn FnMut(u32) -> bool) {
        let mut least = best.threshold().max(0.0);
        for (document, score) in (0..).zip(scores) {
            if *score > least
                && !self.reader.is_deleted(document)
                && let Some(slot) = self.slot(document)
                && accept(slot)
            {
                best.push(slot, *score);
                least = best.threshold().max(0.0);
            }
        }
    }
}

fn damping(average: f32) -> [f32; LENGTHS] {
    std::array::from_fn(|class| {
        let length = FieldNormReader::id_to_fieldnorm(u8::try_from(class).unwrap_or(u8::MAX)) as f32;
        K1 * (1.0 - B + B * length / average.max(f32::MIN_POSITIVE))
    })
}

/// Words looked up once for all texts of a request: its clauses have the words that the whole has.
struct Words<'v> {
    view: &'v LexicalView,
    known: HashMap<String, Arc<Word>>,
}

impl Words<'_> {
    /// The distinct words of a text, as far as the catalog has them. Built from terms, never parsed: `name:(a OR b)^9` is four
    /// words to us, not syntax.
    fn of(&mut self, text: &str) -> tantivy::Result<Vec<Arc<Word>>> {
        let mut seen = std::collections::HashSet::new();
        let mut words = terms(text);
        words.retain(|word| seen.insert(word.clone()));
        words.truncate(MAX_QUERY_TERMS);
        let mut found = Vec::with_capacity(words.len());
        for text in words {
            let word = match self.known.get(&text) {
                Some(word) => Arc::clone(word),
                None => Arc::new(self.view.look_up(&text)?),
            };
            self.known.insert(text, Arc::clone(&word));
            if word.idf > 0.0 {
                found.push(word);
            }
        }
        Ok(found)
    }
}

impl LexicalView {
    fn look_up(&self, word: &str) -> tantivy::Result<Word> {
        let terms = self.fields.searched().map(|field| Term::from_field_text(field, word));
        let mut found = Vec::with_capacity(self.parts.len());
        let mut with_it = 0;
        for part in &self.parts {
            let mut infos = [const { None }; FIELDS];
            for ((info, postings), term) in infos.iter_mut().zip(&part.postings).zip(&terms) {
                *info = postings.get_term_info(term)?;
            }
            with_it += infos.first().and_then(Option::as_ref).map_or(0, |info| u64::from(info.doc_freq));
            found.push(infos);
        }
        let without = (self.documents - with_it.min(self.documents)) as f32;
        let idf = if with_it == 0 { 0.0 } else { ((without + 0.5) / (with_it as f32 + 0.5)).ln_1p() };
        Ok(Word { idf, found })
    }
}

/// The best few slots seen so far; ties keep the one that came first.
pub(crate) struct TopSlots {
    depth: usize,
    /// Sorted best first.
    kept: Vec<(u32, f32)>,
}

impl TopSlots {
    pub(crate) fn new(depth: usize) -> Self {
        Self { depth, kept: Vec::with_capacity(depth + 1) }
    }

    /// Scores up to this one cannot enter any more.
    pub(crate) fn threshold(&self) -> f32 {
        if self.kept.len() < self.depth { f32::NEG_INFINITY } else { self.kept.last().map_or(f32::INFINITY, |(_, score)| *score) }
    }

    pub(crate) fn push(&mut self, slot: u32, score: f32) {
        if score > self.threshold() {
            let at = self.kept.partition_point(|(_, kept)| *kept >= score);
            self.kept.insert(at, (slot, score));
            self.kept.truncate(self.depth);
        }
    }

    pub(crate) fn into_sorted(self) -> Ranked {
        self.kept
    }
}
