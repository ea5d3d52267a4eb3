//! Archives of other hosts: zip as common programs write it, judged by the same rules about paths, kinds, places and sizes.
//!
//! Taken besides are folders in the list, extra fields, sizes after the data, and a signature of MCPB's after the archive, which is not checked.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use rustix::fs::Mode;

use super::{Archive, ArchiveError, Form, directory, length, opened};
use crate::{Error, FileMode, bundle::create, limits::Bounds};

const SIGNATURE_START: &[u8] = b"MCPB_SIG_V1";
const SIGNATURE_END: &[u8] = b"MCPB_SIG_END";
/// The largest signature that is looked for.
const MAX_SIGNATURE: u64 = 64 * 1024;

impl Archive {
    /// Opens another host's bundle and judges its list.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn open_foreign(path: &Path) -> Result<Self, ArchiveError> {
        let file = opened(path)?;
        let length = length(&file, Bounds::FOREIGN)?;
        let length = without_signature(&file, length)?;
        Self::judge_as(file, length, Form::Foreign)
    }

    /// Writes its files into a folder that is there and empty, each counted and checked while it is unpacked. A failure leaves a part in the
    /// folder, which the caller removes.
    ///
    /// # Errors
    /// When the folder is not empty or can't be written, or the data is not what the list says.
    pub fn unpack_into(&self, staging: &Path) -> Result<(), Error> {
        let fails = |action: &'static str| move |error: std::io::Error| Error::file(action, staging, error);
        if fs::read_dir(staging).map_err(fails("read"))?.next().is_some() {
            return Err(Error::file("unpack into", staging, std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty)));
        }
        let folder = File::open(staging).map_err(fails("open"))?;
        for entry in self.entries() {
            let path = entry.path();
            let at = || staging.join(path.as_str());
            let mut file = create(&folder, path).map_err(|error| Error::file("make", at(), error))?;
            self.unpack(entry, &mut |piece| file.write_all(piece))?;
            let mode = Mode::from_raw_mode(FileMode::of(entry.executable()).bits());
            rustix::fs::fchmod(&file, mode).map_err(|error| Error::file("set the mode of", at(), error))?;
        }
        Ok(())
    }
}

/// Where the archive ends: before a signature, where there is one in the form that its host appends.
fn without_signature(file: &File, length: u64) -> Result<u64, ArchiveError> {
    let tail =
        directory::read(file, length.saturating_sub(MAX_SIGNATURE), length.min(MAX_SIGNATURE)).map_err(ArchiveError::Read)?;
    if !tail.ends_with(SIGNATURE_END) {
        return Ok(length);
    }
    let begin = tail.windows(SIGNATURE_START.len()).position(|bytes| bytes == SIGNATURE_START);
    Ok(begin.map_or(length, |begin| length - (tail.len() - begin) as u64))
}
