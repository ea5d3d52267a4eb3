//! Streamable HTTP: both eras, who is let in, and what cannot be read.

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc};

use crate::{
    server::{HttpServer, HttpSettings, ServeError, Tokens},
    support::{
        Answer, Bench, Home, error_text, host, modern, read_answer, structured, text, text_plugin, texts, tokens, tool_names,
        until, web, within,
    },
};

const ROUTES: [(&str, &str); 9] = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("POST", "/mcp/search"),
    ("GET", "/sse"),
    ("POST", "/messages?session_id=x"),
    ("GET", "/metrics"),
    ("GET", "/healthz"),
    ("GET", "/nothing"),
];

pub(crate) fn initialize(version: &str) -> String {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "so that a call reads like the message it makes")]
fn request(id: i64, method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

#[tokio::test]
async fn serves_the_stateless_era() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let answer = web.modern("/mcp", "server/discover", json!({}), &[]).await;
    assert_eq!((answer.status, &answer.json()["result"]["ttlMs"]), (200, &json!(60_000)));
    let answer = web.modern("/mcp", "tools/list", json!({}), &[]).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(tool_names(&answer.json()).len(), 4);
    let answer = web.modern("/mcp/search", "tools/list", json!({}), &[]).await;
    assert_eq!(tool_names(&answer.json()), ["search_tools", "get_tool_details", "call_read_only_tool", "call_tool"]);
    let answer = web.modern("/mcp", "tools/call", json!({"name": "texts__count", "arguments": {"text": "a b"}}), &[]).await;
    assert_eq!(answer.json()["result"]["structuredContent"], json!({"words": 2}));
    let answer = web.modern("/mcp", "tools/call", json!({"name": "no__such", "arguments": {}}), &[]).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
    // No sessions, no streams of the older kind.
    for method in ["GET", "DELETE"] {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("accept", "text/event-stream")];
        assert_eq!(web.request(method, "/mcp", &headers, b"").await.status, 405, "{method}");
    }
    web.end().await;
}

#[tokio::test]
async fn serves_the_older_eras_in_sessions() {
    let (_home, host, bench) = texts().await;
    let web = web(&host, |_| {}).await;
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let answer = web.post("/mcp", &[], &initialize(version)).await;
        assert_eq!((answer.status, &answer.json()["result"]["protocolVersion"]), (200, &json!(version)));
        let session = answer.headers["mcp-session-id"].clone();
        let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", version)];
        let answer =
            web.post("/mcp", &headers, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await;
        assert_eq!(answer.status, 202);
        let answer = web.post("/mcp", &headers, &request(2, "tools/list", json!({}))).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        assert_eq!(tool_names(&answer.json()).len(), 4);
        let answer = web
            .post("/mcp", &headers, &request(3, "tools/call", json!({"name": "texts__shout", "arguments": {"text": "hi"}})))
            .await;
        assert_eq!(answer.json()["result"]["content"][0]["text"], "HI");
        assert_eq!(web.request("DELETE", "/mcp", &headers, b"").await.status, 202);
        until("the end of the session", || bench.logged().contains(&format!("end {session}"))).await;
        assert_eq!(web.post("/mcp", &headers, &request(4, "tools/list", json!({}))).await.status, 404);
    }
    web.end().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_reach_no_route() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |settings| settings.allowed_origins = vec!["https://app.example.org".to_owned()]).await;
    let json = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    for (method, path) in ROUTES {
        for foreign in [
            vec![("host", "evil.com")],
            vec![("host", "localhost.evil.com:80")],
            vec![("host", "localhost"), ("host", "localhost")],
            vec![("origin", "http://evil.com")],
            vec![("origin", "null")],
            vec![("origin", "http://localhost.evil.com")],
            vec![("origin", "http://localhost"), ("origin", "http://evil.com")],
            vec![("origin", "http://[::ffff:127.0.0.1]")],
        ] {
            let headers: Vec<_> = json.iter().copied().chain(foreign.iter().copied()).collect();
            assert_eq!(web.request(method, path, &headers, b"").await.status, 403, "{method} {path} {foreign:?}");
        }
    }
    // The same requests from here.
    for ours in [
        vec![],
        vec![("origin", "http://localhost:5173")],
        vec![("origin", "https://app.example.org")],
        vec![("host", "localhost:1")],
    ] {
        assert_eq!(web.get("/healthz", &ours).await.status, 200, "{ours:?}");
        let answer = web.modern("/mcp", "tools/list", json!({}), &ours).await;
        assert_eq!(answer.status, 200, "{ours:?}");
    }
    assert!(web.get("/metrics", &[]).await.text().contains("pegboard_http_refused_total{reason=\"origin not allowed\"}"));
    web.end().await;
}

