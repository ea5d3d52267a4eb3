//! A host in miniature: an executor with a launcher that is this very test program, and plugins made on the spot.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use executor_api::{CallIo, Executor, FailureKind, Frame, PluginState, ToolFailure, ToolOutcome};
use manifest_schema::{Digest, Permission, ServedName};
use pegboard_executor_python::{PythonExecutor, PythonSettings};
use policy::{Grants, Level, Plugin, ResolvedCall, SecretValue, SessionId, Source, Standing, TraceId, authorize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One executor and a folder for everything it writes.
pub(crate) struct World {
    pub(crate) executor: PythonExecutor,
    pub(crate) folder: tempfile::TempDir,
    level: Level,
}

/// A plugin and what it was given.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) plugin: Arc<Plugin>,
    grants: Grants,
    secrets: BTreeMap<String, SecretValue>,
    config: Map<String, Value>,
}

/// What came of a call.
pub(crate) struct Came {
    pub(crate) outcome: ToolOutcome,
    pub(crate) frames: Vec<Frame>,
    pub(crate) took: Duration,
}

impl World {
    pub(crate) fn at(level: Level) -> Self {
        Self::with(level, |_| {})
    }

    pub(crate) fn with(level: Level, change: impl FnOnce(&mut PythonSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Plugins run under users of their own and must be able to walk here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = PythonSettings::new(folder.path().join("cache"), std::env::current_exe().unwrap());
        settings.search_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        settings.forced_level = Some(level);
        settings.package_environment = std::env::vars()
            .filter(|(name, _)| {
                ["SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_CERT"]
                    .contains(&name.as_str())
            })
            .collect();
        if level == Level::L1 && nix_is_root() {
            // At L1 a plugin's user must reach the interpreter through the real file tree: a user's own one is closed to it.
            settings.search_path = vec![PathBuf::from("/usr/bin")];
        }
        change(&mut settings);
        Self { executor: PythonExecutor::new(settings).unwrap(), folder, level }
    }

    /// A plugin of the tests' own folder, copied so that its user can read it.
    pub(crate) fn attacker(&self) -> Subject {
        self.plugin(&[
            ("plugin.yaml", include_str!("../plugins/attacker/plugin.yaml")),
            ("main.py", include_str!("../plugins/attacker/main.py")),
        ])
    }

    /// A plugin of these files.
    pub(crate) fn plugin(&self, files: &[(&str, &str)]) -> Subject {
        let root = tempfile::Builder::new().prefix("plugin-").tempdir_in(self.folder.path()).unwrap().keep();
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let root = fs::canonicalize(root).unwrap();
        let text = fs::read_to_string(root.join("plugin.yaml")).unwrap();
        let manifest = manifest_schema::parse("plugin.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let content = Digest::of([root.as_os_str().as_encoded_bytes()]);
        let plugin = Arc::new(Plugin { manifest, root, source: Source::Store, content });
        let mut grants = Grants::default();
        grants.set_level(&plugin, self.level);
        Subject { plugin, grants, secrets: BTreeMap::new(), config: Map::new() }
    }

    /// Runs a tool and waits for its end.
    pub(crate) async fn call(&self, subject: &Subject, tool: &str, args: Value) -> Came {
        self.call_as(subject, tool, args, None, CancellationToken::new()).await
    }

    pub(crate) async fn act(&self, subject: &Subject, act: &str, target: &str) -> Came {
        self.call(subject, "act", serde_json::json!({"act": act, "target": target})).await
    }

    pub(crate) async fn call_as(
        &self,
        subject: &Subject,
        tool: &str,
        args: Value,
        session: Option<&str>,
        cancel: CancellationToken,
    ) -> Came {
        let (frames, mut received) = mpsc::channel(4096);
        let permitted = subject.permitted(tool, args, session, self.level);
        let started = Instant::now();
        let io = CallIo { cancel, deadline: Instant::now() + Duration::from_secs(60), frames };
        let outcome = self.executor.run(permitted, io).await;
        let took = started.elapsed();
        let mut seen = Vec::new();
        while let Ok(frame) = received.try_recv() {
            seen.push(frame);
        }
        Came { outcome, frames: seen, took }
    }

    pub(crate) fn state(&self, subject: &Subject) -> PluginState {
        let name = subject.plugin.manifest.name.to_string();
        self.executor.states().into_iter().find(|state| state.plugin == name).expect("the plugin has a state")
    }
}

impl Subject {
    pub(crate) fn permitted(&self, tool: &str, args: Value, session: Option<&str>, reached: Level) -> policy::PermittedCall {
        let spec = self.plugin.manifest.mcps.iter().find(|spec| spec.name.as_str() == tool).expect("a tool of the plugin");
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let call = ResolvedCall {
            plugin: Arc::clone(&self.plugin),
            tool: Arc::new(spec.clone()),
            name: ServedName::new(&self.plugin.manifest.name, &spec.name),
            args,
            definition: None,
            session: session.map(|session| SessionId(session.into())),
            trace: TraceId("trace-1".into()),
        };
        let declared = policy::Declared::of(&self.plugin.manifest);
        let grant = self.grants.of(&self.plugin, &declared);
        let standing = Standing { grant, secrets: &self.secrets, config: &self.config, config_problem: None, reached };
        authorize(call, &standing).expect("the test grants what its plugin declares")
    }

    pub(crate) fn grant(mut self, power: Permission, scope: Option<&str>) -> Self {
        self.grants.give(&self.plugin, power, scope).unwrap();
        self
    }

    pub(crate) fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), SecretValue::new(value.to_owned()));
        self.grants.hand_secret(&self.plugin, name).unwrap();
        self
    }

    pub(crate) fn config(mut self, config: Value) -> Self {
        let Value::Object(config) = config else { panic!("configuration is an object") };
        self.config = config;
        self.grants.hand_config(&self.plugin);
        self
    }

    /// The same act outside every wall, with the interpreter that the tests found: what it prints.
    pub(crate) fn unconfined(&self, act: &str, target: &str) -> Value {
        let output = Command::new("python3")
            .args(["-I", "-S"])
            .arg(self.plugin.root.join("main.py"))
            .args([act, target])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("`{act}` fails outside too: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Came {
    /// What the tool returned.
    pub(crate) fn value(&self) -> Value {
        match &self.outcome {
            ToolOutcome::Completed(output) => output.structured.clone().unwrap_or(Value::Null),
            ToolOutcome::Failed(failure) => panic!("failed: {failure} {:?}", failure.detail),
        }
    }

    /// What an act did.
    pub(crate) fn did(&self) -> Value {
        self.value().get("did").cloned().expect("an act says what it did")
    }

    pub(crate) fn failure(&self) -> &ToolFailure {
        match &self.outcome {
            ToolOutcome::Failed(failure) => failure,
            ToolOutcome::Completed(output) => panic!("expected a failure, found {output:?}"),
        }
    }

    /// Asserts that the act raised this and nothing else.
    pub(crate) fn raised(&self, what: &str) {
        let failure = self.failure();
        assert_eq!(failure.kind, FailureKind::Raised, "{failure}");
        assert!(failure.message.contains(what), "expected `{what}` in: {failure}");
    }

    pub(crate) fn log(&self) -> String {
        let lines = self.frames.iter().filter_map(|frame| match frame {
            Frame::Log { message, .. } => Some(message.as_str()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn nix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}
