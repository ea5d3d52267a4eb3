//! Life of a server: started once, pinned, ended when idle, started again after a crash, given up when it does not come up.

use std::time::Duration;

use executor_api::{Executor as _, FailureKind};
use libtest_mimic::Trial;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{World, good},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_changed_definition_is_refused_from_then_on", pinned),
        trial("a_tool_that_was_never_approved_so_is_refused", never_approved),
        trial("a_crash_says_how_and_backs_off_and_passes", crash),
        trial("a_server_that_does_not_start_is_given_a_rest", breaker),
        trial("a_stuck_server_is_replaced", stuck),
        trial("an_idle_server_ends_and_comes_back", idle),
        trial("retire_and_shutdown_end_it", retired),
    ]
}

async fn pinned() {
    let world = World::new();
    let server = world.server("one", "good");
    assert_eq!(world.call(&server, "echo", json!({"text": "a"})).await.text(), "a");
    assert_eq!(world.call(&server, "change", json!({})).await.text(), "changed");
    let refused = world.call(&server, "echo", json!({"text": "a"})).await;
    refused.failed(FailureKind::Unavailable, "changed since it was approved");
    assert_eq!(refused.failure().hint.as_deref(), Some("ask the operator to review it"));
    // The others go on.
    assert_eq!(world.call(&server, "addNumbers", json!({"a": 1, "b": 1})).await.text(), "2");
    let seen = world.seen.lock().unwrap().last().cloned().unwrap();
    assert!(seen.tools[0].description.as_deref().unwrap().contains("every secret"), "{:?}", seen.tools[0]);
    assert_eq!(seen.tools.len(), 12);
}

async fn never_approved() {
    let world = World::new();
    let server = world.server("one", "good");
    let mut other = good("echo");
    other.description = Some("Says something else".to_owned());
    let call = |definition| {
        world.call_within(&server, definition, json!({"text": "a"}), crate::world::PATIENCE, CancellationToken::new(), |_| {})
    };
    call(&other).await.failed(FailureKind::Unavailable, "changed since it was approved");
    let (unknown, echo) = (good("no_such_tool"), good("echo"));
    call(&unknown).await.failed(FailureKind::Unavailable, "does not offer this tool");
    assert_eq!(call(&echo).await.text(), "a");
}

async fn crash() {
    let world = World::new();
    let server = world.server("one", "good");
    let died = world.call(&server, "die", json!({})).await;
    died.failed(FailureKind::Crashed, "exit code 7");
    assert!(died.failure().detail.as_deref().unwrap().contains("about to die"), "{:?}", died.failure());
    // Soon after it is not tried, and says so; then it is.
    loop {
        let again = world.call(&server, "echo", json!({"text": "back"})).await;
        match &again.outcome {
            executor_api::ToolOutcome::Completed(_) => break,
            executor_api::ToolOutcome::Failed(failure) => {
                assert!(matches!(failure.kind, FailureKind::Unavailable | FailureKind::Crashed), "{failure}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    assert_eq!(world.state(&server).starts, 2);
    assert_eq!(world.state(&server).state, "warm");
}

async fn breaker() {
    let world = World::new();
    let (bad, fine) = (world.server("bad", "exit"), world.server("fine", "good"));
    let first = world.call(&bad, "echo", json!({})).await;
    first.failed(FailureKind::LoadFailed, "exit code 3");
    assert_eq!(first.failure().detail.as_deref(), Some("no such database"));
    let second = world.call(&bad, "echo", json!({})).await;
    second.failed(FailureKind::Unavailable, "failed 1 times in a row");
    assert!(second.failure().hint.as_deref().unwrap().starts_with("try again in"));
    assert_eq!((world.state(&bad).starts, world.state(&bad).state), (1, "backing_off"));
    assert_eq!(world.call(&fine, "echo", json!({"text": "a"})).await.text(), "a");
}

async fn stuck() {
    let world = World::new();
    let server = world.server("one", "good");
    for _ in 0..3 {
        let limit = Duration::from_millis(300);
        let hung = world.call_within(&server, &good("hang"), json!({}), limit, CancellationToken::new(), |_| {}).await;
        assert!(matches!(hung.failure().kind, FailureKind::TimedOut | FailureKind::Preparing), "{:?}", hung.failure());
    }
    while world.state(&server).state == "warm" {
        tokio::task::yield_now().await;
    }
}

async fn idle() {
    let world = World::with(|settings| settings.idle = Duration::from_millis(200));
    let server = world.server("one", "good");
    assert_eq!(world.call(&server, "echo", json!({"text": "a"})).await.text(), "a");
    while world.state(&server).state != "idle" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.call(&server, "echo", json!({"text": "b"})).await.text(), "b");
    assert_eq!(world.state(&server).starts, 2);
}

async fn retired() {
    let world = World::new();
    let (one, two) = (world.server("one", "good"), world.server("two", "good"));
    for server in [&one, &two] {
        assert_eq!(world.call(server, "echo", json!({"text": "a"})).await.text(), "a");
    }
    world.executor.retire("one").await;
    assert_eq!(world.executor.states().len(), 1);
    world.executor.shutdown().await;
    assert!(world.executor.states().is_empty());
}
