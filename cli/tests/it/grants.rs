//! `grant`, `revoke`, `grants`: two keys, one file, no lost write.

use std::{fs, thread};

use serde_json::json;

use crate::run::{Home, NEEDY, mode};

#[test]
fn a_grant_is_written_owner_only_and_shown() {
    let home = Home::with_needy();
    let ended = home.run(&["grant", "needy", "network_access", "--yes"]).ends(0);
    assert!(ended.stderr.contains("advisory"), "the operator must be told: {}", ended.stderr);
    assert!(ended.stdout.contains("still declared and not granted: file_system_read"), "{}", ended.stdout);
    assert_eq!(mode(&home.config("grants.yaml")), 0o600);
    assert_eq!(mode(&home.config("")), 0o700);
    let document = home.run(&["grants", "--json"]).ends(0).json();
    let grant = &document["grants"][0];
    assert_eq!(grant["plugin"], "needy");
    assert_eq!(grant["in_use"], true);
    assert_eq!(grant["level"], "L2");
    assert_eq!(grant["powers"][0]["power"], "network_access");
    assert!(grant["powers"][0]["advisory"].is_string());
}

#[test]
fn folders_are_absolute_and_real() {
    let home = Home::with_needy();
    let data = home.path().join("data-here");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, home.path().join("link")).unwrap();
    let document = home.run(&["grant", "needy", "file_system_read=link", "--yes", "--json"]).ends(0).json();
    assert_eq!(document["powers"][0]["folders"], json!([data.canonicalize().unwrap()]));
    for (scope, code) in [("file_system_read=nowhere", 5), ("file_system_read=plugins/needy/main.py", 2), ("file_system_read", 2)]
    {
        home.run(&["grant", "needy", scope, "--yes"]).ends(code);
    }
}

#[test]
fn what_is_not_declared_is_refused() {
    let home = Home::with_needy();
    for (power, word) in [
        ("process_spawn", "does not declare"),
        ("network_acess", "did you mean `network_access`?"),
        ("network_access=evil.example:443", "host"),
    ] {
        let ended = home.run(&["grant", "needy", power, "--yes"]).ends(2);
        assert!(ended.stderr.contains(word), "{power}: {}", ended.stderr);
    }
    assert!(!home.config("grants.yaml").exists());
    home.run(&["grant", "needy", "network_access=api.example.org:443", "--yes"]).ends(0);
}

#[test]
fn nobody_to_ask_means_no() {
    let home = Home::with_needy();
    let ended = home.run(&["grant", "needy", "network_access"]).stdin("y\n").ends(2);
    assert!(ended.stderr.contains("--yes"), "{}", ended.stderr);
    assert!(!home.config("grants.yaml").exists());
}

#[test]
fn an_unknown_plugin_is_not_found() {
    let home = Home::with_needy();
    let document = home.run(&["grant", "nedy", "network_access", "--yes", "--json"]).ends(5).json();
    assert_eq!(document["error"]["code"], "plugin.not_found");
    assert_eq!(document["error"]["hint"], "did you mean `needy`?");
}

#[test]
fn a_plugin_that_asks_for_more_inherits_nothing() {
    let home = Home::with_needy();
    home.run(&["grant", "needy", "network_access", "--yes"]).ends(0);
    home.plugin("needy", &NEEDY.replace("[file_system_read]", "[file_system_read, process_spawn]"), "class Look: pass\n");
    let document = home.run(&["grants", "--json"]).ends(0).json();
    assert_eq!(document["grants"][0]["in_use"], false);
}

#[test]
fn revoke_takes_one_power_or_all() {
    let home = Home::with_needy();
    let data = home.data().display().to_string();
    home.run(&["grant", "needy", "network_access", &format!("file_system_read={data}"), "--yes"]).ends(0);
    home.run(&["revoke", "needy", "network_access"]).ends(0);
    let powers = |home: &Home| home.run(&["grants", "--json"]).ends(0).json()["grants"].clone();
    assert_eq!(powers(&home)[0]["powers"].as_array().unwrap().len(), 1);
    home.run(&["revoke", "needy", "network_access"]).ends(5);
    home.run(&["revoke", "needy"]).ends(0);
    assert_eq!(powers(&home), json!([]));
}

