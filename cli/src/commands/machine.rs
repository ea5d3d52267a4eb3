//! Facts about this machine for `doctor`: interpreters, uv, the embedder, a container engine. Looks, and runs only programs of the user's own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use executor_container::{EngineError, EngineFacts};
use executor_python::{Interpreters, PythonSettings};
use index::{Embedder, FastEmbedder, StaticEmbedder};
use sandbox::{Ceiling, TrustedRun, run_trusted};
use serde::Serialize;
use server::EmbedderChoice;

use super::{embedder, host};
use crate::settings::{EmbedderKind, Settings};

/// An interpreter that plugins can run with.
#[derive(Debug, Serialize)]
pub(crate) struct Python {
    /// Its version.
    pub(crate) version: String,
    /// Where it is.
    pub(crate) executable: PathBuf,
    /// Whether calls are forked ahead; else each starts a process of its own.
    pub(crate) fast: bool,
    /// Whether it can make virtual environments by itself (`venv` and `ensurepip`).
    pub(crate) venv: bool,
}

/// The package installer.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Uv {
    /// The user's own.
    Found {
        /// Where.
        path: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// One that was installed into the cache.
    Private {
        /// Where.
        path: PathBuf,
    },
    /// None yet.
    None,
}

/// How tools are found by meaning.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Embedding {
    /// Loaded, just now.
    Ready {
        /// Which.
        id: String,
        /// Length of its vectors.
        dimension: usize,
    },
    /// The operator wants none.
    Off,
    /// There is none.
    None {
        /// Why.
        reason: String,
        /// What can be done.
        hint: String,
    },
}

/// A container engine.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Engine {
    /// It answers.
    Ready(EngineFacts),
    /// There is a socket, and it can't be used.
    Unusable {
        /// Why.
        problem: String,
    },
    /// No socket in any of the usual places.
    None,
}

/// Every interpreter from 3.10 on, the preferred one first.
pub(crate) fn pythons(settings: &PythonSettings) -> Vec<Python> {
    let recent = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (3, 10)
    };
    let found = Interpreters::new(settings.clone()).all();
    found
        .into_iter()
        .filter(|python| recent(&python.version))
        .map(|python| Python {
            venv: ask(&python.executable, &["-I", "-c", "import venv, ensurepip"]).is_some(),
            fast: python.can_fork(),
            version: python.version,
            executable: python.executable,
        })
        .collect()
}

/// The package installer that would be used.
pub(crate) fn uv(settings: &PythonSettings) -> Uv {
    let on_path = settings.search_path.iter().map(|folder| folder.join("uv")).find(|path| path.is_file());
    if let Some((path, said)) = on_path.and_then(|path| ask(&path, &["--version"]).map(|said| (path, said))) {
        return Uv::Found { path, version: said.trim().trim_start_matches("uv ").to_owned() };
    }
    let tools = fs::read_dir(settings.cache.join("tools")).into_iter().flatten().flatten();
    let private = tools.map(|entry| entry.path().join("bin/uv")).find(|path| path.is_file());
    private.map_or(Uv::None, |path| Uv::Private { path })
}

/// Runs a program of the user's for its answer; `None` when it fails.
fn ask(program: &Path, args: &[&str]) -> Option<String> {
    let run = TrustedRun {
        program: program.to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: ["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name.into(), env::var_os(name)?))).collect(),
        cwd: None,
        timeout: Duration::from_secs(10),
        cancel: None,
        ceiling: Ceiling::default(),
    };
    let output = run_trusted(&run, |_| {}).ok()?;
    output.status.success().then_some(output.stdout)
}

/// Loads the embedder, as the server would.
pub(crate) fn embedding(settings: &Settings) -> Embedding {
    let wished = embedder::choose(settings);
    if matches!(wished, Ok(EmbedderChoice::Lexical)) {
        return Embedding::Off;
    }
    let table = StaticEmbedder::shipped().ok().filter(|_| settings.file.embedder.kind != EmbedderKind::Fastembed);
    let ready = |embedder: &dyn Embedder| Embedding::Ready { id: embedder.id().to_owned(), dimension: embedder.dimension() };
    if let Some(table) = table.as_ref().filter(|_| matches!(wished, Ok(EmbedderChoice::Static))) {
        return ready(table);
    }
    let opened = embedder::locate(settings).and_then(|found| FastEmbedder::open(&found.model, &found.onnxruntime));
    match (opened, table) {
        (Ok(embedder), _) => ready(&embedder),
        (Err(_), Some(table)) => ready(&table),
        (Err(error), None) => Embedding::None { reason: error.reason.to_string(), hint: error.hint.to_owned() },
    }
}

/// The container engine that would be used, asked just now.
pub(crate) fn engine() -> Engine {
    let sockets = match host::engine_sockets() {
        Ok(sockets) => sockets,
        Err(problem) => return Engine::Unusable { problem },
    };
    let looked = host::runtime().map(|runtime| runtime.block_on(executor_container::look(&sockets)));
    match looked {
        Ok(Ok(facts)) => Engine::Ready(facts),
        Ok(Err(EngineError::None { .. })) => Engine::None,
        Ok(Err(error @ (EngineError::Unusable { .. } | EngineError::Forbidden { .. }))) => {
            Engine::Unusable { problem: error.to_string() }
        }
        Err(failure) => Engine::Unusable { problem: failure.message },
    }
}

/// The line that installs Python with venv on this system; `version` when only venv is missing.
pub(crate) fn install_line(version: Option<&str>) -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let like = |family: &str| {
        release.lines().filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE=")).any(|line| line.contains(family))
    };
    if like("debian") || like("ubuntu") {
        // Debian splits venv off, and names the package after the interpreter's minor version.
        let minor = version
            .and_then(|version| version.rsplit_once('.'))
            .map(|(minor, _)| format!(" python{minor}-venv"))
            .unwrap_or_default();
        return if minor.is_empty() {
            "sudo apt-get install python3 python3-venv".to_owned()
        } else {
            format!("sudo apt-get install python3-venv{minor}")
        };
    }
    if like("fedora") || like("rhel") || like("centos") {
        return "sudo dnf install python3.12".to_owned();
    }
    "install Python 3.10 or later with its venv module, from your distribution".to_owned()
}
