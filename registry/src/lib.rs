//! What a package is: how one is made, judged, verified and signed. `Archive` → [`Bundle`] → [`Trusted`], each a type, so that no step can be left out.
//!
//! Knows no network, no process, no environment and no clock: the day is passed in. What is installed and where it lies is not here yet.

mod archive;
mod bundle;
pub mod dependencies;
mod error;
mod hex;
mod ignore;
mod inventory;
pub mod limits;
pub mod names;
mod package;
mod path;
mod signature;
mod writer;

pub use archive::{Archive, ArchiveError, Entry, EntryProblem};
pub use bundle::Bundle;
pub use error::{Error, Kind};
pub use hex::FileDigest;
pub use inventory::{FileMode, INVENTORY, Inventory, InventoryError, Listed, MANIFEST, SIGNATURE};
pub use package::{Folder, PackageError, Packed};
pub use path::{Clash, PackagePath, PathProblem};
pub use signature::{Day, KeyError, KeyId, PublicKey, SecretKey, SignatureError, Terms, TrustStore, Trusted, TrustedKey, sign};
