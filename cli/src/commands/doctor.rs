//! `pegboard doctor`: what this machine can enforce, what is missing, and the exact line that mends it. Changes nothing.

use clap::{Args, ValueEnum};
use sandbox::{Capability, LevelReport};
use serde_json::{Value, json};
use server::Availability;

use super::{
    host,
    machine::{self, Embedding, Engine, Python, Uv},
    shelf,
    standing::{self, Reason},
};
use crate::{
    args::Shelf,
    clean,
    clients::Client,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Tone},
    settings::Settings,
};

/// Check this machine
///
/// The sandbox level that this machine reaches and why, Python interpreters, uv, the embedder, a container engine, plugins that are not served, and
/// the MCP clients that are set up here. Each problem comes with the line that mends it. Exit code 6 when nothing can be confined here.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard doctor\n  pegboard doctor --json | jq .sandbox")]
pub(crate) struct Doctor {
    #[command(flatten)]
    shelf: Shelf,
}

/// One line of the report.
struct Line {
    tone: Tone,
    what: &'static str,
    says: String,
    /// The line that mends it.
    mend: Option<String>,
}

/// What is wrong with the plugins.
struct Plugins {
    served: usize,
    tools: usize,
    /// Name, state and reasons of each that is not served.
    others: Vec<(String, &'static str, Vec<Reason>)>,
}

/// A configuration file of a client.
struct Set {
    client: Client,
    file: std::path::PathBuf,
    /// Whether it names this program.
    mentions: bool,
}

impl Doctor {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let python_settings = host::python_settings(settings)?;
        let capability = sandbox::probe(&python_settings.launcher);
        let pythons = machine::pythons(&python_settings);
        let uv = machine::uv(&python_settings);
        let embedding = machine::embedding(settings);
        let engine = machine::engine();
        let plugins = self.plugins(settings);
        let clients = clients();
        let mut lines = sandbox_lines(&capability);
        lines.extend(python_lines(&pythons, &uv));
        lines.push(embedding_line(&embedding));
        lines.push(engine_line(&engine));
        lines.extend(plugin_lines(&plugins));
        lines.extend(client_lines(&clients));
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "level": word(&capability.level),
            "sandbox": capability,
            "python": pythons,
            "uv": uv,
            "embedder": embedding,
            "container": engine,
            "plugins": plugins_document(&plugins),
            "clients": clients.iter().map(|set| json!({"client": set.client.as_str(), "file": set.file, "mentions_pegboard": set.mentions})).collect::<Vec<_>>(),
            "folders": {"config": settings.places.config, "data": settings.places.data, "cache": settings.places.cache},
            "problems": lines.iter().filter(|line| line.mend.is_some()).map(|line| json!({"what": line.what, "says": line.says, "mend": line.mend})).collect::<Vec<_>>(),
        });
        let enforced = capability.l1.entry().is_some() || capability.l2.entry().is_some();
        if enforced {
            return output.show(&document, |output| render(&lines, output));
        }
        if !output.json {
            output.text(&render(&lines, output))?;
        }
        Err(Failure::new(Exit::Unavailable, "sandbox.none", "this machine can confine nothing, so no plugin runs here")
            .document(document))
    }

    fn plugins(&self, settings: &Settings) -> Outcome<Plugins> {
        let found = shelf::load(settings, &self.shelf)?;
        let catalog = &found.catalog;
        let standing =
            catalog.plugins.iter().filter(|entry| entry.availability != Availability::Served || entry.preparation.is_some());
        let mut others: Vec<_> =
            standing.map(|entry| (entry.name().to_owned(), standing::state(entry).0, standing::reasons(entry))).collect();
        others.extend(catalog.broken.iter().map(|broken| (broken.name.clone(), "broken", standing::broken(broken))));
        let served = catalog.plugins.iter().filter(|entry| entry.availability == Availability::Served).count();
        Ok(Plugins { served, tools: catalog.tools.len(), others })
    }
}

