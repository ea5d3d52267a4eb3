//! `pegboard call`: one call of one tool, by the same pipeline that serves clients.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use executor_api::{Content, FailureKind, ToolOutput};
use manifest_schema::ServedName;
use policy::{Denial, Missing, Plugin};
use serde_json::{Map, Value, json};
use server::{CallOutcome, CallReply, CallRequest, Catalog, Host, SearchRequest};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{host, progress::Progress, shelf};
use crate::{
    args::Shelf,
    clean,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    output::Output,
    settings::Settings,
    typed,
};

/// The largest `--args` document, in bytes; what a server takes over HTTP.
const MAX_ARGS_BYTES: u64 = 4 << 20;
/// Between two looks at a plugin that is being made ready.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a plugin may take to be made ready, packages included.
const PREPARATION: Duration = Duration::from_secs(900);

/// Call a tool
///
/// Runs it in the sandbox exactly as a client's call would run. Text goes to standard output, progress and the tool's log to standard error.
/// Exit code 1 when the tool failed, 2 when the arguments do not fit, 4 when a key is missing, 5 when there is no such tool.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard call text_statistics --arg text='two words'\n  \
                             pegboard call text_analysis__text_statistics --args '{\"text\": \"two words\"}' --json\n  \
                             pegboard call table_query --args @request.json\n  \
                             echo '{\"text\": \"two words\"}' | pegboard call text_statistics --args -")]
pub(crate) struct Call {
    /// Name of the tool: plugin__tool, or the tool's own name where only one plugin has it
    tool: String,
    /// One argument, typed by the tool's schema; repeatable
    #[arg(long = "arg", value_name = "KEY=VALUE", conflicts_with = "args")]
    one: Vec<String>,
    /// All arguments as a JSON object: the text itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    args: Option<String>,
    /// What you wanted, in your own words
    ///
    /// Where `pegboard learn on` was said and a search for these words offers the tool, a call that succeeds teaches the search.
    #[arg(long = "for", value_name = "WORDS")]
    wanted: Option<String>,
    #[command(flatten)]
    shelf: Shelf,
}

impl Call {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let document = self.args.as_deref().map(read_document).transpose()?;
        let mut told = host::settings(settings, &self.shelf)?;
        told.frozen = true;
        told.warm = false;
        let typed_name = self.tool.clone();
        let executors = host::narrow(settings, move |plugin| has_tool(plugin, &typed_name))?.executors;
        let runtime = host::runtime()?;
        let host = host::assemble(&runtime, told, executors)?;
        let ended = runtime.block_on(async {
            let ended = self.call(&host, document, output).await;
            host.shutdown().await;
            ended
        });
        runtime.shutdown_background();
        let (name, reply) = ended?;
        show(&name, reply, output)
    }

    async fn call(
        &self,
        host: &Arc<Host>,
        document: Option<Map<String, Value>>,
        output: &Output,
    ) -> Outcome<(ServedName, CallReply)> {
        let name = resolve(&host.catalog(), &self.tool)?;
        let progress = Progress::start(output.json);
        let cancel = CancellationToken::new();
        let interrupt = cancel.clone();
        let watch = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupt.cancel();
            }
        });
        let deadline = tokio::time::Instant::now() + PREPARATION;
        let search = match &self.wanted {
            Some(words) => host.search(SearchRequest::local(words)).await.search_id,
            None => None,
        };
        let reply = loop {
            let schema = schema_of(&host.catalog(), &name);
            let args = match &document {
                Some(document) => document.clone(),
                None => typed_args(schema.as_ref(), &self.one)?,
            };
            let (updates, mut received) = mpsc::channel(64);
            let request = CallRequest { search: search.clone(), ..CallRequest::local(name.as_str(), args) };
            let mut calling = Box::pin(host.call(request, Some(updates), cancel.clone()));
            let reply = loop {
                tokio::select! {
                    reply = &mut calling => break reply,
                    Some(update) = received.recv() => progress.show(&update),
                }
            };
            // What came just before the end is still in the queue.
            while let Ok(update) = received.try_recv() {
                progress.show(&update);
            }
            let again = match &reply.outcome {
                CallOutcome::Failed(failure) => failure.kind == FailureKind::Preparing,
                // The schema came between our look and the call: the words must be typed by it.
                CallOutcome::BadArguments(_) => schema.is_none(),
                _ => false,
            };
            if !again || cancel.is_cancelled() || tokio::time::Instant::now() > deadline {
                break reply;
            }
            progress.preparing(&name);
            tokio::time::sleep(PATIENCE).await;
        };
        watch.abort();
        progress.end();
        Ok((name, reply))
    }
}

