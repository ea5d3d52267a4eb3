//! Everything that can go wrong with a package, and what kind of wrong it is: that decides how a program ends and what its user does.

use std::{io, path::PathBuf};

use manifest_schema::Diagnostics;

use crate::{
    FileDigest, LockfileError,
    archive::ArchiveError,
    inventory::InventoryError,
    package::PackageError,
    signature::{KeyError, SignatureError},
};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is not one that a package may be.
    #[error("the archive {0}")]
    Archive(#[from] ArchiveError),
    /// The contents are not what the inventory says.
    #[error("the package {0}")]
    Inventory(#[from] InventoryError),
    /// The manifest inside is not valid.
    #[error("the manifest in the package is not valid: {}", first(.0))]
    Manifest(#[source] Diagnostics),
    /// The folder can't be made into a package.
    #[error("{0}")]
    Package(#[from] PackageError),
    /// The signatures do not make the package trusted.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// A key that is none.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// What is installed can't be known.
    #[error("{0}")]
    Lockfile(#[from] LockfileError),
    /// The lockfile names a package that is not in the store.
    #[error("the package sha256:{0} is not in the store")]
    NotStored(FileDigest),
    /// The change is decided, and could not be carried out in full.
    #[error("the change is decided, but could not be carried out in full yet: {0}")]
    Unfinished(Box<Error>),
    /// The machine's fault.
    #[error("could not {action} `{}`: {source}", path.display())]
    File {
        /// A verb such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Our own fault.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What kind of wrong: the classes that users and scripts tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not a package, or not a key.
    Invalid,
    /// Nobody signed it.
    Unsigned,
    /// Nobody that is trusted signed it.
    UnknownKey,
    /// Not what was packaged or signed.
    Tampered,
    /// Too old.
    Expired,
    /// It is not there.
    NotFound,
    /// The machine's fault or ours.
    Internal,
}

impl Error {
    /// What kind of wrong this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Archive(ArchiveError::Entry { problem, .. }) if problem.is_damage() => Kind::Tampered,
            Self::Archive(ArchiveError::Read(_) | ArchiveError::Write(_))
            | Self::File { .. }
            | Self::Internal(_)
            | Self::Unfinished(_) => Kind::Internal,
            Self::NotStored(_) => Kind::NotFound,
            Self::Inventory(problem) if problem.is_tampering() => Kind::Tampered,
            Self::Archive(_) | Self::Inventory(_) | Self::Manifest(_) | Self::Package(_) | Self::Key(_) | Self::Lockfile(_) => {
                Kind::Invalid
            }
            Self::Signature(problem) => problem.kind(),
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.into(), source: source.into() }
    }
}

fn first(diagnostics: &Diagnostics) -> String {
    diagnostics.0.first().map_or_else(String::new, ToString::to_string)
}
