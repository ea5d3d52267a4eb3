//! How much a package may be. Everything that reads one is bounded by these numbers, before it reads.

/// The largest package, in bytes, as it lies on disk.
pub const MAX_PACKAGE_BYTES: u64 = 64 * 1024 * 1024;
/// The most files in a package, its own papers (inventory and signature) included.
pub const MAX_FILES: usize = 2_000;
/// The most bytes of all files together, unpacked.
pub const MAX_TOTAL_BYTES: u64 = 64 * 1024 * 1024;
/// The most bytes of one file, unpacked.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How many times larger than its packed bytes a file may be.
pub const MAX_RATIO: u64 = 100;
/// The most bytes of a path.
pub const MAX_PATH_BYTES: usize = 240;
/// The most bytes of one part of a path.
pub const MAX_PART_BYTES: usize = 128;
/// The most parts of a path.
pub const MAX_PATH_DEPTH: usize = 16;
/// The largest inventory or signature, in bytes: the most files with the longest paths, escaped.
pub(crate) const MAX_PAPER_BYTES: u64 = 4 * 1024 * 1024;

/// How much an archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes as it lies on disk.
    pub archive: u64,
    /// Files.
    pub files: usize,
    /// Bytes of all files together, unpacked.
    pub total: u64,
    /// Bytes of one file, unpacked.
    pub file: u64,
}

impl Bounds {
    /// A package's.
    pub const PACKAGE: Self = Self { archive: MAX_PACKAGE_BYTES, files: MAX_FILES, total: MAX_TOTAL_BYTES, file: MAX_FILE_BYTES };
    /// Another host's bundle, which brings all that its server loads: as much as a plugin's folder may hold.
    pub const FOREIGN: Self = Self { archive: 256 << 20, files: 20_000, total: 512 << 20, file: 128 << 20 };

    /// The largest list of entries at the end of an archive, in bytes: twice what the most files with the longest paths need.
    pub(crate) const fn directory(self) -> u64 {
        2 * (self.files * (46 + MAX_PATH_BYTES)) as u64
    }
}
