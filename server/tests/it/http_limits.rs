//! What a client may use up over HTTP before it has asked for anything: time, connections, sessions. Each refusal stands beside the same act
//! within its bound.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    http::initialize,
    support::{read_answer, texts, web, within},
};

/// Long enough for a machine that is busy, short enough to wait for.
const PATIENCE: Duration = Duration::from_millis(300);
const JSON: [(&str, &str); 2] = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

#[tokio::test]
async fn a_head_that_never_ends_ends_the_connection() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |settings| settings.limits.head = PATIENCE).await;
    let mut slow = TcpStream::connect(web.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-more: ").await.unwrap();
    let mut left = Vec::new();
    // Ended by the server: nobody here closes it.
    let _ = within("the end of the connection", slow.read_to_end(&mut left)).await;
    assert!(!String::from_utf8_lossy(&left).contains("200 OK"), "{}", String::from_utf8_lossy(&left));
    let mut whole = TcpStream::connect(web.address).await.unwrap();
    whole.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(whole).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |settings| settings.limits.body = PATIENCE).await;
    let body = initialize("2025-11-25");
    let mut slow = TcpStream::connect(web.address).await.unwrap();
    slow.write_all(&web.head("POST", "/mcp", &JSON, body.len())).await.unwrap();
    slow.write_all(&body.as_bytes()[..body.len() - 1]).await.unwrap();
    assert_eq!(read_answer(slow).await.status, 408);
    assert_eq!(web.post("/mcp", &[], &body).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn connections_beyond_the_most_wait_for_one_to_end() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |settings| settings.limits.connections = 2).await;
    let idle = [TcpStream::connect(web.address).await.unwrap(), TcpStream::connect(web.address).await.unwrap()];
    let mut third = TcpStream::connect(web.address).await.unwrap();
    third.write_all(&web.head("GET", "/healthz", &[], 0)).await.unwrap();
    let mut answer = Box::pin(read_answer(third));
    assert!(tokio::time::timeout(PATIENCE, &mut answer).await.is_err(), "the third was served while two were held");
    drop(idle);
    assert_eq!(answer.await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn sessions_have_a_most_and_one_that_is_closed_makes_room() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |settings| settings.limits.sessions = 2).await;
    let opened = [web.post("/mcp", &[], &initialize("2025-11-25")).await, web.post("/mcp", &[], &initialize("2025-11-25")).await];
    assert!(opened.iter().all(|answer| answer.status == 200));
    let refused = web.post("/mcp", &[], &initialize("2025-11-25")).await;
    assert!(refused.status >= 500 && !refused.headers.contains_key("mcp-session-id"), "{refused:?}");
    let session = opened[0].headers["mcp-session-id"].as_str();
    let headers = [("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];
    assert_eq!(web.request("DELETE", "/mcp", &headers, b"").await.status, 202);
    assert_eq!(web.post("/mcp", &[], &initialize("2025-11-25")).await.status, 200);
    // The stateless era holds nothing and is not counted.
    assert_eq!(web.modern("/mcp", "tools/list", serde_json::json!({}), &[]).await.status, 200);
    let events = [
        web.stream("GET", "/sse", &[("accept", "text/event-stream")], "").await,
        web.stream("GET", "/sse", &[("accept", "text/event-stream")], "").await,
    ];
    let [mut first, mut second] = events;
    assert!(first.next().await.is_some() && second.next().await.is_some());
    assert_eq!(web.get("/sse", &[("accept", "text/event-stream")]).await.status, 503);
    web.end().await;
}
