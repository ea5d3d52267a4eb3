//! What the HTTP side refuses, with which status and code, and that it goes on serving: origins, hosts, headers, methods, sizes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use pegboard_tests::http::{Response, modern_body, modern_headers, request, send};
use pegboard_tests::server::{Home, Server, binary};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");

/// A request of the stateless era, with its headers changed.
fn modern(
    address: SocketAddr,
    path: &str,
    method: &str,
    name: Option<&str>,
    params: Value,
    extra: &[(&str, &str)],
) -> Result<Response> {
    let mut headers = modern_headers(method, name);
    headers.retain(|(key, _)| !extra.iter().any(|(other, _)| other == key));
    headers.extend(extra);
    request(address, "POST", path, &headers, &modern_body(1, method, params))
}

fn list(address: SocketAddr, path: &str, extra: &[(&str, &str)]) -> Result<Response> {
    modern(address, path, "tools/list", None, json!({}), extra)
}

fn code(response: &Response) -> i64 {
    response.message().ok().and_then(|message| message["error"]["code"].as_i64()).unwrap_or_default()
}

#[test]
fn refuses_foreign_origins_on_every_route() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    let foreign = ["http://evil.example", "null", "http://127.0.0.1.evil.example", "https://localhost.evil.example:443"];
    for path in ["/mcp", "/mcp/search"] {
        for origin in foreign {
            assert_eq!(list(address, path, &[("Origin", origin)])?.status, 403, "{path} from {origin}");
        }
        for origin in ["http://localhost:5173", "http://127.0.0.1:8080"] {
            assert_eq!(list(address, path, &[("Origin", origin)])?.status, 200, "{path} from {origin}");
        }
        assert_eq!(list(address, path, &[])?.status, 200, "{path} without an origin");
    }
    let headers = [("Origin", foreign[0]), ("Accept", "text/event-stream"), JSON];
    assert_eq!(request(address, "GET", "/sse", &headers, b"")?.status, 403);
    assert_eq!(request(address, "POST", "/messages?session_id=x", &headers, b"{}")?.status, 403);
    assert_eq!(request(address, "GET", "/metrics", &headers, b"")?.status, 403);
    Ok(())
}

#[test]
fn refuses_foreign_hosts_on_every_route() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"] {
        for path in ["/mcp", "/mcp/search"] {
            assert_eq!(list(address, path, &[("Host", host)])?.status, 403, "{path} at {host}");
        }
        for path in ["/sse", "/metrics", "/healthz"] {
            assert_eq!(request(address, "GET", path, &[("Host", host)], b"")?.status, 403, "{path} at {host}");
        }
        assert_eq!(
            request(address, "POST", "/messages?session_id=x", &[("Host", host), JSON], b"{}")?.status,
            403,
            "/messages at {host}"
        );
    }
    for host in [format!("localhost:{}", address.port()), address.to_string()] {
        assert_eq!(list(address, "/mcp", &[("Host", &host)])?.status, 200, "{host}");
    }
    Ok(())
}

#[test]
fn headers_must_say_what_the_body_says() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    let echo = |name: &str, extra: &[(&str, &str)]| {
        let params = json!({"name": "probe__echo", "arguments": {"text": "a"}});
        modern(address, "/mcp", "tools/call", Some(name), params, extra)
    };
    assert_eq!(echo("probe__echo", &[])?.status, 200);
    for (name, extra) in [
        ("probe__fail", vec![]),
        ("probe__echo", vec![("Mcp-Method", "tools/list")]),
        ("probe__echo", vec![("MCP-Protocol-Version", "2025-11-25")]),
    ] {
        let response = echo(name, &extra)?;
        assert_eq!((response.status, code(&response)), (400, -32020), "{name} {extra:?}: {}", response.body);
    }
    Ok(())
}

#[test]
fn unknown_methods_versions_tools_and_routes_have_their_codes() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    let unknown = modern(address, "/mcp", "tools/destroy", None, json!({}), &[])?;
    assert_eq!((unknown.status, code(&unknown)), (404, -32601), "{}", unknown.body);

    let tool = modern(address, "/mcp", "tools/call", Some("probe__none"), json!({"name": "probe__none", "arguments": {}}), &[])?;
    assert_eq!(code(&tool), -32602, "{}", tool.body);

    let mut body: Value = serde_json::from_slice(&modern_body(1, "tools/list", json!({})))?;
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
    let headers = [JSON, ACCEPT, ("MCP-Protocol-Version", "2031-01-01"), ("Mcp-Method", "tools/list")];
    let version = request(address, "POST", "/mcp", &headers, body.to_string().as_bytes())?;
    assert_eq!((version.status, code(&version)), (400, -32022), "{}", version.body);
    let supported = version.message()?["error"]["data"]["supported"].clone();
    assert!(supported.as_array().is_some_and(|versions| versions.contains(&json!("2026-07-28"))), "{supported}");

    assert_eq!(request(address, "GET", "/nowhere", &[], b"")?.status, 404);
    assert_eq!(request(address, "POST", "/messages?session_id=unknown", &[JSON], b"{}")?.status, 404);
    assert_eq!(request(address, "PUT", "/mcp", &[JSON, ACCEPT], b"{}")?.status, 405);
    Ok(())
}

