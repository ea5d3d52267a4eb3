//! HTTP+SSE for old clients, and the unix socket.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use crate::{
    server::{HttpServer, HttpSettings, ServeError, Shutdown},
    support::{read_answer, texts, tokens, tool_names, until, web, within},
};

#[tokio::test]
async fn an_old_client_calls_over_sse() {
    let (home, host, bench) = texts().await;
    let web = web(&host, |_| {}).await;
    let mut events = web.stream("GET", "/sse", &[("accept", "text/event-stream")], "").await;
    let target = events.next().await.unwrap();
    assert!(target.starts_with("/messages?session_id="), "{target}");
    let post = |body: serde_json::Value| {
        let (web, target) = (&web, target.clone());
        async move { web.post(&target, &[], &body.to_string()).await.status }
    };
    // A notification before the handshake costs nothing.
    assert_eq!(post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, 202);
    let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
    assert_eq!(post(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await, 202);
    assert_eq!(events.message("").await["result"]["protocolVersion"], "2024-11-05");
    post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    post(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})).await;
    assert_eq!(tool_names(&events.message("").await).len(), 4);
    post(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "texts__shout", "arguments": {"text": "hi"}}})).await;
    assert_eq!(events.message("").await["result"]["content"][0]["text"], "HI");
    home.plugin("other", &crate::support::text_plugin());
    events.message("notifications/tools/list_changed").await;
    // What cannot be read is answered on the POST.
    assert_eq!(web.post(&target, &[], "not json").await.status, 400);
    assert_eq!(web.post("/messages?session_id=unknown", &[], "{}").await.status, 404);
    assert_eq!(web.post("/messages", &[], "{}").await.status, 404);
    assert_eq!(web.request("POST", &target, &[("content-type", "text/plain")], b"{}").await.status, 415);
    let session = target.rsplit('=').next().unwrap().to_owned();
    drop(events);
    until("the end of the session", || bench.logged().contains(&format!("end {session}"))).await;
    assert_eq!(web.post(&target, &[], &json!({"jsonrpc": "2.0", "id": 4, "method": "ping"}).to_string()).await.status, 404);
    web.end().await;
}

#[tokio::test]
async fn a_session_over_sse_belongs_to_the_token_that_opened_it() {
    let (home, host, _) = texts().await;
    let tokens = tokens(&home, &[("alice", &["*"]), ("bob", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    let mut events = web.stream("GET", "/sse", &[("authorization", "Bearer alice-token")], "").await;
    let target = events.next().await.unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    assert_eq!(web.post(&target, &[("authorization", "Bearer bob-token")], &ping).await.status, 404);
    assert_eq!(web.post(&target, &[], &ping).await.status, 401);
    assert_eq!(web.post(&target, &[("authorization", "Bearer alice-token")], &ping).await.status, 202);
    events.message("").await;
    web.end().await;
}

#[tokio::test]
async fn a_unix_socket_serves_its_owner() {
    let (home, host, _) = texts().await;
    let path = home.path("pegboard.sock");
    let settings = || HttpSettings { unix: Some(path.clone()), ..HttpSettings::default() };
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = HttpServer::bind(host.clone(), settings()).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.address().is_none());
    let second = HttpServer::bind(host.clone(), settings()).await;
    assert!(matches!(second, Err(ServeError::Unix { .. })), "somebody listens");
    let shutdown = Shutdown::manual();
    let serving = tokio::spawn(server.run(shutdown.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(stream).await.status, 200);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(stream).await.status, 403);
    shutdown.begin();
    within("the end", serving).await.unwrap().unwrap();
    assert!(!path.exists());
    fs::write(&path, "not a socket").unwrap();
    assert!(matches!(HttpServer::bind(host, settings()).await, Err(ServeError::Unix { .. })), "a file is never replaced");
    assert_eq!(fs::read_to_string(&path).unwrap(), "not a socket");
}
