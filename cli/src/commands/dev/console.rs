//! What `pegboard dev` shows: lines for people, one JSON document a line for machines. Everything of the plugin's is cleaned.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use executor_api::{Content, LogLevel, ToolFailure, ToolOutput};
use policy::Plugin;
use serde_json::{Map, Value, json};
use server::{CallOutcome, CallReply, Catalog, Seen};

use crate::{
    clean,
    commands::{check_folder::Severity, standing, validate::Report},
    failure::Failure,
    output::{Output, Tone},
};

/// How much of arguments and results is shown.
const SHOWN: usize = 400;
/// Calls whose numbers are remembered while they run.
const MOST_RUNNING: usize = 1_000;

/// Where it is shown, and what was shown before.
pub(super) struct Console {
    output: Output,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers of the calls that run, by trace.
    running: HashMap<String, usize>,
    calls: usize,
    /// How the plugin stood when it was last told.
    stood: String,
}

impl Console {
    pub(super) fn new(output: Output, folder: &Path) -> Self {
        Self { output, folder: folder.to_owned(), state: Mutex::default() }
    }

    /// One event: the document, or the text.
    fn show(&self, event: &str, mut document: Value, text: impl FnOnce(&Output) -> String) {
        let shown = if self.output.json {
            if let Some(map) = document.as_object_mut() {
                map.insert("event".to_owned(), json!(event));
            }
            self.output.text(&clean::json(&document.to_string()))
        } else {
            self.output.text(&text(&self.output))
        };
        // Whoever read it went away; the server goes on until it is ended.
        drop(shown);
    }

    pub(super) fn listening(&self, address: SocketAddr) {
        let url = format!("http://{address}/mcp");
        self.show("listening", json!({"url": url}), |output| {
            format!("{} on {}; end with Ctrl-C", output.paint(Tone::Good, "serving"), output.paint(Tone::Strong, &url))
        });
    }

    pub(super) fn changed(&self, files: &[String]) {
        self.show("changed", json!({"files": files}), |output| {
            output.paint(Tone::Dim, &format!("changed: {}", clean::line(&files.join(", "))))
        });
    }

    pub(super) fn checked(&self, report: &Report, elapsed: Duration) {
        let mut document = report.document();
        if let Some(map) = document.as_object_mut() {
            map.insert("valid".to_owned(), json!(report.count(Severity::Error) == 0));
            map.insert("elapsed_ms".to_owned(), json!(millis(elapsed)));
        }
        self.show("checked", document, |output| {
            format!("{}{}", report.render(output), output.paint(Tone::Dim, &format!("checked in {} ms\n", millis(elapsed))))
        });
    }

    pub(super) fn failed(&self, failure: &Failure) {
        self.show("failed", json!({"code": failure.code, "message": failure.message}), |output| {
            format!("{}: {}", output.paint(Tone::Bad, "error"), clean::block(&failure.message))
        });
    }

    /// The plugin's code was loaded.
    pub(super) fn loaded(&self, plugin: &Plugin, elapsed: Duration) {
        let name = plugin.manifest.name.as_str();
        self.show("loaded", json!({"plugin": name, "elapsed_ms": millis(elapsed)}), |output| {
            format!("{} {name} in {} ms", output.paint(Tone::Good, "loaded"), millis(elapsed))
        });
    }

    /// The code of a tool, or of the whole plugin, could not be.
    pub(super) fn not_loaded(&self, what: &str, failure: &ToolFailure) {
        let document = json!({"what": what, "kind": failure.kind.as_str(), "message": failure.message, "detail": failure.detail});
        self.show("not_loaded", document, |output| {
            format!("{} {what}: {}", output.paint(Tone::Bad, "not loaded"), told(failure))
        });
    }

    pub(super) fn see(&self, seen: Seen<'_>) {
        match seen {
            Seen::Begins { trace, tool, args } => self.begins(&trace.0, tool, args),
            Seen::Log { trace, level, message } => self.log(&trace.0, level, message),
            Seen::Ends { tool, reply } => self.ends(tool, reply),
            Seen::Catalog(catalog) => self.catalog(catalog),
        }
    }

