//! From a plugin's folder to a package: which files, in which order, with which papers. What an install would refuse is refused here, with
//! the same words: the package that was written is opened and verified before it is handed out.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use manifest_schema::{MAX_MANIFEST_BYTES, Manifest};
use rustix::fs::{Mode, OFlags};

use crate::{
    Archive, Bundle, Error, FileDigest, FileMode, INVENTORY, Inventory, Listed, MANIFEST,
    archive::shown,
    ignore::{IGNORE_FILE, Ignored, MAX_IGNORE_BYTES},
    limits::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES},
    path::{Clash, PackagePath, PathProblem, PathSet},
    writer::ArchiveWriter,
};

/// Why a folder can't be made into a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No manifest in it.
    #[error("`{}` holds no `{MANIFEST}`", .0.display())]
    NoManifest(PathBuf),
    /// The manifest is not valid.
    #[error("the manifest is not valid: {0}")]
    Manifest(manifest_schema::Diagnostics),
    /// A path that a package can't have.
    #[error("{path}: {problem}")]
    Path {
        /// The path, shown.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Two paths that a package can't have at once.
    #[error("{path}: {clash}")]
    Clash {
        /// The later path, shown.
        path: String,
        /// What is wrong with it.
        clash: Clash,
    },
    /// A link: what it points at is not the package's.
    #[error("{0} is a symbolic link: packages hold files only")]
    Link(String),
    /// Pipe, socket, device.
    #[error("{0} is neither a file nor a folder")]
    Special(String),
    /// A path that is no text.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    /// A file larger than a package takes.
    #[error("{path} has {found} bytes, a file of a package at most {MAX_FILE_BYTES}")]
    FileTooLarge {
        /// The path, shown.
        path: String,
        /// Bytes found.
        found: u64,
    },
    /// All files together are larger than a package takes.
    #[error("the files have more than {MAX_TOTAL_BYTES} bytes together")]
    TooLarge,
    /// More files than a package takes.
    #[error("there are more than {MAX_FILES} files, the package's own papers included")]
    TooManyFiles,
    /// The author's list can't be read.
    #[error("`{IGNORE_FILE}`: {0}")]
    Ignore(String),
}

/// A plugin's folder, looked through: what would go into its package.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    manifest: Manifest,
    files: Vec<(PackagePath, FileMode)>,
    /// Files from elsewhere, by the path that they have in the package.
    added: BTreeMap<PackagePath, PathBuf>,
    left_out: Vec<String>,
}

/// What was packed.
#[derive(Debug)]
pub struct Packed {
    /// The package, opened and verified.
    pub bundle: Bundle,
    /// Its size in bytes.
    pub bytes: u64,
    /// Paths that stayed out; folders end in `/`.
    pub left_out: Vec<String>,
}

/// The folders still to be looked into, and what was found.
struct Walk<'a> {
    root: &'a Path,
    ignored: &'a Ignored,
    paths: PathSet,
    files: Vec<(PackagePath, FileMode)>,
    left_out: Vec<String>,
    folders: Vec<String>,
}

