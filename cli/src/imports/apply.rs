//! Replaces a client's entries by ours and takes that back: a backup beside the file, the file whole or not at all, its mode kept.
//!
//! The only place that writes a file of another program.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    edit::{self, Format, Insert},
    read::at,
};
use crate::{
    failure::{Failure, Outcome},
    operator::{Lock, write_private},
    settings::Places,
};

/// What was replaced, so that it can be taken back: an item of `<data>/imported.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The client's file.
    pub(crate) file: PathBuf,
    /// What it was before.
    pub(crate) backup: PathBuf,
    /// SHA-256 of what was written.
    written: String,
    /// What was taken out and put in, by the map it was in.
    changes: Vec<Changed>,
}

/// One map of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// Keys that lead to it.
    pub(crate) path: Vec<String>,
    /// Names that were taken out.
    pub(crate) removed: Vec<String>,
    /// The name that was put in, if it was not there.
    pub(crate) inserted: Option<String>,
}

fn records_path(places: &Places) -> PathBuf {
    places.data.join("imported.json")
}

fn records(places: &Places) -> Outcome<Vec<Record>> {
    let path = records_path(places);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| {
            Failure::usage("import.records", format!("{}: {error}", path.display()))
                .hint("move the file away; the backups lie beside the clients' files")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::file("read", &path, &error)),
    }
}

fn keep(places: &Places, lock: &Lock, records: &[Record]) -> Outcome {
    let text = serde_json::to_string_pretty(records).map_err(|error| anyhow::anyhow!("could not encode the records: {error}"))?;
    crate::operator::private_folder(&places.data)?;
    write_private(lock, &records_path(places), text.as_bytes())
}

/// What is to be replaced in one file.
pub(crate) struct Edit<'f> {
    /// The client's file, and what it held when it was read.
    pub(crate) file: &'f Path,
    pub(crate) format: Format,
    pub(crate) text: &'f str,
    pub(crate) changes: Vec<Changed>,
    pub(crate) ours: Insert,
}

/// An edit that can be written.
struct Ready<'f> {
    target: PathBuf,
    edited: String,
    edit: Edit<'f>,
}

/// Replaces entries in all of the files or in none, if they are still what they were when they were read. Returns the backups.
pub(crate) fn apply(places: &Places, edits: Vec<Edit<'_>>) -> Outcome<Vec<PathBuf>> {
    let lock = Lock::take(places)?;
    let ready = edits.into_iter().map(prepare).collect::<Outcome<Vec<_>>>()?;
    let mut backups = Vec::new();
    let mut written: Vec<PathBuf> = Vec::new();
    for Ready { target, edited, edit } in ready {
        match write(places, &lock, &target, &edited, edit) {
            Ok(backup) => backups.push(backup),
            Err(failure) => {
                let back = written.iter().rev().all(|target| undo_within(places, &lock, target).is_ok());
                let hint = "some entries were replaced and could not be put back: pegboard import-config --undo";
                return Err(if back { failure } else { failure.hint(hint) });
            }
        }
        written.push(target);
    }
    Ok(backups)
}

