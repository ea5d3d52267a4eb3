//! What a package's archive may be: a narrow profile of zip in which every reader sees the same files. All is judged from the list and the
//! headers, before a byte is unpacked or written.

use std::fs::File;

use super::{
    ArchiveError, Entry, EntryProblem, Form, Packing,
    directory::{self, End, LOCAL_BYTES, Listed, Local},
    error::shown,
};
use crate::{
    limits::MAX_RATIO,
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

/// The bytes after the data that repeat checksum and sizes, with their signature and without.
const SIZES_AFTER: [u64; 2] = [12, 16];

/// Judges every entry; in the order of the archive.
pub(super) fn entries(file: &File, directory: &[u8], end: &End, form: Form) -> Result<Vec<Entry>, ArchiveError> {
    let mut listed = directory::list(directory, end.entries)?;
    if form == Form::Foreign {
        // Common programs list in another order than they write.
        listed.sort_by_key(|entry| entry.offset);
    }
    let (limit, start) = (form.bounds().total, end.start);
    let mut paths = PathSet::default();
    let mut judged = Vec::with_capacity(listed.len());
    let (mut next, mut total, mut sizes_after) = (0, 0, false);
    for (index, entry) in listed.iter().enumerate() {
        let (path, is_folder) = path(entry, index, form)?;
        let fails = |problem: EntryProblem| problem.of(path.as_str());
        if !is_folder {
            paths.add(&path).map_err(|clash| fails(clash.into()))?;
        }
        let executable = permitted(entry, form, is_folder).map_err(fails)?;
        let packing = sizes(entry, form).map_err(fails)?;
        total += u64::from(entry.header.size);
        if total > limit {
            let found = listed.iter().map(|entry| u64::from(entry.header.size)).sum();
            return Err(ArchiveError::UnpacksTooLarge { found, limit });
        }
        let gap = u64::from(entry.offset).checked_sub(next).filter(|gap| sizes_after && SIZES_AFTER.contains(gap));
        let data = place(file, entry, next + gap.unwrap_or(0), start, form).map_err(|problem| match problem {
            Misplaced::Prepended(bytes) => ArchiveError::Prepended { bytes },
            Misplaced::Read(error) => ArchiveError::Read(error),
            Misplaced::Entry(problem) => fails(problem),
        })?;
        next = data + u64::from(entry.header.packed);
        if next > start {
            return Err(fails(EntryProblem::IntoDirectory { end: next, directory: start }));
        }
        sizes_after = entry.header.flags & FLAG_SIZES_AFTER != 0;
        if is_folder {
            continue;
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
    let rest = start - next;
    if rest == 0 || (sizes_after && SIZES_AFTER.contains(&rest)) { Ok(judged) } else { Err(ArchiveError::Hidden { bytes: rest }) }
}

/// The path, and whether it is a folder's, which only another host's archive lists.
fn path(entry: &Listed<'_>, index: usize, form: Form) -> Result<(PackagePath, bool), ArchiveError> {
    let number = || format!("entry {}", index + 1);
    let text =
        std::str::from_utf8(entry.name).map_err(|_| ArchiveError::Entry { entry: number(), problem: EntryProblem::NotUtf8 })?;
    if !text.is_ascii() && entry.header.flags & FLAG_UTF8 == 0 {
        return Err(EntryProblem::NotMarkedUtf8.of(text));
    }
    let folder = text.strip_suffix('/').filter(|_| form == Form::Foreign && entry.header.size == 0 && entry.header.packed <= 2);
    let parsed = PackagePath::parse(folder.unwrap_or(text)).map_err(|problem| {
        let entry = if text.is_empty() { number() } else { shown(text) };
        ArchiveError::Entry { entry, problem: problem.into() }
    });
    parsed.map(|path| (path, folder.is_some()))
}

/// Judges what kind of file an entry is; says whether it is executable.
fn permitted(entry: &Listed<'_>, form: Form, is_folder: bool) -> Result<bool, EntryProblem> {
    const TYPE: u32 = 0o170_000;
    const FOLDER: u32 = 0o040_000;
    let foreign = form == Form::Foreign;
    let flags = entry.header.flags;
    if flags & FLAGS_ENCRYPTED != 0 {
        return Err(EntryProblem::Encrypted);
    }
    if flags & FLAG_SIZES_AFTER != 0 && !foreign {
        return Err(EntryProblem::SizesAfterData);
    }
    if flags & !(FLAG_UTF8 | FLAG_EFFORT | FLAG_SIZES_AFTER) != 0 {
        return Err(EntryProblem::Flags(flags));
    }
    // Some name the version of zip64 without using it.
    if entry.header.needs > if foreign { 45 } else { 20 } {
        return Err(EntryProblem::Version(entry.header.needs));
    }
    // Times, owners: no reader takes paths or sizes from there that are in the header.
    if entry.extra != 0 && !foreign {
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
        FOLDER if is_folder => return Ok(false),
        0o120_000 => return Err(EntryProblem::Link),
        other => return Err(EntryProblem::Special(other)),
    }
    if mode & 0o7000 != 0 {
        return Err(EntryProblem::SpecialBits(mode & 0o7000));
    }
    Ok(entry.host == UNIX && mode & 0o111 != 0)
}

fn sizes(entry: &Listed<'_>, form: Form) -> Result<Packing, EntryProblem> {
    let limit = form.bounds().file;
    let (packed, size) = (u64::from(entry.header.packed), u64::from(entry.header.size));
    let packing = match entry.header.method {
        0 => Packing::Stored,
        8 => Packing::Deflated,
        other => return Err(EntryProblem::Method(other)),
    };
    if size > limit {
        return Err(EntryProblem::TooLarge { found: size, limit });
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
fn place(file: &File, entry: &Listed<'_>, expected: u64, directory: u64, form: Form) -> Result<u64, Misplaced> {
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
    agrees(entry, &local, form).map_err(Misplaced::Entry)?;
    Ok(offset + LOCAL_BYTES + local.name.len() as u64 + local.extra as u64)
}

/// A reader that streams believes the header, one that seeks believes the list: both must say the same.
fn agrees(entry: &Listed<'_>, local: &Local, form: Form) -> Result<(), EntryProblem> {
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
    let sizes_after = found.flags & FLAG_SIZES_AFTER != 0;
    for (field, (listed, local)) in pairs {
        let after = sizes_after && local == 0 && ["checksum", "packed size", "size"].contains(&field);
        let unused = ["version", "length of extra fields"].contains(&field);
        let excused = form == Form::Foreign && (after || unused);
        if listed != local && !excused {
            return Err(EntryProblem::Lies { field, listed, local });
        }
    }
    Ok(())
}
