//! From folders to plugins: finds them, bounds them, parses their manifests, hashes their files, and settles names that occur twice.
//!
//! An installed plugin is held against the digest that the lockfile names, whole, when it is first seen and whenever the system says that one
//! of its files changed. A plugin that did not change since the last look is taken from memory. What may be served is decided in `build.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use manifest_schema::{Diagnostic, Diagnostics, Digest, MAX_MANIFEST_BYTES, Manifest};
use policy::{Plugin, Source};
use registry::{Entry, Lockfile, Store};
use sha2::Digest as _;

use crate::{PluginsFolder, PluginsSource, StartError};

const MANIFEST: &str = "plugin.yaml";
/// The most files of one plugin.
const MAX_FILES: usize = 20_000;
/// The most bytes of one plugin's files.
const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// The deepest folder of a plugin.
const MAX_FOLDER_DEPTH: usize = 32;
/// A file changed this recently may change again without a new time stamp, so its plugin is hashed again at the next look.
const RACY: Duration = Duration::from_secs(2);

/// A plugin that cannot be served because it cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPlugin {
    /// The plugin's name where it is known, else its folder's.
    pub name: String,
    /// Its folder.
    pub root: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// What is wrong, with its place.
    pub diagnostics: Diagnostics,
}

/// What was found in the folders.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// One plugin a name, in the order of names, each with what it shadows.
    pub(crate) plugins: Vec<(Arc<Plugin>, Vec<String>)>,
    pub(crate) broken: Vec<BrokenPlugin>,
    /// Folders to watch beside the given ones: plugins that are links to elsewhere.
    pub(crate) linked: BTreeSet<PathBuf>,
}

/// Remembers plugins by folder, so that a look at a thousand unchanged ones reads no file.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    known: HashMap<PathBuf, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    stamp: Vec<FileStamp>,
    settled: bool,
    result: Result<Arc<Plugin>, BrokenPlugin>,
}

/// Changes when a file is written, replaced or renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    path: PathBuf,
    kind: FileKind,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FileKind {
    File,
    /// A link inside the plugin, with where it points.
    Link(PathBuf),
}

