//! `--vendor` of `pegboard package`: the wheels that a plugin needs are fetched and put into its package.

use std::{fs, path::Path, sync::Arc};

use executor_python::{Environments, VENDORED};
use manifest_schema::{Digest, Runtime};
use policy::{Plugin, Source};
use registry::Folder;
use tempfile::TempDir;

use super::{host, packages};
use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// The lock, as every plugin calls it.
const LOCK: &str = "requirements.lock";

/// Wheels that lie in a folder of their own until they are packed.
pub(super) struct Vendored {
    pub(super) wheels: Vec<String>,
    _folder: TempDir,
}

/// Fetches the wheels and adds them, with the lock, to what is packed.
pub(super) fn fetch(root: &Path, folder: &mut Folder, global: &Global, output: &Output) -> Outcome<Vendored> {
    let manifest = folder.manifest().clone();
    if manifest.runtime != Runtime::Python {
        let message = format!("`{}` is no plugin in Python: there are no wheels to put inside", manifest.name);
        return Err(Failure::usage("vendor.runtime", message).hint("leave --vendor out"));
    }
    let settings = Settings::read(global)?;
    let environments = Environments::new(host::python_settings(&settings)?);
    let wheels = tempfile::tempdir().map_err(|error| Failure::file("make", Path::new("a temporary folder"), &error))?;
    let root = root.canonicalize().map_err(|error| Failure::file("open", root, &error))?;
    let plugin = Arc::new(Plugin { manifest, source: Source::Folder(root.clone()), root, content: Digest::of([b"".as_slice()]) });
    let target = wheels.path().join(VENDORED);
    fs::create_dir(&target).map_err(|error| Failure::file("make", &target, &error))?;
    let fetched = environments.vendor(&plugin, &target, &mut |line| output.note(line)).map_err(|error| {
        Failure::new(Exit::Unavailable, "vendor.failed", error.to_string())
            .hint("each release needs a wheel for this platform and Python; nothing was packaged")
    })?;
    let Some(fetched) = fetched else { return Ok(Vendored { wheels: Vec::new(), _folder: wheels }) };
    // What an earlier --vendor left in the folder is not what was fetched now.
    folder.leave_out(VENDORED);
    for name in &fetched.wheels {
        folder.add(&format!("{VENDORED}/{name}"), &target.join(name)).map_err(|error| packages::failure(&error))?;
    }
    let lock = wheels.path().join(LOCK);
    fs::write(&lock, &fetched.lock).map_err(|error| Failure::file("write", &lock, &error))?;
    folder.add(LOCK, &lock).map_err(|error| packages::failure(&error))?;
    Ok(Vendored { wheels: fetched.wheels, _folder: wheels })
}
