//! The metrics of one ranking, and their mean. Binary gain; what each key means is said at its field.

use std::collections::HashSet;

use super::dataset::{Judged, Matching};

/// The keys, in the order of [`Metrics::values`].
pub const KEYS: [&str; 11] = ["R@1", "R@3", "R@5", "R@10", "R@20", "C@5", "C@10", "H@1", "NDCG@5", "NDCG@10", "MRR"];

/// The metrics of one request, or their means over many; each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Metrics {
    /// Share of the right answers among the first 1, 3, 5, 10 and 20.
    pub recall: [f64; 5],
    /// 1 where all right answers are among the first 5 and 10.
    pub complete: [f64; 2],
    /// 1 where the first is right.
    pub hit: f64,
    /// Discounted gain of the first 5 and 10, against the best order there could be.
    pub ndcg: [f64; 2],
    /// 1 by the place of the first right answer, over the whole ranking given.
    pub mrr: f64,
}

const RECALL_AT: [usize; 5] = [1, 3, 5, 10, 20];
const FEW_AT: [usize; 2] = [5, 10];

impl Metrics {
    /// The numbers, by [`KEYS`].
    pub fn values(&self) -> [f64; KEYS.len()] {
        let [r1, r3, r5, r10, r20] = self.recall;
        let ([c5, c10], [n5, n10]) = (self.complete, self.ndcg);
        [r1, r3, r5, r10, r20, c5, c10, self.hit, n5, n10, self.mrr]
    }

    fn from_values([r1, r3, r5, r10, r20, c5, c10, hit, n5, n10, mrr]: [f64; KEYS.len()]) -> Self {
        Self { recall: [r1, r3, r5, r10, r20], complete: [c5, c10], hit, ndcg: [n5, n10], mrr }
    }
}

/// Judges one ranking. Stand-ins count as what they stand for, and an id that comes again counts nothing.
pub fn score(judged: &Judged, ranked: &[String]) -> Metrics {
    let relevant: HashSet<&str> = judged.relevant.iter().map(String::as_str).collect();
    let mut seen = HashSet::with_capacity(ranked.len());
    let stands_for = |id: &'_ String| judged.alt.get(id).map_or_else(|| id.clone(), Clone::clone);
    let distinct = ranked.iter().map(stands_for).filter(|id| seen.insert(id.clone()));
    let mut hits: Vec<usize> =
        distinct.enumerate().filter(|(_, id)| relevant.contains(id.as_str())).map(|(rank, _)| rank).collect();
    let wanted = match judged.matching {
        Matching::All => relevant.len(),
        Matching::Any => {
            hits.truncate(1);
            1
        }
    };
    let within = |k: usize| hits.iter().filter(|rank| **rank < k).count();
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ndcg = |k: usize| {
        let ideal: f64 = (0..wanted.min(k)).map(gain).sum();
        let gained: f64 = hits.iter().filter(|rank| **rank < k).map(|rank| gain(*rank)).sum();
        if ideal > 0.0 { gained / ideal } else { 0.0 }
    };
    Metrics {
        recall: RECALL_AT.map(|k| within(k) as f64 / wanted.max(1) as f64),
        complete: FEW_AT.map(|k| f64::from(u8::from(within(k) == wanted))),
        hit: f64::from(u8::from(hits.first() == Some(&0))),
        ndcg: FEW_AT.map(ndcg),
        mrr: hits.first().map_or(0.0, |rank| 1.0 / (*rank as f64 + 1.0)),
    }
}

/// The mean of each; zeros of nothing.
pub fn mean(all: &[Metrics]) -> Metrics {
    let mut sums = [0.0; KEYS.len()];
    for one in all {
        sums.iter_mut().zip(one.values()).for_each(|(sum, value)| *sum += value);
    }
    Metrics::from_values(sums.map(|sum| sum / all.len().max(1) as f64))
}
