//! The lockfile `pegboard.lock`: what is installed, in a form that people read, git compares line by line, and `sync` can make again.
//!
//! Sorted by name, the same bytes for the same contents, no time and no path of this machine in it but where a source is one.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::{Channel, PluginName};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::FileDigest;

/// The lockfile's name.
pub const LOCKFILE: &str = "pegboard.lock";
/// How many earlier releases of a plugin are kept for a rollback.
pub const MAX_PREVIOUS: usize = 8;
const FORMAT: u32 = 1;
const HEAD: &str = "# What is installed. Written by pegboard; `pegboard sync` makes a machine equal to it.\n\n";
const DIGEST: &str = "sha256:";

/// Why a lockfile was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// Not the document it should be.
    #[error("`{LOCKFILE}` is not a lockfile: {0}")]
    Shape(String),
    /// Of a later program.
    #[error("`{LOCKFILE}` has format {0}, this version reads format {FORMAT}")]
    Format(u32),
    /// A name twice: which of the two would count?
    #[error("`{LOCKFILE}` names the plugin `{0}` twice")]
    Twice(String),
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    entries: BTreeMap<String, Entry>,
}

/// One installed plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: PluginName,
    /// Whether it is served.
    pub active: bool,
    /// Whether `update` passes it over.
    pub pinned: bool,
    /// The channel that `update` follows.
    pub channel: Channel,
    /// What is served.
    pub release: Release,
    /// What was served before, the latest first; at most [`MAX_PREVIOUS`].
    pub previous: Vec<Release>,
}

/// One release, as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Digest of its inventory: its folder in the store.
    #[serde(with = "prefixed")]
    pub digest: FileDigest,
    /// Where it came from, such as `file:/path/x.zip`.
    pub source: String,
    /// Names of the trusted keys that vouched for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// What it declared and the operator accepted, such as `power:network_access`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<String>,
    /// Digests of its tools' definitions, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    #[serde(default, rename = "plugin")]
    plugins: Vec<Row>,
}

/// An entry as it is written: plain values first, tables after them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: PluginName,
    active: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
    channel: Channel,
    release: Release,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<Release>,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let Row { name, active, pinned, channel, release, previous } = row;
        Self { name, active, pinned, channel, release, previous }
    }
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Self {
        let Entry { name, active, pinned, channel, release, previous } = entry;
        Self { name, active, pinned, channel, release, previous }
    }
}

impl Lockfile {
    /// Reads a lockfile.
    ///
    /// # Errors
    /// When it is not one, or of a later program.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockfileError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let shape = |error: String| LockfileError::Shape(error.lines().take(3).collect::<Vec<_>>().join(" "));
        let text = std::str::from_utf8(bytes).map_err(|error| shape(error.to_string()))?;
        let head: Head = toml::from_str(text).map_err(|error| shape(error.message().to_owned()))?;
        if head.format != FORMAT {
            return Err(LockfileError::Format(head.format));
        }
        let document: Document = toml::from_str(text).map_err(|error| shape(error.to_string()))?;
        let mut lockfile = Self::default();
        for row in document.plugins {
            let name = row.name.to_string();
            if lockfile.entries.insert(name.clone(), row.into()).is_some() {
                return Err(LockfileError::Twice(name));
            }
        }
        Ok(lockfile)
    }

    /// The document: the same bytes for the same contents.
    ///
    /// # Errors
    /// Never for what was made here.
    pub fn text(&self) -> Result<String, LockfileError> {
        let plugins = self.entries.values().cloned().map(Row::from).collect();
        let text = toml::to_string_pretty(&Document { format: FORMAT, plugins });
        text.map(|text| format!("{HEAD}{text}")).map_err(|error| LockfileError::Shape(error.to_string()))
    }

    /// Every plugin, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The plugin of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The plugin of a name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// Puts a plugin in, in place of what has its name.
    pub fn put(&mut self, entry: Entry) {
        self.entries.insert(entry.name.to_string(), entry);
    }

    /// Takes a plugin out.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    /// Every package that is named, those of earlier releases included.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<FileDigest> {
        self.entries()
            .flat_map(|entry| std::iter::once(&entry.release).chain(&entry.previous))
            .map(|release| release.digest)
            .collect()
    }
}

impl Entry {
    /// Serves another release; what was served becomes the latest of the earlier ones.
    pub fn advance(&mut self, release: Release) {
        if self.release.digest == release.digest {
            self.release = release;
            return;
        }
        let before = std::mem::replace(&mut self.release, release);
        let now = self.release.digest;
        self.previous.retain(|earlier| earlier.digest != now && earlier.digest != before.digest);
        self.previous.insert(0, before);
        self.previous.truncate(MAX_PREVIOUS);
    }

    /// Serves an earlier release again. What was served stays at hand, so that a rollback can be taken back.
    pub fn return_to(&mut self, digest: FileDigest) -> bool {
        let Some(release) = self.previous.iter().find(|release| release.digest == digest).cloned() else { return false };
        self.advance(release);
        true
    }
}

/// `sha256:` before the digits, as everywhere where people read digests.
mod prefixed {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{DIGEST, FileDigest};

    pub(super) fn serialize<S: Serializer>(digest: &FileDigest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{DIGEST}{digest}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FileDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix(DIGEST).ok_or_else(|| D::Error::custom("expected `sha256:` and 64 hex digits"))?;
        FileDigest::try_from(digits.to_owned()).map_err(D::Error::custom)
    }
}
