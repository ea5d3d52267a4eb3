//! The build context: a folder of the plugin as one tar stream, the same bytes for the same files, so that its digest can name an image.
//!
//! Links that lead out of the folder are refused: a build must not carry the operator's files into an image.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

const BLOCK: usize = 512;
/// Most files and folders of a context.
const MOST: usize = 20_000;
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

/// The folder as a tar stream. Names are sorted, times and owners are zero.
pub(crate) fn pack(root: &Path, limit: usize) -> Result<Vec<u8>, ContextError> {
    let mut entries = Vec::new();
    walk(root, root, &mut entries)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut tar = Vec::new();
    for entry in entries {
        append(&mut tar, &entry, limit)?;
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    Ok(tar)
}

fn walk(root: &Path, folder: &Path, entries: &mut Vec<Entry>) -> Result<(), ContextError> {
    let unread = |path: &Path| {
        let path = path.display().to_string();
        move |source| ContextError::Read { path, source }
    };
    for item in fs::read_dir(folder).map_err(unread(folder))? {
        let item = item.map_err(unread(folder))?;
        let path = item.path();
        if LEFT_OUT.iter().any(|name| item.file_name() == *name) {
            continue;
        }
        if entries.len() >= MOST {
            return Err(ContextError::TooMany);
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let meta = fs::symlink_metadata(&path).map_err(unread(&path))?;
        if meta.is_dir() {
            entries.push(Entry { name: format!("{name}/"), path: path.clone(), kind: Kind::Folder });
            walk(root, &path, entries)?;
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(unread(&path))?;
            if leads_out(root, folder, &target) {
                return Err(ContextError::Escapes { path: name });
            }
            entries.push(Entry { name, path, kind: Kind::Link { target: target.to_string_lossy().into_owned() } });
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o111 != 0;
            entries.push(Entry { name, path, kind: Kind::File { executable } });
        }
    }
    Ok(())
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

fn append(tar: &mut Vec<u8>, entry: &Entry, limit: usize) -> Result<(), ContextError> {
    let content = match entry.kind {
        Kind::File { .. } => {
            let unread = |source| ContextError::Read { path: entry.path.display().to_string(), source };
            let size = fs::metadata(&entry.path).map_err(unread)?.len();
            if usize::try_from(size).map_or(true, |size| size.saturating_add(tar.len()) > limit) {
                return Err(ContextError::TooLarge { limit });
            }
            fs::read(&entry.path).map_err(unread)?
        }
        _ => Vec::new(),
    };
    let header = header(entry, content.len()).ok_or_else(|| ContextError::LongName { path: entry.name.clone() })?;
    tar.extend_from_slice(&header);
    tar.extend_from_slice(&content);
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
        let first = pack(a.path(), 1 << 20).unwrap();
        assert_eq!(first, pack(b.path(), 1 << 20).unwrap());
        assert_eq!(first.len() % BLOCK, 0);
        fs::write(b.path().join("src/main.py"), "print(1)\n").unwrap();
        assert_ne!(first, pack(b.path(), 1 << 20).unwrap());
    }

    #[test]
    fn what_leads_out_or_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        fs::write(folder.path().join("in/file"), vec![0; 5000]).unwrap();
        std::os::unix::fs::symlink("../in/file", folder.path().join("in/near")).unwrap();
        assert!(pack(folder.path(), 1 << 20).is_ok());
        assert!(matches!(pack(folder.path(), 4000), Err(ContextError::TooLarge { limit: 4000 })));
        for target in ["/etc/passwd", "../../etc/passwd", "x/../../../etc"] {
            let link = folder.path().join("in/far");
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(matches!(pack(folder.path(), 1 << 20), Err(ContextError::Escapes { .. })), "{target}");
            fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn long_names_are_cut_at_a_slash() {
        let long = format!("{}/{}", "a".repeat(90), "b".repeat(60));
        assert_eq!(split(&long), Some(("a".repeat(90).as_str(), "b".repeat(60).as_str())));
        assert_eq!(split(&"c".repeat(101)), None);
    }
}