impl Loader {
    /// Looks at every folder.
    ///
    /// # Errors
    /// A folder itself cannot be read; whatever is wrong inside is a [`BrokenPlugin`].
    pub(crate) fn look(&mut self, folders: &[PluginsFolder], store: &Store, lockfile: &Lockfile) -> Result<Found, StartError> {
        let mut found = Found::default();
        let mut seen = HashMap::new();
        let mut by_name: BTreeMap<String, Vec<Arc<Plugin>>> = BTreeMap::new();
        let mut places: Vec<(PluginsSource, Place<'_>)> = Vec::new();
        for folder in folders {
            let unreadable = |source| StartError::PluginsFolder { path: folder.path.clone(), source };
            let path = fs::canonicalize(&folder.path).map_err(unreadable)?;
            for root in plugin_roots(&path).map_err(unreadable)? {
                if !root.starts_with(&path) {
                    found.linked.insert(root.clone());
                }
                places.push((folder.source, Place::Folder(root)));
            }
        }
        for entry in lockfile.entries().filter(|entry| entry.active) {
            found.linked.extend(fs::canonicalize(store.root(entry.release.digest)));
            places.push((PluginsSource::Store, Place::Installed(entry)));
        }
        // Stable: of two folders with the same source the earlier one stays first, and wins.
        places.sort_by_key(|(source, _)| std::cmp::Reverse(*source));
        for (source, place) in places {
            let (root, known) = match place {
                Place::Installed(entry) => self.load_installed(store, entry),
                Place::Folder(root) => {
                    let source = match source {
                        PluginsSource::Bundled => Source::Bundled,
                        PluginsSource::Store => Source::Store,
                        // The plugin's own folder: a grant holds whether it or the folder around it is named on the command line.
                        PluginsSource::Folder => Source::Folder(root.clone()),
                    };
                    let known = self.load(&root, &source);
                    (root, known)
                }
            };
            match &known.result {
                Ok(plugin) => {
                    let same_name = by_name.entry(plugin.manifest.name.to_string()).or_default();
                    if !same_name.iter().any(|other| other.root == plugin.root) {
                        same_name.push(plugin.clone());
                    }
                }
                Err(broken) => found.broken.push(broken.clone()),
            }
            seen.insert(root, known);
        }
        self.known = seen;
        for plugins in by_name.into_values() {
            let mut plugins = plugins.into_iter();
            let Some(first) = plugins.next() else { continue };
            let notes = plugins
                .map(|other| format!("shadows `{}` of {} in `{}`", other.manifest.name, other.source, other.root.display()));
            found.plugins.push((first, notes.collect()));
        }
        Ok(found)
    }

    fn load(&self, root: &Path, source: &Source) -> Known {
        let name = || root.file_name().map_or_else(|| root.display().to_string(), |name| name.to_string_lossy().into_owned());
        let broken = |code, message: String| BrokenPlugin {
            name: name(),
            root: root.to_owned(),
            source: source.clone(),
            diagnostics: Diagnostics(vec![problem(root, code, message)]),
        };
        let stamp = match survey(root, Whole::WhatCounts) {
            Ok(stamp) => stamp,
            Err(message) => return Known { stamp: Vec::new(), settled: false, result: Err(broken("plugin.files", message)) },
        };
        if let Some(known) = self.unchanged(root, &stamp, source) {
            return known.clone();
        }
        let settled = is_settled(&stamp);
        let result = read_plugin(root, source, &stamp).map_err(|failure| match failure {
            Unread::Files(message) => broken("plugin.files", message),
            Unread::Manifest(diagnostics) => BrokenPlugin { diagnostics, ..broken("", String::new()) },
        });
        // The same content under new time stamps is the same plugin: nothing that hangs on it is made again.
        let result = match (result, self.known.get(root).map(|known| &known.result)) {
            (Ok(new), Some(Ok(old))) if *new == **old => Ok(old.clone()),
            (result, _) => result,
        };
        Known { stamp, settled, result }
    }

    /// A plugin that the lockfile names, when its folder in the store is the package of that digest.
    fn load_installed(&self, store: &Store, entry: &Entry) -> (PathBuf, Known) {
        let place = store.root(entry.release.digest);
        let root = fs::canonicalize(&place).unwrap_or(place);
        let broken = |code, message: String, hint: &str| {
            let hint = Some(hint.to_owned());
            let diagnostics = Diagnostics(vec![Diagnostic { hint, ..problem(&root, code, message) }]);
            BrokenPlugin { name: entry.name.to_string(), root: root.clone(), source: Source::Store, diagnostics }
        };
        let stamp = survey(&root, Whole::Everything).unwrap_or_default();
        if let Some(known) = self.unchanged(&root, &stamp, &Source::Store) {
            return (root.clone(), known.clone());
        }
        let settled = !stamp.is_empty() && is_settled(&stamp);
        let result = match store.check(entry.release.digest) {
            Err(error) => Err(broken("package.tampered", error.to_string(), "pegboard sync fetches it again")),
            Ok(_) => match read_manifest(&root) {
                Ok(manifest) if manifest.name == entry.name => {
                    let content = Digest::of([b"package".as_slice(), entry.release.digest.to_string().as_bytes()]);
                    let plugin = Plugin { manifest, root: root.clone(), source: Source::Store, content };
                    Ok(Arc::new(plugin))
                }
                Ok(manifest) => {
                    let message = format!("the lockfile names `{}`, the package is `{}`", entry.name, manifest.name);
                    Err(broken("package.other", message, "pegboard install it again"))
                }
                Err(Unread::Files(message)) => Err(broken("plugin.files", message, "pegboard sync fetches it again")),
                Err(Unread::Manifest(diagnostics)) => Err(BrokenPlugin { diagnostics, ..broken("", String::new(), "") }),
            },
        };
        let result = match (result, self.known.get(&root).map(|known| &known.result)) {
            (Ok(new), Some(Ok(old))) if *new == **old => Ok(old.clone()),
            (result, _) => result,
        };
        (root.clone(), Known { stamp, settled, result })
    }

    fn unchanged(&self, root: &Path, stamp: &[FileStamp], source: &Source) -> Option<&Known> {
        let known = self.known.get(root)?;
        let same_source = known.result.as_ref().map_or_else(|broken| &broken.source, |plugin| &plugin.source) == source;
        (known.settled && known.stamp == stamp && same_source).then_some(known)
    }
}

/// Where a plugin is.
enum Place<'a> {
    Folder(PathBuf),
    Installed(&'a Entry),
}

/// Which files of a plugin are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// Without hidden folders and byte code, which change without the plugin changing.
    WhatCounts,
    /// All: nothing in the store changes.
    Everything,
}

enum Unread {
    Files(String),
    Manifest(Diagnostics),
}

fn read_plugin(root: &Path, source: &Source, stamp: &[FileStamp]) -> Result<Arc<Plugin>, Unread> {
    let manifest = read_manifest(root)?;
    let content = digest(root, stamp).map_err(Unread::Files)?;
    Ok(Arc::new(Plugin { manifest, root: root.to_owned(), source: source.clone(), content }))
}

