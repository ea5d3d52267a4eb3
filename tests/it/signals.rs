//! How the server ends: asked to, it finishes what runs and leaves nothing; killed, it leaves no orphan.

use std::time::Duration;

use anyhow::Result;
use pegboard_tests::http::{modern_body, modern_headers, read_response, request, send};
use pegboard_tests::processes::{Signal, descendants, survivors, wait_until};
use pegboard_tests::server::{Home, Server};
use pegboard_tests::stdio::Connection;
use serde_json::json;

/// Starts a call that lasts and waits until its process is there.
fn start_slow_call(server: &Server, client: &mut Connection, seconds: u32) -> Result<u64> {
    client.call("slow__ready", &json!({}))?;
    let id = client.start("tools/call", &json!({"name": "slow__wait", "arguments": {"seconds": seconds}}))?;
    // The call is under way when another request, sent after it, was answered.
    client.request("tools/list", &json!({}))?;
    assert!(wait_until(Duration::from_secs(20), || !descendants(server.pid).is_empty()), "the plugin has no process");
    Ok(id)
}

#[test]
fn a_term_signal_lets_calls_finish() -> Result<()> {
    for signal in [Signal::Term, Signal::Int] {
        let (mut server, mut client) = Server::stdio(&Home::with(&["slow"])?, &[])?;
        let id = start_slow_call(&server, &mut client, 2)?;
        let below = descendants(server.pid);
        server.signal(signal)?;
        let answer = client.answer(id)?;
        assert_eq!(answer["result"]["structuredContent"]["waited"], 2, "{answer}; {}", server.log());
        assert_eq!(server.wait(Duration::from_secs(20))?.code(), Some(0), "{}", server.log());
        assert_eq!(survivors(&below, Duration::from_secs(5)), [], "left behind after {signal:?}");
    }
    Ok(())
}

#[test]
fn a_term_signal_lets_http_calls_finish_and_takes_no_more() -> Result<()> {
    let (mut server, address) = Server::http(&Home::with(&["slow"])?, &[])?;
    let params = json!({"name": "slow__wait", "arguments": {"seconds": 3}});
    let headers = modern_headers("tools/call", Some("slow__wait"));
    let mut stream = send(address, "POST", "/mcp", &headers, &modern_body(1, "tools/call", params))?;
    assert!(wait_until(Duration::from_secs(30), || !descendants(server.pid).is_empty()), "no process for the call");
    server.signal(Signal::Term)?;
    let response = read_response(&mut std::io::BufReader::new(&mut stream))?;
    assert_eq!(response.message()?["result"]["structuredContent"]["waited"], 3, "{}; {}", response.body, server.log());
    assert_eq!(server.wait(Duration::from_secs(20))?.code(), Some(0), "{}", server.log());
    assert!(request(address, "GET", "/healthz", &[], b"").is_err());
    Ok(())
}

#[test]
fn a_killed_server_leaves_no_orphan() -> Result<()> {
    let (mut server, mut client) = Server::stdio(&Home::with(&["slow", "probe"])?, &[])?;
    client.call("probe__echo", &json!({"text": "a"}))?;
    start_slow_call(&server, &mut client, 60)?;
    let below = descendants(server.pid);
    assert!(below.len() >= 2, "two plugins were called: {below:?}");
    server.signal(Signal::Kill)?;
    server.wait(Duration::from_secs(10))?;
    assert_eq!(survivors(&below, Duration::from_secs(10)), [], "orphans");
    Ok(())
}

#[test]
fn what_prepares_a_plugin_ends_with_the_server() -> Result<()> {
    for signal in [Signal::Term, Signal::Kill] {
        let home = Home::with(&[])?;
        // Some bundled plugins have dependencies: in a fresh home their environments are made from the start.
        let (mut server, mut client) = Server::start(&home.arguments_with_bundled())?;
        client.initialize("2025-11-25")?;
        assert!(
            wait_until(Duration::from_secs(30), || !descendants(server.pid).is_empty()),
            "nothing is being prepared: {}",
            server.log()
        );
        let below = descendants(server.pid);
        server.signal(signal)?;
        server.wait(Duration::from_secs(20))?;
        assert_eq!(survivors(&below, Duration::from_secs(5)), [], "left behind after {signal:?}");
    }
    Ok(())
}
