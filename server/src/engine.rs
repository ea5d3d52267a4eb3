//! The shared engine: one host behind a unix socket, one MCP connection of lines for each connection to it.
//!
//! A connection opens with one line that says what it wants, in JSON ([`Opening`]); the answer is one line ([`Answer`]). After `join` the stream is
//! plain MCP, as over standard input and output, so a shim only copies bytes. Where the socket lies, who starts the engine and how starters
//! find each other is `cli`.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Notify, Semaphore},
};

use crate::{Host, ServeError, Shutdown, View, http::bind_unix, mcp::serve_lines_in};

/// The version of the two opening lines. Another one is never joined.
pub const OPENING_VERSION: u32 = 1;
/// The longest opening line, in bytes.
const MAX_OPENING: u64 = 4 << 10;
/// How long a connection may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; one more waits.
const MAX_CONNECTIONS: usize = 1_024;

/// What a connection wants, its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`OPENING_VERSION`].
    pub pegboard: u32,
    /// What to do.
    pub want: Want,
    /// The caller's version; `join` needs the engine's own.
    pub version: String,
    /// For `join`: `all` or `search`; the engine's own view where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// Speak MCP.
    Join,
    /// Hear how the engine is.
    Status,
    /// End it.
    Stop,
}

/// The engine's one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`OPENING_VERSION`].
    pub pegboard: u32,
    /// Why not; nothing follows then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How the engine is.
    pub engine: EngineStatus,
}

/// How an engine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Connections that speak MCP now.
    pub connections: usize,
    /// Calls that run or wait now.
    pub running: usize,
    /// Plugins, the withheld ones among them.
    pub plugins: usize,
    /// Tools that it serves.
    pub tools: usize,
    /// Seconds since it started.
    pub seconds: u64,
    /// It ends: who wants to join waits, and begins another.
    pub stopping: bool,
}

/// Where and how long an engine listens.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The socket's path.
    pub socket: PathBuf,
    /// It ends after this long without a connection; `None`: never by itself.
    pub idle: Option<Duration>,
}

/// An engine that listens, and does not serve yet.
pub struct Engine {
    listener: UnixListener,
    settings: EngineSettings,
}

/// What the connections share.
struct Shared {
    host: Arc<Host>,
    shutdown: Shutdown,
    began: Instant,
    /// Connections that were accepted and are not over, opening lines included.
    open: AtomicUsize,
    /// Connections that speak MCP.
    joined: AtomicUsize,
    /// Told when a connection is over.
    changed: Notify,
}

impl Engine {
    /// Takes the socket: for this user only, by rename, so that nobody connects before its mode is set.
    ///
    /// # Errors
    /// [`ServeError::Unix`].
    pub async fn bind(settings: EngineSettings) -> Result<Self, ServeError> {
        let failed = |reason| ServeError::Unix { path: settings.socket.clone(), reason };
        let listener = bind_unix(&settings.socket).await.map_err(failed)?;
        Ok(Self { listener, settings })
    }

    /// Serves until `shutdown` begins, someone says stop, or nobody has been connected for the idle time; then ends the host.
    pub async fn run(self, host: Arc<Host>, shutdown: Shutdown) {
        let Self { listener, settings } = self;
        let inode = std::fs::metadata(&settings.socket).map(|metadata| metadata.ino()).ok();
        let shared = Arc::new(Shared {
            host: host.clone(),
            shutdown: shutdown.clone(),
            began: Instant::now(),
            open: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        tokio::select! {
            () = accept(&listener, &shared) => {}
            () = shared.unused_for(settings.idle) => tracing::info!("nobody is connected, ending"),
            () = shutdown.begun() => {}
        }
        remove_own(&settings.socket, inode);
        // What connected until now and was not accepted is told by the end of its stream, and begins another engine.
        drop(listener);
        shutdown.begin();
        host.drain(&shutdown).await;
        shared.until_no_connection(Duration::from_secs(1)).await;
        host.shutdown().await;
    }
}

/// Another engine may have taken the path since.
fn remove_own(path: &Path, inode: Option<u64>) {
    if inode.is_some() && std::fs::metadata(path).map(|metadata| metadata.ino()).ok() == inode {
        let _ = std::fs::remove_file(path);
    }
}

async fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let own = rustix::process::geteuid().as_raw();
    loop {
        // Never closed.
        let place = places.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The folder and the socket's mode keep others out already; root alone gets past them, and may not borrow this user's grants by accident.
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own => {}
            peer => {
                tracing::warn!(peer = ?peer.map(|peer| peer.uid()).ok(), "a connection of another user was refused");
                continue;
            }
        }
        shared.open.fetch_add(1, Ordering::AcqRel);
        let shared = shared.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = shared.serve(stream).await {
                tracing::warn!(%error, "a connection ended badly");
            }
            shared.open.fetch_sub(1, Ordering::AcqRel);
            shared.changed.notify_waiters();
        });
    }
}

