//! Collections that a snapshot and its writer share: cloning costs a pointer a chunk, and a change copies one chunk.
//!
//! Nothing here knows tools. A snapshot that was handed out never changes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Items of one chunk: what a change copies at most.
pub(crate) const CHUNK: usize = 1024;
/// Parts of a [`Multimap`].
const SHARDS: u64 = 256;

/// A vector in chunks; items never written are the type's default.
#[derive(Debug, Clone)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Clone + Default> Chunked<T> {
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// Grows to hold it where needed.
    pub(crate) fn set(&mut self, at: usize, item: T) {
        while self.chunks.len() <= at / CHUNK {
            self.chunks.push(Arc::new(vec![T::default(); CHUNK]));
        }
        if let Some(place) = self.chunks.get_mut(at / CHUNK).and_then(|chunk| Arc::make_mut(chunk).get_mut(at % CHUNK)) {
            *place = item;
        }
    }

    /// Places there are, written or not.
    pub(crate) fn room(&self) -> usize {
        self.chunks.len() * CHUNK
    }
}

/// Values by the hash of a text. Texts with the same hash share an entry: whoever looks one up compares.
#[derive(Debug, Clone)]
pub(crate) struct Multimap<T> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<u64, Vec<T>>>>,
}

impl<T> Default for Multimap<T> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Arc::default()).collect() }
    }
}

impl<T: Clone + Ord> Multimap<T> {
    /// In order.
    pub(crate) fn get(&self, key: &str) -> &[T] {
        let (shard, hash) = self.place(key);
        self.shards.get(shard).and_then(|shard| shard.get(&hash)).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn insert(&mut self, key: &str, value: T) {
        let (shard, hash) = self.place(key);
        let Some(shard) = self.shards.get_mut(shard) else { return };
        let values = Arc::make_mut(shard).entry(hash).or_default();
        if let Err(at) = values.binary_search(&value) {
            values.insert(at, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &str, value: &T) {
        let (shard, hash) = self.place(key);
        let Some(shard) = self.shards.get_mut(shard) else { return };
        let shard = Arc::make_mut(shard);
        if let Some(values) = shard.get_mut(&hash) {
            values.retain(|held| held != value);
            if values.is_empty() {
                shard.remove(&hash);
            }
        }
    }

    fn place(&self, key: &str) -> (usize, u64) {
        let hash = self.hasher.hash_one(key);
        ((hash % SHARDS) as usize, hash)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_snapshot_stays_as_it_was_and_shares_what_did_not_change() {
        let mut items = Chunked::<u32>::default();
        (0..3000).for_each(|at| items.set(at, at as u32 + 1));
        let before = items.clone();
        items.set(2000, 7);
        assert_eq!((before.get(2000), items.get(2000)), (Some(&2001), Some(&7)));
        assert_eq!((items.get(3000), items.get(9999), items.room()), (Some(&0), None, 3072));
        let shared = |at: usize| Arc::ptr_eq(&before.chunks[at], &items.chunks[at]);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
    }

    #[test]
    fn values_of_a_key_come_in_order_and_once() {
        let mut map = Multimap::<(u8, u32)>::default();
        for value in [(1, 4), (0, 9), (1, 4), (1, 2)] {
            map.insert("status", value);
        }
        let before = map.clone();
        map.remove("status", &(0, 9));
        map.remove("absent", &(0, 9));
        assert_eq!(before.get("status"), [(0, 9), (1, 2), (1, 4)]);
        assert_eq!(map.get("status"), [(1, 2), (1, 4)]);
        assert_eq!(map.get("absent"), []);
    }
}
