//! `validate`: every problem with its place, for people and for machines; exit code 3.

use std::fs;

use crate::run::{Home, PLAIN, PLAIN_CODE};

#[test]
fn a_good_plugin_is_ok() {
    let home = Home::with_plain();
    let folder = home.plugins().join("plain");
    let ended = home.run(&["validate", folder.to_str().unwrap()]).ends(0);
    assert_eq!(ended.stdout, "ok plain 1.0.0, 2 tools\n");
    // Its manifest, and the folder it is in, mean the same.
    for path in [folder.join("plugin.yaml"), home.plugins()] {
        let document = home.run(&["validate", path.to_str().unwrap(), "--json"]).ends(0).json();
        assert_eq!(document["valid"], true);
        assert_eq!(document["plugins"][0]["name"], "plain");
        assert_eq!(document["plugins"][0]["tools"], serde_json::json!(["echo", "fail"]));
    }
}

#[test]
fn a_bad_manifest_names_line_and_key() {
    let home = Home::new();
    let folder =
        home.plugin("broken", &PLAIN.replace("description: Says things back", "descripton: Says things back"), PLAIN_CODE);
    let ended = home.run(&["validate", folder.to_str().unwrap()]).ends(3);
    assert!(ended.stdout.contains("descripton"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    let document = home.run(&["validate", folder.to_str().unwrap(), "--json"]).ends(3).json();
    assert_eq!(document["valid"], false);
    assert_eq!(document["error"]["code"], "manifest.invalid");
    let error = &document["plugins"][0]["errors"][0];
    assert!(error["line"].is_u64() && error["code"].is_string(), "{error}");
}

#[test]
fn missing_code_is_shown_with_its_line() {
    let home = Home::with_plain();
    let folder = home.plugins().join("plain");
    fs::remove_file(folder.join("main.py")).unwrap();
    let ended = home.run(&["validate", "plugins/plain"]).ends(3);
    let expected = "\
error[plugin.module_missing]: `mcps[0].module_path` module `main` has no file in the plugin
 --> plugins/plain/plugin.yaml:7:5
  |
7 |     module_path: main
  |     ^
  = expected: `main.py` or `main/__init__.py`
  = found: neither

error[plugin.module_missing]: `mcps[1].module_path` module `main` has no file in the plugin
  --> plugins/plain/plugin.yaml:20:5
   |
20 |     module_path: main
   |     ^
   = expected: `main.py` or `main/__init__.py`
   = found: neither

";
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.stderr, "error: 2 errors\n");
}

#[test]
fn a_class_that_does_not_occur_is_a_warning() {
    let home = Home::with_plain();
    let folder = home.plugins().join("plain");
    fs::write(folder.join("main.py"), PLAIN_CODE.replace("class Fail", "class Fall")).unwrap();
    let document = home.run(&["validate", folder.to_str().unwrap(), "--json"]).ends(0).json();
    assert_eq!(document["plugins"][0]["warnings"][0]["code"], "plugin.name_missing");
    assert_eq!(document["plugins"][0]["warnings"][0]["path"], "mcps[1].class_name");
}

#[test]
fn bad_schemas_and_examples_are_errors() {
    let home = Home::new();
    let manifest = PLAIN.replace("times: {type: integer, minimum: 1}", "times: {type: integr}");
    let folder = home.plugin("plain", &manifest, PLAIN_CODE);
    let document = home.run(&["validate", folder.to_str().unwrap(), "--json"]).ends(3).json();
    assert!(document["plugins"][0]["errors"][0]["code"].is_string());

    let manifest = format!("{PLAIN}    examples:\n      - query: fail please\n        args: {{why: because}}\n");
    fs::write(folder.join("plugin.yaml"), manifest).unwrap();
    let document = home.run(&["validate", folder.to_str().unwrap(), "--json"]).ends(3).json();
    let error = &document["plugins"][0]["errors"][0];
    assert_eq!(error["code"], "plugin.example", "{document}");
    assert_eq!(error["path"], "mcps[1].examples[0].args");
    assert_eq!(error["line"], 24);
}

#[test]
fn what_is_not_there_is_not_found() {
    let home = Home::new();
    home.run(&["validate", "nowhere"]).ends(5);
    home.run(&["validate", "plugins"]).ends(5);
}

#[test]
fn escape_sequences_of_a_manifest_do_not_reach_the_terminal() {
    let home = Home::new();
    let manifest = PLAIN.replace("version: 1.0.0", "version: 1.0.0\n\"evil\\e[2J\": 1");
    let folder = home.plugin("plain", &manifest, PLAIN_CODE);
    let ended = home.run(&["validate", folder.to_str().unwrap()]).ends(3);
    assert!(!ended.stdout.contains('\u{1b}'), "{:?}", ended.stdout);
}

#[test]
fn what_is_no_plugin_is_said_once_and_the_rest_is_checked() {
    let home = Home::with_plain();
    fs::write(home.plugins().join("README.md"), "# not: [yaml").unwrap();
    fs::create_dir(home.plugins().join("empty")).unwrap();
    let all = ["validate", "plugins/README.md", "plugins/empty", "plugins/plain"];
    let ended = home.run(&all).ends(5);
    assert_eq!(ended.stdout, "ok plain 1.0.0, 2 tools\n");
    let said = "`plugins/README.md` (not a YAML file), `plugins/empty` (no plugin.yaml in it or its folders) are no plugins";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("README.md").count(), 1, "{}", ended.stderr);
    // An invalid manifest among them weighs more.
    home.plugin("broken", &PLAIN.replace("version: 1.0.0", "version: one"), PLAIN_CODE);
    let document = home.run(&[&all[..], &["plugins/broken", "--json"]].concat()).ends(3).json();
    assert_eq!(document["error"]["code"], "manifest.invalid");
    assert_eq!(document["not_plugins"].as_array().unwrap().len(), 2);
    home.run(&["validate", "plugins/plain"]).ends(0);
}
