//! Questions of a tool to the user: in the midst of a request in the era with sessions, by a held call in the stateless one, and to nobody
//! who does not take them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use executor_api::{CallIo, Frame, HostRequest, ToolOutcome};
use policy::PermittedCall;
use serde_json::{Value, json};

use crate::{
    server::Host,
    support::{Answer, Bench, Home, Web, connect, error_text, host, stateless, text, text_plugin, tokens, until, web},
};

/// `count` asks for a name, then for a place, and says what came back; `shout` asks one thing, and notes when it was cancelled instead.
async fn asker() -> (Home, Arc<Host>, Arc<AtomicBool>) {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let cancelled = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&cancelled);
    let bench = Bench::default().on("texts__count", asks).on("texts__shout", move |_, io: CallIo| {
        let note = Arc::clone(&note);
        async move {
            let answered = question(&io, "Well?").await.is_some();
            note.store(!answered, Ordering::SeqCst);
            text("done")
        }
    });
    let host = host(home.settings(), &bench).await;
    (home, host, cancelled)
}

async fn asks(_: PermittedCall, io: CallIo) -> ToolOutcome {
    let mut said = Vec::new();
    for message in ["Name?", "Place?"] {
        match question(&io, message).await {
            Some(Ok(answer)) => said.push(answer["content"]["it"].as_str().unwrap_or("?").to_owned()),
            Some(Err(failure)) => return ToolOutcome::Failed(failure),
            None => return text("nobody answered"),
        }
    }
    text(&said.join(" in "))
}

/// Ends with the call, as the tool's own process would.
async fn question(io: &CallIo, message: &str) -> Option<executor_api::HostAnswer> {
    let schema = json!({"type": "object", "properties": {"it": {"type": "string"}}});
    let (request, answer) = HostRequest::new("ask_user", json!({"message": message, "requestedSchema": schema}));
    io.frames.send(Frame::Host(request)).await.ok()?;
    tokio::select! {
        answer = answer => answer.ok(),
        () = io.cancel.cancelled() => None,
    }
}

/// A call of the stateless era by a client that takes questions.
fn call(tool: &str, more: &Value) -> Value {
    let mut params = json!({"name": tool, "arguments": {"text": "x"}});
    let mut meta = stateless();
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {"form": {}}});
    params["_meta"] = meta;
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    params
}

/// The question of a request that ended with one: its key, its words, and the state to bring back.
fn asked(answer: &Value) -> (String, String, String) {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let (key, request) = result["inputRequests"].as_object().unwrap().iter().next().expect("a question");
    assert_eq!(request["method"], "elicitation/create");
    let state = result["requestState"].as_str().unwrap().to_owned();
    (key.clone(), request["params"]["message"].as_str().unwrap().to_owned(), state)
}

fn answers(key: &str, it: &str, state: &str) -> Value {
    json!({"inputResponses": {key: {"action": "accept", "content": {"it": it}}}, "requestState": state})
}

