//! Folders of plugins that were written for other hosts, on the disk: found in a tree, copied, and given a `plugin.yaml`.
//!
//! What their manifests mean is in `manifest_schema::foreign`.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use manifest_schema::foreign::{self, Adapter, Converted, ForeignPlugin, Form, MAX_FOREIGN_BYTES};
use registry::Archive;
use serde_json::json;

use crate::failure::{Failure, Outcome};

/// What stands between our call and a foreign function.
const ADAPTER: &str = include_str!("adapter.py");
const MAX_DEPTH: usize = 6;
const MAX_FOLDERS: usize = 20_000;
const MAX_FILES: usize = 2_000;
const MAX_BYTES: u64 = 64 << 20;
/// Left where they are: made anew by whoever needs them, or not the plugin's.
const SKIPPED: [&str; 7] = [".git", "node_modules", "__pycache__", ".venv", "venv", ".pytest_cache", "target"];

/// What a bundle may hold: all that its server loads.
const MAX_BUNDLE_FILES: usize = 20_000;
const MAX_BUNDLE_BYTES: u64 = 512 << 20;
/// How bundles of MCP servers are called.
const BUNDLE: &str = "mcpb";

/// A folder with a foreign manifest, or a bundle that holds one.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) root: PathBuf,
    pub(crate) form: Form,
    /// The folder that a bundle was unpacked into; removed with this.
    _unpacked: Option<tempfile::TempDir>,
}

impl Candidate {
    pub(crate) fn folder(root: PathBuf, form: Form) -> Self {
        Self { root, form, _unpacked: None }
    }
}

/// Whether a path is called as bundles are.
pub(crate) fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case(BUNDLE)) && path.is_file()
}

/// Judges a bundle and unpacks it beside nothing of anyone's.
///
/// # Errors
/// Which rule it breaks, or what is wrong with the machine.
pub(crate) fn unpack(bundle: &Path) -> Result<Candidate, String> {
    let archive = Archive::open_foreign(bundle).map_err(|error| format!("the archive {error}"))?;
    let unpacked = tempfile::tempdir().map_err(|error| format!("a temporary folder can't be made: {error}"))?;
    // Named as the bundle is, for one that does not say its name.
    let stem = bundle.file_stem().map_or_else(|| "bundle".into(), ToOwned::to_owned);
    let root = unpacked.path().join(stem);
    fs::create_dir(&root).map_err(|error| format!("a temporary folder can't be made: {error}"))?;
    archive.unpack_into(&root).map_err(|error| error.to_string())?;
    if !root.join(Form::ManifestJson.file()).is_file() {
        return Err(format!("there is no `{}` in it", Form::ManifestJson.file()));
    }
    Ok(Candidate { root, form: Form::ManifestJson, _unpacked: Some(unpacked) })
}

/// Every folder below this one that holds a foreign manifest, and every bundle, in the order of paths; not what lies inside of one.
pub(crate) fn find(top: &Path) -> Outcome<Vec<Candidate>> {
    let mut found = Vec::new();
    let mut waiting = vec![(top.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = waiting.pop() {
        seen += 1;
        if seen > MAX_FOLDERS {
            return Err(Failure::usage(
                "import.too_many",
                format!("there are more than {MAX_FOLDERS} folders in `{}`", top.display()),
            ));
        }
        if let Some(form) = Form::ALL.into_iter().find(|form| folder.join(form.file()).is_file()) {
            found.push(Candidate::folder(folder, form));
            continue;
        }
        if depth >= MAX_DEPTH {
            continue;
        }
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
        for entry in entries.flatten() {
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            // A link could lead anywhere, back to above among it.
            if !skipped && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((entry.path(), depth + 1));
            } else if entry.file_type().is_ok_and(|kind| kind.is_file()) && is_bundle(&entry.path()) {
                found.push(Candidate::folder(entry.path(), Form::ManifestJson));
            }
        }
    }
    found.sort_by(|one, other| one.root.cmp(&other.root));
    Ok(found)
}

/// What a folder would become.
///
/// # Errors
/// Why it can't be taken over, in words.
pub(crate) fn convert(candidate: &Candidate) -> Result<Converted, String> {
    let path = candidate.root.join(candidate.form.file());
    let bytes = read_bounded(&path).map_err(|error| format!("`{}` can't be read: {error}", candidate.form.file()))?;
    let manifest = String::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8", candidate.form.file()))?;
    let folder = candidate.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let root = fs::canonicalize(&candidate.root).map_err(|error| format!("its folder can't be opened: {error}"))?;
    // A manifest may name any path, and a folder of it may be a link: only what lies inside is read.
    let file = |name: &str| {
        let path = fs::canonicalize(root.join(name)).ok().filter(|path| path.starts_with(&root))?;
        let small = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= 4 * MAX_FOREIGN_BYTES as u64);
        small.then(|| fs::read_to_string(path).ok()).flatten()
    };
    let plugin = ForeignPlugin { folder: &folder, form: candidate.form, manifest: &manifest, file: &file };
    foreign::convert(&plugin).map_err(|error| error.to_string())
}

