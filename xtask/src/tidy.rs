//! The invariants of the house that no compiler holds, as rules over the text of the tree and over `cargo metadata`.
//!
//! A rule is a function from the tree to findings, registered in [`RULES`]; each one has a unit test with a tree that breaks it, so that a
//! rule which can no longer fail is noticed. Nothing here repairs anything.

mod borders;
mod claims;
mod form;
mod names;
mod packages;
mod rust_text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One text file of the tree.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Content; files that are not UTF-8 are not in the tree.
    pub(crate) text: String,
    /// For Rust: the text with comments and literals blanked out, lines kept.
    pub(crate) code: String,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") { rust_text::blank(&text) } else { String::new() };
        Self { path, text, code }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_python(&self) -> bool {
        self.path.ends_with(".py")
    }

    /// Code that is not part of the product: it may do what the product must not.
    fn is_test_code(&self) -> bool {
        let path = self.path.as_str();
        ["tests/", "benches/", "xtask/", "templates/"].iter().any(|folder| path.starts_with(folder))
            || path.contains("/tests/")
            || path.contains("/benches/")
            || path.contains("/examples/")
            || path.ends_with("/tests.rs")
            || path.ends_with("build.rs")
    }
}

/// What the rules look at.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Every text file, sorted by path.
    pub(crate) files: Vec<File>,
    /// `cargo metadata`, resolved.
    pub(crate) metadata: Value,
}

impl Tree {
    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new(*path, *text)).collect(), metadata: Value::Null }
    }
}

/// One place where a rule does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// File.
    pub(crate) path: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub(crate) line: usize,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule: its name, and the function that finds where it does not hold.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("module-doc", form::module_docs),
    ("file-size", form::file_sizes),
    ("function-size", form::function_sizes),
    ("ascii-comments", form::ascii_comments),
    ("no-silent-skip", form::no_silent_skips),
    ("banned-words", names::banned_words),
    ("hosts-and-paths", names::hosts_and_paths),
    ("dependency-direction", borders::dependency_direction),
    ("pure-crates", borders::pure_crates),
    ("one-launcher", borders::one_launcher),
    ("one-speaker", borders::one_speaker),
    ("unsafe-places", borders::unsafe_places),
    ("lint-table", packages::lint_table),
    ("licences", packages::licences),
    ("bans-and-sources", packages::bans_and_sources),
    ("claims-have-tests", claims::claims_have_tests),
    ("changelog", claims::changelog),
];

/// Runs every rule over the tree at `root` and returns what was found, rule by rule.
pub(crate) fn run(root: &Path) -> Result<Vec<(&'static str, Vec<Finding>)>> {
    let tree = read_tree(root)?;
    Ok(RULES
        .iter()
        .map(|(name, rule)| {
            let mut findings = rule(&tree);
            findings.sort();
            (*name, findings)
        })
        .collect())
}

fn read_tree(root: &Path) -> Result<Tree> {
    let mut files = Vec::new();
    for path in listed_files(root)? {
        // Binary files, and links that lead nowhere, are not text.
        if let Ok(text) = fs::read_to_string(root.join(&path)) {
            files.push(File::new(path, text));
        }
    }
    if files.is_empty() {
        bail!("found no file under `{}`", root.display());
    }
    Ok(Tree { files, metadata: metadata(root)? })
}

/// Tracked files and new ones that are not ignored; without git (an unpacked archive), everything outside build folders.
fn listed_files(root: &Path) -> Result<Vec<String>> {
    let listed =
        Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root).output();
    let mut paths = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout)?.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        _ => walk(root)?,
    };
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn walk(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if ["target", ".git", "node_modules", "__pycache__", ".venv", ".pytest_cache"].iter().any(|skipped| name == *skipped)
            {
                continue;
            }
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

fn metadata(root: &Path) -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_own_name() {
        let mut names: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn a_walk_finds_files_and_leaves_build_folders_out() {
        let root = std::env::temp_dir().join(format!("pegboard-tidy-{}", std::process::id()));
        fs::create_dir_all(root.join("target/debug")).unwrap();
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/lib.rs"), "//! A.\n").unwrap();
        fs::write(root.join("target/debug/lib.rs"), "").unwrap();
        let found = walk(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.unwrap(), ["src/lib.rs"]);
    }
}
