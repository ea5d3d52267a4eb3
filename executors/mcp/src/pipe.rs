//! The link to a server that was started by command: one message a line on its standard input and output.
//!
//! Lines are bounded, and what the server does not read waits in a bounded queue; its standard error is kept apart, for the log.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use executor_api::{FailureKind, ToolFailure};
use futures::future::BoxFuture;
use rustix::fd::OwnedFd;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::unix::pipe, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::peer::{Heard, Link, Outgoing};

/// Messages that may wait for the server to read.
const QUEUE: usize = 64;
/// How much of the standard error is kept for a failure's detail.
const KEPT: usize = 4 << 10;
/// Lines of standard error that go to the log in one start; the rest is only kept.
const LOGGED: usize = 200;

/// The pipes of a server.
pub(crate) struct Pipes {
    queue: mpsc::Sender<Vec<u8>>,
    closed: CancellationToken,
}

impl Pipes {
    /// Begins to read and write.
    ///
    /// # Errors
    /// The system's, when the pipes can't be watched.
    pub(crate) fn open(input: OwnedFd, output: OwnedFd, max_message: usize, heard: mpsc::Sender<Heard>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let mut input = pipe::Sender::from_owned_fd(input)?;
        let output = pipe::Receiver::from_owned_fd(output)?;
        let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUE);
        let closed = CancellationToken::new();
        let end = closed.clone();
        drop(tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = waiting.recv() => message,
                    () = end.cancelled() => return,
                };
                let Some(message) = message else { return };
                tokio::select! {
                    // A server that closed its input says by ending, or by its answers, what it thinks.
                    written = input.write_all(&message) => if written.is_err() { return },
                    () = end.cancelled() => return,
                }
            }
        }));
        let end = closed.clone();
        drop(tokio::spawn(async move {
            tokio::select! {
                failure = read_lines(output, max_message, &heard) => {
                    let _ = heard.send(Heard::Ended(failure)).await;
                }
                () = end.cancelled() => {}
            }
        }));
        Ok(Self { queue, closed })
    }
}

impl Link for Pipes {
    fn send(&self, message: Outgoing) -> BoxFuture<'_, Result<(), ToolFailure>> {
        Box::pin(async move {
            let mut line = serde_json::to_vec(&message.body)
                .map_err(|error| ToolFailure::new(FailureKind::Internal, format!("a message can't be written: {error}")))?;
            line.push(b'\n');
            let gone = || ToolFailure::new(FailureKind::Crashed, "the server closed its standard input");
            self.queue.send(line).await.map_err(|_| gone())
        })
    }

    fn close(&self) {
        self.closed.cancel();
    }
}

async fn read_lines(mut output: pipe::Receiver, max_message: usize, heard: &mpsc::Sender<Heard>) -> ToolFailure {
    let mut line = Vec::new();
    let mut chunk = vec![0_u8; 64 << 10];
    loop {
        let count = match output.read(&mut chunk).await {
            Ok(0) => return ToolFailure::new(FailureKind::Crashed, "the server ended"),
            Ok(count) => count,
            Err(error) => return ToolFailure::new(FailureKind::Crashed, format!("the server can't be read: {error}")),
        };
        let mut rest = chunk.get(..count).unwrap_or_default();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            line.extend_from_slice(head);
            rest = tail.get(1..).unwrap_or_default();
            if line.len() > max_message {
                return too_long(max_message);
            }
            let bytes = std::mem::take(&mut line);
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if heard.send(Heard::Message { bytes, via: None }).await.is_err() {
                return ToolFailure::new(FailureKind::Crashed, "nobody listens to the server any more");
            }
        }
        line.extend_from_slice(rest);
        if line.len() > max_message {
            return too_long(max_message);
        }
    }
}

fn too_long(max_message: usize) -> ToolFailure {
    ToolFailure::new(FailureKind::OutputTooLarge, format!("the server sent a message of more than {max_message} bytes"))
}

/// The end of what a server writes to its standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorTail(Arc<Mutex<VecDeque<u8>>>);

impl ErrorTail {
    /// Reads to the end of the pipe, whoever else is gone.
    pub(crate) fn follow(plugin: &str, pipe: OwnedFd) -> Self {
        let tail = Self::default();
        let opened =
            rustix::io::ioctl_fionbio(&pipe, true).map_err(io::Error::from).and_then(|()| pipe::Receiver::from_owned_fd(pipe));
        match opened {
            Ok(pipe) => drop(tokio::spawn(tail.clone().read(plugin.to_owned(), pipe))),
            Err(error) => tracing::warn!(plugin, %error, "an upstream server's standard error can't be followed"),
        }
        tail
    }

    async fn read(self, plugin: String, mut pipe: pipe::Receiver) {
        let mut chunk = vec![0_u8; 4096];
        let mut logged = 0;
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            let bytes = chunk.get(..count).unwrap_or_default();
            if logged < LOGGED {
                logged += 1;
                tracing::debug!(plugin, text = %String::from_utf8_lossy(bytes).escape_debug(), "upstream standard error");
            }
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(bytes);
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).trim().to_owned()
    }
}
