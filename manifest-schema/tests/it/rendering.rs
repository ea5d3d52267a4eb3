//! Diagnostics for people and for machines.

use manifest_schema::{Diagnostic, parse};
use serde_json::json;

fn first(text: &str) -> Diagnostic {
    parse("demo/plugin.yaml", text).unwrap_err().0.remove(0)
}

#[test]
fn people_see_the_line_the_mark_and_what_to_do() {
    let text = "name: demo\nversion: 1.0\ndescription: A demo\nmcps:\n  - {name: run, description: Runs, function: f}\n";
    let expected = "\
error[manifest.version]: `version` is not a semantic version
 --> demo/plugin.yaml:2:10
  |
2 | version: 1.0
  |          ^^^
  = expected: a semantic version, such as `1.0.0`
  = found: number `1.0`
  = help: write `1.0.0`: a version is a string, and YAML reads `1.0` as a number
";
    assert_eq!(first(text).render(text, false), expected);
}

#[test]
fn colours_only_add_to_the_text() {
    let text = "name: demo\nnmae: x\n";
    for diagnostic in parse("p", text).unwrap_err().0 {
        let colored = diagnostic.render(text, true);
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(colored, plain);
        assert_eq!(plain, diagnostic.render(text, false));
    }
}

#[test]
fn a_long_line_is_cut_around_the_mark() {
    let text = format!("keywords: [{}, @]", vec!["word"; 100].join(", "));
    let rendered = first(&text).render(&text, false);
    let lines: Vec<&str> = rendered.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 120), "{rendered}");
    let mark = lines[4].chars().position(|character| character == '^').unwrap();
    assert_eq!(lines[3].chars().nth(mark), Some('@'), "{rendered}");
}

#[test]
fn escape_sequences_of_a_manifest_do_not_reach_the_terminal() {
    let text = "name: demo\nauthor: \u{1b}]8;;https://evil.example\u{7}x\n";
    let diagnostics = parse("p\u{1b}[2J", text).unwrap_err();
    let rendered = diagnostics.render(text, false);
    assert!(rendered.contains("holds a control character"), "{rendered}");
    assert!(rendered.chars().all(|character| character == '\n' || !character.is_control()), "{rendered:?}");
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    let text = "name: demo\nrepository: https://me:hunter2@example.org/x\n";
    let told = parse("p", text).unwrap_err().0;
    let one = told.iter().find(|one| one.code == "manifest.url").unwrap();
    assert!(!one.to_string().contains("hunter2"));
    assert!(!serde_json::to_string(one).unwrap().contains("hunter2"));
}

#[test]
fn machines_get_every_part_under_its_name() {
    let text = "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - {name: run, description: Runs, function: f}\nruntime: pyton\n";
    let expected = json!([{
        "code": "manifest.choice", "file": "demo/plugin.yaml", "line": 6, "column": 10, "path": "runtime", "message": "is not a known value",
        "expected": "one of `python`, `mcp`, `container`, `javascript`, `openapi`, `wasm`", "found": "string `pyton`", "hint": "did you mean `python`?",
    }]);
    assert_eq!(serde_json::to_value(parse("demo/plugin.yaml", text).unwrap_err()).unwrap(), expected);
}
