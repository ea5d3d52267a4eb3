//! What `/metrics` shows. Each host has its own recorder, so that two of them in one process do not add up.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::StartError;

/// Upper edges of the latency buckets, in seconds.
const LATENCY: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// What the host looks like at the moment it is asked.
pub(crate) struct Levels<'a> {
    pub(crate) generation: u64,
    pub(crate) served: usize,
    pub(crate) withheld: usize,
    pub(crate) broken: usize,
    pub(crate) tools: usize,
    pub(crate) running: usize,
    pub(crate) queues: Vec<(&'a str, usize)>,
    pub(crate) states: &'a [executor_api::PluginState],
    pub(crate) index_mode: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, StartError> {
        let builder = PrometheusBuilder::new().set_buckets(LATENCY).map_err(|error| StartError::Setting {
            setting: "metrics buckets",
            expected: "ascending numbers",
            found: error.to_string(),
        })?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder, handle };
        with_local_recorder(&metrics.recorder, describe);
        Ok(metrics)
    }

    pub(crate) fn call(&self, tool: &str, outcome: &'static str, elapsed: Duration) {
        with_local_recorder(&self.recorder, || {
            counter!("pegboard_calls_total", "tool" => tool.to_owned(), "outcome" => outcome).increment(1);
            histogram!("pegboard_call_seconds", "tool" => tool.to_owned()).record(elapsed);
        });
    }

    pub(crate) fn search(&self, elapsed: Duration) {
        with_local_recorder(&self.recorder, || histogram!("pegboard_search_seconds").record(elapsed));
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        with_local_recorder(&self.recorder, || counter!("pegboard_http_refused_total", "reason" => reason).increment(1));
    }

    /// The text of `/metrics`.
    pub(crate) fn render(&self, levels: &Levels<'_>) -> String {
        with_local_recorder(&self.recorder, || set(levels));
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn describe() {
    describe_counter!("pegboard_calls_total", "Calls by tool and outcome.");
    describe_histogram!("pegboard_call_seconds", Unit::Seconds, "From the arrival of a call to its end.");
    describe_histogram!("pegboard_search_seconds", Unit::Seconds, "From the arrival of a search to its end.");
    describe_counter!("pegboard_http_refused_total", "HTTP requests refused before their body was read, by reason.");
    describe_gauge!("pegboard_catalog_generation", "Counts the catalogs since the start.");
    describe_gauge!("pegboard_plugins", "Plugins of the catalog by state.");
    describe_gauge!("pegboard_tools", "Tools served.");
    describe_gauge!("pegboard_calls_running", "Calls that run or wait now.");
    describe_gauge!("pegboard_calls_waiting", "Calls that wait for a plugin, by plugin.");
    describe_gauge!("pegboard_executor_processes", "Processes alive, by plugin.");
    describe_gauge!("pegboard_executor_ready", "Children ready for a call, by plugin.");
    describe_gauge!("pegboard_executor_starts", "Starts since the host began, by plugin.");
    describe_gauge!("pegboard_executor_state", "1 for the state a plugin is in.");
    describe_gauge!("pegboard_index_mode", "1 for the mode the search index works in.");
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; the counts are far below 2^52")]
fn set(levels: &Levels<'_>) {
    gauge!("pegboard_catalog_generation").set(levels.generation as f64);
    for (state, count) in [("served", levels.served), ("withheld", levels.withheld), ("broken", levels.broken)] {
        gauge!("pegboard_plugins", "state" => state).set(count as f64);
    }
    gauge!("pegboard_tools").set(levels.tools as f64);
    gauge!("pegboard_calls_running").set(levels.running as f64);
    for (plugin, waiting) in &levels.queues {
        gauge!("pegboard_calls_waiting", "plugin" => (*plugin).to_owned()).set(*waiting as f64);
    }
    for state in levels.states {
        let plugin = || state.plugin.clone();
        gauge!("pegboard_executor_processes", "plugin" => plugin()).set(state.processes as f64);
        gauge!("pegboard_executor_ready", "plugin" => plugin()).set(state.ready as f64);
        gauge!("pegboard_executor_starts", "plugin" => plugin()).set(state.starts as f64);
        for word in ["idle", "preparing", "warm", "backing_off", "broken"] {
            gauge!("pegboard_executor_state", "plugin" => plugin(), "state" => word)
                .set(f64::from(u8::from(state.state == word)));
        }
    }
    for mode in ["building", "lexical", "hybrid"] {
        gauge!("pegboard_index_mode", "mode" => mode).set(f64::from(u8::from(levels.index_mode == mode)));
    }
}
