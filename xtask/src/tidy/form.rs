//! How a file looks: its opening words, its size, the size of its functions, its comment signs, and tests that would pass by skipping.

use super::rust_text::functions;
use super::{Finding, Tree};

/// Lines of a file that nobody will read in one sitting any more.
const FILE_WALL: usize = 800;
/// Lines of a function beyond which it is not one thing.
const FUNCTION_WALL: usize = 80;

/// Flat tables of identical units: long, and easy to read.
const FLAT_TABLES: &[&str] = &["manifest-schema/tests/it/bad_manifests.rs"];

/// Every source file opens with words about what it holds and what it does not.
pub(crate) fn module_docs(tree: &Tree) -> Vec<Finding> {
    let opening = |path: &str| match path.rsplit('.').next() {
        Some("rs") => Some(("//!", "`//!`")),
        Some("py") => Some(("\"\"\"", "a docstring")),
        Some("mjs" | "js" | "ts") => Some(("//", "a `//` comment")),
        _ => None,
    };
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some((wanted, name)) = opening(&file.path) else { continue };
        let first = file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!/")).unwrap_or_default();
        if !first.starts_with(wanted) {
            findings.push(Finding::new(
                &file.path,
                1,
                format!("opens without {name} that says what it holds and what it does not"),
            ));
        }
    }
    findings
}

/// No file over the wall.
pub(crate) fn file_sizes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_source(&file.path) && !FLAT_TABLES.contains(&file.path.as_str())) {
        let lines = file.text.lines().count();
        if lines > FILE_WALL {
            findings.push(Finding::new(&file.path, 0, format!("{lines} lines: at most {FILE_WALL}; cut it by noun")));
        }
    }
    findings
}

/// No function over the wall.
pub(crate) fn function_sizes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let found = if file.is_rust() {
            functions(&file.code).into_iter().map(|function| (function.name, function.line, function.lines)).collect()
        } else if file.is_python() {
            python_functions(&file.text)
        } else {
            Vec::new()
        };
        for (name, line, lines) in found {
            if lines > FUNCTION_WALL {
                findings.push(Finding::new(&file.path, line, format!("`{name}` has {lines} lines: at most {FUNCTION_WALL}")));
            }
        }
    }
    findings
}

/// Name, first line and length of each Python function, by indentation.
fn python_functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        let Some(rest) = start.strip_prefix("def ").or_else(|| start.strip_prefix("async def ")) else { continue };
        let depth = indent(line);
        let name = rest.split('(').next().unwrap_or_default().to_owned();
        // A signature over several lines closes at its own depth with `)`, which is not the end of the body.
        let inside = |line: &&&str| line.trim().is_empty() || indent(line) > depth || line.trim_start().starts_with(')');
        let body: Vec<&&str> = lines[index + 1..].iter().take_while(inside).collect();
        let used = body.len() - body.iter().rev().take_while(|line| line.trim().is_empty()).count();
        found.push((name, index + 1, used + 1));
    }
    found
}

/// A full-width slash or exclamation mark looks like a doc comment and is none: the heading would silently vanish.
pub(crate) fn ascii_comments(tree: &Tree) -> Vec<Finding> {
    let wide = ['\u{FF0F}', '\u{FF01}', '\u{2215}', '\u{2044}'];
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_source(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with(wide) || line.contains("/\u{FF0F}") || line.contains("//\u{FF01}") {
                findings.push(Finding::new(&file.path, index + 1, "a comment sign that is not ASCII"));
            }
        }
    }
    findings
}

/// A test never passes by skipping: what can't run on a machine says `could-not-run: NAME: WHY` and counts as such. A function that is no test
/// but is started like one (it measures, or writes a generated page) says so as its reason.
pub(crate) fn no_silent_skips(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            let code = line.trim_start();
            let is_no_test = ["#[ignore = \"a measurement", "#[ignore = \"writes "].iter().any(|reason| code.starts_with(reason));
            let skips = (file.is_rust() && code.starts_with("#[ignore") && !is_no_test)
                || (file.is_python()
                    && ["pytest.skip(", "pytest.mark.skip", "pytest.importorskip("].iter().any(|word| code.contains(word)));
            if skips {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    "a skipped test reads as a pass: print `could-not-run: NAME: WHY` instead",
                ));
            }
        }
    }
    findings
}

fn is_source(path: &str) -> bool {
    [".rs", ".py", ".mjs", ".js", ".ts", ".sh"].iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_opening_words_is_found() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "use std::fs;\n"),
            ("b/src/lib.rs", "//! Holds b.\n"),
            ("p/main.py", "import os\n"),
            ("p/told.py", "#!/usr/bin/env python3\n\"\"\"Holds p.\"\"\"\n"),
            ("c/run.mjs", "import x from 'x';\n"),
        ]);
        let paths: Vec<String> = module_docs(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a/src/lib.rs", "p/main.py", "c/run.mjs"]);
    }

    #[test]
    fn a_file_over_the_wall_is_found_and_a_flat_table_is_not() {
        let long = "//! A.\n".repeat(FILE_WALL + 1);
        let tree = Tree::of(&[("a.rs", &long), (FLAT_TABLES[0], &long), ("b.rs", &"//! B.\n".repeat(FILE_WALL))]);
        let paths: Vec<String> = file_sizes(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a.rs"]);
    }

    #[test]
    fn a_function_over_the_wall_is_found_in_both_languages() {
        let body = "    x += 1\n".repeat(FUNCTION_WALL);
        let rust = format!("fn long() {{\n{}}}\nfn short() {{\n}}\n", body.replace('\n', ";\n"));
        let python = format!("def long(\n    a: int,\n) -> None:\n{body}\n\ndef short() -> None:\n    pass\n");
        let found = function_sizes(&Tree::of(&[("a.rs", &rust), ("b.py", &python)]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|finding| finding.message.starts_with("`long` has 8")));
    }

    #[test]
    fn a_wide_comment_sign_is_found() {
        let tree = Tree::of(&[("a.rs", "//\u{FF01} Heading\nlet a = \"\u{FF01}\";\n")]);
        assert_eq!(ascii_comments(&tree).len(), 1);
    }

    #[test]
    fn a_skipped_test_is_found() {
        let python = "pytest.skip(\"no\")\n".replace("pytest.skip", concat!("pytest", ".skip"));
        let module = "pytestmark = pytest.mark.skipif(True)\n".replace("pytest.mark", concat!("pytest", ".mark"));
        let tree = Tree::of(&[
            ("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"),
            ("b.py", &python),
            ("d.py", &module),
            ("c.rs", "// #[ignore\n#[ignore = \"a measurement\"]\n"),
        ]);
        assert_eq!(no_silent_skips(&tree).len(), 3);
    }
}
