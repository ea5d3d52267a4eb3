//! The whole life of a container plugin: built once, started at first use, warm, more under load, none when idle, none left behind.

use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use executor_api::{Executor as _, FailureKind, Frame};
use futures::future::join_all;
use libtest_mimic::Trial;
use manifest_schema::Permission;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{Site, World, until},
};

pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    vec![
        trial(site, "whole_life", whole_life),
        trial(site, "first_calls_build_and_start_once", first_calls_build_and_start_once),
        trial(site, "a_change_is_built_and_no_change_is_not", a_change_is_built_and_no_change_is_not),
        trial(site, "scales_under_load_and_back", scales_under_load_and_back),
        trial(site, "ends_when_idle", ends_when_idle),
        trial(site, "tcp_without_a_network", tcp_without_a_network),
        trial(site, "a_port_is_published_with_a_network_alone", a_port_is_published_with_a_network_alone),
        trial(site, "two_hosts_on_one_engine", two_hosts_on_one_engine),
        trial(site, "what_a_home_that_is_gone_left_is_cleared_by_word", what_a_home_that_is_gone_left_is_cleared_by_word),
        trial(site, "metrics_bear_the_plugins_label", metrics_bear_the_plugins_label),
        trial(site, "cancelled", cancelled),
    ]
}

/// A file like no other, so that nobody has built the image before.
fn mark(subject: &crate::world::Subject) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    fs::write(subject.plugin.root.join("mark"), format!("{} {now:?}", std::process::id())).unwrap();
}

