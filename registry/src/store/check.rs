//! Is this folder of the store the package that its name says? Every file by size, mode and digest, and nothing beside them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use manifest_schema::MAX_MANIFEST_BYTES;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::Store;
use crate::{
    Day, Error, FileDigest, FileMode, INVENTORY, Inventory, InventoryError, MANIFEST, SIGNATURE, TrustStore,
    archive::shown,
    limits::{MAX_FILES, MAX_PAPER_BYTES, MAX_PATH_DEPTH},
    signature::Contents,
};

impl Store {
    /// Holds a package in the store against its digest, whole. As cheap as reading its files once; who asks often remembers the answer by what
    /// the system says of the files.
    ///
    /// # Errors
    /// When it is not there, or not what its name says.
    pub fn check(&self, digest: FileDigest) -> Result<Inventory, Error> {
        let root = self.root(digest);
        let inventory = self.inventory(digest)?;
        let mut found = BTreeSet::new();
        list(&root, &root, 0, &mut found).map_err(|error| Error::file("read", &root, error))?;
        found.remove(INVENTORY);
        found.remove(SIGNATURE);
        if let Some(added) = found.iter().find(|path| inventory.file(path).is_none()) {
            return Err(InventoryError::Added(shown(added)).into());
        }
        for file in &inventory.files {
            if !found.contains(&file.path) {
                return Err(InventoryError::Removed(shown(&file.path)).into());
            }
            let (size, executable, sha256) =
                hash(&root, &file.path, file.size).map_err(|error| Error::file("read", root.join(&file.path), error))?;
            if size != file.size {
                return Err(changed(&file.path, "size"));
            }
            if FileMode::of(executable) != file.mode {
                return Err(changed(&file.path, "mode"));
            }
            if sha256 != file.sha256 {
                return Err(changed(&file.path, "digest"));
            }
        }
        Ok(inventory)
    }

    /// Names of the trusted keys that vouch for a package in the store today. Whether its other files are what the inventory says is
    /// [`Store::check`].
    ///
    /// # Errors
    /// What is missing for trust, or that the package is not there or not what its name says.
    pub fn vouchers(&self, digest: FileDigest, trust: &TrustStore, today: Day) -> Result<Vec<String>, Error> {
        let root = self.root(digest);
        let inventory = self.inventory(digest)?;
        let listed = inventory.file(MANIFEST).ok_or(InventoryError::NoManifest)?;
        let bytes = read(&root, MANIFEST, MAX_MANIFEST_BYTES as u64);
        let bytes = bytes.map_err(|error| Error::file("read", root.join(MANIFEST), error))?;
        if FileDigest::of(&bytes) != listed.sha256 {
            return Err(changed(MANIFEST, "digest"));
        }
        let manifest = manifest_schema::parse_bytes(MANIFEST, &bytes).map_err(Error::Manifest)?;
        let signature = match read(&root, SIGNATURE, MAX_PAPER_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::file("read", root.join(SIGNATURE), error)),
        };
        let contents = Contents { inventory: &inventory, manifest: &manifest, digest };
        Ok(trust.vouch(&contents, signature.as_deref(), today)?)
    }

    fn inventory(&self, digest: FileDigest) -> Result<Inventory, Error> {
        let root = self.root(digest);
        let paper = read(&root, INVENTORY, MAX_PAPER_BYTES).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !root.is_dir() => Error::NotStored(digest),
            io::ErrorKind::NotFound => InventoryError::Missing.into(),
            _ => Error::file("read", root.join(INVENTORY), error),
        })?;
        if FileDigest::of(&paper) != digest {
            return Err(changed(INVENTORY, "digest"));
        }
        Ok(Inventory::parse(&paper)?)
    }
}

fn changed(path: &str, what: &'static str) -> Error {
    InventoryError::Changed { path: shown(path), what }.into()
}

/// Every file below, by its path; what is neither file nor folder counts as a file, and is then in no inventory or can't be opened.
fn list(root: &Path, folder: &Path, depth: usize, found: &mut BTreeSet<String>) -> io::Result<()> {
    let too_much = || io::Error::new(io::ErrorKind::InvalidData, "has more files or deeper folders than a package");
    if depth > MAX_PATH_DEPTH {
        return Err(too_much());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list(root, &path, depth + 1, found)?;
        } else {
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned());
        }
        if found.len() > MAX_FILES {
            return Err(too_much());
        }
    }
    Ok(())
}

fn open(root: &Path, below: &str) -> io::Result<File> {
    let path: PathBuf = root.join(below);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn read(root: &Path, below: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(root, below)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Size, whether it may be run, and digest; reads no more than is listed.
fn hash(root: &Path, below: &str, listed: u64) -> io::Result<(u64, bool, FileDigest)> {
    use std::os::unix::fs::MetadataExt;
    let file = open(root, below)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is no file"));
    }
    let mut hasher = Sha256::new();
    let mut rest = file.take(listed);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match rest.read(&mut buffer)? {
            0 => break,
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok((metadata.len(), metadata.mode() & 0o111 != 0, FileDigest::finish(hasher)))
}
