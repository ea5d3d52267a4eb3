//! Who may know whom, and who may do what: dependency direction, purity, processes, the environment, `unsafe`.

use serde_json::Value;

use super::rust_text::{without_tests, words};
use super::{File, Finding, Tree};

/// Each crate with the crates of ours it may use. An arrow that is not here is a cut in the wrong place.
const ARROWS: &[(&str, &[&str])] = &[
    ("pegboard-manifest-schema", &[]),
    ("pegboard-policy", &["pegboard-manifest-schema"]),
    ("pegboard-index", &["pegboard-manifest-schema"]),
    ("pegboard-sandbox", &[]),
    ("pegboard-executor-api", &["pegboard-policy", "pegboard-manifest-schema"]),
    ("pegboard-executor-container", &["pegboard-executor-api", "pegboard-policy", "pegboard-manifest-schema"]),
    ("pegboard-executor-mcp", &["pegboard-executor-api", "pegboard-policy", "pegboard-manifest-schema", "pegboard-sandbox"]),
    ("pegboard-executor-python", &["pegboard-executor-api", "pegboard-policy", "pegboard-manifest-schema", "pegboard-sandbox"]),
    ("pegboard-registry", &["pegboard-policy", "pegboard-manifest-schema"]),
    (
        "pegboard-server",
        &[
            "pegboard-executor-api",
            "pegboard-executor-python",
            "pegboard-index",
            "pegboard-registry",
            "pegboard-policy",
            "pegboard-manifest-schema",
            "pegboard-sandbox",
        ],
    ),
    (
        "pegboard",
        &[
            "pegboard-server",
            "pegboard-executor-api",
            "pegboard-executor-container",
            "pegboard-executor-mcp",
            "pegboard-executor-python",
            "pegboard-index",
            "pegboard-registry",
            "pegboard-policy",
            "pegboard-manifest-schema",
            "pegboard-sandbox",
        ],
    ),
    // They drive the built binary and know none of its parts.
    ("pegboard-tests", &[]),
    ("pegboard-benches", &["pegboard-tests"]),
    ("xtask", &[]),
];

/// Crates from outside that only these crates of ours may use.
const RESERVED: &[(&str, &[&str])] = &[
    ("rmcp", &["pegboard-server", "pegboard-benches"]),
    ("axum", &["pegboard-server", "pegboard-benches"]),
    ("clap", &["pegboard"]),
    ("landlock", &["pegboard-sandbox"]),
    // A package is packed, unpacked, signed and verified in one place.
    ("flate2", &["pegboard-registry"]),
    ("ring", &["pegboard-registry"]),
    ("tantivy", &["pegboard-index"]),
    ("bollard", &["pegboard-executor-container"]),
    (
        "tokio",
        &[
            "pegboard-executor-api",
            "pegboard-executor-container",
            "pegboard-executor-mcp",
            "pegboard-executor-python",
            "pegboard-server",
            "pegboard",
            "pegboard-tests",
            "pegboard-benches",
        ],
    ),
];

/// Dependencies run one way, and what is foreign stays behind one crate.
pub(crate) fn dependency_direction(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in members(&tree.metadata) {
        let name = text(package, "name");
        let manifest = format!("{name} (Cargo.toml)");
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
            findings.push(Finding::new(
                &manifest,
                0,
                "a crate that the table of arrows in xtask/src/tidy/borders.rs does not know",
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (used, dev) = (text(dependency, "name"), dependency["kind"] == "dev");
            let ours = ARROWS.iter().any(|(crate_name, _)| *crate_name == used);
            if ours && !allowed.contains(&used) && !dev {
                findings.push(Finding::new(&manifest, 0, format!("depends on `{used}`: that arrow points the wrong way")));
            }
            let reserved = RESERVED.iter().find(|(crate_name, _)| *crate_name == used);
            if reserved.is_some_and(|(_, users)| !users.contains(&name) && !dev) {
                findings.push(Finding::new(&manifest, 0, format!("depends on `{used}`, which belongs to another crate")));
            }
        }
    }
    findings
}

/// The packages of the workspace in `cargo metadata`.
pub(super) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let ids = metadata["workspace_members"].as_array().cloned().unwrap_or_default();
    metadata["packages"].as_array().into_iter().flatten().filter(move |package| ids.contains(&package["id"]))
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Product code of one file: without comments, literals and tests.
fn product_code(file: &File) -> String {
    without_tests(&file.code)
}

/// Lines of `code` in which any of the paths is used, with the path.
fn uses<'a>(code: &str, paths: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let dense: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
        found.extend(paths.iter().filter(|path| contains_path(&dense, path)).map(|path| (index + 1, *path)));
    }
    found
}

