//! Wheels that a plugin brings along: fetched when it is packaged, installed from where nothing can be fetched. By pip from a virtualenv of its
//! own, since uv fetches no wheel to keep; each is held against the hashes of the lock, both times.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use manifest_schema::Digest;
use policy::Plugin;

use crate::{
    environment::{EnvironmentError, Environments, make_folder, requirements, step},
    interpreter::Interpreter,
    lock,
};

/// The folder of a plugin that holds its wheels.
pub const VENDORED: &str = "wheels";

/// What makes a plugin whole.
#[derive(Debug)]
pub struct Vendored {
    /// The text of its `requirements.lock`.
    pub lock: Vec<u8>,
    /// Names of the wheels that were fetched, in order.
    pub wheels: Vec<String>,
}

impl Environments {
    /// Fetches the wheels of a plugin for this machine's Python and platform into a folder; `None` when it needs none. Blocks, possibly for
    /// minutes.
    ///
    /// # Errors
    /// [`EnvironmentError`] with the step that failed: a release without a wheel for this platform is one.
    pub fn vendor(
        &self,
        plugin: &Plugin,
        folder: &Path,
        line: &mut dyn FnMut(&str),
    ) -> Result<Option<Vendored>, EnvironmentError> {
        let base = self.interpreters().pick(plugin.manifest.python_requires.as_deref())?;
        let Some(requirements) = requirements(plugin)? else { return Ok(None) };
        let path = match requirements.lock {
            Some(lock) => lock,
            None => self.resolve(&base, &requirements.wanted, line)?,
        };
        let lock = fs::read(&path).map_err(|error| step("reading the lock", &error))?;
        lock::check(&String::from_utf8_lossy(&lock)).map_err(|problem| EnvironmentError::Lock { problem })?;
        let python = self.pip(&base, line)?;
        let args: [&OsStr; 11] = [
            "-m".as_ref(),
            "pip".as_ref(),
            "download".as_ref(),
            "--quiet".as_ref(),
            "--require-hashes".as_ref(),
            "--only-binary=:all:".as_ref(),
            // The lock is whole.
            "--no-deps".as_ref(),
            "--dest".as_ref(),
            folder.as_os_str(),
            "--requirement".as_ref(),
            path.as_os_str(),
        ];
        self.run("fetching the wheels", &python, &args, line)?;
        let entries = fs::read_dir(folder).map_err(|error| step("reading the wheels", &error))?;
        let mut wheels: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        wheels.sort();
        Ok(Some(Vendored { lock, wheels }))
    }

    /// A Python that has pip: of a virtualenv that is made once, from what the interpreter carries.
    fn pip(&self, base: &Interpreter, line: &mut dyn FnMut(&str)) -> Result<PathBuf, EnvironmentError> {
        let digest = Digest::of([base.executable.as_os_str().as_encoded_bytes(), base.version.as_bytes()]);
        let home = self.settings.cache.join("tools").join(format!("pip-{}", digest.short()));
        let python = home.join("bin/python");
        if python.is_file() {
            return Ok(python);
        }
        make_folder(home.parent())?;
        let staging = home.with_extension(format!("tmp-{}", std::process::id()));
        self.bare_venv(base, &staging, line)?;
        match fs::rename(&staging, &home) {
            Ok(()) => Ok(python),
            Err(_) if python.is_file() => {
                fs::remove_dir_all(&staging).map(|()| python).map_err(|error| step("clearing a second virtualenv", &error))
            }
            Err(error) => Err(step("keeping the virtualenv of pip", &error)),
        }
    }

    fn bare_venv(&self, base: &Interpreter, folder: &Path, line: &mut dyn FnMut(&str)) -> Result<(), EnvironmentError> {
        self.run("making a virtualenv", &base.executable, &["-m".as_ref(), "venv".as_ref(), folder.as_os_str()], line)
    }

    /// Makes a virtualenv of wheels that are there, without a network and without uv.
    pub(crate) fn unpack_vendored(
        &self,
        base: &Interpreter,
        lock: &Path,
        wheels: &Path,
        staging: &Path,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), EnvironmentError> {
        self.bare_venv(base, staging, line)?;
        let python = staging.join("bin/python");
        let args: [&OsStr; 13] = [
            "-m".as_ref(),
            "pip".as_ref(),
            "install".as_ref(),
            "--quiet".as_ref(),
            "--disable-pip-version-check".as_ref(),
            "--no-cache-dir".as_ref(),
            "--no-index".as_ref(),
            "--find-links".as_ref(),
            wheels.as_os_str(),
            "--require-hashes".as_ref(),
            "--only-binary=:all:".as_ref(),
            "--requirement".as_ref(),
            lock.as_os_str(),
        ];
        self.run("installing the dependencies", &python, &args, line)
    }
}
