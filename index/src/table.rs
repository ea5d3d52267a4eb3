//! The default encoder: a table of word pieces, fitted to a sentence encoder, inside the program.
//!
//! A text is the sum of its pieces' rows, at length one: no library, no download, no thread, microseconds a request. How the
//! table was made, from what, and how good it is: `index/train/README.md`. Nothing is copied at start: rows are read where
//! they lie in the program's file, so only those of words that are used take memory.

use crate::embed::{EmbedError, Embedder};
use crate::wordpiece::pieces;

/// The table that this program ships.
static SHIPPED: &[u8] = include_bytes!("../model/static.table");

const MAGIC: &[u8; 8] = b"PEGTAB01";
/// Pieces of a text that are read; the fit saw no more either.
const MAX_PIECES: usize = 128;
const MAX_DIMENSION: usize = 4096;
const MAX_ROWS: usize = 1 << 20;

/// An encoder that is a table.
pub struct StaticEmbedder {
    id: String,
    table: Table<'static>,
}

/// Why bytes are no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// Not written by `index/train`, or by another version.
    #[error("not a table of this version")]
    Foreign,
    /// Cut short, grown, or with numbers that cannot be.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

impl StaticEmbedder {
    /// The table inside the program.
    ///
    /// # Errors
    /// [`BadTable`] where the program was built with a damaged one.
    pub fn shipped() -> Result<Self, BadTable> {
        Self::read(SHIPPED)
    }

    /// A table of `index/train`, for measuring one that is not shipped.
    ///
    /// # Errors
    /// [`BadTable`] where the bytes are none. The digest that becomes the id is taken as it is written.
    pub fn read(bytes: &'static [u8]) -> Result<Self, BadTable> {
        let (digest, table) = Table::read(bytes)?;
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id: format!("static@{digest}"), table })
    }
}

impl std::fmt::Debug for StaticEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StaticEmbedder({}, {} rows of {})", self.id, self.table.rows, self.table.dimension)
    }
}

impl Embedder for StaticEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimension(&self) -> usize {
        self.table.dimension
    }

    /// The table is rotated so that it is (`index/train/fit.py`, `spreading`).
    fn even(&self) -> bool {
        true
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        Ok(self.table.embed(text))
    }

    fn embed_documents(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|text| self.table.embed(text)).collect())
    }
}

/// The parts of a table file, all little-endian: magic, digest of the rest, dimension, rows, bytes of all pieces; the end of
/// each piece in them (u32), the pieces themselves, sorted; what a step is worth (f32) per row; the rows in 8-bit steps.
struct Table<'a> {
    dimension: usize,
    rows: usize,
    ends: &'a [[u8; 4]],
    words: &'a [u8],
    scales: &'a [[u8; 4]],
    steps: &'a [u8],
}

impl<'a> Table<'a> {
    fn read(bytes: &'a [u8]) -> Result<([u8; 32], Self), BadTable> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadTable::Foreign)?;
        let cut = BadTable::Damaged("cut in its header");
        let (digest, rest) = rest.split_first_chunk::<32>().ok_or(cut.clone())?;
        let (header, rest) = rest.split_first_chunk::<12>().ok_or(cut)?;
        let (numbers, _) = header.as_chunks::<4>();
        let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number) as usize);
        let mut next = || numbers.next().unwrap_or_default();
        let (dimension, rows, word_bytes) = (next(), next(), next());
        if dimension == 0 || dimension > MAX_DIMENSION || rows == 0 || rows > MAX_ROWS {
            return Err(BadTable::Damaged("dimension or number of rows out of range"));
        }
        let sizes = [rows * 4, word_bytes, rows * 4, rows * dimension];
        if Some(rest.len()) != sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size)) {
            return Err(BadTable::Damaged("another length than its header says"));
        }
        let (ends, rest) = rest.split_at(rows * 4);
        let (words, rest) = rest.split_at(word_bytes);
        let (scales, steps) = rest.split_at(rows * 4);
        Ok((*digest, Self { dimension, rows, ends: ends.as_chunks().0, words, scales: scales.as_chunks().0, steps }))
    }

    fn word(&self, row: usize) -> Option<&'a [u8]> {
        let end = |row: usize| self.ends.get(row).map(|end| u32::from_le_bytes(*end) as usize);
        let start = if row == 0 { 0 } else { end(row - 1)? };
        self.words.get(start..end(row)?)
    }

    /// A search by halves in the file itself: nothing is built at start.
    fn row_of(&self, piece: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low.midpoint(high);
            match self.word(middle)?.cmp(piece.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return u32::try_from(middle).ok(),
            }
        }
        None
    }

    /// The unit vector of a text; zeros where no piece is known.
    fn embed(&self, text: &str) -> Vec<f32> {
        let mut sum = vec![0f32; self.dimension];
        let add = |row: u32| {
            let row = row as usize;
            let scale = self.scales.get(row).map_or(0.0, |scale| f32::from_le_bytes(*scale));
            let steps = self.steps.get(row * self.dimension..(row + 1) * self.dimension).unwrap_or_default();
            for (sum, step) in sum.iter_mut().zip(steps) {
                *sum += scale * f32::from(step.cast_signed());
            }
        };
        pieces(text, MAX_PIECES, |piece| self.row_of(piece), add);
        let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|x| *x /= length);
        }
        sum
    }
}
