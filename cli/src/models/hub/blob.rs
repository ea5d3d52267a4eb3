//! One file of a commit: streamed to disk, never more than its listed size, and held against its listed digest.

use std::{fs::File, io::Write as _, path::Path, time::Duration};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{
    Hub,
    listing::{Digest, Listed},
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs::web::{self, Patience, Wanted},
    models::receipt::hex,
};

/// Bytes a second below which a file does not come in any useful time.
const SLOWEST: u64 = 64 << 10;

impl Hub {
    /// Fetches a file; `moved` hears how much of it is here.
    pub(super) fn file(
        &self,
        repository: &str,
        commit: &str,
        path: &str,
        listed: &Listed,
        to: &Path,
        moved: &mut dyn FnMut(u64),
    ) -> Outcome {
        let address = format!("{}/{repository}/resolve/{commit}/{path}", self.endpoint);
        let patience = Patience::default();
        let whole = patience.whole + Duration::from_secs(listed.size / SLOWEST);
        let wanted = Wanted {
            address: &address,
            limit: listed.size,
            patience: Patience { whole, ..patience },
            bearer: self.token.as_deref(),
        };
        let mut file = File::create_new(to).map_err(|error| Failure::file("write", to, &error))?;
        let mut digest = Running::new(listed);
        let mut here = 0;
        let mut keep = |piece: &[u8]| {
            digest.update(piece);
            here += piece.len() as u64;
            moved(here);
            file.write_all(piece).map_err(|error| Failure::file("write", to, &error))
        };
        let came = web::get(&wanted, &mut keep).map_err(|failure| self.explained(failure))?;
        if came.bytes != listed.size {
            return Err(other("models.hub_size", path, &format!("{} bytes", listed.size), &format!("{} bytes", came.bytes)));
        }
        let found = digest.finish();
        match &listed.digest {
            Digest::Sha256(expected) | Digest::GitBlob(expected) if *expected == found => Ok(()),
            Digest::Sha256(expected) => Err(other("models.digest", path, &format!("SHA-256 {expected}"), &found)),
            Digest::GitBlob(expected) => Err(other("models.digest", path, &format!("git blob {expected}"), &found)),
        }
    }
}

/// A digest of bytes as they come.
enum Running {
    Large(Sha256),
    Small(Sha1),
}

impl Running {
    /// git digests a small file with its kind and size before it. SHA-1 says that a file came as it was listed, by whoever listed it; the receipt
    /// has the SHA-256 of every file.
    fn new(listed: &Listed) -> Self {
        match listed.digest {
            Digest::Sha256(_) => Self::Large(Sha256::new()),
            Digest::GitBlob(_) => Self::Small(Sha1::new_with_prefix(format!("blob {}\0", listed.size))),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Large(digest) => digest.update(piece),
            Self::Small(digest) => digest.update(piece),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Large(digest) => hex(&digest.finalize()),
            Self::Small(digest) => hex(&digest.finalize()),
        }
    }
}

fn other(code: &'static str, path: &str, expected: &str, found: &str) -> Failure {
    Failure::new(Exit::Tampered, code, format!("`{path}` is not what the hub lists: expected {expected}, found {found}"))
        .hint("nothing was installed; try again, and doubt the place that the hub leads to when it stays so")
}
