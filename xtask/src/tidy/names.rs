//! What things may be called, and which names of places must not be committed.

use super::rust_text::words;
use super::{Finding, Tree};

/// Words that say only "assists": if only such a word fits, the cut is wrong.
const BANNED: &[&str] =
    &["manager", "helper", "helpers", "util", "utils", "utility", "common", "base", "service", "processor", "misc"];

/// Types, modules and folders are named for what they are.
pub(crate) fn banned_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if let Some(word) = banned_in_path(&file.path) {
            findings.push(Finding::new(&file.path, 0, format!("`{word}` in a path says nothing: name it for what it holds")));
        }
        for (line, name) in declared_types(file).into_iter().filter(|_| !file.is_test_code()) {
            if let Some(word) = camel_words(&name).into_iter().find(|word| BANNED.contains(&word.as_str())) {
                findings.push(Finding::new(
                    &file.path,
                    line,
                    format!("`{name}`: `{word}` says only that it assists: name it for what it is"),
                ));
            }
        }
    }
    findings
}

fn banned_in_path(path: &str) -> Option<&str> {
    let is_ours = [".rs", ".py", ".mjs", ".ts"].iter().any(|ending| path.ends_with(ending));
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    stem.split(['/', '_', '-']).find(|word| is_ours && BANNED.contains(word))
}

/// Names of the types that a file declares, with their lines.
fn declared_types(file: &super::File) -> Vec<(usize, String)> {
    let (text, keywords): (&str, &[&str]) = if file.is_rust() {
        (&file.code, &["struct", "enum", "trait", "type", "union"])
    } else if file.is_python() {
        (&file.text, &["class"])
    } else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_words: Vec<&str> = words(line).map(|(_, word)| word).collect();
        for pair in line_words.windows(2) {
            let declares = keywords.contains(&pair[0]) && pair[1].starts_with(|c: char| c.is_ascii_uppercase());
            if declares && (file.is_rust() || line.trim_start().starts_with("class ")) {
                found.push((index + 1, pair[1].to_owned()));
            }
        }
    }
    found
}

/// `HttpServer2` → `http`, `server2`.
fn camel_words(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for c in name.chars() {
        match parts.last_mut() {
            Some(part) if !c.is_uppercase() => part.push(c),
            _ => parts.push(c.to_lowercase().collect()),
        }
    }
    parts
}

/// Hosts of package registries and paths of one machine. Spelled in two halves, or this file would find itself.
const PLACES: &[&str] = &[
    concat!("registry.npmjs", ".org"),
    concat!("registry.yarnpkg", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("crates", ".io"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("huggingface", ".co"),
    concat!("/work", "/main"),
    concat!("/work", "/shared"),
    concat!("/opt", "/wheels"),
    concat!("/root", "/."),
];

/// A build takes packages from wherever its user has configured; a committed host would overrule that, and a path would only exist here.
pub(crate) fn hosts_and_paths(tree: &Tree) -> Vec<Finding> {
    // The line that cargo itself writes for its public index.
    let index = concat!("registry+https://github.com/rust-lang/", "crates", ".io-index");
    let mut findings = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let line = if file.path.ends_with("Cargo.lock") { line.replace(index, "") } else { line.to_owned() };
            if let Some(place) = PLACES.iter().find(|place| line.contains(**place)) {
                findings.push(Finding::new(&file.path, number + 1, format!("names the place `{place}`")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_only_assists_is_found() {
        let tree = Tree::of(&[
            ("server/src/utils.rs", "//! Bits.\n"),
            (
                "server/src/call.rs",
                "//! Calls.\npub struct PluginManager;\n// struct CallHelper\npub struct Database;\nenum Basement {}\n",
            ),
            ("plugins/a/main.py", "\"\"\"A.\"\"\"\nclass TextProcessor:\n    pass\nclass Weather(BaseTool):\n    pass\n"),
        ]);
        let found: Vec<(String, usize)> = banned_words(&tree).into_iter().map(|finding| (finding.path, finding.line)).collect();
        let wanted = [("server/src/utils.rs", 0), ("server/src/call.rs", 2), ("plugins/a/main.py", 2)];
        assert_eq!(found, wanted.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn a_registry_host_is_found_and_cargos_own_line_is_not() {
        let host = format!("\"resolved\": \"https://{}/x\"", PLACES[0]);
        let lock = format!("source = \"registry+https://github.com/rust-lang/{}-index\"\n", PLACES[4]);
        let mirror = format!("source = \"registry+https://mirror/{}\"\n", PLACES[4]);
        let tree = Tree::of(&[("a/package-lock.json", &host), ("Cargo.lock", &lock), ("b/Cargo.lock", &mirror)]);
        let paths: Vec<String> = hosts_and_paths(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a/package-lock.json", "b/Cargo.lock"]);
    }
}
