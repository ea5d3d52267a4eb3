//! Bad manifests, each with its exact diagnostics: the files in `bad/`.
//!
//! A case is `=== title`, then `--- manifest` and a whole manifest, or `--- base` and what is added to a good one, then `--- diagnostics`:
//! for each problem `code line:column path` and, indented, `message`, `expected`, `found` and `hint`.

use std::fmt::Write as _;

use manifest_schema::{Diagnostic, parse};

const BASE: &str = "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - {name: run, description: Runs, function: f}\n";

const FILES: &[(&str, &str)] = &[
    ("yaml", include_str!("bad/yaml.txt")),
    ("keys", include_str!("bad/keys.txt")),
    ("names", include_str!("bad/names.txt")),
    ("tools", include_str!("bad/tools.txt")),
    ("schemas", include_str!("bad/schemas.txt")),
    ("packages", include_str!("bad/packages.txt")),
    ("powers", include_str!("bad/powers.txt")),
    ("runtimes", include_str!("bad/runtimes.txt")),
];

struct Case {
    title: String,
    manifest: String,
    expected: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, text) in FILES {
        for block in text.split("=== ").skip(1) {
            let (title, rest) = block.split_once('\n').unwrap();
            let (input, expected) = rest.split_once("--- diagnostics\n").unwrap();
            let manifest = match input.strip_prefix("--- base\n") {
                Some(added) => format!("{BASE}{added}"),
                None => input.strip_prefix("--- manifest\n").unwrap().to_owned(),
            };
            cases.push(Case { title: format!("{file}: {title}"), manifest, expected: expected.trim_end().to_owned() });
        }
    }
    cases
}

pub(crate) fn written(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let head = format!("{} {}:{} {}", diagnostic.code, diagnostic.line, diagnostic.column, diagnostic.path);
        writeln!(out, "{}", head.trim_end()).unwrap();
        writeln!(out, "  message: {}", diagnostic.message).unwrap();
        for (label, text) in [("expected", &diagnostic.expected), ("found", &diagnostic.found), ("hint", &diagnostic.hint)] {
            if let Some(text) = text {
                writeln!(out, "  {label}: {text}").unwrap();
            }
        }
    }
    out.trim_end().to_owned()
}

#[test]
fn the_base_of_the_cases_is_a_good_manifest() {
    parse("plugin.yaml", BASE).unwrap();
}

#[test]
fn every_bad_manifest_has_exactly_its_diagnostics() {
    let cases = cases();
    let mut wrong = String::new();
    for case in &cases {
        let diagnostics = parse("plugin.yaml", &case.manifest).expect_err(&case.title);
        let found = written(&diagnostics.0);
        if found != case.expected {
            writeln!(wrong, "=== {}\n{found}\n", case.title).unwrap();
        }
        assert!(diagnostics.0.iter().all(|diagnostic| diagnostic.file == "plugin.yaml"));
    }
    assert!(cases.len() >= 60, "{} cases", cases.len());
    assert!(wrong.is_empty(), "these differ; what was found:\n{wrong}");
}

#[test]
fn every_diagnostic_points_into_the_text_and_renders() {
    for case in cases() {
        let lines = case.manifest.lines().count().max(1);
        for diagnostic in parse("plugin.yaml", &case.manifest).unwrap_err().0 {
            let place = format!("{}: {diagnostic}", case.title);
            let line = case.manifest.lines().nth(diagnostic.line as usize - 1).unwrap_or_default();
            assert!(diagnostic.line as usize <= lines + 1, "{place}");
            assert!(diagnostic.column as usize <= line.chars().count() + 1, "{place}");
            let rendered = diagnostic.render(&case.manifest, false);
            assert!(rendered.starts_with(&format!("error[{}]: ", diagnostic.code)), "{rendered}");
            assert!(rendered.chars().all(|character| character == '\n' || !character.is_control()), "{rendered:?}");
        }
    }
}
