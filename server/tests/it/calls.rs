//! The way of a call: what is checked, bounded and cleaned, and what every end looks like.

use std::sync::Arc;

use crate::server::{CallOutcome, CallRequest, Host};
use executor_api::{Content, Executor as _, FailureKind, Frame, ToolFailure, ToolOutcome, ToolOutput};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, Home, connect, error_text, host, structured, text, text_plugin, tool, within};

fn args(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not an object: {value}") };
    map
}

async fn call(host: &Arc<Host>, name: &str, arguments: Value) -> CallOutcome {
    within("a call", host.call(CallRequest::local(name, args(arguments)), None, CancellationToken::new())).await.outcome
}

async fn host_with(yaml: &str, bench: &Bench) -> (Home, Arc<Host>) {
    let home = Home::new();
    home.plugin("texts", yaml);
    let host = host(home.settings(), bench).await;
    (home, host)
}

#[tokio::test]
async fn output_must_fit_its_schema() {
    let yaml = format!("mcps:\n{}    output_schema: {{type: array, items: {{type: integer}}}}\n", tool("count", "Count"));
    let bench = Bench::default().on("texts__count", |call, _| async move {
        match crate::support::argument(&call).as_str() {
            "good" => structured(json!([1, 2])),
            "bad" => structured(json!(["x"])),
            _ => text("no structure"),
        }
    });
    let (_home, host) = host_with(&yaml, &bench).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let list = client.request("tools/list", json!({})).await;
    let served = list["result"]["tools"].as_array().unwrap().last().unwrap()["outputSchema"].clone();
    assert_eq!(
        served,
        json!({"type": "object", "properties": {"result": {"type": "array", "items": {"type": "integer"}}}, "required": ["result"]})
    );
    let good = client.call("texts__count", json!({"text": "good"})).await;
    assert_eq!(good["result"]["structuredContent"], json!({"result": [1, 2]}));
    assert!(error_text(&client.call("texts__count", json!({"text": "bad"})).await).starts_with("bad_output: "));
    assert!(error_text(&client.call("texts__count", json!({"text": "none"})).await).starts_with("bad_output: "));
}

#[tokio::test]
async fn every_kind_of_content_arrives() {
    let bench = Bench::default().on("texts__count", |_, _| async move {
        ToolOutcome::Completed(ToolOutput {
            content: vec![
                Content::Text { text: "a\u{1b}[31mb\u{202e}c".into() },
                Content::Image { data: "aGk=".into(), mime: "image/png".into() },
                Content::Audio { data: "aGk=".into(), mime: "audio/wav".into() },
                Content::Resource { uri: "x:1".into(), mime: Some("text/csv".into()), text: Some("a,b".into()), blob: None },
                Content::Resource { uri: "x:2".into(), mime: None, text: None, blob: Some("aGk=".into()) },
                Content::ResourceLink { uri: "x:3".into(), name: "three".into(), mime: None, description: None },
            ],
            structured: Some(json!({"k\u{7}": "v\u{2066}"})),
        })
    });
    let (_home, host) = host_with(&text_plugin(), &bench).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let answer = client.call("texts__count", json!({"text": "x"})).await;
    assert_eq!(
        answer["result"]["content"],
        json!([
            {"type": "text", "text": "abc"},
            {"type": "image", "data": "aGk=", "mimeType": "image/png"},
            {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "x:1", "mimeType": "text/csv", "text": "a,b"}},
            {"type": "resource", "resource": {"uri": "x:2", "blob": "aGk="}},
            {"type": "resource_link", "uri": "x:3", "name": "three"},
        ])
    );
    assert_eq!(answer["result"]["structuredContent"], json!({"k": "v"}));
}

#[tokio::test]
async fn a_result_has_a_size() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let bench = Bench::default().on("texts__count", |call, io| async move {
        let size: usize = crate::support::argument(&call).parse().unwrap();
        io.frames.send(Frame::Content(Content::Text { text: "x".repeat(600) })).await.unwrap();
        text(&"x".repeat(size))
    });
    let mut settings = home.settings();
    settings.max_output_bytes = 1_000;
    let host = host(settings, &bench).await;
    assert!(
        matches!(call(&host, "texts__count", json!({"text": "400"})).await, CallOutcome::Completed(output) if output.content.len() == 2)
    );
    assert!(
        matches!(call(&host, "texts__count", json!({"text": "401"})).await, CallOutcome::Failed(failure) if failure.kind == FailureKind::OutputTooLarge)
    );
}