    fn begins(&self, trace: &str, tool: &str, args: &Map<String, Value>) {
        let number = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.calls += 1;
            let number = state.calls;
            if state.running.len() < MOST_RUNNING {
                state.running.insert(trace.to_owned(), number);
            }
            number
        };
        self.show("call", json!({"call": number, "trace": trace, "tool": tool, "args": args}), |output| {
            format!("{} {} {}", call(output, number), clean::line(tool), cut(&json!(args).to_string()))
        });
    }

    fn number(&self, trace: &str, ended: bool) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = if ended { state.running.remove(trace) } else { state.running.get(trace).copied() };
        found.unwrap_or_default()
    }

    fn log(&self, trace: &str, level: LogLevel, message: &str) {
        let number = self.number(trace, false);
        let (word, tone) = match level {
            LogLevel::Debug => ("debug", Tone::Dim),
            LogLevel::Info => ("info", Tone::Dim),
            LogLevel::Warning => ("warning", Tone::Care),
            LogLevel::Error => ("error", Tone::Bad),
        };
        self.show("log", json!({"call": number, "trace": trace, "level": word, "message": message}), |output| {
            format!("{}   {} {}", call(output, number), output.paint(tone, word), clean::line(message))
        });
    }

    fn ends(&self, tool: &str, reply: &CallReply) {
        let number = self.number(&reply.trace.0, true);
        let outcome = reply.outcome.code().map_or("completed", server::Code::as_str);
        let mut document = json!({
            "call": number, "trace": &*reply.trace.0, "tool": tool, "outcome": outcome, "elapsed_ms": millis(reply.elapsed),
        });
        if let Some(map) = document.as_object_mut() {
            match &reply.outcome {
                CallOutcome::Completed(result) => {
                    map.extend([
                        ("content".to_owned(), json!(result.content)),
                        ("structured".to_owned(), json!(result.structured)),
                    ]);
                }
                CallOutcome::Failed(failure) => {
                    map.extend([("message".to_owned(), json!(failure.message)), ("detail".to_owned(), json!(failure.detail))]);
                }
                other => drop(map.insert("message".to_owned(), json!(other.to_string()))),
            }
        }
        self.show("ended", document, |output| {
            let took = output.paint(Tone::Dim, &format!("{} ms", millis(reply.elapsed)));
            match &reply.outcome {
                CallOutcome::Completed(result) => {
                    format!("{}   {} {took} {}", call(output, number), output.paint(Tone::Good, "ok"), cut(&brief(result)))
                }
                CallOutcome::Failed(failure) => {
                    format!("{}   {} {took} {}", call(output, number), output.paint(Tone::Bad, "failed"), told(failure))
                }
                other => {
                    let text = clean::block(&other.to_string()).into_owned();
                    format!("{}   {} {took} {text}", call(output, number), output.paint(Tone::Bad, "refused"))
                }
            }
        });
    }

    /// Tells how the plugin stands, when that is news.
    fn catalog(&self, catalog: &Catalog) {
        if let Some(broken) = catalog.broken.iter().find(|broken| broken.root == self.folder) {
            // What is wrong was shown when it was checked; this is what clients see of it.
            if self.is_news(&format!("broken {}", broken.diagnostics)) {
                self.show("live", json!({"state": "broken", "tools": []}), |output| {
                    format!("{}: clients see no tool of it until it is valid", output.paint(Tone::Care, "not served"))
                });
            }
            return;
        }
        let Some(entry) = catalog.plugins.iter().find(|entry| entry.plugin.root == self.folder) else { return };
        let (state, tone) = standing::state(entry);
        let tools: Vec<&str> = entry.tools.iter().map(|tool| tool.name.as_str()).collect();
        let reasons = standing::reasons(entry);
        let words: Vec<&str> = reasons.iter().map(|reason| reason.message.as_str()).collect();
        if !self.is_news(&format!("{state} {tools:?} {words:?} {}", entry.plugin.content.short())) {
            return;
        }
        let documents: Vec<Value> = reasons.iter().map(standing::Reason::document).collect();
        self.show("live", json!({"state": state, "plugin": entry.name(), "tools": tools, "reasons": documents}), |output| {
            // A failure to load was shown with its traceback.
            let why = if state == "failing" { String::new() } else { standing::render(output, &reasons) };
            format!("{} {}\n{why}", output.paint(tone, state), tools.join(", "))
        });
    }

    fn is_news(&self, stands: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stood == stands {
            return false;
        }
        stands.clone_into(&mut state.stood);
        true
    }
}

fn call(output: &Output, number: usize) -> String {
    output.paint(Tone::Strong, &format!("#{number}"))
}

/// A result in a line.
fn brief(result: &ToolOutput) -> String {
    if let Some(structured) = &result.structured {
        return structured.to_string();
    }
    let block = |content: &Content| match content {
        Content::Text { text } => text.clone(),
        Content::Image { mime, .. } | Content::Audio { mime, .. } => format!("[{mime}]"),
        Content::Resource { uri, .. } | Content::ResourceLink { uri, .. } => format!("[{uri}]"),
    };
    result.content.iter().map(block).collect::<Vec<_>>().join(" ")
}

/// A failure with its traceback.
fn told(failure: &ToolFailure) -> String {
    let detail = failure.detail.as_deref().map(|detail| format!("\n{}", clean::block(detail.trim_end()))).unwrap_or_default();
    format!("{}{detail}", clean::block(&failure.message))
}

fn cut(text: &str) -> String {
    let text = clean::line(text);
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

/// Milliseconds with a digit or two that say something.
fn millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 100_000.0).round() / 100.0
}
