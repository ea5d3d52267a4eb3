//! The life of a plugin's processes: time limits, cancellation, isolation, back-off, and what the caller hears meanwhile.

use std::time::Duration;

use executor_api::{Executor, FailureKind, Frame};
use libtest_mimic::Trial;
use policy::Level;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{Subject, World},
};

pub(crate) fn trials(level: Level) -> Vec<Trial> {
    vec![
        trial(level, "endless_calls_are_ended_in_time", endless_calls_are_ended_in_time),
        trial(level, "a_cancelled_call_is_killed_at_once", a_cancelled_call_is_killed_at_once),
        trial(level, "sessions_keep_state_and_callers_apart", sessions_keep_state_and_callers_apart),
        trial(level, "a_worker_keeps_its_state_until_it_dies", a_worker_keeps_its_state_until_it_dies),
        trial(level, "progress_and_log_arrive_in_order", progress_and_log_arrive_in_order),
        trial(level, "secrets_and_configuration_come_with_the_call", secrets_and_configuration_come_with_the_call),
        trial(level, "initialize_runs_once", initialize_runs_once),
        trial(level, "many_calls_at_once_all_end", many_calls_at_once_all_end),
        trial(level, "a_call_longer_than_the_idle_time_is_not_idle", a_call_longer_than_the_idle_time_is_not_idle),
        trial(level, "nothing_is_left_when_the_host_stops", nothing_is_left_when_the_host_stops),
        trial(level, "without_the_worker_module_each_call_has_its_process", without_the_worker_module_each_call_has_its_process),
    ]
}

async fn endless_calls_are_ended_in_time(level: Level) {
    let world = World::at(level);
    let text = include_str!("../plugins/attacker/plugin.yaml").replace("max_execution_time: 5", "max_execution_time: 1");
    let subject = world.plugin(&[("plugin.yaml", &text), ("main.py", include_str!("../plugins/attacker/main.py"))]);
    assert_eq!(world.act(&subject, "sleep", "0.1").await.did(), "slept");
    for act in ["loop", "sleep", "ignore_signals", "stop_self"] {
        let came = world.act(&subject, act, "").await;
        assert_eq!(came.failure().kind, FailureKind::TimedOut, "{act}: {}", came.failure());
        assert!(came.took < Duration::from_secs(4), "{act} took {:?}", came.took);
        assert_eq!(world.act(&subject, "count", "").await.did(), 1, "after {act}");
    }
    world.executor.shutdown().await;
}

async fn a_call_longer_than_the_idle_time_is_not_idle(level: Level) {
    let world = World::with(level, |settings| settings.idle = Duration::from_millis(150));
    let subject = world.attacker();
    assert_eq!(world.act(&subject, "sleep", "1.0").await.did(), "slept");
    // The control: without a call the processes end by themselves.
    let rested = async {
        while world.state(&subject).state != "idle" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), rested).await.expect("idle processes end");
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    world.executor.shutdown().await;
}

async fn a_cancelled_call_is_killed_at_once(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    let cancel = CancellationToken::new();
    let canceller = cancel.clone();
    let call = world.call_as(&subject, "act", json!({"act": "ignore_signals"}), None, cancel);
    let stop = async move {
        tokio::task::yield_now().await;
        canceller.cancel();
    };
    let (came, ()) = tokio::join!(call, stop);
    assert_eq!(came.failure().kind, FailureKind::Cancelled, "{}", came.failure());
    assert!(came.took < Duration::from_secs(2), "{:?}", came.took);
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    world.executor.shutdown().await;
}

fn counter(world: &World, isolation: &str) -> Subject {
    let text = include_str!("../plugins/attacker/plugin.yaml")
        .replace("name: attacker", &format!("name: counter\nisolation: {isolation}"));
    world.plugin(&[("plugin.yaml", &text), ("main.py", include_str!("../plugins/attacker/main.py"))])
}

async fn sessions_keep_state_and_callers_apart(level: Level) {
    let world = World::at(level);
    let subject = counter(&world, "session");
    let count = async |session: Option<&str>| {
        world.call_as(&subject, "act", json!({"act": "count"}), session, CancellationToken::new()).await.did()
    };
    assert_eq!(count(Some("a")).await, 1);
    assert_eq!(count(Some("a")).await, 2);
    assert_eq!(count(Some("b")).await, 1);
    assert_eq!(count(None).await, 1);
    assert_eq!(count(None).await, 1);
    world.executor.end_session(&policy::SessionId("a".into())).await;
    assert_eq!(count(Some("a")).await, 1);
    assert_eq!(count(Some("b")).await, 2);
    world.executor.shutdown().await;
}

async fn a_worker_keeps_its_state_until_it_dies(level: Level) {
    let world = World::at(level);
    let subject = counter(&world, "worker");
    for expected in 1..=5 {
        assert_eq!(world.act(&subject, "count", "").await.did(), expected);
    }
    assert_eq!(world.act(&subject, "exit_hard", "").await.failure().kind, FailureKind::Crashed);
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    world.executor.shutdown().await;
}

