//! `token`: shown once, kept as a hash, revoked by name.

use std::fs;

use crate::run::{Home, mode};

#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let home = Home::new();
    let ended = home.run(&["token", "create", "laptop", "--tools", "plain__*", "--tools", "units__convert"]).ends(0);
    let token = ended.stdout.trim();
    assert!(token.starts_with("pgb_") && token.len() == 68, "{token}");
    let kept = fs::read_to_string(home.config("tokens.yaml")).unwrap();
    assert!(!kept.contains(token) && !ended.stderr.contains(token));
    assert_eq!(mode(&home.config("tokens.yaml")), 0o600);
    let document = home.run(&["token", "list", "--json"]).ends(0).json();
    assert_eq!(document["tokens"][0]["name"], "laptop");
    assert_eq!(document["tokens"][0]["tools"], serde_json::json!(["plain__*", "units__convert"]));
    assert!(document["tokens"][0].get("sha256").is_none());
}

#[test]
fn names_are_unique_and_revoked_ones_are_gone() {
    let home = Home::new();
    let first = home.run(&["token", "create", "laptop", "--tools", "*", "--json"]).ends(0).json();
    assert!(first["token"].as_str().unwrap().starts_with("pgb_"));
    home.run(&["token", "create", "laptop", "--tools", "*"]).ends(2);
    home.run(&["token", "revoke", "latpop"]).ends(5);
    home.run(&["token", "revoke", "laptop"]).ends(0);
    assert_eq!(home.run(&["token", "list", "--json"]).ends(0).json()["tokens"], serde_json::json!([]));
}

#[test]
fn bad_patterns_and_names_are_refused() {
    let home = Home::new();
    for args in [
        &["create", "a b", "--tools", "*"][..],
        &["create", "a", "--tools", "a.b"],
        &["create", "a", "--tools", ""],
        &["create", "a"],
    ] {
        home.run(&[&["token"], args].concat()).ends(2);
    }
    assert!(!home.config("tokens.yaml").exists());
}

#[test]
fn another_file_is_written_too() {
    let home = Home::new();
    let file = home.path().join("tokens-for-serve.yaml");
    home.run(&["token", "create", "ci", "--tools", "*", "--token-file", file.to_str().unwrap()]).ends(0);
    assert_eq!(mode(&file), 0o600);
    assert!(!home.config("tokens.yaml").exists());
}

#[test]
fn concurrent_writers_lose_nothing() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let home = &home;
            scope.spawn(move || home.run(&["token", "create", &format!("t{number}"), "--tools", "*"]).ends(0));
        }
    });
    let document = home.run(&["token", "list", "--json"]).ends(0).json();
    assert_eq!(document["tokens"].as_array().unwrap().len(), 10);
}