#[tokio::test]
async fn a_panic_costs_the_call_alone() {
    let bench = Bench::texts().on("texts__shout", |_, _| async move { panic!("a fault of the executor") });
    let (_home, host) = host_with(&text_plugin(), &bench).await;
    assert!(
        matches!(call(&host, "texts__shout", json!({"text": "x"})).await, CallOutcome::Failed(failure) if failure.kind == FailureKind::Internal && !failure.message.contains("executor"))
    );
    assert!(matches!(call(&host, "texts__count", json!({"text": "x"})).await, CallOutcome::Completed(_)));
}

#[tokio::test]
async fn failures_are_text_with_the_hint_last() {
    let bench = Bench::default().on("texts__count", |_, _| async move {
        ToolOutcome::Failed(
            ToolFailure::new(FailureKind::Raised, "ValueError: no")
                .with_detail("main.py:3 in run")
                .with_hint("try\u{1b}[1m less"),
        )
    });
    let (_home, host) = host_with(&text_plugin(), &bench).await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let answer = client.call("texts__count", json!({"text": "x"})).await;
    assert_eq!(error_text(&answer), "raised: ValueError: no\nmain.py:3 in run\nhint: try less");
}

#[tokio::test]
async fn calls_wait_for_a_place_and_too_many_are_refused() {
    let home = Home::new();
    home.plugin("texts", &format!("resource_limits: {{max_concurrent_requests: 1}}\n{}", text_plugin()));
    let release = Arc::new(Notify::new());
    let (begun, mut has_begun) = mpsc::channel::<()>(8);
    let gate = release.clone();
    let bench = Bench::texts().on("texts__shout", move |_, _| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            begun.send(()).await.unwrap();
            gate.notified().await;
            text("done")
        }
    });
    let mut settings = home.settings();
    settings.queue_per_plugin = 1;
    let host = host(settings, &bench).await;
    let start = |host: &Arc<Host>| {
        let host = host.clone();
        tokio::spawn(async move { call(&host, "texts__shout", json!({"text": "x"})).await })
    };
    let first = start(&host);
    within("the first", has_begun.recv()).await;
    let second = start(&host);
    // One of these two waits, the other finds the queue full.
    let third = start(&host);
    let (refused, waits) = match futures::future::select(second, third).await {
        futures::future::Either::Left((ended, other)) | futures::future::Either::Right((ended, other)) => (ended.unwrap(), other),
    };
    assert!(matches!(refused, CallOutcome::Failed(failure) if failure.kind == FailureKind::Overloaded));
    release.notify_one();
    within("the second", has_begun.recv()).await;
    release.notify_one();
    for waited in [first, waits] {
        assert!(matches!(within("an end", waited).await.unwrap(), CallOutcome::Completed(_)));
    }
}

/// Takes six seconds: the shortest limit of a manifest, and the time an executor has to notice by itself.
#[tokio::test]
async fn an_executor_that_overruns_is_given_up() {
    let home = Home::new();
    home.plugin("texts", &format!("max_execution_time: 1\n{}", text_plugin()));
    let bench = Bench::default().on("texts__count", |_, io| async move {
        let left = io.deadline.saturating_duration_since(std::time::Instant::now());
        assert!(left <= std::time::Duration::from_secs(1));
        std::future::pending().await
    });
    let mut settings = home.settings();
    settings.frozen = true;
    let host = Host::assemble(settings, Arc::new(bench)).unwrap();
    let outcome =
        host.call(CallRequest::local("texts__count", args(json!({"text": "x"}))), None, CancellationToken::new()).await.outcome;
    assert!(matches!(outcome, CallOutcome::Failed(failure) if failure.kind == FailureKind::TimedOut));
}

#[tokio::test]
async fn a_runtime_that_is_not_built_is_refused_by_name() {
    let yaml = format!("runtime: wasm\nmcps:\n{}", tool("count", "Count").replace("    class_name: Tool\n", ""));
    let (_home, host) = host_with(&yaml, &Bench::texts()).await;
    let outcome = call(&host, "texts__count", json!({"text": "x"})).await;
    assert!(
        matches!(&outcome, CallOutcome::Failed(failure) if failure.kind == FailureKind::Unsupported && failure.message.contains("wasm")),
        "{outcome:?}"
    );
    assert!(host.catalog().tools.is_empty());
}

#[tokio::test]
async fn the_scripted_executor_of_the_contract_works_too() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let scripted = executor_api::ScriptedExecutor::default().on("texts__count", |_, _| structured(json!(7)));
    assert_eq!(scripted.states().len(), 0);
    let host = Host::assemble(home.settings(), Arc::new(scripted)).unwrap();
    within("ready", host.ready()).await;
    assert!(
        matches!(call(&host, "texts__count", json!({"text": "x"})).await, CallOutcome::Completed(output) if output.structured == Some(json!({"result": 7})))
    );
    assert!(
        matches!(call(&host, "texts__shout", json!({"text": "x"})).await, CallOutcome::Failed(failure) if failure.kind == FailureKind::Unsupported)
    );
}
