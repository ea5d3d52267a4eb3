//! MCP over lines: both eras, what cannot be read, and the end of a connection.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{
    Bench, Home, connect, error_text, host, stateless, structured, text, text_plugin, texts, tool_names, within,
};

#[tokio::test]
async fn speaks_every_older_revision() {
    let (_home, host, _) = texts().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (mut client, serving, _) = connect(&host);
        let answer = client.initialize(version).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        assert_eq!(answer["result"]["serverInfo"]["name"], "pegboard");
        assert_eq!(answer["result"]["capabilities"], json!({"tools": {"listChanged": true}}));
        assert_eq!(client.names().await, ["search_tools", "get_tool_details", "texts__count", "texts__shout"]);
        let answer = client.call("texts__count", json!({"text": "one two three"})).await;
        assert_eq!(answer["result"]["structuredContent"], json!({"words": 3}));
        assert_eq!(answer["result"]["content"], json!([{"type": "text", "text": "{\"words\":3}"}]));
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
        client.close().await;
        within("the end", serving).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn offers_its_newest_handshake_to_an_unknown_revision() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    assert_eq!(client.initialize("1999-01-01").await["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn speaks_the_stateless_era() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    let answer = client.request("server/discover", json!({"_meta": stateless()})).await;
    assert!(answer["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")));
    assert_eq!(answer["result"]["ttlMs"], 60_000);
    assert_eq!(answer["result"]["cacheScope"], "public");
    let answer = client.request("tools/list", json!({"_meta": stateless()})).await;
    assert_eq!(tool_names(&answer).len(), 4);
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["ttlMs"], 60_000);
    assert_eq!(answer["result"]["cacheScope"], "public");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "pegboard");
    let params = json!({"name": "texts__shout", "arguments": {"text": "hi"}, "_meta": stateless()});
    let answer = client.request("tools/call", params).await;
    assert_eq!(answer["result"]["content"][0]["text"], "HI");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "pegboard");
}

#[tokio::test]
async fn lists_whole_tool_objects() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let answer = client.request("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let count = tools.iter().find(|tool| tool["name"] == "texts__count").unwrap();
    assert_eq!(
        count["annotations"],
        json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": false, "openWorldHint": true})
    );
    assert_eq!(count["inputSchema"]["required"], json!(["text"]));
    assert_eq!(count["_meta"]["anthropic/searchHint"], "Count the words of a text (words, text_processing)");
    assert_eq!(tools[0]["_meta"]["anthropic/alwaysLoad"], true);
    assert!(tools[0]["description"].as_str().unwrap().contains("2 tools of 1 plugins"), "{}", tools[0]["description"]);
}

#[tokio::test]
async fn answers_what_cannot_be_read_and_goes_on() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = "{\"a\":".repeat(500) + "1" + &"}".repeat(500);
    let deep_params = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{nested}}}");
    let unread: [(&[u8], i64); 9] = [
        (b"not json", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,", -32700),
        (b"\xff\xfe{}", -32700),
        (deep.as_bytes(), -32700),
        (deep_params.as_bytes(), -32700),
        (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
        (b"{\"foo\":1}", -32600),
        (b"42", -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":77,\"method\":\"ping\"}", -32600),
    ];
    for round in 0..2 {
        for (line, code) in unread {
            client.raw(line).await;
            let answer = client.message().await.unwrap();
            assert_eq!(answer["error"]["code"], code, "{answer} for {:?}", String::from_utf8_lossy(&line[..line.len().min(60)]));
            let id = if line.starts_with(b"{\"jsonrpc\":\"1.0\"") { json!(77) } else { Value::Null };
            assert_eq!(answer["id"], id);
        }
        if round == 0 {
            client.initialize("2025-11-25").await;
        }
    }
    // Notifications that nobody knows are not answered.
    client.raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nonsense\",\"params\":7}").await;
    client.raw(b"").await;
    assert_eq!(client.names().await.len(), 4);
    assert_eq!(client.heard, Vec::<Value>::new());
}

#[tokio::test]
async fn bounds_a_line() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let long = vec![b'x'; (16 << 20) + 1];
    client.raw(&long).await;
    let answer = client.message().await.unwrap();
    assert_eq!(answer["error"]["data"]["code"], "too_large", "{answer}");
    assert_eq!(client.names().await.len(), 4);
}

