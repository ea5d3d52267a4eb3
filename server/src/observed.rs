//! What upstream servers were seen to offer: kept beside the approvals and compared with them, so that a tool that changed stays away from
//! models until the operator has looked at it.
//!
//! Kept in the cache, `upstream/<plugin>.json`, from one run to the next. What was approved is the command line's, which also writes here what
//! it saw when it asked a server for an approval.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use executor_api::Observation;
use manifest_schema::Digest;
use policy::{Approval, Definition, Plugin};
use serde::{Deserialize, Serialize};

use crate::Approved;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 160 << 20;

/// What one server was seen to offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The server it was: another command or address is another server.
    pub(crate) server: Digest,
    /// All tools, in the server's order.
    pub(crate) tools: Vec<Definition>,
    /// What was left out, and why.
    pub(crate) refused: Vec<String>,
    /// Tools that were once seen defined otherwise than approved. A server that goes back to the approved definition stays here: it has
    /// shown that it can change under the model's feet.
    #[serde(default)]
    pub(crate) tripped: BTreeSet<String>,
    /// The approval that `tripped` was noted against.
    #[serde(default)]
    pub(crate) against: Option<String>,
}

/// Records by plugin.
#[derive(Debug)]
pub(crate) struct Records {
    folder: PathBuf,
    known: BTreeMap<String, Option<Record>>,
    /// Plugins whose approval was given for another list than their running server's.
    outdated: BTreeSet<String>,
}

impl Records {
    pub(crate) fn new(cache: &Path) -> Self {
        Self { folder: cache.join("upstream"), known: BTreeMap::new(), outdated: BTreeSet::new() }
    }

    /// Plugins whose server must start anew to be the one that was approved.
    pub(crate) fn take_outdated(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.outdated)
    }

    /// The record of a plugin's server as it is now, held against what is approved now. Read from the disk at its first use.
    pub(crate) fn of(&mut self, plugin: &Plugin, approved: Option<&Approved>) -> Option<Record> {
        let name = plugin.manifest.name.as_str();
        let path = self.folder.join(format!("{name}.json"));
        let record = self.known.entry(name.to_owned()).or_insert_with(|| read(&path)).as_mut()?;
        let server = Approval::none(plugin).server;
        // With a new approval there may be a newer list than the one that was seen here: the one that the operator was shown.
        if record.against.is_some()
            && record.against != approved.map(|approved| approved.stamp.clone())
            && let Some(shown) = read(&path).filter(|shown| shown.server == server && shown.tools != record.tools)
        {
            *record = shown;
            self.outdated.insert(name.to_owned());
        }
        if record.server != server {
            return None;
        }
        hold_against(record, approved);
        Some(record.clone())
    }

    /// Takes down what was seen, and writes it where it changed.
    pub(crate) fn note(&mut self, seen: Observation, approved: Option<&Approved>) {
        let name = seen.plugin.manifest.name.to_string();
        let server = Approval::none(&seen.plugin).server;
        let before = self.of(&seen.plugin, approved);
        let (tripped, against) = before.clone().map(|record| (record.tripped, record.against)).unwrap_or_default();
        let mut record = Record { server, tools: seen.tools, refused: seen.refused, tripped, against };
        hold_against(&mut record, approved);
        if before.as_ref() == Some(&record) {
            return;
        }
        if let Err(error) = write(&self.folder, &name, &record) {
            tracing::warn!(plugin = name, %error, "what an upstream server offers could not be kept");
        }
        self.known.insert(name, Some(record));
    }
}

/// Notes what differs from the approval; a newer approval starts anew.
fn hold_against(record: &mut Record, approved: Option<&Approved>) {
    let stamp = approved.map(|approved| approved.stamp.clone());
    if record.against != stamp {
        record.tripped.clear();
        record.against = stamp;
    }
    if let Some(approved) = approved {
        let changed = approved.approval.review(&record.tools).changed;
        record.tripped.extend(changed.into_iter().map(|change| change.now.name));
    }
}

fn read(path: &Path) -> Option<Record> {
    let file = fs::File::open(path).ok()?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    // Only a copy: what can't be read is seen again at the next start of the server.
    serde_json::from_str(&text).ok()
}

fn write(folder: &Path, name: &str, record: &Record) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let staging = folder.join(format!(".{name}.json.{}", std::process::id()));
    let mut file = fs::File::create(&staging)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(&staging, folder.join(format!("{name}.json")))
}
