//! Plugins that need plugins: what comes along, what stays, who is told.

use std::fs;

use crate::installs::{Life, manifest};

/// A home with an index beside it.
struct Shelf {
    life: Life,
    shelf: String,
}

impl Shelf {
    fn new() -> Self {
        let life = Life::new();
        let shelf = life.home.path().join("shelf").display().to_string();
        Self { life, shelf }
    }
}

/// Puts a release into the index that needs others.
fn publish(life: &Life, shelf: &str, name: &str, version: &str, needs: &[(&str, &str)]) {
    let folder = life.source(version, "", "Says it");
    let mut text = manifest(version, "", "Says it").replace("name: held", &format!("name: {name}"));
    if !needs.is_empty() {
        text += "dependencies:\n";
    }
    for (name, wanted) in needs {
        text += &format!("  - {{name: {name}, version: \"{wanted}\", source: marketplace}}\n");
    }
    fs::write(folder.join("plugin.yaml"), text).unwrap();
    life.ok(&["package", &folder.display().to_string(), "-o", "x.zip"]);
    life.ok(&["publish", "x.zip", "--index", shelf]);
}

/// Names, versions and states of what is there.
fn there(life: &Life) -> Vec<String> {
    let listed = life.ok(&["list", "--json"]).json();
    let plugins = listed["plugins"].as_array().unwrap().iter();
    let word = |plugin: &serde_json::Value, key: &str| plugin[key].as_str().unwrap().to_owned();
    plugins.map(|plugin| format!("{} {} {}", word(plugin, "name"), word(plugin, "version"), word(plugin, "state"))).collect()
}

