//! Listening on an address and on a unix socket, and the life of a connection: bounded in number, its headers bounded in time,
//! TCP_NODELAY set, ended gracefully.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use super::HttpLimits;
use crate::{ServeError, session};

/// The most bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;
/// After a failure to accept, such as too many open files, the next try waits.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What is listened on.
pub(crate) struct Listeners {
    tcp: Option<(TcpListener, SocketAddr)>,
    unix: Option<(UnixListener, PathBuf)>,
}

/// The connections of a server that runs.
pub(crate) struct Connections {
    stages: Stages,
    /// Yields nothing until every connection, each of which holds a sender, is gone.
    gone: mpsc::Receiver<()>,
    socket: Option<PathBuf>,
}

/// How far the end of the server is.
#[derive(Clone, Default)]
struct Stages {
    /// No new connection.
    closing: CancellationToken,
    /// No new request.
    finishing: CancellationToken,
    /// No connection.
    aborting: CancellationToken,
}

impl Listeners {
    pub(crate) async fn bind(address: Option<SocketAddr>, unix: Option<PathBuf>) -> Result<Self, ServeError> {
        if address.is_none() && unix.is_none() {
            return Err(ServeError::Nowhere);
        }
        let tcp = match address {
            None => None,
            Some(address) => {
                let failed = |source| ServeError::Bind { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                Some((listener, local))
            }
        };
        let unix = match unix {
            None => None,
            Some(path) => {
                let listener = bind_unix(&path).await.map_err(|reason| ServeError::Unix { path: path.clone(), reason })?;
                Some((listener, path))
            }
        };
        Ok(Self { tcp, unix })
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(_, address)| *address).collect()
    }

    /// Accepts connections until told otherwise.
    pub(crate) fn serve(self, router: &Router, limits: &HttpLimits) -> Connections {
        let stages = Stages::default();
        let (alive, gone) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(limits.connections));
        let socket = self.unix.as_ref().map(|(_, path)| path.clone());
        if let Some((listener, _)) = self.tcp {
            let life = Life { router: router.clone(), head: limits.head, stages: stages.clone() };
            tokio::spawn(accept(listener, life, places.clone(), alive.clone()));
        }
        if let Some((listener, _)) = self.unix {
            let life = Life { router: router.clone(), head: limits.head, stages: stages.clone() };
            tokio::spawn(accept(listener, life, places, alive));
        }
        Connections { stages, gone, socket }
    }
}

impl Connections {
    pub(crate) fn stop_accepting(&self) {
        self.stages.closing.cancel();
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Lets every connection end after the request it is at, for a while.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        self.stages.finishing.cancel();
        let _ = tokio::time::timeout(patience, self.gone.recv()).await;
    }

    /// Ends what is still there.
    pub(crate) async fn abort(mut self) {
        self.stages.aborting.cancel();
        self.gone.recv().await;
    }
}

/// What every connection lives by.
#[derive(Clone)]
struct Life {
    router: Router,
    /// How long a head may take.
    head: Duration,
    stages: Stages,
}

/// Something that connections come from.
trait Door: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;
    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Without it an answer of several packets waits 40 ms for the client's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;
    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept<D: Door>(door: D, life: Life, places: Arc<Semaphore>, alive: mpsc::Sender<()>) {
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = life.stages.closing.cancelled() => return,
        };
        let stream = tokio::select! {
            stream = door.next() => stream,
            () = life.stages.closing.cancelled() => return,
        };
        match stream {
            Ok(stream) => {
                let (life, alive) = (life.clone(), alive.clone());
                tokio::spawn(async move {
                    let _held = (place, alive);
                    serve_connection(stream, life).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, life: Life) {
    let Life { router, head, stages } = life;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stages.finishing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stages.aborting.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Binds beside the path and renames, so that nobody can connect before the mode is set, and a stale socket is replaced at once.
pub(crate) async fn bind_unix(path: &Path) -> Result<UnixListener, String> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err("there is a file that is no socket".to_owned());
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err("another server listens there".to_owned());
        }
    }
    let suffix = session::hex(&session::random::<8>().map_err(|error| error.to_string())?);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    let beside = PathBuf::from(name);
    let listener = UnixListener::bind(&beside).map_err(|error| error.to_string())?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            error.to_string()
        })?;
    Ok(listener)
}
