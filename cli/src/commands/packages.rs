//! What the commands about packages share: how a problem ends the program, how a package is shown, and files that are there whole or not at all.

use std::{
    fs::{self, File},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use registry::{Archive, Bundle, Day, Error, Kind, SignatureError};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How a problem with a package ends the program.
pub(crate) fn failure(error: &Error) -> Failure {
    let (exit, code) = match error.kind() {
        Kind::Invalid => (Exit::Invalid, "package.invalid"),
        Kind::Unsigned => (Exit::Unsigned, "package.unsigned"),
        Kind::UnknownKey => (Exit::UnknownKey, "package.unknown_key"),
        Kind::Tampered => (Exit::Tampered, "package.tampered"),
        Kind::Expired => (Exit::Expired, "package.expired"),
        Kind::NotFound => (Exit::NotFound, "package.not_stored"),
        Kind::Internal => (Exit::Internal, "package.internal"),
    };
    Failure::new(exit, code, error.to_string()).maybe_hint(hint(error).map(str::to_owned))
}

fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Archive(_) | Error::Inventory(registry::InventoryError::Missing) if error.kind() == Kind::Invalid => {
            "packages are made by pegboard package DIR; an ordinary zip file is none"
        }
        Error::Signature(SignatureError::Unsigned) => "pegboard sign PACKAGE --key FILE, when it is yours",
        Error::Signature(SignatureError::UnknownKey(_)) => "pegboard trust add NAME KEY, when you know whose key it is",
        Error::Signature(SignatureError::OtherPlugins { .. }) => "pegboard trust list shows which plugins a key may sign",
        Error::Signature(SignatureError::KeyExpired { .. } | SignatureError::Expired { .. }) => {
            "ask its author for a newer release"
        }
        Error::NotStored(_) => "pegboard sync fetches what the lockfile names",
        Error::Lockfile(_) => "mend it, or take an earlier one from version control and run pegboard sync",
        Error::Unfinished(_) => {
            "the next command that changes what is installed carries it out: pegboard sync does, and nothing else"
        }
        _ if error.kind() == Kind::Tampered => "do not use it; get the package again, from its author",
        _ => return None,
    })
}

/// Opens a package and holds its contents against its inventory.
pub(super) fn open(path: &Path) -> Outcome<Bundle> {
    if !path.exists() {
        return Err(Failure::not_found("package.not_found", format!("there is no `{}`", path.display())));
    }
    Archive::open(path).map_err(Error::from).and_then(Archive::verify).map_err(|error| failure(&error))
}

/// A package for machines.
pub(super) fn document(bundle: &Bundle) -> Value {
    let inventory = bundle.inventory();
    json!({
        "plugin": inventory.plugin,
        "version": inventory.version,
        "digest": format!("sha256:{}", bundle.digest()),
        "files": inventory.files.len(),
        "bytes": inventory.files.iter().map(|file| file.size).sum::<u64>(),
        "signed": bundle.signature().is_some(),
    })
}

/// A package for people, in a line.
pub(super) fn line(bundle: &Bundle) -> String {
    let inventory = bundle.inventory();
    let bytes: u64 = inventory.files.iter().map(|file| file.size).sum();
    format!(
        "{} {}, {} files, {bytes} bytes, sha256:{}",
        inventory.plugin,
        inventory.version,
        inventory.files.len(),
        bundle.digest()
    )
}

/// A file beside the target that takes its place once it is whole.
pub(super) fn beside(target: &Path) -> Outcome<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // Minus the mask of whoever runs this.
    builder.prefix(".new-").permissions(fs::Permissions::from_mode(0o666));
    builder.tempfile_in(folder(target)).map_err(|error| Failure::file("write", target, &error))
}

/// Puts it there, durably.
pub(super) fn persist(file: NamedTempFile, target: &Path) -> Outcome {
    file.persist(target).map_err(|error| Failure::file("write", target, &error.error))?;
    File::open(folder(target)).and_then(|folder| folder.sync_all()).map_err(|error| Failure::file("flush", target, &error))
}

fn folder(target: &Path) -> PathBuf {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Outcome {
    let mut options = File::options();
    let written = options.write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage("file.exists", format!("`{}` is there already", path.display()))
            .hint("give another name: a key that is overwritten is lost"),
        _ => Failure::file("write", path, &error),
    })
}

/// Reads a small text file, such as a key.
pub(super) fn read_small(path: &Path) -> Outcome<String> {
    const LIMIT: u64 = 16 * 1024;
    let read = || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(File::open(path)?, LIMIT), &mut text).map(|_| text)
    };
    read().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found("file.not_found", format!("there is no `{}`", path.display())),
        std::io::ErrorKind::InvalidData => {
            Failure::new(Exit::Invalid, "file.encoding", format!("`{}` is not UTF-8", path.display()))
        }
        _ => Failure::file("read", path, &error),
    })
}

/// A day from a flag.
pub(super) fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "expected a day such as 2027-06-30".to_owned())
}
