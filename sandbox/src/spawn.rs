//! The server's side of a confinement: starts the launcher, waits until the program stands, and owns it from then on.
//!
//! The launcher is started with `posix_spawn`, so the cost does not grow with the server; the descriptors it needs besides the
//! standard ones go over its lifeline socket, so none is ever inheritable by a process started meanwhile on another thread.
#![allow(clippy::disallowed_methods, reason = "starting processes is this module's job")]

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::SpawnError;
use crate::jail::Jail;
use crate::wire::{self, Entry, Farewell, Word};

/// How long the launcher may take. It needs a few milliseconds; a machine that swaps needs more.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A confined process. Dropping it kills the process and all it started.
#[derive(Debug)]
pub struct Confined {
    /// The launcher, which is the monitor now. `None` only while being dropped.
    monitor: Option<Child>,
    pidfd: OwnedFd,
    /// Its end is the order to kill; the monitor's last word comes back over it.
    lifeline: Option<OwnedFd>,
    /// The confined process, as the host numbers it.
    pub child_pid: i32,
    /// What was entered.
    pub entry: Entry,
    /// The program's standard output (blocking; the caller sets what it needs).
    pub stdout: Option<OwnedFd>,
    /// The program's standard error.
    pub stderr: Option<OwnedFd>,
}

/// How a confined program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, when it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// CPU time in user code, of it and the processes it waited for.
    pub user: Duration,
    /// CPU time in the kernel, likewise.
    pub system: Duration,
    /// Largest resident memory of any of them, in KiB.
    pub peak_kb: u64,
}

/// Starts a program in a jail and returns once it has been started (or why it was not). `control` becomes its descriptor 3.
/// Blocks for
/// some milliseconds: call it off the request path.
///
/// # Errors
/// [`SpawnError`]: the level cannot be entered here, a mount is missing, the program cannot be executed. Nothing is left running.
pub fn spawn(launcher: &Path, jail: &Jail, control: OwnedFd) -> Result<Confined, SpawnError> {
    let launch = |what: &'static str| move |source: io::Error| SpawnError::Launch { what: what.to_owned(), source };
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|e| launch("socketpair")(e.into()))?;
    // A program that is no launcher would never read what it is sent.
    set_socket_timeout(&ours, Timeout::Send, Some(START_LIMIT)).map_err(|e| launch("set a time limit")(e.into()))?;
    let (status, status_in) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| launch("pipe")(e.into()))?;
    let mut child = Command::new(launcher)
        .arg("__sandbox")
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| SpawnError::Launch { what: format!("start `{}`", launcher.display()), source })?;
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    // From here on the value owns the process: every early return drops it, which kills and reaps.
    let pidfd = match open_pidfd(&child) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            drop(ours);
            bury(child);
            return Err(launch("pidfd_open")(error));
        }
    };
    let sent = wire::send_jail(ours.as_fd(), jail, control.as_fd(), status_in.as_fd());
    let mut confined =
        Confined { monitor: Some(child), pidfd, lifeline: Some(ours), child_pid: 0, entry: empty_entry(jail), stdout, stderr };
    sent.map_err(launch("send the jail"))?;
    drop((status_in, control));
    confined.await_start(status)?;
    Ok(confined)
}

fn open_pidfd(child: &Child) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::NotFound)?;
    // Nobody but us can have reaped it, so the number is still its own.
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Stands in until the launcher has spoken.
fn empty_entry(jail: &Jail) -> Entry {
    Entry {
        level: jail.level,
        landlock_abi: 0,
        user_namespace: false,
        proc_mounted: false,
        signals_confined: false,
        notes: Vec::new(),
    }
}

