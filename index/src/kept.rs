//! The whole index on disk, one file a catalogue and model: a start reads it instead of making everything anew.
//!
//! A copy, never a database: it is written beside and renamed, so several servers may share the folder and each finds a whole
//! file, whoever wrote last. What was written is compared with the catalog afterwards, so an old file costs work, not truth.
//! A file that is damaged, foreign, of another version, model or catalogue is ignored with a warning and replaced. Its
//! checksum is against disks, not against people: who can write here is the user.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use sha2::{Digest as _, Sha256};

use crate::cache::{CacheProblem, TextKey};
use crate::error::Warning;
use crate::indexer::MAX_TOOLS;
use crate::lexical::EngineFile;
use crate::search::Entry;
use crate::vectors::{NewRow, Quantized, VectorTable};

/// Changes with anything that is in the file, and with what its terms and vectors mean: analysis, fields, texts to embed.
const MAGIC: &[u8; 8] = b"PEGIDX02";
const MAX_FILE_BYTES: u64 = 4 << 30;
/// Longest text in the file: names are bounded far below.
const MAX_TEXT_BYTES: usize = 64 << 10;
const MAX_DIMENSION: usize = 8192;
const MAX_TEXTS: usize = 64;
/// Files of other catalogues and models that stay in the folder; the oldest go.
const MAX_FILES: usize = 12;
const SUFFIX: &str = "index";

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By slot, ascending.
    pub(crate) entries: Vec<Entry>,
    /// By slot, ascending.
    pub(crate) rows: Vec<NewRow>,
    pub(crate) engine: Vec<EngineFile>,
}

/// The file of one catalogue and one model.
#[derive(Debug, Clone)]
pub(crate) struct KeptFile {
    path: PathBuf,
    catalogue: String,
    model: String,
    dimension: usize,
}

type Outcome<T> = Result<T, CacheProblem>;

impl KeptFile {
    /// Touches nothing yet. Words alone have the empty model and dimension 0.
    pub(crate) fn new(folder: &Path, catalogue: &str, model: &str, dimension: usize) -> Self {
        let key = Sha256::new().chain_update((catalogue.len() as u64).to_le_bytes()).chain_update(catalogue);
        let name: String = key.chain_update(model).finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{name}.{SUFFIX}"));
        Self { path, catalogue: catalogue.to_owned(), model: model.to_owned(), dimension }
    }

    /// Nothing where there is no file; a warning where there is one that cannot be used.
    pub(crate) fn load(&self) -> (Option<Kept>, Option<Warning>) {
        match self.read() {
            Ok(kept) => (kept, None),
            Err(problem) => (None, Some(self.ignored(problem))),
        }
    }

    pub(crate) fn ignored(&self, problem: CacheProblem) -> Warning {
        Warning::CacheIgnored { path: self.path.clone(), problem }
    }

    fn write(&self, keep: &Keep) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new().prefix(".index-").tempfile_in(folder)?;
        let mut out = Checked { inner: BufWriter::with_capacity(1 << 20, file.as_file()), crc: Hasher::new() };
        self.fill(&mut out, keep)?;
        let crc = out.crc.clone().finalize();
        out.inner.write_all(&crc.to_le_bytes())?;
        // Not forced to the disk: what a power failure leaves is noticed by its checksum, and made anew.
        out.inner.flush()?;
        drop(out);
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    fn fill(&self, out: &mut Checked<impl Write>, keep: &Keep) -> io::Result<()> {
        out.write_all(MAGIC)?;
        for text in [env!("CARGO_PKG_VERSION"), &self.catalogue, &self.model] {
            out.bytes(text.as_bytes())?;
        }
        out.number(self.dimension)?;
        out.number(keep.entries.len())?;
        for entry in &keep.entries {
            out.write_all(&entry.slot.to_le_bytes())?;
            out.bytes(entry.id.as_bytes())?;
            out.bytes(entry.name.as_bytes())?;
            out.write_all(&entry.digest)?;
            out.number(entry.texts.len())?;
            entry.texts.iter().try_for_each(|key| out.write_all(key))?;
        }
        out.number(keep.rows.as_ref().map_or(0, VectorTable::len))?;
        for (slot, key, row) in keep.rows.iter().flat_map(VectorTable::rows) {
            out.write_all(&slot.to_le_bytes())?;
            out.write_all(&key)?;
            out.write_all(&row.scale.to_le_bytes())?;
            let steps: Vec<u8> = row.steps.iter().map(|step| step.cast_unsigned()).collect();
            out.write_all(&steps)?;
        }
        out.number(keep.engine.len())?;
        for (name, bytes) in &keep.engine {
            out.bytes(name.as_bytes())?;
            out.bytes(bytes)?;
        }
        Ok(())
    }

