//! `secret`: kept owner-only, never on the command line, never printed.

use std::fs;

use crate::run::{Home, mode};

const VALUE: &str = "s3cr3t-value-that-must-not-surface";

#[test]
fn a_secret_is_kept_owner_only() {
    let home = Home::with_needy();
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin(&format!("{VALUE}\n")).ends(0);
    let path = home.config("secrets/needy/API_KEY");
    assert_eq!(fs::read_to_string(&path).unwrap(), VALUE);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&home.config("secrets")), 0o700);
}

#[test]
fn a_value_may_come_from_a_file_and_keeps_its_inner_lines() {
    let home = Home::with_needy();
    let file = home.path().join("key.pem");
    fs::write(&file, "line 1\nline 2\r\n").unwrap();
    home.run(&["secret", "set", "needy", "API_KEY", "--value-file", file.to_str().unwrap()]).ends(0);
    assert_eq!(fs::read_to_string(home.config("secrets/needy/API_KEY")).unwrap(), "line 1\nline 2");
}

#[test]
fn no_command_prints_a_secret() {
    let home = Home::with_needy();
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin(VALUE).ends(0);
    for command in [
        &["secret", "list"][..],
        &["secret", "list", "--json"],
        &["info", "needy"],
        &["info", "needy", "--json"],
        &["list", "--json"],
        &["grants", "--json"],
        &["config", "get", "needy", "--json"],
        &["doctor", "--json"],
        &["secret", "set", "needy", "SPARE_KEY", "--json", "--log", "trace"],
        &["list", "--log", "trace"],
    ] {
        let ended = home.run(command).stdin(VALUE).end();
        assert!(!ended.stdout.contains(VALUE) && !ended.stderr.contains(VALUE), "{command:?}");
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused() {
    let home = Home::with_needy();
    home.run(&["secret", "set", "needy", "API_KEY", VALUE]).ends(2);
    assert!(!home.config("secrets").exists());
}

#[test]
fn only_declared_names_are_taken() {
    let home = Home::with_needy();
    let ended = home.run(&["secret", "set", "needy", "API_KEYS"]).stdin(VALUE).ends(5);
    assert!(ended.stderr.contains("did you mean `API_KEY`?"), "{}", ended.stderr);
    home.run(&["secret", "set", "needy", "../../x"]).stdin(VALUE).ends(2);
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin("\n").ends(2);
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin(&"x".repeat(70_000)).ends(2);
    assert!(!home.config("secrets/needy/API_KEY").exists());
}

/// Another plugin of the same name and declaration, in another folder; returns that folder.
fn impostor(home: &Home) -> String {
    let folder = home.path().join("elsewhere");
    fs::create_dir_all(folder.join("needy")).unwrap();
    for file in ["plugin.yaml", "main.py"] {
        fs::copy(home.plugins().join("needy").join(file), folder.join("needy").join(file)).unwrap();
    }
    folder.display().to_string()
}

fn state(home: &Home, plugins: &str) -> String {
    let document = home.run(&["secret", "list", "--json", "--plugins", plugins]).ends(0).json();
    let secrets = document["secrets"].as_array().unwrap().clone();
    secrets.iter().find(|secret| secret["name"] == "API_KEY").unwrap()["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_secret_belongs_to_the_plugin_it_was_set_for() {
    let home = Home::with_needy();
    let (ours, theirs) = (home.plugins().display().to_string(), impostor(&home));
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin(VALUE).ends(0);
    home.run(&["config", "set", "needy", "retries", "3"]).ends(0);
    assert_eq!((state(&home, &ours), state(&home, &theirs)), ("set".to_owned(), "anothers".to_owned()));
    let theirs_is = |key: &str| home.run(&["info", "needy", "--json", "--plugins", &theirs]).ends(0).json()[key].clone();
    assert_eq!(theirs_is("config")["set"], serde_json::json!({}));
    assert!(theirs_is("notes").to_string().contains("secret keep needy API_KEY"), "{}", theirs_is("notes"));
    let ended = home.run(&["config", "set", "needy", "retries", "9", "--plugins", &theirs]).ends(2);
    assert!(ended.stderr.contains("config keep needy"), "{}", ended.stderr);
    // There is one value: handed to the other, it is no longer ours.
    home.run(&["secret", "keep", "needy", "API_KEY", "--plugins", &theirs]).ends(0);
    home.run(&["config", "keep", "needy", "--plugins", &theirs]).ends(0);
    assert_eq!((state(&home, &ours), state(&home, &theirs)), ("anothers".to_owned(), "set".to_owned()));
    assert_eq!(theirs_is("config")["set"], serde_json::json!({"retries": 3}));
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin("ours again").ends(0);
    assert_eq!((state(&home, &ours), state(&home, &theirs)), ("set".to_owned(), "anothers".to_owned()));
    home.run(&["revoke", "needy"]).ends(0);
    assert_eq!(state(&home, &ours), "anothers");
    home.run(&["secret", "keep", "needy", "SPARE_KEY"]).ends(5);
}

#[test]
fn the_list_says_what_is_missing_and_what_is_unused() {
    let home = Home::with_needy();
    let states = |home: &Home| -> Vec<(String, String)> {
        let document = home.run(&["secret", "list", "--json"]).ends(0).json();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        document["secrets"].as_array().unwrap().iter().map(|secret| (text(&secret["name"]), text(&secret["state"]))).collect()
    };
    let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(states(&home), [pair("API_KEY", "not set"), pair("SPARE_KEY", "not set")]);
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin(VALUE).ends(0);
    assert_eq!(states(&home), [pair("API_KEY", "set"), pair("SPARE_KEY", "not set")]);
    fs::set_permissions(home.config("secrets/needy/API_KEY"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(states(&home), [pair("API_KEY", "refused"), pair("SPARE_KEY", "not set")]);
    fs::remove_dir_all(home.plugins().join("needy")).unwrap();
    assert_eq!(states(&home), [pair("API_KEY", "unused")]);
    home.run(&["secret", "remove", "needy", "API_KEY"]).ends(0);
    assert_eq!(states(&home), []);
    home.run(&["secret", "remove", "needy", "API_KEY"]).ends(5);
}
