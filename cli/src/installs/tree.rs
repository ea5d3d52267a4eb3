//! What lies in a commit, judged line by line as git lists it: no more than a package may be, and nothing that a package can't have in place
//! of a file. What stays out of the package counts, too: it is written out first.

use registry::{
    Error, PackageError,
    limits::{MAX_FILES, MAX_PATH_DEPTH, MAX_TOTAL_BYTES},
};

use super::{failure, invalid};
use crate::failure::{Failure, Outcome};

/// The most folders: as many as the most files can be in. Lines that are none count with them.
const MAX_FOLDERS: usize = MAX_FILES * MAX_PATH_DEPTH;

/// What was listed so far.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: usize,
    folders: usize,
    bytes: u64,
    problem: Option<Failure>,
}

impl Tree {
    /// Takes a line of `git ls-tree -r -t -l`; whether to go on.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if self.problem.is_none() {
            self.problem = self.count(line).err();
        }
        self.problem.is_none()
    }

    fn count(&mut self, line: &str) -> Outcome {
        let (entry, path) = line.split_once('\t').unwrap_or((line, ""));
        let mut words = entry.split_ascii_whitespace();
        match (words.next(), words.next(), words.nth(1).map(str::parse::<u64>)) {
            (Some("160000"), ..) => {
                let path = crate::clean::line(path);
                return Err(invalid("package.invalid", format!("`{path}` is a repository inside the repository"))
                    .hint("nothing was installed: submodules are not fetched"));
            }
            (_, Some("blob"), Some(Ok(bytes))) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(bytes);
            }
            // A folder, or what git says beside its list: a failure, which its end tells.
            _ => self.folders += 1,
        }
        if self.files > MAX_FILES || self.folders > MAX_FOLDERS {
            return Err(too_much(PackageError::TooManyFiles));
        }
        if self.bytes > MAX_TOTAL_BYTES {
            return Err(too_much(PackageError::TooLarge));
        }
        Ok(())
    }

    /// Whether all of it may be written out.
    pub(super) fn judged(self) -> Outcome {
        self.problem.map_or(Ok(()), Err)
    }
}

fn too_much(error: PackageError) -> Failure {
    let found = failure(&Error::Package(error));
    Failure { message: format!("in the repository, {}", found.message), ..found }
        .hint("nothing of it was written; what .pegboardignore names counts, too: clone it, and install from its folder")
}

#[cfg(test)]
mod tests {
    use registry::limits::{MAX_FILES, MAX_TOTAL_BYTES};

    use super::{MAX_FOLDERS, Tree};

    fn blob(size: u64) -> String {
        format!("100644 blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 {size:>7}\ta/b.py")
    }

    const FOLDER: &str = "040000 tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904       -\ta";

    #[test]
    fn as_much_as_a_package_holds_is_taken_and_no_more() {
        let mut tree = Tree::default();
        assert!((0..MAX_FILES).all(|_| tree.take(&blob(1))) && (0..MAX_FOLDERS).all(|_| tree.take(FOLDER)));
        assert!(!tree.take(FOLDER) && !tree.take(&blob(0)));
        assert_eq!(tree.judged().unwrap_err().code, "package.invalid");
        let mut tree = Tree::default();
        assert!(tree.take(&blob(MAX_TOTAL_BYTES)) && !tree.take(&blob(1)));
        let mut tree = Tree::default();
        assert!(tree.take(&blob(1)) && !tree.take(&blob(u64::MAX)));
        let mut tree = Tree::default();
        assert!((0..MAX_FILES).all(|_| tree.take(&blob(0))) && !tree.take(&blob(0)));
    }

    #[test]
    fn a_repository_inside_is_no_file() {
        let mut tree = Tree::default();
        assert!(!tree.take("160000 commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904       -\tinner"));
        assert!(tree.judged().unwrap_err().message.contains("`inner`"));
        let mut link = Tree::default();
        // Judged like any other folder's, when it is packed.
        assert!(link.take("120000 blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391       4\tlink"));
        assert!(link.judged().is_ok());
    }
}
