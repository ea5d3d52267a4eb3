//! The words' side: a tantivy index in memory, its one writer, and its immutable view.
//!
//! Three fields: everything a tool says (weight 1), its name (1) and its description (.3) once more. tantivy scores each
//! field with its own BM25; here all three use the idf of the catch-all field, for a word that is rare among names only
//! ("get" in a catalogue of nouns) is not rare. In memory, because tantivy allows one writer a folder and several servers
//! run side by side; rebuilding ten thousand tools takes a tenth of a second.

use tantivy::collector::DocSetCollector;
use tantivy::indexer::NoMergePolicy;
use tantivy::query::{AllQuery, Bm25StatisticsProvider, BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentMeta, TantivyDocument, Term};

use crate::analysis::{ANALYZER, analyzer, terms};
use crate::document::ToolDocument;
use crate::fusion::Ranked;

/// tantivy's smallest budget for one thread.
const WRITER_BYTES: usize = 15_000_000;
/// Distinct terms of a request that are looked up: the cost of a search must not be the asker's to choose.
const MAX_QUERY_TERMS: usize = 48;
/// More segments than this are merged at the next commit.
const MAX_SEGMENTS: usize = 8;
const NAME_WEIGHT: f32 = 1.0;
const DESCRIPTION_WEIGHT: f32 = 0.3;
/// Marks a deleted document in the slot map.
const NO_SLOT: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Fields {
    id: Field,
    slot: Field,
    body: Field,
    name: Field,
    description: Field,
}

/// The one writer. A change is visible to nobody before [`LexicalWriter::publish`].
pub struct LexicalWriter {
    fields: Fields,
    writer: IndexWriter,
    reader: IndexReader,
    index: Index,
}

impl LexicalWriter {
    /// An empty index.
    pub fn new() -> tantivy::Result<Self> {
        let (schema, fields) = schema();
        let index = Index::create_in_ram(schema);
        index.tokenizers().register(ANALYZER, analyzer());
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        // Merges in the background would make scores depend on the moment: a merge drops deleted tools from the counts.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { fields, writer, reader, index })
    }

    /// Adds a tool under a slot that no other live tool has.
    pub fn add(&mut self, slot: u32, tool: &ToolDocument) -> tantivy::Result<()> {
        let mut document = TantivyDocument::new();
        document.add_text(self.fields.id, &tool.id);
        document.add_u64(self.fields.slot, u64::from(slot));
        document.add_text(self.fields.name, &tool.name);
        let body = tool.body();
        document.add_text(self.fields.description, crate::document::clip(&tool.description, 8 * 1024));
        for text in body {
            document.add_text(self.fields.body, text);
        }
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Removes a tool; does nothing when there is none of this id.
    pub fn remove(&mut self, id: &str) {
        self.writer.delete_term(Term::from_field_text(self.fields.id, id));
    }

    /// Commits, tidies up, and returns a view of the result.
    pub fn publish(&mut self) -> tantivy::Result<LexicalView> {
        self.writer.commit()?;
        self.compact()?;
        self.reader.reload()?;
        LexicalView::new(self.fields, self.reader.searcher())
    }

    /// Merges here and now, so that the same updates always give the same scores: all segments when many tools were
    /// deleted (they still count in the statistics), else the small ones when there are too many.
    fn compact(&mut self) -> tantivy::Result<()> {
        let mut segments = self.index.searchable_segment_metas()?;
        let live: u32 = segments.iter().map(SegmentMeta::num_docs).sum();
        let deleted: u32 = segments.iter().map(SegmentMeta::num_deleted_docs).sum();
        let worn = deleted > 8 && deleted > live / 8;
        if !worn {
            if segments.len() <= MAX_SEGMENTS {
                return Ok(());
            }
            segments.sort_by_key(|segment| std::cmp::Reverse(segment.num_docs()));
            let largest = segments.first().map_or(0, SegmentMeta::num_docs);
            if live - largest < largest / 4 {
                segments.remove(0);
            }
        }
        let ids: Vec<_> = segments.iter().map(SegmentMeta::id).collect();
        if !ids.is_empty() {
            self.writer.merge(&ids).wait()?;
        }
        Ok(())
    }
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqs);
    let text = TextOptions::default().set_indexing_options(indexing);
    let fields = Fields {
        id: schema.add_text_field("id", STRING),
        slot: schema.add_u64_field("slot", FAST | INDEXED),
        body: schema.add_text_field("body", text.clone()),
        name: schema.add_text_field("name", text.clone()),
        description: schema.add_text_field("description", text),
    };
    (schema.build(), fields)
}

