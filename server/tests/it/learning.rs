//! Accepted calls: what counts, whose counts, and that nothing counts before the operator says so.

use std::path::PathBuf;

use executor_api::{FailureKind, ToolFailure, ToolOutcome};
use serde_json::{Value, json};

use crate::{
    server::View,
    support::{Bench, Home, connect, host, text_plugin, tokens, web},
};

fn search(query: &str) -> Value {
    json!({"name": "search_tools", "arguments": {"query": query}})
}

/// Served names with their counts, of every model.
fn learned(home: &Home) -> Vec<(String, f64)> {
    let files = std::fs::read_dir(home.path("data/learned")).into_iter().flatten().flatten().map(|entry| entry.path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    let document = |path: &PathBuf| -> Value { serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() };
    let tools = files.iter().map(document).flat_map(|document| document["tools"].as_object().cloned().unwrap());
    tools.map(|(tool, entry)| (tool, entry["count"].as_f64().unwrap())).collect()
}

#[tokio::test]
async fn a_successful_call_that_names_its_search_is_learned_from_and_no_word_is_kept() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.write("config/learning.yaml", "on: true\n");
    let mut settings = home.settings();
    settings.view = View::Search;
    let bench =
        Bench::texts().on("texts__shout", |_, _| async { ToolOutcome::Failed(ToolFailure::new(FailureKind::Raised, "hoarse")) });
    let host = host(settings, &bench).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let found = client.call("search_tools", json!({"query": "how many words has this zebrafish essay"})).await["result"]["structuredContent"].clone();
    let id = found["search_id"].as_str().expect("a search id").to_owned();
    assert_eq!(id.len(), 32);
    assert_eq!(found["call_with"]["arguments"]["search_id"], json!(id), "the hint carries it: {found}");
    let call = |name: &str, search: &str| json!({"name": name, "arguments": {"text": "one two"}, "search_id": search});
    // Nothing is learned from a call that fails, that names no search, or another's.
    client.call("call_tool", call("texts__shout", &id)).await;
    client.call("call_tool", call("texts__count", &"0".repeat(32))).await;
    client.call("call_tool", json!({"name": "texts__count", "arguments": {"text": "one two"}})).await;
    client.call("call_tool", json!({"name": "texts__count", "arguments": {"text": 1}, "search_id": id})).await;
    let answer = client.call("call_read_only_tool", call("texts__count", &id)).await;
    assert_eq!(answer["result"]["structuredContent"], json!({"words": 2}));
    client.call("call_tool", call("texts__count", &id)).await;
    host.shutdown().await;
    assert_eq!(learned(&home), [("texts__count".to_owned(), 1.0)], "once a search and tool");
    for file in std::fs::read_dir(home.path("data/learned")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("zebrafish") && !text.contains("essay"), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_learned_before_the_operator_says_so() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.view = View::Search;
    let host = host(settings, &Bench::texts()).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let found = client.call("search_tools", json!({"query": "count words"})).await;
    assert!(found["result"]["structuredContent"].get("search_id").is_none(), "{found}");
    client.call("call_tool", json!({"name": "texts__count", "arguments": {"text": "x"}, "search_id": "0".repeat(32)})).await;
    host.shutdown().await;
    assert!(!home.path("data/learned").exists());
}

#[tokio::test]
async fn over_http_only_a_token_that_may_teach_teaches() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.write("config/learning.yaml", "on: true\n");
    let host = host(home.settings(), &Bench::texts()).await;
    let open = web(&host, |_| {}).await;
    let found = open.modern("/mcp/search", "tools/call", search("count words"), &[]).await.json();
    assert!(found["result"]["structuredContent"].get("search_id").is_none(), "whoever reaches the port: {found}");
    open.end().await;

    let host = crate::support::host(home.settings(), &Bench::texts()).await;
    let file = tokens(&home, &[("alice", &["*"]), ("bob", &["*"]), ("mallory", &["*"])]);
    let yaml = std::fs::read_to_string(home.path("config/tokens.yaml")).unwrap();
    let teaching = ["alice", "bob"].iter().fold(yaml.clone(), |yaml, name| {
        yaml.replace(&format!("\"name\":\"{name}\""), &format!("\"name\":\"{name}\",\"learn\":true"))
    });
    assert_ne!(yaml, teaching, "{yaml}");
    home.write("config/tokens.yaml", &teaching);
    let web = web(&host, |settings| settings.tokens = Some(file)).await;
    let bearer = |name: &str| [("authorization", format!("Bearer {name}-token"))];
    let ask = async |name: &str, body: Value| {
        let bearer = bearer(name);
        let headers: Vec<(&str, &str)> = bearer.iter().map(|(key, value)| (*key, value.as_str())).collect();
        web.modern("/mcp/search", "tools/call", body, &headers).await.json()
    };
    let mallorys = ask("mallory", search("count words")).await;
    assert!(mallorys["result"]["structuredContent"].get("search_id").is_none(), "a token that may not teach: {mallorys}");
    let found = ask("alice", search("count words")).await;
    let id = found["result"]["structuredContent"]["search_id"].as_str().expect("a search id").to_owned();
    let call = |search: &str| json!({"name": "call_tool", "arguments": {"name": "texts__count", "arguments": {"text": "a"}, "search_id": search}});
    ask("mallory", call(&id)).await;
    ask("bob", call(&id)).await;
    ask("alice", call(&id)).await;
    // Enough of one tool from one token on one day.
    for _ in 0..4 {
        let found = ask("bob", search("count words")).await;
        ask("bob", call(found["result"]["structuredContent"]["search_id"].as_str().unwrap())).await;
    }
    web.end().await;
    host.shutdown().await;
    assert_eq!(learned(&home), [("texts__count".to_owned(), 3.0)], "one of alice, two of bob");
}
