//! int8 vectors and the brute-force dot product over all of them.
//!
//! One scale a vector, symmetric. No approximate index: a hundred thousand dot products take about as long as one short
//! request takes in the encoder. Plain safe Rust that the compiler vectorises; nothing here knows tools.

use std::sync::Arc;

use crate::embed::EmbedError;

/// Components multiplied in one go: short enough that the compiler unrolls the block and vectorises it. Longer blocks and one
/// plain loop were measured to take half as long again.
const BLOCK: usize = 32;

/// A unit vector in 8-bit steps: component ≈ `steps[i] × scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// What one step is worth.
    pub scale: f32,
    /// The components.
    pub steps: Box<[i8]>,
}

impl Quantized {
    /// Normalises and quantises `vector`; refuses another length, not-a-number and infinity.
    pub fn new(vector: &[f32], dimension: usize) -> Result<Self, EmbedError> {
        let bad = |found: String| EmbedError::BadVector { expected: dimension, found };
        if vector.len() != dimension {
            return Err(bad(vector.len().to_string()));
        }
        let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(bad("not-a-number or infinity".to_owned()));
        }
        let largest = vector.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        if largest == 0.0 {
            // A text without any known token: near to nothing.
            return Ok(Self { scale: 0.0, steps: vec![0; dimension].into() });
        }
        let steps = vector.iter().map(|x| (x / largest * 127.0).round() as i8).collect();
        Ok(Self { scale: (f64::from(largest) / 127.0 / norm) as f32, steps })
    }
}

/// All vectors of a snapshot in one block, each belonging to a slot (a tool); a slot may have several.
#[derive(Debug, Default)]
pub struct VectorTable {
    dimension: usize,
    steps: Vec<i8>,
    scales: Vec<f32>,
    slots: Vec<u32>,
}

impl VectorTable {
    /// Packs the vectors; those of another length are left out by the caller.
    pub fn pack<'a>(dimension: usize, rows: impl Iterator<Item = (u32, &'a Arc<Quantized>)>) -> Self {
        let mut table = Self { dimension, ..Self::default() };
        for (slot, row) in rows.filter(|(_, row)| row.steps.len() == dimension) {
            table.steps.extend_from_slice(&row.steps);
            table.scales.push(row.scale);
            table.slots.push(slot);
        }
        table
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No vector at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// For each query the best cosine of each slot below `slots`; a slot without vectors keeps negative infinity.
    ///
    /// One pass for all queries: the table does not fit a processor's caches, the queries do.
    pub fn best_by_slot(&self, queries: &[&Quantized], slots: usize) -> Vec<Vec<f32>> {
        let mut best = vec![vec![f32::NEG_INFINITY; slots]; queries.len()];
        let fits = self.dimension > 0 && queries.iter().all(|query| query.steps.len() == self.dimension);
        if !fits {
            return best;
        }
        let widened: Vec<(Vec<i16>, f32)> =
            queries.iter().map(|query| (query.steps.iter().map(|step| i16::from(*step)).collect(), query.scale)).collect();
        let mut row = vec![0i16; self.dimension];
        let rows = self.steps.chunks_exact(self.dimension).zip(self.scales.iter().zip(&self.slots));
        for (steps, (scale, slot)) in rows {
            // Widened once for all queries; 16-bit products in pairs are what every x86-64 and ARM multiplies fastest.
            row.iter_mut().zip(steps).for_each(|(wide, step)| *wide = i16::from(*step));
            for ((query, query_scale), best) in widened.iter().zip(&mut best) {
                let cosine = dot(query, &row) as f32 * query_scale * scale;
                if let Some(entry) = best.get_mut(*slot as usize) {
                    *entry = entry.max(cosine);
                }
            }
        }
        best
    }
}

fn dot(a: &[i16], b: &[i16]) -> i32 {
    let (a_blocks, a_rest) = a.as_chunks::<BLOCK>();
    let (b_blocks, b_rest) = b.as_chunks::<BLOCK>();
    let blocks: i32 = a_blocks.iter().zip(b_blocks).map(|(a, b)| dot_block(a, b)).sum();
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    blocks + rest
}

fn dot_block(a: &[i16; BLOCK], b: &[i16; BLOCK]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}
