//! Two ranked lists into one score: each score in units of its list's spread, then a weighted sum.
//!
//! Not reciprocal ranks: where one side is much better, ranks throw away exactly what says so. Not the line from the last to
//! the first either: a list whose first stands out says more than one whose scores lie close together, and measured in spreads
//! it weighs more, for each request anew.

use std::collections::HashMap;

/// How many entries a list has; what comes later counts as nothing.
pub const DEPTH: usize = 100;
/// Entries of the words' list that count: its tail shares one common word with the request.
const LEXICAL_DEPTH: usize = 50;

/// A slot and its raw score; lists are sorted best first.
pub type Ranked = Vec<(u32, f32)>;

/// The dense side's share: more than half in small catalogues, less in large ones, where near neighbours of every request abound.
/// Chosen on half of the development queries for both encoders; see `docs/retrieval.md`.
pub fn dense_weight(tools: usize) -> f32 {
    const SMALL: f32 = 250.0;
    const LARGE: f32 = 2_000.0;
    let tools = (tools as f32).clamp(SMALL, LARGE);
    0.6 - 0.15 * (tools / SMALL).log2() / (LARGE / SMALL).log2()
}

/// What fusion knows of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// 0 to [`Fused::top`].
    pub score: f32,
    /// Raw lexical score, if the tool is in that list.
    pub lexical: Option<f32>,
    /// Raw cosine, if the tool is in that list.
    pub dense: Option<f32>,
}

/// The candidates of one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fused {
    /// By slot.
    pub candidates: HashMap<u32, Candidate>,
    /// The score of a tool that is first in both lists; 0 where there is no candidate.
    pub top: f32,
}

/// Scores by words alone. `lexical` is sorted best first.
pub fn lexical_only(lexical: &Ranked) -> Fused {
    let scale = Scale::of(lexical, LEXICAL_DEPTH, true);
    let candidate = |raw: f32| Candidate { score: scale.at(raw), lexical: Some(raw), dense: None };
    let candidates = lexical.iter().map(|(slot, raw)| (*slot, candidate(*raw))).collect();
    Fused { candidates, top: lexical.first().map_or(0.0, |(_, raw)| scale.at(*raw)) }
}

/// Fuses both lists. A tool that shares no word with the request and is nearer than `floor` to nothing is left out: a request
/// for nothing that is there has no answer rather than ten poor ones. `has_vector` tells tools that the encoder has not seen
/// yet: their words alone decide, so that a tool is not pushed down for having arrived a second ago.
pub fn fuse(lexical: &Ranked, dense: &Ranked, weight: f32, floor: f32, has_vector: impl Fn(u32) -> bool) -> Fused {
    let mut fused = lexical_only(lexical);
    let by_words = fused.top;
    for (slot, candidate) in &mut fused.candidates {
        if has_vector(*slot) {
            candidate.score *= 1.0 - weight;
        }
    }
    let scale = Scale::of(dense, DEPTH, false);
    for (slot, raw) in dense {
        if *raw < floor && !fused.candidates.contains_key(slot) {
            continue;
        }
        let candidate = fused.candidates.entry(*slot).or_default();
        candidate.score += weight * scale.at(*raw);
        candidate.dense = Some(*raw);
    }
    let by_meaning = dense.first().map_or(0.0, |(_, raw)| scale.at(*raw));
    // Words that decide alone may reach higher than both together.
    let most = fused.candidates.values().map(|candidate| candidate.score).fold(0.0, f32::max);
    fused.top = ((1.0 - weight) * by_words + weight * by_meaning).max(most);
    fused
}

/// How far a score is above the end of its list, in standard deviations of the list.
struct Scale {
    low: f32,
    spread: f32,
}

impl Scale {
    /// A short lexical list ends at 0, the score of everything that matched nothing; cosines have no such floor.
    fn of(list: &Ranked, depth: usize, zero_floor: bool) -> Self {
        let scores = || list.iter().take(depth).map(|(_, score)| f64::from(*score));
        let short = list.len() < depth;
        let low = if short && zero_floor { 0.0 } else { scores().next_back().unwrap_or_default() };
        // What matched nothing is part of the list, too.
        let count = if zero_floor { depth } else { list.len().min(depth) }.max(1) as f64;
        let mean = scores().sum::<f64>() / count;
        let variance = scores().map(|score| score * score).sum::<f64>() / count - mean * mean;
        Self { low: low as f32, spread: variance.max(0.0).sqrt() as f32 }
    }

    fn at(&self, score: f32) -> f32 {
        // All the same, or a single one: nothing tells them apart, and each is as good as the first.
        if self.spread > f32::EPSILON * score.abs() { ((score - self.low) / self.spread).max(0.0) } else { 1.0 }
    }
}
