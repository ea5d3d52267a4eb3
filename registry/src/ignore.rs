//! What stays out of a package: a built-in list, and `.pegboardignore` beside the manifest, in the form of `.gitignore`.

use globset::{GlobBuilder, GlobMatcher};

use crate::inventory::{INVENTORY, SIGNATURE};

/// The author's own list.
pub(crate) const IGNORE_FILE: &str = ".pegboardignore";
/// The largest list, in bytes.
pub(crate) const MAX_IGNORE_BYTES: u64 = 64 * 1024;
const MAX_PATTERNS: usize = 1_000;

/// What never belongs to a plugin: histories, caches, environments, and what only its author may have. A line `!name` takes one back.
const BUILT_IN: &str = "
.git/
.hg/
.svn/
__pycache__/
*.py[co]
.venv/
.tox/
.mypy_cache/
.pytest_cache/
.ruff_cache/
.idea/
.vscode/
.DS_Store
*.swp
*~
.env
.env.*
.netrc
.pegboardignore
";

/// The patterns that hold, in order: the last that fits decides.
#[derive(Debug)]
pub(crate) struct Ignored(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    folders_only: bool,
    back: bool,
}

impl Ignored {
    /// The built-in list and the author's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for (number, line) in
            BUILT_IN.lines().map(|line| (0, line)).chain(text.lines().enumerate().map(|(at, line)| (at + 1, line)))
        {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            patterns.push(Pattern::parse(line).map_err(|problem| format!("line {number}: {problem}"))?);
            if patterns.len() > MAX_PATTERNS {
                return Err(format!("line {number}: at most {MAX_PATTERNS} patterns are allowed"));
            }
        }
        Ok(Self(patterns))
    }

    /// Whether a path stays out. What is in a folder that stays out is not asked for.
    pub(crate) fn has(&self, path: &str, is_folder: bool) -> bool {
        // A package that was unpacked and is packed again gets new papers.
        if path == INVENTORY || path == SIGNATURE {
            return true;
        }
        let fits = |pattern: &&Pattern| (is_folder || !pattern.folders_only) && pattern.glob.is_match(path);
        self.0.iter().rev().find(fits).is_some_and(|pattern| !pattern.back)
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Self, String> {
        let (back, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        if line.trim_matches('/').is_empty() {
            return Err("expected a pattern".to_owned());
        }
        // A slash at the start or inside ties the pattern to the plugin's folder.
        let glob = match line.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None if line.contains('/') => line.to_owned(),
            None => format!("**/{line}"),
        };
        let glob = GlobBuilder::new(&glob).literal_separator(true).build().map_err(|error| error.kind().to_string())?;
        Ok(Self { glob: glob.compile_matcher(), folders_only, back })
    }
}

#[cfg(test)]
mod tests {
    use super::Ignored;

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let ignored = Ignored::parse("# notes\n*.log\n!keep.log\n/build/\ndocs/*.md\ntests/**\n!.env\n").unwrap();
        for (path, folder, out) in [
            ("a.log", false, true),
            ("x/y/a.log", false, true),
            ("keep.log", false, false),
            ("build", true, true),
            ("build", false, false),
            ("x/build", true, false),
            ("docs/a.md", false, true),
            ("docs/x/a.md", false, false),
            ("tests/x/a.md", false, true),
            ("main.py", false, false),
            ("lib/__pycache__", true, true),
            ("main.pyc", false, true),
            (".env", false, false),
            (".env.local", false, true),
        ] {
            assert_eq!(ignored.has(path, folder), out, "{path}");
        }
    }

    #[test]
    fn a_bad_pattern_names_its_line() {
        assert!(Ignored::parse("ok\n[z\n").unwrap_err().starts_with("line 2: "));
        assert!(Ignored::parse("!\n").unwrap_err().starts_with("line 1: "));
    }
}