#[test]
fn broken_and_oversized_bodies_are_refused_and_nothing_dies() -> Result<()> {
    let (server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    let post = |body: &[u8]| request(address, "POST", "/mcp", &[JSON, ACCEPT], body);
    for body in
        [&b"{"[..], b"not json", b"\xff\xfe\x00", b"[]", b"{}", b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", b"42"]
    {
        let response = post(body)?;
        assert!((400..500).contains(&response.status), "{body:?}: {} {}", response.status, response.body);
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!((400..500).contains(&post(deep.as_bytes())?.status));

    let padding = " ".repeat(5 << 20);
    assert_eq!(post(padding.as_bytes())?.status, 413);
    // The old transport needs a session first; the body of a request without one is not even read.
    assert_eq!(request(address, "POST", "/messages?session_id=x", &[JSON], padding.as_bytes())?.status, 404);

    let wrong_type = request(address, "POST", "/mcp", &[("Content-Type", "text/plain"), ACCEPT], b"{}")?;
    assert_eq!(wrong_type.status, 415);
    assert_eq!(list(address, "/mcp", &[])?.status, 200, "{}", server.log());
    Ok(())
}

#[test]
fn health_readiness_and_metrics_answer() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    assert_eq!(request(address, "GET", "/healthz", &[], b"")?.status, 200);
    assert_eq!(request(address, "GET", "/readyz", &[], b"")?.status, 200);
    let params = json!({"name": "probe__echo", "arguments": {"text": "a"}});
    assert_eq!(modern(address, "/mcp", "tools/call", Some("probe__echo"), params, &[])?.status, 200);
    let metrics = request(address, "GET", "/metrics", &[], b"")?;
    assert_eq!(metrics.status, 200);
    let counted = metrics.body.lines().any(|line| line.contains("probe__echo") && line.ends_with(" 1"));
    assert!(counted, "the call is not counted:\n{}", metrics.body);
    Ok(())
}

#[test]
fn both_views_are_there_and_neither_changes() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["probe"])?, &[])?;
    let names = |path: &str| -> Result<Vec<String>> {
        let message = list(address, path, &[])?.message()?;
        Ok(message["result"]["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| Some(tool["name"].as_str()?.to_owned()))
            .collect())
    };
    let (all, search) = (names("/mcp")?, names("/mcp/search")?);
    assert!(all.iter().any(|name| name == "probe__echo") && all.iter().any(|name| name == "search_tools"), "{all:?}");
    for wanted in ["search_tools", "get_tool_details", "call_read_only_tool", "call_tool"] {
        assert!(search.iter().any(|name| name == wanted), "{wanted} in {search:?}");
    }
    assert!(!search.iter().any(|name| name == "probe__echo"), "{search:?}");
    // A call of a hidden tool through the search view must not make it appear.
    let params = json!({"name": "call_tool", "arguments": {"name": "probe__echo", "arguments": {"text": "a"}}});
    let called = modern(address, "/mcp/search", "tools/call", Some("call_tool"), params, &[])?.message()?;
    assert_eq!(called["result"]["structuredContent"]["echo"], "a", "{called}");
    assert_eq!((names("/mcp")?, names("/mcp/search")?), (all, search));
    Ok(())
}

#[test]
fn a_caller_that_hangs_up_cancels_its_call() -> Result<()> {
    let (_server, address) = Server::http(&Home::with(&["slow"])?, &[])?;
    let params = json!({"name": "slow__wait", "arguments": {"seconds": 40}});
    let mut stream =
        send(address, "POST", "/mcp", &modern_headers("tools/call", Some("slow__wait")), &modern_body(1, "tools/call", params))?;
    // Its headers are there: the call is under way. Where the server answers only at the end, the time below shows the same.
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let _ = BufReader::new(&mut stream).read_line(&mut String::new());
    drop(stream);
    let began = Instant::now();
    let ready = modern(address, "/mcp", "tools/call", Some("slow__ready"), json!({"name": "slow__ready", "arguments": {}}), &[])?;
    assert_eq!(ready.message()?["result"]["structuredContent"]["ready"], true, "{}", ready.body);
    assert!(began.elapsed() < Duration::from_secs(15), "the call of the caller that hung up ran on: {:?}", began.elapsed());
    Ok(())
}

#[test]
fn an_address_beyond_this_machine_needs_tokens() -> Result<()> {
    let home = Home::with(&[])?;
    let serve = |extra: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        command.arg("serve").args(home.arguments()).args(extra).stdin(Stdio::null()).output()
    };
    let refused = serve(&["--http", "0.0.0.0:0"])?;
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--token-file"));
    Ok(())
}
