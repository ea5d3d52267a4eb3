//! The worker module and the runtime's Python files, carried in the program and laid into the cache by digest.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use manifest_schema::Digest;

use crate::{interpreter::Interpreter, settings::PythonSettings, trusted};

const COMPILE_LIMIT: Duration = Duration::from_secs(30);

const WORKER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pegboard_worker.so"));
include!(concat!(env!("OUT_DIR"), "/runtime_files.rs"));

/// Where the runtime lies: a folder that holds `pegboard_worker.so` and the package `pegboard_runtime`.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    /// The folder.
    pub(crate) root: PathBuf,
}

impl Runtime {
    /// Lays the files into `cache/worker/<digest>` unless they are there already with the same bytes.
    pub(crate) fn unpack(cache: &Path) -> io::Result<Self> {
        let parts = RUNTIME_FILES.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]).chain([WORKER]);
        let root = cache.join("worker").join(Digest::of(parts).short());
        let runtime = Self { root };
        if !runtime.is_whole() {
            // Several servers may start at once on an empty cache: one writes, the others find it written.
            fs::create_dir_all(cache.join("worker"))?;
            let lock = fs::File::create(cache.join("worker").join(".lock"))?;
            lock.lock()?;
            if !runtime.is_whole() {
                runtime.write(cache)?;
            }
        }
        Ok(runtime)
    }

    /// The worker module.
    pub(crate) fn worker(&self) -> PathBuf {
        self.root.join("pegboard_worker.so")
    }

    /// Compiles the Python files for one interpreter: the sandbox sees them read-only and would compile them at every start.
    pub(crate) fn compile_for(&self, interpreter: &Interpreter, settings: &PythonSettings) {
        // One at a time: whoever comes second finds it done.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = self.root.join("pegboard_runtime/__pycache__").join(format!("zygote.{}.pyc", interpreter.tag));
        if mark.is_file() {
            return;
        }
        let folder = self.root.join("pegboard_runtime");
        let args: [&OsStr; 6] = [
            "-ISm".as_ref(),
            "compileall".as_ref(),
            "-q".as_ref(),
            "--invalidation-mode".as_ref(),
            "unchecked-hash".as_ref(),
            folder.as_os_str(),
        ];
        if let Err(problem) =
            trusted::run(&interpreter.executable, &args, &settings.plain_environment(), settings, COMPILE_LIMIT, &mut |_| {})
        {
            tracing::warn!(problem, "the runtime could not be compiled ahead; plugins start slower");
        }
    }

    /// The cache may be old or half-written: only the same bytes count.
    fn is_whole(&self) -> bool {
        let same = |path: PathBuf, bytes: &[u8]| fs::read(path).is_ok_and(|found| found == bytes);
        same(self.worker(), WORKER)
            && RUNTIME_FILES.iter().all(|(name, bytes)| same(self.root.join("pegboard_runtime").join(name), bytes))
    }

    /// Writes beside and renames, so that a reader sees all or nothing. The caller holds the lock.
    fn write(&self, cache: &Path) -> io::Result<()> {
        let staging = cache.join("worker").join(format!(".staging-{}", std::process::id()));
        let package = staging.join("pegboard_runtime");
        fs::create_dir_all(&package)?;
        fs::write(staging.join("pegboard_worker.so"), WORKER)?;
        for (name, bytes) in RUNTIME_FILES {
            fs::write(package.join(name), bytes)?;
        }
        if self.root.exists() {
            fs::remove_dir_all(&self.root)?;
        }
        fs::rename(&staging, &self.root)
    }
}
