//! The first-party plugins inside the program, unpacked into the cache on first use.
//!
//! The folder is named by the digest of what is inside, made whole beside its place and renamed. On every start each file is compared with the
//! program's own copy, so that what was changed in the cache is never served.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use manifest_schema::Digest;
use rust_embed::Embed;

use crate::failure::{Failure, Outcome};

/// Everything in `plugins/` but caches, tests and environments.
#[derive(Embed)]
#[folder = "../plugins"]
#[include = "*/*"]
#[exclude = "*.pyc"]
#[exclude = "*/__pycache__/*"]
#[exclude = "*/tests/*"]
#[exclude = "*/test_*.py"]
#[exclude = "*/conftest.py"]
#[exclude = "*/.venv/*"]
#[exclude = "*/.pytest_cache/*"]
#[exclude = "*/.*"]
struct Plugins;

/// The folder of the bundled plugins, unpacked and verified; `None` when the program has none.
pub(crate) fn unpack(cache: &Path) -> Outcome<Option<PathBuf>> {
    let files = embedded();
    if files.is_empty() {
        return Ok(None);
    }
    let digest = Digest::of(files.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]));
    let shelf = cache.join("bundled");
    let folder = shelf.join(digest.short());
    if is_intact(&folder, &files) {
        return Ok(Some(folder));
    }
    let make = || -> io::Result<()> {
        make_folder(&shelf)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(shelf.join(".lock"))?;
        lock.lock()?;
        // Another process may have done it while this one waited.
        if is_intact(&folder, &files) {
            return Ok(());
        }
        let staging = tempfile::Builder::new().prefix(".new-").tempdir_in(&shelf)?;
        write_all(staging.path(), &files)?;
        if folder.exists() {
            // Moved away in one step: a server that reads it sees the old folder or the new one, never half of either.
            let old = tempfile::Builder::new().prefix(".old-").tempdir_in(&shelf)?;
            fs::rename(&folder, old.path().join("changed"))?;
        }
        fs::rename(staging.keep(), &folder)?;
        File::open(&shelf)?.sync_all()
    };
    make().map_err(|error| Failure::file("unpack the bundled plugins into", &shelf, &error))?;
    if is_intact(&folder, &files) {
        Ok(Some(folder))
    } else {
        Err(Failure::from(anyhow::anyhow!("the bundled plugins changed while they were unpacked")))
    }
}

/// The names of the first-party plugins.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = Plugins::iter().filter_map(|path| Some(path.split_once('/')?.0.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

/// Names and contents, in order.
fn embedded() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> =
        Plugins::iter().filter_map(|name| Plugins::get(&name).map(|file| (name.into_owned(), file.data.into_owned()))).collect();
    files.sort();
    files
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

fn write_all(root: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    // A plugin's process runs as another user when the host is root: it must be able to read its own code.
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for (name, bytes) in files {
        let path = root.join(name);
        open_folders(root, path.parent().unwrap_or(root))?;
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o644).open(&path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
    }
    Ok(())
}

/// Makes the folders down to `folder`, readable by all whatever the umask says.
fn open_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || folder.is_dir() {
        return Ok(());
    }
    open_folders(root, folder.parent().unwrap_or(root))?;
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Whether the folder holds exactly these files with these bytes.
fn is_intact(folder: &Path, files: &[(String, Vec<u8>)]) -> bool {
    let mut found = BTreeSet::new();
    if list(folder, folder, &mut found).is_err() || found.len() != files.len() {
        return false;
    }
    files.iter().all(|(name, bytes)| found.contains(name) && same(&folder.join(name), bytes))
}

/// Every file below, by its name from the root; a link or anything else that is not a plain file is refused.
fn list(root: &Path, folder: &Path, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            list(root, &path, found)?;
        } else if let (true, Ok(Some(name))) = (kind.is_file(), path.strip_prefix(root).map(Path::to_str)) {
            found.insert(name.to_owned());
        } else {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

fn same(path: &Path, bytes: &[u8]) -> bool {
    let mut found = Vec::with_capacity(bytes.len() + 1);
    let read = File::open(path).and_then(|file| file.take(bytes.len() as u64 + 1).read_to_end(&mut found));
    read.is_ok() && found == bytes
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{embedded, unpack};

    #[test]
    fn only_plugins_are_inside() {
        let files = embedded();
        assert!(files.iter().any(|(name, _)| name.ends_with("/plugin.yaml")), "no plugin is inside");
        for (name, _) in &files {
            let plugin = name.split('/').next().unwrap();
            assert!(files.iter().any(|(other, _)| *other == format!("{plugin}/plugin.yaml")), "{name} belongs to no plugin");
            for unwanted in ["__pycache__", ".pyc", "/tests/", ".venv", "conftest"] {
                assert!(!name.contains(unwanted), "{name}");
            }
        }
    }

    #[test]
    fn what_was_changed_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let folder = unpack(cache.path()).unwrap().unwrap();
        let (name, bytes) = embedded().remove(0);
        let file = folder.join(&name);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o755);
        for spoil in [
            &(|| fs::write(&file, "changed").unwrap()) as &dyn Fn(),
            &|| fs::write(folder.join("extra.py"), "new").unwrap(),
            &|| fs::remove_file(&file).unwrap(),
            &|| {
                fs::remove_file(&file).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
            },
        ] {
            spoil();
            assert_eq!(unpack(cache.path()).unwrap().unwrap(), folder);
            assert_eq!(fs::read(&file).unwrap(), bytes);
            assert!(!folder.join("extra.py").exists());
        }
        let left: Vec<_> = fs::read_dir(cache.path().join("bundled")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the folder and the lock, nothing half done: {left:?}");
    }
}
