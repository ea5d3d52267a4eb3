//! The harness: a home of its own, plugins written on the spot, and a builder for one run of the program.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pegboard");

/// A home folder for one test, with a folder of plugins beside it.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
}

/// One run of the program.
pub(crate) struct Run {
    command: Command,
    stdin: Option<String>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Variables that say where packages come from, and how that place is known to be the right one.
pub(crate) fn package_variables() -> impl Iterator<Item = (String, String)> {
    const PREFIXES: [&str; 5] = ["PIP_", "UV_", "NPM_CONFIG_", "SSL_CERT_", "NODE_EXTRA_"];
    std::env::vars().filter(|(name, _)| PREFIXES.iter().any(|prefix| name.to_uppercase().starts_with(prefix)))
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of plugins of this test.
    pub(crate) fn plugins(&self) -> PathBuf {
        let plugins = self.path().join("plugins");
        fs::create_dir_all(&plugins).unwrap();
        plugins.canonicalize().unwrap()
    }

    /// A folder of data, beside ours: ours can't be granted.
    pub(crate) fn data(&self) -> PathBuf {
        let data = self.path().join("needy-data");
        fs::create_dir_all(&data).unwrap();
        data.canonicalize().unwrap()
    }

    /// Writes a plugin and returns its folder.
    pub(crate) fn plugin(&self, name: &str, manifest: &str, code: &str) -> PathBuf {
        let folder = self.plugins().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("plugin.yaml"), manifest).unwrap();
        fs::write(folder.join("main.py"), code).unwrap();
        folder
    }

    /// Writes a file of the operator.
    pub(crate) fn configure(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path().join("config").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn config(&self, file: &str) -> PathBuf {
        self.path().join("config").join(file)
    }

    /// A run in this home, without the bundled plugins: they are others' and change.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_bundled(args).env("PEGBOARD_NO_BUNDLED", "true").env("PEGBOARD_PLUGINS", &self.plugins().display().to_string())
    }

    /// A run in this home with the bundled plugins and no others.
    pub(crate) fn run_bundled(&self, args: &[&str]) -> Run {
        let mut command = Command::new(BINARY);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env("PEGBOARD_HOME", self.path()).args(args).current_dir(self.path());
        Run { command, stdin: None }
    }
}

impl Run {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With what says where packages come from on this machine.
    pub(crate) fn packages(mut self) -> Self {
        self.command.envs(package_variables());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Starts it with all three streams piped.
    pub(crate) fn start(mut self) -> std::process::Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn end(mut self) -> Ended {
        let stdin = self.stdin.take();
        let mut child = self.start();
        let mut pipe = child.stdin.take().unwrap();
        if let Some(text) = stdin {
            // A program that does not read its input may be gone already.
            let _ = pipe.write_all(text.as_bytes());
        }
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it and expects this exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Ended {
        let ended = self.end();
        assert_eq!(ended.code, code, "stdout: {}\nstderr: {}", ended.stdout, ended.stderr);
        ended
    }
}

impl Ended {
    /// The one document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// The permission bits of a file.
#[track_caller]
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// A plugin that needs nothing.
pub(crate) const PLAIN: &str = "\
name: plain
version: 1.0.0
description: Says things back
mcps:
  - name: echo
    description: Returns what it was given
    module_path: main
    class_name: Echo
    args_schema:
      type: object
      properties:
        text: {type: string, description: What to return}
        times: {type: integer, minimum: 1}
        tags: {type: array, items: {type: string}}
      required: [text]
      additionalProperties: false
    annotations: {read_only: true, destructive: false, idempotent: true, open_world: false}
  - name: fail
    description: Always raises an exception
    module_path: main
    class_name: Fail
    args_schema: {type: object, properties: {}, additionalProperties: false}
";

/// Its code.
pub(crate) const PLAIN_CODE: &str = "\
class Echo:
    def _run(self, text, times=1, tags=None):
        return {'text': text * times, 'tags': tags or []}


class Fail:
    def _run(self):
        raise ValueError('it always fails')
";

/// A plugin that needs powers, a secret and takes a configuration.
pub(crate) const NEEDY: &str = "\
name: needy
version: 2.1.0
description: Needs much
permissions: [file_system_read]
filesystem: {read: [\"$data\"]}
network: {hosts: [\"api.example.org:443\", \"cdn.example.org:443\"]}
requires_network: true
secrets:
  - {name: API_KEY, description: A key from example.org}
  - {name: SPARE_KEY, required: false}
config_schema:
  type: object
  properties:
    units: {type: string, enum: [metric, imperial], default: metric, description: Units of the answer}
    retries: {type: integer, minimum: 0}
    tags: {type: array, items: {type: string}}
  additionalProperties: false
mcps:
  - name: look
    description: Looks something up
    module_path: main
    class_name: Look
    args_schema: {type: object, properties: {}}
";

/// Its code.
pub(crate) const NEEDY_CODE: &str = "\
class Look:
    def _run(self):
        return 'seen'
";

impl Home {
    pub(crate) fn with_plain() -> Self {
        let home = Self::new();
        home.plugin("plain", PLAIN, PLAIN_CODE);
        home
    }

    pub(crate) fn with_needy() -> Self {
        let home = Self::new();
        home.plugin("needy", NEEDY, NEEDY_CODE);
        home
    }
}
