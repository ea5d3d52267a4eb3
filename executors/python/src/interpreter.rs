//! Which Python runs a plugin: finds interpreters, asks each once what it is, and picks the one that fits `python_requires`.
//!
//! Virtualenvs are made in `environment`; nothing is installed here.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Mutex,
    time::Duration,
};

use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};

use crate::{settings::PythonSettings, trusted};

/// The oldest interpreter that the worker module loads in.
const OLDEST_ABI: (u32, u32) = (3, 10);
/// Names that are looked for on the search path, newest last so that the user's `python3` wins where it fits.
const NAMES: [&str; 6] = ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14"];
const PROBE: &str = "import sys, json, sysconfig\n\
print(json.dumps({'version': '.'.join(map(str, sys.version_info[:3])), 'executable': getattr(sys, '_base_executable', None) or sys.executable, \
'prefix': sys.base_prefix, 'exec_prefix': sys.base_exec_prefix, 'stdlib': sysconfig.get_path('stdlib'), 'platstdlib': sysconfig.get_path('platstdlib'), \
'free_threaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED')), 'tag': sys.implementation.cache_tag, \
'implementation': sys.implementation.name, 'libdir': sysconfig.get_config_var('LIBDIR')}))";

/// What an interpreter says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// `3.12.1`.
    pub version: String,
    /// The real program, shims and links resolved.
    pub executable: PathBuf,
    /// Where it is installed.
    pub prefix: PathBuf,
    /// Where its platform files are installed.
    pub exec_prefix: PathBuf,
    /// Its standard library.
    pub stdlib: PathBuf,
    /// The compiled half of the standard library.
    pub platstdlib: PathBuf,
    /// Built without the global lock.
    pub free_threaded: bool,
    /// `cpython-312`.
    pub tag: String,
    /// `cpython`.
    pub implementation: String,
    /// Folder of its shared library.
    pub libdir: Option<PathBuf>,
}

impl Interpreter {
    /// Whether the worker module loads in it, so that it can fork confined children.
    #[must_use]
    pub fn can_fork(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        self.implementation == "cpython" && !self.free_threaded && version >= OLDEST_ABI
    }

    fn satisfies(&self, specifiers: &VersionSpecifiers) -> bool {
        Version::from_str(&self.version).is_ok_and(|version| specifiers.contains(&version))
    }
}

/// Why no interpreter fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpreterError {
    /// None was found at all.
    #[error("no Python was found, expected {expected}")]
    None {
        /// What was looked for.
        expected: String,
    },
    /// None of those found fits.
    #[error("no Python fits, expected {expected}, found {found}")]
    Unfit {
        /// What was looked for.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The specifier can't be read.
    #[error("`python_requires` can't be read: {problem}")]
    Specifier {
        /// What is wrong.
        problem: String,
    },
}

/// Finds interpreters and remembers what they said.
#[derive(Debug)]
pub struct Interpreters {
    settings: PythonSettings,
    known: Mutex<Option<Vec<Interpreter>>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Remembered {
    /// By path: modification time in nanoseconds, inode, and the answer.
    answers: BTreeMap<PathBuf, (i64, u64, Interpreter)>,
}

impl Interpreters {
    /// Looks nowhere yet.
    #[must_use]
    pub fn new(settings: PythonSettings) -> Self {
        Self { settings, known: Mutex::new(None) }
    }

    /// The first interpreter that fits `python_requires` (`>=3.10` when absent). Blocks on the first use.
    ///
    /// # Errors
    /// [`InterpreterError`] with what was found.
    pub fn pick(&self, requires: Option<&str>) -> Result<Interpreter, InterpreterError> {
        let expected = requires.unwrap_or(">=3.10").to_owned();
        let specifiers =
            VersionSpecifiers::from_str(&expected).map_err(|error| InterpreterError::Specifier { problem: error.to_string() })?;
        let all = self.all();
        let fit = |interpreter: &&Interpreter| interpreter.satisfies(&specifiers);
        // One that can fork is preferred over an earlier one that can't.
        let chosen = all.iter().filter(fit).find(|interpreter| interpreter.can_fork()).or_else(|| all.iter().find(fit));
        match chosen {
            Some(interpreter) => Ok(interpreter.clone()),
            None if all.is_empty() => Err(InterpreterError::None { expected }),
            None => {
                let found: Vec<&str> = all.iter().map(|interpreter| interpreter.version.as_str()).collect();
                Err(InterpreterError::Unfit { expected, found: found.join(", ") })
            }
        }
    }

    /// Every interpreter that was found, in order of preference.
    #[must_use]
    pub fn all(&self) -> Vec<Interpreter> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get_or_insert_with(|| self.look()).clone()
    }

    fn look(&self) -> Vec<Interpreter> {
        let memory = self.settings.cache.join("tools").join("interpreters.json");
        let mut remembered: Remembered =
            fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let mut found: Vec<Interpreter> = Vec::new();
        let mut changed = false;
        for path in self.candidates() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let stamp = (metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(), metadata.ino());
            let answer = match remembered.answers.get(&path) {
                Some((time, inode, answer)) if (*time, *inode) == stamp && answer.executable.exists() => answer.clone(),
                _ => {
                    let Some(answer) = ask(&path) else { continue };
                    changed = true;
                    remembered.answers.insert(path.clone(), (stamp.0, stamp.1, answer.clone()));
                    answer
                }
            };
            if !found.iter().any(|known| known.executable == answer.executable) {
                found.push(answer);
            }
        }
        if changed && let Ok(bytes) = serde_json::to_vec(&remembered) {
            // Only a memory: when it can't be kept, the next start asks again.
            let staging = memory.with_extension(format!("tmp-{}", std::process::id()));
            let kept = memory.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&staging, bytes));
            if kept.and_then(|()| fs::rename(&staging, &memory)).is_err() {
                tracing::debug!(path = %memory.display(), "the interpreters found could not be remembered");
            }
        }
        found
    }

    fn candidates(&self) -> Vec<PathBuf> {
        if let Some(python) = &self.settings.python {
            return vec![python.clone()];
        }
        let folders = &self.settings.search_path;
        NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).filter(|path| path.is_file()).collect()
    }
}

fn ask(path: &Path) -> Option<Interpreter> {
    let args = ["-I", "-S", "-c", PROBE].map(OsStr::new);
    // A version manager's shim needs its home folder to know which interpreter it stands for.
    let answer = trusted::run(path, &args, &trusted::plain_environment(), Duration::from_secs(10), &mut |_| {});
    let interpreter: Interpreter = answer.ok().and_then(|stdout| serde_json::from_str(stdout.trim()).ok())?;
    let executable = fs::canonicalize(&interpreter.executable).ok()?;
    Some(Interpreter { executable, ..interpreter })
}
