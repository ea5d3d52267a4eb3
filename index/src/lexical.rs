//! The words' side, as it is written: a tantivy index in memory and its one writer. How it is searched is in `postings`.
//!
//! Three fields: everything a tool says, its name, and its description. In memory, because tantivy allows one writer a folder
//! and several servers run side by side; what is kept on disk is a copy of its files (`kept.rs`).

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::{Directory, RamDirectory, TerminatingWrite as _};
use tantivy::index::SegmentId;
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, SegmentMeta, SegmentReader, TantivyDocument, Term};

use crate::analysis::{ANALYZER, analyzer};
use crate::document::ToolDocument;
pub use crate::postings::LexicalView;
use crate::postings::Segment;

/// tantivy's smallest budget for one thread.
const WRITER_BYTES: usize = 15_000_000;
/// More segments than this are merged at the next commit.
const MAX_SEGMENTS: usize = 8;
/// Indexes with more tools are tidied up in the background: a change must not wait for a merge of everything.
const LARGE: u32 = 20_000;
/// So many segments are never left, merge in the background or not.
const MOST_SEGMENTS: usize = 48;
/// tantivy's own list of its files, and its table of contents.
const MANAGED: &str = ".managed.json";
const META: &str = "meta.json";

/// A file of the engine: its name and its bytes.
pub(crate) type EngineFile = (String, Vec<u8>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    id: Field,
    slot: Field,
    pub(crate) body: Field,
    pub(crate) name: Field,
    pub(crate) description: Field,
}

/// The one writer. A change is visible to nobody before [`LexicalWriter::publish`].
pub struct LexicalWriter {
    fields: Fields,
    writer: IndexWriter,
    reader: IndexReader,
    index: Index,
    directory: RamDirectory,
    /// Read once a segment: documents keep their numbers and lengths for as long as it lives.
    segments: HashMap<SegmentId, Arc<Segment>>,
    /// Being merged in the background.
    merging: Vec<SegmentId>,
}

impl LexicalWriter {
    /// An empty index.
    pub fn new() -> tantivy::Result<Self> {
        let directory = RamDirectory::create();
        let (schema, _) = schema();
        let index = Index::create(directory.clone(), schema, tantivy::IndexSettings::default())?;
        Self::of(index, directory)
    }

    /// The index that [`LexicalWriter::files`] was taken of; refuses one of another schema.
    pub(crate) fn restore(files: Vec<EngineFile>) -> tantivy::Result<Self> {
        let directory = RamDirectory::create();
        for (name, bytes) in files {
            if name == MANAGED || name == META {
                directory.atomic_write(Path::new(&name), &bytes)?;
            } else {
                let mut file = directory.open_write(Path::new(&name))?;
                file.write_all(&bytes)?;
                file.terminate()?;
            }
        }
        let index = Index::open(directory.clone())?;
        if index.schema() != schema().0 {
            return Err(tantivy::TantivyError::SchemaError("not the schema of this version".to_owned()));
        }
        Self::of(index, directory)
    }

    fn of(index: Index, directory: RamDirectory) -> tantivy::Result<Self> {
        let (_, fields) = schema();
        index.tokenizers().register(ANALYZER, analyzer());
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        // Merges by themselves would make scores depend on the moment: a merge drops deleted tools from the counts.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { fields, writer, reader, index, directory, segments: HashMap::new(), merging: Vec::new() })
    }

    /// The engine's files as of the last [`LexicalWriter::publish`].
    pub(crate) fn files(&self) -> tantivy::Result<Vec<EngineFile>> {
        // A searcher holds its files against deletion by a merge that ends meanwhile.
        let _held = self.reader.searcher();
        let meta = self.index.load_metas()?;
        let ids: HashSet<String> = meta.segments.iter().map(|segment| segment.id().uuid_string()).collect();
        let of_segment = |path: &Path| path.to_str().and_then(|path| path.get(..32)).is_some_and(|id| ids.contains(id));
        let mut paths: Vec<PathBuf> = self.index.directory().list_managed_files().into_iter().collect();
        paths.retain(|path| of_segment(path) && self.directory.exists(path).unwrap_or(false));
        paths.sort();
        let mut files = vec![(META.to_owned(), serde_json::to_vec(&meta)?)];
        for path in &paths {
            let bytes = self.directory.open_read(path)?.read_bytes()?;
            files.push((path.to_string_lossy().into_owned(), bytes.to_vec()));
        }
        paths.push(PathBuf::from(META));
        files.push((MANAGED.to_owned(), serde_json::to_vec(&paths)?));
        Ok(files)
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
        self.view()
    }

    fn view(&mut self) -> tantivy::Result<LexicalView> {
        let searcher = self.reader.searcher();
        let known = std::mem::take(&mut self.segments);
        for reader in searcher.segment_readers() {
            let segment = match known.get(&reader.segment_id()) {
                Some(segment) => Arc::clone(segment),
                None => Arc::new(Segment::read(reader, &self.fields, slots(reader)?)?),
            };
            self.segments.insert(reader.segment_id(), segment);
        }
        LexicalView::new(self.fields, &searcher, &self.segments)
    }

    /// Merges here and now, so that the same updates always give the same scores: all segments when many tools were
    /// deleted (they still count in the statistics), else the small ones when there are too many. What would take seconds is
    /// done in the background: scores then change a little when it is done.
    fn compact(&mut self) -> tantivy::Result<()> {
        let mut segments = self.index.searchable_segment_metas()?;
        self.merging.retain(|id| segments.iter().any(|segment| segment.id() == *id));
        let live: u32 = segments.iter().map(SegmentMeta::num_docs).sum();
        let deleted: u32 = segments.iter().map(SegmentMeta::num_deleted_docs).sum();
        let worn = deleted > 8 && deleted > live / 8;
        if !self.merging.is_empty() {
            // Those are spoken for; what came since is merged among itself.
            segments.retain(|segment| !self.merging.contains(&segment.id()));
        }
        let everything = worn && self.merging.is_empty();
        if !everything {
            if segments.len() <= MAX_SEGMENTS {
                return Ok(());
            }
            segments.sort_by_key(|segment| std::cmp::Reverse(segment.num_docs()));
            let largest = segments.first().map_or(0, SegmentMeta::num_docs);
            let rest: u32 = segments.iter().skip(1).map(SegmentMeta::num_docs).sum();
            if rest < largest / 4 {
                segments.remove(0);
            }
        }
        let ids: Vec<_> = segments.iter().map(SegmentMeta::id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let documents: u32 = segments.iter().map(SegmentMeta::num_docs).sum();
        let merged = self.writer.merge(&ids);
        // A first index is not waited for by anyone who has an older one, and ends up in one piece.
        if documents > LARGE && ids.len() < MOST_SEGMENTS && !self.segments.is_empty() {
            self.merging = ids;
        } else {
            merged.wait()?;
        }
        Ok(())
    }
}

fn slots(reader: &SegmentReader) -> tantivy::Result<Vec<u32>> {
    let column = reader.fast_fields().u64("slot")?;
    let slot = |document| column.first(document).and_then(|slot| u32::try_from(slot).ok()).unwrap_or(u32::MAX);
    Ok((0..reader.max_doc()).map(slot).collect())
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
