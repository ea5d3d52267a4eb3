//! The entries of clients' files on their way to plugins: what each could become, and what it turned out to be. How that is shown and asked is in
//! the command.

use manifest_schema::PluginName;

use super::read::{self, ClientFile, Entry, Kind};
use crate::{
    commands::shelf::Found,
    failure::{Failure, Outcome},
    operator::secrets,
    settings::Settings,
    upstream::{
        admit::{self, Candidate},
        shape::{self, Proposal, Wanted},
    },
};

/// One entry on its way.
pub(crate) struct Item<'f> {
    /// The file it is in.
    pub(crate) file: &'f ClientFile,
    /// As it stands there.
    pub(crate) entry: &'f Entry,
    /// The plugin that it is, or becomes.
    pub(crate) plugin: Option<PluginName>,
    pub(crate) state: State,
}

/// How far it is.
pub(crate) enum State {
    /// It could be started.
    Proposed(Box<Proposal>),
    /// It was.
    Ready(Box<Candidate>),
    /// A plugin for this very server is there already.
    Known,
    /// It is switched off, and stays so.
    Disabled,
    /// It is Pegboard.
    Ours,
    /// It is left alone, and why.
    Skipped(String),
}

impl State {
    /// For machines.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Proposed(_) => "proposed",
            Self::Ready(_) => "imported",
            Self::Known => "known",
            Self::Disabled => "disabled",
            Self::Ours => "pegboard",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// What each entry could become. Nothing is started.
pub(crate) fn propose_all<'f>(settings: &Settings, found: &Found, files: &'f [ClientFile]) -> Outcome<Vec<Item<'f>>> {
    let mut items: Vec<Item<'f>> = Vec::new();
    for file in files {
        for entry in &file.entries {
            let (plugin, state) = match &entry.kind {
                Kind::Disabled => (None, State::Disabled),
                Kind::Ours => (None, State::Ours),
                Kind::Left(reason) => (None, State::Skipped(reason.clone())),
                Kind::Import(server) => match propose_one(settings, found, &items, &entry.name, server) {
                    Ok((name, state)) => (Some(name), state),
                    Err(failure) => (None, State::Skipped(failure.message)),
                },
            };
            items.push(Item { file, entry, plugin, state });
        }
    }
    Ok(items)
}

/// The first name that is free, or that stands for this very server.
fn propose_one(
    settings: &Settings,
    found: &Found,
    items: &[Item<'_>],
    name: &str,
    server: &read::Found,
) -> Outcome<(PluginName, State)> {
    let base = slug(name);
    for number in 1..100 {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let head: String = base.chars().take(PluginName::LIMIT - suffix.len()).collect();
        let Ok(name) = PluginName::parse(&format!("{}{suffix}", head.trim_end_matches('-'))) else { continue };
        let wanted = Wanted {
            name: name.clone(),
            server: server.server.clone(),
            secret: server.secret.clone(),
            network: None,
            read: Vec::new(),
            write: Vec::new(),
            read_only: false,
            spawn: false,
            level: None,
            folder: server.folder.clone(),
        };
        let proposal = shape::propose(&settings.places, &wanted)?;
        let same = |manifest: &manifest_schema::Manifest| manifest.mcp == proposal.plugin.manifest.mcp;
        if let Some(entry) = found.catalog.plugin(name.as_str()) {
            // The same server with another key is another account: another plugin.
            if same(&entry.plugin.manifest) && secrets::values(&settings.places, &entry.plugin.manifest)? == proposal.secrets {
                return Ok((name, State::Known));
            }
            continue;
        }
        let earlier = items.iter().find(|item| item.plugin.as_ref() == Some(&name));
        match earlier.map(|item| &item.state) {
            None => return Ok((name, State::Proposed(Box::new(proposal)))),
            // The same server in two clients is one plugin.
            Some(State::Proposed(other)) if same(&other.plugin.manifest) && other.secrets == proposal.secrets => {
                return Ok((name, State::Known));
            }
            Some(_) => {}
        }
    }
    Err(Failure::usage("import.name", format!("no name is free for `{name}`")))
}

/// A plugin's name for a client's: lower case, other characters as single hyphens.
fn slug(name: &str) -> String {
    let words: Vec<String> = name
        .to_ascii_lowercase()
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let joined = words.join("-");
    if joined.starts_with(|first: char| first.is_ascii_lowercase()) {
        joined
    } else {
        format!("mcp-{joined}").trim_end_matches('-').to_owned()
    }
}

/// Starts each server that is proposed, once. One that can't be started is skipped, with the reason.
pub(crate) fn inspect_all(settings: &Settings, found: &Found, items: &mut [Item<'_>]) {
    let mut failed: Vec<PluginName> = Vec::new();
    for item in items.iter_mut() {
        let state = std::mem::replace(&mut item.state, State::Disabled);
        item.state = match state {
            State::Proposed(proposal) => match admit::inspect(settings, found.reached, *proposal) {
                Ok(candidate) => State::Ready(Box::new(candidate)),
                Err(failure) => {
                    failed.extend(item.plugin.clone());
                    State::Skipped(failure.message)
                }
            },
            // It was to be made of another client's entry, which could not be started.
            State::Known if item.plugin.as_ref().is_some_and(|plugin| failed.contains(plugin)) => {
                State::Skipped("the same server could not be started above".to_owned())
            }
            other => other,
        };
    }
}
