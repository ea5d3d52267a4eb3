//! Lessons on disk: one file a model under `data/learned/`, int8 means by tool and digest of its definition. No text of a request is kept.
//!
//! Several processes may teach at once: each takes the folder's lock, reads, changes and replaces the file by rename. Everything is
//! bounded: tools, counts a tool and day, counts a day, the weight of a mean; old counts fade. A file that does not parse is an
//! error and is left alone: what was learned is not made anew by the next start.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::learned::{Lesson, mean};
use crate::vectors::Quantized;

/// Tools with a lesson; one more ends the one that counts least.
const MAX_TOOLS: usize = 4096;
/// Accepted calls that count for one tool on one day.
const PER_TOOL_AND_DAY: u32 = 8;
/// Accepted calls that count on one day.
const PER_DAY: u32 = 400;
/// Most that a mean weighs: what is new can always still move it.
const MAX_COUNT: f32 = 16.0;
/// Days until a count is worth half.
const HALF_LIFE: f32 = 30.0;
/// What counts less is forgotten.
const FORGOTTEN: f32 = 0.25;
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_DIMENSION: usize = 8192;
const VERSION: u32 = 1;

/// Why lessons could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum LessonError {
    /// The system refused.
    #[error("could not {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a file of ours, or damaged.
    #[error("`{path}` does not hold lessons: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// An accepted call.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// Served name of the tool.
    pub tool: &'a str,
    /// [`crate::ToolDocument::definition`]: another definition under the name learns anew.
    pub definition: [u8; 32],
    /// The vector of the request.
    pub request: &'a Quantized,
}

/// What became of an accepted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It was learned from.
    Yes,
    /// Enough for this tool today.
    ToolFull,
    /// Enough for today.
    DayFull,
}

/// One tool's lesson as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptLesson {
    /// Digest of the definition it belongs to.
    pub definition: [u8; 32],
    /// The lesson, faded to the day it was read for.
    pub lesson: Arc<Lesson>,
    /// Day of the last count, since 1970.
    pub day: u32,
}

/// The lessons of one model in one folder.
#[derive(Debug, Clone)]
pub struct LessonStore {
    folder: PathBuf,
    path: PathBuf,
    model: String,
    dimension: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    model: String,
    dimension: usize,
    /// The last day with a count, and how many it had.
    day: u32,
    counted: u32,
    tools: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    definition: String,
    count: f32,
    day: u32,
    counted: u32,
    scale: f32,
    steps: String,
}

