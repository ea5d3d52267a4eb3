//! Who vouches for a package: Ed25519 signatures inside it, over a statement that names every path with its digest, checked offline
//! against the operator's list of keys.

mod day;
mod envelope;
mod keys;
mod statement;
mod trust;

use std::{fs::File, io::BufWriter};

pub use day::Day;
pub use keys::{KeyError, KeyId, PublicKey, SecretKey};
pub(crate) use statement::Contents;
pub use trust::{TrustStore, Trusted, TrustedKey};

use crate::{Archive, Bundle, Error, Kind, SIGNATURE, path::PackagePath, writer::ArchiveWriter};

/// Why the signatures of a package do not make it trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the package is not signed")]
    Unsigned,
    /// None is by a key of the operator's list.
    #[error("the package is signed by a key that is not trusted: {}", .0.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "))]
    UnknownKey(Vec<String>),
    /// The keys are trusted for other plugins.
    #[error("the package is signed by `{key}`, which is not trusted for the plugin `{plugin}`")]
    OtherPlugins {
        /// Name of the key.
        key: String,
        /// Name of the plugin.
        plugin: String,
    },
    /// Not a document of signatures.
    #[error("`{SIGNATURE}` is no signature of a package: {0}")]
    Broken(String),
    /// The bytes that were signed are others.
    #[error("the signature by `{0}` is not of these bytes")]
    Forged(String),
    /// Properly signed, but of another package.
    #[error("what `{key}` signed is another package: {what}")]
    OtherPackage {
        /// Name of the key.
        key: String,
        /// What differs.
        what: String,
    },
    /// The key is no longer trusted.
    #[error("the package is signed by `{key}`, which is trusted until {until} only")]
    KeyExpired {
        /// Name of the key.
        key: String,
        /// The last day.
        until: Day,
    },
    /// The signer set an end.
    #[error("the signature by `{key}` holds until {until} only")]
    Expired {
        /// Name of the key.
        key: String,
        /// The last day.
        until: Day,
    },
}

impl SignatureError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Unsigned => Kind::Unsigned,
            Self::UnknownKey(_) | Self::OtherPlugins { .. } => Kind::UnknownKey,
            Self::Broken(_) | Self::Forged(_) | Self::OtherPackage { .. } => Kind::Tampered,
            Self::KeyExpired { .. } | Self::Expired { .. } => Kind::Expired,
        }
    }
}

/// What a signer says beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The day of signing. Nothing is decided by it: a thief of a key could write any day.
    pub signed: Day,
    /// The last day on which the signature holds.
    pub expires: Option<Day>,
}

/// Writes the package with a signature in place of any it had, into an empty file that can be read, too; verifies what was written.
///
/// # Errors
/// When the package changed since it was verified, or the file can't be written.
pub fn sign(bundle: &Bundle, key: &SecretKey, terms: Terms, mut out: File) -> Result<Bundle, Error> {
    let fails = |error: std::io::Error| Error::file("write", "the package", error);
    let internal = |error: serde_json::Error| Error::Internal(error.to_string());
    let payload = statement::of(&Contents::of(bundle), terms).bytes().map_err(internal)?;
    let envelope = envelope::seal(&payload, key).map_err(internal)?;
    let name = PackagePath::parse(SIGNATURE).map_err(|problem| Error::Internal(problem.to_string()))?;
    let mut writer = ArchiveWriter::new(BufWriter::new(&mut out));
    for entry in bundle.archive().entries().iter().filter(|entry| entry.path().as_str() != SIGNATURE) {
        writer.copy(entry, &bundle.archive().packed(entry)?).map_err(fails)?;
    }
    writer.add(&name, &envelope, false).map_err(fails)?;
    drop(writer.finish().map_err(fails)?);
    out.sync_all().map_err(fails)?;
    let signed = Archive::judge(out)?.verify()?;
    if signed.digest() == bundle.digest() {
        Ok(signed)
    } else {
        Err(Error::Internal("the package changed while it was signed".to_owned()))
    }
}
