//! int8 vectors and the brute-force dot product over all of them.
//!
//! One scale a vector, symmetric. No approximate index of lists or graphs that updates would wear out: every vector is looked at.
//! Where an encoder's components are even, that look is at their signs, one bit each, and only the vectors with the most signs
//! in common are compared wholly. Vectors lie in blocks by slot; a change copies one block. Plain safe Rust that the compiler
//! vectorises; nothing here knows tools.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::TextKey;
use crate::embed::EmbedError;
use crate::fusion::Ranked;
use crate::postings::TopSlots;

/// Components multiplied in one go: short enough that the compiler unrolls the block and vectorises it. Longer blocks and one
/// plain loop were measured to take half as long again.
const BLOCK: usize = 32;
/// Slots of one block: what a change copies, 256 KiB for the shipped table.
pub(crate) const BLOCK_SLOTS: usize = 1024;
/// Words of signs that have a loop of their own: the shipped table's.
const WORDS: usize = 4;
/// One in so many vectors is compared wholly where signs are compared first, and at least and at most so many. What that misses is
/// measured in `tests/it/table.rs` and `docs/retrieval.md`.
const SHARE: usize = 4;
const LEAST_WHOLE: usize = 1024;
const MOST_WHOLE: usize = 4096;

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

/// The vectors of [`BLOCK_SLOTS`] neighbouring slots, sorted by slot; a slot may have several.
#[derive(Debug, Default)]
pub(crate) struct Block {
    slots: Vec<u32>,
    keys: Vec<TextKey>,
    scales: Vec<f32>,
    /// Row by row, one bit a component; empty where signs say little.
    signs: Vec<u64>,
    steps: Vec<i8>,
}

impl Block {
    /// In how many signs each row differs from a query.
    fn differences(&self, query: &[u64], differences: &mut Vec<u16>) {
        differences.clear();
        if let Ok(query) = <&[u64; WORDS]>::try_from(query) {
            // The same with a length known beforehand: several rows at once.
            let (rows, _) = self.signs.as_chunks::<WORDS>();
            differences.extend(rows.iter().map(|row| differing(row, query)));
            return;
        }
        differences.extend(self.signs.chunks_exact(query.len()).map(|row| differing(row, query)));
    }

    /// The rows of a slot.
    fn rows(&self, slot: u32) -> Range<usize> {
        let start = self.slots.partition_point(|held| *held < slot);
        start..start + self.slots.iter().skip(start).take_while(|held| **held == slot).count()
    }
}

fn differing(row: &[u64], query: &[u64]) -> u16 {
    row.iter().zip(query).map(|(row, query)| (row ^ query).count_ones()).sum::<u32>() as u16
}

/// The signs of a vector's components.
fn signs(steps: &[i8]) -> impl Iterator<Item = u64> {
    let word = |part: &[i8]| part.iter().enumerate().fold(0, |word, (at, step)| word | u64::from(*step > 0) << at);
    steps.chunks(u64::BITS as usize).map(word)
}

/// All vectors of a snapshot, each belonging to a slot (a tool) and to a text. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct VectorTable {
    dimension: usize,
    /// Whether signs are compared first.
    even: bool,
    blocks: Vec<Arc<Block>>,
}

/// A row of a block that is being made: its slot, its text, and its vector.
pub(crate) type NewRow = (u32, TextKey, Arc<Quantized>);

impl VectorTable {
    /// No vectors yet. Signs are compared first where components are `even`.
    pub fn new(dimension: usize, even: bool) -> Self {
        Self { dimension, even, blocks: Vec::new() }
    }

    /// Packs vectors that come sorted by slot; those of another length are left out.
    pub fn pack(dimension: usize, even: bool, rows: impl Iterator<Item = (u32, Arc<Quantized>)>) -> Self {
        let rows: Vec<NewRow> = rows.map(|(slot, row)| (slot, TextKey::default(), row)).collect();
        Self::pack_keyed(dimension, even, &rows)
    }