/// One byte more than a manifest may have, so that one that is too large is seen to be.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FOREIGN_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of its `plugin.yaml`, judged like any other.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn manifest(candidate: &Candidate, converted: &Converted) -> Result<String, String> {
    let body = serde_saphyr::to_string(&converted.manifest).map_err(|error| format!("its manifest can't be written: {error}"))?;
    let text = format!("# Made by `pegboard import` from {}.\n{body}", candidate.form.file());
    match manifest_schema::parse("plugin.yaml", &text) {
        Ok(_) => Ok(text),
        Err(problems) => Err(problems.0.first().map_or_else(|| "its manifest is not valid".to_owned(), ToString::to_string)),
    }
}

/// Copies the folder and adds what makes it a plugin of ours. Whole or not at all.
pub(crate) fn write(candidate: &Candidate, converted: &Converted, manifest: &str, target: &Path) -> Result<(), String> {
    let parent = target.parent().unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new()
        .prefix(".import-")
        .tempdir_in(parent)
        .map_err(|error| format!("`{}` can't be written: {error}", parent.display()))?;
    let copy = || -> Result<(), String> {
        let mut room = if converted.whole {
            Room { files: MAX_BUNDLE_FILES, bytes: MAX_BUNDLE_BYTES, depth: 32, skipped: &[] }
        } else {
            Room { files: MAX_FILES, bytes: MAX_BYTES, depth: MAX_DEPTH * 2, skipped: &SKIPPED }
        };
        copy_into(&candidate.root, staging.path(), &mut room, 0)?;
        let put = |name: &str, text: &str| {
            fs::write(staging.path().join(name), text).map_err(|error| format!("`{name}` can't be written: {error}"))
        };
        put("plugin.yaml", manifest)?;
        if let Some(program) = &converted.executable {
            make_executable(staging.path(), program)?;
        }
        if let Some(adapter) = &converted.adapter {
            put("pegboard_adapter.py", ADAPTER)?;
            put("pegboard_adapter.json", &described(adapter))?;
        }
        if let Some(script) = &converted.pairs_script {
            let path = staging.path().join(script);
            let source = fs::read_to_string(&path).map_err(|error| format!("`{script}` can't be read: {error}"))?;
            fs::write(&path, marked(&source)).map_err(|error| format!("`{script}` can't be written: {error}"))?;
        }
        Ok(())
    };
    copy()?;
    // As a folder that anyone may read: a plugin runs as a user of its own.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(staging.path(), open).map_err(|error| format!("the mode of a folder can't be set: {error}"))?;
    fs::rename(staging.keep(), target).map_err(|error| format!("`{}` can't be made: {error}", target.display()))
}

fn described(adapter: &Adapter) -> String {
    let Adapter { file, function, boxed, aliases, required } = adapter;
    json!({"file": file, "function": function, "boxed": boxed, "aliases": aliases, "required": required}).to_string()
}

/// The script with the comment that asks for its input as a list of pairs, after the lines that must be first.
fn marked(source: &str) -> String {
    const MARK: &str = "# pegboard: inputs=list\n";
    let first =
        source.split_inclusive('\n').take_while(|line| line.starts_with("#!") || line.contains("coding")).map(str::len).sum();
    let (head, rest) = source.split_at(first);
    format!("{head}{MARK}{rest}")
}

/// Archives do not always say which file is a program.
fn make_executable(root: &Path, program: &str) -> Result<(), String> {
    let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = root.join(program);
    if !inside(Path::new(program)) || !path.is_file() {
        return Err(format!("its program `{program}` is not in it"));
    }
    let failed = |error: std::io::Error| format!("`{program}` can't be made executable: {error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)
}

/// What may still be copied, and what stays behind.
struct Room {
    files: usize,
    bytes: u64,
    depth: usize,
    skipped: &'static [&'static str],
}

fn copy_into(from: &Path, to: &Path, room: &mut Room, depth: usize) -> Result<(), String> {
    if depth > room.depth {
        return Err("its folders lie too deep in one another".to_owned());
    }
    let entries = fs::read_dir(from).map_err(|error| format!("`{}` can't be read: {error}", from.display()))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if room.skipped.iter().any(|skipped| name == *skipped) || name == "plugin.yaml" {
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(to.join(&name)).map_err(|error| format!("a folder can't be made: {error}"))?;
            copy_into(&path, &to.join(&name), room, depth + 1)?;
        } else if kind.is_file() {
            let length = entry.metadata().map_or(u64::MAX, |found| found.len());
            room.files = room.files.checked_sub(1).ok_or("it has more files than a plugin may have")?;
            room.bytes = room.bytes.checked_sub(length).ok_or("it has more bytes than a plugin may have")?;
            fs::copy(&path, to.join(&name)).map_err(|error| format!("`{}` can't be copied: {error}", path.display()))?;
        }
        // Links and special files stay behind: what they lead to is not the plugin's.
    }
    Ok(())
}