/// One state of the index, for any number of threads.
pub struct LexicalView {
    fields: Fields,
    searcher: Searcher,
    /// Per segment: document number → slot, [`NO_SLOT`] for deleted ones.
    slots: Vec<Vec<u32>>,
}

impl LexicalView {
    fn new(fields: Fields, searcher: Searcher) -> tantivy::Result<Self> {
        let mut slots: Vec<Vec<u32>> = Vec::new();
        for reader in searcher.segment_readers() {
            let column = reader.fast_fields().u64("slot")?;
            let slot = |document| match column.first(document) {
                Some(slot) if !reader.is_deleted(document) => u32::try_from(slot).unwrap_or(NO_SLOT),
                _ => NO_SLOT,
            };
            slots.push((0..reader.max_doc()).map(slot).collect());
        }
        Ok(Self { fields, searcher, slots })
    }

    /// The best `depth` tools for these words among those that `accept` lets through, best first.
    ///
    /// `accept` is asked before a tool takes a place, so a refused one neither shows up nor pushes another out.
    pub fn top(&self, text: &str, depth: usize, accept: &mut dyn FnMut(u32) -> bool) -> tantivy::Result<Ranked> {
        let query = self.query(text);
        let statistics = OneIdf { searcher: &self.searcher, body: self.fields.body };
        let weight = query.weight(EnableScoring::enabled_from_statistics_provider(&statistics, &self.searcher))?;
        let mut best = TopSlots::new(depth);
        for (reader, slots) in self.searcher.segment_readers().iter().zip(&self.slots) {
            weight.for_each_pruning(best.threshold(), reader, &mut |document, score| {
                let slot = slots.get(document as usize).copied().unwrap_or(NO_SLOT);
                if slot != NO_SLOT && accept(slot) {
                    best.push(slot, score);
                }
                best.threshold()
            })?;
        }
        Ok(best.into_sorted())
    }

    /// Every slot the engine holds; for consistency checks.
    pub fn slots(&self) -> tantivy::Result<Vec<u32>> {
        let found = self.searcher.search(&AllQuery, &DocSetCollector)?;
        let slot =
            |address: &tantivy::DocAddress| self.slots.get(address.segment_ord as usize)?.get(address.doc_id as usize).copied();
        let mut slots: Vec<u32> = found.iter().filter_map(slot).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    /// Built from terms, never parsed: `name:(a OR b)^9` is four words to us, not syntax.
    fn query(&self, text: &str) -> BooleanQuery {
        let mut words = terms(text);
        let mut seen = std::collections::HashSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words.truncate(MAX_QUERY_TERMS);
        let weighted = [(self.fields.body, 1.0), (self.fields.name, NAME_WEIGHT), (self.fields.description, DESCRIPTION_WEIGHT)];
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::with_capacity(words.len() * weighted.len());
        for word in &words {
            for (field, boost) in weighted {
                let term = TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::WithFreqs);
                clauses.push((Occur::Should, Box::new(BoostQuery::new(Box::new(term), boost))));
            }
        }
        BooleanQuery::new(clauses)
    }
}

/// The searcher's statistics, with every term's document frequency taken from the catch-all field.
struct OneIdf<'s> {
    searcher: &'s Searcher,
    body: Field,
}

impl Bm25StatisticsProvider for OneIdf<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.searcher.total_num_tokens(field)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        self.searcher.total_num_docs()
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let text = term.value().as_str().map(str::to_owned).unwrap_or_default();
        self.searcher.doc_freq(&Term::from_field_text(self.body, &text))
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
