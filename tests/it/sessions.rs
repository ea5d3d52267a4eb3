//! `isolation: session`: what one session keeps, another does not see. And the unix socket, where a connection is a request.

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pegboard_tests::http::{modern_body, modern_headers, read_response, request};
use pegboard_tests::processes::wait_until;
use pegboard_tests::server::{Home, Server};
use serde_json::{Value, json};

/// The key of a session's handle in `_meta`.
const HANDLE: &str = "pegboard/session";

/// One stateless call; the text of its result, and the handle that came with it.
fn call(address: SocketAddr, tool: &str, arguments: &Value, handle: Option<&str>) -> Result<(String, String)> {
    let params = json!({"name": tool, "arguments": arguments});
    let mut body: Value = serde_json::from_slice(&modern_body(1, "tools/call", params))?;
    if let Some(handle) = handle {
        body["params"]["_meta"][HANDLE] = json!(handle);
    }
    let response = request(address, "POST", "/mcp", &modern_headers("tools/call", Some(tool)), &serde_json::to_vec(&body)?)?;
    let result = response.message()?["result"].clone();
    let given = result["_meta"][HANDLE].as_str().with_context(|| format!("no handle: {result}"))?;
    Ok((result["content"].to_string(), given.to_owned()))
}

#[test]
fn a_session_keeps_its_notes_and_no_other_sees_them() -> Result<()> {
    let home = Home::with(&["scratchpad"])?;
    let (_server, address) = Server::http(&home, &[])?;
    let note = |word: &str| json!({"key": "word", "value": word});
    let key = json!({"key": "word"});
    let (_, first) = call(address, "scratchpad__remember", &note("mine"), None)?;
    let (_, second) = call(address, "scratchpad__remember", &note("yours"), None)?;
    for (handle, word, other) in [(&first, "mine", "yours"), (&second, "yours", "mine")] {
        let (found, _) = call(address, "scratchpad__recall", &key, Some(handle))?;
        ensure!(found.contains(word) && !found.contains(other), "{found}");
    }
    let (found, _) = call(address, "scratchpad__recall", &key, None)?;
    ensure!(!found.contains("mine") && !found.contains("yours"), "a new session sees an old one's notes: {found}");
    Ok(())
}

/// One request over the socket.
fn ask(socket: &std::path::Path, host: &str, method: &str, name: Option<&str>, params: Value) -> Result<(u16, String)> {
    let body = modern_body(1, method, params);
    let mut head = format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in modern_headers(method, name) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&body)?;
    let response = read_response(&mut BufReader::new(stream))?;
    Ok((response.status, response.body))
}

#[test]
fn a_unix_socket_serves_its_owner_and_checks_hosts_all_the_same() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with(&["probe"])?;
    let socket = home.plugins().join("../pegboard.sock");
    let (server, _) = Server::start(&[home.arguments(), vec!["--unix".into(), socket.display().to_string()]].concat())?;
    ensure!(wait_until(Duration::from_secs(60), || UnixStream::connect(&socket).is_ok()), "no socket; {}", server.log_end());
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600, "others may connect");
    let call = json!({"name": "probe__echo", "arguments": {"text": "over the socket"}});
    let (status, body) = ask(&socket, "localhost", "tools/call", Some("probe__echo"), call.clone())?;
    ensure!(status == 200 && body.contains("over the socket"), "{status} {body}");
    let (status, body) = ask(&socket, "evil.example.org", "tools/call", Some("probe__echo"), call)?;
    assert_eq!(status, 403, "{body}");
    Ok(())
}
