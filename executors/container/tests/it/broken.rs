//! Images, servers and engines that misbehave: each is a failure with its kind and words, and the next good call works.

use std::{fs, time::Duration};

use executor_api::{Executor as _, FailureKind};
use executor_container::{ContainerExecutor, ContainerSettings};
use libtest_mimic::Trial;
use manifest_schema::Permission;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{BASE, Site, World, until},
};

pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    vec![
        trial(site, "answers_that_break_the_contract", answers_that_break_the_contract),
        trial(site, "a_dockerfile_that_fails", a_dockerfile_that_fails),
        trial(site, "an_image_that_is_nowhere", an_image_that_is_nowhere),
        trial(site, "never_healthy", never_healthy),
        trial(site, "crash_loop_opens_the_circuit", crash_loop_opens_the_circuit),
        trial(site, "five_failures_break_the_circuit", five_failures_break_the_circuit),
        trial(site, "ill_is_replaced", ill_is_replaced),
        trial(site, "a_container_that_is_removed_is_replaced", a_container_that_is_removed_is_replaced),
        trial(site, "a_port_that_is_taken", a_port_that_is_taken),
        trial(site, "no_engine", no_engine),
        trial(site, "a_context_that_leads_out", a_context_that_leads_out),
    ]
}

async fn answers_that_break_the_contract(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("liar", "", "");
    let came = world.call(&subject, "html", json!({})).await;
    came.failed(FailureKind::BadOutput, "no JSON object");
    assert!(came.failure().detail.as_ref().unwrap().contains("<html>"));
    world.call(&subject, "half", json!({})).await.failed(FailureKind::BadOutput, "broke the connection");
    world.call(&subject, "huge", json!({"told": true})).await.failed(FailureKind::OutputTooLarge, "more than 1048576 bytes");
    world.call(&subject, "huge", json!({"told": false})).await.failed(FailureKind::OutputTooLarge, "more than 1048576 bytes");
    world.call(&subject, "fail", json!({})).await.failed(FailureKind::Raised, "it is Monday");
    let never = world.call_within(&subject, "never", json!({}), Duration::from_millis(400), CancellationToken::new()).await;
    never.failed(FailureKind::TimedOut, "longer than");
    let hasty = world.plugin("hasty", "", "api: {timeout: 200}\n");
    world.call(&hasty, "echo", json!({})).await.value();
    world.call(&hasty, "never", json!({})).await.failed(FailureKind::TimedOut, "longer than 0.2 s");
    assert_eq!(world.call(&subject, "echo", json!({})).await.value()["calls"], json!(7), "one container served them all");
    assert_eq!(world.state(&subject).starts, 1);
    world.end().await;
}

async fn a_dockerfile_that_fails(site: Site) {
    let world = World::new(site);
    let dockerfile =
        format!("FROM {BASE}\nRUN [\"/usr/bin/python3\", \"-c\", \"print('so far so good'); raise SystemExit(9)\"]\n");
    let subject = world.built("unbuilt", &dockerfile, "", "");
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "building the image failed");
    assert!(came.failure().detail.as_ref().unwrap().contains("so far so good"), "{:?}", came.failure());
    world.call(&subject, "echo", json!({})).await.failed(FailureKind::Unavailable, "1 times in a row");
    let subject = world.built("nonsense", "FORM scratch\n", "", "");
    world.call(&subject, "echo", json!({})).await.failed(FailureKind::LoadFailed, "building the image failed");
    world.end().await;
}

async fn an_image_that_is_nowhere(site: Site) {
    let world = World::new(site);
    let subject = world.manifest("nowhere", "  image: localhost:1/nobody/nothing:1\n", "");
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "`localhost:1/nobody/nothing:1` failed");
    assert!(came.failure().hint.is_some());
    let digest = "0".repeat(64);
    let pinned = world.manifest("pinned", &format!("  image: localhost:1/nobody/nothing@sha256:{digest}\n"), "");
    world.call(&pinned, "echo", json!({})).await.failed(FailureKind::LoadFailed, "failed");
    // The control: an image by name that is there.
    let built = world.plugin("maker", "", "");
    world.call(&built, "echo", json!({})).await.value();
    let image = world.on_engine("maker").await.remove(0).image_id.unwrap();
    let docker = world.site.docker().negotiate_version().await.unwrap();
    let options = bollard::query_parameters::TagImageOptions {
        repo: Some("localhost/pegboard-test/named".to_owned()),
        tag: Some("1".to_owned()),
    };
    docker.tag_image(&image, Some(options)).await.unwrap();
    let named = world.manifest("named", "  image: localhost/pegboard-test/named:1\n", "");
    world.call(&named, "echo", json!({})).await.value();
    world.end().await;
}

async fn never_healthy(site: Site) {
    let world = World::with(site, |settings| settings.start_limit = Duration::from_secs(2));
    let exits = world.plugin("exits", "  environment: {MODE: exit}\n", "");
    let came = world.call(&exits, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "exit code 3");
    assert!(came.failure().detail.as_ref().unwrap().contains("a line before the end"));
    let silent = world.plugin("silent", "  environment: {MODE: silent}\n", "");
    world
        .call(&silent, "echo", json!({}))
        .await
        .failed(FailureKind::LoadFailed, "not healthy within 2 s of its start: it does not listen");
    let sick = world.plugin("sick", "  environment: {HEALTH: starting}\n", "");
    world.call(&sick, "echo", json!({})).await.failed(FailureKind::LoadFailed, "it says `starting`");
    let fat = world.plugin("fat", "  environment: {MODE: fat}\n  resources: {memory: 64m}\n", "");
    world.call(&fat, "echo", json!({})).await.failed(FailureKind::OutOfMemory, "memory");
    for name in ["exits", "silent", "sick", "fat"] {
        assert!(world.on_engine(name).await.is_empty(), "{name} left a container behind");
    }
    world.end().await;
}

