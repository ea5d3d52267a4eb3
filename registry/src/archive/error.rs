//! Why an archive was refused: one reason each, so that no two attacks look alike in a log.

use std::io;

use crate::{
    limits::MAX_RATIO,
    path::{Clash, PathProblem},
};

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A folder, a pipe, a device, a link.
    #[error("expected a regular file")]
    NotAFile,
    /// Larger than any package.
    #[error("has {found} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes found.
        found: u64,
        /// The most.
        limit: u64,
    },
    /// No record of an archive's end.
    #[error("is no zip archive, or its end is cut off")]
    NotAnArchive,
    /// Bytes after the archive, or a comment, where another reader may find another archive.
    #[error("has {bytes} bytes after its end")]
    Appended {
        /// How many.
        bytes: u64,
    },
    /// Bytes before the first file.
    #[error("has {bytes} bytes before its first file")]
    Prepended {
        /// How many.
        bytes: u64,
    },
    /// The format for larger archives, whose sizes other readers may ignore.
    #[error("is a zip64 archive")]
    Zip64,
    /// One part of several.
    #[error("is one part of several")]
    SeveralParts,
    /// Nothing in it.
    #[error("holds no file")]
    NoFiles,
    /// More files than a package has.
    #[error("lists {found} files, at most {limit} are allowed")]
    TooManyFiles {
        /// Files listed.
        found: u64,
        /// The most.
        limit: usize,
    },
    /// More than the most files with the longest paths need.
    #[error("its list of files has {found} bytes, at most {limit} are allowed")]
    DirectoryTooLarge {
        /// Bytes of the list.
        found: u64,
        /// The most.
        limit: u64,
    },
    /// The list is not where the end says.
    #[error("its list of files is said to end at byte {expected}, but it ends at {found}")]
    DirectoryPlace {
        /// Where the end record says it ends.
        expected: u64,
        /// Where the end record stands.
        found: u64,
    },
    /// The list itself is not one.
    #[error("its list of files is broken at entry {entry}")]
    DirectoryBroken {
        /// One-based number of the entry.
        entry: usize,
    },
    /// More or fewer entries than counted.
    #[error("its list of files has {bytes} bytes that belong to no entry")]
    DirectoryRest {
        /// How many.
        bytes: u64,
    },
    /// Bytes between the last file and the list.
    #[error("has {bytes} bytes between its last file and its list of files")]
    Hidden {
        /// How many.
        bytes: u64,
    },
    /// All files together unpack to more than a package has.
    #[error("unpacks to {found} bytes, at most {limit} are allowed")]
    UnpacksTooLarge {
        /// Bytes of all files, as listed.
        found: u64,
        /// The most.
        limit: u64,
    },
    /// Something about one entry.
    #[error("{entry}: {problem}")]
    Entry {
        /// Its path, or its number where the path is no text; escaped and cut.
        entry: String,
        /// What is wrong with it.
        #[source]
        problem: EntryProblem,
    },
    /// The machine's fault, not the archive's.
    #[error("could not be read: {0}")]
    Read(#[source] io::Error),
    /// What takes the bytes failed: the machine's fault, too.
    #[error("could not be unpacked: {0}")]
    Write(#[source] io::Error),
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// The path is not one of a package.
    #[error(transparent)]
    Path(#[from] PathProblem),
    /// The path can't lie beside another.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// The path's bytes are no text.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Text, but not marked so: another reader takes it for code page 437.
    #[error("the path is not ASCII and not marked as UTF-8")]
    NotMarkedUtf8,
    /// Readable with a password only.
    #[error("it is encrypted")]
    Encrypted,
    /// Sizes come after the data, where only a reader that trusts the data finds them.
    #[error("its sizes follow its data")]
    SizesAfterData,
    /// Flags that no package has.
    #[error("it has the flags {0:#06x}, which no package has")]
    Flags(u16),
    /// A compression that another reader may lack.
    #[error("it is packed by method {0}, packages use 0 and 8")]
    Method(u16),
    /// Needs a newer reader.
    #[error("it needs version {0} of the format, packages need at most 20")]
    Version(u16),
    /// Extra fields can hold another path or other sizes.
    #[error("it has {0} bytes of extra fields, packages have none")]
    Extra(usize),
    /// A comment, where no one looks.
    #[error("it has a comment of {0} bytes, packages have none")]
    Comment(usize),
    /// Part of an archive elsewhere.
    #[error("it begins in another part of the archive")]
    OtherPart,
    /// Points at another file.
    #[error("it is a symbolic link")]
    Link,
    /// Pipe, socket, device or folder.
    #[error("it is a special file (type {0:#o})")]
    Special(u32),
    /// Runs as its owner, or stays in place.
    #[error("it has the special mode bits {0:04o}")]
    SpecialBits(u32),
    /// Larger than a file of a package.
    #[error("it unpacks to {found} bytes, a file to at most {limit}")]
    TooLarge {
        /// Bytes, as listed.
        found: u64,
        /// The most.
        limit: u64,
    },
    /// Packs more than real files do.
    #[error("it unpacks {packed} bytes to {size}, more than {MAX_RATIO} times as many")]
    Ratio {
        /// Bytes packed.
        packed: u64,
        /// Bytes unpacked.
        size: u64,
    },
    /// Stored as it is, but with two sizes.
    #[error("it is stored as it is, but with {packed} bytes for {size}")]
    StoredSizes {
        /// Bytes in the archive.
        packed: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Not where the list says, or over another entry.
    #[error("it begins at byte {found}, but the entry before it ends at {expected}")]
    Place {
        /// Where the entry before it ends.
        expected: u64,
        /// Where the list says that it begins.
        found: u64,
    },
    /// There is no entry where the list says.
    #[error("there is no entry at byte {0}")]
    NoLocalHeader(u64),
    /// Reaches into the list of files.
    #[error("it ends at byte {end}, in the list of files at {directory}")]
    IntoDirectory {
        /// Where its data would end.
        end: u64,
        /// Where the list begins.
        directory: u64,
    },
    /// The list and the entry itself disagree.
    #[error("its {field} is {listed} in the list and {local} in front of its data")]
    Lies {
        /// Which value.
        field: &'static str,
        /// In the list.
        listed: u64,
        /// In front of the data.
        local: u64,
    },
    /// The list and the entry itself name two files.
    #[error("its path is another one in front of its data")]
    LiesAboutPath,
    /// The packed bytes are none.
    #[error("its data is damaged")]
    Damaged,
    /// Unpacks to more than listed.
    #[error("it unpacks to more than the {0} bytes that are listed")]
    Longer(u64),
    /// Unpacks to less than listed.
    #[error("it unpacks to {found} bytes, {listed} are listed")]
    Shorter {
        /// In the list.
        listed: u64,
        /// Unpacked.
        found: u64,
    },
    /// Packed bytes that belong to nothing.
    #[error("{0} bytes follow the end of its data")]
    Trailing(u64),
    /// Not the bytes that were packed.
    #[error("its checksum is {found:08x}, {listed:08x} is listed")]
    Checksum {
        /// In the list.
        listed: u32,
        /// Of the unpacked bytes.
        found: u32,
    },
}

impl EntryProblem {
    /// Whether the bytes are not those that were packed, rather than an archive that never was a package.
    pub(crate) const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged | Self::Longer(_) | Self::Shorter { .. } | Self::Trailing(_) | Self::Checksum { .. })
    }

    pub(crate) fn of(self, path: &str) -> ArchiveError {
        ArchiveError::Entry { entry: shown(path), problem: self }
    }
}

/// An untrusted path for a message: in backticks, escaped, cut.
pub(crate) fn shown(path: &str) -> String {
    const SHOWN: usize = 80;
    let cut: String = path.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if path.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{cut}{more}`")
}