/// Whether the plugin may be the one that is called, so that it must be made ready.
fn has_tool(plugin: &Plugin, typed: &str) -> bool {
    let manifest = &plugin.manifest;
    manifest.mcps.iter().any(|tool| tool.name.as_str() == typed || ServedName::new(&manifest.name, &tool.name).as_str() == typed)
}

fn resolve(catalog: &Catalog, typed: &str) -> Outcome<ServedName> {
    catalog.served_name(typed).map_err(|fitting| {
        if !fitting.is_empty() {
            let names: Vec<&str> = fitting.iter().map(ServedName::as_str).collect();
            return Failure::usage("tool.ambiguous", format!("several plugins have a tool `{typed}`"))
                .hint(format!("one of {}", names.join(", ")));
        }
        let plugin = typed.split_once("__").map(|(plugin, _)| plugin);
        if let Some(broken) = catalog.broken.iter().find(|broken| Some(broken.name.as_str()) == plugin) {
            return shelf::is_broken(broken);
        }
        let known: Vec<&str> = catalog.plugins.iter().flat_map(|entry| &entry.tools).map(|tool| tool.name.as_str()).collect();
        let short = known.iter().filter_map(|name| name.split_once("__").map(|(_, tool)| tool));
        let hint = nearest(typed, known.iter().copied().chain(short)).unwrap_or_else(|| format!("pegboard search '{typed}'"));
        Failure::not_found("tool.not_found", format!("there is no tool `{typed}`")).hint(hint)
    })
}

/// The schema of a tool's arguments; `None` while it is being derived.
fn schema_of(catalog: &Catalog, name: &ServedName) -> Option<Map<String, Value>> {
    let tool = catalog.plugins.iter().flat_map(|entry| &entry.tools).find(|tool| tool.name == *name)?;
    Some(tool.input_schema().clone())
}

/// `--arg` words as the schema's types; a key given several times makes a list where the schema wants one.
fn typed_args(schema: Option<&Map<String, Value>>, words: &[String]) -> Outcome<Map<String, Value>> {
    let empty = Map::new();
    let schema = schema.unwrap_or(&empty);
    let mut args = Map::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(Failure::usage("args.form", format!("expected --arg KEY=VALUE, found `{word}`")));
        };
        let bad = |problem: String| Failure::usage("bad_arguments", format!("`{key}`: {problem}"));
        let parsed = typed::parse(schema, typed::property(schema, key), value).map_err(bad)?;
        match (args.get_mut(key), parsed) {
            (None, parsed) => drop(args.insert(key.to_owned(), parsed)),
            (Some(Value::Array(before)), Value::Array(more)) => before.extend(more),
            (Some(_), _) => return Err(bad("was given twice".to_owned())),
        }
    }
    Ok(args)
}

fn read_document(source: &str) -> Outcome<Map<String, Value>> {
    let text = match source.strip_prefix('@') {
        Some(file) => {
            let path = Path::new(file);
            let file = fs::File::open(path)
                .map_err(|error| Failure::not_found("args.file", format!("could not open `{}`: {error}", path.display())))?;
            read_all(file, path)?
        }
        None if source == "-" => read_all(io::stdin().lock(), Path::new("standard input"))?,
        None => source.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(args)) => Ok(args),
        Ok(_) => {
            Err(Failure::usage("args.form", "expected a JSON object, found another value").hint("--args '{\"key\": \"value\"}'"))
        }
        Err(error) => {
            Err(Failure::usage("args.form", format!("--args is not JSON: {error}")).hint("--args '{\"key\": \"value\"}'"))
        }
    }
}

