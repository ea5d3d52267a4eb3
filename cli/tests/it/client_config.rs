//! `client-config`: each block parses as its client's format and starts this very program.

use serde_json::{Value, json};

use crate::run::{BINARY, Home, PLAIN, PLAIN_CODE};

fn block(home: &Home, args: &[&str]) -> String {
    home.run(&[&["client-config"], args].concat()).ends(0).stdout
}

fn parsed(home: &Home, args: &[&str]) -> Value {
    serde_json::from_str(&block(home, args)).unwrap()
}

#[test]
fn every_client_gets_its_own_form() {
    let home = Home::with_plain();
    let plugins = home.plugins().display().to_string();
    let args = json!(["serve", "--shared", "--home", home.path(), "--plugins", plugins, "--no-bundled"]);
    let home_args = ["--home", home.path().to_str().unwrap(), "--no-bundled"];
    let ask = |client: &'static str| [client, home_args[0], home_args[1], home_args[2]];
    let typed = json!({"type": "stdio", "command": BINARY, "args": args});
    let bare = json!({"command": BINARY, "args": args});
    assert_eq!(parsed(&home, &ask("claude-code")), json!({"mcpServers": {"pegboard": typed}}));
    assert_eq!(parsed(&home, &ask("claude-desktop")), json!({"mcpServers": {"pegboard": bare}}));
    assert_eq!(parsed(&home, &ask("cursor")), json!({"mcpServers": {"pegboard": bare}}));
    assert_eq!(parsed(&home, &ask("vscode")), json!({"servers": {"pegboard": typed}}));
    let codex: toml::Table = block(&home, &ask("codex")).parse().unwrap();
    assert_eq!(codex["mcp_servers"]["pegboard"]["command"].as_str(), Some(BINARY));
    assert_eq!(serde_json::to_value(&codex["mcp_servers"]["pegboard"]["args"]).unwrap(), args);
    let python = block(&home, &ask("langchain"));
    assert!(python.contains("MultiServerMCPClient") && python.contains(BINARY), "{python}");
}

#[test]
fn the_python_snippet_is_python() {
    let home = Home::with_plain();
    let file = home.path().join("snippet.py");
    for args in [&["langchain"][..], &["langchain", "--url", "http://127.0.0.1:7337", "--token-variable", "PEGBOARD_TOKEN"]] {
        std::fs::write(&file, block(&home, args)).unwrap();
        let checked = std::process::Command::new("python3").args(["-m", "py_compile", file.to_str().unwrap()]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn a_running_server_is_reached_by_address() {
    let home = Home::with_plain();
    let url = "http://127.0.0.1:7337";
    assert_eq!(
        parsed(&home, &["vscode", "--url", url, "--view", "search"]),
        json!({"servers": {"pegboard": {"type": "http", "url": "http://127.0.0.1:7337/mcp/search"}}})
    );
    assert_eq!(
        parsed(&home, &["cursor", "--url", url, "--token-variable", "TOKEN"])["mcpServers"]["pegboard"]["headers"],
        json!({"Authorization": "Bearer ${env:TOKEN}"})
    );
    let codex: toml::Table = block(&home, &["codex", "--url", url]).parse().unwrap();
    assert_eq!(codex["mcp_servers"]["pegboard"]["url"].as_str(), Some("http://127.0.0.1:7337/mcp"));
    home.run(&["client-config", "claude-desktop", "--url", url]).ends(2);
    home.run(&["client-config", "cursor", "--url", "127.0.0.1"]).ends(2);
}

#[test]
fn a_long_catalogue_is_searched() {
    let home = Home::new();
    let long = "words that make a description long ".repeat(12);
    for plugin in 0..12 {
        let tools: String = (0..12)
            .map(|tool| {
                format!("  - name: tool{tool}\n    description: {long}\n    class_name: Echo\n    args_schema: {{type: object, properties: {{}}}}\n")
            })
            .collect();
        let head = PLAIN.split("mcps:").next().unwrap().replace("name: plain", &format!("name: big{plugin}"));
        home.plugin(&format!("big{plugin}"), &format!("{head}mcps:\n{tools}"), PLAIN_CODE);
    }
    let args = |home: &Home, client: &str| {
        let document: Value = home.run(&["client-config", client, "--json"]).ends(0).json();
        (document["view"].as_str().unwrap().to_owned(), document["block"].as_str().unwrap().contains("search"))
    };
    assert_eq!(args(&home, "cursor"), ("search".to_owned(), true));
    assert_eq!(args(&home, "claude-code"), ("all".to_owned(), false));
}