    /// Other catalogues' files are theirs to use, but not for ever.
    fn tidy_up(&self) {
        let Some(Ok(listed)) = self.path.parent().map(fs::read_dir) else { return };
        let of_index = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let modified = fs::metadata(&path).ok()?.modified().ok()?;
            path.extension().is_some_and(|suffix| suffix == SUFFIX).then_some((modified, path))
        };
        let mut files: Vec<_> = listed.filter_map(of_index).filter(|(_, path)| *path != self.path).collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(MAX_FILES - 1) {
            // Somebody else may have been quicker.
            let _ = fs::remove_file(path);
        }
    }

    fn read(&self) -> Outcome<Option<Kept>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&error)),
        };
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if !metadata.is_file() {
            return Err(CacheProblem::Unreadable("not a regular file".to_owned()));
        }
        let found = metadata.len();
        if found > MAX_FILE_BYTES {
            return Err(CacheProblem::TooLarge { limit: MAX_FILE_BYTES, found });
        }
        let inner = BufReader::with_capacity(1 << 20, file.take(found));
        self.parse(&mut Source { inner, left: found, crc: Hasher::new() }).map(Some)
    }

    fn parse(&self, source: &mut Source<impl Read>) -> Outcome<Kept> {
        let magic = source.array::<8>().map_err(|_| CacheProblem::Foreign)?;
        if magic != *MAGIC || source.text()? != env!("CARGO_PKG_VERSION") {
            return Err(CacheProblem::Foreign);
        }
        if source.text()? != self.catalogue {
            return Err(CacheProblem::Damaged("of another catalogue"));
        }
        let model = source.text()?;
        if model != self.model {
            return Err(CacheProblem::OtherModel { expected: self.model.clone(), found: model });
        }
        let dimension = source.number()?;
        if dimension != self.dimension || dimension > MAX_DIMENSION {
            return Err(CacheProblem::Damaged("another dimension than the model's"));
        }
        let mut kept = Kept::default();
        for _ in 0..source.number()? {
            kept.entries.push(source.entry()?);
        }
        for _ in 0..source.number()? {
            kept.rows.push(source.row(dimension)?);
        }
        for _ in 0..source.number()? {
            let name = source.text()?;
            let bytes = source.number()?;
            kept.engine.push((name, source.exactly(bytes)?));
        }
        let expected = source.crc.clone().finalize();
        if source.array::<4>()? != expected.to_le_bytes() {
            return Err(CacheProblem::Damaged("wrong checksum"));
        }
        if source.left != 0 {
            return Err(CacheProblem::Damaged("longer than it says"));
        }
        let ascending = kept.entries.windows(2).all(|pair| matches!(pair, [a, b] if a.slot < b.slot))
            && kept.rows.windows(2).all(|pair| matches!(pair, [a, b] if a.0 <= b.0));
        if !ascending {
            return Err(CacheProblem::Damaged("slots out of order"));
        }
        // Slots decide how much memory is asked for, and are given again before new ones are: none is beyond what may be served.
        let beyond = |slot: Option<u32>| slot.is_some_and(|slot| slot as usize >= MAX_TOOLS);
        if beyond(kept.entries.last().map(|entry| entry.slot)) || beyond(kept.rows.last().map(|row| row.0)) {
            return Err(CacheProblem::Damaged("a slot is out of range"));
        }
        Ok(kept)
    }
}

/// An index about to be kept: a view of it, so that the indexer can go on while it is written.
#[must_use = "nothing is kept before it is written"]
pub struct Keep {
    pub(crate) file: KeptFile,
    /// By slot, ascending.
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) rows: Option<VectorTable>,
    pub(crate) engine: Vec<EngineFile>,
}

impl Keep {
    /// Replaces the file. Blocking. What fails is a warning: the next start has more to do.
    pub fn write(self) -> Option<Warning> {
        let written = self.file.write(&self).inspect(|()| self.file.tidy_up());
        written.err().map(|error| Warning::CacheNotWritten { path: self.file.path.clone(), message: error.to_string() })
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keep({}, {} tools)", self.file.path.display(), self.entries.len())
    }
}

fn unreadable(error: &io::Error) -> CacheProblem {
    CacheProblem::Unreadable(error.to_string())
}

/// Writes and sums.
struct Checked<W> {
    inner: W,
    crc: Hasher,
}

impl<W: Write> Checked<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: usize) -> io::Result<()> {
        self.write_all(&(number as u32).to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len())?;
        self.write_all(bytes)
    }
}

/// Reads and sums; nothing is taken that the file has no bytes for.
struct Source<R> {
    inner: R,
    left: u64,
    crc: Hasher,
}

impl<R: Read> Source<R> {
    fn exactly(&mut self, count: usize) -> Outcome<Vec<u8>> {
        if count as u64 > self.left {
            return Err(CacheProblem::Damaged("cut"));
        }
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Outcome<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(CacheProblem::Damaged("cut"))?;
        self.inner.read_exact(bytes).map_err(|error| unreadable(&error))?;
        self.crc.update(bytes);
        Ok(())
    }

    fn number(&mut self) -> Outcome<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn text(&mut self) -> Outcome<String> {
        let count = self.number()?;
        if count > MAX_TEXT_BYTES {
            return Err(CacheProblem::Damaged("a text is too long"));
        }
        String::from_utf8(self.exactly(count)?).map_err(|_| CacheProblem::Damaged("a text is not UTF-8"))
    }

    fn entry(&mut self) -> Outcome<Entry> {
        let slot = u32::from_le_bytes(self.array()?);
        let (id, name, digest) = (self.text()?, self.text()?, self.array()?);
        let count = self.number()?;
        if count > MAX_TEXTS {
            return Err(CacheProblem::Damaged("a tool has too many texts"));
        }
        let texts = (0..count).map(|_| self.array()).collect::<Outcome<Vec<TextKey>>>()?;
        Ok(Entry { slot, id, name, digest, texts })
    }

    fn row(&mut self, dimension: usize) -> Outcome<NewRow> {
        let slot = u32::from_le_bytes(self.array()?);
        let key = self.array()?;
        let scale = f32::from_le_bytes(self.array()?);
        if !scale.is_finite() || scale < 0.0 {
            return Err(CacheProblem::Damaged("a bad entry"));
        }
        let steps = self.exactly(dimension)?.into_iter().map(u8::cast_signed).collect();
        Ok((slot, key, Arc::new(Quantized { scale, steps })))
    }
}