async fn crash_loop_opens_the_circuit(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("loopy", "", "");
    world.call(&subject, "crash", json!({})).await.failed(FailureKind::Crashed, "exit code 7");
    // One crash is forgiven at once; a second in a row waits.
    world.call(&subject, "crash", json!({})).await.failed(FailureKind::Crashed, "exit code 7");
    until("it backs off", || async { world.state(&subject).state == "backing_off" }).await;
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::Unavailable, "2 times in a row");
    assert!(came.failure().hint.as_ref().unwrap().starts_with("try again in"));
    assert!(came.failure().detail.as_ref().unwrap().contains("last words"));
    // After the pause it works, and what went well ends the row.
    until("it serves", || async {
        matches!(world.call(&subject, "echo", json!({})).await.outcome, executor_api::ToolOutcome::Completed(_))
    })
    .await;
    assert_eq!(world.state(&subject).problem, None);
    world.end().await;
}

async fn five_failures_break_the_circuit(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("fifth", "", "");
    until("the circuit opens", || async {
        let came = world.call(&subject, "crash", json!({})).await;
        assert!([FailureKind::Crashed, FailureKind::Unavailable].contains(&came.failure().kind), "{:?}", came.failure());
        world.state(&subject).state == "broken"
    })
    .await;
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::Unavailable, "5 times in a row");
    let wait: u64 = came.failure().hint.as_ref().unwrap().split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((50..=60).contains(&wait), "{:?}", came.failure().hint);
    until("the last one is removed", || async { world.on_engine("fifth").await.is_empty() }).await;
    world.end().await;
}

async fn ill_is_replaced(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("frail", "  healthCheck: {path: /health, interval: 200ms, timeout: 1s, retries: 2}\n", "");
    let before = world.call(&subject, "echo", json!({})).await.value()["host"].clone();
    world.call(&subject, "ill", json!({})).await.value();
    until("it is replaced", || async {
        world.state(&subject).problem.is_some_and(|problem| problem.contains("2 times in a row: it says `broken`"))
    })
    .await;
    assert_ne!(world.call(&subject, "echo", json!({})).await.value()["host"], before);
    world.end().await;
}

async fn a_container_that_is_removed_is_replaced(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("stolen", "", "");
    let before = world.call(&subject, "echo", json!({})).await.value()["host"].clone();
    let docker = world.site.docker().negotiate_version().await.unwrap();
    let id = world.on_engine("stolen").await.remove(0).id.unwrap();
    let options = bollard::query_parameters::RemoveContainerOptions { force: true, ..Default::default() };
    docker.remove_container(&id, Some(options)).await.unwrap();
    // An idempotent call may be sent again, and is: the caller does not notice.
    assert_ne!(world.call(&subject, "echo", json!({})).await.value()["host"], before);
    world.end().await;
}

async fn a_port_that_is_taken(site: Site) {
    let world = World::new(site);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let more = "permissions: [network_access]\n";
    let subject = world.plugin("ported", &format!("  ports: [{{container: 8080, host: {port}}}]\n"), more);
    let subject = subject.grant(Permission::NetworkAccess, None);
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "starting the container failed");
    assert!(came.failure().hint.as_ref().unwrap().contains("host: 0"), "{:?}", came.failure());
    assert!(world.on_engine("ported").await.is_empty());
    drop(taken);
    until("the port is free", || async {
        matches!(world.call(&subject, "echo", json!({})).await.outcome, executor_api::ToolOutcome::Completed(_))
    })
    .await;
    world.end().await;
}

async fn no_engine(site: Site) {
    let world = World::with(site, |settings| settings.sockets = vec!["/nonexistent/engine.sock".into()]);
    let subject = world.plugin("alone", "", "");
    world
        .call(&subject, "echo", json!({}))
        .await
        .failed(FailureKind::Unavailable, "no container engine: none of `/nonexistent/engine.sock` is there");
    // A socket behind which nobody is an engine.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mute.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let executor = ContainerExecutor::new(ContainerSettings::new(vec![path], folder.path()));
    let failure = executor.containers(false).await.unwrap_err();
    assert!(failure.kind == FailureKind::Unavailable && failure.message.contains("no answer within"), "{failure:?}");
    executor.shutdown().await;
    world.end().await;
}

async fn a_context_that_leads_out(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("escaping", "", "");
    std::os::unix::fs::symlink("/etc/shadow", subject.plugin.root.join("notes.txt")).unwrap();
    world.call(&subject, "echo", json!({})).await.failed(FailureKind::LoadFailed, "leads out of the build context");
    fs::remove_file(subject.plugin.root.join("notes.txt")).unwrap();
    until("it is built", || async {
        matches!(world.call(&subject, "echo", json!({})).await.outcome, executor_api::ToolOutcome::Completed(_))
    })
    .await;
    world.end().await;
}