impl Shared {
    async fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut line = String::new();
        let opened = async {
            (&mut reader).take(MAX_OPENING).read_line(&mut line).await?;
            let opening = serde_json::from_str::<Opening>(&line)
                .map_err(|error| std::io::Error::other(format!("no opening line: {error}")))?;
            let view = self.judge(&opening);
            let refused = view.as_ref().err().cloned();
            let mut answer = serde_json::to_vec(&Answer { pegboard: OPENING_VERSION, refused, engine: self.status() })?;
            answer.push(b'\n');
            writer.write_all(&answer).await?;
            Ok::<_, std::io::Error>((opening.want, view))
        };
        let (want, view) =
            tokio::time::timeout(PATIENCE, opened).await.map_err(|_| std::io::Error::other("no opening line in time"))??;
        match (want, view) {
            (Want::Join, Ok(view)) => {
                self.joined.fetch_add(1, Ordering::AcqRel);
                let served = serve_lines_in(self.host.clone(), view, reader, writer, self.shutdown.clone()).await;
                self.joined.fetch_sub(1, Ordering::AcqRel);
                served.map_err(std::io::Error::other)
            }
            (Want::Stop, Ok(_)) => {
                tracing::info!("told to stop");
                self.shutdown.begin();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Which view a connection gets, or why it gets none. Stop and status are for every version: an old engine must be stoppable.
    fn judge(&self, opening: &Opening) -> Result<View, String> {
        if opening.pegboard != OPENING_VERSION {
            return Err(format!("opening version {} is not {OPENING_VERSION}", opening.pegboard));
        }
        if opening.want != Want::Join {
            return Ok(View::All);
        }
        if self.shutdown.has_begun() {
            return Err("the engine is ending".to_owned());
        }
        let ours = env!("CARGO_PKG_VERSION");
        if opening.version != ours {
            let theirs = crate::clean::one_line(&opening.version, 40);
            return Err(format!("the engine is version {ours}, the caller is version {theirs}"));
        }
        match opening.view.as_deref() {
            None => Ok(self.host.settings.view),
            Some("all") => Ok(View::All),
            Some("search") => Ok(View::Search),
            Some(other) => Err(format!("there is no view `{}`", crate::clean::one_line(other, 40))),
        }
    }

    fn status(&self) -> EngineStatus {
        let catalog = self.host.catalog();
        EngineStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            connections: self.joined.load(Ordering::Acquire),
            running: self.host.running.count(),
            plugins: catalog.plugins.len(),
            tools: catalog.tools.len(),
            seconds: self.began.elapsed().as_secs(),
            stopping: self.shutdown.has_begun(),
        }
    }

    /// Returns when nobody has been connected for so long.
    async fn unused_for(&self, idle: Option<Duration>) {
        let Some(idle) = idle else { return std::future::pending().await };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.open.load(Ordering::Acquire) > 0 {
                changed.await;
                continue;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(idle) => if self.open.load(Ordering::Acquire) == 0 { return },
            }
        }
    }

    async fn until_no_connection(&self, patience: Duration) {
        let gone = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.open.load(Ordering::Acquire) == 0 {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(patience, gone).await;
    }
}
