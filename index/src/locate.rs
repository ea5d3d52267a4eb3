//! Where a model and an ONNX runtime may lie. The caller names the places: this crate reads no environment.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fast::MODEL_FILES;
use crate::runtime::{EmbedderUnavailable, Unavailable};

/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 1000;

/// The places to look at, in this order. A path given outright is taken or is an error; it is never passed over.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The model folder the operator named.
    pub model: Option<PathBuf>,
    /// The library the operator named.
    pub onnxruntime: Option<PathBuf>,
    /// Folders of models, `data/models` first, then the cache: each may be a model itself, or hold some.
    pub models: Vec<PathBuf>,
    /// Folders that may hold the library: `data/models`, the cache, the executable's own folder, the system's.
    pub libraries: Vec<PathBuf>,
    /// Python `site-packages` folders; the package `onnxruntime` carries the library.
    pub site_packages: Vec<PathBuf>,
}

/// Both parts of an embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Folder with the model's files.
    pub model: PathBuf,
    /// The ONNX runtime library.
    pub onnxruntime: PathBuf,
}

/// Finds a model and a runtime, loading neither.
pub fn locate(places: &Places) -> Result<Located, EmbedderUnavailable> {
    let model = locate_model(places)?;
    let onnxruntime = locate_library(places)?;
    Ok(Located { model, onnxruntime })
}

fn locate_model(places: &Places) -> Result<PathBuf, Unavailable> {
    if let Some(folder) = &places.model {
        return match missing_file(folder) {
            None => Ok(folder.clone()),
            Some(path) => Err(Unavailable::ModelFile { path, message: "no such file".to_owned() }),
        };
    }
    for folder in &places.models {
        let inside = entries(folder);
        if let Some(model) = std::iter::once(folder).chain(&inside).find(|folder| missing_file(folder).is_none()) {
            return Ok(model.clone());
        }
    }
    Err(Unavailable::NoModel { searched: places.models.len() })
}

fn missing_file(folder: &Path) -> Option<PathBuf> {
    MODEL_FILES.iter().map(|name| folder.join(name)).find(|path| !path.is_file())
}

fn locate_library(places: &Places) -> Result<PathBuf, Unavailable> {
    if let Some(path) = &places.onnxruntime {
        return if path.is_file() {
            Ok(path.clone())
        } else {
            Err(Unavailable::LibraryUnreadable { path: path.clone(), message: "no such file".to_owned() })
        };
    }
    let packages = places.site_packages.iter().map(|folder| folder.join("onnxruntime").join("capi"));
    let folders: Vec<PathBuf> = places.libraries.iter().cloned().chain(packages).collect();
    let found = folders
        .iter()
        .find_map(|folder| entries(folder).into_iter().filter(|path| is_library(path)).max_by_key(|path| version(path)));
    found.ok_or(Unavailable::NoLibrary { searched: folders.len() })
}

fn is_library(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let rest = name.strip_prefix("libonnxruntime.so");
    rest.is_some_and(|rest| rest.chars().all(|c| c == '.' || c.is_ascii_digit())) && path.is_file()
}

/// `libonnxruntime.so.1.31.1` → `[1, 31, 1]`, so that 1.31 is later than 1.4.
fn version(path: &Path) -> Vec<u32> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// The folder's entries, by name; an unreadable folder has none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES).map(|entry| entry.path()).collect();
    entries.sort();
    entries
}
