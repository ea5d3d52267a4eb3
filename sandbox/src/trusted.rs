//! Helper programs of ours (uv, `python -m venv`, interpreter probes): not confined, but bounded. They run nothing a plugin
//! brought.
#![allow(clippy::disallowed_methods, reason = "starting processes is this module's job")]

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, setrlimit, waitid};

/// How much of each stream is kept; the rest is read and dropped.
const KEPT: usize = 1024 * 1024;

/// How long one line may be before it is handed on in pieces.
const LINE: usize = 16 * 1024;

/// One run of a helper program.
#[derive(Debug, Clone)]
pub struct TrustedRun {
    /// Absolute path, or a name to be looked up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Working folder; the server's own when `None`.
    pub cwd: Option<PathBuf>,
    /// Killed, with everything in its process group, after this.
    pub timeout: Duration,
    /// When set to true, killed at once.
    pub cancel: Option<Arc<AtomicBool>>,
    /// How much it, and each process that it starts, may take.
    pub ceiling: Ceiling,
}

/// How much a process of a helper program may take; `None` leaves what this process may itself. For programs that work on what somebody
/// else sends: what they read may be endless, or small and unfold without end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Bytes of one file that it writes.
    pub file_bytes: Option<u64>,
    /// Bytes of its private memory.
    pub data_bytes: Option<u64>,
}

/// What a helper program left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, at most 1 MiB.
    pub stdout: String,
    /// Its standard error, at most 1 MiB.
    pub stderr: String,
    /// Whether either was longer.
    pub truncated: bool,
}

/// A helper program that did not run to its end. (That it failed is in [`Output::status`].)
#[derive(Debug, thiserror::Error)]
pub enum TrustedError {
    /// It could not be started.
    #[error("cannot start `{}`: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It took too long.
    #[error("`{}` was killed after {} s", program.display(), timeout.as_secs_f32())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time given.
        timeout: Duration,
        /// Its last output, for the log.
        stderr: String,
    },
    /// The caller cancelled.
    #[error("`{}` was cancelled", program.display())]
    Cancelled {
        /// The program.
        program: PathBuf,
    },
    /// Waiting failed.
    #[error("lost `{}`: {source}", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A stream of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Runs a helper program to its end; each line of either stream is shown to `on_output_line` as it comes (for progress).
