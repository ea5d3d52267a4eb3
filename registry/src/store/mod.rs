//! The store: installed packages by digest, `<data>/store/<sha256>/`, and the lockfile `<data>/pegboard.lock` that says which of them count.
//!
//! The lockfile is the truth: a folder that it does not name is nothing but bytes, and a folder that is not what its name says is not served.
//! Whoever changes anything holds the store's lock and goes through [`Writer`]; who reads the lockfile alone takes no lock and sees the old one
//! or the new one; who reads what belongs together reads it while [`Store::steady`].

mod check;
mod commit;
mod lease;
mod lockfile;
mod place;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

pub use commit::{FileChange, Place, Steady};
pub use lease::Lease;
pub use lockfile::{Entry, LOCKFILE, Lockfile, LockfileError, MAX_PREVIOUS, Release};
pub use place::Collected;

use crate::{Error, FileDigest};

/// Where the packages lie, below the folder of data.
pub const STORE: &str = "store";
/// What was done, a line each, below the folder of data.
pub const HISTORY: &str = "history.jsonl";
const LOCK: &str = ".store.lock";
const MAX_LOCKFILE_BYTES: u64 = 8 << 20;

/// The store of one installation, looked at. Changing it needs [`Store::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    data: PathBuf,
    config: PathBuf,
}

/// The right to change the store; given back when it is dropped. There is one at a time, in all processes together.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    lockfile: Lockfile,
    /// Held open: the kernel's lock ends with the descriptor, so a killed writer blocks nobody.
    _lock: File,
}

impl Store {
    /// The store below two folders, which need not be there yet.
    #[must_use]
    pub fn at(data: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), config: config.into() }
    }

    /// The lockfile.
    #[must_use]
    pub fn lockfile_path(&self) -> PathBuf {
        self.data.join(LOCKFILE)
    }

    /// The folder of a package, whether it is there or not.
    #[must_use]
    pub fn root(&self, digest: FileDigest) -> PathBuf {
        self.data.join(STORE).join(digest.to_string())
    }

    /// Whether a package is there; whether it is whole is [`Store::check`].
    #[must_use]
    pub fn has(&self, digest: FileDigest) -> bool {
        self.root(digest).is_dir()
    }

    /// What is installed. No lockfile: nothing is.
    ///
    /// # Errors
    /// When the lockfile can't be read or is not one.
    pub fn read(&self) -> Result<Lockfile, Error> {
        let path = self.lockfile_path();
        match read_bounded(&path, MAX_LOCKFILE_BYTES) {
            Ok(bytes) => Ok(Lockfile::parse(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lockfile::default()),
            Err(error) => Err(Error::file("read", path, error)),
        }
    }

    /// What was done, oldest first, as it was written.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn history(&self) -> Result<Vec<String>, Error> {
        let path = self.data.join(HISTORY);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::file("read", path, error)),
        };
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Whether a change was decided and not yet carried out in full: whoever did it was ended meanwhile.
    fn is_unfinished(&self) -> bool {
        self.data.join(commit::JOURNAL).exists()
    }

    /// Waits for other writers, takes the lock, and carries out what an ended writer had decided.
    ///
    /// # Errors
    /// When the folder can't be made or written, others may write it, or the lockfile is not one.
    pub fn write(&self) -> Result<Writer, Error> {
        shared_folder(&self.data)?;
        shared_folder(&self.data.join(STORE))?;
        let path = self.data.join(LOCK);
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let lock = opened.map_err(|error| Error::file("open", &path, error))?;
        lock.lock().map_err(|error| Error::file("lock", &path, error))?;
        commit::finish(self)?;
        place::sweep(self);
        Ok(Writer { store: self.clone(), lockfile: self.read()?, _lock: lock })
    }
}

impl Writer {
    /// The store that is written.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What is installed now: nobody else can change it meanwhile.
    #[must_use]
    pub const fn lockfile(&self) -> &Lockfile {
        &self.lockfile
    }
}

/// Makes a folder that every user may read: a plugin's process runs as another user when the host is root, and must reach its own code.
/// One that others may write is refused: they could swap what is inside.
fn shared_folder(folder: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(folder).map_err(|error| Error::file("make", folder, error))?;
    let metadata = fs::metadata(folder).map_err(|error| Error::file("read", folder, error))?;
    if metadata.mode() & 0o022 != 0 {
        let problem = format!("others may write it (mode {:03o}); chmod go-w", metadata.mode() & 0o777);
        return Err(Error::file("trust", folder, io::Error::new(io::ErrorKind::PermissionDenied, problem)));
    }
    Ok(())
}

/// Reads a whole file, refusing what is larger than it may be.
fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Brings a folder's entries to disk.
fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