#[tokio::test]
async fn survives_what_comes_before_the_handshake() {
    let (_home, host, _) = texts().await;
    let (mut client, serving, _) = connect(&host);
    client.notify("notifications/cancelled", json!({"requestId": 1})).await;
    client.notify("notifications/initialized", json!({})).await;
    client.send(&json!({"jsonrpc": "2.0", "id": 9, "result": {}})).await;
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    assert_eq!(client.request("tools/list", json!({})).await["error"]["code"], -32602);
    client.request("server/discover", json!({"_meta": stateless()})).await;
    client.notify("notifications/cancelled", json!({"requestId": 1})).await;
    client.initialize("2025-11-25").await;
    assert_eq!(client.names().await.len(), 4);
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn refuses_methods_it_does_not_have_and_parameters_that_do_not_fit() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    for method in [
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "skills/list",
        "nonsense/method",
        "subscriptions/listen",
    ] {
        let params = json!({"uri": "x:y", "name": "x", "level": "info", "ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}, "taskId": "x", "notifications": {}});
        let answer = client.request(method, params).await;
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    let answer = client.request("tools/call", json!({"name": 5})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    for cursor in ["nonsense", "", "YWZ0ZXI6", "YWZ0ZXI6eA", "../../etc/passwd"] {
        let answer = client.request("tools/list", json!({"cursor": cursor})).await;
        assert_eq!(answer["error"]["code"], -32602, "{cursor}: {answer}");
    }
}

#[tokio::test]
async fn pages_through_a_list_longer_than_a_page() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.page_size = 3;
    let host = host(settings, &Bench::texts()).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let first = client.request("tools/list", json!({})).await;
    assert_eq!(tool_names(&first), ["search_tools", "get_tool_details", "texts__count"]);
    let second = client.request("tools/list", json!({"cursor": first["result"]["nextCursor"]})).await;
    assert_eq!(tool_names(&second), ["texts__shout"]);
    assert!(second["result"].get("nextCursor").is_none(), "{second}");
}

#[tokio::test]
async fn answers_what_is_open_before_it_ends() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let (release, gate) = mpsc::channel::<()>(1);
    let gate = std::sync::Arc::new(tokio::sync::Mutex::new(gate));
    let (begun, mut has_begun) = mpsc::channel::<()>(1);
    let bench = Bench::texts().on("texts__shout", move |_, _| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            begun.send(()).await.unwrap();
            gate.lock().await.recv().await;
            text("late")
        }
    });
    let host = host(home.settings(), &bench).await;
    let (mut client, serving, _) = connect(&host);
    client.initialize("2025-11-25").await;
    let id = client.begin("tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}})).await;
    within("the call", has_begun.recv()).await;
    client.close().await;
    release.send(()).await.unwrap();
    assert_eq!(client.answer(id).await["result"]["content"][0]["text"], "late");
    assert_eq!(client.message().await, None);
    within("the end", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_subscription_does_not_hold_up_the_end() {
    let (_home, host, _) = texts().await;
    let (mut client, serving, _) = connect(&host);
    client.begin("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}, "_meta": stateless()})).await;
    client.hear("notifications/subscriptions/acknowledged").await;
    let started = std::time::Instant::now();
    client.close().await;
    within("the end", serving).await.unwrap().unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_cancelled_call_is_killed_and_not_answered() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let (begun, mut has_begun) = mpsc::channel::<()>(1);
    let (killed, mut was_killed) = mpsc::channel::<()>(1);
    let bench = Bench::texts().on("texts__shout", move |_, io| {
        let (begun, killed) = (begun.clone(), killed.clone());
        async move {
            begun.send(()).await.unwrap();
            io.cancel.cancelled().await;
            killed.send(()).await.unwrap();
            text("too late")
        }
    });
    let host = host(home.settings(), &bench).await;
    let (mut client, serving, _) = connect(&host);
    client.initialize("2025-11-25").await;
    let id = client.begin("tools/call", json!({"name": "texts__shout", "arguments": {"text": "x"}})).await;
    within("the call", has_begun.recv()).await;
    client.notify("notifications/cancelled", json!({"requestId": id, "reason": "enough"})).await;
    within("the kill", was_killed.recv()).await;
    assert_eq!(client.names().await.len(), 4);
    assert!(client.heard.is_empty(), "{:?}", client.heard);
    client.close().await;
    assert_eq!(client.message().await, None);
    within("the end", serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn progress_grows_and_comes_before_the_result() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let bench = Bench::texts().on("texts__count", |_, io| async move {
        for progress in [1.0, 2.0, 2.0, 1.5, f64::NAN, 3.0] {
            let frame =
                executor_api::Frame::Progress { progress, total: Some(3.0), message: Some(format!("step\u{1b}[0m {progress}")) };
            io.frames.send(frame).await.unwrap();
        }
        structured(json!({"words": 0}))
    });
    let host = host(home.settings(), &bench).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let params = json!({"name": "texts__count", "arguments": {"text": "x"}, "_meta": {"progressToken": "p1"}});
    client.request("tools/call", params).await;
    let steps: Vec<Value> = client.heard.iter().map(|message| message["params"].clone()).collect();
    let step =
        |progress: f64| json!({"progressToken": "p1", "progress": progress, "total": 3.0, "message": format!("step {progress}")});
    assert_eq!(steps, [step(1.0), step(2.0), step(3.0)]);
    client.heard.clear();
    client.call("texts__count", json!({"text": "x"})).await;
    assert!(client.heard.is_empty(), "no token, no progress: {:?}", client.heard);
}

#[tokio::test]
async fn unknown_tools_and_bad_arguments_say_what_would_fit() {
    let (_home, host, _) = texts().await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let answer = client.call("texts__cuont", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(answer["error"]["data"]["code"], "unknown_tool");
    assert!(answer["error"]["data"]["nearest"].as_array().unwrap().contains(&json!("texts__count")), "{answer}");
    let answer = client.call("texts__count", json!({"text": 7, "more": 1})).await;
    let text = error_text(&answer);
    assert!(text.contains("at `/text`: expected type string, found 7"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("hint: "), "{text}");
}
