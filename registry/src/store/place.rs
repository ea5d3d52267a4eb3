//! Putting a package into the store and taking it out: staged beside its place, flushed, renamed whole, read-only from then on.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{STORE, Store, Writer, flush, lease::Leased};
use crate::{Bundle, Error, FileDigest, SIGNATURE};

/// Before the name of a folder that is not a package yet, or no longer.
const STAGED: &str = ".new-";

/// What [`Writer::collect`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Packages.
    pub packages: Vec<FileDigest>,
    /// Bytes of their files.
    pub bytes: u64,
    /// Packages that only running programs keep.
    pub in_use: Vec<FileDigest>,
}

impl Writer {
    /// Puts a package into the store. It counts for nothing until a lockfile names it.
    ///
    /// A folder that is there is held against its digest; one that is not what its name says is replaced.
    ///
    /// # Errors
    /// When it can't be written, or the archive changed since it was verified.
    pub fn place(&self, bundle: &Bundle) -> Result<PathBuf, Error> {
        let (store, digest) = (&self.store, bundle.digest());
        let root = store.root(digest);
        let shelf = store.data.join(STORE);
        if store.check(digest).is_ok() {
            return self.countersign(bundle, &shelf, &root).map(|()| root);
        }
        let staging = shelf.join(format!("{STAGED}{digest}"));
        let made = stage(bundle, &staging).and_then(|()| {
            let rename = || {
                if root.exists() {
                    fs::rename(&root, shelf.join(format!("{STAGED}old-{digest}")))?;
                }
                fs::rename(&staging, &root)?;
                flush(&shelf)
            };
            rename().map_err(|error| Error::file("put in place", &root, error))
        });
        if made.is_err() {
            let _ = remove(&staging);
        }
        sweep(store);
        made.map(|()| root)
    }

    /// Gives a package that is there the signatures of this one: they are no part of its digest, and may have come since.
    fn countersign(&self, bundle: &Bundle, shelf: &Path, root: &Path) -> Result<(), Error> {
        let Some(signature) = bundle.signature() else { return Ok(()) };
        let place = root.join(SIGNATURE);
        if fs::read(&place).is_ok_and(|known| known == signature) {
            return Ok(());
        }
        // Beside the package, so that nobody finds a file in it that is not listed.
        let beside = shelf.join(format!("{STAGED}signature-{}", bundle.digest()));
        let act = || -> io::Result<()> {
            remove(&beside)?;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(&beside)?;
            file.write_all(signature)?;
            file.sync_all()?;
            fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
            let renamed = fs::rename(&beside, &place);
            fs::set_permissions(root, fs::Permissions::from_mode(0o555))?;
            renamed.and_then(|()| flush(root))
        };
        act().map_err(|error| Error::file("write", &place, error))
    }

    /// Removes packages that no lockfile entry names, that are not among `spared` and that no running program uses.
    ///
    /// # Errors
    /// When the store can't be read, or a package can't be removed.
    pub fn collect(&self, spared: &BTreeSet<FileDigest>, only_look: bool) -> Result<Collected, Error> {
        let named = self.lockfile.digests();
        let leased = self.store.leased()?;
        let is_used = |digest: &FileDigest| match &leased {
            Leased::These(digests) => digests.contains(digest),
            Leased::Unknown => true,
        };
        let mut collected = Collected::default();
        for digest in self.store.packages()? {
            if named.contains(&digest) || spared.contains(&digest) {
                continue;
            }
            if is_used(&digest) {
                collected.in_use.push(digest);
                continue;
            }
            let root = self.store.root(digest);
            collected.bytes += size(&root);
            collected.packages.push(digest);
            if only_look {
                continue;
            }
            // Out of its place in one step, so that nobody takes half a package for a whole one.
            let gone = root.with_file_name(format!("{STAGED}old-{digest}"));
            fs::rename(&root, &gone).and_then(|()| remove(&gone)).map_err(|error| Error::file("remove", &root, error))?;
        }
        Ok(collected)
    }
}

impl Store {
    /// Every package that lies in the store.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn packages(&self) -> Result<Vec<FileDigest>, Error> {
        let shelf = self.data.join(STORE);
        let entries = match fs::read_dir(&shelf) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", shelf, error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut packages: Vec<FileDigest> = names.filter_map(|name| FileDigest::try_from(name).ok()).collect();
        packages.sort();
        Ok(packages)
    }
}

fn stage(bundle: &Bundle, staging: &Path) -> Result<(), Error> {
    let fails = |error: io::Error| Error::file("make", staging, error);
    remove(staging).map_err(fails)?;
    fs::create_dir(staging).map_err(fails)?;
    bundle.unpack_into(staging)?;
    close(staging).map_err(|error| Error::file("close", staging, error))?;
    fs::File::open(staging).and_then(|folder| rustix::fs::syncfs(&folder).map_err(Into::into)).map_err(fails)
}

/// Takes the right to write from a folder and all in it: nothing changes a package by accident. Root is held by the digests alone.
fn close(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            close(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(metadata.permissions().mode() & 0o555))?;
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555))
}

/// Removes what an ended writer left in the store. Only under the store's lock.
pub(super) fn sweep(store: &Store) {
    let entries = fs::read_dir(store.data.join(STORE)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGED)) {
        // What can't be removed now is no package, and is tried again by the next writer.
        let _ = remove(&entry.path());
    }
}

/// Removes a folder whose insides may not be written.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(folder),
        Ok(_) => open(folder)?,
    }
    fs::remove_dir_all(folder)
}

fn open(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open(&entry.path())?;
        }
    }
    Ok(())
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { size(&entry.path()) } else { metadata.len() })
    };
    entries.filter_map(of).sum()
}