#[test]
fn what_a_plugin_needs_comes_along_and_does_not_go_before_it() {
    let Shelf { life, shelf } = &Shelf::new();
    let publish = |name: &str, version: &str, needs: &[(&str, &str)]| publish(life, shelf, name, version, needs);
    publish("ground", "1.0.0", &[]);
    publish("ground", "2.0.0", &[]);
    publish("middle", "1.0.0", &[("ground", "^1")]);
    publish("upper", "1.0.0", &[("middle", "*")]);
    publish("torn", "1.0.0", &[("ground", "^3")]);
    let refused = life.refused(&["install", "torn", "--index", shelf, "--yes"], 5, "install.needs");
    assert!(refused["error"]["message"].as_str().unwrap().contains("ground"), "{refused}");
    let installed = life.ok(&["install", "upper", "--index", shelf, "--yes", "--json"]).json();
    let what: Vec<String> = installed["installed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| format!("{} {}", plugin["plugin"].as_str().unwrap(), plugin["version"].as_str().unwrap()))
        .collect();
    assert_eq!(what, ["ground 1.0.0", "middle 1.0.0", "upper 1.0.0"]);
    let needed = life.refused(&["uninstall", "ground"], 4, "plugin.needed");
    assert!(needed["error"]["message"].as_str().unwrap().contains("middle (needs ground ^1)"), "{needed}");
    life.ok(&["uninstall", "upper"]);
    life.ok(&["uninstall", "middle"]);
    life.ok(&["uninstall", "ground"]);
    // Names that the eye takes for an installed or a first-party plugin's, and names that are nobody's.
    life.ok(&["install", "ground", "--index", shelf, "--yes"]);
    publish("gr0und", "1.0.0", &[]);
    publish("tab1es", "1.0.0", &[]);
    publish("pegboard-core", "1.0.0", &[]);
    for name in ["gr0und", "tab1es", "pegboard-core"] {
        life.refused(&["install", name, "--index", shelf, "--yes"], 3, "plugin.name_refused");
    }
}

#[test]
fn an_update_brings_along_what_it_needs_now() {
    let Shelf { life, shelf } = &Shelf::new();
    let publish = |name: &str, version: &str, needs: &[(&str, &str)]| publish(life, shelf, name, version, needs);
    publish("top", "1.0.0", &[]);
    life.ok(&["install", "top", "--index", shelf, "--yes"]);
    publish("base", "1.0.0", &[]);
    publish("side", "1.2.0", &[("base", "^1")]);
    publish("top", "1.1.0", &[("side", "^1")]);
    let before = life.lockfile();
    // Other people's code is news, which nobody accepted yet: then none of it is installed.
    let refused = life.refused(&["update", "--yes"], 4, "install.not_accepted");
    let news = refused["differences"].as_array().unwrap().iter().find(|difference| difference["key"] == "needs:side").unwrap();
    assert_eq!((&news["turn"], &news["after"], &news["widens"]), (&"new".into(), &"side ^1".into(), &true.into()));
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--allow needs"), "{refused}");
    assert_eq!(life.lockfile(), before);
    let updated = life.ok(&["update", "--yes", "--allow", "needs", "--json"]).json();
    let names: Vec<&str> = updated["updated"].as_array().unwrap().iter().map(|done| done["plugin"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "side", "top"]);
    assert_eq!(there(life), ["base 1.0.0 served", "side 1.2.0 served", "top 1.1.0 served"]);
    // The same need again is no news.
    publish("top", "1.2.0", &[("side", "^1")]);
    life.ok(&["update", "--yes"]);
    assert_eq!(there(life), ["base 1.0.0 served", "side 1.2.0 served", "top 1.2.0 served"]);
}

#[test]
fn an_update_that_cannot_be_had_says_why_and_changes_nothing() {
    let Shelf { life, shelf } = &Shelf::new();
    let publish = |name: &str, version: &str, needs: &[(&str, &str)]| publish(life, shelf, name, version, needs);
    publish("base", "1.0.0", &[]);
    publish("keeper", "1.0.0", &[("base", "^1")]);
    publish("top", "1.0.0", &[]);
    life.ok(&["install", "keeper", "top", "--index", shelf, "--yes"]);
    let before = life.lockfile();
    publish("base", "2.0.0", &[]);
    publish("top", "1.1.0", &[("base", "^2")]);
    // What keeper needs is not taken from it.
    let refused = life.refused(&["update", "top", "--yes", "--allow", "needs"], 5, "install.needs");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("keeper") && message.contains("base") && message.contains("top 1.1.0"), "{message}");
    // Nor by an update of base itself, which says so.
    let check = life.ok(&["update", "base", "--check", "--json"]).json();
    assert_eq!(check["plugins"][0]["state"], "newest", "{check}");
    assert_eq!(check["plugins"][0]["remarks"][0], "2.0.0 is there, but keeper needs base ^1", "{check}");
    life.ok(&["update", "base", "--yes"]);
    assert_eq!(life.lockfile(), before);
    // Asked for by name it comes, and whoever loses by it is named.
    let forced = life.ok(&["install", "base@2.0.0", "--index", shelf, "--yes", "--json"]).json();
    let notes = forced["installed"][0]["notes"].to_string();
    assert!(notes.contains("keeper needs the plugin `base ^1`, and 2.0.0 is there"), "{notes}");
    assert_eq!(there(life), ["base 2.0.0 served", "keeper 1.0.0 lacking", "top 1.0.0 served"]);
}

#[test]
fn a_circle_is_an_error_with_its_path() {
    let Shelf { life, shelf } = &Shelf::new();
    let publish = |name: &str, version: &str, needs: &[(&str, &str)]| publish(life, shelf, name, version, needs);
    publish("hen", "1.0.0", &[]);
    life.ok(&["install", "hen", "--index", shelf, "--yes"]);
    let before = life.lockfile();
    publish("egg", "1.0.0", &[("nest", "*")]);
    publish("nest", "1.0.0", &[("hen", "*")]);
    publish("hen", "2.0.0", &[("egg", "*")]);
    for args in [&["update", "--yes", "--allow", "needs"][..], &["install", "hen@2.0.0", "--index", shelf, "--yes"]] {
        let refused = life.refused(args, 5, "install.needs");
        let message = refused["error"]["message"].as_str().unwrap();
        let path = ["egg → nest → hen → egg", "nest → hen → egg → nest", "hen → egg → nest → hen"];
        assert!(path.iter().any(|path| message.contains(path)), "{message}");
    }
    assert_eq!(life.lockfile(), before);
}
