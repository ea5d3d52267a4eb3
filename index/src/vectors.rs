//! int8 vectors and the brute-force dot product over all of them.
//!
//! One scale a vector, symmetric. No approximate index: a hundred thousand dot products take about as long as one short
//! request takes in the encoder. Where an encoder puts what matters most first, the heads of all vectors are compared, and
//! whole vectors only of those whose heads are nearest. Vectors lie in blocks by slot; a change copies one block. Plain safe
//! Rust that the compiler vectorises; nothing here knows tools.

use std::ops::Range;
use std::sync::Arc;

use crate::cache::TextKey;
use crate::embed::EmbedError;
use crate::fusion::Ranked;
use crate::lexical::TopSlots;

/// Components multiplied in one go: short enough that the compiler unrolls the block and vectorises it. Longer blocks and one
/// plain loop were measured to take half as long again.
const BLOCK: usize = 32;
/// Slots of one block: what a change copies, 256 KiB for the shipped table.
pub(crate) const BLOCK_SLOTS: usize = 1024;
/// The head that has a loop of its own: the shipped table's.
pub(crate) const SHORT_HEAD: usize = 64;
/// Slots that are compared whole when heads are compared first; an index no larger is compared wholly, whatever the heads say.
const SHORTLIST: usize = 1024;

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
    heads: Vec<i8>,
    tails: Vec<i8>,
}

impl Block {
    /// How near the head of each row is.
    fn estimate(&self, head: &[i16], near: &mut Vec<f32>) {
        near.clear();
        if let Ok(head) = <&[i16; SHORT_HEAD]>::try_from(head) {
            // The same with a length known beforehand: a third of the time.
            let (rows, _) = self.heads.as_chunks::<SHORT_HEAD>();
            near.extend(rows.iter().zip(&self.scales).map(|(row, scale)| dot(head, row) as f32 * scale));
            return;
        }
        let rows = self.heads.chunks_exact(head.len()).zip(&self.scales);
        near.extend(rows.map(|(row, scale)| dot(head, row) as f32 * scale));
    }

    /// The rows of a slot.
    fn rows(&self, slot: u32) -> Range<usize> {
        let start = self.slots.partition_point(|held| *held < slot);
        start..start + self.slots.iter().skip(start).take_while(|held| **held == slot).count()
    }
}

/// All vectors of a snapshot, each belonging to a slot (a tool) and to a text. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct VectorTable {
    dimension: usize,
    /// Components compared first; all of them where the encoder's are of equal weight.
    head: usize,
    blocks: Vec<Arc<Block>>,
}

/// A row of a block that is being made: its slot, its text, and its vector.
pub(crate) type NewRow = (u32, TextKey, Arc<Quantized>);

impl VectorTable {
    /// No vectors yet. Heads are compared first where `head` is less than `dimension`.
    pub fn new(dimension: usize, head: usize) -> Self {
        Self { dimension, head: if head == 0 { dimension } else { head.min(dimension) }, blocks: Vec::new() }
    }

    /// Packs vectors that come sorted by slot; those of another length are left out.
    pub fn pack(dimension: usize, head: usize, rows: impl Iterator<Item = (u32, Arc<Quantized>)>) -> Self {
        let rows: Vec<NewRow> = rows.map(|(slot, row)| (slot, TextKey::default(), row)).collect();
        Self::pack_keyed(dimension, head, &rows)
    }

