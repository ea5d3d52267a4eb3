//! A jail around the attempt program, what it printed, and how it ended.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sandbox::{Confined, Ended, Entry, Identity, Jail, Level, Mount, spawn, system_mounts};
use tempfile::TempDir;

/// The levels that confine.
pub(crate) const LEVELS: [Level; 2] = [Level::L1, Level::L2];

/// All of them: what has to do with life and death holds without walls too.
pub(crate) const ALL_LEVELS: [Level; 3] = [Level::L0, Level::L1, Level::L2];

/// How long anything may take before a test calls it hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says what could not be tried, and whether to go on. The line is what the project's test command counts.
pub(crate) fn needs_root(name: &str) -> bool {
    if !is_root() && std::env::var_os("PEGBOARD_TEST_NESTED").is_none() {
        // Not `eprintln!`, which the test framework keeps to itself when the test passes.
        let _ = writeln!(std::io::stderr(), "could-not-run: sandbox::{name}: needs root");
    }
    is_root()
}

/// The two programs, copied to a place every user can reach (a build folder may lie in a closed home).
pub(crate) fn programs() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        remove_old_places();
        let place = std::env::temp_dir().join(format!(
            "pegboard-sandbox-test-{}-{}",
            std::process::id(),
            rustix::process::geteuid().as_raw()
        ));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, from) in
            [("launcher", env!("CARGO_BIN_EXE_sandbox-launcher")), ("attempt", env!("CARGO_BIN_EXE_sandbox-attempt"))]
        {
            fs::copy(from, place.join(name)).unwrap();
            fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        place
    })
}

/// What test runs that are over have left (a static is never dropped).
fn remove_old_places() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let owner: Option<u32> =
            name.to_str().and_then(|name| name.strip_prefix("pegboard-sandbox-test-")?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

pub(crate) fn launcher() -> PathBuf {
    programs().join("launcher")
}

pub(crate) fn attempt_program() -> String {
    programs().join("attempt").to_str().unwrap().to_owned()
}

/// A jail and the folders it needs.
pub(crate) struct Cell {
    pub(crate) jail: Jail,
    /// Outlives the jail; its `scratch` is the scratch folder at L1.
    pub(crate) folder: TempDir,
}

/// A user no other test run uses.
pub(crate) fn fresh_identity() -> Option<Identity> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uid = 1_000_000 + std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64;
    is_root().then_some(Identity { uid, gid: uid, exclusive: true })
}

impl Cell {
    /// The attempt program with nothing granted.
    pub(crate) fn new(level: Level, acts: &[&str]) -> Self {
        let folder = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let mut jail = Jail::new(level, vec![attempt_program()]);
        jail.argv.extend(acts.iter().map(|act| (*act).to_owned()));
        jail.mounts = system_mounts(false);
        jail.mounts.push(Mount::system(attempt_program()));
        jail.identity = fresh_identity();
        let mut cell = Self { jail, folder };
        let scratch = cell.own_folder("scratch");
        cell.jail.scratch.host_dir = Some(scratch.clone());
        cell.jail.workdir = if level == Level::L2 { "/tmp".into() } else { scratch };
        cell
    }

    /// A folder on the host that belongs to the confined user.
    pub(crate) fn own_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        if let Some(identity) = self.jail.identity {
            chown(&path, Some(identity.uid), Some(identity.gid)).unwrap();
        }
        path
    }

    /// A file on the host that belongs to the confined user and that anybody may read and write: only the jail is in the way.
    pub(crate) fn open_file(&self, path: &Path) {
        fs::write(path, "secret").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        if let Some(identity) = self.jail.identity {
            chown(path, Some(identity.uid), Some(identity.gid)).unwrap();
        }
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.jail.scratch_path().unwrap().to_owned()
    }

    pub(crate) fn acts<'a>(&mut self, acts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.jail.argv.extend(acts.into_iter().map(str::to_owned));
        self
    }

    pub(crate) fn start(&self) -> Running {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let confined =
            spawn(&launcher(), &self.jail, OwnedFd::from(theirs)).unwrap_or_else(|e| panic!("{e} (hint: {:?})", e.hint()));
        Running { confined, control: ours }
    }

    pub(crate) fn run(&self) -> Finished {
        self.start().finish()
    }

    /// Runs, and returns the results of the acts alone.
    pub(crate) fn results(&self) -> Vec<String> {
        let finished = self.run();
        let results = results_of(&finished.stdout);
        assert_eq!(results.len(), self.jail.argv.len() - 1, "{finished:?}");
        results
    }
}

pub(crate) struct Running {
    pub(crate) confined: Confined,
    pub(crate) control: UnixStream,
}

impl Running {
    pub(crate) fn finish(mut self) -> Finished {
        let (stdout, stderr) = (read_all(self.confined.stdout.take()), read_all(self.confined.stderr.take()));
        let ended = self.confined.wait().unwrap();
        Finished { stdout, stderr, ended, entry: self.confined.entry.clone() }
    }

    /// The next line the program says on its control socket.
    pub(crate) fn line(&mut self) -> String {
        read_line(&mut self.control)
    }

    /// True once every holder of the control socket is dead: the program and all it started.
    pub(crate) fn all_dead(&mut self) -> bool {
        is_at_end(&mut self.control)
    }
}

pub(crate) fn read_line(from: &mut UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while read_some(from, &mut byte).expect("the control socket in time") == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

pub(crate) fn is_at_end(socket: &mut UnixStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match read_some(socket, &mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(error) => panic!("reading the control socket: {error:?}"),
        }
    }
}

/// A read with a time limit is interrupted by the end of another test's child.
fn read_some(socket: &mut UnixStream, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.read(into) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn read_all(pipe: Option<OwnedFd>) -> String {
    let mut bytes = Vec::new();
    fs::File::from(pipe.unwrap()).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stdout: String,
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(crate) stderr: String,
    pub(crate) ended: Ended,
    pub(crate) entry: Entry,
}

fn results_of(stdout: &str) -> Vec<String> {
    stdout.lines().filter_map(|line| Some(line.rsplit_once(" -> ")?.1.to_owned())).collect()
}

/// The same acts unconfined, as the user the tests run as.
pub(crate) fn outside(acts: &[&str]) -> Vec<String> {
    let output = Command::new(attempt_program()).args(acts).output().unwrap();
    let results = results_of(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(results.len(), acts.len(), "{results:?}");
    results
}

/// A server of its own in another process, which a test can kill; killed at the latest when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) control: UnixStream,
    _jail: tempfile::NamedTempFile,
}

impl Server {
    /// Starts it with these variables; it does these acts, then starts the cell's jail.
    pub(crate) fn start(cell: &Cell, env: impl IntoIterator<Item = (String, String)>, acts: &[&str]) -> Self {
        let jail = jail_file(cell);
        let (control, theirs) = UnixStream::pair().unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        let process = Command::new(attempt_program())
            .args(acts)
            .arg(format!("serve:{}:{}", launcher().display(), jail.path().display()))
            .envs(env)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, control, _jail: jail }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The cell's jail as a file, for another process.
pub(crate) fn jail_file(cell: &Cell) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), serde_json::to_vec(&cell.jail).unwrap()).unwrap();
    file
}

/// Runs acts in a fresh jail and compares.
pub(crate) fn check(level: Level, acts: &[&str], expected: &[&str]) {
    assert_eq!(Cell::new(level, acts).results(), expected, "{acts:?} at {level:?}");
}