#[test]
fn concurrent_writers_lose_nothing() {
    let home = Home::new();
    let names: Vec<String> = (0..12).map(|number| format!("needy{number}")).collect();
    for name in &names {
        home.plugin(name, &NEEDY.replace("name: needy", &format!("name: {name}")), "class Look: pass\n");
    }
    // Made ready before, so that only the writers race: what a first start lays into the cache is another story, told in `shelf`.
    home.run(&["list"]).ends(0);
    thread::scope(|scope| {
        for name in &names {
            let home = &home;
            scope.spawn(move || home.run(&["grant", name, "network_access", "--yes"]).ends(0));
        }
    });
    let document = home.run(&["grants", "--json"]).ends(0).json();
    let mut granted: Vec<&str> =
        document["grants"].as_array().unwrap().iter().map(|grant| grant["plugin"].as_str().unwrap()).collect();
    granted.sort_unstable();
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(granted, wanted);
    let left: Vec<_> = fs::read_dir(home.config("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "grants.yaml and the lock: {left:?}");
}

#[test]
fn a_broken_grants_file_is_never_overwritten() {
    let home = Home::with_needy();
    let path = home.configure("grants.yaml", "grants: [{plugin: needy\n");
    home.run(&["grant", "needy", "network_access", "--yes"]).ends(2);
    home.run(&["revoke", "needy"]).ends(2);
    assert_eq!(fs::read_to_string(path).unwrap(), "grants: [{plugin: needy\n");
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_needy();
    fs::create_dir(home.config("")).unwrap();
    fs::set_permissions(home.config(""), fs::Permissions::from_mode(0o777)).unwrap();
    let ended = home.run(&["grant", "needy", "network_access", "--yes"]).ends(2);
    assert!(ended.stderr.contains("chmod 700"), "{}", ended.stderr);
}

#[test]
fn our_own_folders_are_never_granted() {
    let home = Home::with_needy();
    home.run(&["list"]).ends(0);
    let data = home.data();
    fs::create_dir_all(home.path().join("config/secrets")).unwrap();
    fs::create_dir_all(home.path().join("cache/venvs")).unwrap();
    std::os::unix::fs::symlink(home.path().join("config"), data.join("link")).unwrap();
    // The one above them, each of them, what is in them, and a way around: a link.
    for folder in ["", "config", "config/secrets", "cache", "cache/venvs", "data", "needy-data/link"] {
        if folder == "data" {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        let scope = format!("file_system_read={}", home.path().join(folder).display());
        let ended = home.run(&["grant", "needy", &scope, "--yes", "--json"]).ends(2);
        assert_eq!(ended.json()["error"]["code"], "grant.own_folder", "{folder}");
    }
    assert!(!home.config("grants.yaml").exists());
    home.run(&["grant", "needy", &format!("file_system_read={}", data.display()), "--yes"]).ends(0);
}

#[test]
fn what_is_advisory_is_said_by_one_table() {
    let home = Home::with_needy();
    let granted = home.run(&["grant", "needy", "network_access", "--yes", "--json"]).ends(0).json();
    let said = granted["powers"][0]["advisory"].as_str().unwrap().to_owned();
    assert!(said.contains("loopback") && said.contains("max_network_mb"), "{said}");
    let grants = home.run(&["grants", "--json"]).ends(0).json();
    assert_eq!(grants["grants"][0]["powers"][0]["advisory"].as_str(), Some(said.as_str()));
    let info = home.run(&["info", "needy", "--json"]).ends(0).json();
    let of = |power: &str| {
        info["powers"].as_array().unwrap().iter().find(|entry| entry["power"] == power).unwrap()["advisory"].clone()
    };
    assert_eq!(of("network_access").as_str(), Some(said.as_str()));
    assert!(of("file_system_read").is_null(), "reading is enforced: {info}");
    let listed = home.run(&["list", "--json"]).ends(0).json();
    let texts: Vec<&str> =
        listed["plugins"][0]["advisory"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts.join("; "), said);
}
