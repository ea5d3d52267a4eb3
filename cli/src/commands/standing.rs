//! How a plugin stands, in words: served, withheld or broken, each reason with the command that mends it. For the operator's eyes only.

use manifest_schema::Runtime;
use policy::{Advisory, Level, Missing, Source};
use serde_json::{Value, json};
use server::{Availability, BrokenPlugin, PluginEntry};

use crate::{
    clean,
    output::{Output, Tone},
};

/// Reasons of one plugin that are shown to people; `validate` shows all.
const MOST_SHOWN: usize = 3;

/// Why a plugin is not served.
pub(crate) struct Reason {
    /// Stable word.
    pub(crate) kind: &'static str,
    /// In words.
    pub(crate) message: String,
    /// The command that mends it, where one does.
    pub(crate) remedy: Option<String>,
}

impl Reason {
    /// For machines.
    pub(crate) fn document(&self) -> Value {
        json!({"kind": self.kind, "message": self.message, "remedy": self.remedy})
    }
}

/// The reasons for people: each with its command under it, a command that mends several once, under the last of them.
pub(crate) fn render(output: &Output, reasons: &[Reason]) -> String {
    let mut text = String::new();
    let shown = reasons.get(..MOST_SHOWN).filter(|_| is_manifest(reasons)).unwrap_or(reasons);
    for (index, reason) in shown.iter().enumerate() {
        text.push_str(&format!("  {}\n", clean::line(&reason.message)));
        let again = shown.get(index + 1).is_some_and(|next| next.remedy == reason.remedy);
        if index + 1 == shown.len() && shown.len() < reasons.len() {
            text.push_str(&format!("  and {} more\n", reasons.len() - shown.len()));
        }
        if let Some(remedy) = reason.remedy.as_ref().filter(|_| !again) {
            text.push_str(&format!("    {}\n", output.paint(Tone::Strong, &clean::line(remedy))));
        }
    }
    text
}

/// Problems of a manifest, which may be many and have one remedy; missing keys are few and each has its own.
fn is_manifest(reasons: &[Reason]) -> bool {
    reasons.iter().all(|reason| reason.kind == "manifest")
}

/// The word for where a plugin stands.
pub(crate) const fn state(entry: &PluginEntry) -> (&'static str, Tone) {
    match entry.availability {
        Availability::Served if entry.preparation.is_some() => ("failing", Tone::Bad),
        Availability::Served => ("served", Tone::Good),
        Availability::Withheld(_) => ("withheld", Tone::Care),
        Availability::Disabled => ("disabled", Tone::Dim),
        Availability::Incompatible { .. } => ("incompatible", Tone::Bad),
        Availability::NameRefused { .. } => ("refused", Tone::Bad),
        Availability::Untrusted { .. } => ("untrusted", Tone::Bad),
        Availability::Lacking { .. } => ("lacking", Tone::Care),
        Availability::Unsupported { .. } => ("unsupported", Tone::Dim),
    }
}

/// Every reason why the plugin is not, or not wholly, served.
pub(crate) fn reasons(entry: &PluginEntry) -> Vec<Reason> {
    match &entry.availability {
        Availability::Served => entry
            .preparation
            .iter()
            .map(|problem| Reason {
                kind: "preparation",
                message: format!("could not be made ready: {problem}"),
                remedy: Some("pegboard doctor".to_owned()),
            })
            .collect(),
        Availability::Withheld(missing) => missing.iter().map(|missing| withheld(entry, missing)).collect(),
        Availability::Disabled => {
            vec![Reason { kind: "disabled", message: "its manifest says `status: disabled`".to_owned(), remedy: None }]
        }
        Availability::Incompatible { wanted } => {
            vec![Reason {
                kind: "incompatible",
                message: format!("asks for Pegboard {wanted}, this is {}", env!("CARGO_PKG_VERSION")),
                remedy: None,
            }]
        }
        Availability::NameRefused { reason } => vec![Reason { kind: "name", message: reason.clone(), remedy: None }],
        Availability::Untrusted { reason } => vec![Reason {
            kind: "signature",
            message: format!("{reason}, and pegboard.toml says `require_signature`"),
            remedy: Some("pegboard trust list".to_owned()),
        }],
        Availability::Lacking { problems } => {
            problems.iter().map(|problem| Reason { kind: "dependency", message: problem.clone(), remedy: None }).collect()
        }
        Availability::Unsupported { runtime: Runtime::Container } => vec![Reason {
            kind: "unsupported",
            message: "it runs in a container, and this machine has no container engine".to_owned(),
            remedy: Some("pegboard doctor".to_owned()),
        }],
        Availability::Unsupported { runtime } => {
            let word = serde_json::to_value(runtime).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
            vec![Reason { kind: "unsupported", message: format!("`runtime: {word}` is not supported yet"), remedy: None }]
        }
    }
}

fn withheld(entry: &PluginEntry, missing: &Missing) -> Reason {
    let kind = match missing {
        Missing::Grant { .. } => "grant",
        Missing::Secret { .. } => "secret",
        Missing::Level { .. } => "level",
        Missing::Config { .. } => "config",
        Missing::Approval => "approval",
        Missing::Caller => "caller",
    };
    let remedy = match missing {
        // Nothing is granted a level without walls.
        Missing::Level { reached: Level::L0, .. } => "pegboard doctor".to_owned(),
        missing => mend(missing.remedy(&entry.plugin.manifest.name), entry),
    };
    Reason { kind, message: missing.to_string(), remedy: Some(remedy) }
}

/// A command about a plugin of a folder must see the folder, too. An upstream server that was added is seen without being named.
fn mend(command: String, entry: &PluginEntry) -> String {
    match &entry.plugin.source {
        Source::Folder(folder) if std::env::var_os("PEGBOARD_PLUGINS").is_none() && !is_added(entry) => {
            format!("{command} --plugins {}", folder.display())
        }
        _ => command,
    }
}

/// As far as its folder tells; a wrong guess costs or saves a flag of a hint.
fn is_added(entry: &PluginEntry) -> bool {
    entry.plugin.manifest.mcp.is_some()
        && entry.plugin.root.parent().is_some_and(|folder| folder.ends_with("pegboard/added") || folder.ends_with("data/added"))
}

/// What is granted to the plugin and not enforced.
pub(crate) fn advisories(entry: &PluginEntry, reached: Level) -> Vec<Advisory> {
    let held = entry.grant.iter().flat_map(|grant| grant.powers.keys()).filter(|power| entry.declared.powers.contains(power));
    policy::advisory(&entry.plugin.manifest, held.copied(), reached)
}

/// The reasons of a plugin that could not be read.
pub(crate) fn broken(broken: &BrokenPlugin) -> Vec<Reason> {
    let remedy = format!("pegboard validate {}", broken.root.display());
    broken
        .diagnostics
        .0
        .iter()
        .map(|problem| Reason { kind: "manifest", message: problem.to_string(), remedy: Some(remedy.clone()) })
        .collect()
}