/// The word of a value that is one, such as a level.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn plugins_document(plugins: &Outcome<Plugins>) -> Value {
    match plugins {
        Ok(plugins) => json!({
            "served": plugins.served,
            "tools": plugins.tools,
            "not_served": plugins.others.iter().map(|(name, state, reasons)| {
                json!({"name": name, "state": state, "reasons": reasons.iter().map(Reason::document).collect::<Vec<_>>()})
            }).collect::<Vec<_>>(),
        }),
        Err(failure) => json!({"problem": failure.message, "hint": failure.hint}),
    }
}

fn sandbox_lines(capability: &Capability) -> Vec<Line> {
    let level = word(&capability.level);
    let user = if capability.as_root { "root: each plugin runs as a user of its own" } else { "an ordinary user" };
    let tone = match (capability.l2.entry(), capability.l1.entry()) {
        (Some(_), _) => Tone::Good,
        (None, Some(_)) => Tone::Care,
        (None, None) => Tone::Bad,
    };
    let mut lines = vec![Line {
        tone,
        what: "sandbox",
        says: format!("level {level}, as {user}; Landlock ABI {}", capability.landlock_abi),
        mend: None,
    }];
    for (name, report) in [("L2", &capability.l2), ("L1", &capability.l1)] {
        if let LevelReport::Refused { reason, hint } = report {
            lines.push(Line {
                tone: Tone::Care,
                what: "sandbox",
                says: format!("{name} is out of reach: {reason}"),
                mend: hint.clone(),
            });
        }
    }
    let held = &capability.cgroup_limits;
    let limits: Vec<&str> = [("memory", held.memory), ("processes", held.pids), ("CPU", held.cpu)]
        .into_iter()
        .filter_map(|(name, held)| held.then_some(name))
        .collect();
    let (tone, says) = match limits.as_slice() {
        [] => (Tone::Care, "no control groups: limits hold per process only".to_owned()),
        limits => (Tone::Good, format!("control groups limit {}", limits.join(", "))),
    };
    lines.push(Line { tone, what: "limits", says, mend: None });
    lines.extend(capability.notes.iter().map(|note| Line { tone: Tone::Dim, what: "", says: note.clone(), mend: None }));
    lines
}

fn python_lines(pythons: &[Python], uv: &Uv) -> Vec<Line> {
    let mut lines: Vec<Line> = pythons
        .iter()
        .map(|python| {
            let mut says = format!("{} {}", python.version, python.executable.display());
            if !python.fast {
                says.push_str(", one process per call: the worker module does not load in it");
            }
            if !python.venv {
                says.push_str(", without venv");
            }
            let tone = if python.fast && python.venv { Tone::Good } else { Tone::Care };
            Line { tone, what: "python", says, mend: None }
        })
        .collect();
    if pythons.is_empty() {
        lines.push(Line {
            tone: Tone::Bad,
            what: "python",
            says: "no Python 3.10 or later was found".to_owned(),
            mend: Some(machine::install_line(None)),
        });
    } else if let Some(first) = pythons.first().filter(|_| !pythons.iter().any(|python| python.venv)) {
        let says = "none has venv and ensurepip, which plugins with dependencies need".to_owned();
        lines.push(Line { tone: Tone::Care, what: "python", says, mend: Some(machine::install_line(Some(&first.version))) });
    }
    lines.push(match uv {
        Uv::Found { path, version } => {
            Line { tone: Tone::Good, what: "uv", says: format!("{version} {}", path.display()), mend: None }
        }
        Uv::Private { path } => Line { tone: Tone::Good, what: "uv", says: format!("private, {}", path.display()), mend: None },
        Uv::None => Line {
            tone: Tone::Dim,
            what: "uv",
            says: "not there; it is installed privately when a plugin first needs packages".to_owned(),
            mend: None,
        },
    });
    lines
}

fn embedding_line(embedding: &Embedding) -> Line {
    match embedding {
        Embedding::Ready { id, dimension } => Line {
            tone: Tone::Good,
            what: "search",
            says: format!("words and meaning: {id}, {dimension} dimensions"),
            mend: None,
        },
        Embedding::Off => {
            Line { tone: Tone::Dim, what: "search", says: "words only, as pegboard.toml says".to_owned(), mend: None }
        }
        Embedding::None { reason, hint } => {
            Line { tone: Tone::Dim, what: "search", says: format!("words only: {reason} ({hint})"), mend: None }
        }
    }
}

