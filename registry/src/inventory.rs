//! The inventory: every file of a package with size, mode and SHA-256, inside the package as `pegboard.inventory.json`. Its own digest is
//! the package's identity: it binds every path and every byte, and nothing of how the archive happens to be packed.

use serde::{Deserialize, Serialize};

use crate::{FileDigest, path::PackagePath};

/// Where the inventory lies in a package.
pub const INVENTORY: &str = "pegboard.inventory.json";
/// Where the signatures lie in a package; the one file that the inventory does not list.
pub const SIGNATURE: &str = "pegboard.signature.json";
/// The manifest of the plugin.
pub const MANIFEST: &str = "plugin.yaml";

/// Every file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The format of this document: 1.
    pub format: u32,
    /// Name of the plugin, as in its manifest.
    pub plugin: String,
    /// Version of the plugin, as in its manifest.
    pub version: String,
    /// The files in the order of their paths' bytes.
    pub files: Vec<Listed>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// `644`, or `755` for what may be run.
    pub mode: FileMode,
    /// Its SHA-256.
    pub sha256: FileDigest,
}

/// The two modes that files of a package have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileMode {
    /// Read by all, written by its owner.
    #[serde(rename = "644")]
    Plain,
    /// The same, and run by all.
    #[serde(rename = "755")]
    Executable,
}

impl FileMode {
    /// The mode of a file that may or may not be run.
    #[must_use]
    pub const fn of(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::Plain }
    }

    /// The permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// Why an inventory was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// There is none.
    #[error("holds no `{INVENTORY}`")]
    Missing,
    /// Not the document it should be.
    #[error("`{INVENTORY}` is not an inventory: {0}")]
    Shape(String),
    /// Of a later program.
    #[error("`{INVENTORY}` has format {0}, this version reads format 1")]
    Format(u32),
    /// Not in the order of the paths, or a path twice.
    #[error("`{INVENTORY}` does not list its files in order, each once, at {0}")]
    Order(String),
    /// There is no manifest.
    #[error("holds no `{MANIFEST}`")]
    NoManifest,
    /// Says another name or version than the manifest.
    #[error("`{INVENTORY}` is of {listed}, `{MANIFEST}` of {found}")]
    OtherPlugin {
        /// Name and version in the inventory.
        listed: String,
        /// Name and version in the manifest.
        found: String,
    },
    /// A file that was added.
    #[error("{0} is not in `{INVENTORY}`: it was added afterwards")]
    Added(String),
    /// A file that was removed.
    #[error("{0} is in `{INVENTORY}` but not in the package: it was removed afterwards")]
    Removed(String),
    /// A file that was changed.
    #[error("{path} has another {what} than `{INVENTORY}` says: it was changed afterwards")]
    Changed {
        /// Its path, shown.
        path: String,
        /// `size`, `mode` or `digest`.
        what: &'static str,
    },
}

impl InventoryError {
    /// Whether the package was changed after it was made.
    pub(crate) const fn is_tampering(&self) -> bool {
        matches!(self, Self::Added(_) | Self::Removed(_) | Self::Changed { .. })
    }
}

impl Inventory {
    /// Reads an inventory; whether the files are those it lists is another question.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, InventoryError> {
        let inventory: Self = serde_json::from_slice(bytes).map_err(|error| InventoryError::Shape(error.to_string()))?;
        if inventory.format != 1 {
            return Err(InventoryError::Format(inventory.format));
        }
        for pair in inventory.files.windows(2) {
            if let [before, after] = pair
                && before.path >= after.path
            {
                return Err(InventoryError::Order(crate::archive::shown(&after.path)));
            }
        }
        for file in &inventory.files {
            PackagePath::parse(&file.path)
                .map_err(|problem| InventoryError::Shape(format!("{}: {problem}", crate::archive::shown(&file.path))))?;
        }
        Ok(inventory)
    }

    /// The document, the same bytes for the same files.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The file with this path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Listed> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().and_then(|at| self.files.get(at))
    }
}
