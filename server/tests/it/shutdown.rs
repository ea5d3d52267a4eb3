//! The end of a server: calls drain, then are cancelled, then everything is ended.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Bench, Home, error_text, host, modern, read_answer, text, text_plugin, web, within};

/// A host whose `texts__shout` says when it begins, and ends when it is told or cancelled.
async fn waiting(drain: Duration) -> (Home, Arc<crate::server::Host>, Bench, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let (begun, has_begun) = mpsc::channel::<()>(4);
    let (release, gate) = mpsc::channel::<()>(4);
    let gate = Arc::new(tokio::sync::Mutex::new(gate));
    let bench = Bench::texts().on("texts__shout", move |_, io| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            begun.send(()).await.unwrap();
            let mut gate = gate.lock().await;
            tokio::select! {
                _ = gate.recv() => text("done"),
                () = io.cancel.cancelled() => text("cancelled"),
            }
        }
    });
    let mut settings = home.settings();
    settings.drain = drain;
    let host = host(settings, &bench).await;
    (home, host, bench, has_begun, release)
}

async fn begin(web: &crate::support::Web) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let (headers, body) = modern("tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}}));
    let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut stream = tokio::net::TcpStream::connect(web.address).await.unwrap();
    stream.write_all(&web.head("POST", "/mcp", &all, body.len())).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn running_calls_end_and_new_ones_are_refused() {
    let (_home, host, bench, mut has_begun, release) = waiting(Duration::from_secs(30)).await;
    let web = web(&host, |_| {}).await;
    let address = web.address;
    let stream = begin(&web).await;
    within("the call", has_begun.recv()).await;
    web.shutdown.begin();
    // On a host that stops, a new call is refused as unavailable, whichever way it comes.
    let refused = loop {
        let request = crate::server::CallRequest::local("texts__count", json!({"text": "x"}).as_object().cloned().unwrap());
        match host.call(request, None, tokio_util::sync::CancellationToken::new()).await.outcome {
            crate::server::CallOutcome::Completed(_) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(refused.code(), Some(crate::server::Code::Unavailable));
    assert!(bench.logged().is_empty(), "nothing is ended while a call runs");
    release.send(()).await.unwrap();
    assert_eq!(read_answer(stream).await.json()["result"]["content"][0]["text"], "done");
    web.end().await;
    assert!(bench.logged().contains(&"shutdown".to_owned()));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn calls_that_do_not_end_are_cancelled() {
    let (_home, host, bench, mut has_begun, _release) = waiting(Duration::from_millis(50)).await;
    let web = web(&host, |_| {}).await;
    let stream = begin(&web).await;
    within("the call", has_begun.recv()).await;
    web.shutdown.begin();
    assert_eq!(read_answer(stream).await.json()["result"]["content"][0]["text"], "cancelled");
    web.end().await;
    assert!(bench.logged().contains(&"shutdown".to_owned()));
}

#[tokio::test]
async fn lines_end_by_an_order_too() {
    let (_home, host, _, mut has_begun, release) = waiting(Duration::from_secs(30)).await;
    let (mut client, serving, shutdown) = crate::support::connect(&host);
    client.initialize("2025-11-25").await;
    let id = client.begin("tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}})).await;
    within("the call", has_begun.recv()).await;
    shutdown.begin();
    release.send(()).await.unwrap();
    assert_eq!(client.answer(id).await["result"]["content"][0]["text"], "done");
    assert_eq!(client.message().await, None);
    within("the end", serving).await.unwrap().unwrap();
    host.shutdown().await;
    let (mut late, ..) = crate::support::connect(&host);
    late.initialize("2025-11-25").await;
    assert!(error_text(&late.call("texts__count", json!({"text": "x"})).await).starts_with("unavailable: "));
}
