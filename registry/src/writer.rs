//! Writes archives of the one form that `archive` takes: same files, same bytes, on any machine. No clock, no owner, no extra fields.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::{
    archive::{Entry, Packing},
    limits::MAX_RATIO,
    path::PackagePath,
};

const UTF8: u16 = 1 << 11;
/// 1980-01-01 00:00: the earliest that the format can say.
const DATE: u16 = 0b10_0001;
const TIME: u16 = 0;

/// An archive being written.
pub(crate) struct ArchiveWriter<W> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    entries: usize,
}

/// What both headers of an entry say.
struct Fields {
    packing: Packing,
    crc: u32,
    packed: u64,
    size: u64,
    executable: bool,
}

impl<W: Write> ArchiveWriter<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self { out, at: 0, directory: Vec::new(), entries: 0 }
    }

    /// Packs a file.
    pub(crate) fn add(&mut self, path: &PackagePath, bytes: &[u8], executable: bool) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(bytes);
        let (size, crc) = (bytes.len() as u64, crc.sum());
        let packed = deflate(bytes)?;
        let count = packed.len() as u64;
        // What packs better than any real file is stored as it is, so that no package of ours looks like a bomb.
        if count >= size || size > count * MAX_RATIO {
            self.put(path, &Fields { packing: Packing::Stored, crc, packed: size, size, executable }, bytes)
        } else {
            self.put(path, &Fields { packing: Packing::Deflated, crc, packed: count, size, executable }, &packed)
        }
    }

    /// Takes over an entry of another archive as it is packed there.
    pub(crate) fn copy(&mut self, entry: &Entry, packed: &[u8]) -> io::Result<()> {
        let fields = Fields {
            packing: entry.packing,
            crc: entry.crc,
            packed: packed.len() as u64,
            size: entry.size,
            executable: entry.executable,
        };
        self.put(&entry.path, &fields, packed)
    }

    fn put(&mut self, path: &PackagePath, fields: &Fields, packed: &[u8]) -> io::Result<()> {
        let name = path.as_str().as_bytes();
        let flags = if path.as_str().is_ascii() { 0 } else { UTF8 };
        let method: u16 = match fields.packing {
            Packing::Stored => 0,
            Packing::Deflated => 8,
        };
        let mut common = Vec::with_capacity(26);
        for short in [20, flags, method, TIME, DATE] {
            common.extend_from_slice(&short.to_le_bytes());
        }
        for long in [fields.crc, long(fields.packed)?, long(fields.size)?] {
            common.extend_from_slice(&long.to_le_bytes());
        }
        common.extend_from_slice(&short(name.len())?.to_le_bytes());
        common.extend_from_slice(&0_u16.to_le_bytes());

        let mode: u32 = 0o100_000 | if fields.executable { 0o755 } else { 0o644 };
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        self.directory.extend_from_slice(&common);
        // No comment, first disk, no internal attributes.
        self.directory.extend_from_slice(&[0; 6]);
        self.directory.extend_from_slice(&(mode << 16).to_le_bytes());
        self.directory.extend_from_slice(&long(self.at)?.to_le_bytes());
        self.directory.extend_from_slice(name);
        self.entries += 1;

        for part in [b"PK\x03\x04".as_slice(), &common, name, packed] {
            self.out.write_all(part)?;
            self.at += part.len() as u64;
        }
        Ok(())
    }

    /// Writes the list and the end.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&self.directory)?;
        self.out.write_all(b"PK\x05\x06\0\0\0\0")?;
        let count = short(self.entries)?.to_le_bytes();
        self.out.write_all(&[count, count].concat())?;
        self.out.write_all(&long(self.directory.len() as u64)?.to_le_bytes())?;
        self.out.write_all(&long(self.at)?.to_le_bytes())?;
        self.out.write_all(&[0, 0])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn short(number: usize) -> io::Result<u16> {
    u16::try_from(number).map_err(io::Error::other)
}

fn long(number: u64) -> io::Result<u32> {
    u32::try_from(number).map_err(io::Error::other)
}

/// Always the same compression: a level that others could choose would be other bytes for the same files.
fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = Compress::new(Compression::new(9), false);
    let mut packed = Vec::with_capacity(bytes.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(packer.total_in()).map_err(io::Error::other)?;
        let rest = bytes.get(taken..).unwrap_or_default();
        let status = packer.compress_vec(rest, &mut packed, FlushCompress::Finish).map_err(io::Error::other)?;
        if status == Status::StreamEnd {
            return Ok(packed);
        }
        packed.reserve(64 * 1024);
    }
}
