//! An archive: listed and judged, nothing of it unpacked. Its bytes come out one entry at a time, counted and checked while they do.
//!
//! Written here rather than taken from a zip crate: those take the last of two entries with one name, let absolute paths through and skip
//! bytes before and after the archive. The file is read at fixed places and never as a whole.

mod bytes;
mod directory;
mod error;
mod foreign;
mod judge;

use std::{fs::File, io, path::Path};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use rustix::fs::{Mode, OFlags};

pub use error::{ArchiveError, EntryProblem};

pub(crate) use error::shown;

use crate::{limits::Bounds, path::PackagePath};

/// An archive whose list was judged. Its contents are still untrusted: see [`crate::Bundle`].
#[derive(Debug)]
pub struct Archive {
    file: File,
    entries: Vec<Entry>,
    /// Where the list begins, which is where the last entry's data ends.
    directory: u64,
    bounds: Bounds,
}

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(crate) path: PackagePath,
    pub(crate) size: u64,
    pub(crate) packed: u64,
    pub(crate) executable: bool,
    pub(crate) packing: Packing,
    pub(crate) crc: u32,
    data: u64,
}

/// Whose archive it is: which forms of zip are taken, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A package, as we write them.
    Package,
    /// Another host's, as common programs write them.
    Foreign,
}

impl Form {
    const fn bounds(self) -> Bounds {
        match self {
            Self::Package => Bounds::PACKAGE,
            Self::Foreign => Bounds::FOREIGN,
        }
    }
}

/// Opens a file without waiting, so that a pipe is refused rather than waited for.
fn opened(path: &Path) -> Result<File, ArchiveError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| ArchiveError::Read(error.into()))?.into())
}

fn length(file: &File, bounds: Bounds) -> Result<u64, ArchiveError> {
    let metadata = file.metadata().map_err(ArchiveError::Read)?;
    match metadata.len() {
        _ if !metadata.is_file() => Err(ArchiveError::NotAFile),
        found if found > bounds.archive => Err(ArchiveError::TooLarge { found, limit: bounds.archive }),
        found => Ok(found),
    }
}

/// How an entry's bytes lie in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Stored,
    Deflated,
}

impl Entry {
    /// Its path.
    #[must_use]
    pub const fn path(&self) -> &PackagePath {
        &self.path
    }

    /// Its bytes, unpacked.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it may be run.
    #[must_use]
    pub const fn executable(&self) -> bool {
        self.executable
    }
}

impl Archive {
    /// Opens a file and judges its list.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::judge(opened(path)?)
    }

    /// Judges an open file.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn judge(file: File) -> Result<Self, ArchiveError> {
        let length = length(&file, Bounds::PACKAGE)?;
        Self::judge_as(file, length, Form::Package)
    }

    fn judge_as(file: File, length: u64, form: Form) -> Result<Self, ArchiveError> {
        let bounds = form.bounds();
        let end = directory::end(&file, length, bounds)?;
        let list = directory::read(&file, end.start, end.size).map_err(ArchiveError::Read)?;
        let entries = judge::entries(&file, &list, &end, form)?;
        Ok(Self { file, entries, directory: end.start, bounds })
    }

    /// Its files, in the archive's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with this path.
    pub(crate) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path.as_str() == path)
    }

    /// Unpacks one entry into `sink`, piece by piece, never more than is listed.
    ///
    /// # Errors
    /// When the data is not what the list says, or `sink` fails. `sink` may have had some bytes by then.
    pub fn unpack(&self, entry: &Entry, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ArchiveError> {
        let mut crc = Crc::new();
        let mut checked = |piece: &[u8]| {
            crc.update(piece);
            sink(piece).map_err(ArchiveError::Write)
        };
        match entry.packing {
            Packing::Stored => self.pieces(entry, |piece| checked(piece).map(|()| true))?,
            Packing::Deflated => self.inflate(entry, &mut checked)?,
        }
        let found = crc.sum();
        if found != entry.crc {
            return Err(EntryProblem::Checksum { listed: entry.crc, found }.of(entry.path.as_str()));
        }
        Ok(())
    }

    /// One entry's bytes, at most `limit` of them.
    pub(crate) fn bytes(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let limit = limit.min(self.bounds.file);
        if entry.size > limit {
            return Err(EntryProblem::TooLarge { found: entry.size, limit }.of(entry.path.as_str()));
        }
        let mut bytes = Vec::new();
        self.unpack(entry, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// One entry's bytes as they lie in the archive, for a copy of the archive.
    pub(crate) fn packed(&self, entry: &Entry) -> Result<Vec<u8>, ArchiveError> {
        directory::read(&self.file, entry.data, entry.packed).map_err(ArchiveError::Read)
    }

    /// Hands out the packed bytes in pieces until the receiver wants no more.
    fn pieces(&self, entry: &Entry, mut piece: impl FnMut(&[u8]) -> Result<bool, ArchiveError>) -> Result<(), ArchiveError> {
        const PIECE: u64 = 64 * 1024;
        let (mut at, end) = (entry.data, (entry.data + entry.packed).min(self.directory));
        while at < end {
            let bytes = directory::read(&self.file, at, PIECE.min(end - at)).map_err(ArchiveError::Read)?;
            at += bytes.len() as u64;
            if !piece(&bytes)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn inflate(&self, entry: &Entry, sink: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
        let fails = |problem: EntryProblem| problem.of(entry.path.as_str());
        let mut inflater = Decompress::new(false);
        let mut buffer = vec![0; 64 * 1024];
        let mut ended = false;
        self.pieces(entry, |piece| {
            let mut input = piece;
            while !ended {
                let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
                let status =
                    inflater.decompress(input, &mut buffer, FlushDecompress::None).map_err(|_| fails(EntryProblem::Damaged))?;
                let used = usize::try_from(inflater.total_in() - before_in).unwrap_or(usize::MAX);
                let made = usize::try_from(inflater.total_out() - before_out).unwrap_or(usize::MAX);
                if inflater.total_out() > entry.size {
                    return Err(fails(EntryProblem::Longer(entry.size)));
                }
                sink(buffer.get(..made).unwrap_or_default())?;
                input = input.get(used..).unwrap_or_default();
                ended = status == Status::StreamEnd;
                // No progress: it wants the next piece.
                if used == 0 && made == 0 {
                    break;
                }
            }
            Ok(!ended)
        })?;
        if !ended {
            return Err(fails(EntryProblem::Damaged));
        }
        if inflater.total_in() < entry.packed {
            return Err(fails(EntryProblem::Trailing(entry.packed - inflater.total_in())));
        }
        if inflater.total_out() < entry.size {
            return Err(fails(EntryProblem::Shorter { listed: entry.size, found: inflater.total_out() }));
        }
        Ok(())
    }
}
