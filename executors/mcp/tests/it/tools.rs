//! What a tool of an upstream server can do through the executor: results, errors, progress, cancellation, questions, secrets, walls.

use std::time::Duration;

use executor_api::{Content, FailureKind, Frame, ToolFailure, ToolOutcome};
use libtest_mimic::Trial;
use manifest_schema::Permission;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{PATIENCE, World, good},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("inspect_reads_every_page_and_names_what_is_not_served", inspects),
        trial("results_are_carried_whole", carries),
        trial("a_server_of_the_stateless_era_is_spoken_to_in_its_own", modern),
        trial("a_greeting_on_standard_output_is_passed_over", greeting),
        trial("progress_comes_through_and_cancellation_reaches_the_server", progress_and_cancellation),
        trial("a_question_reaches_the_caller_and_its_answer_the_server", questions),
        trial("answers_out_of_order_find_their_calls", out_of_order),
        trial("fifty_calls_at_once_share_one_server", fifty),
        trial("fifty_servers_at_once_each_answer_and_the_room_for_warm_ones_is_kept", fifty_servers),
        trial("secrets_fill_the_environment", secrets),
        trial("the_walls_hold_and_granted_folders_are_handed_over", walls),
    ]
}

async fn inspects() {
    let world = World::new();
    let inspection = world.inspect(&world.server("one", "good")).await.unwrap();
    assert_eq!((inspection.server.name.as_str(), inspection.protocol.as_str()), ("fixture", "2025-11-25"));
    // More than one page.
    assert_eq!(inspection.tools.len(), 12);
    assert_eq!(inspection.tools[0], good("echo"));
    assert_eq!(inspection.prompts[0].name, "greet");
    assert!(inspection.refused.is_empty());
    // It was ended again, and counts for nothing.
    assert!(world.executor_states_empty());
}

impl World {
    fn executor_states_empty(&self) -> bool {
        use executor_api::Executor as _;
        self.executor.states().is_empty()
    }
}

async fn carries() {
    let world = World::new();
    let server = world.server("one", "good");
    assert_eq!(world.call(&server, "echo", json!({"text": "hé"})).await.text(), "hé");
    let added = world.call(&server, "addNumbers", json!({"a": 1, "b": 2})).await;
    assert!(matches!(&added.outcome, ToolOutcome::Completed(output) if output.structured == Some(json!({"sum": 3.0}))));
    let ToolOutcome::Completed(media) = world.call(&server, "media", json!({})).await.outcome else { panic!("failed") };
    assert!(matches!(
        media.content[..],
        [Content::Image { .. }, Content::Audio { .. }, Content::Resource { .. }, Content::ResourceLink { .. }]
    ));
    world.call(&server, "fail", json!({})).await.failed(FailureKind::Raised, "it broke");
    assert_eq!(world.state(&server).starts, 1);
}

async fn modern() {
    let world = World::new();
    let server = world.server("one", "modern");
    assert_eq!(world.inspect(&server).await.unwrap().protocol, "2026-07-28");
    assert_eq!(world.call(&server, "echo", json!({"text": "new"})).await.text(), "new");
}

async fn greeting() {
    let world = World::new();
    assert_eq!(world.call(&world.server("one", "greeting"), "echo", json!({"text": "a"})).await.text(), "a");
}

async fn progress_and_cancellation() {
    let world = World::new();
    let server = world.server("one", "good");
    let cancel = CancellationToken::new();
    let ends = cancel.clone();
    let mut steps = 0;
    let came = world
        .call_within(&server, &good("slow"), json!({}), PATIENCE, cancel, |frame| {
            if matches!(frame, Frame::Progress { total: Some(_), message: Some(_), .. }) {
                steps += 1;
                if steps == 3 {
                    ends.cancel();
                }
            }
        })
        .await;
    came.failed(FailureKind::Cancelled, "cancelled");
    assert_eq!(came.frames.len(), 3);
    // The same server goes on, and time limits are told apart from cancellation.
    let late =
        world.call_within(&server, &good("slow"), json!({}), Duration::from_millis(200), CancellationToken::new(), |_| {}).await;
    late.failed(FailureKind::TimedOut, "longer than");
    assert_eq!(world.call(&server, "echo", json!({"text": "still"})).await.text(), "still");
    assert_eq!(world.state(&server).starts, 1);
}

