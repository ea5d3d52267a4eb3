//! What a stdio client can do to the server: broken lines, wrong methods, old versions, calls at once, and going away.

use std::time::Duration;

use anyhow::Result;
use pegboard_tests::processes::{descendants, survivors, tree};
use pegboard_tests::server::{Home, Server};
use serde_json::{Value, json};

#[test]
fn broken_lines_cost_an_error_and_nothing_else() -> Result<()> {
    let (_server, mut client) = Server::stdio(&Home::with(&["probe"])?, &[])?;
    for line in ["{", "not json", "", "[]", "{}", "42", "\u{0}\u{1}", "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":5}"] {
        client.send_line(line)?;
    }
    client.send_line(&format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000)))?;
    client.send_line(&format!("\"{}\"", "x".repeat(17 << 20)))?;
    assert_eq!(client.call("probe__echo", &json!({"text": "alive"}))?["structuredContent"]["echo"], "alive");
    // What was answered to the broken lines is an error, with the code of a parse error or of an invalid request.
    for message in &client.heard {
        assert!([-32700, -32600].map(Value::from).contains(&message["error"]["code"]), "{message}");
    }
    assert!(!client.heard.is_empty(), "no broken line was answered");
    Ok(())
}

#[test]
fn wrong_requests_get_their_codes() -> Result<()> {
    let (_server, mut client) = Server::stdio(&Home::with(&["probe"])?, &[])?;
    assert_eq!(client.request("tools/destroy", &json!({}))?["error"]["code"], -32601);
    assert_eq!(client.request("prompts/list", &json!({}))?["error"]["code"], -32601);
    assert_eq!(client.request("resources/list", &json!({}))?["error"]["code"], -32601);
    assert_eq!(client.request("tools/list", &json!({"cursor": "nonsense"}))?["error"]["code"], -32602);
    let unknown = client.request("tools/call", &json!({"name": "probe__ecko", "arguments": {"text": "a"}}))?;
    assert_eq!(unknown["error"]["code"], -32602);
    assert!(unknown["error"].to_string().contains("probe__echo"), "the nearest tool is not named: {unknown}");
    Ok(())
}

#[test]
fn bad_arguments_are_results_that_tell_where_and_what() -> Result<()> {
    let (_server, mut client) = Server::stdio(&Home::with(&["probe"])?, &[])?;
    for (arguments, words) in [
        (json!({}), ["text", "required"]),
        (json!({"text": 5}), ["text", "string"]),
        (json!({"text": "a", "times": 0}), ["times", "1"]),
        (json!({"text": "a", "tims": 2}), ["tims", "properties"]),
    ] {
        let result = client.call("probe__echo", &arguments)?;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(result["isError"], true, "{arguments}: {result}");
        assert!(result.get("structuredContent").is_none_or(Value::is_null), "{result}");
        assert!(words.iter().all(|word| text.contains(word)), "{arguments}: {text}");
    }
    assert_eq!(client.call("probe__echo", &json!({"text": "a", "times": 2}))?["isError"], false);
    Ok(())
}

#[test]
fn each_version_is_answered_with_itself() -> Result<()> {
    let home = Home::with(&[])?;
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let (_server, mut client) = Server::start(&home.arguments())?;
        let answer = client.initialize(asked)?;
        assert_eq!(answer["result"]["protocolVersion"], answered, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "pegboard");
    }
    Ok(())
}

#[test]
fn calls_run_at_once_and_answers_come_as_they_are_ready() -> Result<()> {
    let (_server, mut client) = Server::stdio(&Home::with(&["probe", "slow"])?, &[])?;
    client.call("slow__ready", &json!({}))?;
    client.call("probe__echo", &json!({"text": "warm"}))?;
    let slow = client.start("tools/call", &json!({"name": "slow__wait", "arguments": {"seconds": 3}}))?;
    let quick = client.start("tools/call", &json!({"name": "probe__echo", "arguments": {"text": "quick"}}))?;
    let first = client.next(Duration::from_secs(30))?;
    assert_eq!(first["id"], quick, "{first}");
    assert_eq!(client.answer(slow)?["result"]["structuredContent"]["waited"], 3.0);
    Ok(())
}

#[test]
fn the_list_is_whole_and_the_same_each_time() -> Result<()> {
    let (_server, mut client) = Server::stdio(&Home::with(&["probe", "slow"])?, &[])?;
    let first = client.request("tools/list", &json!({}))?["result"].clone();
    assert_eq!(first, client.request("tools/list", &json!({}))?["result"]);
    assert!(first.get("nextCursor").is_none_or(Value::is_null), "the default page does not hold the catalog");
    for tool in first["tools"].as_array().into_iter().flatten() {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool.get("outputSchema").is_none_or(|schema| schema["type"] == "object"), "{tool}");
        let name = tool["name"].as_str().unwrap_or_default();
        assert!(name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{name}");
    }
    Ok(())
}

#[test]
fn the_end_of_input_is_a_good_end() -> Result<()> {
    let (mut server, mut client) = Server::stdio(&Home::with(&["probe"])?, &[])?;
    client.call("probe__echo", &json!({"text": "a"}))?;
    let below = descendants(server.pid);
    assert!(!below.is_empty(), "a plugin was called, so it has processes");
    client.close_input();
    assert_eq!(server.wait(Duration::from_secs(20))?.code(), Some(0), "{}", server.log());
    assert_eq!(survivors(&below, Duration::from_secs(5)), [], "left behind");
    assert!(tree(server.pid).is_empty());
    Ok(())
}

#[test]
fn the_bundled_plugins_are_served() -> Result<()> {
    let home = Home::with(&[])?;
    let (_server, mut client) = Server::start(&home.arguments_with_bundled())?;
    client.initialize("2025-11-25")?;
    let tools = client.request("tools/list", &json!({}))?["result"]["tools"].clone();
    let plugins: std::collections::BTreeSet<&str> =
        tools.as_array().into_iter().flatten().filter_map(|tool| Some(tool["name"].as_str()?.split_once("__")?.0)).collect();
    for wanted in ["text_analysis", "time_tools", "units"] {
        assert!(plugins.contains(wanted), "{wanted} in {plugins:?}");
    }
    let counted = client.call("text_analysis__text_statistics", &json!({"text": "One two. Three."}))?;
    assert_eq!(counted["structuredContent"]["words"], 3, "{counted}");
    Ok(())
}
