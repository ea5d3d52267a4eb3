//! The operator's files: written here and nowhere else, one writer at a time, each file whole or not at all.
//!
//! A writer takes the lock, reads, changes, writes a temporary file beside the target, flushes it to disk and renames it. A reader (the
//! server) never takes the lock: it sees the old file or the new one. What the files mean is in `policy` and `server::operator`.

pub(crate) mod added;
pub(crate) mod approved;
pub(crate) mod config;
pub(crate) mod grants;
pub(crate) mod learning;
pub(crate) mod reserved;
pub(crate) mod secrets;
pub(crate) mod tokens;
pub(crate) mod trust;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The right to write the operator's files; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Held open: the kernel's lock ends with the descriptor, so a killed writer blocks nobody.
    _file: File,
}

impl Lock {
    /// Waits for other writers. The configuration folder is made, owner-only, when it is missing.
    ///
    /// What an ended command had decided of these files is carried out first: later it would undo what is written now.
    pub(crate) fn take(places: &Places) -> Outcome<Self> {
        let folder = &places.config;
        private_folder(folder)?;
        let path = folder.join(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::file("open", &path, &error))?;
        file.lock().map_err(|error| Failure::file("lock", &path, &error))?;
        drop(crate::installs::settle(places)?);
        Ok(Self { _file: file })
    }
}

/// Makes a folder and its parents, owner-only. One that others may write is refused: they could swap what is inside.
pub(crate) fn private_folder(folder: &Path) -> Outcome {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(|error| Failure::file("make", folder, &error))?;
    let metadata = fs::metadata(folder).map_err(|error| Failure::file("read", folder, &error))?;
    if metadata.mode() & 0o022 != 0 {
        return Err(Failure::usage(
            "file.mode",
            format!(
                "expected a folder that only its owner may write, found mode {:03o}: `{}`",
                metadata.mode() & 0o777,
                folder.display()
            ),
        )
        .hint(format!("chmod 700 {}", folder.display())));
    }
    Ok(())
}

/// Replaces a file, owner-only, whole or not at all. The lock proves that nobody else does so now.
pub(crate) fn write_private(_lock: &Lock, path: &Path, bytes: &[u8]) -> Outcome {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        // In the same folder, so that the rename stays inside one file system; mode 0600 from the start, so that no one reads in between.
        let mut file =
            tempfile::Builder::new().prefix(".new-").permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::file("write", path, &error))
}

/// Removes a file, durably. Returns whether it was there.
pub(crate) fn remove(_lock: &Lock, path: &Path) -> Outcome<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Failure::file("flush", folder, &error))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("remove", path, &error)),
    }
}

/// Reads a YAML file of ours; a missing one is the empty value, a broken one stops the command.
pub(crate) fn read_yaml<T: DeserializeOwned + Default>(path: &Path) -> Outcome<T> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let message = error.to_string();
        let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("is not valid").trim().to_owned();
        Failure::usage("operator.invalid", format!("{}: {first}", path.display()))
            .hint("nothing was changed: mend the file or move it away")
    })
}
