//! What a package's archive may be: a narrow profile of zip in which every reader sees the same files. All is judged from the list and the
//! headers, before a byte is unpacked or written.

use std::fs::File;

use super::{
    ArchiveError, Entry, EntryProblem, Packing,
    directory::{self, LOCAL_BYTES, Listed, Local},
    error::shown,
};
use crate::{
    limits::{MAX_FILE_BYTES, MAX_RATIO, MAX_TOTAL_BYTES},
    path::{PackagePath, PathSet},
};

const UNIX: u8 = 3;
/// The path is UTF-8.
const FLAG_UTF8: u16 = 1 << 11;
/// How hard the packer tried; says nothing about the data.
const FLAG_EFFORT: u16 = 0b110;
const FLAG_SIZES_AFTER: u16 = 1 << 3;
/// Encrypted, strongly encrypted, headers masked.
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// Judges every entry; in the order of the archive.
pub(super) fn entries(file: &File, directory: &[u8], count: usize, start: u64) -> Result<Vec<Entry>, ArchiveError> {
    let listed = directory::list(directory, count)?;
    let mut paths = PathSet::default();
    let mut judged = Vec::with_capacity(listed.len());
    let (mut next, mut total) = (0, 0);
    for (index, entry) in listed.iter().enumerate() {
        let path = path(entry, index)?;
        let fails = |problem: EntryProblem| problem.of(path.as_str());
        paths.add(&path).map_err(|clash| fails(clash.into()))?;
        let executable = permitted(entry).map_err(fails)?;
        let packing = sizes(entry).map_err(fails)?;
        total += u64::from(entry.header.size);
        if total > MAX_TOTAL_BYTES {
            return Err(ArchiveError::UnpacksTooLarge { found: listed.iter().map(|entry| u64::from(entry.header.size)).sum() });
        }
        let data = place(file, entry, next, start).map_err(|problem| match problem {
            Misplaced::Prepended(bytes) => ArchiveError::Prepended { bytes },
            Misplaced::Read(error) => ArchiveError::Read(error),
            Misplaced::Entry(problem) => fails(problem),
        })?;
        next = data + u64::from(entry.header.packed);
        if next > start {
            return Err(fails(EntryProblem::IntoDirectory { end: next, directory: start }));
        }
        judged.push(Entry {
            path,
            size: entry.header.size.into(),
            packed: entry.header.packed.into(),
            executable,
            packing,
            crc: entry.header.crc,
            data,
        });
    }
    if next < start { Err(ArchiveError::Hidden { bytes: start - next }) } else { Ok(judged) }
}

fn path(entry: &Listed<'_>, index: usize) -> Result<PackagePath, ArchiveError> {
    let number = || format!("entry {}", index + 1);
    let text =
        std::str::from_utf8(entry.name).map_err(|_| ArchiveError::Entry { entry: number(), problem: EntryProblem::NotUtf8 })?;
    if !text.is_ascii() && entry.header.flags & FLAG_UTF8 == 0 {
        return Err(EntryProblem::NotMarkedUtf8.of(text));
    }
    PackagePath::parse(text).map_err(|problem| {
        let entry = if text.is_empty() { number() } else { shown(text) };
        ArchiveError::Entry { entry, problem: problem.into() }
    })
}

/// Judges what kind of file an entry is; says whether it is executable.
fn permitted(entry: &Listed<'_>) -> Result<bool, EntryProblem> {
    const TYPE: u32 = 0o170_000;
    let flags = entry.header.flags;
    if flags & FLAGS_ENCRYPTED != 0 {
        return Err(EntryProblem::Encrypted);
    }
    if flags & FLAG_SIZES_AFTER != 0 {
        return Err(EntryProblem::SizesAfterData);
    }
    if flags & !(FLAG_UTF8 | FLAG_EFFORT) != 0 {
        return Err(EntryProblem::Flags(flags));
    }
    if entry.header.needs > 20 {
        return Err(EntryProblem::Version(entry.header.needs));
    }
    if entry.extra != 0 {
        return Err(EntryProblem::Extra(entry.extra));
    }
    if entry.comment != 0 {
        return Err(EntryProblem::Comment(entry.comment));
    }
    if entry.disk != 0 {
        return Err(EntryProblem::OtherPart);
    }
    // Whatever host an entry says it is from: readers look at these bits without asking.
    let mode = entry.attributes >> 16;
    match mode & TYPE {
        0o100_000 | 0 => {}
        0o120_000 => return Err(EntryProblem::Link),
        other => return Err(EntryProblem::Special(other)),
    }
    if mode & 0o7000 != 0 {
        return Err(EntryProblem::SpecialBits(mode & 0o7000));
    }
    Ok(entry.host == UNIX && mode & 0o111 != 0)
}

fn sizes(entry: &Listed<'_>) -> Result<Packing, EntryProblem> {
    let (packed, size) = (u64::from(entry.header.packed), u64::from(entry.header.size));
    let packing = match entry.header.method {
        0 => Packing::Stored,
        8 => Packing::Deflated,
        other => return Err(EntryProblem::Method(other)),
    };
    if size > MAX_FILE_BYTES {
        return Err(EntryProblem::TooLarge { found: size });
    }
    if packing == Packing::Stored && packed != size {
        return Err(EntryProblem::StoredSizes { packed, size });
    }
    if size > packed.saturating_mul(MAX_RATIO) {
        return Err(EntryProblem::Ratio { packed, size });
    }
    Ok(packing)
}

/// Why an entry's data is not where it must be.
enum Misplaced {
    Prepended(u64),
    Read(std::io::Error),
    Entry(EntryProblem),
}

/// Judges the header in front of the data; returns where the data begins. Entries follow each other without a gap, so that none lies over
/// another and nothing is hidden between them.
fn place(file: &File, entry: &Listed<'_>, expected: u64, directory: u64) -> Result<u64, Misplaced> {
    let offset = u64::from(entry.offset);
    if offset != expected {
        return Err(match expected {
            0 => Misplaced::Prepended(offset),
            _ => Misplaced::Entry(EntryProblem::Place { expected, found: offset }),
        });
    }
    let local = directory::local(file, offset, directory)
        .map_err(Misplaced::Read)?
        .ok_or(Misplaced::Entry(EntryProblem::NoLocalHeader(offset)))?;
    agrees(entry, &local).map_err(Misplaced::Entry)?;
    Ok(offset + LOCAL_BYTES + local.name.len() as u64)
}

/// A reader that streams believes the header, one that seeks believes the list: both must say the same.
fn agrees(entry: &Listed<'_>, local: &Local) -> Result<(), EntryProblem> {
    if local.name != entry.name {
        return Err(EntryProblem::LiesAboutPath);
    }
    let (listed, found) = (&entry.header, &local.header);
    let pairs: [(&str, (u64, u64)); 9] = [
        ("version", (listed.needs.into(), found.needs.into())),
        ("flags", (listed.flags.into(), found.flags.into())),
        ("method", (listed.method.into(), found.method.into())),
        ("time", (listed.time.into(), found.time.into())),
        ("date", (listed.date.into(), found.date.into())),
        ("checksum", (listed.crc.into(), found.crc.into())),
        ("packed size", (listed.packed.into(), found.packed.into())),
        ("size", (listed.size.into(), found.size.into())),
        ("length of extra fields", (entry.extra as u64, local.extra as u64)),
    ];
    for (field, (listed, local)) in pairs {
        if listed != local {
            return Err(EntryProblem::Lies { field, listed, local });
        }
    }
    Ok(())
}
