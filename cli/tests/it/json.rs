//! `--json`: exactly one document on stdout, whatever happens; errors have code and message.

use serde_json::Value;

use crate::run::Home;

#[test]
fn every_command_prints_one_document() {
    let home = Home::with_plain();
    home.plugin("needy", crate::run::NEEDY, crate::run::NEEDY_CODE);
    for (args, code) in [
        (&["list"][..], 0),
        (&["list", "--tools"], 0),
        (&["info", "plain"], 0),
        (&["info", "nothing"], 5),
        (&["search", "echo"], 0),
        (&["validate", "plugins"], 0),
        (&["validate", "nowhere"], 5),
        (&["schema"], 0),
        (&["grants"], 0),
        (&["grant", "needy", "network_access"], 2),
        (&["grant", "needy", "network_access", "--yes"], 0),
        (&["revoke", "needy"], 0),
        (&["revoke", "needy"], 5),
        (&["secret", "list"], 0),
        (&["secret", "remove", "needy", "API_KEY"], 5),
        (&["config", "get", "needy"], 0),
        (&["config", "set", "needy", "retries", "2"], 0),
        (&["config", "set", "needy", "retries", "x"], 2),
        (&["config", "unset", "needy", "retries"], 0),
        (&["token", "create", "a", "--tools", "*"], 0),
        (&["token", "list"], 0),
        (&["token", "revoke", "a"], 0),
        (&["client-config", "codex"], 0),
        (&["completions", "bash"], 0),
        (&["call", "echo", "--arg", "text=a"], 0),
        (&["no-such-command"], 2),
    ] {
        let ended = home.run(&[args, &["--json"]].concat()).ends(code);
        let document = ended.json();
        assert!(document.is_object(), "{args:?}");
        assert_eq!(document.get("error").is_some(), code != 0, "{args:?}: {document}");
        if let Some(error) = document.get("error") {
            assert!(error["code"].is_string() && error["message"].is_string(), "{args:?}: {document}");
        }
        assert_eq!(ended.stderr, "", "{args:?}: nothing beside the document");
    }
}

#[test]
fn doctor_reports_every_part() {
    let home = Home::with_plain();
    let ended = home.run(&["doctor", "--json"]).end();
    let document = ended.json();
    let enforced = document["level"] != "L0";
    assert_eq!(ended.code, if enforced { 0 } else { 6 }, "{document}");
    for part in ["sandbox", "python", "uv", "embedder", "container", "plugins", "clients", "folders"] {
        assert!(!document[part].is_null(), "{part}: {document}");
    }
    assert!(document["python"].as_array().is_some_and(|pythons| !pythons.is_empty()), "{document}");
    assert_eq!(document["plugins"]["served"], 1);
}

#[test]
fn doctor_finds_the_clients_of_this_home() {
    let home = Home::with_plain();
    let clients = |home: &Home| home.run(&["doctor", "--json"]).end().json()["clients"].clone();
    assert_eq!(clients(&home), serde_json::json!([]));
    std::fs::create_dir(home.path().join(".cursor")).unwrap();
    std::fs::write(home.path().join(".cursor/mcp.json"), home.run(&["client-config", "cursor"]).ends(0).stdout).unwrap();
    std::fs::write(home.path().join(".claude.json"), "{}").unwrap();
    let found: Vec<(Value, Value)> = clients(&home)
        .as_array()
        .unwrap()
        .iter()
        .map(|client| (client["client"].clone(), client["mentions_pegboard"].clone()))
        .collect();
    assert!(
        found.contains(&("cursor".into(), true.into())) && found.contains(&("claude-code".into(), false.into())),
        "{found:?}"
    );
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    let script = format!("'{}' schema | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}", crate::run::BINARY);
    let status = std::process::Command::new("bash").args(["-c", &script]).env("HOME", home.path()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
