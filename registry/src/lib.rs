//! What a package is, how one gets into the store, and what is installed. `Archive` → [`Bundle`] → [`Vouched`] → [`Proposal`] → [`Approved`] → the
//! lockfile, each a type, so that no step can be left out.
//!
//! Knows no network, no process, no environment and no clock: the day is passed in, and so is a package that was fetched.

mod archive;
mod bundle;
pub mod dependencies;
mod error;
mod hex;
mod ignore;
pub mod install;
mod inventory;
pub mod limits;
pub mod names;
mod package;
mod path;
mod signature;
mod store;
mod writer;

pub use archive::{Archive, ArchiveError, Entry as ArchiveEntry, EntryProblem};
pub use bundle::Bundle;
pub use error::{Error, Kind};
pub use hex::FileDigest;
pub use install::{Approved, Consent, Difference, Proposal, Turn, Vouched};
pub use inventory::{FileMode, INVENTORY, Inventory, InventoryError, Listed, MANIFEST, SIGNATURE};
pub use package::{Folder, PackageError, Packed};
pub use path::{Clash, PackagePath, PathProblem};
pub use signature::{Day, KeyError, KeyId, PublicKey, SecretKey, SignatureError, Terms, TrustStore, Trusted, TrustedKey, sign};
pub use store::{
    Collected, Entry, FileChange, HISTORY, LOCKFILE, Lease, Lockfile, LockfileError, MAX_PREVIOUS, Place, Release, STORE, Steady,
    Store, Writer,
};
