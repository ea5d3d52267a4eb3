//! A folder beside the installed models in which the next one is put together. What a killed installation left there is cleared away.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    failure::{Failure, Outcome},
    operator::private_folder,
};

const PREFIX: &str = ".new-";
const LOCK: &str = "lock";

/// Removed with everything in it, unless its process is killed.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: tempfile::TempDir,
    /// Held open: the kernel's lock says that somebody works here.
    _lock: File,
}

impl Staging {
    /// A new one in the folder of models, which is made where it is missing.
    pub(crate) fn new(models: &Path) -> Outcome<Self> {
        private_folder(models)?;
        clear(models);
        let failed = |error: std::io::Error| Failure::file("make a folder in", models, &error);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(models).map_err(failed)?;
        // Locked before it has its name: whoever clears finds no lock, or one that is held.
        let unnamed = folder.path().join("unnamed");
        let lock = File::create(&unnamed).map_err(failed)?;
        lock.lock().and_then(|()| fs::rename(&unnamed, folder.path().join(LOCK))).map_err(failed)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Best effort: what cannot be removed is in nobody's way.
fn clear(models: &Path) {
    let entries = fs::read_dir(models).into_iter().flatten().flatten().map(|entry| entry.path());
    let left = |path: &PathBuf| {
        let ours = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        // One without a lock is being made at this moment, and its owner would lose it.
        ours && File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
    };
    entries.filter(left).for_each(|path| drop(fs::remove_dir_all(path)));
}
