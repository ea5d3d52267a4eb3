//! The list at the end of a zip archive, and the header before each entry's data, read as bytes. Whether what they say is acceptable is
//! decided in `judge`; here only what is no record at all is refused.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{ArchiveError, bytes::Bytes};
use crate::limits::Bounds;

const END: u32 = 0x0605_4b50;
const END_BYTES: usize = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const LISTED: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// Bytes of a local header without its path.
pub(super) const LOCAL_BYTES: u64 = 30;

/// The record at the very end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) entries: usize,
    /// Where the list begins.
    pub(super) start: u64,
    pub(super) size: u64,
}

/// The values that are both in the list and in front of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) needs: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) crc: u32,
    pub(super) packed: u32,
    pub(super) size: u32,
}

/// One entry of the list.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) header: Header,
    pub(super) host: u8,
    pub(super) name: &'a [u8],
    pub(super) extra: usize,
    pub(super) comment: usize,
    pub(super) disk: u16,
    pub(super) attributes: u32,
    pub(super) offset: u32,
}

/// The header in front of an entry's data.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) header: Header,
    pub(super) name: Vec<u8>,
    pub(super) extra: usize,
}

/// Finds the end of the archive, which must be the end of the file.
pub(super) fn end(file: &File, length: u64, bounds: Bounds) -> Result<End, ArchiveError> {
    let tail_bytes = length.min(END_BYTES as u64 + u64::from(u16::MAX));
    let tail = read(file, length - tail_bytes, tail_bytes).map_err(ArchiveError::Read)?;
    let at = tail.len().checked_sub(END_BYTES).ok_or(ArchiveError::NotAnArchive)?;
    let last = tail.get(at..).unwrap_or_default();
    if !last.starts_with(&END.to_le_bytes()) {
        // An end further up means that something follows it; which of several such ends counts is what readers disagree about.
        let earlier = tail.windows(4).rposition(|four| four == END.to_le_bytes()).ok_or(ArchiveError::NotAnArchive)?;
        return Err(ArchiveError::Appended { bytes: (at.saturating_sub(earlier)) as u64 });
    }
    let mut bytes = Bytes(last.get(4..).unwrap_or_default());
    let broken = || ArchiveError::NotAnArchive;
    let mut short = || bytes.u16().ok_or_else(broken);
    let (disk, directory_disk, here, entries) = (short()?, short()?, short()?, short()?);
    let (size, start) = (bytes.u32().ok_or_else(broken)?, bytes.u32().ok_or_else(broken)?);
    let comment = bytes.u16().ok_or_else(broken)?;
    let locator = at.checked_sub(20).and_then(|from| tail.get(from..from + 4));
    if locator == Some(&ZIP64_LOCATOR.to_le_bytes()) || entries == u16::MAX || size == u32::MAX || start == u32::MAX {
        return Err(ArchiveError::Zip64);
    }
    if disk != 0 || directory_disk != 0 || here != entries {
        return Err(ArchiveError::SeveralParts);
    }
    if comment != 0 {
        return Err(ArchiveError::Appended { bytes: comment.into() });
    }
    check_end(End { entries: entries.into(), start: start.into(), size: size.into() }, length - END_BYTES as u64, bounds)
}

/// Checks the numbers of the end record against where it stands.
fn check_end(end: End, stands_at: u64, bounds: Bounds) -> Result<End, ArchiveError> {
    if end.entries == 0 {
        return Err(ArchiveError::NoFiles);
    }
    if end.entries > bounds.files {
        return Err(ArchiveError::TooManyFiles { found: end.entries as u64, limit: bounds.files });
    }
    if end.size > bounds.directory() {
        return Err(ArchiveError::DirectoryTooLarge { found: end.size, limit: bounds.directory() });
    }
    let expected = end.start + end.size;
    if expected < stands_at && end.start < bounds.archive {
        // All offsets are too small by the same number when something was put in front.
        return Err(ArchiveError::Prepended { bytes: stands_at - expected });
    }
    if expected != stands_at {
        return Err(ArchiveError::DirectoryPlace { expected, found: stands_at });
    }
    Ok(end)
}

/// The entries of the list, exactly as many as the end counts.
pub(super) fn list<'a>(directory: &'a [u8], count: usize) -> Result<Vec<Listed<'a>>, ArchiveError> {
    let mut bytes = Bytes(directory);
    let mut entries = Vec::with_capacity(count);
    for entry in 1..=count {
        entries.push(listed(&mut bytes).ok_or(ArchiveError::DirectoryBroken { entry })?);
    }
    if bytes.0.is_empty() { Ok(entries) } else { Err(ArchiveError::DirectoryRest { bytes: bytes.0.len() as u64 }) }
}

fn listed<'a>(bytes: &mut Bytes<'a>) -> Option<Listed<'a>> {
    if bytes.u32()? != LISTED {
        return None;
    }
    let [_, host] = bytes.u16()?.to_le_bytes();
    let header = header(bytes)?;
    let (name, extra, comment) = (bytes.u16()?, bytes.u16()?, bytes.u16()?);
    let disk = bytes.u16()?;
    let _internal = bytes.u16()?;
    let (attributes, offset) = (bytes.u32()?, bytes.u32()?);
    let name = bytes.take(name.into())?;
    bytes.take(usize::from(extra) + usize::from(comment))?;
    Some(Listed { header, host, name, extra: extra.into(), comment: comment.into(), disk, attributes, offset })
}

fn header(bytes: &mut Bytes<'_>) -> Option<Header> {
    Some(Header {
        needs: bytes.u16()?,
        flags: bytes.u16()?,
        method: bytes.u16()?,
        time: bytes.u16()?,
        date: bytes.u16()?,
        crc: bytes.u32()?,
        packed: bytes.u32()?,
        size: bytes.u32()?,
    })
}

/// The header at an offset; `None` when there is none.
pub(super) fn local(file: &File, offset: u64, directory: u64) -> io::Result<Option<Local>> {
    if offset + LOCAL_BYTES > directory {
        return Ok(None);
    }
    let fixed = read(file, offset, LOCAL_BYTES)?;
    let mut bytes = Bytes(&fixed);
    let parsed = (|| {
        let signature = bytes.u32()?;
        Some((signature, header(&mut bytes)?, bytes.u16()?, bytes.u16()?))
    })();
    let Some((LOCAL, header, name, extra)) = parsed else { return Ok(None) };
    if offset + LOCAL_BYTES + u64::from(name) > directory {
        return Ok(None);
    }
    let name = read(file, offset + LOCAL_BYTES, name.into())?;
    Ok(Some(Local { header, name, extra: extra.into() }))
}

/// Reads bytes at a place, whatever others do with the file's position. The caller bounds `count`.
pub(super) fn read(file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