fn engine_line(engine: &Engine) -> Line {
    let what = "containers";
    match engine {
        Engine::Ready(facts) => {
            let rootless = if facts.rootless { ", rootless" } else { "" };
            let kind = word(&facts.kind);
            let says = format!(
                "{kind} {} (API {}{rootless}) at {}; container plugins run at L3",
                facts.version,
                facts.api,
                facts.socket.display()
            );
            if facts.lacks.is_empty() {
                return Line { tone: Tone::Good, what, says, mend: None };
            }
            Line { tone: Tone::Care, what, says: format!("{says}; not enforced there: {}", facts.lacks.join(", ")), mend: None }
        }
        Engine::Unusable { problem } => {
            let mend =
                "start the engine, and let this user use its socket (systemctl start docker; usermod -aG docker USER)".to_owned();
            Line { tone: Tone::Bad, what, says: problem.clone(), mend: Some(mend) }
        }
        Engine::None => {
            let says =
                "no container engine: container plugins are not served (sudo apt-get install podman, or docker.io)".to_owned();
            Line { tone: Tone::Dim, what, says, mend: None }
        }
    }
}

fn plugin_lines(plugins: &Outcome<Plugins>) -> Vec<Line> {
    let plugins = match plugins {
        Ok(plugins) => plugins,
        Err(failure) => {
            let mend = failure.hint.clone().unwrap_or_else(|| "pegboard list".to_owned());
            return vec![Line { tone: Tone::Bad, what: "plugins", says: failure.message.clone(), mend: Some(mend) }];
        }
    };
    let mut lines = vec![Line {
        tone: Tone::Good,
        what: "plugins",
        says: format!("{} served, with {} tools", plugins.served, plugins.tools),
        mend: None,
    }];
    for (name, state, reasons) in &plugins.others {
        let tone = if matches!(*state, "broken" | "failing") { Tone::Bad } else { Tone::Care };
        // Of a broken manifest the first problem is enough here; `validate` shows all.
        let shown = if *state == "broken" { 1 } else { reasons.len() };
        for reason in reasons.iter().take(shown) {
            lines.push(Line {
                tone,
                what: "plugins",
                says: format!("{name} is {state}: {}", reason.message),
                mend: reason.remedy.clone(),
            });
        }
    }
    lines
}

fn clients() -> Vec<Set> {
    let mut found = Vec::new();
    for client in Client::value_variants() {
        for file in client.files() {
            if let Ok(text) = std::fs::read_to_string(&file) {
                found.push(Set { client: *client, file, mentions: text.contains("pegboard") });
            }
        }
    }
    found
}

fn client_lines(clients: &[Set]) -> Vec<Line> {
    if clients.is_empty() {
        let says = "no configuration of a known MCP client; pegboard client-config CLIENT prints what to paste".to_owned();
        return vec![Line { tone: Tone::Dim, what: "clients", says, mend: None }];
    }
    clients
        .iter()
        .map(|set| {
            let (tone, says) = if set.mentions { (Tone::Good, "uses pegboard") } else { (Tone::Dim, "does not name pegboard") };
            let mend = (!set.mentions).then(|| format!("pegboard client-config {}", set.client.as_str()));
            Line { tone, what: "clients", says: format!("{} {says}: {}", set.client.title(), set.file.display()), mend }
        })
        .collect()
}

fn render(lines: &[Line], output: &Output) -> String {
    let mut text = String::new();
    for line in lines {
        let mark = match line.tone {
            Tone::Good => "ok",
            Tone::Care => "!",
            Tone::Bad => "x",
            Tone::Dim | Tone::Strong => "-",
        };
        text.push_str(&format!(
            "{:<3} {:<10}  {}\n",
            output.paint(line.tone, &format!("{mark:<2}")),
            line.what,
            clean::line(&line.says)
        ));
        if let Some(mend) = &line.mend {
            text.push_str(&format!("                {}\n", output.paint(Tone::Strong, mend)));
        }
    }
    text
}