impl Folder {
    /// Looks through a plugin's folder.
    ///
    /// # Errors
    /// When something in it can't be in a package.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let manifest = read(root, MANIFEST, MAX_MANIFEST_BYTES as u64).map_err(|error| match error {
            Error::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                PackageError::NoManifest(root.to_owned()).into()
            }
            other => other,
        })?;
        let manifest = manifest_schema::parse_bytes(MANIFEST, &manifest).map_err(PackageError::Manifest)?;
        let list = match read(root, IGNORE_FILE, MAX_IGNORE_BYTES) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| PackageError::Ignore("is not UTF-8".to_owned()))?,
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(other) => return Err(other),
        };
        let ignored = Ignored::parse(&list).map_err(PackageError::Ignore)?;
        let mut walk = Walk {
            root,
            ignored: &ignored,
            paths: PathSet::default(),
            files: Vec::new(),
            left_out: Vec::new(),
            folders: vec![String::new()],
        };
        while let Some(folder) = walk.folders.pop() {
            walk.folder(&folder)?;
        }
        let (mut files, mut left_out) = (walk.files, walk.left_out);
        files.sort();
        left_out.sort();
        Ok(Self { root: root.to_owned(), manifest, files, added: BTreeMap::new(), left_out })
    }

    /// Puts a file from elsewhere at a path of the package, in the place of the folder's own if it has one there.
    ///
    /// # Errors
    /// When the path can't be in the package.
    pub fn add(&mut self, path: &str, file: &Path) -> Result<(), Error> {
        let parsed = PackagePath::parse(path).map_err(|problem| PackageError::Path { path: shown(path), problem })?;
        self.files.retain(|(other, _)| *other != parsed);
        let mut paths = PathSet::default();
        for other in self.files.iter().map(|(other, _)| other).chain([&parsed]) {
            paths.add(other).map_err(|clash| PackageError::Clash { path: shown(path), clash })?;
        }
        // Two are kept for the inventory and a signature.
        if self.files.len() + 2 >= MAX_FILES {
            return Err(PackageError::TooManyFiles.into());
        }
        self.files.push((parsed.clone(), FileMode::of(false)));
        self.files.sort();
        self.added.insert(parsed, file.to_owned());
        Ok(())
    }

    /// Leaves out everything in a folder of the plugin.
    pub fn leave_out(&mut self, folder: &str) {
        let below = format!("{folder}/");
        self.files.retain(|(path, _)| !path.as_str().starts_with(&below));
    }

    fn bytes(&self, path: &PackagePath) -> Result<Vec<u8>, Error> {
        match self.added.get(path).and_then(|file| Some((file.parent()?, file.file_name()?.to_str()?))) {
            Some((folder, name)) => read(folder, name, MAX_FILE_BYTES),
            None => read(&self.root, path.as_str(), MAX_FILE_BYTES),
        }
    }

    /// What the plugin says about itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the package into an empty file that can be read, too, and verifies what was written.
    ///
    /// # Errors
    /// When a file can't be read or does not fit, or the package would be refused.
    pub fn pack(self, mut out: File) -> Result<Packed, Error> {
        let fails = |error: std::io::Error| Error::file("write", "the package", error);
        // Twice over the files, so that the inventory comes first and only one file at a time is in memory.
        let mut listed = Vec::with_capacity(self.files.len());
        let mut total = 0;
        for (path, mode) in &self.files {
            let bytes = self.bytes(path)?;
            total += bytes.len() as u64;
            if total > MAX_TOTAL_BYTES {
                return Err(PackageError::TooLarge.into());
            }
            let sha256 = FileDigest::of(&bytes);
            listed.push(Listed { path: path.to_string(), size: bytes.len() as u64, mode: *mode, sha256 });
        }
        let inventory = Inventory {
            format: 1,
            plugin: self.manifest.name.to_string(),
            version: self.manifest.version.to_string(),
            files: listed,
        };
        let paper = inventory.bytes().map_err(|error| Error::Internal(error.to_string()))?;
        let mut writer = ArchiveWriter::new(BufWriter::new(&mut out));
        let name = PackagePath::parse(INVENTORY).map_err(|problem| Error::Internal(problem.to_string()))?;
        writer.add(&name, &paper, false).map_err(fails)?;
        for (path, mode) in &self.files {
            let bytes = self.bytes(path)?;
            writer.add(path, &bytes, *mode == FileMode::Executable).map_err(fails)?;
        }
        writer.finish().map_err(fails)?.flush().map_err(fails)?;
        out.sync_all().map_err(fails)?;
        let bytes = out.stream_position().map_err(fails)?;
        // A file that changed between the two readings is found here.
        let bundle = Archive::judge(out)?.verify()?;
        Ok(Packed { bundle, bytes, left_out: self.left_out })
    }
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str) -> Result<(), Error> {
        let path = self.root.join(folder);
        let entries = fs::read_dir(&path).map_err(|error| Error::file("read", &path, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| Error::file("read", &path, error))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| PackageError::NotUtf8(shown(&name.to_string_lossy())))?;
            let below = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let metadata = fs::symlink_metadata(entry.path()).map_err(|error| Error::file("read", entry.path(), error))?;
            if self.ignored.has(&below, metadata.is_dir()) {
                self.left_out.push(if metadata.is_dir() { below + "/" } else { below });
            } else if metadata.is_dir() {
                self.path(&below)?;
                self.folders.push(below);
            } else {
                self.file(&below, &metadata)?;
            }
        }
        Ok(())
    }

    fn path(&self, path: &str) -> Result<PackagePath, Error> {
        PackagePath::parse(path).map_err(|problem| PackageError::Path { path: shown(path), problem }.into())
    }

    fn file(&mut self, below: &str, metadata: &fs::Metadata) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        if metadata.is_symlink() {
            return Err(PackageError::Link(shown(below)).into());
        }
        if !metadata.is_file() {
            return Err(PackageError::Special(shown(below)).into());
        }
        let path = self.path(below)?;
        self.paths.add(&path).map_err(|clash| PackageError::Clash { path: shown(below), clash })?;
        // Two are kept for the inventory and a signature.
        if self.files.len() + 2 >= MAX_FILES {
            return Err(PackageError::TooManyFiles.into());
        }
        self.files.push((path, FileMode::of(metadata.permissions().mode() & 0o111 != 0)));
        Ok(())
    }
}

/// Reads a file of the folder, never through a link and never more than `limit` bytes.
fn read(root: &Path, below: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let path = root.join(below);
    let fails = |error: std::io::Error| Error::file("read", &path, error);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(PackageError::Link(shown(below)).into()),
        Err(error) => return Err(fails(error.into())),
    };
    if !file.metadata().map_err(fails)?.is_file() {
        return Err(PackageError::Special(shown(below)).into());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fails)?;
    if bytes.len() as u64 > limit {
        let found = fs::metadata(&path).map_err(fails)?.len();
        return Err(PackageError::FileTooLarge { path: shown(below), found }.into());
    }
    Ok(bytes)
}
