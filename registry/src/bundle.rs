//! A bundle: a package whose every byte was held against its inventory. Who signed it is another question, see [`crate::TrustStore`].

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    os::fd::OwnedFd,
    path::Path,
};

use manifest_schema::{MAX_MANIFEST_BYTES, Manifest};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::{
    Archive, ArchiveEntry as Entry, Error, FileDigest, FileMode, INVENTORY, Inventory, InventoryError, MANIFEST, SIGNATURE,
    archive::{ArchiveError, shown},
    limits::MAX_PAPER_BYTES,
    path::PackagePath,
};

/// A verified package: its files are those of its inventory, byte for byte, and its manifest is valid.
#[derive(Debug)]
pub struct Bundle {
    archive: Archive,
    inventory: Inventory,
    manifest: Manifest,
    digest: FileDigest,
    signature: Option<Vec<u8>>,
}

impl Archive {
    /// Unpacks everything once, into nothing, and holds it against the inventory.
    ///
    /// # Errors
    /// The first file that is not what the inventory says, or the manifest's problems.
    pub fn verify(self) -> Result<Bundle, Error> {
        let paper = self.entry(INVENTORY).ok_or(InventoryError::Missing)?;
        let bytes = self.bytes(paper, MAX_PAPER_BYTES)?;
        let (inventory, digest) = (Inventory::parse(&bytes)?, FileDigest::of(&bytes));
        let listed: HashSet<&str> = inventory.files.iter().map(|file| file.path.as_str()).collect();
        for entry in self.entries() {
            let path = entry.path().as_str();
            if path != INVENTORY && path != SIGNATURE && !listed.contains(path) {
                return Err(InventoryError::Added(shown(path)).into());
            }
        }
        for file in &inventory.files {
            let entry = self.entry(&file.path).filter(|_| file.path != INVENTORY && file.path != SIGNATURE);
            let entry = entry.ok_or_else(|| InventoryError::Removed(shown(&file.path)))?;
            hold(&self, entry, &inventory, &mut |_| Ok(()))?;
        }
        let manifest = manifest(&self, &inventory)?;
        let signature = self.entry(SIGNATURE).map(|entry| self.bytes(entry, MAX_PAPER_BYTES)).transpose()?;
        Ok(Bundle { archive: self, inventory, manifest, digest, signature })
    }
}

fn manifest(archive: &Archive, inventory: &Inventory) -> Result<Manifest, Error> {
    let entry = archive.entry(MANIFEST).ok_or(InventoryError::NoManifest)?;
    let bytes = archive.bytes(entry, MAX_MANIFEST_BYTES as u64)?;
    let manifest = manifest_schema::parse_bytes(MANIFEST, &bytes).map_err(Error::Manifest)?;
    let (listed, found) =
        (format!("{} {}", inventory.plugin, inventory.version), format!("{} {}", manifest.name, manifest.version));
    if listed != found {
        // Both from the package: shown as hostile text.
        return Err(InventoryError::OtherPlugin { listed: shown(&listed), found: shown(&found) }.into());
    }
    Ok(manifest)
}

/// Unpacks one file and holds it against the inventory while it passes.
fn hold(
    archive: &Archive,
    entry: &Entry,
    inventory: &Inventory,
    sink: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), Error> {
    let path = entry.path().as_str();
    let changed = |what| InventoryError::Changed { path: shown(path), what };
    let listed = inventory.file(path).ok_or_else(|| InventoryError::Added(shown(path)))?;
    if listed.size != entry.size() {
        return Err(changed("size").into());
    }
    if listed.mode != FileMode::of(entry.executable()) {
        return Err(changed("mode").into());
    }
    let mut hasher = Sha256::new();
    archive.unpack(entry, &mut |piece| {
        hasher.update(piece);
        sink(piece)
    })?;
    if FileDigest::finish(hasher) == listed.sha256 { Ok(()) } else { Err(changed("digest").into()) }
}

impl Bundle {
    /// What the plugin says about itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its files.
    #[must_use]
    pub const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Its identity: the SHA-256 of its inventory. Signatures and the way it is packed are no part of it.
    #[must_use]
    pub const fn digest(&self) -> FileDigest {
        self.digest
    }

    /// Its signatures, as they lie in it: untrusted.
    #[must_use]
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The archive it is in.
    #[must_use]
    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Writes its files, inventory and signatures into a folder that is there and empty; all of it is on disk when this returns.
    ///
    /// Each byte is held against the inventory again: the archive may have changed since. A failure leaves a part in the folder, which the
    /// caller removes.
    ///
    /// # Errors
    /// When the folder is not empty or can't be written, or the archive changed.
    pub fn unpack_into(&self, staging: &Path) -> Result<(), Error> {
        let fails = |action: &'static str| move |error: std::io::Error| Error::file(action, staging, error);
        if fs::read_dir(staging).map_err(fails("read"))?.next().is_some() {
            return Err(Error::file("unpack into", staging, std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty)));
        }
        let folder = File::open(staging).map_err(fails("open"))?;
        for entry in self.archive.entries() {
            let path = entry.path();
            let mut file = create(&folder, path).map_err(|error| Error::file("make", staging.join(path.as_str()), error))?;
            let mut sink = |piece: &[u8]| file.write_all(piece);
            match path.as_str() {
                INVENTORY | SIGNATURE => sink(&self.paper(entry)?).map_err(ArchiveError::Write)?,
                _ => hold(&self.archive, entry, &self.inventory, &mut sink)?,
            }
            let mode = Mode::from_raw_mode(FileMode::of(entry.executable()).bits());
            rustix::fs::fchmod(&file, mode)
                .map_err(|error| Error::file("set the mode of", staging.join(path.as_str()), error))?;
            file.sync_all().map_err(|error| Error::file("flush", staging.join(path.as_str()), error))?;
        }
        rustix::fs::syncfs(&folder).map_err(|error| Error::file("flush", staging, error))
    }

    /// The inventory or the signatures, as verified.
    fn paper(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let bytes = self.archive.bytes(entry, MAX_PAPER_BYTES)?;
        let path = entry.path().as_str();
        let same =
            if path == INVENTORY { FileDigest::of(&bytes) == self.digest } else { Some(bytes.as_slice()) == self.signature() };
        if same { Ok(bytes) } else { Err(InventoryError::Changed { path: shown(path), what: "digest" }.into()) }
    }
}

/// Makes a new file below an open folder, one part of its path after the other and following no link: whoever can write into the staging
/// folder still can't lead a byte out of it.
pub(crate) fn create(staging: &File, path: &PackagePath) -> rustix::io::Result<File> {
    const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let (folders, name) = path.split();
    let mut folder: Option<OwnedFd> = None;
    for part in folders {
        let at = folder.as_ref().map_or(rustix::fd::AsFd::as_fd(staging), rustix::fd::AsFd::as_fd);
        match rustix::fs::mkdirat(at, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        folder = Some(rustix::fs::openat(at, part, FOLDER, Mode::empty())?);
    }
    let at = folder.as_ref().map_or(rustix::fd::AsFd::as_fd(staging), rustix::fd::AsFd::as_fd);
    rustix::fs::openat(at, name, NEW, Mode::from_raw_mode(0o600)).map(File::from)
}
