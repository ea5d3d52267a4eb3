//! HTTP to one container: a few kept connections, bounded answers, and the ways in. What is said is in `contract` and `health`.
//!
//! The ways, in this order: the unix socket in the folder that both see; the container's own loopback, entered for the length of one
//! `connect` (root only); its address or a port published on our loopback, where it was granted a network.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustix::fs::{FileType, Mode, OFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Idle connections that are kept.
const KEPT: usize = 64;
/// How long a connection may take to open.
const CONNECTING: Duration = Duration::from_secs(5);

/// A way into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Door {
    /// A socket in the shared folder.
    Socket(PathBuf),
    /// The loopback of the network namespace of this process, which belongs to this container.
    Inside { pid: u32, container: String, port: u16 },
    /// An address that we reach.
    Address(SocketAddr),
}

impl Door {
    /// The word for states and logs.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Socket(_) => "socket",
            Self::Inside { .. } => "loopback",
            Self::Address(_) => "address",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Nothing was sent.
    #[error("it can't be reached: {0}")]
    Unreached(io::Error),
    /// Something was sent, and no whole answer came.
    #[error("{0}")]
    Broken(String),
    /// More than allowed.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) media: String,
    pub(crate) body: Bytes,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections to one container.
#[derive(Debug)]
pub(crate) struct Wire {
    door: Door,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Wire {
    pub(crate) fn new(door: Door) -> Self {
        Self { door, idle: Mutex::default() }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// Asks once. A kept connection that turns out to be closed before the request left is replaced by a new one.
    pub(crate) async fn ask(&self, method: &Method, path: &str, body: Option<Bytes>, limit: usize) -> Result<Answer, WireError> {
        let mut request = request(method, path, body)?;
        loop {
            let (mut sender, fresh) = match self.take() {
                Some(sender) => (sender, false),
                None => (self.open().await.map_err(WireError::Unreached)?, true),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let answer = read(response, limit).await?;
                    self.keep(sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    Some(_) => return Err(WireError::Unreached(io::Error::other(words(error.error())))),
                    None => return Err(WireError::Broken(words(error.error()))),
                },
            }
        }
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn open(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let opening = async {
            let stream = open(&self.door).await?;
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not take connections");
        let (sender, connection) = tokio::time::timeout(CONNECTING, opening).await.map_err(|_| late())??;
        // Ends with the last sender of it.
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}

fn request(method: &Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, WireError> {
    let mut builder =
        Request::builder().method(method).uri(path).header(header::HOST, "plugin").header(header::ACCEPT, "application/json");
    if body.is_some() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    builder.body(Full::new(body.unwrap_or_default())).map_err(|error| WireError::Unreached(io::Error::other(error)))
}

/// Reads at most `limit` bytes. What is larger, or ends early, costs the connection.
async fn read(response: hyper::Response<hyper::body::Incoming>, limit: usize) -> Result<Answer, WireError> {
    let (head, mut body) = response.into_parts();
    let media = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let told = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limit as u64) {
        return Err(WireError::TooLarge(limit));
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| WireError::Broken(format!("the answer ended in the middle: {}", words(&error))))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(WireError::TooLarge(limit));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Answer { status: head.status, media, body: whole.into() })
}

fn words(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {cause}");
    }
    text.chars().take(300).collect()
}

async fn open(door: &Door) -> io::Result<Box<dyn Stream>> {
    match door {
        Door::Socket(path) => Ok(Box::new(open_socket(path).await?)),
        Door::Address(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Door::Inside { pid, container, port } => {
            let (pid, container, port) = (*pid, container.clone(), *port);
            let (sender, receiver) = tokio::sync::oneshot::channel();
            // A thread that ends: one that came back to a pool would still be inside.
            std::thread::Builder::new().name("pegboard-door".to_owned()).spawn(move || {
                let _ = sender.send(connect_inside(pid, &container, port));
            })?;
            let stream = receiver.await.map_err(io::Error::other)??;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Box::new(TcpStream::from_std(stream)?))
        }
    }
}

/// Connects to a socket, and to nothing that a link in its place leads to. The plugin can put one there, to a socket of the host's such as the
/// engine's own, and its manifest says which path is asked: that would be the engine's keys in its hands. By descriptor, so that nothing can
/// be swapped between the look and the connection, and no path is too long.
async fn open_socket(path: &Path) -> io::Result<UnixStream> {
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what is in the place of its socket is no socket"));
    }
    UnixStream::connect(format!("/proc/self/fd/{}", found.as_raw_fd())).await
}

/// Connects to the container's own loopback, from a thread that enters its network namespace and ends. A socket belongs to the namespace in
/// which it was made, so the connection stays.
fn connect_inside(pid: u32, container: &str, port: u16) -> io::Result<std::net::TcpStream> {
    // The number may be somebody else's by now, or of another process namespace than ours.
    let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    if container.is_empty() || !group.contains(container) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the container's process is not seen from here"));
    }
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    std::net::TcpStream::connect_timeout(&address, CONNECTING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_in_the_place_of_the_socket_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let theirs = folder.path().join("engine.sock");
        let _engine = tokio::net::UnixListener::bind(&theirs).unwrap();
        let ours = long.join("plugin.sock");
        std::os::unix::fs::symlink(&theirs, &ours).unwrap();
        assert_eq!(open_socket(&ours).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        // The same socket in its own place, also where its path is longer than an address.
        std::fs::rename(&theirs, long.join("real.sock")).unwrap();
        open_socket(&long.join("real.sock")).await.unwrap();
    }
}
