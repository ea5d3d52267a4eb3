//! Two ranked lists into one score: min-max over the top of each list, then a weighted sum.
//!
//! Not reciprocal ranks: where one side is much better, ranks throw away exactly what says so.

use std::collections::HashMap;

/// How many entries of a list are normalised; what comes later counts as nothing.
pub const DEPTH: usize = 100;

/// A slot and its raw score; lists are sorted best first.
pub type Ranked = Vec<(u32, f32)>;

/// The dense side's share: half in small catalogues, .3 in large ones, where near neighbours of every request abound.
/// Chosen on half of the development queries for both encoders; see `docs/retrieval.md`.
pub fn dense_weight(tools: usize) -> f32 {
    const SMALL: f32 = 250.0;
    const LARGE: f32 = 2_000.0;
    let tools = (tools as f32).clamp(SMALL, LARGE);
    0.5 - 0.2 * (tools / SMALL).log2() / (LARGE / SMALL).log2()
}

/// What fusion knows of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// 0 to 1.
    pub score: f32,
    /// Raw lexical score, if the tool is in that list.
    pub lexical: Option<f32>,
    /// Raw cosine, if the tool is in that list.
    pub dense: Option<f32>,
}

/// Scores by words alone. `lexical` is sorted best first.
pub fn lexical_only(lexical: &Ranked) -> HashMap<u32, Candidate> {
    let scale = Scale::of(lexical, true);
    lexical.iter().map(|(slot, raw)| (*slot, Candidate { score: scale.at(*raw), lexical: Some(*raw), dense: None })).collect()
}

/// Fuses both lists. A tool that shares no word with the request and is nearer than `floor` to nothing is left out: a request
/// for nothing that is there has no answer rather than ten poor ones. `has_vector` tells tools that the encoder has not seen yet: their words alone decide, so that a tool
/// is not pushed down for having arrived a second ago.
pub fn fuse(
    lexical: &Ranked,
    dense: &Ranked,
    weight: f32,
    floor: f32,
    has_vector: impl Fn(u32) -> bool,
) -> HashMap<u32, Candidate> {
    let mut fused = lexical_only(lexical);
    for (slot, candidate) in &mut fused {
        if has_vector(*slot) {
            candidate.score *= 1.0 - weight;
        }
    }
    let scale = Scale::of(dense, false);
    for (slot, raw) in dense {
        if *raw < floor && !fused.contains_key(slot) {
            continue;
        }
        let candidate = fused.entry(*slot).or_default();
        candidate.score += weight * scale.at(*raw);
        candidate.dense = Some(*raw);
    }
    fused
}

/// The line from the last of the top [`DEPTH`] (0) to the first (1).
struct Scale {
    low: f32,
    high: f32,
}

impl Scale {
    /// A short lexical list ends at 0, the score of everything that matched nothing; cosines have no such floor.
    fn of(list: &Ranked, zero_floor: bool) -> Self {
        let high = list.first().map_or(0.0, |(_, score)| *score);
        let low = match list.get(DEPTH - 1) {
            Some((_, score)) => *score,
            None if zero_floor => 0.0,
            None => list.last().map_or(0.0, |(_, score)| *score),
        };
        Self { low, high }
    }

    fn at(&self, score: f32) -> f32 {
        if self.high > self.low { ((score - self.low) / (self.high - self.low)).clamp(0.0, 1.0) } else { 1.0 }
    }
}
