//! The container engine: which one answers, what it is, and its errors in our words. It may die and come back at any time.
//!
//! What is asked of it is in `image`, `replica` and `survey`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use executor_api::{FailureKind, ToolFailure};
use serde::Serialize;
use tokio::net::UnixStream;

/// Seconds that one request to an engine may take; the start of a container on a busy machine is the slowest.
const REQUEST_SECONDS: u64 = 120;
/// How long an engine may take to say what it is.
const GREETING: Duration = Duration::from_secs(15);

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker Engine, or one that says nothing else.
    Docker,
    /// Podman's service.
    Podman,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// Where it listens.
    pub socket: PathBuf,
    /// Which one.
    pub kind: EngineKind,
    /// Its version.
    pub version: String,
    /// The version of the API that is spoken with it.
    pub api: String,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Limits that it can't enforce here.
    pub lacks: Vec<String>,
}

/// Why no engine can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// None of the usual places has a socket.
    #[error("no container engine: none of {looked} is there")]
    None {
        /// Where was looked.
        looked: String,
    },
    /// There is a socket, and it is not for this user.
    #[error("this user may not use the container engine at `{socket}`: {problem}")]
    Forbidden {
        /// Where.
        socket: String,
        /// What the kernel said.
        problem: String,
    },
    /// There is a socket, and nothing usable behind it.
    #[error("the container engine at `{socket}` can't be used: {problem}")]
    Unusable {
        /// Where.
        socket: String,
        /// Why.
        problem: String,
    },
}

impl EngineError {
    /// What the operator can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => {
                "add this user to the group of the engine's socket, which makes it as good as root, or name a rootless engine of its own in DOCKER_HOST"
            }
            Self::None { .. } | Self::Unusable { .. } => "start the container engine; pegboard doctor says which one is used",
        }
    }
}

/// A connected engine. Each request opens a connection of its own, so that one outlives a restart of the engine.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) docker: Docker,
    pub(crate) facts: Arc<EngineFacts>,
}

/// The engine of this host, looked for when it is first needed and again after it was gone.
#[derive(Debug)]
pub(crate) struct Engine {
    sockets: Vec<PathBuf>,
    connected: Mutex<Option<Connected>>,
}

impl Engine {
    pub(crate) fn new(sockets: Vec<PathBuf>) -> Self {
        Self { sockets, connected: Mutex::default() }
    }

    /// The engine, connected if need be.
    ///
    /// # Errors
    /// What the caller of a tool is told.
    pub(crate) async fn get(&self) -> Result<Connected, ToolFailure> {
        if let Some(connected) = self.connected.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(connected);
        }
        let connected = connect(&self.sockets).await.map_err(|error| {
            let hint = match error {
                EngineError::Forbidden { .. } => "ask the operator to let Pegboard's user use the container engine",
                _ => "ask the operator to start the container engine",
            };
            ToolFailure::new(FailureKind::Unavailable, error.to_string()).with_hint(hint)
        })?;
        tracing::info!(engine = ?connected.facts.kind, version = connected.facts.version, api = connected.facts.api, socket = %connected.facts.socket.display(), rootless = connected.facts.rootless, "container engine");
        for lack in &connected.facts.lacks {
            tracing::warn!(lack, "the container engine lacks a limit");
        }
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    /// The failure of a request. One that the engine did not answer makes the next call look for it again.
    pub(crate) fn failed(&self, doing: &str, error: &Error) -> ToolFailure {
        if is_gone(error) {
            *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        failure(doing, error)
    }
}

/// Connects to the first engine that answers.
///
/// # Errors
/// [`EngineError`]: no socket at all, or what the first one with a socket said.
pub(crate) async fn connect(sockets: &[PathBuf]) -> Result<Connected, EngineError> {
    let mut problem = None;
    for path in sockets {
        let socket = path.display().to_string();
        // Knocking tells a closed door from none: that a path is there can't be seen through a folder that is closed.
        let error = match UnixStream::connect(path).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                EngineError::Forbidden { socket, problem: "permission denied".to_owned() }
            }
            Err(error) => EngineError::Unusable { socket, problem: error.to_string() },
            Ok(_) => match greet(path).await {
                Ok(connected) => return Ok(connected),
                Err(problem) => EngineError::Unusable { socket, problem },
            },
        };
        problem.get_or_insert(error);
    }
    let looked = || sockets.iter().map(|socket| format!("`{}`", socket.display())).collect::<Vec<_>>().join(", ");
    Err(problem.unwrap_or_else(|| EngineError::None { looked: looked() }))
}

async fn greet(socket: &Path) -> Result<Connected, String> {
    let path = socket.to_str().ok_or("its path is no text")?;
    let words = |error: Error| plain(&error);
    let docker = Docker::connect_with_unix(path, REQUEST_SECONDS, API_DEFAULT_VERSION).map_err(words)?;
    let asked = async {
        // Without this an older engine refuses every request.
        let docker = docker.negotiate_version().await.map_err(words)?;
        let (version, info) = (docker.version().await.map_err(words)?, docker.info().await.map_err(words)?);
        let podman = version.components.iter().flatten().any(|component| component.name.to_ascii_lowercase().contains("podman"));
        let rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let lacks = [
            (info.memory_limit, "memory is not limited"),
            (info.pids_limit, "the number of processes is not limited"),
            (info.cpu_cfs_quota, "CPU time is not limited"),
        ];
        let facts = EngineFacts {
            socket: socket.to_owned(),
            kind: if podman { EngineKind::Podman } else { EngineKind::Docker },
            version: version.version.unwrap_or_default(),
            api: docker.client_version().to_string(),
            rootless,
            lacks: lacks.iter().filter(|(has, _)| *has == Some(false)).map(|(_, lack)| (*lack).to_owned()).collect(),
        };
        Ok(Connected { docker, facts: Arc::new(facts) })
    };
    tokio::time::timeout(GREETING, asked).await.unwrap_or_else(|_| Err(format!("no answer within {} s", GREETING.as_secs())))
}

/// Whether the engine was not there, as against having refused.
pub(crate) fn is_gone(error: &Error) -> bool {
    !matches!(
        error,
        Error::DockerResponseServerError { .. }
            | Error::DockerStreamError { .. }
            | Error::DockerContainerWaitError { .. }
            | Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
    )
}

/// Whether what was asked for is not there.
pub(crate) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

pub(crate) fn failure(doing: &str, error: &Error) -> ToolFailure {
    if is_gone(error) {
        let message = format!("the container engine went away while {doing}: {}", plain(error));
        return ToolFailure::new(FailureKind::Unavailable, message).with_hint("try again when it is back");
    }
    let said = plain(error);
    let failure = ToolFailure::new(FailureKind::LoadFailed, format!("{doing} failed: {said}"));
    if said.contains("no space left on device") {
        return failure.with_hint("the engine's disk is full: pegboard container prune");
    }
    if said.contains("port is already allocated") || said.contains("address already in use") {
        return failure.with_hint("a port of `container.ports` is taken: `host: 0` takes a free one");
    }
    failure
}

/// What went wrong, without the name of one engine for both.
pub(crate) fn plain(error: &Error) -> String {
    let mut said = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    };
    if let Some((at, _)) = said.char_indices().nth(2000) {
        said.truncate(at);
    }
    said.trim().to_owned()
}
