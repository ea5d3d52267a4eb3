//! Which part of a set a request belongs to, by the digest of its id: the same on every machine, whatever the order of a file.

use sha2::{Digest, Sha256};

/// Whether a request is in the odd half; the even half is the one to choose settings by.
pub fn half_is_odd(id: &str) -> bool {
    fold(id, 2) == 1
}

/// The part, below `folds`, that an id falls into.
pub fn fold(id: &str, folds: u8) -> u8 {
    Sha256::digest(id.as_bytes()).first().copied().unwrap_or_default() % folds.max(1)
}