fn said(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

#[tokio::test]
async fn a_stateless_call_waits_for_answers_over_several_requests() {
    let (_home, host, _) = asker().await;
    let (mut client, ..) = connect(&host);
    let first = client.request("tools/call", call("texts__count", &json!({}))).await;
    let (key, words, state) = asked(&first);
    assert_eq!(words, "Name?");
    assert!(first["result"]["_meta"]["io.modelcontextprotocol/serverInfo"].is_object(), "{first}");
    // Without an answer the same is asked again, under a state of its own.
    let again = client.request("tools/call", call("texts__count", &json!({"requestState": state}))).await;
    let (_, words, newer) = asked(&again);
    assert!(words == "Name?" && newer != state);
    let second = client.request("tools/call", call("texts__count", &answers(&key, "Ada", &newer))).await;
    let (key, words, state) = asked(&second);
    assert_eq!(words, "Place?");
    let last = client.request("tools/call", call("texts__count", &answers(&key, "Turin", &state))).await;
    assert_eq!((said(&last), &last["result"]["resultType"]), ("Ada in Turin", &json!("complete")));
    // A state is good for one request.
    let late = client.request("tools/call", call("texts__count", &answers(&key, "Rome", &state))).await;
    assert!(error_text(&late).starts_with("bad_session: "), "{late}");
}

#[tokio::test]
async fn an_answer_that_is_none_fails_the_question_and_not_the_server() {
    let (_home, host, _) = asker().await;
    let (mut client, ..) = connect(&host);
    let (key, _, state) = asked(&client.request("tools/call", call("texts__count", &json!({}))).await);
    let bad = json!({"inputResponses": {key: {"action": "shrug"}}, "requestState": state});
    let failed = client.request("tools/call", call("texts__count", &bad)).await;
    assert!(error_text(&failed).contains("the client's answer is malformed"), "{failed}");
}

#[tokio::test]
async fn a_held_call_belongs_to_its_caller_its_tool_and_its_arguments() {
    let (home, host, _) = asker().await;
    let tokens = tokens(&home, &[("alice", &["*"]), ("bob", &["*"])]);
    let web = web(&host, |settings| settings.tokens = Some(tokens)).await;
    let send = async |who: &str, params: Value| -> Value {
        let bearer = format!("Bearer {who}-token");
        let answer: Answer = Web::modern(&web, "/mcp", "tools/call", params, &[("authorization", &bearer)]).await;
        answer.json()
    };
    let (key, _, state) = asked(&send("alice", call("texts__count", &json!({}))).await);
    let mut other = call("texts__count", &answers(&key, "Eve", &state));
    other["arguments"] = json!({"text": "y"});
    for (who, params) in [
        ("bob", call("texts__count", &answers(&key, "Eve", &state))),
        ("alice", call("texts__shout", &answers(&key, "Eve", &state))),
        ("alice", other),
        ("alice", call("texts__count", &answers(&key, "Eve", "forged"))),
    ] {
        let refused = send(who, params).await;
        assert!(error_text(&refused).starts_with("bad_session: "), "{refused}");
    }
    let (key, words, state) = asked(&send("alice", call("texts__count", &answers(&key, "Ada", &state))).await);
    assert_eq!(words, "Place?");
    assert_eq!(said(&send("alice", call("texts__count", &answers(&key, "Turin", &state))).await), "Ada in Turin");
    web.end().await;
}

#[tokio::test]
async fn a_held_call_ends_with_the_connection_that_could_come_back_for_it() {
    let (_home, host, cancelled) = asker().await;
    let (mut client, serving, _) = connect(&host);
    asked(&client.request("tools/call", call("texts__shout", &json!({}))).await);
    assert!(!cancelled.load(Ordering::SeqCst));
    client.close().await;
    serving.await.unwrap().unwrap();
    until("the end of the call", || cancelled.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn nobody_is_asked_who_takes_no_questions() {
    let (_home, host, _) = asker().await;
    let (mut client, ..) = connect(&host);
    let mut params = call("texts__count", &json!({}));
    params["_meta"] = stateless();
    assert_eq!(said(&client.request("tools/call", params).await), "nobody answered");
}

#[tokio::test]
async fn a_question_in_the_midst_of_a_request_reaches_the_client_that_takes_it() {
    let (_home, host, _) = asker().await;
    let (mut client, ..) = connect(&host);
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "t", "version": "1"}});
    client.request("initialize", hello).await;
    client.notify("notifications/initialized", json!({})).await;
    let id = client.begin("tools/call", json!({"name": "texts__count", "arguments": {"text": "x"}})).await;
    for it in ["Ada", "Turin"] {
        let question = client.hear("elicitation/create").await;
        let result = json!({"action": "accept", "content": {"it": it}});
        client.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result})).await;
    }
    assert_eq!(said(&client.answer(id).await), "Ada in Turin");
    let (mut other, ..) = connect(&host);
    other.initialize("2025-11-25").await;
    assert_eq!(said(&other.call("texts__count", json!({"text": "x"})).await), "nobody answered");
}
