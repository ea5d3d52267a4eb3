//! The build context: a folder of the plugin as one tar stream, the same bytes for the same files, so that its digest can name an image.
//!
//! Links that lead out of the folder are refused: a build must not carry the operator's files into an image. What stays out is in `ignored`.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use crate::ignored::{self, Ignored};

const BLOCK: usize = 512;
/// Most files and folders of a context.
const MOST: usize = 20_000;
/// Most of them that are looked at, those that stay out included.
const MOST_SEEN: usize = 10 * MOST;
/// Bytes of a Dockerfile.
const MOST_DOCKERFILE: u64 = 1 << 20;
/// Never part of an image: version control, caches of the builders of others.
const LEFT_OUT: [&str; 5] = [".git", "__pycache__", "node_modules", "target", ".venv"];

/// Why a folder can't be a build context.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("`{path}` can't be read: {source}")]
    Read { path: String, source: io::Error },
    #[error("the build context has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the build context has more than {MOST} files")]
    TooMany,
    #[error("`{path}` is a link that leads out of the build context")]
    Escapes { path: String },
    #[error("the path `{path}` is too long for an archive")]
    LongName { path: String },
    #[error("{0}")]
    Ignored(String),
    #[error("the Dockerfile `{path}` is not there, or is no plain text file of at most 1 MiB")]
    Dockerfile { path: String },
}

/// A context, and the one file of it that is read here.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) tar: Vec<u8>,
    /// The same bytes as in the archive: what was checked is what is built.
    pub(crate) dockerfile: String,
}

/// One entry: its path in the archive, where it lies, and what it is.
struct Entry {
    name: String,
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    File { executable: bool },
    Link { target: String },
}

/// The folder as a tar stream. Names are sorted, times and owners are zero. The Dockerfile is part of it whatever `.dockerignore` says.
pub(crate) fn pack(root: &Path, dockerfile: &str, limit: usize) -> Result<Packed, ContextError> {
    let file: PathBuf = Path::new(dockerfile).components().filter(|part| !matches!(part, Component::CurDir)).collect();
    let mut walk =
        Walk { root, always: vec![file.clone(), ignored::FILE.into()], ignored: patterns(root)?, seen: 0, entries: Vec::new() };
    walk.visit(root)?;
    let mut entries = walk.entries;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut tar, mut text) = (Vec::new(), None);
    for entry in entries {
        let content = content(&entry, tar.len(), limit)?;
        append(&mut tar, &entry, &content, limit)?;
        if Path::new(&entry.name) == file && content.len() as u64 <= MOST_DOCKERFILE && matches!(entry.kind, Kind::File { .. }) {
            text = String::from_utf8(content).ok();
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    // A link would be another file by the time that the engine follows it.
    let dockerfile = text.ok_or_else(|| ContextError::Dockerfile { path: dockerfile.to_owned() })?;
    Ok(Packed { tar, dockerfile })
}

fn patterns(root: &Path) -> Result<Ignored, ContextError> {
    let path = root.join(ignored::FILE);
    // Not through a link: its bytes could end in an error message.
    if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
        return Ok(Ignored::default());
    }
    let text = fs::read_to_string(&path).map_err(|source| ContextError::Read { path: ignored::FILE.to_owned(), source })?;
    Ignored::parse(&text).map_err(ContextError::Ignored)
}