    pub(crate) fn pack_keyed(dimension: usize, head: usize, rows: &[NewRow]) -> Self {
        let mut table = Self::new(dimension, head);
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
            let (head, tail) = row.steps.split_at(self.head);
            block.slots.push(slot);
            block.keys.push(key);
            block.scales.push(row.scale);
            block.heads.extend_from_slice(head);
            block.tails.extend_from_slice(tail);
        }
        for vector in [&mut block.heads, &mut block.tails] {
            vector.shrink_to_fit();
        }
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
        let (head, tail) = self.parts(block, row)?;
        Some(Arc::new(Quantized { scale: *block.scales.get(row)?, steps: head.iter().chain(tail).copied().collect() }))
    }

    fn parts<'b>(&self, block: &'b Block, row: usize) -> Option<(&'b [i8], &'b [i8])> {
        let tail = self.dimension - self.head;
        let head = block.heads.get(row * self.head..(row + 1) * self.head)?;
        Some((head, block.tails.get(row * tail..(row + 1) * tail)?))
    }

    fn block(&self, slot: u32) -> Option<&Block> {
        self.blocks.get(slot as usize / BLOCK_SLOTS).map(Arc::as_ref)
    }

    /// For each query the `depth` slots with the best cosines among those that `accept` lets through, best first.
    ///
    /// One pass for all queries: the table does not fit a processor's caches, a block and the queries do.
    pub fn nearest(&self, queries: &[&Quantized], depth: usize, accept: &mut dyn FnMut(u32) -> bool) -> Vec<Ranked> {
        if self.dimension == 0 || queries.iter().any(|query| query.steps.len() != self.dimension) {
            return vec![Ranked::new(); queries.len()];
        }
        let wanted = if self.head < self.dimension { SHORTLIST.max(4 * depth) } else { depth };
        let mut lists: Vec<Shortlist> = queries.iter().map(|query| Shortlist::new(query, self.head, wanted)).collect();
        let mut near = Vec::with_capacity(BLOCK_SLOTS);
        for block in &self.blocks {
            for list in &mut lists {
                block.estimate(&list.head, &mut near);
                for (slot, near) in block.slots.iter().zip(&near) {
                    if *near > list.least && accept(*slot) {
                        list.push(*slot, *near);
                    }
                }
            }
        }
        lists.into_iter().zip(queries).map(|(list, query)| self.best_of(list, query, depth)).collect()
    }

    /// The whole cosines of a shortlist.
    fn best_of(&self, list: Shortlist, query: &Quantized, depth: usize) -> Ranked {
        let steps: Vec<i16> = query.steps.iter().map(|step| i16::from(*step)).collect();
        let mut best = TopSlots::new(depth);
        for slot in list.into_slots() {
            if let Some(cosine) = self.cosine(&steps, query.scale, slot) {
                best.push(slot, cosine);
            }
        }
        best.into_sorted()
    }

    /// The best cosine of a slot's vectors with a query of widened steps; nothing where it has none.
    pub(crate) fn cosine(&self, steps: &[i16], scale: f32, slot: u32) -> Option<f32> {
        let (query_head, query_tail) = steps.split_at_checked(self.head)?;
        let block = self.block(slot)?;
        let cosines = block.rows(slot).filter_map(|row| {
            let (head, tail) = self.parts(block, row)?;
            let steps = dot(query_head, head) + dot(query_tail, tail);
            Some(steps as f32 * scale * block.scales.get(row)?)
        });
        cosines.filter(|cosine| cosine.is_finite()).max_by(f32::total_cmp)
    }
}

/// The slots with the nearest heads of one query so far.
struct Shortlist {
    head: Vec<i16>,
    wanted: usize,
    /// What a head must exceed to enter.
    least: f32,
    found: Vec<(u32, f32)>,
}

impl Shortlist {
    fn new(query: &Quantized, head: usize, wanted: usize) -> Self {
        let head = query.steps.iter().take(head).map(|step| i16::from(*step)).collect();
        Self { head, wanted: wanted.max(1), least: f32::NEG_INFINITY, found: Vec::new() }
    }

    /// Keeps slots until there are twice as many as wanted, then the nearest: a sort once in a while, not a place for each.
    fn push(&mut self, slot: u32, near: f32) {
        // A slot's rows follow each other: the nearest stands for all.
        if let Some((last, held)) = self.found.last_mut().filter(|(last, _)| *last == slot) {
            debug_assert_eq!(*last, slot);
            *held = held.max(near);
            return;
        }
        if self.found.len() >= 2 * self.wanted {
            self.cut();
        }
        self.found.push((slot, near));
    }

    fn cut(&mut self) {
        if self.found.len() > self.wanted {
            let (_, last, _) = self.found.select_nth_unstable_by(self.wanted, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            self.least = last.1;
            self.found.truncate(self.wanted);
        }
    }

    /// In order; ties are then resolved as a whole pass would.
    fn into_slots(mut self) -> Vec<u32> {
        self.cut();
        let mut slots: Vec<u32> = self.found.into_iter().map(|(slot, _)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

fn dot(a: &[i16], b: &[i8]) -> i32 {
    let (a_blocks, a_rest) = a.as_chunks::<BLOCK>();
    let (b_blocks, b_rest) = b.as_chunks::<BLOCK>();
    let blocks: i32 = a_blocks.iter().zip(b_blocks).map(|(a, b)| dot_block(a, b)).sum();
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    blocks + rest
}

fn dot_block(a: &[i16; BLOCK], b: &[i8; BLOCK]) -> i32 {
    // Widened first: 16-bit products in pairs are what every x86-64 and ARM multiplies fastest.
    let b = b.map(i16::from);
    a.iter().zip(&b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}
