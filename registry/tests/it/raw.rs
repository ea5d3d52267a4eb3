//! Zip archives byte by byte: every field of both headers can lie.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// One entry; `local_*` is what stands in front of the data, when it is not what the list says.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) needs: u16,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) local_method: Option<u16>,
    pub(crate) local_flags: Option<u16>,
    pub(crate) local_time: Option<u16>,
    pub(crate) crc: u32,
    pub(crate) local_crc: Option<u32>,
    pub(crate) packed: u32,
    pub(crate) local_packed: Option<u32>,
    pub(crate) size: u32,
    pub(crate) local_size: Option<u32>,
    pub(crate) extra: Vec<u8>,
    pub(crate) local_extra: Option<Vec<u8>>,
    pub(crate) comment: Vec<u8>,
    pub(crate) disk: u16,
    pub(crate) host: u8,
    pub(crate) mode: u32,
    pub(crate) data: Vec<u8>,
    /// Where the list says that it begins, when that is not true.
    pub(crate) offset: Option<u32>,
    /// Bytes between the entry before it and this one.
    pub(crate) gap: Vec<u8>,
    /// Only in the list, or only in front of data.
    pub(crate) listed: bool,
    pub(crate) there: bool,
}

/// The end record, when it lies.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawEnd {
    pub(crate) count: Option<u16>,
    pub(crate) count_here: Option<u16>,
    pub(crate) disk: u16,
    pub(crate) size: Option<u32>,
    pub(crate) start: Option<u32>,
    pub(crate) comment: Vec<u8>,
    /// Before the list.
    pub(crate) hidden: Vec<u8>,
    /// Between the list and the end, counted as part of the list.
    pub(crate) rest: Vec<u8>,
    /// Between the list and the end, counted nowhere.
    pub(crate) locator: Vec<u8>,
}

impl RawEntry {
    /// An honest entry, stored as it is.
    pub(crate) fn stored(name: &str, bytes: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(bytes);
        let size = u32::try_from(bytes.len()).unwrap();
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            needs: 20,
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            method: 0,
            local_method: None,
            local_flags: None,
            local_time: None,
            crc: crc.sum(),
            local_crc: None,
            packed: size,
            local_packed: None,
            size,
            local_size: None,
            extra: Vec::new(),
            local_extra: None,
            comment: Vec::new(),
            disk: 0,
            host: 3,
            mode: 0o100_644,
            data: bytes.to_vec(),
            offset: None,
            gap: Vec::new(),
            listed: true,
            there: true,
        }
    }

    /// An honest entry, packed.
    pub(crate) fn packed(name: &str, bytes: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        let data = encoder.finish().unwrap();
        Self { method: 8, packed: u32::try_from(data.len()).unwrap(), data, ..Self::stored(name, bytes) }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Writes entries with an honest end.
pub(crate) fn archive(entries: &[RawEntry]) -> Vec<u8> {
    archive_with(entries, &RawEnd::default())
}

/// Writes entries with an end that may lie.
pub(crate) fn archive_with(entries: &[RawEntry], end: &RawEnd) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for entry in entries {
        out.extend_from_slice(&entry.gap);
        let at = u32::try_from(out.len()).unwrap();
        if entry.there {
            local(&mut out, entry);
        }
        if entry.listed {
            listed(&mut list, entry, entry.offset.unwrap_or(at));
        }
    }
    out.extend_from_slice(&end.hidden);
    list.extend_from_slice(&end.rest);
    let start = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(entries.iter().filter(|entry| entry.listed).count()).unwrap();
    out.extend_from_slice(&list);
    out.extend_from_slice(&end.locator);
    out.extend_from_slice(b"PK\x05\x06");
    shorts(&mut out, &[end.disk, 0, end.count_here.or(end.count).unwrap_or(count), end.count.unwrap_or(count)]);
    longs(&mut out, &[end.size.unwrap_or_else(|| u32::try_from(list.len()).unwrap()), end.start.unwrap_or(start)]);
    shorts(&mut out, &[u16::try_from(end.comment.len()).unwrap()]);
    out.extend_from_slice(&end.comment);
    out
}

fn local(out: &mut Vec<u8>, entry: &RawEntry) {
    let (name, extra) = (entry.local_name.as_ref().unwrap_or(&entry.name), entry.local_extra.as_ref().unwrap_or(&entry.extra));
    out.extend_from_slice(b"PK\x03\x04");
    let (flags, method) = (entry.local_flags.unwrap_or(entry.flags), entry.local_method.unwrap_or(entry.method));
    shorts(out, &[entry.needs, flags, method, entry.local_time.unwrap_or(0), 33]);
    let (packed, size) = (entry.local_packed.unwrap_or(entry.packed), entry.local_size.unwrap_or(entry.size));
    longs(out, &[entry.local_crc.unwrap_or(entry.crc), packed, size]);
    shorts(out, &[u16::try_from(name.len()).unwrap(), u16::try_from(extra.len()).unwrap()]);
    for bytes in [name, extra, &entry.data] {
        out.extend_from_slice(bytes);
    }
}

fn listed(list: &mut Vec<u8>, entry: &RawEntry, offset: u32) {
    list.extend_from_slice(b"PK\x01\x02");
    list.extend_from_slice(&[20, entry.host]);
    shorts(list, &[entry.needs, entry.flags, entry.method, 0, 33]);
    longs(list, &[entry.crc, entry.packed, entry.size]);
    let lengths = [&entry.name, &entry.extra, &entry.comment].map(|bytes| u16::try_from(bytes.len()).unwrap());
    shorts(list, &lengths);
    shorts(list, &[entry.disk, 0]);
    longs(list, &[entry.mode << 16, offset]);
    for bytes in [&entry.name, &entry.extra, &entry.comment] {
        list.extend_from_slice(bytes);
    }
}

fn shorts(out: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn longs(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}