/// What goes into the archive, as it is found.
struct Walk<'a> {
    root: &'a Path,
    /// Packed whatever the patterns say.
    always: Vec<PathBuf>,
    ignored: Ignored,
    seen: usize,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn visit(&mut self, folder: &Path) -> Result<(), ContextError> {
        let unread = |path: &Path| {
            let path = path.display().to_string();
            move |source| ContextError::Read { path, source }
        };
        for item in fs::read_dir(folder).map_err(unread(folder))? {
            let item = item.map_err(unread(folder))?;
            let path = item.path();
            self.seen += 1;
            if self.seen > MOST_SEEN {
                return Err(ContextError::TooMany);
            }
            if LEFT_OUT.iter().any(|name| item.file_name() == *name) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).map_err(unread(&path))?;
            self.add(folder, path, &meta)?;
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path, path: PathBuf, meta: &fs::Metadata) -> Result<(), ContextError> {
        let inside = path.strip_prefix(self.root).unwrap_or(&path);
        let out = self.ignored.leaves_out(inside) && !self.always.iter().any(|file| file == inside);
        let name = inside.to_string_lossy().into_owned();
        if meta.is_dir() {
            // Something in it may be taken back, or be the Dockerfile.
            if out && !self.ignored.takes_back() && !self.always.iter().any(|file| file.starts_with(inside)) {
                return Ok(());
            }
            if !out {
                self.keep(Entry { name: format!("{name}/"), path: path.clone(), kind: Kind::Folder })?;
            }
            return self.visit(&path);
        }
        if out {
            return Ok(());
        }
        if meta.is_symlink() {
            let target =
                fs::read_link(&path).map_err(|source| ContextError::Read { path: path.display().to_string(), source })?;
            if leads_out(self.root, folder, &target) {
                return Err(ContextError::Escapes { path: name });
            }
            return self.keep(Entry { name, path, kind: Kind::Link { target: target.to_string_lossy().into_owned() } });
        }
        if meta.is_file() {
            let executable = meta.permissions().mode() & 0o111 != 0;
            return self.keep(Entry { name, path, kind: Kind::File { executable } });
        }
        Ok(())
    }

    fn keep(&mut self, entry: Entry) -> Result<(), ContextError> {
        if self.entries.len() >= MOST {
            return Err(ContextError::TooMany);
        }
        self.entries.push(entry);
        Ok(())
    }
}

fn leads_out(root: &Path, folder: &Path, target: &Path) -> bool {
    let mut depth = folder.strip_prefix(root).map_or(0, |inside| inside.components().count());
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return true,
        }
    }
    false
}

fn content(entry: &Entry, before: usize, limit: usize) -> Result<Vec<u8>, ContextError> {
    if !matches!(entry.kind, Kind::File { .. }) {
        return Ok(Vec::new());
    }
    let unread = |source| ContextError::Read { path: entry.path.display().to_string(), source };
    let size = fs::metadata(&entry.path).map_err(unread)?.len();
    if usize::try_from(size).map_or(true, |size| size.saturating_add(before) > limit) {
        return Err(ContextError::TooLarge { limit });
    }
    fs::read(&entry.path).map_err(unread)
}

fn append(tar: &mut Vec<u8>, entry: &Entry, content: &[u8], limit: usize) -> Result<(), ContextError> {
    let header = header(entry, content.len()).ok_or_else(|| ContextError::LongName { path: entry.name.clone() })?;
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    if tar.len() > limit {
        return Err(ContextError::TooLarge { limit });
    }
    Ok(())
}

/// A `ustar` header; `None` when the name fits into neither field.
fn header(entry: &Entry, size: usize) -> Option<[u8; BLOCK]> {
    let mut block = [0_u8; BLOCK];
    let (prefix, name) = split(&entry.name)?;
    put(&mut block, 0, name);
    put(&mut block, 345, prefix);
    let (mode, kind, link) = match &entry.kind {
        Kind::Folder => (0o755, b'5', ""),
        Kind::File { executable } => (if *executable { 0o755 } else { 0o644 }, b'0', ""),
        Kind::Link { target } if target.len() <= 100 => (0o777, b'2', target.as_str()),
        Kind::Link { .. } => return None,
    };
    put(&mut block, 100, &format!("{mode:07o}"));
    put(&mut block, 108, "0000000");
    put(&mut block, 116, "0000000");
    put(&mut block, 124, &format!("{size:011o}"));
    put(&mut block, 136, "00000000000");
    put(&mut block, 148, "        ");
    put(&mut block, 156, std::str::from_utf8(&[kind]).unwrap_or("0"));
    put(&mut block, 157, link);
    put(&mut block, 257, "ustar");
    put(&mut block, 263, "00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, &format!("{sum:06o}\0 "));
    Some(block)
}

fn put(block: &mut [u8; BLOCK], at: usize, text: &str) {
    for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
        *place = byte;
    }
}