async fn questions() {
    let world = World::new();
    let server = world.server("one", "good");
    let ask = |answer: Result<serde_json::Value, ToolFailure>| {
        let (world, server) = (&world, server.clone());
        async move {
            let on_frame = |frame: &Frame| {
                if let Frame::Host(request) = frame {
                    assert_eq!((request.kind.as_str(), &request.params["message"]), ("ask_user", &json!("Your name?")));
                    request.answer(answer.clone());
                }
            };
            world.call_within(&server, &good("ask"), json!({}), PATIENCE, CancellationToken::new(), on_frame).await.text()
        }
    };
    assert!(ask(Ok(json!({"action": "accept", "content": {"name": "Ada"}}))).await.contains("Ada"));
    let refused = ask(Err(ToolFailure::new(FailureKind::Unsupported, "nobody can be asked"))).await;
    assert!(refused.contains("nobody can be asked"), "{refused}");
}

async fn out_of_order() {
    let world = World::new();
    let server = world.server("one", "reverse");
    let (first, second) =
        tokio::join!(world.call(&server, "echo", json!({"text": "a"})), world.call(&server, "echo", json!({"text": "b"})));
    assert_eq!((first.text(), second.text()), ("a".to_owned(), "b".to_owned()));
}

async fn fifty_servers() {
    const ROOM: usize = 8;
    let world = World::with(|settings| settings.servers = ROOM);
    let servers: Vec<_> = (0..50).map(|number| world.server(&format!("s{number}"), "good")).collect();
    let calls = servers.iter().map(|server| world.call(server, "echo", json!({"text": server.plugin.manifest.name.as_str()})));
    for (came, server) in futures::future::join_all(calls).await.iter().zip(&servers) {
        assert_eq!(came.text(), server.plugin.manifest.name.as_str(), "ended for the sake of another");
    }
    // None is in use any more: the next one makes room for itself.
    world.call(&world.server("last", "good"), "echo", json!({"text": "x"})).await.text();
    let warm = executor_api::Executor::states(&world.executor).iter().filter(|state| state.state == "warm").count();
    assert!((1..=ROOM).contains(&warm), "{warm}");
}

async fn fifty() {
    let world = World::new();
    let server = world.server("one", "good");
    let calls = (0..50).map(|number| {
        let (world, server) = (&world, server.clone());
        async move { (world.call(&server, "echo", json!({"text": number.to_string()})).await.text(), number.to_string()) }
    });
    for (found, expected) in futures::future::join_all(calls).await {
        assert_eq!(found, expected);
    }
    assert_eq!(world.state(&server).starts, 1);
}

async fn secrets() {
    let world = World::new();
    let more = "  env: {TOKEN: \"Bearer ${API_KEY}\", PLAIN: a}\nsecrets: [{name: API_KEY, description: d, required: false}]\n";
    let server = world.command("one", "good", more);
    let missing = world.call(&server, "env", json!({"name": "TOKEN"})).await;
    missing.failed(FailureKind::LoadFailed, "`API_KEY` is not set");
    let server = server.secret("API_KEY", "s3cret");
    assert_eq!(world.call(&server, "env", json!({"name": "TOKEN"})).await.text(), "Bearer s3cret");
    assert_eq!(world.call(&server, "env", json!({"name": "PLAIN"})).await.text(), "a");
    // Nothing of the host's own environment.
    assert_eq!(world.call(&server, "env", json!({"name": "CARGO_MANIFEST_DIR"})).await.text(), "unset");
}

async fn walls() {
    let world = World::new();
    let (mine, other) = (world.data("mine"), world.data("other"));
    for folder in [&mine, &other] {
        std::fs::write(folder.join("file"), "content").unwrap();
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let declared = "permissions: [file_system_read]\nfilesystem: {read: [\"$data\"]}\n";
    let server = world.command("one", "good", declared).grant(Permission::FileSystemRead, mine.to_str());
    let reach = |how: &'static str, path: String| {
        let (world, server) = (&world, server.clone());
        async move { world.call(&server, "reach", json!({"how": how, "path": path})).await.text() }
    };
    let at = |folder: &std::path::Path| folder.join("file").to_str().unwrap().to_owned();
    assert_eq!(reach("read", at(&mine)).await, "content");
    assert!(reach("write", at(&mine)).await.starts_with("refused"));
    assert!(reach("read", at(&other)).await.starts_with("refused"));
    assert!(reach("connect", address.clone()).await.starts_with("refused"));
    let network = world
        .command("two", "good", "permissions: [network_access]\nrequires_network: true\n")
        .grant(Permission::NetworkAccess, None);
    let reached = world.call(&network, "reach", json!({"how": "connect", "path": address})).await;
    assert_eq!(reached.text(), "connected");
}
