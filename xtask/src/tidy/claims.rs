//! What the documents promise: every claim of the security pages names its test, and the changelog is there.
//!
//! In docs/security-model.md and docs/sandbox.md a claim is a list item (`- …`) or a numbered step (`1. …`) in a section whose heading holds
//! the word "claim", in any case; it ends with one or more marks `[test: path::name]`. A mark anywhere must lead to a function of that name, and
//! each page has marks: docs/sandbox.md follows the order of the code and marks its sentences where they stand.

use super::{Finding, Tree};

const PAGES: &[&str] = &["docs/security-model.md", "docs/sandbox.md"];

/// Every claim names a test, and the test exists.
pub(crate) fn claims_have_tests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in PAGES {
        let Some(file) = tree.file(page) else {
            findings.push(Finding::new(page, 0, "is missing"));
            continue;
        };
        if marks(&file.text).is_empty() {
            findings.push(Finding::new(page, 0, "names no test: `[test: path::name]`"));
        }
        for (line, claim) in claims(&file.text) {
            if marks(&claim).is_empty() {
                findings.push(Finding::new(page, line, "a claim without `[test: path::name]`"));
            }
        }
        for (index, line) in file.text.lines().enumerate() {
            for mark in marks(line) {
                if let Err(problem) = leads_to_a_test(tree, mark) {
                    findings.push(Finding::new(page, index + 1, problem));
                }
            }
        }
    }
    findings
}

/// The list items of the sections of claims, each with its continuation lines.
fn claims(text: &str) -> Vec<(usize, String)> {
    let mut claims: Vec<(usize, String)> = Vec::new();
    let (mut in_claims, mut in_item) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let item = line.starts_with("- ")
            || line.split_once(". ").is_some_and(|(n, _)| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
        if line.starts_with('#') {
            in_claims = line.to_lowercase().contains("claim");
            in_item = false;
        } else if in_claims && item {
            claims.push((index + 1, line.to_owned()));
            in_item = true;
        } else if line.trim().is_empty() {
            in_item = false;
        } else if in_item && let Some((_, claim)) = claims.last_mut() {
            claim.push('\n');
            claim.push_str(line);
        }
    }
    claims
}

/// The `path::name` of each `[test: path::name]`.
fn marks(text: &str) -> Vec<&str> {
    text.match_indices("[test:")
        .filter_map(|(at, start)| text[at + start.len()..].split_once(']').map(|(mark, _)| mark.trim()))
        .collect()
}

fn leads_to_a_test(tree: &Tree, mark: &str) -> Result<(), String> {
    let (path, name) = mark.split_once("::").ok_or_else(|| format!("`{mark}` is not `path::name`"))?;
    let file = tree.file(path).ok_or_else(|| format!("`{mark}`: there is no file `{path}`"))?;
    let name = name.rsplit("::").next().unwrap_or(name);
    let declared = [format!("fn {name}("), format!("def {name}("), format!("fn {name}<")];
    if declared.iter().any(|declaration| file.text.contains(declaration)) {
        return Ok(());
    }
    Err(format!("`{mark}`: `{path}` has no test `{name}`"))
}

/// There is a changelog, and it says something under its newest heading.
pub(crate) fn changelog(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file("CHANGELOG.md") else { return vec![Finding::new("CHANGELOG.md", 0, "is missing")] };
    let newest = file.text.split("\n## ").nth(1).unwrap_or_default();
    if newest.lines().any(|line| line.starts_with("- ")) {
        return Vec::new();
    }
    vec![Finding::new("CHANGELOG.md", 0, "the newest heading has no entry")]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: (&str, &str) = ("tests/it/attacks.rs", "//! A.\nfn denies_reading() {}\n");

    #[test]
    fn a_claim_without_a_test_is_found() {
        let page = "# Page\n\n## Claims\n\n- Reading is denied\n  everywhere [test: tests/it/attacks.rs::denies_reading]\n- Writing is denied\n\n## Out of scope\n\n- Prompts\n";
        let found = claims_have_tests(&Tree::of(&[TEST, (PAGES[0], page), (PAGES[1], page)]));
        assert_eq!(
            found.iter().map(|finding| (finding.path.as_str(), finding.line)).collect::<Vec<_>>(),
            [(PAGES[0], 7), (PAGES[1], 7)]
        );
    }

    #[test]
    fn a_mark_that_leads_nowhere_is_found() {
        let page = "## The claims\n1. One [test: tests/it/attacks.rs::denies_writing] [test: tests/it/gone.rs::x]\n2. Two [test: nonsense]\n";
        let good = "## Claims\n- One [test: tests/it/attacks.rs::denies_reading]\n";
        assert_eq!(claims_have_tests(&Tree::of(&[TEST, (PAGES[0], page), (PAGES[1], good)])).len(), 3);
    }

    #[test]
    fn pages_that_are_missing_or_claim_nothing_are_found() {
        assert_eq!(claims_have_tests(&Tree::of(&[TEST])).len(), 2);
        assert_eq!(claims_have_tests(&Tree::of(&[TEST, (PAGES[0], "# A\n- b\n"), (PAGES[1], "")])).len(), 2);
    }

    #[test]
    fn a_changelog_that_says_nothing_is_found() {
        assert_eq!(changelog(&Tree::of(&[])).len(), 1);
        assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.1.0\n- a\n")])).len(), 1);
        assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "# Changelog\n\n## Unreleased\n- a\n")])).len(), 0);
    }
}