impl Confined {
    /// The monitor's process id. The confined program's is `child_pid`.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.monitor.as_ref().map(Child::id)
    }

    /// Readable once all is over: the program has ended and nothing it started is left.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Orders everything to be killed. Returns at once; [`Confined::wait`] or the pidfd tells when it is done.
    pub fn kill(&mut self) {
        if let Some(lifeline) = &self.lifeline {
            // Half-closed: the monitor sees the end, and its last word still comes back.
            let _ = rustix::net::shutdown(lifeline, rustix::net::Shutdown::Write);
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's, from waiting.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        let Some(monitor) = &mut self.monitor else { return Ok(None) };
        let status = monitor.try_wait()?;
        Ok(status.map(|status| self.ended(status)))
    }

    /// Waits until all is over, and says how it ended.
    ///
    /// # Errors
    /// The system's, from waiting.
    pub fn wait(&mut self) -> io::Result<Ended> {
        let monitor = self.monitor.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let status = monitor.wait()?;
        Ok(self.ended(status))
    }

    fn ended(&self, status: std::process::ExitStatus) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let mut line = [0_u8; 512];
        let farewell: Option<Farewell> = self
            .lifeline
            .as_ref()
            .and_then(|lifeline| rustix::net::recv(lifeline, &mut line, RecvFlags::DONTWAIT | RecvFlags::PEEK).ok())
            .and_then(|(count, _)| serde_json::from_slice(line.get(..count)?).ok());
        match farewell {
            Some(said) => Ended {
                code: said.code,
                signal: said.signal,
                user: Duration::from_micros(said.usage.user_us),
                system: Duration::from_micros(said.usage.system_us),
                peak_kb: said.usage.peak_kb,
            },
            // The monitor itself was killed: by an operator, or by the kernel for memory.
            None => {
                Ended { code: status.code(), signal: status.signal(), user: Duration::ZERO, system: Duration::ZERO, peak_kb: 0 }
            }
        }
    }

    /// Reads the status pipe to its end, which is the program's start.
    fn await_start(&mut self, status: OwnedFd) -> Result<(), SpawnError> {
        let deadline = Instant::now() + START_LIMIT;
        let mut said = Vec::new();
        let mut pipe = std::fs::File::from(status);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SpawnError::TimedOut { seconds: START_LIMIT.as_secs() });
            }
            let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(SpawnError::Launch { what: "poll".into(), source: error.into() }),
            }
            let mut chunk = [0_u8; 4096];
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => said.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SpawnError::Launch { what: "read the launcher's report".into(), source }),
            }
        }
        self.take_words(&said)
    }

    fn take_words(&mut self, said: &[u8]) -> Result<(), SpawnError> {
        let mut entered = false;
        let mut failed = None;
        for line in said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Word::Child { pid }) => self.child_pid = pid,
                Ok(Word::Entered(entry)) => {
                    entered = true;
                    self.entry = entry;
                }
                Ok(Word::Failed(error)) => failed = Some(error),
                Err(error) => return Err(SpawnError::Died(format!("its report is unreadable: {error}"))),
            }
        }
        match failed {
            Some(error) => Err(error.into_spawn_error()),
            None if entered => Ok(()),
            None => Err(SpawnError::Died(self.last_words())),
        }
    }

    /// What a launcher that said nothing left behind.
    fn last_words(&mut self) -> String {
        let status = self.monitor.as_mut().and_then(|monitor| monitor.wait().ok());
        let mut text = String::new();
        if let Some(stderr) = self.stderr.take() {
            let _ = std::fs::File::from(stderr).take(4096).read_to_string(&mut text);
        }
        format!("{}; standard error: `{}`", status.map_or_else(|| "no status".into(), |s| s.to_string()), text.trim())
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if let Some(monitor) = self.monitor.take() {
            bury(monitor);
        }
    }
}

/// Reaps launchers whose owner is gone, so that none stays a zombie. Their lifeline is closed, so each ends soon.
static UNDERTAKER: LazyLock<Option<Mutex<Sender<Child>>>> = LazyLock::new(|| {
    let (sender, receiver) = channel::<Child>();
    let work = move || receiver.into_iter().for_each(|mut child| drop(child.wait()));
    std::thread::Builder::new().name("sandbox-reaper".into()).spawn(work).ok().map(|_| Mutex::new(sender))
});

fn bury(mut child: Child) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let waiting = UNDERTAKER.as_ref().and_then(|sender| sender.lock().ok());
    // Without the thread the wait happens here: slower, but nothing is left behind.
    let Some(sender) = waiting else { return drop(child.wait()) };
    if let Err(mut refused) = sender.send(child) {
        let _ = refused.0.wait();
    }
}
