//! What the containers say of themselves at `/metrics`, and what the engine says of them, in Prometheus' words and with the plugin's label.
//!
//! A plugin's text is untrusted: bounded, only lines that parse, names under a prefix of ours, its own `plugin` label dropped.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use bollard::query_parameters::StatsOptions;
use futures::{StreamExt as _, future::join_all};
use hyper::Method;
use serde_json::Value;

use crate::{engine::Connected, replica::Replica, supervisor::Supervisor};

/// Bytes of one plugin's text, and lines of it.
const TEXT: usize = 256 << 10;
const LINES: usize = 2000;
/// How long a plugin, or the engine, may take.
const LIMIT: Duration = Duration::from_millis(1500);

/// CPU and memory of a container.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Usage {
    /// CPU time since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// What it may use.
    pub memory_limit: u64,
    /// Processes and threads.
    pub processes: u64,
}

/// The text for `/metrics` of all that runs.
pub(crate) async fn scrape(supervisors: Vec<Arc<Supervisor>>) -> String {
    let each = supervisors.iter().flat_map(|supervisor| {
        let name = supervisor.plugin.manifest.name.as_str();
        supervisor.replicas().into_iter().map(move |replica| one(supervisor, name, replica))
    });
    join_all(each).await.concat()
}

async fn one(supervisor: &Supervisor, plugin: &str, replica: Arc<Replica>) -> String {
    let asked = async {
        let answer = replica.ask(&Method::GET, "/metrics", None, TEXT).await.ok()?;
        answer.status.is_success().then(|| String::from_utf8_lossy(&answer.body).into_owned())
    };
    let connected = supervisor.parts.engine.get().await.ok();
    let used = async {
        match connected.as_ref() {
            Some(connected) => usage(connected, &replica.id).await,
            None => None,
        }
    };
    let (said, used) = tokio::join!(tokio::time::timeout(LIMIT, asked), tokio::time::timeout(LIMIT, used));
    let labels = format!("plugin=\"{plugin}\",replica=\"{}\"", replica.number);
    let mut text = said.ok().flatten().map(|said| relabel(&said, &labels)).unwrap_or_default();
    if let Some(used) = used.ok().flatten() {
        #[expect(clippy::cast_precision_loss, reason = "a metric is floating point")]
        let seconds = used.cpu_ns as f64 / 1e9;
        for (name, value) in [
            ("pegboard_container_cpu_seconds_total", seconds.to_string()),
            ("pegboard_container_memory_bytes", used.memory.to_string()),
            ("pegboard_container_memory_limit_bytes", used.memory_limit.to_string()),
            ("pegboard_container_processes", used.processes.to_string()),
        ] {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
    text
}

/// What the engine says that a container uses.
pub(crate) async fn usage(connected: &Connected, id: &str) -> Option<Usage> {
    let options = StatsOptions { stream: false, one_shot: true };
    let found = connected.docker.stats(id, Some(options)).next().await?.ok()?;
    let memory = found.memory_stats.unwrap_or_default();
    // As the command lines of the engines count: what can be dropped at once is not in use.
    let cached = memory.stats.as_ref().and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")));
    Some(Usage {
        cpu_ns: found.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage).unwrap_or_default(),
        memory: memory.usage.unwrap_or_default().saturating_sub(cached.copied().unwrap_or_default()),
        memory_limit: memory.limit.unwrap_or_default(),
        processes: found.pids_stats.and_then(|pids| pids.current).unwrap_or_default(),
    })
}

/// Prometheus text or a flat JSON object, under our prefix and labels.
fn relabel(said: &str, labels: &str) -> String {
    let mut text = String::new();
    if let Ok(Value::Object(map)) = serde_json::from_str::<Value>(said) {
        for (name, value) in map.iter().take(LINES) {
            if let (true, Some(number)) = (is_name(name), value.as_f64()) {
                let _ = writeln!(text, "pegboard_plugin_{name}{{{labels}}} {number}");
            }
        }
        return text;
    }
    for line in said.lines().take(LINES).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, own, value)) = parse(line) else { continue };
        let comma = if own.is_empty() { "" } else { "," };
        let _ = writeln!(text, "pegboard_plugin_{name}{{{labels}{comma}{own}}} {value}");
    }
    text
}

/// Name, labels without ours, value. A line of any other form is dropped.
fn parse(line: &str) -> Option<(&str, String, f64)> {
    let (name, own, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (own, rest) = rest.rsplit_once('}')?;
            (name, labels(own)?, rest)
        }
        None => {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            (name, String::new(), rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse::<f64>().ok()?;
    is_name(name.trim()).then(|| (name.trim(), own, value))
}

/// `a="b",c="d"` without what would pass for a label of ours; `None` for anything else.
fn labels(text: &str) -> Option<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = text.trim().trim_end_matches(',');
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let mut end = None;
        let mut escaped = false;
        for (at, character) in after.char_indices() {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    end = Some(at);
                    break;
                }
                _ => escaped = false,
            }
        }
        let end = end?;
        let value = after.get(..end)?;
        let name = name.trim();
        if !is_name(name) || name.contains(':') {
            return None;
        }
        if name != "plugin" && name != "replica" {
            kept.push(format!("{name}=\"{value}\""));
        }
        rest = after.get(end + 1..)?.trim_start().trim_start_matches(',').trim_start();
    }
    Some(kept.join(","))
}

fn is_name(name: &str) -> bool {
    name.len() <= 120
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_get_the_plugins_label_and_lose_a_false_one() {
        let said = "# HELP x y\nrequests_total{method=\"get\",plugin=\"other\"} 3\nup 1 1700000000\nbad{ 3\nevil\"} 1\nq{a=\"x\\\"},b\"} 2\n";
        assert_eq!(
            relabel(said, "plugin=\"p\""),
            "pegboard_plugin_requests_total{plugin=\"p\",method=\"get\"} 3\npegboard_plugin_up{plugin=\"p\"} 1\npegboard_plugin_q{plugin=\"p\",a=\"x\\\"},b\"} 2\n"
        );
    }

    #[test]
    fn json_is_read_too() {
        assert_eq!(
            relabel(r#"{"calls": 4, "bad name": 1, "words": "x"}"#, "plugin=\"p\""),
            "pegboard_plugin_calls{plugin=\"p\"} 4\n"
        );
        assert_eq!(relabel("<html>\n<b>1</b>", "plugin=\"p\""), "");
    }
}
