//! One confined child that waits for a call, and the call itself: request in, frames back, and how it ended.
//!
//! The child is untrusted from its first byte. Its process id comes from the kernel with its first message; it is killed through a
//! pidfd, so that a reused id can't hit another process.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use executor_api::{CallIo, FailureKind, Frame, LogLevel, ToolFailure, ToolOutcome};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::pipe},
    sync::oneshot,
};

use crate::{
    exit::{Exit, signal_name},
    groups::Group,
    jail::Jailed,
    message::{FromChild, cut, log_level},
};

/// How much of what a call prints is kept; the rest is read, counted and dropped.
const LOG_KEPT: usize = 64 * 1024;
/// A call that prints more than this is ended: reading it costs the host time.
const LOG_LIMIT: usize = 64 * 1024 * 1024;
/// Bytes read from a log at once.
const LOG_PIECE: usize = 16 * 1024;
/// How far the CPU time that is told may lie below the limit that ended a process, in microseconds.
const CPU_TICKS: u64 = 50_000;
/// How long to wait for the zygote's word on how a child ended.
const EXIT_WORD: Duration = Duration::from_millis(500);

/// A confined child that waits for a call.
#[derive(Debug)]
pub(crate) struct Child {
    stream: UnixStream,
    log: Option<pipe::Receiver>,
    inbox: Vec<u8>,
    pidfd: OwnedFd,
    exit: Option<oneshot::Receiver<Exit>>,
    group: Option<Arc<Group>>,
    oom_before: u64,
    log_seen: usize,
    killed: bool,
    /// The process it lives in, on the spawn road.
    home: Option<Box<Jailed>>,
}

/// What surrounds a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallLimits {
    /// Largest frame that is read, in bytes.
    pub(crate) frame: usize,
    /// Seconds of CPU.
    pub(crate) cpu_seconds: u64,
    /// MiB of memory, for the message.
    pub(crate) memory_mb: u32,
}

/// Why a call could not go on; turned into a failure once it is known how the child ended.
enum Broken {
    Closed,
    Cancelled,
    Deadline,
    Flooded,
    TooLarge(usize),
    Garbage(String),
    Io(io::Error),
}

