//! Version switchers (pyenv and its kind, asdf, mise) put a folder of shims on the search path: programs that read their owner's home to know
//! which program is meant. A server in its walls has no such home, so the folder stands here for the versions that its switcher has selected.
//!
//! What a search path is used for is not here.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// More of a file of selected versions is not read, in bytes.
const MAX_BYTES: u64 = 4 << 10;

/// The search path with programs in place of shims. Shims of a switcher that does not say beside them what they stand for are left out.
pub(crate) fn without_shims(path: Vec<PathBuf>) -> Vec<PathBuf> {
    path.into_iter().flat_map(|folder| if folder.ends_with("shims") { selected(&folder) } else { vec![folder] }).collect()
}

/// The folders of programs that pyenv, rbenv, nodenv and goenv keep beside their shims, in the order of the selected versions.
fn selected(shims: &Path) -> Vec<PathBuf> {
    let Some(root) = shims.parent() else { return Vec::new() };
    let mut text = String::new();
    let read = fs::File::open(root.join("version")).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let plain = |version: &&str| !version.contains('/') && !version.starts_with('.');
    let folder = |version: &str| root.join("versions").join(version).join("bin");
    text.split_whitespace().filter(plain).map(folder).filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_become_the_selected_versions_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        for folder in [
            "pyenv/shims",
            "pyenv/versions/3.11.7/bin",
            "pyenv/versions/3.12.1/bin",
            "pyenv/versions/2.7/bin",
            "asdf/shims",
            "bin",
        ] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let at = |folders: &[&str]| folders.iter().map(|folder| root.path().join(folder)).collect::<Vec<_>>();
        fs::write(root.path().join("pyenv/version"), "3.12.1\n3.11.7\nsystem\n../../bin\n").unwrap();
        assert_eq!(
            without_shims(at(&["asdf/shims", "pyenv/shims", "bin"])),
            at(&["pyenv/versions/3.12.1/bin", "pyenv/versions/3.11.7/bin", "bin"])
        );
    }
}
