//! The library that runs models: from a file or folder of this machine, or from a package by version and hash. It is checked, never loaded, here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Heard, gather, known::RUNTIME, packages, staging::Staging};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// The name that no model can have.
pub(crate) const NAME: &str = "onnxruntime";
const LIBRARY: &str = "libonnxruntime.so";

/// Where the library comes from.
#[derive(Debug, Clone)]
pub(crate) enum RuntimeSource<'a> {
    /// The package that is known here.
    Known,
    /// Requirements of the Python registry, with hashes.
    Package(String),
    /// The library itself, or a folder with it: an unpacked package, the folder of packages of a Python environment.
    Path(&'a Path),
}

/// Installs the library; returns where it is.
pub(crate) fn install(settings: &Settings, source: &RuntimeSource<'_>, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome<PathBuf> {
    let models = settings.places.data.join("models");
    let work = Staging::new(&models)?;
    let unpacked = work.path().join("package");
    let (root, what) = match source {
        RuntimeSource::Path(path) => (*path, format!("`{}`", path.display())),
        RuntimeSource::Known => (unpacked.as_path(), fetched(settings, RUNTIME, &unpacked, heard)?),
        RuntimeSource::Package(requirement) => (unpacked.as_path(), fetched(settings, requirement, &unpacked, heard)?),
    };
    let library = if root.is_file() { Some(root.to_owned()) } else { gather::search(root, &library_in) };
    let library = library.ok_or_else(|| {
        Failure::new(Exit::Unavailable, "models.runtime", format!("{what} carries no library for this machine"))
            .hint(format!("expected a file {LIBRARY}…, or a folder with one"))
    })?;
    heard(Heard::Line("verifying"));
    index::check_runtime(&library)
        .map_err(|error| Failure::new(Exit::Invalid, "models.runtime", error.reason.to_string()).hint(error.hint))?;
    keep(&library, &work, &models)
}

fn fetched(settings: &Settings, requirement: &str, to: &Path, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome<String> {
    let package = requirement.split_whitespace().next().unwrap_or_default();
    heard(Heard::Line(&format!("fetching {package}")));
    packages::unpack(settings, requirement, to, heard)?;
    Ok(package.to_owned())
}

/// Copied beside its place first: a server that looks for a library never sees half of one.
fn keep(library: &Path, work: &Staging, models: &Path) -> Outcome<PathBuf> {
    let named = library.file_name().and_then(|name| name.to_str()).filter(|name| is_library(name)).unwrap_or(LIBRARY);
    let (copy, placed) = (work.path().join(LIBRARY), models.join(named));
    fs::copy(library, &copy).map_err(|error| Failure::file("read", library, &error))?;
    fs::rename(&copy, &placed).map_err(|error| Failure::file("keep", &placed, &error))?;
    Ok(placed)
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.into_iter().find(|path| path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
}

/// `libonnxruntime.so` with or without a version; nothing else that the package has beside it.
fn is_library(name: &str) -> bool {
    name.strip_prefix(LIBRARY).is_some_and(|rest| rest.chars().all(|c| c == '.' || c.is_ascii_digit()))
}