impl Child {
    /// Waits for the child's first message, which carries its process id, and takes hold of the process.
    ///
    /// `parent` is the zygote's process id: a child of any other process is refused, since killing it would be an attack on it.
    pub(crate) async fn greet(
        socket: OwnedFd,
        log: OwnedFd,
        parent: i32,
        exit: oneshot::Receiver<Exit>,
        group: Option<Arc<Group>>,
    ) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        rustix::io::ioctl_fionbio(&log, true)?;
        let log = pipe::Receiver::from_owned_fd(log)?;
        let hello = loop {
            stream.readable().await?;
            match stream.try_io(tokio::io::Interest::READABLE, || crate::control::receive_message(stream.as_fd(), 64)) {
                Ok(hello) => break hello,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        };
        let hello = hello.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the child ended before it was ready"))?;
        let refused = |what: &str| io::Error::new(io::ErrorKind::PermissionDenied, what.to_owned());
        let pid = hello.pid.and_then(Pid::from_raw).ok_or_else(|| refused("a child without credentials"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        if parent_of(pid)? != parent && pid.as_raw_nonzero().get() != parent {
            return Err(refused("a child of another process"));
        }
        let oom_before = group.as_ref().map_or(0, |group| group.oom_kills());
        Ok(Self {
            stream,
            log: Some(log),
            inbox: Vec::new(),
            pidfd,
            exit: Some(exit),
            group,
            oom_before,
            log_seen: 0,
            killed: false,
            home: None,
        })
    }

    /// Keeps the whole process of the spawn road for as long as the child.
    pub(crate) fn at_home_in(mut self, jail: Jailed) -> Self {
        self.home = Some(Box::new(jail));
        self
    }

    /// Runs one call. Whatever happens, the answer is an outcome; when it is not `Completed` or `Raised` the child is dead or dying.
    pub(crate) async fn serve(&mut self, request: &[u8], io: &CallIo, limits: CallLimits) -> ToolOutcome {
        let (cancel, deadline) = (io.cancel.clone(), tokio::time::Instant::from_std(io.deadline));
        let ended = tokio::select! {
            biased;
            ended = self.converse(request, io, limits) => ended,
            () = cancel.cancelled() => Err(Broken::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(Broken::Deadline),
        };
        match ended {
            Ok(outcome) => {
                self.drain_log(io);
                outcome
            }
            Err(broken) => {
                if !matches!(broken, Broken::Closed) {
                    self.kill();
                }
                let failure = self.explain(broken, limits).await;
                self.drain_log(io);
                ToolOutcome::Failed(failure)
            }
        }
    }

    async fn converse(&mut self, request: &[u8], io: &CallIo, limits: CallLimits) -> Result<ToolOutcome, Broken> {
        let length = u32::try_from(request.len()).map_err(|_| Broken::TooLarge(request.len()))?;
        let mut framed = Vec::with_capacity(request.len() + 4);
        framed.extend_from_slice(&length.to_le_bytes());
        framed.extend_from_slice(request);
        // A child that dies now closes its end; how it died says more than a broken pipe.
        self.stream.write_all(&framed).await.map_err(|_| Broken::Closed)?;
        loop {
            while let Some(frame) = self.next_frame(limits.frame)? {
                match serde_json::from_slice(&frame).map_err(|error| Broken::Garbage(error.to_string()))? {
                    FromChild::Hello => return Err(Broken::Garbage("a second hello".to_owned())),
                    FromChild::Progress { progress, total, message } => {
                        // A full queue drops progress, never the outcome.
                        let _ =
                            io.frames.try_send(Frame::Progress { progress, total, message: message.map(|text| cut(text, 500)) });
                    }
                    FromChild::Log { level, message } => {
                        let _ = io.frames.try_send(Frame::Log { level: log_level(&level), message: cut(message, 8192) });
                    }
                    FromChild::Result { cpu_us, rss_kib, result } => {
                        let _ = io.frames.try_send(Frame::Usage { cpu_us, max_rss_kib: rss_kib });
                        return Ok(result.into_outcome());
                    }
                }
            }
            self.wait_for_bytes(io).await?;
        }
    }

    /// Waits until the socket or the log has something, and takes it.
    async fn wait_for_bytes(&mut self, io: &CallIo) -> Result<(), Broken> {
        let Some(log) = &self.log else {
            self.stream.readable().await.map_err(Broken::Io)?;
            return self.take_bytes();
        };
        tokio::select! {
            biased;
            ready = self.stream.readable() => {
                ready.map_err(Broken::Io)?;
                self.take_bytes()
            }
            ready = log.readable() => {
                ready.map_err(Broken::Io)?;
                self.take_log(io);
                if self.log_seen > LOG_LIMIT { Err(Broken::Flooded) } else { Ok(()) }
            }
        }
    }

    fn take_bytes(&mut self) -> Result<(), Broken> {
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => Err(Broken::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // A child that dies with our bytes unread resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Broken::Closed),
            Err(error) => Err(Broken::Io(error)),
        }
    }

    /// A whole frame out of the inbox, if there is one. The length is judged before any space is made for it.
    fn next_frame(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Broken> {
        let Some(header) = self.inbox.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > limit {
            return Err(Broken::TooLarge(length));
        }
        if self.inbox.len() < 4 + length {
            self.inbox.reserve(4 + length - self.inbox.len());
            return Ok(None);
        }
        let rest = self.inbox.split_off(4 + length);
        let mut frame = std::mem::replace(&mut self.inbox, rest);
        frame.drain(..4);
        Ok(Some(frame))
    }

    /// Reads what the log has, as far as the runtime knows of it.
    fn take_log(&mut self, io: &CallIo) {
        let Some(log) = &self.log else { return };
        let mut space = [0u8; LOG_PIECE];
        let got = log.try_read(&mut space);
        self.keep_log(got, &space, io);
    }

    /// Empties the pipe without waiting; a writer that keeps it full is cut off by the count.
    ///
    /// Asks the kernel and not the runtime: what was printed just before the result may not have been announced yet.
    fn drain_log(&mut self, io: &CallIo) {
        for _ in 0..16 {
            let Some(log) = &self.log else { return };
            let mut space = [0u8; LOG_PIECE];
            let got = rustix::io::read(log.as_fd(), &mut space).map_err(io::Error::from);
            if got.is_err() {
                return;
            }
            self.keep_log(got, &space, io);
        }
    }

    /// The first part of a log becomes frames, the rest is counted and dropped.
    fn keep_log(&mut self, got: io::Result<usize>, space: &[u8], io: &CallIo) {
        match got {
            Ok(0) => self.log = None,
            Ok(got) => {
                let before = self.log_seen;
                self.log_seen += got;
                if before < LOG_KEPT {
                    let kept = &space[..got.min(LOG_KEPT - before)];
                    for line in String::from_utf8_lossy(kept).lines().filter(|line| !line.trim().is_empty()) {
                        let _ = io.frames.try_send(Frame::Log { level: LogLevel::Info, message: cut(line.to_owned(), 8192) });
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.log = None,
        }
    }

    /// SIGKILL through the pidfd. Works on stopped processes and on those that ignore every other signal.
    pub(crate) fn kill(&mut self) {
        self.killed = true;
        // ESRCH: it is gone already, which is what we want.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Lets the child end by itself: it sees the end of its stream and runs `cleanup`.
    pub(crate) async fn dismiss(mut self, grace: Duration) {
        let _ = self.stream.shutdown().await;
        if let Some(exit) = self.exit.take() {
            let _ = tokio::time::timeout(grace, exit).await;
        }
        self.kill();
    }

    async fn explain(&mut self, broken: Broken, limits: CallLimits) -> ToolFailure {
        match broken {
            Broken::Cancelled => ToolFailure::new(FailureKind::Cancelled, "the caller cancelled the call"),
            Broken::Deadline => ToolFailure::new(FailureKind::TimedOut, "the call ran into its time limit and was ended")
                .with_hint("ask for less at once; the limit is the plugin's max_execution_time"),
            Broken::Flooded => ToolFailure::new(FailureKind::OutputTooLarge, "the tool printed more than 64 MiB and was ended"),
            Broken::TooLarge(bytes) => ToolFailure::new(
                FailureKind::OutputTooLarge,
                format!("the result has {bytes} bytes, at most {} are read", limits.frame),
            ),
            Broken::Garbage(problem) => {
                ToolFailure::new(FailureKind::BadOutput, format!("the tool broke the worker protocol: {problem}"))
            }
            Broken::Io(error) => {
                tracing::warn!(%error, "the socket of a child failed");
                ToolFailure::new(FailureKind::Crashed, "the connection to the tool's process failed")
            }
            Broken::Closed => self.explain_end(limits).await,
        }
    }

    /// The child is gone without a result: tell memory, CPU, signal and exit apart.
    async fn explain_end(&mut self, limits: CallLimits) -> ToolFailure {
        let exit = match self.exit.take() {
            Some(exit) => tokio::time::timeout(EXIT_WORD, exit).await.ok().and_then(Result::ok),
            None => None,
        };
        let memory = || {
            ToolFailure::new(
                FailureKind::OutOfMemory,
                format!("the call used more than {} MiB of memory and was ended", limits.memory_mb),
            )
            .with_hint("ask for less at once; the limit is the plugin's max_memory_mb")
        };
        if self.group.as_ref().is_some_and(|group| group.oom_kills() > self.oom_before) {
            return memory();
        }
        let Some(exit) = exit else {
            // It may still run with its socket closed: it must not.
            self.kill();
            return ToolFailure::new(FailureKind::Crashed, "the tool's process closed its connection without a result");
        };
        let signal = exit.status & 0x7f;
        // The kernel counts the limit in its own ticks, and tells the time used a little shorter than what it ended the process for.
        if signal == libc::SIGKILL && exit.cpu_us + CPU_TICKS >= limits.cpu_seconds.saturating_mul(1_000_000) {
            return ToolFailure::new(
                FailureKind::TimedOut,
                format!("the call used its {} s of CPU time and was ended", limits.cpu_seconds),
            );
        }
        let message = match signal {
            0 => format!("the tool's process ended with exit code {} and no result", (exit.status >> 8) & 0xff),
            signal => format!("the tool's process was ended by {}", signal_name(signal)),
        };
        ToolFailure::new(FailureKind::Crashed, message).with_hint("this is a fault of the plugin; other calls are not affected")
    }

    /// Whether another call may use the process.
    pub(crate) fn is_usable(&self) -> bool {
        !self.killed && self.exit.is_some()
    }
}

/// A child that nobody holds any more must not run on.
impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn parent_of(pid: Pid) -> io::Result<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    // The name in brackets may hold anything, also brackets: what follows the last one is fixed.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    fields
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other("an unreadable process entry"))
}
