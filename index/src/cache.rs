//! Vectors kept on disk, one file a model, keyed by the digest of the embedded text.
//!
//! A cache is a convenience: a file that is damaged, foreign or too large is ignored with a warning and made anew, never
//! trusted. Several servers may share the folder: files are replaced by rename, and read again before they are replaced.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::Warning;
use crate::vectors::Quantized;

/// Digest of a text.
pub(crate) type TextKey = [u8; 32];
pub(crate) type Vectors = HashMap<TextKey, Arc<Quantized>>;

const MAGIC: &[u8; 8] = b"PEGVEC01";
const DIGEST: usize = 32;
/// Room for half a million vectors of 768 steps.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Vectors of tools that are not served now are kept up to this many, so that a plugin switched off and on costs nothing.
pub(crate) const MAX_SPARE: usize = 20_000;
const MAX_DIMENSION: usize = 8192;

/// What was wrong with a cache file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheProblem {
    /// The system could not read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Larger than any cache of ours.
    #[error("too large: expected at most {limit} bytes, found {found}")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
        /// Bytes found.
        found: u64,
    },
    /// Not written by this program, or by another version.
    #[error("not a vector cache of this version")]
    Foreign,
    /// Made with another model.
    #[error("made by another model: expected `{expected}`, found `{found}`")]
    OtherModel {
        /// The model in use.
        expected: String,
        /// The model in the file.
        found: String,
    },
    /// Cut short, grown, or changed.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// The cache file of one model in one folder.
#[derive(Debug, Clone)]
pub struct VectorCache {
    path: PathBuf,
    model: String,
    dimension: usize,
}

impl VectorCache {
    /// The file that belongs to `model` in `folder`. Touches nothing yet.
    pub fn new(folder: &Path, model: &str, dimension: usize) -> Self {
        let name: String = Sha256::digest(model.as_bytes()).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { path: folder.join(format!("{name}.vectors")), model: model.to_owned(), dimension }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; a missing file is an empty cache.
    pub(crate) fn load(&self) -> (Vectors, Option<Warning>) {
        match self.read() {
            Ok(vectors) => (vectors, None),
            Err(problem) => (Vectors::new(), Some(Warning::CacheIgnored { path: self.path.clone(), problem })),
        }
    }

    /// Writes `vectors` together with what other processes have added, those of `live` first when there is too much.
    pub(crate) fn save(&self, vectors: &Vectors, live: impl Fn(&TextKey) -> bool) -> Option<Warning> {
        let mut kept = self.read().unwrap_or_default();
        kept.extend(vectors.iter().map(|(key, vector)| (*key, Arc::clone(vector))));
        let mut spare = 0;
        kept.retain(|key, _| {
            live(key) || {
                spare += 1;
                spare <= MAX_SPARE
            }
        });
        let written = self.write(&kept);
        written.err().map(|error| Warning::CacheNotWritten { path: self.path.clone(), message: error.to_string() })
    }

    fn write(&self, vectors: &Vectors) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let bytes = self.encode(vectors);
        let mut file = tempfile::Builder::new().prefix(".vectors-").tempfile_in(folder)?;
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    fn encode(&self, vectors: &Vectors) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + vectors.len() * self.entry_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.model.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.model.as_bytes());
        bytes.extend_from_slice(&(self.dimension as u32).to_le_bytes());
        bytes.extend_from_slice(&(vectors.len() as u32).to_le_bytes());
        for (key, vector) in vectors {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&vector.scale.to_le_bytes());
            bytes.extend(vector.steps.iter().map(|step| step.cast_unsigned()));
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    fn entry_bytes(&self) -> usize {
        DIGEST + 4 + self.dimension
    }

    fn read(&self) -> Result<Vectors, CacheProblem> {
        let unreadable = |error: std::io::Error| CacheProblem::Unreadable(error.to_string());
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vectors::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let found = file.metadata().map_err(unreadable)?.len();
        if found > MAX_FILE_BYTES {
            return Err(CacheProblem::TooLarge { limit: MAX_FILE_BYTES, found });
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        self.decode(&bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vectors, CacheProblem> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CacheProblem::Foreign)?;
        let (model_bytes, rest) = number(rest)?;
        let (model, rest) = rest.split_at_checked(model_bytes).ok_or(CacheProblem::Damaged("cut in its header"))?;
        if model != self.model.as_bytes() {
            let found = String::from_utf8_lossy(model.get(..model.len().min(200)).unwrap_or_default()).into_owned();
            return Err(CacheProblem::OtherModel { expected: self.model.clone(), found });
        }
        let (dimension, rest) = number(rest)?;
        if dimension != self.dimension || dimension == 0 || dimension > MAX_DIMENSION {
            return Err(CacheProblem::Damaged("another dimension than the model's"));
        }
        let (count, rest) = number(rest)?;
        let entry_bytes = self.entry_bytes();
        if count.checked_mul(entry_bytes).and_then(|entries| entries.checked_add(DIGEST)) != Some(rest.len()) {
            return Err(CacheProblem::Damaged("its length does not fit its count"));
        }
        let (body, digest) = bytes.split_at_checked(bytes.len() - DIGEST).ok_or(CacheProblem::Damaged("no checksum"))?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(CacheProblem::Damaged("wrong checksum"));
        }
        rest.chunks_exact(entry_bytes)
            .take(count)
            .map(entry)
            .collect::<Option<Vectors>>()
            .ok_or(CacheProblem::Damaged("a bad entry"))
    }
}

fn number(bytes: &[u8]) -> Result<(usize, &[u8]), CacheProblem> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(CacheProblem::Damaged("cut in its header"))?;
    Ok((u32::from_le_bytes(*number) as usize, rest))
}

/// The checksum says that we wrote it, not that the scale is a number: a bad one would make every comparison false.
fn entry(bytes: &[u8]) -> Option<(TextKey, Arc<Quantized>)> {
    let (key, rest) = bytes.split_first_chunk::<DIGEST>()?;
    let (scale, steps) = rest.split_first_chunk::<4>()?;
    let scale = f32::from_le_bytes(*scale);
    let steps = steps.iter().map(|byte| byte.cast_signed()).collect();
    (scale.is_finite() && scale >= 0.0).then(|| (*key, Arc::new(Quantized { scale, steps })))
}
