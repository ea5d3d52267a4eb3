//! Bearer tokens: who may call at all, and which tools a token sees. The same request succeeds with the right token.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use pegboard_tests::http::{Response, modern_body, modern_headers, request};
use pegboard_tests::server::{Home, Server};
use serde_json::{Value, json};

fn ask(address: SocketAddr, token: Option<&str>, method: &str, name: Option<&str>, params: Value) -> Result<Response> {
    ask_at(address, "/mcp", token, method, name, params)
}

fn ask_at(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    method: &str,
    name: Option<&str>,
    params: Value,
) -> Result<Response> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = modern_headers(method, name);
    headers.extend(bearer.as_deref().map(|value| ("Authorization", value)));
    request(address, "POST", path, &headers, &modern_body(1, method, params))
}

fn create(home: &Home, name: &str, pattern: &str) -> Result<String> {
    let output = home.run(&["token", "create", name, "--tools", pattern, "--json"])?;
    let printed: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(printed["token"].as_str().context("no token was printed")?.to_owned())
}

fn listed(response: &Response) -> Result<Vec<String>> {
    let message = response.message()?;
    Ok(message["result"]["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| Some(tool["name"].as_str()?.to_owned()))
        .collect())
}

#[test]
fn a_token_sees_and_calls_only_its_tools() -> Result<()> {
    let home = Home::with(&["probe", "slow"])?;
    let narrow = create(&home, "narrow", "probe__e*")?;
    let wide = create(&home, "wide", "*")?;
    let file = home.path().join("config/tokens.yaml");
    let (_server, address) = Server::http(&home, &["--token-file", &file.display().to_string()])?;

    for wrong in [None, Some("nonsense"), Some(""), Some(&narrow[1..])] {
        assert_eq!(ask(address, wrong, "tools/list", None, json!({}))?.status, 401, "{wrong:?}");
    }
    assert_eq!(request(address, "GET", "/sse", &[("Accept", "text/event-stream")], b"")?.status, 401);
    assert_eq!(request(address, "GET", "/metrics", &[], b"")?.status, 401);

    let all = listed(&ask(address, Some(&wide), "tools/list", None, json!({}))?)?;
    assert!(all.iter().any(|name| name == "slow__ready") && all.iter().any(|name| name == "probe__echo"), "{all:?}");
    let few = listed(&ask(address, Some(&narrow), "tools/list", None, json!({}))?)?;
    let plugin_tools: Vec<&String> = few.iter().filter(|name| name.contains("__")).collect();
    assert_eq!(plugin_tools, ["probe__echo"], "{few:?}");

    let fail = json!({"name": "probe__fail", "arguments": {"message": "m"}});
    let refused = ask(address, Some(&narrow), "tools/call", Some("probe__fail"), fail.clone())?;
    let told = refused.message()?["result"].clone();
    assert!(
        told["isError"] == true && told.to_string().contains("denied") && !told.to_string().contains("raised"),
        "{}",
        refused.body
    );
    assert_eq!(ask(address, Some(&wide), "tools/call", Some("probe__fail"), fail)?.message()?["result"]["isError"], true);
    let echo = json!({"name": "probe__echo", "arguments": {"text": "a"}});
    assert_eq!(
        ask(address, Some(&narrow), "tools/call", Some("probe__echo"), echo)?.message()?["result"]["structuredContent"]["echo"],
        "a"
    );

    // Neither through the call tool nor by search.
    let roundabout = json!({"name": "call_tool", "arguments": {"name": "probe__fail", "arguments": {"message": "m"}}});
    let refused = ask_at(address, "/mcp/search", Some(&narrow), "tools/call", Some("call_tool"), roundabout.clone())?;
    assert!(
        !refused.body.contains("raised: m") && refused.message()?["result"]["structuredContent"].is_null(),
        "{}",
        refused.body
    );
    assert!(ask_at(address, "/mcp/search", Some(&wide), "tools/call", Some("call_tool"), roundabout)?.body.contains("raised: m"));
    let search = json!({"name": "search_tools", "arguments": {"query": "report a failure with a message"}});
    let found = ask(address, Some(&narrow), "tools/call", Some("search_tools"), search.clone())?;
    assert!(!found.body.contains("probe__fail"), "{}", found.body);
    assert!(ask(address, Some(&wide), "tools/call", Some("search_tools"), search)?.body.contains("probe__fail"));
    Ok(())
}

#[test]
fn a_revoked_token_is_worthless() -> Result<()> {
    let home = Home::with(&["probe"])?;
    let token = create(&home, "gone", "*")?;
    create(&home, "stays", "*")?;
    let file = home.path().join("config/tokens.yaml");
    assert!(!std::fs::read_to_string(&file)?.contains(&token), "the file holds the token itself");
    let (_server, address) = Server::http(&home, &["--token-file", &file.display().to_string()])?;
    assert_eq!(ask(address, Some(&token), "tools/list", None, json!({}))?.status, 200);
    assert!(home.run(&["token", "revoke", "gone"])?.status.success());
    let refused = || ask(address, Some(&token), "tools/list", None, json!({})).is_ok_and(|response| response.status == 401);
    assert!(
        pegboard_tests::processes::wait_until(std::time::Duration::from_secs(5), refused),
        "still accepted five seconds after it was revoked"
    );
    Ok(())
}