/// Blocks: call
/// it off the request path.
///
/// # Errors
/// [`TrustedError`]: not started, timed out, cancelled. A non-zero exit is not an error here.
pub fn run_trusted(run: &TrustedRun, mut on_output_line: impl FnMut(&str)) -> Result<Output, TrustedError> {
    let mut child = start(run)?;
    let (sender, receiver) = channel();
    for (stream, pipe) in pipes(&mut child) {
        let sender = sender.clone();
        std::thread::spawn(move || read_lines(stream, pipe, &sender));
    }
    drop(sender);
    let mut kept = Kept::default();
    let deadline = Instant::now() + run.timeout;
    let cancelled = || run.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed));
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok((stream, line)) => {
                on_output_line(line.trim_end_matches(['\r', '\n']));
                kept.add(stream, &line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // A grandchild may hold the pipes open after the program has ended; what it writes is not waited for.
            Err(RecvTimeoutError::Timeout) if has_ended(&child) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cancelled() {
            let _ = kill_group(&mut child);
            return Err(TrustedError::Cancelled { program: run.program.clone() });
        }
        if Instant::now() > deadline {
            let _ = kill_group(&mut child);
            return Err(TrustedError::TimedOut { program: run.program.clone(), timeout: run.timeout, stderr: kept.stderr });
        }
    }
    // The streams may end before the program does.
    while !has_ended(&child) {
        if cancelled() {
            let _ = kill_group(&mut child);
            return Err(TrustedError::Cancelled { program: run.program.clone() });
        }
        if Instant::now() > deadline {
            let _ = kill_group(&mut child);
            return Err(TrustedError::TimedOut { program: run.program.clone(), timeout: run.timeout, stderr: kept.stderr });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = kill_group(&mut child).map_err(|source| TrustedError::Wait { program: run.program.clone(), source })?;
    Ok(Output { status, stdout: kept.stdout, stderr: kept.stderr, truncated: kept.truncated })
}

/// In a process group of its own, so that it can be killed with all it starts, and with no input to wait for.
fn start(run: &TrustedRun) -> Result<Child, TrustedError> {
    let mut command = Command::new(&run.program);
    command.args(&run.args).env_clear().envs(run.env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(cwd) = &run.cwd {
        command.current_dir(cwd);
    }
    lower(&mut command, run.ceiling);
    command.spawn().map_err(|source| TrustedError::Start { program: run.program.clone(), source })
}

/// Has the program begin under its ceiling, for good and for all that it starts.
#[allow(unsafe_code, reason = "nothing safe comes between the fork and the program")]
fn lower(command: &mut Command, ceiling: Ceiling) {
    if ceiling == Ceiling::default() {
        return;
    }
    // A program that goes over the size of a file is ended with a core dump: 1 and not 0, see `privileges.rs`.
    let limits = [(Resource::Core, Some(1)), (Resource::Fsize, ceiling.file_bytes), (Resource::Data, ceiling.data_bytes)];
    let apply = move || {
        for (resource, value) in limits {
            let Some(value) = value else { continue };
            let allowed = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
            setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(apply) };
}

fn pipes(child: &mut Child) -> Vec<(Stream, Box<dyn Read + Send>)> {
    let out = child.stdout.take().map(|pipe| (Stream::Out, Box::new(pipe) as Box<dyn Read + Send>));
    let err = child.stderr.take().map(|pipe| (Stream::Err, Box::new(pipe) as Box<dyn Read + Send>));
    out.into_iter().chain(err).collect()
}

/// Hands on each line; a carriage return (progress bars) ends one too.
fn read_lines(stream: Stream, mut pipe: Box<dyn Read + Send>, sender: &Sender<(Stream, String)>) {
    let mut chunk = [0_u8; 4096];
    let mut line: Vec<u8> = Vec::new();
    let send = |line: &mut Vec<u8>| sender.send((stream, String::from_utf8_lossy(&std::mem::take(line)).into_owned())).is_ok();
    loop {
        let count = match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for &byte in chunk.get(..count).unwrap_or_default() {
            line.push(byte);
            if (byte == b'\n' || byte == b'\r' || line.len() >= LINE) && !send(&mut line) {
                return;
            }
        }
    }
    if !line.is_empty() {
        send(&mut line);
    }
}

#[derive(Default)]
struct Kept {
    stdout: String,
    stderr: String,
    truncated: bool,
}

impl Kept {
    fn add(&mut self, stream: Stream, line: &str) {
        let text = if stream == Stream::Out { &mut self.stdout } else { &mut self.stderr };
        if text.len() + line.len() <= KEPT {
            text.push_str(line);
        } else {
            self.truncated = true;
        }
    }
}

/// Whether the program has ended. It is not reaped by this, so its number stays its own.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Pid::from_raw(child.id() as i32).is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// Kills the program and what it left in its group, then reaps the program. In this order: until it is reaped, nobody else
/// can get the
/// group's number.
fn kill_group(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> TrustedRun {
        TrustedRun {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GIVEN".into(), "yes".into())],
            cwd: Some("/".into()),
            timeout: Duration::from_secs(20),
            cancel: None,
            ceiling: Ceiling::default(),
        }
    }

    #[test]
    fn output_status_and_lines_come_back() {
        let mut lines = Vec::new();
        let output = run_trusted(&shell("echo one; echo two >&2; pwd; exit 7"), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_str(), output.stderr.as_str()), (Some(7), "one\n/\n", "two\n"));
        lines.sort();
        assert_eq!(lines, ["/", "one", "two"]);
    }

    #[test]
    fn only_the_given_environment_is_seen() {
        // `PATH` and more are set in every test run; the shell adds PWD.
        assert!(std::env::vars_os().count() > 1);
        let output = run_trusted(&shell("/usr/bin/env"), |_| {}).unwrap();
        let mut names: Vec<&str> = output.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        names.retain(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name));
        assert_eq!(names, ["GIVEN"]);
    }

    #[test]
    fn a_flood_is_cut_and_does_not_block() {
        let output = run_trusted(&shell("head -c 8000000 /dev/zero | tr '\\0' 'a\\n'; echo; echo end >&2"), |_| {}).unwrap();
        assert!(output.truncated && output.stdout.len() <= KEPT);
        assert_eq!(output.stderr, "end\n");
    }

    #[test]
    fn a_hanging_program_dies_with_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let run = TrustedRun {
            timeout: Duration::from_millis(300),
            ..shell(&format!("trap '' TERM; sleep 600 & echo $! > {}; wait", note.display()))
        };
        assert!(matches!(run_trusted(&run, |_| {}), Err(TrustedError::TimedOut { .. })));
        let pid: i32 = std::fs::read_to_string(note).unwrap().trim().parse().unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "the grandchild survived");
            std::thread::yield_now();
        }
    }

    #[test]
    fn cancelling_kills() {
        let cancel = Arc::new(AtomicBool::new(false));
        let run = TrustedRun { cancel: Some(Arc::clone(&cancel)), ..shell("echo started; sleep 600") };
        let started = Instant::now();
        let outcome = run_trusted(&run, |line| cancel.store(line == "started", Ordering::Relaxed));
        assert!(matches!(outcome, Err(TrustedError::Cancelled { .. })));
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_ceiling_holds_for_what_the_program_starts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |bytes: u64| {
            let ceiling = Ceiling { file_bytes: Some(1 << 20), data_bytes: None };
            let script = format!("(head -c {bytes} /dev/zero > {}/file) 2>&1", folder.path().display());
            run_trusted(&TrustedRun { ceiling, ..shell(&script) }, |_| {}).unwrap().status.success()
        };
        assert!(write(1 << 20));
        assert!(!write((1 << 20) + 1));
        assert_eq!(std::fs::metadata(folder.path().join("file")).unwrap().len(), 1 << 20);
        // `tail` of a pipe keeps what it may have to print.
        let keep = |bytes: u64| {
            let ceiling = Ceiling { file_bytes: None, data_bytes: Some(64 << 20) };
            let script = format!("(head -c {bytes} /dev/zero | tail -c {bytes} | wc -c) 2>&1");
            run_trusted(&TrustedRun { ceiling, ..shell(&script) }, |_| {}).unwrap().stdout.trim() == bytes.to_string()
        };
        assert!(keep(1 << 20));
        assert!(!keep(256 << 20));
    }

    #[test]
    fn a_missing_program_is_an_error_with_its_name() {
        let run = TrustedRun { program: "/no/such/program".into(), ..shell("") };
        assert!(run_trusted(&run, |_| {}).unwrap_err().to_string().contains("/no/such/program"));
    }
}
