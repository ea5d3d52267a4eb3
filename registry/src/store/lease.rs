//! Leases: which packages a running program uses. Whoever clears up leaves them alone, although the lockfile may name them no longer: a call
//! that began before an update goes on for as long as it takes.
//!
//! A lease is a file that its holder keeps locked. The kernel gives the lock back when the holder ends, however it ends; what is left of the
//! file then counts for nothing, and the next writer removes it.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{Store, read_bounded};
use crate::{Error, FileDigest};

/// Before the number of a lease, below the folder of data.
const LEASE: &str = ".lease-";
/// The last line: a lease without it is being written.
const END: &str = "end\n";
const MAX_LEASES: usize = 10_000;
const MAX_LEASE_BYTES: u64 = 8 << 20;

/// Packages that stay while this is held.
#[derive(Debug)]
pub struct Lease {
    digests: BTreeSet<FileDigest>,
    path: PathBuf,
    _lock: File,
}

/// What leases keep.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leased {
    These(BTreeSet<FileDigest>),
    /// Somebody is writing down what it uses.
    Unknown,
}

impl Lease {
    /// What it keeps.
    #[must_use]
    pub const fn digests(&self) -> &BTreeSet<FileDigest> {
        &self.digests
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What stays is removed by the next writer.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Keeps packages from being cleared up. None where nobody may write: nobody clears up there either.
    ///
    /// # Errors
    /// When it can't be written down.
    pub fn lease(&self, digests: BTreeSet<FileDigest>) -> Result<Option<Lease>, Error> {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let text = digests.iter().map(|digest| format!("{digest}\n")).collect::<String>() + END;
        for number in 0..MAX_LEASES {
            let path = self.data.join(format!("{LEASE}{number}"));
            match take(&path, &text) {
                Ok(Some(lock)) => return Ok(Some(Lease { digests, path, _lock: lock })),
                Ok(None) => {}
                Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => return Ok(None),
                Err(error) => return Err(Error::file("write", path, error)),
            }
        }
        Err(Error::Internal(format!("there are more than {MAX_LEASES} leases")))
    }

    /// What running programs use. Only under the store's lock: removes what ended ones left.
    pub(super) fn leased(&self) -> Result<Leased, Error> {
        let mut all = BTreeSet::new();
        for entry in fs::read_dir(&self.data).map_err(|error| Error::file("read", &self.data, error))?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(LEASE) {
                continue;
            }
            let path = entry.path();
            match look(&path).map_err(|error| Error::file("read", path, error))? {
                Leased::These(digests) => all.extend(digests),
                Leased::Unknown => return Ok(Leased::Unknown),
            }
        }
        Ok(Leased::These(all))
    }
}

/// Writes a lease down under a name that is free, and locks it.
fn take(path: &Path, text: &str) -> io::Result<Option<File>> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    file.lock()?;
    // Between the two, a writer may have taken it for one that an ended program left.
    if !fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino())) {
        return Ok(None);
    }
    file.write_all(text.as_bytes()).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(Some(file))
}

/// What one lease keeps; nothing when its holder has ended.
fn look(path: &Path) -> io::Result<Leased> {
    let none = || Leased::These(BTreeSet::new());
    let file = match File::open(path) {
        Ok(file) => file,
        // Given back meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {
            let _ = fs::remove_file(path);
            return Ok(none());
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let bytes = match read_bounded(path, MAX_LEASE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some(list) = text.strip_suffix(END) else { return Ok(Leased::Unknown) };
    let digests: Result<BTreeSet<FileDigest>, _> = list.lines().map(|line| FileDigest::try_from(line.to_owned())).collect();
    Ok(digests.map_or(Leased::Unknown, Leased::These))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::{LEASE, Leased};
    use crate::{FileDigest, Store};

    fn digests(words: &[&str]) -> BTreeSet<FileDigest> {
        words.iter().map(|word| FileDigest::of(word.as_bytes())).collect()
    }

    #[test]
    fn a_lease_holds_until_its_holder_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("data"), folder.path().join("config"));
        drop(store.write().unwrap());
        let one = store.lease(digests(&["a", "b"])).unwrap().unwrap();
        let two = store.lease(digests(&["b", "c"])).unwrap().unwrap();
        assert_eq!(store.leased().unwrap(), Leased::These(digests(&["a", "b", "c"])));
        drop(one);
        assert_eq!(store.leased().unwrap(), Leased::These(digests(&["b", "c"])));
        // Left by a program that was killed: nobody holds its lock.
        let left = folder.path().join("data").join(format!("{LEASE}7"));
        fs::write(&left, format!("{}\nend\n", FileDigest::of(b"d"))).unwrap();
        assert_eq!(store.leased().unwrap(), Leased::These(digests(&["b", "c"])));
        assert!(!left.exists());
        // One that is being written down may come to name anything.
        let half = fs::File::create(&left).unwrap();
        half.lock().unwrap();
        assert_eq!(store.leased().unwrap(), Leased::Unknown);
        drop((half, two));
        assert_eq!(store.leased().unwrap(), Leased::These(BTreeSet::new()));
    }
}
