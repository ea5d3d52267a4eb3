//! `pegboard update`: newer releases of what is installed, from where each came.

use std::collections::BTreeSet;

use clap::Args;
use manifest_schema::Channel;
use registry::{Entry, FileDigest};
use semver::VersionReq;
use serde_json::{Value, json};

use super::install::{self, Asked, Terms};
use crate::{
    failure::Outcome,
    installs::{
        self,
        fetch::{self, Choice, Fetched},
        index::Index,
        needs,
        request::{Request, Wanted},
    },
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Update installed plugins
///
/// Looks where each came from: the index for a newer release in its channel, the folder, address or repository for other contents. Pinned plugins
/// are passed over, and none is updated beyond what other installed plugins need. Plugins that a newer release needs come along. What a release
/// may do beyond what you accepted is shown and asked, as with install.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard update --check\n  pegboard update text_analysis\n  pegboard update --yes")]
pub(crate) struct Update {
    /// Names of plugins; none: all
    #[arg(value_name = "PLUGIN")]
    plugins: Vec<String>,
    /// Only say what is there: nothing is changed
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    terms: Terms,
}

/// How one plugin stands.
struct Found {
    name: String,
    version: String,
    state: State,
    remarks: Vec<String>,
}

enum State {
    Pinned,
    Current,
    /// The packages in the order in which they are installed: what it needs and is not there, then its own. None of them with --check.
    Newer {
        version: String,
        fetched: Vec<Fetched>,
    },
}

impl Update {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let lockfile = installs::lockfile(&settings.places)?;
        for name in &self.plugins {
            installs::entry(&lockfile, name)?;
        }
        let wanted = |entry: &&Entry| self.plugins.is_empty() || self.plugins.iter().any(|name| name == entry.name.as_str());
        let mut found = Vec::new();
        for entry in lockfile.entries().filter(wanted) {
            found.push(self.look(settings, entry)?);
        }
        if self.check {
            return show(&found, output);
        }
        let (mut done, mut left) = (Vec::new(), Vec::new());
        // What one plugin brought along may be what another would be updated to.
        let mut applied = BTreeSet::new();
        for found in found {
            match found.state {
                State::Newer { fetched, .. } => {
                    let fresh = fetched.into_iter().filter(|fetched| applied.insert(fetched.bundle.digest()));
                    let asked = fresh.map(|fetched| Asked { fetched, answer: self.terms.answer() }).collect();
                    done.extend(install::apply(settings, output, asked, "update", self.terms.channel.map(Channel::from))?);
                }
                State::Pinned => left.push(format!("{} is pinned to {}", found.name, found.version)),
                State::Current => {
                    let remarks = found.remarks.iter().map(|remark| format!("; {remark}")).collect::<String>();
                    left.push(format!("{} {} is the newest that fits{remarks}", found.name, found.version));
                }
            }
        }
        output.show(&json!({"updated": done.iter().map(|done| &done.document).collect::<Vec<_>>(), "left": left}), |output| {
            let done = done.iter().map(|done| done.text(output));
            let lines: Vec<String> = done.chain(left.iter().cloned()).collect();
            if lines.is_empty() { "nothing is installed".to_owned() } else { lines.join("\n") }
        })
    }

    fn look(&self, settings: &Settings, entry: &Entry) -> Outcome<Found> {
        let (name, version) = (entry.name.to_string(), entry.release.version.to_string());
        if entry.pinned {
            return Ok(Found { name, version, state: State::Pinned, remarks: Vec::new() });
        }
        let choice = self.terms.choice(entry.channel);
        let (state, remarks) = match entry.release.source.strip_prefix("index+") {
            Some(rest) => self.in_index(settings, entry, rest.split('#').next().unwrap_or(rest), &choice)?,
            None => (elsewhere(settings, &entry.release.source, entry.release.digest, &choice)?, Vec::new()),
        };
        Ok(Found { name, version, state, remarks })
    }

    fn in_index(&self, settings: &Settings, entry: &Entry, base: &str, choice: &Choice) -> Outcome<(State, Vec<String>)> {
        let index = Index::open(settings, Some(choice.index.as_deref().unwrap_or(base)))?;
        let releases = index.releases(&entry.name)?;
        let current = &entry.release.version;
        let mine = releases.releases.iter().find(|offered| offered.version == *current);
        let mut remarks: Vec<String> =
            mine.and_then(|mine| mine.yanked.as_ref()).map(|why| format!("{current} was yanked: {why}")).into_iter().collect();
        let there = needs::installed(&installs::store(&settings.places), &installs::lockfile(&settings.places)?);
        let (asked, by) = needs::asked_of(&entry.name, &there);
        let newer = |wanted: VersionReq| {
            releases.choose(&Wanted::Among(wanted), choice.channel).filter(|offered| offered.version > *current)
        };
        let (newest, wished) = (newer(asked), newer(VersionReq::STAR));
        let held_back = wished.filter(|wished| newest.is_none_or(|newest| newest.version < wished.version));
        remarks.extend(held_back.map(|wished| format!("{} is there, but {}", wished.version, by.join(", "))));
        let Some(newest) = newest else { return Ok((State::Current, remarks)) };
        let mends = releases.releases.iter().filter(|offered| offered.version > *current && offered.version <= newest.version);
        let mends = mends
            .filter_map(|offered| Some(format!("{} is a security release: {}", offered.version, offered.security.as_ref()?)));
        remarks.extend(mends);
        let fetched = if self.check { Vec::new() } else { fetch::with_needs(settings, &index, (&entry.name, newest), choice)? };
        Ok((State::Newer { version: newest.version.to_string(), fetched }, remarks))
    }
}

/// What a folder, a package, an address or a repository holds now.
fn elsewhere(settings: &Settings, source: &str, digest: FileDigest, choice: &Choice) -> Outcome<State> {
    let request = match (source.strip_prefix("git+"), source.split_once("?rev=")) {
        // The tag or branch that was asked for, not the commit that it was then.
        (Some(_), Some((url, rest))) => {
            let revision = rest.split('#').next().unwrap_or(rest);
            Request::Repository { url: url.trim_start_matches("git+").to_owned(), revision: Some(revision.to_owned()) }
        }
        _ => Request::parse(source)?,
    };
    let fetched = fetch::fetch(settings, &request, choice)?;
    if fetched.bundle.digest() == digest {
        return Ok(State::Current);
    }
    Ok(State::Newer { version: fetched.bundle.manifest().version.to_string(), fetched: vec![fetched] })
}

fn show(found: &[Found], output: &Output) -> Outcome {
    let word = |found: &Found| match &found.state {
        State::Pinned => ("pinned", None),
        State::Current => ("newest", None),
        State::Newer { version, .. } => ("newer", Some(version.clone())),
    };
    let documents: Vec<Value> = found
        .iter()
        .map(|found| {
            let (state, newer) = word(found);
            json!({"plugin": found.name, "version": found.version, "state": state, "newer": newer, "remarks": found.remarks})
        })
        .collect();
    output.show(&json!({"plugins": documents}), |output| {
        if found.is_empty() {
            return "nothing is installed".to_owned();
        }
        let rows = found.iter().map(|found| {
            let (state, newer) = word(found);
            let tone = if newer.is_some() { Tone::Care } else { Tone::Good };
            let newer = newer.unwrap_or_default();
            vec![
                Cell::toned(Tone::Strong, &found.name),
                (&found.version).into(),
                Cell::toned(tone, state),
                newer.into(),
                found.remarks.join("; ").into(),
            ]
        });
        output.table(&["PLUGIN", "INSTALLED", "STATE", "NEWER", "REMARKS"], rows.collect())
    })
}
