//! Which Python runs a plugin: finds interpreters, asks each once what it is, and picks the one that fits `python_requires`.
//!
//! Virtualenvs are made in `environment`; nothing is installed here.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
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
    known: Mutex<Option<Known>>,
}

/// What was asked so far.
#[derive(Debug)]
struct Known {
    found: Vec<Interpreter>,
    left: VecDeque<PathBuf>,
    remembered: Remembered,
}

#[derive(Debug, Default, Serialize, Deserialize)]
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
        let fit = |interpreter: &Interpreter| interpreter.satisfies(&specifiers);
        // One that can fork is preferred over an earlier one that can't. Asking takes time, so the first that will do ends the search.
        let known = self.ask_until(&|interpreter| fit(interpreter) && interpreter.can_fork());
        let chosen = known.iter().find(|known| fit(known) && known.can_fork()).or_else(|| known.iter().find(|known| fit(known)));
        match chosen {
            Some(interpreter) => Ok(interpreter.clone()),
            None if known.is_empty() => Err(InterpreterError::None { expected }),
            None => {
                let found: Vec<&str> = known.iter().map(|interpreter| interpreter.version.as_str()).collect();
                Err(InterpreterError::Unfit { expected, found: found.join(", ") })
            }
        }
    }

    /// Every interpreter on the search path, in order of preference.
    #[must_use]
    pub fn all(&self) -> Vec<Interpreter> {
        self.ask_until(&|_| false)
    }

    /// Asks candidates in order until one will do; those asked before are not asked again.
    fn ask_until(&self, enough: &dyn Fn(&Interpreter) -> bool) -> Vec<Interpreter> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state =
            known.get_or_insert_with(|| Known { found: Vec::new(), left: self.candidates().into(), remembered: self.recall() });
        let mut changed = false;
        while !state.found.iter().any(enough) {
            let Some(path) = state.left.pop_front() else { break };
            let Some((answer, is_new)) = self.answer_of(&path, &mut state.remembered) else { continue };
            changed |= is_new;
            if !state.found.iter().any(|known| known.executable == answer.executable) {
                state.found.push(answer);
            }
        }
        if changed {
            self.remember(&state.remembered);
        }
        state.found.clone()
    }

    fn answer_of(&self, path: &Path, remembered: &mut Remembered) -> Option<(Interpreter, bool)> {
        let metadata = fs::metadata(path).ok()?;
        let stamp = (metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(), metadata.ino());
        if let Some((time, inode, answer)) = remembered.answers.get(path)
            && (*time, *inode) == stamp
            && answer.executable.exists()
        {
            return Some((answer.clone(), false));
        }
        let answer = ask(path, &self.settings)?;
        remembered.answers.insert(path.to_owned(), (stamp.0, stamp.1, answer.clone()));
        Some((answer, true))
    }

    fn memory(&self) -> PathBuf {
        self.settings.cache.join("tools").join("interpreters.json")
    }

    fn recall(&self) -> Remembered {
        fs::read(self.memory()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Only a memory: when it can't be kept, the next start asks again.
    fn remember(&self, remembered: &Remembered) {
        let memory = self.memory();
        let staging = memory.with_extension(format!("tmp-{}", std::process::id()));
        let bytes = serde_json::to_vec(remembered).unwrap_or_default();
        let kept = memory.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&staging, bytes));
        if kept.and_then(|()| fs::rename(&staging, &memory)).is_err() {
            tracing::debug!(path = %memory.display(), "the interpreters found could not be remembered");
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        if let Some(python) = &self.settings.python {
            return vec![python.clone()];
        }
        let folders = &self.settings.search_path;
        NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).filter(|path| path.is_file()).collect()
    }
}

fn ask(path: &Path, settings: &PythonSettings) -> Option<Interpreter> {
    let args = ["-I", "-S", "-c", PROBE].map(OsStr::new);
    // A version manager's shim needs its home folder to know which interpreter it stands for.
    let answer = trusted::run(path, &args, &settings.plain_environment(), settings, Duration::from_secs(10), &mut |_| {});
    let interpreter: Interpreter = answer.ok().and_then(|stdout| serde_json::from_str(stdout.trim()).ok())?;
    let executable = fs::canonicalize(&interpreter.executable).ok()?;
    Some(Interpreter { executable, ..interpreter })
}
