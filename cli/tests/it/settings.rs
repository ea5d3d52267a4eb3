//! `pegboard.toml`: a flag wins over the environment, which wins over the file; a bad file stops everything.

use crate::run::{Home, PLAIN, PLAIN_CODE};

fn names(document: &serde_json::Value) -> Vec<&str> {
    document["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect()
}

#[test]
fn a_bad_file_stops_the_start_with_file_and_line() {
    let home = Home::with_plain();
    let path = home.configure("pegboard.toml", "frozen = true\nvew = \"all\"\n");
    for command in [&["list"][..], &["serve"], &["grants"], &["doctor"]] {
        let ended = home.run(command).ends(2);
        assert!(ended.stdout.is_empty(), "{command:?}: {}", ended.stdout);
        assert!(ended.stderr.contains(&format!("{}:2:1: unknown field `vew`", path.display())), "{command:?}: {}", ended.stderr);
    }
    let document = home.run(&["list", "--json"]).ends(2).json();
    assert_eq!(document["error"]["code"], "settings.invalid");
    // Positive control: the same file without the mistake.
    home.configure("pegboard.toml", "frozen = true\nview = \"all\"\n");
    home.run(&["list"]).ends(0);
}

#[test]
fn flag_over_environment_over_file() {
    let home = Home::new();
    for name in ["one", "two", "three"] {
        let manifest = PLAIN.replace("name: plain", &format!("name: {name}"));
        home.plugin(name, &manifest, PLAIN_CODE);
    }
    let folder = |name: &str| home.plugins().join(name).display().to_string();
    home.configure("pegboard.toml", "plugins = [\"../plugins/one\"]\nbundled = false\n");
    let run = |args: &[&str]| home.run_bundled(args);
    assert_eq!(names(&run(&["list", "--json"]).ends(0).json()), ["one"]);
    assert_eq!(names(&run(&["list", "--json"]).env("PEGBOARD_PLUGINS", &folder("two")).ends(0).json()), ["two"]);
    let flag = run(&["list", "--json", "--plugins", &folder("three")]).env("PEGBOARD_PLUGINS", &folder("two"));
    assert_eq!(names(&flag.ends(0).json()), ["three"]);
}

#[test]
fn xdg_folders_hold_without_a_home_flag() {
    let home = Home::with_plain();
    let config = home.path().join("xdg-config");
    let run = |args: &[&str]| home.run(args).without_env("PEGBOARD_HOME").env("XDG_CONFIG_HOME", config.to_str().unwrap());
    run(&["grant", "plain", "--level", "L1", "--yes"]).ends(0);
    assert!(config.join("pegboard/grants.yaml").is_file());
    assert!(!home.config("grants.yaml").exists());
}

#[test]
fn a_plugins_folder_that_is_not_there_is_refused() {
    let home = Home::with_plain();
    let ended = home.run(&["list", "--plugins", "nowhere"]).ends(5);
    assert!(ended.stderr.contains("nowhere"), "{}", ended.stderr);
}

/// Every line that `serve --help` shows of the file is taken by the program.
#[test]
fn the_file_that_the_help_shows_is_valid() {
    let home = Home::with_plain();
    let help = home.run(&["serve", "--help"]).ends(0).stdout;
    let shown: Vec<&str> = help.split("stops the start):").nth(1).unwrap().lines().filter(|line| line.contains(" = ")).collect();
    let mut file = String::new();
    for line in shown {
        let line = line.split("(auto").next().unwrap().replace('…', "/dev/null");
        let mut rest = line.trim().to_owned();
        if let Some((section, keys)) = rest.clone().strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            file.push_str(&format!("[{section}]\n"));
            rest = keys.to_owned();
        }
        // Keys stand side by side, two or more spaces apart.
        for pair in rest.split("  ").map(str::trim).filter(|pair| !pair.is_empty()) {
            file.push_str(&format!("{pair}\n"));
        }
    }
    assert!(file.contains("drain_seconds = 5") && file.contains("[embedder]\nkind"), "{file}");
    home.configure("pegboard.toml", &file);
    // Read without an objection to a key; the places it names are not there, so only commands that need none can run.
    home.run(&["token", "list", "--token-file", "x.yaml"]).ends(0);
}
