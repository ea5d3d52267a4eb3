//! The built binary as a running server, with a home of its own and, where wanted, a folder of fixture plugins of its own.
//!
//! Dropping one kills it: a test that panics leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::processes::{self, Signal, wait_until};
use crate::stdio::Connection;
use crate::{http, stdio};

/// The binary under test: `PEGBOARD_BIN`, or the one of this build.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PEGBOARD_BIN") {
        return Ok(path.into());
    }
    // target/debug/deps/it-… or target/debug/soak
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("pegboard")).find(|path| path.exists());
    found.context("there is no built `pegboard`: run `cargo build` first")
}

/// The folder tests/plugins of the repository.
#[must_use]
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")
}

/// The source of a fixture plugin, or of a first-party one.
fn source(plugin: &str) -> PathBuf {
    let fixture = fixtures().join(plugin);
    if fixture.exists() { fixture } else { fixtures().join("../../plugins").join(plugin) }
}

/// A home of its own, with a folder of plugins beside it.
#[derive(Clone)]
pub struct Home {
    folder: Arc<TempDir>,
}

impl Home {
    /// A fresh one with these plugins, fixtures or first-party ones.
    pub fn with(plugins: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pegboard-test-").tempdir()?;
        let home = Self { folder: Arc::new(folder) };
        fs::create_dir_all(home.plugins())?;
        fs::create_dir_all(home.path())?;
        for plugin in plugins {
            copy_folder(&source(plugin), &home.plugins().join(plugin))?;
        }
        Ok(home)
    }

    /// What `--home` is given.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// What `--plugins` is given.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// The arguments that every server of this home takes. Without the bundled plugins: some of them have dependencies, and a fresh home would
    /// make their environments while a test looks at processes.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = self.arguments_with_bundled();
        arguments.push("--no-bundled".into());
        arguments
    }

    /// The same with the bundled plugins.
    #[must_use]
    pub fn arguments_with_bundled(&self) -> Vec<String> {
        vec!["--home".into(), self.path().display().to_string(), "--plugins".into(), self.plugins().display().to_string()]
    }

    /// Runs one command of the CLI to its end; `--home` is added, `--plugins` is not.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--home").arg(self.path()).stdin(Stdio::null());
        command.output().context("cannot start the binary")
    }
}

/// Copies a folder and everything in it.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A running server.
pub struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
    /// Its home lasts at least as long as it runs.
    home: Option<Home>,
    /// Its process id.
    pub pid: u32,
}

impl Server {
    /// Starts `pegboard serve` with these arguments; the pipes of a stdio server come with it.
    pub fn start(arguments: &[String]) -> Result<(Self, Connection)> {
        let mut command = Command::new(binary()?);
        command.arg("serve").args(arguments).env("PEGBOARD_LOG", "info").env("NO_COLOR", "1");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the binary")?;
        let (stdin, stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
        let stderr = child.stderr.take().context("no stderr")?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Ok(mut log) = kept.lock() {
                    log.push_str(&line);
                    log.push('\n');
                }
                let _ = sender.send(line);
            }
        });
        let pid = child.id();
        Ok((Self { child, log, lines, home: None, pid }, stdio::Connection::new(stdin, stdout)))
    }

    /// A stdio server of this home, past the handshake of 2025-11-25.
    pub fn stdio(home: &Home, extra: &[&str]) -> Result<(Self, Connection)> {
        let (mut server, mut connection) = Self::start(&joined(home, extra))?;
        server.home = Some(home.clone());
        if let Err(error) = connection.initialize("2025-11-25") {
            bail!("{error:#}; its log:\n{}", server.log());
        }
        Ok((server, connection))
    }

    /// An HTTP server of this home on a port that the system chose, once it is ready.
    pub fn http(home: &Home, extra: &[&str]) -> Result<(Self, SocketAddr)> {
        let mut arguments = joined(home, extra);
        arguments.extend(["--http".to_owned(), "127.0.0.1:0".to_owned()]);
        let (mut server, connection) = Self::start(&arguments)?;
        server.home = Some(home.clone());
        drop(connection);
        let address = server.address()?;
        let ready = || http::request(address, "GET", "/readyz", &[], b"").is_ok_and(|response| response.status == 200);
        if !wait_until(Duration::from_secs(60), ready) {
            bail!("not ready after a minute; its log:\n{}", server.log());
        }
        Ok((server, address))
    }

    /// The address in the server's log.
    fn address(&self) -> Result<SocketAddr> {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) {
            if let Some(address) = address_in(&line) {
                return Ok(address);
            }
        }
        bail!("no address in its log:\n{}", self.log())
    }

    /// What it wrote on stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// The end of its log, for a message.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        processes::send(self.pid, signal)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let ended = wait_until(limit, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) if ended => Ok(status),
            _ => bail!("still running after {limit:?}; its log:\n{}", self.log()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.home = None;
    }
}

fn joined(home: &Home, extra: &[&str]) -> Vec<String> {
    home.arguments().into_iter().chain(extra.iter().map(|argument| (*argument).to_owned())).collect()
}

/// `127.0.0.1:PORT` in a line, if it is there with a port that is not 0.
fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok().filter(|address: &SocketAddr| address.port() != 0)
}
