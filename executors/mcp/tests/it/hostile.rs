//! Servers that misbehave: each with a message of its own, and a good server beside it that does not notice.

use std::time::Duration;

use executor_api::FailureKind;
use libtest_mimic::Trial;
use serde_json::json;

use crate::{trial, world::World};

/// Mode of the fixture, what sort of failure, and words of its message.
const CASES: [(&str, FailureKind, &str); 10] = [
    ("never", FailureKind::LoadFailed, "did not answer within 1 s"),
    ("garbage", FailureKind::BadOutput, "what is no message of the protocol: `this is no message`"),
    ("flood", FailureKind::BadOutput, "messages in a second that nobody asked for"),
    ("endless", FailureKind::BadOutput, "more than 2000 tools"),
    ("circle", FailureKind::BadOutput, "lead back to themselves"),
    ("huge_line", FailureKind::OutputTooLarge, "a message of more than 1048576 bytes"),
    ("deep", FailureKind::BadOutput, "can't be read: recursion limit"),
    ("no_list", FailureKind::BadOutput, "has no list of `tools`"),
    ("version", FailureKind::Unsupported, "chose protocol version `1999-01-01`"),
    ("exit", FailureKind::LoadFailed, "exit code 3"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = CASES
        .into_iter()
        .map(|(mode, kind, words)| trial(&format!("a_server_that_misbehaves_{mode}"), move || misbehaves(mode, kind, words)))
        .collect();
    trials.push(trial("bad_tools_are_left_out_one_by_one", bad_tools));
    trials.push(trial("programs_that_are_not_the_plugins_to_use_are_refused", programs));
    trials
}

async fn misbehaves(mode: &str, kind: FailureKind, words: &str) {
    let world = World::with(|settings| {
        if mode == "never" {
            settings.start_limit = Duration::from_secs(1);
        }
    });
    let (bad, fine) = (world.server("bad", mode), world.server("fine", "good"));
    let (came, beside) = tokio::join!(world.call(&bad, "echo", json!({})), async {
        let mut texts = Vec::new();
        for number in 0..5 {
            texts.push(world.call(&fine, "echo", json!({"text": number.to_string()})).await.text());
        }
        texts
    });
    came.failed(kind, words);
    assert_eq!(beside, ["0", "1", "2", "3", "4"]);
    assert_eq!(world.state(&fine).starts, 1);
    let inspected = world.inspect(&bad).await.unwrap_err();
    assert!(inspected.message.contains(words), "{inspected}");
}

async fn bad_tools() {
    let world = World::new();
    let server = world.server("one", "bad_tools");
    let inspection = world.inspect(&server).await.unwrap();
    let names: Vec<&str> = inspection.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["echo", "listing"], "a result that is no object is a list, not a fault");
    for words in [
        "`echo` is given twice",
        "`remote`: its schema refers to `https://example.org/s`",
        "`array`: expected the root of `inputSchema`",
        "`deep`: its definition is nested deeper than 48",
        "`shapeless`: expected `outputSchema` to be an object",
    ] {
        assert!(inspection.refused.iter().any(|refused| refused.contains(words)), "{words}: {:?}", inspection.refused);
    }
    assert_eq!(inspection.refused.len(), 5, "{:?}", inspection.refused);
    assert_eq!(world.call(&server, "echo", json!({"text": "a"})).await.text(), "a");
    world.call(&server, "remote", json!({})).await.failed(FailureKind::Unavailable, "does not offer this tool");
}

async fn programs() {
    let world = World::new();
    for (command, words) in [
        ("[\"no-such-program\"]", "`no-such-program` is not installed"),
        ("[\"/etc/passwd\"]", "lies neither in the plugin's folder"),
        ("[\"../one/server\"]", "lies neither in the plugin's folder"),
        ("[\"./missing\"]", "does not exist"),
    ] {
        let server = world.plugin("one", &format!("mcp: {{command: {command}}}\n"));
        let failure = world.inspect(&server).await.unwrap_err();
        assert!(failure.kind == FailureKind::LoadFailed && failure.message.contains(words), "{failure}");
    }
}