fn prepare(edit: Edit<'_>) -> Outcome<Ready<'_>> {
    let Edit { file, format, text, changes, ours } = &edit;
    let target = fs::canonicalize(file).map_err(|error| Failure::file("open", file, &error))?;
    if fs::read_to_string(&target).map_err(|error| Failure::file("read", &target, &error))? != *text {
        return Err(Failure::usage("import.changed", format!("`{}` was changed meanwhile", file.display()))
            .hint("run the command once more"));
    }
    let mut edited = (*text).to_owned();
    for change in changes {
        let insert: Vec<Insert> = change.inserted.iter().map(|name| Insert { name: name.clone(), ..ours.clone() }).collect();
        edited = format.edit(&edited, &change.path, &change.removed, &insert).map_err(|problem| not_edited(file, &problem))?;
    }
    Ok(Ready { target, edited, edit })
}

fn write(places: &Places, lock: &Lock, target: &Path, edited: &str, edit: Edit<'_>) -> Outcome<PathBuf> {
    let backup = backup(target, edit.text)?;
    let mut all = records(places)?;
    all.push(Record { file: target.to_owned(), backup: backup.clone(), written: digest(edited), changes: edit.changes });
    // Before the file: a record of something that did not happen harms nobody, a change without one can't be taken back.
    keep(places, lock, &all)?;
    replace(target, edited)?;
    Ok(backup)
}

fn not_edited(file: &Path, problem: &str) -> Failure {
    Failure::usage("import.form", format!("`{}` was left as it is: {problem}", file.display()))
        .hint("take the entries out by hand; pegboard client-config prints what to put in")
}

/// Takes the last replacement in a file back. Where the file was changed since, only the entries return, and the rest stays.
pub(crate) fn undo(places: &Places, file: &Path) -> Outcome<Option<Record>> {
    undo_within(places, &Lock::take(places)?, file)
}

fn undo_within(places: &Places, lock: &Lock, file: &Path) -> Outcome<Option<Record>> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut all = records(places)?;
    let Some(index) = all.iter().rposition(|record| record.file == target) else { return Ok(None) };
    let record = all.remove(index);
    let before = fs::read_to_string(&record.backup).map_err(|error| Failure::file("read", &record.backup, &error))?;
    let now = fs::read_to_string(&target).map_err(|error| Failure::file("read", &target, &error))?;
    let restored = if digest(&now) == record.written { before } else { merged(&target, &now, &before, &record.changes)? };
    replace(&target, &restored)?;
    keep(places, lock, &all)?;
    fs::remove_file(&record.backup).map_err(|error| Failure::file("remove", &record.backup, &error))?;
    Ok(Some(record))
}

/// The present file with the entries of the backup back in place of ours.
fn merged(file: &Path, now: &str, before: &str, changes: &[Changed]) -> Outcome<String> {
    let format = Format::of(file);
    let (old, present) = match (format.parse(before), format.parse(now)) {
        (Ok(old), Ok(present)) => (old, present),
        (Err(problem), _) | (_, Err(problem)) => return Err(not_edited(file, &problem)),
    };
    let mut edited = now.to_owned();
    for change in changes {
        let missing = |name: &&String| at(&present, &change.path).is_none_or(|servers| servers.get(name.as_str()).is_none());
        let entry = |name: &String| {
            let value = at(&old, &change.path)?.get(name)?.clone();
            Some(Insert { name: name.clone(), value, toml: edit::tables_of(before, &change.path, name) })
        };
        let insert: Vec<Insert> = change.removed.iter().filter(missing).filter_map(entry).collect();
        let remove: Vec<String> = change.inserted.iter().cloned().collect();
        edited = format.edit(&edited, &change.path, &remove, &insert).map_err(|problem| not_edited(file, &problem))?;
    }
    Ok(edited)
}

/// Files that can be taken back.
pub(crate) fn replaced_files(places: &Places) -> Outcome<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = records(places)?.into_iter().map(|record| record.file).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Beside the file, owner-only: it holds what the file held, secrets included.
fn backup(file: &Path, text: &str) -> Outcome<PathBuf> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 1..1_000 {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = file.with_file_name(format!("{name}.pegboard-backup{suffix}"));
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut out) => {
                out.write_all(text.as_bytes())
                    .and_then(|()| out.sync_all())
                    .map_err(|error| Failure::file("write", &path, &error))?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::file("make", &path, &error)),
        }
    }
    Err(Failure::usage("import.backups", format!("there are too many backups of `{}`", file.display())))
}

/// Whole or not at all, with the mode of the file that was there.
fn replace(file: &Path, text: &str) -> Outcome {
    let write = || -> std::io::Result<()> {
        let metadata = fs::metadata(file)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let mut new =
            tempfile::Builder::new().prefix(".pegboard-").permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o777))?;
        new.as_file().sync_all()?;
        new.persist(file).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::file("write", file, &error))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