#[tokio::test]
async fn a_foreign_request_is_refused_before_its_body_is_read() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    // A body that is announced and never sent.
    stream
        .write_all(&web.head("POST", "/mcp", &[("origin", "http://evil.com"), ("content-type", "application/json")], 1_000_000))
        .await
        .unwrap();
    assert_eq!(read_answer(stream).await.status, 403);
    web.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_gets_the_specified_error() {
    let (_home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, code) in [
        ("not json", -32700),
        ("", 0),
        ("{\"jsonrpc\":", -32700),
        (deep.as_str(), -32700),
        ("[]", -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
        ("{\"id\":1}", -32600),
        ("\"text\"", -32600),
    ] {
        let answer = web.post("/mcp", &[("mcp-protocol-version", "2026-07-28")], body).await;
        if code == 0 {
            assert!(answer.status >= 400 && answer.status < 500, "{answer:?}");
            continue;
        }
        assert_eq!(answer.status, 400, "{body:.40}");
        assert_eq!(answer.json()["error"]["code"], code, "{body:.40}");
    }
    let large = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"x\":\"{}\"}}}}", "x".repeat(4 << 20));
    assert_eq!(web.post("/mcp", &[], &large).await.status, 413);
    let (headers, body) = modern("tools/list", json!({}));
    let with = |changes: &[(&str, &str)]| {
        let mut all: Vec<(String, String)> = headers.clone();
        for (name, value) in changes {
            all.retain(|(known, _)| known != name);
            if !value.is_empty() {
                all.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        all
    };
    for (changes, status, code) in [
        (vec![("mcp-method", "tools/call")], 400, -32020),
        (vec![("mcp-protocol-version", "2025-11-25")], 400, -32020),
        (vec![("mcp-protocol-version", "")], 400, -32020),
        (vec![("mcp-method", "")], 400, -32020),
    ] {
        let all = with(&changes);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = web.post("/mcp", &all, &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{changes:?}");
    }
    let answer = web.modern("/mcp", "no/such", json!({}), &[]).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!(-32601)));
    let answer = web.modern("/mcp", "tools/list", json!({"cursor": "nonsense"}), &[]).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
    assert_eq!(
        web.request(
            "POST",
            "/mcp",
            &[("content-type", "text/plain"), ("accept", "application/json, text/event-stream")],
            body.as_bytes()
        )
        .await
        .status,
        415
    );
    assert_eq!(
        web.request("POST", "/mcp", &[("content-type", "application/json"), ("accept", "text/html")], body.as_bytes())
            .await
            .status,
        406
    );
    assert_eq!(web.request("PUT", "/mcp", &[], b"").await.status, 405);
    assert_eq!(tool_names(&web.modern("/mcp", "tools/list", json!({}), &[]).await.json()).len(), 4);
    web.end().await;
}

#[tokio::test]
async fn tokens_open_every_route_but_health() {
    let (home, host, _) = texts().await;
    let tokens = tokens(&home, &[("alice", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    for (method, path) in ROUTES {
        if path == "/healthz" || path == "/nothing" {
            continue;
        }
        for wrong in ["", "Bearer", "Bearer wrong", "Basic alice-token", "alice-token", "Bearer alice-token x"] {
            let headers = [("authorization", wrong), ("content-type", "application/json")];
            let headers = if wrong.is_empty() { &headers[1..] } else { &headers[..] };
            let answer = web.request(method, path, headers, b"").await;
            assert_eq!(answer.status, 401, "{method} {path} {wrong:?}");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer "), "{answer:?}");
        }
        let two = [("authorization", "Bearer alice-token"), ("authorization", "Bearer alice-token")];
        assert_eq!(web.request(method, path, &two, b"").await.status, 401, "two headers");
    }
    let alice = [("authorization", "Bearer alice-token")];
    assert_eq!(web.modern("/mcp", "tools/list", json!({}), &alice).await.status, 200);
    assert_eq!(web.modern("/mcp", "tools/list", json!({}), &[("authorization", "bearer alice-token")]).await.status, 200);
    assert_eq!(web.get("/metrics", &alice).await.status, 200);
    assert_eq!(web.get("/healthz", &[]).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn an_address_beyond_this_machine_needs_tokens() {
    let (home, host, _) = texts().await;
    let wide = || Some("0.0.0.0:0".parse().unwrap());
    let bind = |settings| HttpServer::bind(host.clone(), settings);
    let error = bind(HttpSettings { addr: wide(), ..HttpSettings::default() }).await.err().expect("refused");
    assert!(matches!(error, ServeError::NoTokens { .. }) && error.hint().is_some());
    let empty = tokens(&home, &[]);
    assert!(matches!(
        bind(HttpSettings { addr: wide(), tokens: Some(empty), ..HttpSettings::default() }).await,
        Err(ServeError::NoTokens { .. })
    ));
    let some = tokens(&home, &[("alice", &["*"])]);
    assert!(bind(HttpSettings { addr: wide(), tokens: Some(some), ..HttpSettings::default() }).await.is_ok());
    assert!(matches!(bind(HttpSettings::default()).await, Err(ServeError::Nowhere)));
}

#[tokio::test]
async fn a_token_file_that_is_wrong_is_refused() {
    let home = Home::new();
    let path = home.path("config/tokens.yaml");
    assert!(Tokens::open(&path, false).is_err(), "absent");
    for bad in ["- {name: a, sha256: xyz, tools: ['*']}", "- {name: a}", "nonsense", "- {name: a, sha256: '', tools: []}"] {
        home.write("config/tokens.yaml", bad);
        assert!(Tokens::open(&path, false).is_err(), "{bad}");
    }
    home.write("config/tokens.yaml", &crate::support::tokens_yaml(&[("a", &["*"])]));
    assert_eq!(Tokens::open(&path, false).unwrap().len(), 1);
    home.mode("config/tokens.yaml", 0o666);
    assert!(Tokens::open(&path, false).is_err(), "others may write it");
}

#[tokio::test]
async fn progress_streams_before_the_result() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let bench = Bench::default().on("texts__count", |_, io| async move {
        for progress in [1.0, 2.0] {
            io.frames.send(executor_api::Frame::Progress { progress, total: None, message: None }).await.unwrap();
        }
        structured(json!({"words": 0}))
    });
    let host = host(home.settings(), &bench).await;
    let web = web(&host, |_| {}).await;
    let params = json!({"name": "texts__count", "arguments": {"text": "x"}, "_meta": {"progressToken": 7}});
    let answer = web.modern("/mcp", "tools/call", params, &[]).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let events: Vec<Value> = answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect();
    let steps: Vec<&Value> = events
        .iter()
        .filter(|event| event["method"] == "notifications/progress")
        .map(|event| &event["params"]["progress"])
        .collect();
    assert_eq!(steps, [1.0, 2.0]);
    assert_eq!(events.last().unwrap()["result"]["structuredContent"], json!({"words": 0}));
    web.end().await;
}

#[tokio::test]
async fn a_client_that_goes_cancels_its_call() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let (begun, mut has_begun) = mpsc::channel::<()>(1);
    let (killed, mut was_killed) = mpsc::channel::<()>(1);
    let bench = Bench::default().on("texts__shout", move |_, io| {
        let (begun, killed) = (begun.clone(), killed.clone());
        async move {
            begun.send(()).await.unwrap();
            io.cancel.cancelled().await;
            killed.send(()).await.unwrap();
            text("too late")
        }
    });
    let host = host(home.settings(), &bench).await;
    let web = web(&host, |_| {}).await;
    let (headers, body) = modern("tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}}));
    let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let stream = web.stream("POST", "/mcp", &all, &body).await;
    within("the call", has_begun.recv()).await;
    drop(stream);
    within("the kill", was_killed.recv()).await;
    web.end().await;
}

#[tokio::test]
async fn a_stateless_subscription_hears_of_a_new_list() {
    let (home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let (headers, body) = modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut events = web.stream("POST", "/mcp", &all, &body).await;
    events.message("notifications/subscriptions/acknowledged").await;
    home.plugin("other", &text_plugin());
    events.message("notifications/tools/list_changed").await;
    assert_eq!(tool_names(&web.modern("/mcp", "tools/list", json!({}), &[]).await.json()).len(), 6);
    // The end of the server is the end of the subscription, with its final result.
    web.shutdown.begin();
    assert_eq!(events.message("").await["result"]["resultType"], "complete");
    web.end().await;
}

#[tokio::test]
async fn an_older_session_hears_of_a_new_list_on_its_stream() {
    let (home, host, _) = texts().await;
    let web = web(&host, |_| {}).await;
    let session = web.post("/mcp", &[], &initialize("2025-11-25")).await.headers["mcp-session-id"].clone();
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25"), ("accept", "text/event-stream")];
    web.post("/mcp", &headers[..2], &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await;
    let mut events = web.stream("GET", "/mcp", &headers, "").await;
    home.plugin("other", &text_plugin());
    events.message("notifications/tools/list_changed").await;
    web.end().await;
}

/// A plugin that keeps state a session, and a tool that says in which one it runs.
async fn session_host() -> (Home, std::sync::Arc<crate::server::Host>, Bench) {
    let home = Home::new();
    home.plugin("texts", &format!("isolation: session\n{}", text_plugin()));
    let bench = Bench::default()
        .on("texts__shout", |call, _| async move { text(call.call().session.as_ref().map_or("none", |session| &session.0)) });
    let host = host(home.settings(), &bench).await;
    (home, host, bench)
}

fn session_of(answer: &Answer) -> (String, Value) {
    let answer = answer.json();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    (text, answer["result"]["_meta"]["pegboard/session"].clone())
}

#[tokio::test]
async fn a_stateless_caller_keeps_its_session_by_a_signed_handle() {
    let (home, host, _) = session_host().await;
    let tokens = tokens(&home, &[("alice", &["*"]), ("bob", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    let call = |handle: Value| {
        let meta = if handle.is_null() { json!({}) } else { json!({"pegboard/session": handle}) };
        json!({"name": "texts__shout", "arguments": {"text": "x"}, "_meta": meta})
    };
    let alice = [("authorization", "Bearer alice-token")];
    let bob = [("authorization", "Bearer bob-token")];
    let (first, handle) = session_of(&web.modern("/mcp", "tools/call", call(Value::Null), &alice).await);
    assert!(handle.is_string());
    assert_eq!(session_of(&web.modern("/mcp", "tools/call", call(handle.clone()), &alice).await).0, first);
    assert_ne!(session_of(&web.modern("/mcp", "tools/call", call(Value::Null), &alice).await).0, first);
    for (caller, bad) in [
        (bob, handle.clone()),
        (alice, json!("forged")),
        (alice, json!(7)),
        (alice, json!(format!("{}x", handle.as_str().unwrap()))),
    ] {
        let answer = web.modern("/mcp", "tools/call", call(bad.clone()), &caller).await.json();
        assert!(error_text(&answer).starts_with("bad_session: "), "{bad}");
    }
    web.end().await;
}

#[tokio::test]
async fn an_older_session_is_its_openers_alone() {
    let (home, host, _) = session_host().await;
    let tokens = tokens(&home, &[("alice", &["*"]), ("bob", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    let [alice, bob] = ["alice", "bob"].map(|name| format!("Bearer {name}-token"));
    let opened = web.post("/mcp", &[("authorization", &alice)], &initialize("2025-11-25")).await;
    let session = opened.headers["mcp-session-id"].clone();
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "texts__shout", "arguments": {"text": "x"}}}).to_string();
    for path in ["/mcp", "/mcp/search"] {
        let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25"), ("authorization", &bob)];
        assert_eq!(web.post(path, &headers, &call).await.status, 404);
        assert_eq!(web.request("DELETE", path, &headers, b"").await.status, 404);
    }
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25"), ("authorization", &alice)];
    assert_eq!(session_of(&web.post("/mcp", &headers, &call).await).0, session);
    web.end().await;
}

#[tokio::test]
async fn an_older_session_is_the_plugins_session() {
    let (_home, host, bench) = session_host().await;
    let web = web(&host, |_| {}).await;
    let session = web.post("/mcp", &[], &initialize("2025-11-25")).await.headers["mcp-session-id"].clone();
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let answer =
        web.post("/mcp", &headers, &request(3, "tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}}))).await;
    let (inside, handle) = session_of(&answer);
    assert_eq!((inside.as_str(), handle), (session.as_str(), Value::Null));
    web.request("DELETE", "/mcp", &headers, b"").await;
    until("the end of the session", || bench.logged().contains(&format!("end {session}"))).await;
    web.end().await;
}

#[tokio::test]
async fn tells_its_health_and_its_numbers() {
    let (home, host, _) = texts().await;
    home.write("plugins/broken/plugin.yaml", "name: [");
    until("the broken plugin", || host.catalog().broken.len() == 1).await;
    let web = web(&host, |_| {}).await;
    web.modern("/mcp", "tools/call", json!({"name": "texts__count", "arguments": {"text": "x"}}), &[]).await;
    web.modern("/mcp", "tools/call", json!({"name": "no__such", "arguments": {}}), &[]).await;
    web.modern("/mcp", "tools/call", json!({"name": "another__one", "arguments": {}}), &[]).await;
    assert_eq!(web.get("/healthz", &[]).await.json()["status"], "ok");
    assert_eq!(web.get("/readyz", &[]).await.json(), json!({"ready": true}));
    let metrics = web.get("/metrics", &[]).await;
    assert!(metrics.headers["content-type"].starts_with("text/plain"));
    let text = metrics.text();
    for line in [
        "pegboard_calls_total{tool=\"texts__count\",outcome=\"completed\"} 1",
        "pegboard_calls_total{tool=\"unknown\",outcome=\"unknown_tool\"} 2",
        "pegboard_call_seconds_count{tool=\"texts__count\"} 1",
        "pegboard_plugins{state=\"broken\"} 1",
        "pegboard_tools 2",
        "pegboard_index_mode{mode=\"hybrid\"} 1",
        "pegboard_calls_running 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    web.end().await;
}
