//! A plugin as the rest of the host sees it: its manifest, where its files are, and where it came from.

use std::{fmt, path::PathBuf};

use manifest_schema::{Digest, Manifest};
use serde::{Deserialize, Serialize};

/// Where a plugin came from; part of a grant's key, so that other code under the same name inherits nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// Shipped inside the program.
    Bundled,
    /// A folder given with `--plugins`, by its absolute path.
    Folder(PathBuf),
    /// Installed in the store.
    Store,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::Store => f.write_str("store"),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "bundled" => Ok(Self::Bundled),
            "store" => Ok(Self::Store),
            other => other
                .strip_prefix("folder:")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .map(Self::Folder)
                .ok_or_else(|| format!("expected `bundled`, `store` or `folder:/absolute/path`, found `{other}`")),
        }
    }
}

/// One plugin that can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Folder that holds `plugin.yaml`.
    pub root: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// Digest of every file of the folder: changes when any of the plugin's code changes.
    pub content: Digest,
}
