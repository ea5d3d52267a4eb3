//! Is there an answer at all? A request for nothing that is there is better answered with nothing than with ten poor hits.
//!
//! Asked of an answer as a whole, by raw scores: one good hit vouches for the rest, which may be the second tool of a request.
//! The bounds were measured, see `docs/retrieval.md`; the fusion has a lower floor of its own for each tool.

use crate::search::Hit;

/// Least cosine of a tool that shares a word with the request.
const WITH_WORDS: f32 = 0.10;
/// Least cosine of one that shares none, among a hundred tools.
const WITHOUT_WORDS: f32 = 0.30;
/// And so much more each time the tools double: the nearest of many is nearer by chance.
const PER_DOUBLING: f32 = 0.03;

/// Whether any of `hits` is a believable answer among `tools`.
pub fn convincing(hits: &[Hit], tools: usize) -> bool {
    let without_words = WITHOUT_WORDS + PER_DOUBLING * (tools.max(100) as f32 / 100.0).log2();
    hits.iter().any(|hit| {
        let has_words = hit.lexical.is_some_and(|score| score > 0.0);
        let least = if has_words { WITH_WORDS } else { without_words };
        hit.exact || hit.dense.map_or(has_words, |cosine| cosine >= least)
    })
}
