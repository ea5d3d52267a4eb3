//! The files of a model, found in a folder, converted where it is weights alone, and digested. Where the folder came from is not known here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use index::Encoding;

use super::{Heard, known::Known, receipt::digest};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// What every model has beside its graph.
pub(crate) const TOKENIZER_FILES: [&str; 4] =
    ["tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];
pub(crate) const GRAPH: &str = "model.onnx";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const POOLING: &str = "1_Pooling/config.json";
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 30;
/// Weights outside of the graph: what a graph of its own cannot hold.
pub(crate) const MAX_DATA_BYTES: u64 = 4 << 30;
/// How deep a package is looked through, and how many folders of it.
const MAX_DEPTH: usize = 6;
const MAX_FOLDERS: usize = 5_000;

/// A folder with a model's files.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) folder: PathBuf,
    /// Path of the graph in it; weights that it has outside of itself lie beside it.
    pub(crate) graph: String,
    /// It lies in a folder of ours, so that its files may be moved.
    pub(crate) ours: bool,
}

/// How a model is asked, and the SHA-256 of each of its files.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) encoding: Encoding,
    pub(crate) files: BTreeMap<String, String>,
}

/// The first folder, from the top, with the tokenizer's files and a graph or weights. `graph` is where a copy of a repository has its graph.
pub(crate) fn find(root: &Path, graph: Option<&str>) -> Outcome<(PathBuf, String)> {
    let tokenizer = |folder: &Path| TOKENIZER_FILES.iter().all(|name| folder.join(name).is_file());
    if let Some(graph) = graph.filter(|graph| tokenizer(root) && root.join(graph).is_file()) {
        return Ok((root.to_owned(), graph.to_owned()));
    }
    let fits = |folder: &Path| tokenizer(folder) && (folder.join(GRAPH).is_file() || folder.join(WEIGHTS).is_file());
    if let Some(found) = search(root, &|folder| fits(folder).then(|| folder.to_owned())) {
        return Ok((found, GRAPH.to_owned()));
    }
    let missing = TOKENIZER_FILES.join(", ");
    Err(Failure::not_found(
        "models.files",
        format!("no model in `{}`: expected {GRAPH} or {WEIGHTS} beside {missing}", root.display()),
    ))
}

/// What `look` finds first, in a folder or those below it, from the top.
pub(crate) fn search(root: &Path, look: &dyn Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let mut level = vec![root.to_owned()];
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        if let Some(found) = level.iter().find_map(|folder| look(folder)) {
            return Some(found);
        }
        seen += level.len();
        if seen > MAX_FOLDERS {
            break;
        }
        // Links are not followed: what a package points at is not what it carries.
        let below = level.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        level = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect();
        level.sort();
    }
    None
}

/// Puts everything of a model into `staged`. `otherwise` is how it is asked where its own files do not say.
pub(crate) fn gather(
    found: &Found,
    staged: &Path,
    known: Option<&Known>,
    otherwise: &Encoding,
    heard: &mut dyn FnMut(Heard<'_>),
) -> Outcome<Gathered> {
    let mut encoding = Encoding::of(&found.folder, otherwise).map_err(|error| {
        Failure::new(Exit::Invalid, "models.encoding", error.to_string())
            .hint("a model that would be asked another way than it was trained finds worse, so nothing was installed")
    })?;
    let written = !found.folder.join(&found.graph).is_file();
    if written {
        // The graph that is written here has everything in it.
        encoding.data.clear();
        write_graph(found, staged, heard)?;
    } else {
        place(found, &found.graph, &staged.join(GRAPH), MAX_FILE_BYTES)?;
    }
    let pooling = found.folder.join(POOLING).is_file();
    for name in TOKENIZER_FILES.into_iter().chain(pooling.then_some(POOLING)) {
        place(found, name, &staged.join(name), MAX_FILE_BYTES)?;
    }
    let beside = found.graph.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    for name in &encoding.data {
        place(found, &format!("{beside}{name}"), &staged.join(name), MAX_DATA_BYTES)?;
    }
    heard(Heard::Line("verifying"));
    let mut files = BTreeMap::new();
    let names = TOKENIZER_FILES.into_iter().chain([GRAPH]).chain(pooling.then_some(POOLING));
    for name in names.chain(encoding.data.iter().map(String::as_str)) {
        let path = staged.join(name);
        files.insert(name.to_owned(), digest(&path).map_err(|error| Failure::file("read", &path, &error))?);
    }
    // A graph that came ready made is another file than the one that is written here.
    if let Some(known) = known.filter(|_| written) {
        pinned(known, files.get(GRAPH).map_or("", String::as_str))?;
    }
    Ok(Gathered { encoding, files })
}

fn pinned(known: &Known, found: &str) -> Outcome {
    if found == known.onnx {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Tampered,
        "models.digest",
        format!("`{}`: expected {GRAPH} with SHA-256 {}, found {found}", known.name, known.onnx),
    )
    .hint("nothing was installed; another model goes under another name"))
}

fn write_graph(found: &Found, staged: &Path, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome {
    heard(Heard::Line("writing the graph, in 8-bit steps"));
    let onnx = index::onnx::bert_to_onnx(&read(&found.folder.join("config.json"))?, &read(&found.folder.join(WEIGHTS))?);
    let onnx = onnx.map_err(|error| {
        Failure::new(Exit::Invalid, "models.convert", format!("the weights cannot be made into a graph: {error}"))
            .hint("BERT encoders in 32-bit floats can; of others install a folder that has model.onnx")
    })?;
    let path = staged.join(GRAPH);
    fs::write(&path, onnx).map_err(|error| Failure::file("write", &path, &error))
}

/// One file, moved where it is ours and copied where it is somebody's.
fn place(found: &Found, name: &str, to: &Path, limit: u64) -> Outcome {
    let from = found.folder.join(name);
    bounded(&from, limit)?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
    }
    let placed = if found.ours { fs::rename(&from, to) } else { fs::copy(&from, to).map(drop) };
    placed.map_err(|error| Failure::file("read", &from, &error))
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    bounded(path, MAX_FILE_BYTES)?;
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

fn bounded(path: &Path, limit: u64) -> Outcome {
    let size = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?.len();
    if size > limit {
        return Err(Failure::usage("models.size", format!("expected at most {limit} bytes, found {size}: `{}`", path.display())));
    }
    Ok(())
}
