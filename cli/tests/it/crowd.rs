//! A thousand operations of several processes at once end in a state that one of their orders explains.

use std::{collections::HashMap, fs, sync::Arc};

use serde_json::Value;

use crate::installs::Life;

const PLUGINS: [&str; 3] = ["one", "two", "three"];
const THREADS: usize = 5;
const EACH: usize = 200;

/// A plugin as the history makes it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    version: String,
    previous: Vec<String>,
    active: bool,
    pinned: bool,
}

impl Model {
    fn advance(&mut self, version: &str) {
        if self.version == version {
            return;
        }
        let before = std::mem::replace(&mut self.version, version.to_owned());
        self.previous.retain(|earlier| earlier != version && *earlier != before);
        self.previous.insert(0, before);
        self.previous.truncate(8);
    }
}

/// Plays a line of history. `gone` holds what was uninstalled.
fn play(state: &mut HashMap<String, Model>, gone: &mut HashMap<String, Model>, done: &Value) {
    let (name, to) = (done["plugin"].as_str().unwrap(), done["to"].as_str().unwrap_or_default());
    match done["what"].as_str().unwrap() {
        "install" => match state.get_mut(name) {
            Some(model) => {
                model.advance(to);
                model.active = true;
            }
            None => {
                state.insert(name.to_owned(), Model { version: to.to_owned(), active: true, ..Model::default() });
            }
        },
        "rollback" => match state.get_mut(name) {
            Some(model) => {
                assert_eq!(model.previous.first().map(String::as_str), Some(to), "{done}");
                model.advance(to);
                model.active = true;
            }
            None => {
                let back = gone.get(name).unwrap().clone();
                assert_eq!(back.version, to);
                state.insert(name.to_owned(), back);
            }
        },
        "uninstall" => {
            let model = state.remove(name).unwrap();
            gone.insert(name.to_owned(), model);
        }
        what @ ("pin" | "unpin") => state.get_mut(name).unwrap().pinned = what == "pin",
        what @ ("activate" | "deactivate") => state.get_mut(name).unwrap().active = what == "activate",
        other => panic!("{other}"),
    }
}

/// What the lockfile says.
fn found(life: &Life) -> HashMap<String, Model> {
    let lockfile: toml::Table = toml::from_str(&life.lockfile()).unwrap();
    let version = |release: &toml::Value| release["version"].as_str().unwrap().to_owned();
    let plugins = lockfile.get("plugin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let model = |plugin: toml::Value| {
        let previous = plugin.get("previous").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let model = Model {
            version: version(&plugin["release"]),
            previous: previous.iter().map(version).collect(),
            active: plugin["active"].as_bool().unwrap(),
            pinned: plugin.get("pinned").and_then(toml::Value::as_bool).unwrap_or_default(),
        };
        (plugin["name"].as_str().unwrap().to_owned(), model)
    };
    plugins.into_iter().map(model).collect()
}

fn packages(life: &Life) {
    for name in PLUGINS {
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            let folder = life.home.path().join("sources").join(format!("{name}-{version}"));
            fs::create_dir_all(&folder).unwrap();
            let manifest = crate::installs::manifest(version, "", "Says it").replace("name: held", &format!("name: {name}"));
            fs::write(folder.join("plugin.yaml"), manifest).unwrap();
            fs::write(folder.join("main.py"), format!("class Which:\n    def _run(self):\n        return '{name} {version}'\n"))
                .unwrap();
            life.ok(&["package", &folder.display().to_string(), "-o", &format!("{name}-{version}.zip")]);
        }
    }
}

/// One operation; whether it changed something. A refusal is an answer, a broken store is none.
fn operate(life: &Life, number: u64) -> bool {
    let name = PLUGINS[(number >> 8) as usize % PLUGINS.len()];
    let package = format!("./{name}-1.{}.0.zip", (number >> 16) % 3);
    let args: &[&str] = match number % 16 {
        0..=5 => &["install", &package, "--yes", "--allow", "downgrade"],
        6..=8 => &["rollback", name],
        9 | 10 => &["uninstall", name],
        11 => &["pin", name],
        12 => &["pin", name, "--off"],
        13 => &["deactivate", name],
        14 => &["activate", name],
        _ => &["store", "gc"],
    };
    let ended = life.home.run(args).end();
    assert!([0, 5].contains(&ended.code), "{args:?}: {ended:?}");
    ended.code == 0
}

#[test]
fn a_thousand_operations_at_once_have_an_order() {
    let life = Arc::new(Life::new());
    packages(&life);
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|thread| {
            let life = life.clone();
            std::thread::spawn(move || {
                // A fixed sequence a thread; what is random is how they meet.
                let mut number = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                (0..EACH)
                    .filter(|_| {
                        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        operate(&life, number >> 20)
                    })
                    .count()
            })
        })
        .collect();
    let succeeded: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let history = life.ok(&["history", "--json"]).json()["history"].as_array().unwrap().clone();
    assert!(history.len() > 300 && history.len() <= succeeded, "{} of {succeeded}", history.len());
    let (mut state, mut gone) = (HashMap::new(), HashMap::new());
    history.iter().for_each(|done| play(&mut state, &mut gone, done));
    assert_eq!(state, found(&life));
    life.ok(&["store", "verify"]);
}
