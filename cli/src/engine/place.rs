//! Which engine a caller wants, and where that one listens: in a folder of the user's that others can't enter.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    args::Shelf,
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// Hex digits of each half of a name: far from any accident, and the path stays under the 108 bytes of a socket's.
const DIGITS: usize = 12;
/// Bytes that a runtime folder's path may have, so that a socket's stays under 108: with our folder, the longest name, and what that ends in
/// until it is renamed.
const MAX_RUNTIME_FOLDER: usize = 107 - "/pegboard/".len() - (2 * DIGITS + "-.sock".len()) - ".0123456789abcdef".len();

/// What an engine serves: everything that makes it another one.
#[derive(Debug, Clone)]
pub(crate) struct What {
    /// Folders as with `--plugins`, absolute.
    pub(crate) plugins: Vec<PathBuf>,
    /// With the plugins inside the program.
    pub(crate) bundled: bool,
    /// As `--pin`.
    pub(crate) pins: Vec<String>,
    /// As `--frozen`.
    pub(crate) frozen: bool,
    /// As `--warm`.
    pub(crate) warm: bool,
}

/// Where one engine listens, and the files beside its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    folder: PathBuf,
    name: String,
}

impl What {
    pub(crate) fn new(settings: &Settings, shelf: &Shelf, pins: &[String], frozen: bool, warm: bool) -> Outcome<Self> {
        let file = &settings.file;
        let pins = if pins.is_empty() { file.pin.clone() } else { pins.to_vec() };
        let (frozen, warm) = (frozen || file.frozen, warm || file.warm);
        Ok(Self { plugins: settings.plugin_folders(shelf)?, bundled: settings.bundled(shelf), pins, frozen, warm })
    }

    /// The flags that say the same to another process of this program.
    pub(crate) fn flags(&self) -> Vec<std::ffi::OsString> {
        let mut flags: Vec<std::ffi::OsString> = Vec::new();
        for folder in &self.plugins {
            flags.extend(["--plugins".into(), folder.into()]);
        }
        for pin in &self.pins {
            flags.extend(["--pin".into(), pin.into()]);
        }
        let set = [(!self.bundled, "--no-bundled"), (self.frozen, "--frozen"), (self.warm, "--warm")];
        flags.extend(set.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.into()));
        flags
    }
}

impl Place {
    /// Where the engine of these settings listens.
    pub(crate) fn of(settings: &Settings, what: &What) -> Outcome<Self> {
        let program = env::current_exe().map_err(|error| anyhow::anyhow!("could not find this program's own path: {error}"))?;
        let metadata = fs::metadata(&program).map_err(|error| Failure::file("read", &program, &error))?;
        let mut parts: Vec<Vec<u8>> = vec![
            env!("CARGO_PKG_VERSION").into(),
            program.as_os_str().as_encoded_bytes().into(),
            // A program that was replaced since is another one, under whatever version.
            format!("{} {} {} {}", metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime_nsec()).into(),
            fs::read(settings.places.config.join("pegboard.toml")).unwrap_or_default(),
        ];
        parts.extend(what.flags().into_iter().map(|flag| flag.as_encoded_bytes().to_vec()));
        let name = format!("{}-{}", home_of(settings), digest(parts.iter().map(Vec::as_slice)));
        Ok(Self { folder: runtime_folder()?, name })
    }

    /// Every engine of this home that has a socket, of whatever version.
    pub(crate) fn all(settings: &Settings) -> Outcome<Vec<Self>> {
        let folder = runtime_folder()?;
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
        let prefix = format!("{}-", home_of(settings));
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            .filter_map(|name| name.strip_suffix(".sock").filter(|name| name.starts_with(&prefix)).map(str::to_owned))
            .collect();
        names.sort();
        Ok(names.into_iter().map(|name| Self { folder: folder.clone(), name }).collect())
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.file("sock")
    }

    /// Held by whoever begins an engine here, so that fifty who want one begin one.
    pub(crate) fn starting(&self) -> Outcome<fs::File> {
        self.lock_file("start")
    }

    /// Held by the engine for as long as it lives: there is never a second one.
    pub(crate) fn living(&self) -> Outcome<fs::File> {
        self.lock_file("life")
    }

    /// Where its log goes.
    pub(crate) fn log(&self, settings: &Settings) -> PathBuf {
        settings.places.cache.join("engine").join(format!("{}.log", self.name))
    }

    /// The place whose socket this is.
    pub(crate) fn at(socket: &Path) -> Option<Self> {
        let name = socket.file_name()?.to_str()?.strip_suffix(".sock")?;
        Some(Self { folder: socket.parent()?.to_owned(), name: name.to_owned() })
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    fn lock_file(&self, kind: &str) -> Outcome<fs::File> {
        let path = self.file(kind);
        let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        opened.map_err(|error| Failure::file("open", &path, &error))
    }
}

/// A place for an engine that belongs to one process.
pub(crate) fn place_of_owner() -> Outcome<Place> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|now| now.as_nanos()).unwrap_or_default();
    let name = digest([format!("{} {now}", std::process::id()).as_bytes()]);
    Ok(Place { folder: runtime_folder()?, name: format!("own-{name}") })
}

fn home_of(settings: &Settings) -> String {
    let places = &settings.places;
    digest([&places.config, &places.data, &places.cache].map(|path| path.as_os_str().as_encoded_bytes()))
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// The user's runtime folder; where there is none, or its path is too long for a socket's, a folder of the user's under the system's temporary one.
fn runtime_folder() -> Outcome<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let given = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let is_ours = |path: &PathBuf| {
        path.as_os_str().len() <= MAX_RUNTIME_FOLDER
            && fs::metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user)
    };
    let folder = given
        .or_else(|| Some(PathBuf::from(format!("/run/user/{user}"))))
        .filter(is_ours)
        .map_or_else(|| env::temp_dir().join(format!("pegboard-{user}")), |folder| folder.join("pegboard"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::file("make", &folder, &error)),
    }
    // Under the temporary folder anybody may have made it first, as a link or with an open door.
    let metadata = fs::symlink_metadata(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        return Err(Failure::new(
            Exit::Denied,
            "engine.folder",
            format!("expected a folder that only this user can enter, found another: `{}`", folder.display()),
        )
        .hint("remove it, or set XDG_RUNTIME_DIR to a folder of your own"));
    }
    Ok(folder)
}