const REPORTING: &str = "
import logging
class Tool:
    def _run(self, steps, context=None):
        for step in range(steps):
            context['progress'](step + 1, steps, f'step {step + 1}')
            context['progress'](step + 1, steps, 'again')
            logging.getLogger('reporting').warning('at %d', step + 1)
        return steps
";

async fn progress_and_log_arrive_in_order(level: Level) {
    let world = World::at(level);
    let subject = world.plugin(&[("plugin.yaml", &one_tool("reporting", "Tool", "")), ("main.py", REPORTING)]);
    let came = world.call(&subject, "tool", json!({"steps": 3})).await;
    assert_eq!(came.value(), 3);
    let progress: Vec<f64> = came
        .frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Progress { progress, .. } => Some(*progress),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [1.0, 2.0, 3.0]);
    for step in 1..=3 {
        assert!(came.log().contains(&format!("at {step}")), "{}", came.log());
    }
    world.executor.shutdown().await;
}

fn one_tool(name: &str, class: &str, more: &str) -> String {
    format!(
        "name: {name}\nversion: 0.1.0\ndescription: A plugin of the tests\n{more}\nmcps:\n  - name: tool\n    description: Does it\n    class_name: {class}\n    args_schema: {{type: object, properties: {{steps: {{type: integer}}}}}}\n"
    )
}

const LIFECYCLE: &str = "
import os
class Tool:
    def __init__(self):
        self.pid = None
        self.started = 0
    def initialize(self, config, context):
        self.pid = os.getpid()
        self.started += 1
        self.config = dict(config)
    def execute(self, input, context=None):
        return {'same_process': self.pid == os.getpid(), 'started': self.started, 'config': self.config, 'now': context['config'], 'secrets': context['secrets'], 'environment': [v for v in os.environ.values()]}
    def cleanup(self): pass
    def get_status(self): return {}
    def handle_event(self, event): pass
";

async fn secrets_and_configuration_come_with_the_call(level: Level) {
    let world = World::at(level);
    let more = "secrets: [{name: API_KEY}]\nconfig_schema: {type: object}";
    let subject = world.plugin(&[("plugin.yaml", &one_tool("lifecycle", "Tool", more)), ("main.py", LIFECYCLE)]);
    let subject = subject.secret("API_KEY", "s3cr3t-value").config(json!({"unit": "metric"}));
    let value = world.call(&subject, "tool", json!({})).await.value();
    assert_eq!(value["secrets"], json!({"API_KEY": "s3cr3t-value"}));
    assert_eq!(value["now"], json!({"unit": "metric"}));
    assert!(!value["environment"].to_string().contains("s3cr3t"), "the environment holds a secret");
    world.executor.shutdown().await;
}

async fn initialize_runs_once(level: Level) {
    let world = World::at(level);
    let subject =
        world.plugin(&[("plugin.yaml", &one_tool("lifecycle", "Tool", "config_schema: {type: object}")), ("main.py", LIFECYCLE)]);
    let subject = subject.config(json!({"unit": "metric"}));
    for _ in 0..2 {
        let value = world.call(&subject, "tool", json!({})).await.value();
        assert_eq!((&value["started"], &value["same_process"]), (&json!(1), &json!(false)), "initialize belongs to the zygote");
        assert_eq!(value["config"], json!({"unit": "metric"}));
    }
    world.executor.shutdown().await;
}

async fn many_calls_at_once_all_end(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let calls = (0..64).map(|number| {
        let (world, subject) = (&world, &subject);
        async move {
            match number % 4 {
                0 => assert_eq!(world.act(subject, "exit_hard", "").await.failure().kind, FailureKind::Crashed),
                _ => assert_eq!(world.act(subject, "count", "").await.did(), 1),
            }
        }
    });
    futures::future::join_all(calls).await;
    assert_eq!(world.state(&subject).starts, 1);
    world.executor.shutdown().await;
}

async fn nothing_is_left_when_the_host_stops(level: Level) {
    let world = World::at(level);
    let subject = counter(&world, "worker");
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    let marker = subject.plugin.root.parent().unwrap().join("cache").to_str().unwrap().to_owned();
    assert!(processes_with(&marker) > 0, "the control: there are processes while it runs");
    world.executor.shutdown().await;
    let gone = async {
        while processes_with(&marker) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("no process is left");
}

/// Processes whose command line names this world's cache: its zygotes and their children.
fn processes_with(marker: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
}

async fn without_the_worker_module_each_call_has_its_process(level: Level) {
    let world = World::at(level);
    let threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nCOUNT = 0\nclass Tool:\n    def _run(self, steps=0):\n        global COUNT\n        COUNT += 1\n        return COUNT\n";
    let subject = world.plugin(&[("plugin.yaml", &one_tool("threads", "Tool", "")), ("main.py", threads)]);
    for _ in 0..3 {
        assert_eq!(world.call(&subject, "tool", json!({})).await.value(), 1);
    }
    let road = world.state(&subject).road;
    assert!(road.starts_with("spawn: its imports start 1 thread"), "{road}");
    world.executor.shutdown().await;
}
