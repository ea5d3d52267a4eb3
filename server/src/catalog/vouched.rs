//! Who vouches for what is installed, where somebody has to: asked again at each look, since a key may have been taken from the list, or its day
//! be over, since the package was installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use registry::{Day, FileDigest, Lockfile, Store, TrustStore};

/// The operator's keys, and what was found to be signed by them.
#[derive(Debug)]
pub(crate) struct Vouchers {
    trust: TrustStore,
    today: Day,
    /// A signature that held, under the same keys on the same day, holds still: a package's digest is all that it is.
    known: BTreeSet<FileDigest>,
}

impl Vouchers {
    pub(crate) fn new(trust: TrustStore) -> Self {
        Self { trust, today: today(), known: BTreeSet::new() }
    }

    /// The keys as they are now.
    pub(crate) fn renew(&mut self, trust: TrustStore) {
        if trust != self.trust {
            self.trust = trust;
            self.known.clear();
        }
    }

    /// The installed plugins that nobody vouches for today, with the reason.
    pub(crate) fn missing(&mut self, store: &Store, lockfile: &Lockfile) -> BTreeMap<String, String> {
        let today = today();
        if today != self.today {
            self.today = today;
            self.known.clear();
        }
        let mut missing = BTreeMap::new();
        for entry in lockfile.entries().filter(|entry| entry.active) {
            let digest = entry.release.digest;
            if self.known.contains(&digest) {
                continue;
            }
            match store.vouchers(digest, &self.trust, today) {
                Ok(_) => drop(self.known.insert(digest)),
                Err(error) => drop(missing.insert(entry.name.to_string(), error.to_string())),
            }
        }
        missing
    }
}

fn today() -> Day {
    Day::of_seconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