/// A long name is cut at a slash into the two fields that there are.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= 100 {
        return Some(("", name));
    }
    name.match_indices('/').find_map(|(at, _)| {
        let (prefix, rest) = (name.get(..at)?, name.get(at + 1..)?);
        (prefix.len() <= 155 && rest.len() <= 100 && !rest.is_empty()).then_some((prefix, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_the_same_bytes_and_others_are_not() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            fs::create_dir(folder.path().join("src")).unwrap();
            fs::write(folder.path().join("src/main.py"), "print()\n").unwrap();
            fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        }
        let packed = |folder: &tempfile::TempDir| pack(folder.path(), "./Dockerfile", 1 << 20).unwrap();
        let first = packed(&a);
        assert_eq!(first.tar, packed(&b).tar);
        assert_eq!((first.tar.len() % BLOCK, first.dockerfile.as_str()), (0, "FROM scratch\n"));
        fs::write(b.path().join("src/main.py"), "print(1)\n").unwrap();
        assert_ne!(first.tar, packed(&b).tar);
    }

    #[test]
    fn what_leads_out_or_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pack = |limit| pack(folder.path(), "Dockerfile", limit);
        fs::create_dir(folder.path().join("in")).unwrap();
        fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(folder.path().join("in/file"), vec![0; 5000]).unwrap();
        std::os::unix::fs::symlink("../in/file", folder.path().join("in/near")).unwrap();
        assert!(pack(1 << 20).is_ok());
        assert!(matches!(pack(4000), Err(ContextError::TooLarge { limit: 4000 })));
        for target in ["/etc/passwd", "../../etc/passwd", "x/../../../etc"] {
            let link = folder.path().join("in/far");
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(matches!(pack(1 << 20), Err(ContextError::Escapes { .. })), "{target}");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn what_the_ignore_file_names_stays_out_and_its_change_alone_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let packed = || pack(folder.path(), "build/Dockerfile", 1 << 20).unwrap();
        let has =
            |packed: &Packed, name: &str| packed.tar.chunks(BLOCK).any(|block| block.starts_with(format!("{name}\0").as_bytes()));
        write("build/Dockerfile", "FROM scratch\n");
        for name in ["key.pem", "docs/a.md", "docs/keep.md", "main.py"] {
            write(name, name);
        }
        // A link that leads out hurts nobody when it stays out.
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("docs/out")).unwrap();
        write(".dockerignore", "*.pem\nbuild\ndocs\n!docs/keep.md\n");
        let first = packed();
        for (name, is) in
            [("main.py", true), ("docs/keep.md", true), ("build/Dockerfile", true), ("key.pem", false), ("docs/a.md", false)]
        {
            assert_eq!(has(&first, name), is, "{name}");
        }
        write("key.pem", "another");
        assert_eq!(first.tar, packed().tar);
        write(".dockerignore", "[");
        assert!(matches!(pack(folder.path(), "build/Dockerfile", 1 << 20), Err(ContextError::Ignored(_))));
    }

    #[test]
    fn the_dockerfile_is_a_plain_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("real"), "FROM scratch\n").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("Dockerfile")).unwrap();
        assert!(pack(folder.path(), "real", 1 << 20).is_ok());
        for name in ["Dockerfile", "nowhere"] {
            assert!(matches!(pack(folder.path(), name, 1 << 20), Err(ContextError::Dockerfile { .. })), "{name}");
        }
    }

    #[test]
    fn long_names_are_cut_at_a_slash() {
        let long = format!("{}/{}", "a".repeat(90), "b".repeat(60));
        assert_eq!(split(&long), Some(("a".repeat(90).as_str(), "b".repeat(60).as_str())));
        assert_eq!(split(&"c".repeat(101)), None);
    }
}