async fn whole_life(site: Site) {
    let world = World::new(site);
    let subject =
        world.plugin("life", "  environment: {COLOUR: green}\n", "secrets: [{name: KEY, description: A key, required: true}]\n");
    let subject = subject.secret("KEY", "s3cr3t-value");
    mark(&subject);
    let came = world.call(&subject, "echo", json!({"text": "hi", "n": [1, 2]})).await;
    let said = came.value();
    assert_eq!(said["inputs"], json!({"text": "hi", "n": [1, 2]}));
    assert_eq!(
        said["context"],
        json!({"trace_id": "trace-1", "plugin_id": "life", "version": "1.0.0", "tool": "echo", "secrets": {"KEY": "s3cr3t-value"}})
    );
    assert!(
        came.frames.iter().any(|frame| matches!(frame, Frame::Progress { message: Some(text), .. } if text.contains("uilding"))),
        "{:?}",
        came.frames
    );
    let state = world.state(&subject);
    assert_eq!((state.state, state.ready, state.starts, state.road.as_str()), ("warm", 1, 1, "container (socket)"));
    // The secret is in the call and nowhere in the container's environment; the declared variable is.
    let found = world.python(&subject, "import os\nresult = sorted(f'{k}={v}' for k, v in os.environ.items())").await["result"]
        .to_string();
    assert!(!found.contains("s3cr3t") && found.contains("COLOUR=green"), "{found}");
    let container = world.on_engine("life").await.remove(0);
    let inspected = world
        .site
        .docker()
        .inspect_container(&container.id.unwrap(), None::<bollard::query_parameters::InspectContainerOptions>)
        .await
        .unwrap();
    assert!(!format!("{inspected:?}").contains("s3cr3t"));
    // Warm: the same process answers.
    assert_eq!(world.call(&subject, "echo", json!({})).await.value()["calls"], json!(3));
    world.executor.retire("life").await;
    assert!(world.on_engine("life").await.is_empty());
    // And again, from the same image.
    assert_eq!(world.call(&subject, "echo", json!({})).await.value()["calls"], json!(1));
    let folder = Arc::clone(&world.folder);
    world.executor.shutdown().await;
    assert!(world.on_engine("life").await.is_empty());
    world.executor.prune(&[], false).await.unwrap();
    drop(world);
    let left: Vec<_> = fs::read_dir(folder.path().join("containers")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn first_calls_build_and_start_once(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("crowd", "  environment: {ROUND: \"1\"}\n", "");
    let calls = (0..8).map(|n| world.call(&subject, "echo", json!({ "n": n })));
    for (n, came) in join_all(calls).await.iter().enumerate() {
        assert_eq!(came.value()["inputs"]["n"], json!(n));
    }
    assert_eq!(world.state(&subject).starts, 1);
    assert_eq!(world.on_engine("crowd").await.len(), 1);
    world.end().await;
}

async fn a_change_is_built_and_no_change_is_not(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("built", "", "");
    let lines = |came: &crate::world::Came| came.frames.iter().filter(|frame| matches!(frame, Frame::Progress { .. })).count();
    mark(&subject);
    assert!(lines(&world.call(&subject, "echo", json!({})).await) > 0);
    world.executor.retire("built").await;
    assert_eq!(lines(&world.call(&subject, "echo", json!({})).await), 0);
    world.executor.retire("built").await;
    mark(&subject);
    assert!(lines(&world.call(&subject, "echo", json!({})).await) > 0);
    let pruned = world.executor.prune(std::slice::from_ref(&subject.plugin), false).await.unwrap();
    assert_eq!(pruned.images, 1, "the one that is not built of these files any more");
    world.executor.retire("built").await;
    assert_eq!(world.executor.prune(&[], false).await.unwrap().images, 1, "and the other one");
    world.end().await;
}

async fn scales_under_load_and_back(site: Site) {
    let world =
        World::with(site, |settings| (settings.idle, settings.sweep) = (Duration::from_secs(600), Duration::from_secs(3)));
    let subject = world.plugin("herd", "  scale: {min: 0, max: 3}\n", "resource_limits: {max_concurrent_requests: 3}\n");
    world.call(&subject, "echo", json!({})).await.value();
    assert_eq!(world.state(&subject).ready, 1, "one call needs one");
    let mut hosts = HashSet::new();
    for _ in 0..40 {
        if hosts.len() == 3 {
            break;
        }
        let calls = (0..6).map(|_| world.call(&subject, "sleep", json!({"seconds": 0.4})));
        hosts.extend(join_all(calls).await.iter().map(|came| came.value()["host"].to_string()));
    }
    assert_eq!(world.state(&subject).ready, 3, "as many as there may be");
    assert_eq!(hosts.len(), 3, "all of them served");
    let calls = (0..3).map(|_| world.call(&subject, "sleep", json!({"seconds": 0.5})));
    let spread: HashSet<String> = join_all(calls).await.iter().map(|came| came.value()["host"].to_string()).collect();
    assert_eq!(spread.len(), 3, "the least loaded one serves");
    until("it lets two go", || async { world.state(&subject).ready == 1 && world.on_engine("herd").await.len() == 1 }).await;
    let came = world.call(&subject, "echo", json!({})).await.value();
    assert!(came["calls"].as_u64().unwrap() > 1, "the one that is left goes on: {came}");
    world.end().await;
}

async fn ends_when_idle(site: Site) {
    let world = World::with(site, |settings| settings.idle = Duration::from_millis(400));
    let (idle, kept) = (world.plugin("sleepy", "", ""), world.plugin("awake", "  scale: {min: 1, max: 1}\n", ""));
    world.call(&kept, "echo", json!({})).await.value();
    world.call(&idle, "echo", json!({})).await.value();
    until("it ends", || async { world.on_engine("sleepy").await.is_empty() }).await;
    assert_eq!(world.on_engine("awake").await.len(), 1, "`min: 1` is kept");
    assert_eq!(world.call(&idle, "echo", json!({})).await.value()["calls"], json!(1), "and starts again");
    world.end().await;
}

async fn tcp_without_a_network(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("plain", "  environment: {MODE: tcp}\n  ports: [{container: 9090}]\n", "");
    world.call(&subject, "echo", json!({})).await.value();
    assert_eq!(world.state(&subject).road, "container (loopback)");
    let seen = world.python(&subject, "import os\nresult = sorted(os.listdir('/sys/class/net'))").await;
    assert_eq!(seen["result"], json!(["lo"]), "it was reached and has no network");
    world.end().await;
}

/// Whether something speaks the contract at a port of this machine's loopback.
fn answers_at(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: plugin\r\n\r\n")?;
        let mut answer = [0; 512];
        let count = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    };
    ask().is_ok_and(|answer| answer.contains("healthy"))
}

async fn a_port_is_published_with_a_network_alone(site: Site) {
    let world = World::new(site);
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (denied_port, granted_port) = (free(), free());
    let container = |port: u16| format!("  environment: {{MODE: tcp}}\n  ports: [{{container: 9090, host: {port}}}]\n");
    let denied = world.plugin("unpublished", &container(denied_port), "");
    world.call(&denied, "echo", json!({})).await.value();
    assert!(!answers_at(denied_port), "a port without the grant");
    let granted = world.plugin("published", &container(granted_port), "permissions: [network_access]\n");
    world.call(&granted.grant(Permission::NetworkAccess, None), "echo", json!({})).await.value();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(answers_at(granted_port)));
    assert!(receiver.await.unwrap(), "it is published with the grant");
    world.end().await;
}

