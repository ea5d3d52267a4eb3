//! `list`, `info`, `search`, `call`: what is there, where it stands, and one call through the sandbox.

use serde_json::{Value, json};

use crate::run::{Home, PLAIN, PLAIN_CODE};

fn plugin<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .find(|plugin| plugin["name"] == name)
        .unwrap_or_else(|| panic!("no {name}: {document}"))
}

#[test]
fn list_says_why_and_what_mends_it() {
    let home = Home::with_plain();
    home.plugin("needy", crate::run::NEEDY, crate::run::NEEDY_CODE);
    home.plugin("broken", &PLAIN.replace("name: plain", "nmae: broken"), PLAIN_CODE);
    let document = home.run(&["list", "--json"]).ends(0).json();
    assert_eq!(plugin(&document, "plain")["state"], "served");
    assert_eq!(plugin(&document, "plain")["tools"], json!(["plain__echo", "plain__fail"]));
    let needy = plugin(&document, "needy");
    assert_eq!(needy["state"], "withheld");
    let remedies: Vec<&str> =
        needy["reasons"].as_array().unwrap().iter().map(|reason| reason["remedy"].as_str().unwrap()).collect();
    assert_eq!(
        remedies,
        [
            "pegboard grant needy file_system_read=/path/to/folder",
            "pegboard grant needy network_access",
            "pegboard secret set needy API_KEY"
        ]
    );
    let broken = plugin(&document, "broken");
    assert_eq!(broken["state"], "broken");
    assert!(broken["diagnostics"][0]["line"].is_u64(), "{broken}");

    let text = home.run(&["list"]).ends(0).stdout;
    for word in ["served", "withheld", "broken", "pegboard grant needy network_access", "pegboard validate"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_mending_commands_mend() {
    let home = Home::with_needy();
    let state = |home: &Home| plugin(&home.run(&["list", "--json"]).ends(0).json(), "needy")["state"].clone();
    assert_eq!(state(&home), "withheld");
    home.run(&["grant", "needy", &format!("file_system_read={}", home.data().display()), "--yes"]).ends(0);
    home.run(&["grant", "needy", "network_access", "--yes"]).ends(0);
    assert_eq!(state(&home), "withheld");
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin("v").ends(0);
    assert_eq!(state(&home), "served");
    let text = home.run(&["list"]).ends(0).stdout;
    assert!(text.contains("advisory"), "a network grant is advisory in its hosts: {text}");
    home.run(&["config", "set", "needy", "retries", "3"]).ends(0);
    assert_eq!(state(&home), "served");
    home.configure("config/needy.yaml", "retries: many\n");
    assert_eq!(state(&home), "withheld");
}

#[test]
fn info_puts_declared_beside_granted() {
    let home = Home::with_needy();
    home.run(&["grant", "needy", "network_access=api.example.org:443", "--yes"]).ends(0);
    let document = home.run(&["info", "needy", "--json"]).ends(0).json();
    let powers: Vec<(&str, bool)> = document["powers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|power| (power["power"].as_str().unwrap(), power["granted"].as_bool().unwrap()))
        .collect();
    assert_eq!(powers, [("file_system_read", false), ("network_access", true)]);
    assert_eq!(document["powers"][1]["hosts"], json!(["api.example.org:443"]));
    assert!(document["powers"][1]["advisory"].is_string());
    assert_eq!(
        document["secrets"][0],
        json!({"name": "API_KEY", "description": "A key from example.org", "required": true, "set": false})
    );
    assert_eq!(document["limits"]["max_memory_mb"], 256);
    let text = home.run(&["info", "needy"]).ends(0).stdout;
    for word in ["not granted", "not enforced", "API_KEY", "not set", "256 MiB", "needy__look"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    home.run(&["info", "nedy"]).ends(5);
}

#[test]
fn info_of_a_broken_plugin_is_invalid() {
    let home = Home::new();
    home.plugin("broken", &PLAIN.replace("name: plain", "nmae: broken"), PLAIN_CODE);
    let document = home.run(&["info", "broken", "--json"]).ends(3).json();
    assert_eq!(document["error"]["code"], "plugin.broken");
    assert!(document["diagnostics"].is_array());
}

#[test]
fn a_tool_is_called_in_the_sandbox() {
    let home = Home::with_plain();
    let document = home
        .run(&["call", "echo", "--arg", "text=ab", "--arg", "times=2", "--arg", "tags=x", "--arg", "tags=y", "--json"])
        .ends(0)
        .json();
    assert_eq!(document["tool"], "plain__echo");
    assert_eq!(document["structured"], json!({"text": "abab", "tags": ["x", "y"]}));
    let file = home.path().join("args.json");
    std::fs::write(&file, "{\"text\": \"from a file\"}").unwrap();
    for run in [
        home.run(&["call", "plain__echo", "--args", &format!("@{}", file.display()), "--json"]),
        home.run(&["call", "plain__echo", "--args", "-", "--json"]).stdin("{\"text\": \"from a file\"}"),
    ] {
        assert_eq!(run.ends(0).json()["structured"]["text"], "from a file");
    }
}

#[test]
fn what_a_tool_prints_is_on_stderr_and_harmless() {
    let home = Home::with_plain();
    let code = "import sys\n\n\nclass Echo:\n    def _run(self, text, times=1, tags=None):\n        \
                print('a line of the log')\n        print('\\x1b[2Jgone', file=sys.stderr)\n        return 'said ' + text + '\\x1b[31m'\n\n\n\
                class Fail:\n    pass\n";
    home.plugin("plain", PLAIN, code);
    let ended = home.run(&["call", "echo", "--arg", "text=it"]).ends(0);
    assert!(ended.stdout.starts_with("said it"), "{ended:?}");
    assert!(ended.stderr.contains("a line of the log"), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'), "{ended:?}");
    let quiet = home.run(&["call", "echo", "--arg", "text=it", "--json"]).ends(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_derived_schema_types_the_words() {
    let home = Home::new();
    let manifest = "name: shy\nversion: 1.0.0\ndescription: Has no schema\nmcps:\n  - name: greet\n    description: Greets\n    class_name: Greet\n";
    home.plugin(
        "shy",
        manifest,
        "class Greet:\n    def _run(self, name: str, times: int = 1) -> str:\n        return name * times\n",
    );
    let ended = home.run(&["call", "greet", "--arg", "name=7", "--arg", "times=2"]).ends(0);
    assert_eq!(ended.stdout, "77\n");
    assert_eq!(plugin(&home.run(&["list", "--json"]).ends(0).json(), "shy")["pending"], json!(["greet"]));
}

#[test]
fn how_a_call_ends_is_its_exit_code() {
    let home = Home::with_plain();
    home.plugin("needy", crate::run::NEEDY, crate::run::NEEDY_CODE);
    for (args, code, word) in [
        (&["call", "fail"][..], 1, "raised"),
        (&["call", "echo"], 2, "bad_arguments"),
        (&["call", "echo", "--arg", "text=a", "--arg", "times=many"], 2, "bad_arguments"),
        (&["call", "echo", "--args", "[1]"], 2, "args.form"),
        (&["call", "look"], 4, "denied"),
        (&["call", "ecko"], 5, "tool.not_found"),
    ] {
        let document = home.run(&[args, &["--json"]].concat()).ends(code).json();
        assert_eq!(document["error"]["code"], word, "{document}");
        let ended = home.run(args).ends(code);
        assert_eq!(ended.stdout, "", "{args:?}");
        assert!(ended.stderr.contains("error: "), "{args:?}: {}", ended.stderr);
    }
    let denied = home.run(&["call", "look"]).ends(4);
    assert!(
        denied.stderr.contains("pegboard grant needy network_access"),
        "the operator is shown the command: {}",
        denied.stderr
    );
    let failed = home.run(&["call", "fail"]).ends(1);
    assert!(failed.stderr.contains("it always fails"), "{}", failed.stderr);
}

#[test]
fn a_name_that_two_plugins_have_must_be_whole() {
    let home = Home::with_plain();
    home.plugin("other", &PLAIN.replace("name: plain", "name: other"), PLAIN_CODE);
    let ended = home.run(&["call", "echo", "--arg", "text=a"]).ends(2);
    assert!(ended.stderr.contains("other__echo, plain__echo"), "{}", ended.stderr);
}

#[test]
fn search_finds_by_words() {
    let home = Home::with_plain();
    let document = home.run(&["search", "returns what it was given", "--json"]).ends(0).json();
    assert_eq!(document["tools"][0]["name"], "plain__echo", "{document}");
    assert_eq!(document["total"], 2);
    let none = home.run(&["search", "echo", "--plugin", "nothing", "--json"]).ends(0).json();
    assert_eq!(none["tools"], json!([]));
}

#[test]
fn the_same_name_twice_says_which_wins() {
    let home = Home::with_plain();
    let first = home.path().join("first");
    std::fs::create_dir_all(first.join("plain")).unwrap();
    std::fs::write(first.join("plain/plugin.yaml"), PLAIN.replace("1.0.0", "9.0.0")).unwrap();
    std::fs::write(first.join("plain/main.py"), PLAIN_CODE).unwrap();
    let plugins = home.plugins().display().to_string();
    let document = home.run(&["list", "--json", "--plugins", first.to_str().unwrap(), "--plugins", &plugins]).ends(0).json();
    assert_eq!(plugin(&document, "plain")["version"], "9.0.0");
    assert!(plugin(&document, "plain")["notes"][0].as_str().unwrap().contains("shadows"), "{document}");
}

#[test]
fn many_first_starts_at_once_do_not_trip_over_each_other() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| home.run_bundled(&["list", "--json"]).ends(0));
        }
    });
}

#[test]
fn the_bundled_plugins_are_there_and_intact() {
    let home = Home::new();
    let document = home.run_bundled(&["list", "--json"]).ends(0).json();
    assert!(document["plugins"].as_array().unwrap().iter().any(|plugin| plugin["source"] == "bundled"), "{document}");
    for plugin in document["plugins"].as_array().unwrap() {
        assert_ne!(plugin["state"], "broken", "{plugin}");
    }
    assert_eq!(home.run_bundled(&["list", "--json", "--no-bundled"]).ends(0).json()["plugins"], json!([]));
}