/// Whether `path` stands in the line as whole words: `env::var` is not in `my_env::variable`.
fn contains_path(line: &str, path: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(path).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + path.len()..].chars().next());
        edge(before) && (edge(after) || path.ends_with('(') || path.ends_with('!'))
    })
}

/// `manifest-schema` and `policy` decide from values alone: no task, file, clock, environment, network or process.
pub(crate) fn pure_crates(tree: &Tree) -> Vec<Finding> {
    const IMPURE: &[&str] = &[
        "tokio",
        "std::fs",
        "fs::read_to_string",
        "File::open",
        "SystemTime",
        "Instant::now",
        "std::env",
        "env::var",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::process",
        "std::thread",
    ];
    let is_pure = |file: &&File| file.path.starts_with("manifest-schema/src/") || file.path.starts_with("policy/src/");
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(is_pure).filter(|file| file.is_rust() && !file.is_test_code()) {
        for (line, path) in uses(&product_code(file), IMPURE) {
            findings.push(Finding::new(&file.path, line, format!("`{path}` in a pure crate: pass the value in")));
        }
    }
    findings
}

/// Product code starts processes only through `sandbox`.
pub(crate) fn one_launcher(tree: &Tree) -> Vec<Finding> {
    const STARTS: &[&str] =
        &["Command::new", "process::Command", "libc::fork", "libc::execve", "libc::posix_spawn", "CommandExt"];
    // `config edit` opens the operator's own editor on the operator's own terminal: nothing a sandbox could hold.
    // The engine is this very program with all that its user may do, and outlives whoever began it.
    const EXEMPT: &[&str] = &["cli/src/commands/config.rs", "cli/src/engine/begin.rs"];
    let is_exempt = |file: &&File| file.path.starts_with("sandbox/") || EXEMPT.contains(&file.path.as_str());
    let mut findings = Vec::new();
    for file in product_files(tree).filter(|file| !is_exempt(file)) {
        for (line, path) in uses(&product_code(file), STARTS) {
            findings.push(Finding::new(&file.path, line, format!("`{path}` outside `sandbox`: every process is started there")));
        }
    }
    findings
}

/// Only `cli` reads the environment, prints, or exits; the launcher in `sandbox` is a program of its own and may too.
pub(crate) fn one_speaker(tree: &Tree) -> Vec<Finding> {
    const SPEAKS: &[&str] = &[
        "env::var",
        "env::var_os",
        "env::vars",
        "env::vars_os",
        "env::set_var",
        "env::remove_var",
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "dbg!",
        "process::exit",
        "io::stdout",
    ];
    // The programs in sandbox/src/bin are what the sandbox's tests confine.
    const MAY: &[&str] = &["cli/", "sandbox/src/launch", "sandbox/src/bin/"];
    let mut findings = Vec::new();
    for file in product_files(tree).filter(|file| !MAY.iter().any(|place| file.path.starts_with(place))) {
        for (line, path) in uses(&product_code(file), SPEAKS) {
            // The stdio transport hands stdout to the protocol: the one place in `server` that may name it.
            if path == "io::stdout" && file.path.starts_with("server/src/") && file.path.contains("stdio") {
                continue;
            }
            findings.push(Finding::new(&file.path, line, format!("`{path}` outside `cli`: pass values in, give values back")));
        }
    }
    findings
}