fn read_all(source: impl Read, path: &Path) -> Outcome<String> {
    let mut text = String::new();
    source.take(MAX_ARGS_BYTES + 1).read_to_string(&mut text).map_err(|error| Failure::file("read", path, &error))?;
    if text.len() as u64 > MAX_ARGS_BYTES {
        return Err(Failure::usage(
            "args.size",
            format!("expected at most {MAX_ARGS_BYTES} bytes, found more: `{}`", path.display()),
        ));
    }
    Ok(text)
}

fn show(name: &ServedName, reply: CallReply, output: &Output) -> Outcome {
    let elapsed = reply.elapsed.as_secs_f64() * 1000.0;
    let head = json!({"tool": name.as_str(), "trace": &*reply.trace.0, "elapsed_ms": (elapsed * 1000.0).round() / 1000.0});
    let code = reply.outcome.code().map_or("completed", server::Code::as_str);
    let failed = |exit, message: String| Failure::new(exit, code, message).document(head.clone());
    match reply.outcome {
        CallOutcome::Completed(result) => completed(head, &result, output),
        CallOutcome::Failed(failure) => {
            let exit = match failure.kind {
                FailureKind::Unsupported => Exit::Unavailable,
                FailureKind::Internal => Exit::Internal,
                _ => Exit::ToolFailed,
            };
            let mut document = head.clone();
            if let (Some(detail), Value::Object(document)) = (&failure.detail, &mut document) {
                document.insert("detail".to_owned(), json!(detail));
            }
            if let Some(detail) = &failure.detail {
                output.note(detail.trim_end());
            }
            Err(failed(exit, failure.message).maybe_hint(failure.hint).document(document))
        }
        CallOutcome::Denied(denial) => {
            let exit = if denial.missing.iter().all(|missing| matches!(missing, Missing::Level { .. })) {
                Exit::Unavailable
            } else {
                Exit::Denied
            };
            Err(failed(exit, denial.to_string()).hint(remedies(&denial)))
        }
        CallOutcome::NotCovered => Err(failed(Exit::Denied, "the tool is not covered".to_owned())),
        CallOutcome::BadArguments(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(failed(Exit::Usage, format!("the arguments do not fit: {}", problems.join("; ")))
                .hint(format!("pegboard info {}", plugin_of(name))))
        }
        CallOutcome::UnknownTool(near) => {
            let hint =
                if near.is_empty() { "pegboard list --tools".to_owned() } else { format!("did you mean {}?", near.join(", ")) };
            Err(failed(Exit::NotFound, format!("tool `{name}` is not served")).hint(hint))
        }
    }
}

fn plugin_of(name: &ServedName) -> &str {
    name.as_str().split_once("__").map_or(name.as_str(), |(plugin, _)| plugin)
}

/// The commands that give the missing keys. The operator sits at this terminal.
fn remedies(denial: &Denial) -> String {
    denial.missing.iter().map(|missing| missing.remedy(&denial.plugin)).collect::<Vec<_>>().join("; ")
}

fn completed(head: Value, result: &ToolOutput, output: &Output) -> Outcome {
    let mut document = head;
    if let Value::Object(document) = &mut document {
        document.insert("content".to_owned(), json!(result.content));
        document.insert("structured".to_owned(), json!(result.structured));
    }
    output.show(&document, |_| {
        let mut text = String::new();
        for content in &result.content {
            text.push_str(block(content).trim_end_matches('\n'));
            text.push('\n');
        }
        if let (true, Some(structured)) = (result.content.is_empty(), &result.structured) {
            text = clean::block(&format!("{structured:#}")).into_owned();
        }
        text
    })
}

/// A block of a result for people.
fn block(content: &Content) -> String {
    let size = |data: &str| data.len() / 4 * 3 / 1024;
    match content {
        Content::Text { text } => clean::block(text).into_owned(),
        Content::Image { data, mime } => format!("[image {}, about {} KiB; --json shows it]", clean::line(mime), size(data)),
        Content::Audio { data, mime } => format!("[audio {}, about {} KiB; --json shows it]", clean::line(mime), size(data)),
        Content::Resource { text: Some(text), .. } => clean::block(text).into_owned(),
        Content::Resource { uri, blob, .. } => {
            format!("[document {}, about {} KiB; --json shows it]", clean::line(uri), blob.as_deref().map_or(0, size))
        }
        Content::ResourceLink { uri, name, .. } => format!("{}: {}", clean::line(name), clean::line(uri)),
    }
}