    pub(crate) fn pack_keyed(dimension: usize, even: bool, rows: &[NewRow]) -> Self {
        let mut table = Self::new(dimension, even);
        for part in rows.chunk_by(|(a, ..), (b, ..)| *a as usize / BLOCK_SLOTS == *b as usize / BLOCK_SLOTS) {
            let at = part.first().map_or(0, |(slot, ..)| *slot as usize / BLOCK_SLOTS);
            table.replace(at, part.iter().cloned());
        }
        table
    }

    /// Makes one block anew; its rows come sorted by slot. Those of another length are left out.
    pub(crate) fn replace(&mut self, at: usize, rows: impl Iterator<Item = NewRow>) {
        let mut block = Block::default();
        for (slot, key, row) in rows.filter(|(_, _, row)| row.steps.len() == self.dimension) {
            block.slots.push(slot);
            block.keys.push(key);
            block.scales.push(row.scale);
            block.steps.extend_from_slice(&row.steps);
            if self.even {
                block.signs.extend(signs(&row.steps));
            }
        }
        block.steps.shrink_to_fit();
        block.signs.shrink_to_fit();
        while self.blocks.len() <= at {
            self.blocks.push(Arc::default());
        }
        if let Some(place) = self.blocks.get_mut(at) {
            *place = Arc::new(block);
        }
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.slots.len()).sum()
    }

    /// No vector at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.iter().all(|block| block.slots.is_empty())
    }

    /// Slots that have a vector.
    pub(crate) fn slots(&self) -> usize {
        self.blocks.iter().map(|block| block.slots.chunk_by(|a, b| a == b).count()).sum()
    }

    /// Has this slot a vector?
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.block(slot).is_some_and(|block| !block.rows(slot).is_empty())
    }

    /// The vector of one of a slot's texts.
    pub(crate) fn find(&self, slot: u32, key: &TextKey) -> Option<Arc<Quantized>> {
        let block = self.block(slot)?;
        let row = block.rows(slot).find(|row| block.keys.get(*row) == Some(key))?;
        self.row(block, row)
    }

    /// Every row, block by block.
    pub(crate) fn rows(&self) -> impl Iterator<Item = NewRow> {
        self.blocks.iter().flat_map(move |block| (0..).map_while(move |row| self.whole(block, row)))
    }

    fn whole(&self, block: &Block, row: usize) -> Option<NewRow> {
        Some((*block.slots.get(row)?, *block.keys.get(row)?, self.row(block, row)?))
    }

    fn row(&self, block: &Block, row: usize) -> Option<Arc<Quantized>> {
        let steps = self.steps(block, row)?;
        Some(Arc::new(Quantized { scale: *block.scales.get(row)?, steps: steps.into() }))
    }

    fn steps<'b>(&self, block: &'b Block, row: usize) -> Option<&'b [i8]> {
        block.steps.get(row * self.dimension..(row + 1) * self.dimension)
    }

    fn block(&self, slot: u32) -> Option<&Block> {
        self.blocks.get(slot as usize / BLOCK_SLOTS).map(Arc::as_ref)
    }

    /// For each query the `depth` slots with the best cosines among those that `accept` lets through, best first.
    pub fn nearest(&self, queries: &[&Quantized], depth: usize, accept: &mut dyn FnMut(u32) -> bool) -> Vec<Ranked> {
        if self.dimension == 0 || queries.iter().any(|query| query.steps.len() != self.dimension) {
            return vec![Ranked::new(); queries.len()];
        }
        let rows = self.len();
        let whole = (rows / SHARE).clamp(LEAST_WHOLE, MOST_WHOLE).max(4 * depth);
        let alike = |query: &&Quantized| {
            if self.even && whole < rows { self.alike(query, whole, accept) } else { (0..self.room()).collect() }
        };
        let candidates: Vec<Vec<u32>> = queries.iter().map(alike).collect();
        candidates.into_iter().zip(queries).map(|(slots, query)| self.best_of(&slots, query, depth, accept)).collect()
    }

    /// Slots that blocks have room for.
    fn room(&self) -> u32 {
        (self.blocks.len() * BLOCK_SLOTS) as u32
    }

    /// At least `wanted` slots with the most signs in common with a query, in order; those that differ in as many as the last are
    /// all taken, so that nothing depends on the order of rows.
    fn alike(&self, query: &Quantized, wanted: usize, accept: &mut dyn FnMut(u32) -> bool) -> Vec<u32> {
        let query: Vec<u64> = signs(&query.steps).collect();
        let mut found: Vec<(u16, u32)> = Vec::with_capacity(4 * wanted);
        // How many of those found differ in so many signs.
        let mut tally = vec![0usize; self.dimension + 1];
        let mut most = self.dimension as u16;
        let mut within = 0;
        let mut differences = Vec::with_capacity(BLOCK_SLOTS);
        for block in &self.blocks {
            block.differences(&query, &mut differences);
            for (slot, differs) in block.slots.iter().zip(&differences) {
                if *differs > most || !accept(*slot) {
                    continue;
                }
                found.push((*differs, *slot));
                if let Some(tally) = tally.get_mut(usize::from(*differs)) {
                    *tally += 1;
                    within += 1;
                }
                // Enough are nearer: the farthest are no longer looked at.
                while let Some(last) = tally.get(usize::from(most)).filter(|last| within - **last >= wanted) {
                    within -= last;
                    most -= 1;
                }
            }
        }
        let mut slots: Vec<u32> = found.into_iter().filter(|(differs, _)| *differs <= most).map(|(_, slot)| slot).collect();
        slots.dedup();
        slots
    }

    /// The whole cosines of some slots.
    fn best_of(&self, slots: &[u32], query: &Quantized, depth: usize, accept: &mut dyn FnMut(u32) -> bool) -> Ranked {
        let steps: Vec<i16> = query.steps.iter().map(|step| i16::from(*step)).collect();
        let mut best = TopSlots::new(depth);
        for part in slots.chunk_by(|a, b| *a as usize / BLOCK_SLOTS == *b as usize / BLOCK_SLOTS) {
            let Some(block) = part.first().and_then(|slot| self.block(*slot)) else { continue };
            let mut row = 0;
            for slot in part {
                row += block.slots.iter().skip(row).take_while(|held| *held < slot).count();
                let rows = row..row + block.slots.iter().skip(row).take_while(|held| *held == slot).count();
                let cosine = self.best_row(block, rows, &steps, query.scale);
                if let Some(cosine) = cosine.filter(|cosine| *cosine > best.threshold() && accept(*slot)) {
                    best.push(*slot, cosine);
                }
            }
        }
        best.into_sorted()
    }

    /// The best cosine of a slot's vectors with a query of widened steps; nothing where it has none.
    pub(crate) fn cosine(&self, steps: &[i16], scale: f32, slot: u32) -> Option<f32> {
        let block = self.block(slot)?;
        self.best_row(block, block.rows(slot), steps, scale)
    }

    fn best_row(&self, block: &Block, rows: Range<usize>, query: &[i16], scale: f32) -> Option<f32> {
        let cosine = |row: usize| Some(dot(query, self.steps(block, row)?) as f32 * scale * block.scales.get(row)?);
        rows.filter_map(cosine).filter(|cosine| cosine.is_finite()).max_by(f32::total_cmp)
    }
}

fn dot(a: &[i16], b: &[i8]) -> i32 {
    let (a_blocks, a_rest) = a.as_chunks::<BLOCK>();
    let (b_blocks, b_rest) = b.as_chunks::<BLOCK>();
    let blocks: i32 = a_blocks.iter().zip(b_blocks).map(|(a, b)| dot_block(a, b)).sum();
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    blocks + rest
}

/// Widened first: 16-bit products in pairs are what every x86-64 and ARM multiplies fastest. Inlined, or the widened block goes
/// through memory.
#[inline(always)]
fn dot_block(a: &[i16; BLOCK], b: &[i8; BLOCK]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(i16::from(*b))).sum()
}