/// `unsafe` is in `sandbox` and the worker module.
pub(crate) fn unsafe_places(tree: &Tree) -> Vec<Finding> {
    const PLACES: &[&str] = &["sandbox/", "executors/python/worker/"];
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && !PLACES.iter().any(|place| file.path.starts_with(place))) {
        for (at, _) in words(&file.code).filter(|(_, word)| *word == "unsafe") {
            let line = file.code[..at].matches('\n').count() + 1;
            findings.push(Finding::new(&file.path, line, "`unsafe` outside `sandbox` and the worker module"));
        }
    }
    findings
}

fn product_files(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.is_rust() && !file.is_test_code() && !file.path.starts_with("executors/python/worker/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(packages: &Value) -> Tree {
        let ids: Vec<Value> = packages.as_array().unwrap().iter().map(|package| package["id"].clone()).collect();
        Tree { files: Vec::new(), metadata: json!({"packages": packages, "workspace_members": ids}) }
    }

    #[test]
    fn an_arrow_that_points_back_is_found() {
        let tree = workspace(&json!([
            {"id": "1", "name": "pegboard-policy", "dependencies": [{"name": "pegboard-server", "kind": null}, {"name": "serde", "kind": null}]},
            {"id": "2", "name": "pegboard-server", "dependencies": [{"name": "pegboard-policy", "kind": null}, {"name": "rmcp", "kind": null}]},
            {"id": "3", "name": "pegboard-index", "dependencies": [{"name": "rmcp", "kind": null}, {"name": "tokio", "kind": "dev"}]},
            {"id": "4", "name": "pegboard-novelty", "dependencies": []},
        ]));
        let found = dependency_direction(&tree);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].message.contains("`pegboard-server`"));
        assert!(found[1].path.starts_with("pegboard-index") && found[1].message.contains("`rmcp`"));
        assert!(found[2].path.starts_with("pegboard-novelty"));
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found() {
        let tree = Tree::of(&[
            (
                "policy/src/call.rs",
                "//! A.\nfn f() { std::time::SystemTime::now(); }\n// tokio\n#[cfg(test)]\nmod t { use std::fs; }\n",
            ),
            ("server/src/call.rs", "//! A.\nuse std::fs;\n"),
        ]);
        let found = pure_crates(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].line), ("policy/src/call.rs", 2));
    }

    #[test]
    fn a_process_started_elsewhere_is_found() {
        let source = "//! A.\nfn f() { Command::new(\"sh\"); }\n";
        let tree = Tree::of(&[
            ("server/src/a.rs", source),
            ("sandbox/src/a.rs", source),
            ("tests/it/a.rs", source),
            ("xtask/src/a.rs", source),
        ]);
        let found = one_launcher(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "server/src/a.rs");
    }

    #[test]
    fn a_crate_that_prints_or_reads_the_environment_is_found() {
        let source = "//! A.\nfn f() { println!(\"a\"); let _ = std::env::var(\"A\"); my_env::variable(); }\n";
        let tree = Tree::of(&[("server/src/a.rs", source), ("cli/src/a.rs", source), ("sandbox/src/launcher.rs", source)]);
        let found = one_speaker(&tree);
        assert_eq!(found.iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>(), ["server/src/a.rs"; 2], "{found:?}");
    }

    #[test]
    fn unsafe_in_another_crate_is_found() {
        let source = "//! A.\nfn f() { unsafe { g() } } // unsafe\n#[allow(unsafe_code)]\nfn h() {}\n";
        let tree = Tree::of(&[
            ("server/src/a.rs", source),
            ("sandbox/src/a.rs", source),
            ("executors/python/worker/src/lib.rs", source),
        ]);
        assert_eq!(
            unsafe_places(&tree),
            [Finding::new("server/src/a.rs", 2, "`unsafe` outside `sandbox` and the worker module")]
        );
    }
}