fn read_manifest(root: &Path) -> Result<Manifest, Unread> {
    let path = root.join(MANIFEST);
    let shown = path.display().to_string();
    let mut text = Vec::new();
    fs::File::open(&path)
        .and_then(|file| file.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| Unread::Files(format!("`{MANIFEST}` cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| Unread::Files(format!("`{MANIFEST}` is not UTF-8")))?;
    manifest_schema::parse(&shown, &text).map_err(Unread::Manifest)
}

pub(crate) fn problem(root: &Path, code: &'static str, message: String) -> Diagnostic {
    let file = root.join(MANIFEST).display().to_string();
    Diagnostic { code, file, line: 1, column: 1, path: String::new(), message, expected: None, found: None, hint: None }
}

/// The plugins of a folder: itself, or each sub-folder with a manifest. A sub-folder may be a link: the operator put it there.
fn plugin_roots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if folder.join(MANIFEST).is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.join(MANIFEST).is_file() {
            roots.push(fs::canonicalize(&path)?);
        }
    }
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Every file of a plugin in order.
fn survey(root: &Path, whole: Whole) -> Result<Vec<FileStamp>, String> {
    let mut stamps = Vec::new();
    let mut total = 0_u64;
    let mut open = vec![(root.to_owned(), 0_usize)];
    while let Some((folder, depth)) = open.pop() {
        if depth > MAX_FOLDER_DEPTH {
            return Err(format!("folders are nested deeper than {MAX_FOLDER_DEPTH} levels"));
        }
        let entries = fs::read_dir(&folder).map_err(|error| format!("`{}` cannot be read: {error}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("`{}` cannot be read: {error}", folder.display()))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let metadata = fs::symlink_metadata(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
            if metadata.is_dir() {
                if whole == Whole::Everything || !(name.starts_with('.') || name == "__pycache__") {
                    open.push((path, depth + 1));
                }
                continue;
            }
            total = total.saturating_add(metadata.len());
            if stamps.len() >= MAX_FILES || total > MAX_TOTAL_BYTES {
                return Err(format!("has more than {MAX_FILES} files or {} MiB", MAX_TOTAL_BYTES >> 20));
            }
            let kind = file_kind(root, &path, &metadata)?;
            stamps.push(FileStamp {
                path: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                kind,
                inode: metadata.ino(),
                size: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            });
        }
    }
    stamps.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(stamps)
}

fn file_kind(root: &Path, path: &Path, metadata: &fs::Metadata) -> Result<FileKind, String> {
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    if metadata.is_symlink() {
        let target = fs::canonicalize(path).map_err(|error| format!("link `{shown}` leads nowhere: {error}"))?;
        // A link out of the folder would let a plugin read, and have hashed and mounted, what nobody gave it.
        if !target.starts_with(root) {
            return Err(format!("link `{shown}` leads out of the plugin's folder"));
        }
        return Ok(FileKind::Link(target.strip_prefix(root).unwrap_or(&target).to_owned()));
    }
    if metadata.is_file() { Ok(FileKind::File) } else { Err(format!("`{shown}` is neither a file nor a folder")) }
}

fn is_settled(stamp: &[FileStamp]) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let edge = i64::try_from(now.saturating_sub(RACY).as_secs()).unwrap_or(i64::MAX);
    stamp.iter().all(|file| file.changed.0 < edge && file.modified.0 < edge)
}

fn digest(root: &Path, stamps: &[FileStamp]) -> Result<Digest, String> {
    let mut parts: Vec<Vec<u8>> = Vec::with_capacity(stamps.len() * 2);
    let mut buffer = vec![0; 64 << 10];
    for stamp in stamps {
        parts.push(stamp.path.as_os_str().as_encoded_bytes().to_vec());
        match &stamp.kind {
            FileKind::Link(target) => parts.push([b"link:", target.as_os_str().as_encoded_bytes()].concat()),
            FileKind::File => parts.push(hash_file(&root.join(&stamp.path), stamp.size, &mut buffer)?),
        }
    }
    Ok(Digest::of(parts.iter().map(Vec::as_slice)))
}

fn hash_file(path: &Path, size: u64, buffer: &mut [u8]) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("`{}` cannot be read: {error}", path.display());
    // A file that grows while it is read is read no further: its new time stamp brings us back.
    let mut file = fs::File::open(path).map_err(unreadable)?.take(size);
    let mut hasher = sha2::Sha256::new();
    loop {
        match file.read(buffer).map_err(unreadable)? {
            0 => return Ok(hasher.finalize().to_vec()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
