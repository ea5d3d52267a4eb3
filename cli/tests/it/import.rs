//! `import`: plugins of other hosts, in a tree, become plugins that run here; each other one gets its reason.

use std::fs;

use serde_json::{Value, json};

use crate::run::Home;

impl Home {
    fn foreign(&self, folder: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path().join("theirs").join(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Calls a tool of the imported plugins.
    fn imported(&self, tool: &str, args: &Value) -> Value {
        let run = self.run(&["call", tool, "--args", &args.to_string(), "--json", "--plugins", "imported"]).end();
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", run.stdout, run.stderr))
    }
}

fn verb(verb: &str, more: &Value) -> String {
    let mut manifest = json!({"verb": verb, "name": verb, "version": "1.0", "description": format!("Does {verb}"), "language": "python",
        "inputDefinitions": [{"name": "text", "required": true, "type": "string", "description": "What to work on", "aliases": ["content"]},
            {"name": "loud", "type": "boolean"}],
        "entryPoint": {"main": "main.py"}});
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest.to_string()
}

#[test]
fn a_tree_is_imported_and_its_plugins_run_as_their_authors_wrote_them() {
    let home = Home::new();
    let plain = "def execute_plugin(inputs):\n    return {'success': True, 'outputs': {'said': inputs['text'].upper(), 'loud': inputs.get('loud') is True}}\n";
    home.foreign(
        "a/plain",
        &[("manifest.json", &verb("plain", &json!({"configuration": {"key": 1}, "mystery": true}))), ("main.py", plain)],
    );
    let enveloped = "def execute_plugin(inputs, context):\n    text = inputs['text']['value']\n    loud = inputs['loud'].value if 'loud' in inputs else None\n    \
                     return [{'success': True, 'name': 'said', 'resultType': 'string', 'result': text + context['plugin_id']},\n            {'success': True, 'name': 'loud', 'result': bool(loud)}]\n";
    home.foreign("a/enveloped", &[("manifest.json", &verb("enveloped", &json!({}))), ("main.py", enveloped)]);
    let script = "#!/usr/bin/env python3\nimport json, sys\npairs = dict(json.load(sys.stdin))\nprint(json.dumps([{'success': True, 'name': 'said', 'result': pairs['text']['value'][::-1]}]))\n";
    home.foreign("b/script", &[("manifest.json", &verb("script", &json!({}))), ("main.py", script)]);
    let class = "class Notes:\n    def initialize(self, config, context):\n        self.prefix = 'note: '\n\n    def execute(self, input):\n        return {'said': self.prefix + input['text']}\n\n    def cleanup(self):\n        pass\n";
    let plugin = json!({"plugin_id": "org.example.notes", "name": "Notes", "version": "2", "category": "Writing", "entry_point": "notes.py",
        "permissions": ["filesystem"], "min_core_version": "9.9.9"});
    home.foreign("c/notes", &[("plugin.json", &plugin.to_string()), ("notes.py", class)]);
    home.foreign("d/broken", &[("manifest.json", "{\"verb\": ")]);
    home.foreign("d/script_js", &[("manifest.json", &verb("js", &json!({"language": "javascript"}))), ("main.js", "")]);
    home.foreign("d/empty", &[("manifest.json", "{}")]);
    home.foreign("d/gone", &[("manifest.json", &verb("gone", &json!({"entryPoint": {"main": "../secret.py"}})))]);
    let document = home.run(&["import", "theirs", "--json"]).ends(0).json();
    assert_eq!((&document["imported"], &document["refused"]), (&json!(4), &json!(4)), "{document}");
    let reason = |folder: &str| {
        let found = document["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .find(|report| report["from"].as_str().unwrap().ends_with(folder))
            .unwrap();
        found.clone()
    };
    for (folder, words) in [
        ("d/broken", "not valid JSON"),
        ("d/script_js", "`javascript`, which is not run yet"),
        ("d/empty", "expected `verb`"),
        ("d/gone", "is not in the folder"),
    ] {
        assert!(reason(folder)["reason"].as_str().unwrap().contains(words), "{folder}: {}", reason(folder));
    }
    let notes = reason("a/plain")["notes"].to_string();
    assert!(notes.contains("`configuration`") && notes.contains("`mystery`"), "{notes}");
    home.run(&["validate", "imported/plain", "imported/enveloped", "imported/script", "imported/org_example_notes"]).ends(0);
    let said = |answer: &Value| answer["structured"]["said"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let plain = home.imported("plain__plain", &json!({"content": "ab", "loud": true}));
    assert_eq!((said(&plain).as_str(), &plain["structured"]["loud"]), ("AB", &json!(true)), "an alias, and a real boolean");
    let enveloped = home.imported("enveloped__enveloped", &json!({"text": "from ", "loud": false}));
    assert_eq!((said(&enveloped).as_str(), &enveloped["structured"]["loud"]), ("from enveloped", &json!(false)));
    assert_eq!(said(&home.imported("script__script", &json!({"text": "abc"}))), "cba");
    let missing = home.imported("plain__plain", &json!({}));
    assert!(missing.to_string().contains("the argument 'text' is missing"), "{missing}");
    // It asked for files, so it waits for its grant like any other.
    assert_eq!(
        home.run(&["call", "org_example_notes__notes", "--args", "{\"text\": \"x\"}", "--plugins", "imported"]).end().code,
        4
    );
    // Once more: nothing is overwritten.
    assert_eq!(home.run(&["import", "theirs/a/plain", "--json"]).ends(0).json()["plugins"][0]["plugin"], "plain_2");
}

#[test]
fn nothing_outside_of_a_folder_is_read_or_copied() {
    let home = Home::new();
    let class = "class Theirs:\n    def execute(self, input):\n        return 1\n";
    fs::create_dir_all(home.path().join("outside")).unwrap();
    fs::write(home.path().join("outside/secret.py"), class).unwrap();
    for (folder, entry) in [("up", "../../outside/secret.py"), ("link", "inner/secret.py"), ("absolute", "/etc/passwd")] {
        home.foreign(
            folder,
            &[("plugin.json", &json!({"plugin_id": folder, "entry_point": entry}).to_string()), ("mine.py", class)],
        );
    }
    std::os::unix::fs::symlink(home.path().join("outside"), home.path().join("theirs/link/inner")).unwrap();
    let refused = home.run(&["import", "theirs", "--json"]).ends(3).json();
    assert!(refused.to_string().matches("is not in the folder").count() >= 3, "{refused}");
    // The same file in the folder is taken, and the link beside it stays behind.
    home.foreign("link", &[("plugin.json", &json!({"plugin_id": "link", "entry_point": "mine.py"}).to_string())]);
    home.run(&["import", "theirs/link"]).ends(0);
    assert!(home.path().join("imported/link/mine.py").exists() && !home.path().join("imported/link/inner").exists());
}

#[test]
fn where_nothing_can_be_imported_it_says_so() {
    let home = Home::new();
    fs::create_dir_all(home.path().join("empty")).unwrap();
    assert_eq!(home.run(&["import", "empty", "--json"]).ends(5).json()["error"]["code"], "import.not_found");
    assert_eq!(home.run(&["import", "nowhere", "--json"]).ends(5).json()["error"]["code"], "import.not_found");
    home.foreign("one", &[("manifest.json", "[]")]);
    assert_eq!(home.run(&["import", "theirs", "--json"]).ends(3).json()["error"]["code"], "import.nothing");
}

#[test]
fn a_hundred_are_imported_in_one_command() {
    let home = Home::new();
    for number in 0..100 {
        let code = format!("def execute_plugin(inputs):\n    return {number}\n");
        home.foreign(
            &format!("p{number}"),
            &[("manifest.json", &verb(&format!("count{number}"), &json!({}))), ("main.py", &code)],
        );
    }
    let document = home.run(&["import", "theirs", "-o", "imported", "--json"]).ends(0).json();
    assert_eq!(document["imported"], 100);
    assert_eq!(home.imported("count42__count42", &json!({"text": "x"}))["structured"], json!({"result": 42}));
}

/// Packs a folder as bundles' own packers do: folders in the list, sizes after the data. With a third argument the first entry climbs.
const PACK: &str = r#"
import pathlib, sys, zipfile

class Stream:
    def __init__(self, file):
        self.file = file
    def write(self, data):
        return self.file.write(data)
    def flush(self):
        self.file.flush()

root, target = map(pathlib.Path, sys.argv[1:3])
with open(target, "wb") as file, zipfile.ZipFile(Stream(file), "w", zipfile.ZIP_DEFLATED) as bundle:
    if sys.argv[3:]:
        bundle.writestr("../escaped.txt", "out")
    for path in sorted(root.rglob("*")):
        bundle.write(path, path.relative_to(root).as_posix() + ("/" if path.is_dir() else ""))
"#;

impl Home {
    fn packed(&self, folder: &str, bundle: &str, more: &[&str]) {
        let (from, to) = (self.path().join("theirs").join(folder), self.path().join(bundle));
        let mut python = std::process::Command::new("python3");
        let done = python.args(["-c", PACK]).args([&from, &to]).args(more).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

fn bundle(change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = json!({
        "manifest_version": "0.3", "name": "Note Keeper", "display_name": "Note Keeper", "version": "2.1.0", "description": "Keeps notes",
        "author": {"name": "Ada", "email": "ada@example.org"}, "license": "MIT", "icon": "icon.png", "keywords": ["notes"],
        "server": {"type": "python", "entry_point": "server/upstream.py", "mcp_config": {
            "command": crate::upstream::python(), "args": ["${__dirname}/server/upstream.py", "server/offered.json", "--level=${user_config.level}"],
            "env": {"NOTES_KEY": "${user_config.api_key}", "NOTES_HOME": "${HOME}/notes", "NOTES_LIB": "${__dirname}/server/lib"}}},
        "user_config": {"level": {"type": "number", "default": 3}, "api_key": {"type": "string", "title": "Key", "sensitive": true, "required": true}},
        "tools": [{"name": "read"}], "compatibility": {"platforms": ["linux", "darwin"]},
    });
    change(&mut manifest);
    manifest.to_string()
}

#[test]
fn a_bundle_of_an_mcp_server_is_imported_and_its_server_answers() {
    let home = Home::new();
    let offered = json!({"name": "notes", "tools": [{"name": "environment", "description": "Says what a variable is",
        "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}, {"name": "show", "description": "Says how it was started",
        "inputSchema": {"type": "object"}}]});
    home.foreign(
        "notes",
        &[
            ("manifest.json", &bundle(|_| ())),
            ("server/upstream.py", include_str!("../servers/upstream.py")),
            ("server/offered.json", &offered.to_string()),
            ("server/node_modules/kept/index.js", "all of it comes along"),
        ],
    );
    home.packed("notes", "notes.mcpb", &[]);
    let report = home.run(&["import", "notes.mcpb", "--json"]).ends(0).json();
    assert_eq!(report["plugins"][0]["plugin"], "note_keeper", "{report}");
    let notes = report["plugins"][0]["notes"].to_string();
    for words in ["`icon` has no place", "NOTES_HOME", "`level` is its default", "so it has none", "pegboard approve note_keeper"]
    {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    assert!(home.path().join("imported/note_keeper/server/node_modules/kept/index.js").is_file());
    home.run(&["validate", "imported/note_keeper"]).ends(0);
    // The same from its folder, where somebody has unpacked it.
    home.run(&["import", "theirs/notes", "-o", "unpacked"]).ends(0);
    let [packed, unpacked] = ["imported", "unpacked"].map(|folder| {
        let folder = home.path().join(folder).join("note_keeper");
        (fs::read_to_string(folder.join("plugin.yaml")).unwrap(), folder.join("server/node_modules/kept/index.js").is_file())
    });
    assert_eq!(packed, unpacked);
    // And from there into the store.
    let install = ["install", "./unpacked/note_keeper", "--yes", "--allow", "runtime", "--allow", "secrets"];
    home.run(&install[..5]).ends(4);
    home.run(&install).ends(0);
    home.run(&["uninstall", "note_keeper"]).ends(0);
    let here = |args: &[&str]| home.run(&[args, &["--plugins", "imported", "--json"]].concat());
    // Its secret comes from the operator, and its tools wait for a yes.
    assert_eq!(here(&["call", "note_keeper__show", "--args", "{}"]).end().code, 5);
    home.run(&["secret", "set", "note_keeper", "API_KEY", "--plugins", "imported"]).stdin("s3cret").ends(0);
    here(&["approve", "note_keeper", "--yes"]).ends(0);
    let started = here(&["call", "note_keeper__show", "--args", "{}"]).ends(0).json();
    assert!(started["content"][0]["text"].as_str().unwrap().contains("--level=3"), "{started}");
    let key = here(&["call", "note_keeper__environment", "--args", r#"{"name": "NOTES_KEY"}"#]).ends(0).json();
    assert_eq!(key["content"][0]["text"], "s3cret");
    let unset = here(&["call", "note_keeper__environment", "--args", r#"{"name": "NOTES_HOME"}"#]).ends(0).json();
    assert_eq!(unset["content"][0]["text"], "not set");
}

#[test]
fn bundles_that_can_not_be_taken_get_their_reason() {
    let home = Home::new();
    let cases: [(&str, String, &str); 5] = [
        ("darwin", bundle(|manifest| manifest["compatibility"]["platforms"] = json!(["darwin"])), "not on Linux"),
        ("kind", bundle(|manifest| manifest["server"]["type"] = json!("wasm")), "`wasm`"),
        (
            "ask",
            bundle(|manifest| manifest["user_config"]["level"] = json!({"type": "string", "required": true})),
            "must be given by its user",
        ),
        ("secret", bundle(|manifest| manifest["user_config"]["level"] = json!({"sensitive": true})), "can read arguments"),
        (
            "nothing",
            bundle(|manifest| manifest["server"] = json!({"type": "node"})),
            "neither `mcp_config.command` nor `entry_point`",
        ),
    ];
    for (name, manifest, _) in &cases {
        home.foreign(name, &[("manifest.json", manifest)]);
        fs::create_dir_all(home.path().join("bundles")).unwrap();
        home.packed(name, &format!("bundles/{name}.mcpb"), &[]);
    }
    home.packed("kind", "bundles/climbs.mcpb", &["climbs"]);
    fs::write(home.path().join("bundles/none.mcpb"), "no archive").unwrap();
    // A whole folder of them, and one that can be taken.
    home.foreign("taken", &[("manifest.json", &bundle(|_| ()))]);
    home.packed("taken", "bundles/taken.mcpb", &[]);
    let report = home.run(&["import", "bundles", "--json"]).ends(0).json();
    assert_eq!((&report["imported"], &report["refused"]), (&json!(1), &json!(7)), "{report}");
    let more = [("climbs", "climbs with `..`"), ("none", "no zip archive")];
    for (name, words) in cases.iter().map(|(name, _, words)| (*name, *words)).chain(more) {
        let file = format!("{name}.mcpb");
        let found = report["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .find(|plugin| plugin["from"].as_str().unwrap().ends_with(&file))
            .unwrap();
        assert!(found["reason"].as_str().unwrap().contains(words), "{name}: {found}");
    }
    assert!(!home.path().join("escaped.txt").exists());
}
