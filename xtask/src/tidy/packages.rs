//! What comes from outside: licences, banned crates and sources as deny.toml lists them, and the lint table that every crate inherits.
//!
//! The same checks as `cargo deny check bans licenses sources`, from `cargo metadata`, so that they run everywhere. Advisories need the
//! network's database and are not checked here.

use serde_json::Value;

use super::borders::{members, text};
use super::{Finding, Tree};

/// Every member inherits the workspace's lints.
pub(crate) fn lint_table(tree: &Tree) -> Vec<Finding> {
    // What `pegboard init` writes belongs to its author; the other two are workspaces of their own.
    const FOREIGN: [&str; 3] = ["executors/python/worker/", "python/", "templates/"];
    let foreign = |path: &str| FOREIGN.iter().any(|folder| path.starts_with(folder));
    let is_member = |path: &str| path.ends_with("/Cargo.toml") && !foreign(path);
    let manifests = tree.files.iter().filter(|file| is_member(&file.path));
    manifests
        .filter(|file| !file.text.replace(' ', "").contains("[lints]\nworkspace=true"))
        .map(|file| Finding::new(&file.path, 0, "does not inherit the lint table: `[lints]` with `workspace = true`"))
        .collect()
}

/// Every package may be used under a licence that deny.toml allows.
pub(crate) fn licences(tree: &Tree) -> Vec<Finding> {
    let Some(deny) = tree.file("deny.toml") else { return vec![Finding::new("deny.toml", 0, "is missing")] };
    let allowed = strings(section(&deny.text, "licenses"), "allow");
    let mut findings = Vec::new();
    for package in packages(&tree.metadata) {
        let (name, expression) = (text(package, "name"), text(package, "license"));
        if expression.is_empty() && package["license_file"].is_null() {
            findings.push(Finding::new("Cargo.lock", 0, format!("`{name}` states no licence")));
        } else if !expression.is_empty() && !allows(expression, &allowed) {
            findings.push(Finding::new(
                "Cargo.lock",
                0,
                format!("`{name}` is under `{expression}`, which deny.toml does not allow"),
            ));
        }
    }
    findings
}

/// No banned crate, and nothing from a place that is not the public index.
pub(crate) fn bans_and_sources(tree: &Tree) -> Vec<Finding> {
    let Some(deny) = tree.file("deny.toml") else { return vec![Finding::new("deny.toml", 0, "is missing")] };
    let banned = strings(section(&deny.text, "bans"), "deny");
    let index = concat!("registry+https://github.com/rust-lang/", "crates", ".io-index");
    let mut findings = Vec::new();
    for package in packages(&tree.metadata) {
        let name = text(package, "name");
        if banned.iter().any(|banned| banned == name) {
            findings.push(Finding::new("Cargo.lock", 0, format!("`{name}` is banned in deny.toml")));
        }
        if let Some(source) = package["source"].as_str()
            && source != index
        {
            findings.push(Finding::new("Cargo.lock", 0, format!("`{name}` comes from `{source}`")));
        }
    }
    findings
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    // Metadata without members is no metadata: the rules must not pass because nothing was read.
    let readable = members(metadata).next().is_some();
    metadata["packages"].as_array().into_iter().flatten().filter(move |_| readable)
}

/// The lines of `[name]` in a TOML text.
fn section<'a>(toml: &'a str, name: &str) -> &'a str {
    let Some(start) = toml.find(&format!("\n[{name}]")) else { return "" };
    let rest = &toml[start + 1..];
    rest.find("\n[").map_or(rest, |end| &rest[..end])
}

/// The strings of the array `key`; of a table in it, the value of `name`.
fn strings(section: &str, key: &str) -> Vec<String> {
    let Some(start) = section.find(&format!("\n{key} = [")) else { return Vec::new() };
    let body = &section[start..];
    let body = body.find("\n]").map_or(body, |end| &body[..end]);
    body.lines().skip(1).filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `A/B` is the old way to write `A OR B`.
fn allows(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&tokens, &mut at, allowed);
    met && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(tokens, at, allowed);
    }
    met
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = licence(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= licence(tokens, at, allowed);
    }
    met
}

fn licence(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let met = any_of(tokens, at, allowed);
        *at += 1;
        return met;
    }
    let mut name = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DENY: &str = "\n[licenses]\nallow = [\n    \"MIT\",\n    \"Apache-2.0\",\n    \"Apache-2.0 WITH LLVM-exception\",\n]\n\n[bans]\ndeny = [\n    { name = \"bad-sys\", reason = \"x\" },\n]\n";

    fn tree(packages: &Value) -> Tree {
        let mut tree = Tree::of(&[("deny.toml", DENY)]);
        tree.metadata = json!({"packages": packages, "workspace_members": [packages[0]["id"]]});
        tree
    }

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        let allowed = strings(section(DENY, "licenses"), "allow");
        assert_eq!(allowed.len(), 3);
        for met in ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR X) AND Apache-2.0", "Apache-2.0 WITH LLVM-exception OR X"] {
            assert!(allows(met, &allowed), "{met}");
        }
        for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "GPL-2.0 WITH Classpath", "(MIT OR X) AND GPL-3.0", ""] {
            assert!(!allows(unmet, &allowed), "{unmet}");
        }
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        let found = licences(&tree(&json!([
            {"id": "1", "name": "ours", "license": "MIT", "license_file": null},
            {"id": "2", "name": "copyleft", "license": "GPL-3.0", "license_file": null},
            {"id": "3", "name": "silent", "license": null, "license_file": null},
        ])));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_banned_crate_and_a_foreign_source_are_found() {
        let found = bans_and_sources(&tree(&json!([
            {"id": "1", "name": "ours", "source": null},
            {"id": "2", "name": "bad-sys", "source": concat!("registry+https://github.com/rust-lang/", "crates", ".io-index")},
            {"id": "3", "name": "forked", "source": "git+https://example.org/x"},
        ])));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_crate_without_the_lint_table_is_found() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("b/Cargo.toml", "[package]\nname = \"b\"\n\n[lints]\nworkspace = true\n"),
        ]);
        assert_eq!(lint_table(&tree).len(), 1);
    }
}