impl LessonStore {
    /// The file of `model` in `folder`. Touches nothing yet.
    pub fn new(folder: &Path, model: &str, dimension: usize) -> Self {
        let digest = Sha256::digest(model.as_bytes());
        let path = folder.join(format!("{}.json", hex(digest.get(..12).unwrap_or_default())));
        Self { folder: folder.to_owned(), path, model: model.to_owned(), dimension }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lessons by served name, faded to `day` (days since 1970).
    ///
    /// # Errors
    /// [`LessonError`] where the file cannot be read or is not one of ours.
    pub fn read(&self, day: u32) -> Result<BTreeMap<String, KeptLesson>, LessonError> {
        let Some(document) = self.document()? else { return Ok(BTreeMap::new()) };
        let mut lessons = BTreeMap::new();
        for (tool, entry) in document.tools {
            let kept = self.kept(&entry, day)?;
            if kept.lesson.count >= FORGOTTEN {
                lessons.insert(tool, kept);
            }
        }
        Ok(lessons)
    }

    /// Learns from one accepted call.
    ///
    /// # Errors
    /// [`LessonError`]; nothing changed then.
    pub fn record(&self, accepted: &Accepted<'_>, day: u32) -> Result<Counted, LessonError> {
        let _lock = lock(&self.folder)?;
        let mut document = self.document()?.unwrap_or_else(|| self.empty());
        if document.day != day {
            (document.day, document.counted) = (day, 0);
        }
        let definition = hex(&accepted.definition);
        let entry = document.tools.get(accepted.tool).filter(|entry| entry.definition == definition);
        let today = entry.filter(|entry| entry.day == day).map_or(0, |entry| entry.counted);
        if document.counted >= PER_DAY {
            return Ok(Counted::DayFull);
        }
        if today >= PER_TOOL_AND_DAY {
            return Ok(Counted::ToolFull);
        }
        let before = match entry {
            Some(entry) => Some(self.lesson(entry, day)?),
            None => None,
        };
        let parts = before.iter().map(|lesson| (&lesson.mean, lesson.count)).chain([(accepted.request, 1.0)]);
        // Requests that cancel each other out, or a request without a known word, teach nothing.
        let Some(mean) = mean(parts).filter(|mean| mean.steps.len() == self.dimension) else { return Ok(Counted::Yes) };
        let count = (before.as_ref().map_or(0.0, |lesson| lesson.count) + 1.0).min(MAX_COUNT);
        let steps: Vec<u8> = mean.steps.iter().map(|step| step.cast_unsigned()).collect();
        let entry = Entry { definition, count, day, counted: today + 1, scale: mean.scale, steps: hex(&steps) };
        document.tools.insert(accepted.tool.to_owned(), entry);
        document.counted += 1;
        forget(&mut document.tools, accepted.tool, day);
        self.write(&document)?;
        Ok(Counted::Yes)
    }

    fn empty(&self) -> Document {
        Document {
            version: VERSION,
            model: self.model.clone(),
            dimension: self.dimension,
            day: 0,
            counted: 0,
            tools: BTreeMap::new(),
        }
    }

    fn document(&self) -> Result<Option<Document>, LessonError> {
        let Some(document) = read_document(&self.path)? else { return Ok(None) };
        if document.model != self.model || document.dimension != self.dimension {
            return Err(damaged(&self.path, format!("expected those of `{}`, found those of `{}`", self.model, document.model)));
        }
        Ok(Some(document))
    }

    fn kept(&self, entry: &Entry, day: u32) -> Result<KeptLesson, LessonError> {
        let lesson = self.lesson(entry, day)?;
        let definition = unhex(&entry.definition).and_then(|bytes| bytes.try_into().ok());
        let definition = definition.ok_or_else(|| damaged(&self.path, "a digest is not one".to_owned()))?;
        Ok(KeptLesson { definition, lesson: Arc::new(lesson), day: entry.day })
    }

    fn lesson(&self, entry: &Entry, day: u32) -> Result<Lesson, LessonError> {
        let steps: Option<Box<[i8]>> = unhex(&entry.steps).map(|steps| steps.into_iter().map(u8::cast_signed).collect());
        let sound = entry.scale.is_finite() && entry.scale >= 0.0 && entry.count.is_finite() && entry.count >= 0.0;
        let steps = steps.filter(|steps| steps.len() == self.dimension && sound);
        let steps = steps.ok_or_else(|| damaged(&self.path, "a mean is not a vector of this model".to_owned()))?;
        Ok(Lesson { mean: Quantized { scale: entry.scale, steps }, count: faded(entry, day) })
    }

    fn write(&self, document: &Document) -> Result<(), LessonError> {
        let failed = |source| LessonError::File { action: "write", path: self.path.clone(), source };
        let text = serde_json::to_vec(document).map_err(|error| failed(error.into()))?;
        let mut file = tempfile::Builder::new().prefix(".lessons-").tempfile_in(&self.folder).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.as_file().sync_data().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// What a folder holds, by model: for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelLessons {
    /// The model's id.
    pub model: String,
    /// The file.
    pub path: PathBuf,
    /// Served names with their faded counts, most first.
    pub tools: Vec<(String, f32)>,
}

/// Every model's lessons in a folder; none where there is no folder.
///
/// # Errors
/// [`LessonError`] for a file that cannot be read or is not one of ours.
pub fn lessons_in(folder: &Path, day: u32) -> Result<Vec<ModelLessons>, LessonError> {
    let mut found = Vec::new();
    for path in files(folder)? {
        let Some(document) = read_document(&path)? else { continue };
        let counts = document.tools.iter().map(|(tool, entry)| (tool.clone(), faded(entry, day)));
        let mut tools: Vec<(String, f32)> = counts.filter(|(_, count)| *count >= FORGOTTEN).collect();
        tools.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.push(ModelLessons { model: document.model, path, tools });
    }
    Ok(found)
}

/// Forgets everything, damaged files too. Returns how many files there were.
///
/// # Errors
/// [`LessonError`] where a file cannot be removed.
pub fn clear_lessons(folder: &Path) -> Result<usize, LessonError> {
    if !folder.exists() {
        return Ok(0);
    }
    let _lock = lock(folder)?;
    let files = files(folder)?;
    for path in &files {
        fs::remove_file(path).map_err(|source| LessonError::File { action: "remove", path: path.clone(), source })?;
    }
    Ok(files.len())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, LessonError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LessonError::File { action: "read", path: folder.to_owned(), source }),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    Ok(files)
}

fn read_document(path: &Path) -> Result<Option<Document>, LessonError> {
    let failed = |source| LessonError::File { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(damaged(path, format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| damaged(path, error.to_string()))?;
    if document.version != VERSION
        || document.dimension == 0
        || document.dimension > MAX_DIMENSION
        || document.tools.len() > MAX_TOOLS
    {
        return Err(damaged(path, "another version, or sizes that cannot be".to_owned()));
    }
    Ok(Some(document))
}

/// Exclusive until dropped. In a file of its own: the others are replaced.
fn lock(folder: &Path) -> Result<File, LessonError> {
    let path = folder.join(".lock");
    let failed = |source| LessonError::File { action: "lock", path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn faded(entry: &Entry, day: u32) -> f32 {
    // A clock that was set back makes nothing older or younger.
    let days = day.saturating_sub(entry.day) as f32;
    entry.count.min(MAX_COUNT) * 0.5f32.powf(days / HALF_LIFE)
}

/// Lets go of what counts nothing any more and, where there are too many, of what counts least; never of `newest`.
fn forget(tools: &mut BTreeMap<String, Entry>, newest: &str, day: u32) {
    tools.retain(|tool, entry| tool == newest || faded(entry, day) >= FORGOTTEN);
    while tools.len() > MAX_TOOLS {
        let others = tools.iter().filter(|(tool, _)| tool.as_str() != newest);
        let least = others.min_by(|a, b| faded(a.1, day).total_cmp(&faded(b.1, day))).map(|(tool, _)| tool.clone());
        let Some(least) = least else { return };
        tools.remove(&least);
    }
}

fn damaged(path: &Path, problem: String) -> LessonError {
    LessonError::Damaged { path: path.to_owned(), problem }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