async fn two_hosts_on_one_engine(site: Site) {
    let one = World::new(site.clone());
    let two = World::beside(site.clone(), Arc::clone(&one.folder), |_| {});
    let elsewhere = World::new(site);
    let subject = one.plugin("shared", "", "");
    let theirs = elsewhere.plugin("shared", "", "");
    let (a, b, c) = tokio::join!(
        one.call(&subject, "echo", json!({})),
        two.call(&subject, "echo", json!({})),
        elsewhere.call(&theirs, "echo", json!({}))
    );
    let hosts: HashSet<String> = [a, b, c].iter().map(|came| came.value()["host"].to_string()).collect();
    assert_eq!(hosts.len(), 3);
    // A host that ends, and one that prunes, leave the others' alone.
    one.executor.shutdown().await;
    assert_eq!(two.executor.prune(&[], false).await.unwrap().containers, 0);
    for (world, subject) in [(&two, &subject), (&elsewhere, &theirs)] {
        assert_eq!(world.call(subject, "echo", json!({})).await.value()["calls"], json!(2));
    }
    assert_eq!(two.executor.containers(false).await.unwrap().len(), 1);
    // Nor does one that asks for all homes, as long as they live.
    two.executor.prune(&[], true).await.unwrap();
    assert_eq!(elsewhere.call(&theirs, "echo", json!({})).await.value()["calls"], json!(3));
    two.end().await;
    elsewhere.end().await;
}

async fn what_a_home_that_is_gone_left_is_cleared_by_word(site: Site) {
    let gone = World::new(site.clone());
    let subject = gone.plugin("homeless", "  volumes: [{name: cache, path: /cache}]\n", "");
    gone.call(&subject, "echo", json!({})).await.value();
    // As when the host was killed and its home deleted: nobody holds the lock, and nobody can look it up.
    fs::remove_dir_all(gone.folder.path().join("containers")).unwrap();
    let World { site, executor, .. } = gone;
    let elsewhere = World::new(site);
    assert_eq!(elsewhere.executor.prune(&[], false).await.unwrap().containers, 0);
    assert_eq!(elsewhere.on_engine("homeless").await.len(), 1, "another home's is left alone");
    let pruned = elsewhere.executor.prune(&[], true).await.unwrap();
    assert!(pruned.containers >= 1 && pruned.volumes >= 1, "{pruned:?}");
    assert!(elsewhere.on_engine("homeless").await.is_empty());
    executor.shutdown().await;
    elsewhere.end().await;
}

async fn metrics_bear_the_plugins_label(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("counted", "", "");
    world.call(&subject, "echo", json!({})).await.value();
    let text = world.executor.metrics().await;
    assert!(text.contains("pegboard_plugin_calls{plugin=\"counted\",replica=\"0\"} 1\n"), "{text}");
    assert!(!text.contains("forged"));
    let memory =
        text.lines().find_map(|line| line.strip_prefix("pegboard_container_memory_bytes{plugin=\"counted\",replica=\"0\"} "));
    assert!(memory.unwrap().parse::<u64>().unwrap() > 1 << 20, "{text}");
    world.end().await;
}

async fn cancelled(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("patient", "", "");
    world.call(&subject, "echo", json!({})).await.value();
    let cancel = CancellationToken::new();
    let waiting = world.call_within(&subject, "never", json!({}), crate::world::PATIENCE, cancel.clone());
    let (came, ()) = tokio::join!(waiting, async { cancel.cancel() });
    came.failed(FailureKind::Cancelled, "cancelled");
    let came = world.call_within(&subject, "never", json!({}), Duration::from_millis(300), CancellationToken::new()).await;
    came.failed(FailureKind::TimedOut, "longer than");
    let calls = world.call(&subject, "echo", json!({})).await.value()["calls"].as_u64().unwrap();
    // The one that was cancelled at once may not have left at all.
    assert!((3..=4).contains(&calls), "the container goes on: {calls}");
    world.end().await;
}
