//! The ONNX runtime: loaded by path, checked before it is touched, once a process.
//!
//! `ort` panics when its library is missing and the loader kills the process when a library is cut short (SIGBUS), so
//! everything that can be known beforehand is checked beforehand. Nothing here knows models.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

/// There is no embedder; the index is lexical.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no embedder: {reason}")]
pub struct EmbedderUnavailable {
    /// What was expected and found.
    pub reason: Unavailable,
    /// What a person can do about it.
    pub hint: &'static str,
}

/// Why an embedder could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No model in any of the places.
    #[error("no model found in {searched} places")]
    NoModel {
        /// Places looked at.
        searched: usize,
    },
    /// No runtime in any of the places.
    #[error("no ONNX runtime library found in {searched} places")]
    NoLibrary {
        /// Places looked at.
        searched: usize,
    },
    /// The library is not there or cannot be read.
    #[error("ONNX runtime `{path}` cannot be read: {message}")]
    LibraryUnreadable {
        /// The library.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is not a complete library for this machine.
    #[error("`{path}` is not a shared library: {message}")]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A library, but not this one, or too old.
    #[error("`{path}` is not a usable ONNX runtime: expected 1.24 or later, found: {message}")]
    WrongLibrary {
        /// The library.
        path: PathBuf,
        /// What it is.
        message: String,
    },
    /// Another library was loaded before; a process holds one.
    #[error("the ONNX runtime `{loaded}` is loaded already: `{asked}` cannot be loaded beside it")]
    AlreadyLoaded {
        /// The one in the process.
        loaded: PathBuf,
        /// The one asked for.
        asked: PathBuf,
    },
    /// A file of the model is missing, unreadable, or larger than allowed.
    #[error("model file `{path}` cannot be used: {message}")]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The files are there, but the runtime or the tokenizer refuses them.
    #[error("model `{folder}` cannot be loaded: {message}")]
    ModelRefused {
        /// The folder.
        folder: PathBuf,
        /// What the runtime said.
        message: String,
    },
    /// The system gave no thread.
    #[error("no thread for the embedder: {message}")]
    NoThread {
        /// What the system said.
        message: String,
    },
}

impl From<Unavailable> for EmbedderUnavailable {
    fn from(reason: Unavailable) -> Self {
        let hint = match &reason {
            Unavailable::NoModel { .. } => "install a model, or go on with lexical search",
            Unavailable::NoLibrary { .. } => "install the Python package onnxruntime (1.24 or later), or name the library",
            Unavailable::LibraryUnreadable { .. } => "check the path of the ONNX runtime library and its permissions",
            Unavailable::NotALibrary { .. } => "the file is damaged or for another machine: fetch the library again",
            Unavailable::WrongLibrary { .. } => "the Python package onnxruntime 1.24 or later carries a usable library",
            Unavailable::AlreadyLoaded { .. } => "restart the program to change the library",
            Unavailable::ModelFile { .. } => {
                "a model folder holds model.onnx, tokenizer.json, config.json, special_tokens_map.json and tokenizer_config.json"
            }
            Unavailable::ModelRefused { .. } => "the model's files are damaged or of another kind: fetch them again",
            Unavailable::NoThread { .. } => "raise the limit of threads or processes",
        };
        Self { reason, hint }
    }
}

/// The process's runtime: `ort` allows one library and one environment, and dropping the environment would leave it with
/// none for good. Written once, by the first successful [`load`].
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads the library, or returns the environment of the one that is loaded.
pub(crate) fn load(library: &Path) -> Result<Environment, Unavailable> {
    let unreadable = |error: std::io::Error| Unavailable::LibraryUnreadable { path: library.into(), message: error.to_string() };
    // `ort` would take a relative path from the executable's folder.
    let path = fs::canonicalize(library).map_err(unreadable)?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((first, environment)) = loaded.as_ref() {
        return if *first == path {
            Ok(environment.clone())
        } else {
            Err(Unavailable::AlreadyLoaded { loaded: first.clone(), asked: path })
        };
    }
    check_library(&path)?;
    let wrong = |message: String| Unavailable::WrongLibrary { path: path.clone(), message };
    let builder = ort::init_from(&path).map_err(|error| wrong(error.to_string()))?;
    let environment = builder.with_name("pegboard").build().map_err(|error| wrong(error.to_string()))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

/// Whether a file is a whole shared library of this machine, without loading it.
///
/// # Errors
/// [`EmbedderUnavailable`] with what it is instead.
pub fn check_runtime(path: &Path) -> Result<(), EmbedderUnavailable> {
    Ok(check_library(path)?)
}

/// Is every loadable part of this ELF file really in it? The loader maps them unseen and dies on the first missing page.
fn check_library(path: &Path) -> Result<(), Unavailable> {
    let unreadable = |error: std::io::Error| Unavailable::LibraryUnreadable { path: path.into(), message: error.to_string() };
    let not = |message: &str| Unavailable::NotALibrary { path: path.into(), message: message.to_owned() };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(not("expected a regular file"));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut header = Vec::new();
    file.by_ref().take(64).read_to_end(&mut header).map_err(unreadable)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(not("expected a 64-bit little-endian ELF file"));
    }
    let table = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    let (Some(start), Some(entry), Some(count)) = table else { return Err(not("cut in its header")) };
    if entry < 56 || start.checked_add(entry * count).is_none_or(|end| end > metadata.len()) {
        return Err(not("cut short"));
    }
    let mut programs = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    file.take(entry * count).read_to_end(&mut programs).map_err(unreadable)?;
    for program in programs.chunks_exact(entry as usize) {
        let end = number(program, 8, 8).zip(number(program, 32, 8)).and_then(|(offset, size)| offset.checked_add(size));
        if end.is_none_or(|end| end > metadata.len()) {
            return Err(not("cut short"));
        }
    }
    Ok(())
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mut number = [0; 8];
    number.get_mut(..width)?.copy_from_slice(bytes.get(at..at + width)?);
    Some(u64::from_le_bytes(number))
}
