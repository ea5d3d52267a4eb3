//! `config`: typed by the schema, checked before it is kept, edited whole.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::run::{Home, mode};

fn config(home: &Home) -> serde_json::Value {
    home.run(&["config", "get", "needy", "--json"]).ends(0).json()["config"].clone()
}

#[test]
fn values_take_the_type_of_the_schema() {
    let home = Home::with_needy();
    home.run(&["config", "set", "needy", "retries", "3"]).ends(0);
    home.run(&["config", "set", "needy", "units", "imperial"]).ends(0);
    home.run(&["config", "set", "needy", "tags", "a,b"]).ends(0);
    assert_eq!(config(&home), json!({"retries": 3, "units": "imperial", "tags": ["a", "b"]}));
    assert_eq!(mode(&home.config("config/needy.yaml")), 0o600);
    assert_eq!(home.run(&["config", "get", "needy", "retries"]).ends(0).stdout, "3\n");
    home.run(&["config", "unset", "needy", "units"]).ends(0);
    assert_eq!(home.run(&["config", "get", "needy", "units"]).ends(0).stdout, "metric\n");
    home.run(&["config", "unset", "needy", "units"]).ends(5);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let home = Home::with_needy();
    home.run(&["config", "set", "needy", "retries", "3"]).ends(0);
    for (key, value, word) in [
        ("retries", "-1", "at least 0"),
        ("retries", "many", "expected integer"),
        ("units", "kelvin", "units"),
        ("unit", "metric", "did you mean `units`?"),
    ] {
        let ended = home.run(&["config", "set", "needy", key, value]).ends(2);
        assert!(ended.stderr.contains(word), "{key}={value}: {}", ended.stderr);
    }
    assert_eq!(config(&home), json!({"retries": 3}));
}

#[test]
fn a_plugin_without_a_schema_takes_nothing() {
    let home = Home::with_plain();
    let ended = home.run(&["config", "set", "plain", "a", "b"]).ends(2);
    assert!(ended.stderr.contains("takes no configuration"), "{}", ended.stderr);
}

/// An editor that replaces the file by what a second file holds.
fn editor(home: &Home, text: &str) -> String {
    let (script, content) = (home.path().join("editor.sh"), home.path().join("edited"));
    fs::write(&content, text).unwrap();
    fs::write(&script, format!("#!/bin/sh\ncp '{}' \"$1\"\n", content.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

#[test]
fn an_edited_file_is_checked_and_kept_with_its_comments() {
    let home = Home::with_needy();
    let text = "# mine\nretries: 5\n";
    home.run(&["config", "edit", "needy"]).env("EDITOR", &editor(&home, text)).ends(0);
    assert_eq!(fs::read_to_string(home.config("config/needy.yaml")).unwrap(), text);
    assert_eq!(mode(&home.config("config/needy.yaml")), 0o600);
    home.run(&["config", "edit", "needy"]).env("EDITOR", &editor(&home, "retries: many\n")).ends(2);
    home.run(&["config", "edit", "needy"]).env("EDITOR", &editor(&home, "retries: [\n")).ends(2);
    home.run(&["config", "edit", "needy"]).env("EDITOR", "/bin/false").ends(2);
    home.run(&["config", "edit", "needy"]).ends(2);
    assert_eq!(fs::read_to_string(home.config("config/needy.yaml")).unwrap(), text);
    let left: Vec<_> = fs::read_dir(home.config("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "the config folder, the grants and the lock: {left:?}");
}

#[test]
fn an_edit_does_not_overwrite_what_changed_meanwhile() {
    let home = Home::with_needy();
    home.run(&["config", "set", "needy", "retries", "1"]).ends(0);
    let script = home.path().join("slow.sh");
    let other = format!("{} config set needy retries 2", crate::run::BINARY);
    fs::write(&script, format!("#!/bin/sh\n{other} >&2\necho 'retries: 9' > \"$1\"\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = home.run(&["config", "edit", "needy"]).env("EDITOR", script.to_str().unwrap()).ends(2);
    assert!(ended.stderr.contains("changed by someone else"), "{}", ended.stderr);
    assert_eq!(config(&home), json!({"retries": 2}));
}
