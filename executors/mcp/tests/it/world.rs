//! A host in miniature: an executor whose launcher is this very test program, and plugins made on the spot.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use executor_api::{CallIo, Executor as _, FailureKind, Frame, Observation, ToolFailure, ToolOutcome};
use executor_mcp::{Inspection, McpExecutor, McpSettings};
use manifest_schema::{Digest, Permission, ServedName, ToolName};
use policy::{
    Allowed, Declared, Definition, Grants, PermittedCall, Plugin, ResolvedCall, SecretValue, Source, Standing, TraceId,
    authorize, readiness,
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) executor: McpExecutor,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) seen: Arc<Mutex<Vec<Observation>>>,
}

#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) plugin: Arc<Plugin>,
    grants: Grants,
    secrets: BTreeMap<String, SecretValue>,
}

pub(crate) struct Came {
    pub(crate) outcome: ToolOutcome,
    pub(crate) frames: Vec<Frame>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut McpSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Servers run under users of their own and must be able to walk here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = std::env::current_exe().unwrap();
        let mut settings = McpSettings::new(folder.path().join("cache"), program.clone(), crate::level());
        settings.search_path.insert(0, program.parent().unwrap().to_owned());
        settings.start_limit = Duration::from_secs(10);
        settings.max_message = 1 << 20;
        change(&mut settings);
        let executor = McpExecutor::new(settings).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        executor.observe(Arc::new(move |observation| notes.lock().unwrap().push(observation)));
        Self { executor, folder, seen }
    }

    /// A server by command, in a mode of the fixture.
    pub(crate) fn server(&self, name: &str, mode: &str) -> Subject {
        self.command(name, mode, "")
    }

    /// The same, with more in the manifest.
    pub(crate) fn command(&self, name: &str, mode: &str, more: &str) -> Subject {
        let program = std::env::current_exe().unwrap();
        let program = program.file_name().unwrap().to_str().unwrap();
        self.plugin(name, &format!("mcp:\n  command: [\"{program}\", \"__fixture\", \"{mode}\", \"$data\"]\n{more}"))
    }

    pub(crate) fn plugin(&self, name: &str, more: &str) -> Subject {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        let text = format!(
            "name: {name}\nversion: 1.0.0\ndescription: A server of the tests\nauthor: T <t@example.org>\nlicense: MIT\nruntime: mcp\n\
             max_execution_time: 20\n{more}"
        );
        fs::write(root.join("plugin.yaml"), &text).unwrap();
        let root = fs::canonicalize(root).unwrap();
        let manifest = manifest_schema::parse("plugin.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let content = Digest::of([text.as_bytes()]);
        let plugin = Arc::new(Plugin { manifest, root, source: Source::Store, content });
        let mut grants = Grants::default();
        grants.set_level(&plugin, crate::level());
        Subject { plugin, grants, secrets: BTreeMap::new() }
    }

    pub(crate) async fn inspect(&self, subject: &Subject) -> Result<Inspection, ToolFailure> {
        tokio::time::timeout(PATIENCE, self.executor.inspect(subject.plugin.clone(), subject.allowed())).await.expect("in time")
    }

    /// Calls a tool by the definition that the good server begins with.
    pub(crate) async fn call(&self, subject: &Subject, tool: &str, args: Value) -> Came {
        self.call_within(subject, &good(tool), args, PATIENCE, CancellationToken::new(), |_| {}).await
    }

    /// Calls a tool with as much time as it is said to need.
    pub(crate) async fn call_for(&self, subject: &Subject, definition: &Definition, args: Value, limit: Duration) -> Came {
        let (sender, _receiver) = mpsc::channel(64);
        let io = CallIo { cancel: CancellationToken::new(), deadline: Instant::now() + limit, frames: sender };
        let running = self.executor.run(subject.permitted(definition, args), io);
        let outcome = tokio::time::timeout(limit + PATIENCE, running).await.expect("in time");
        Came { outcome, frames: Vec::new() }
    }

    pub(crate) async fn call_within(
        &self,
        subject: &Subject,
        definition: &Definition,
        args: Value,
        limit: Duration,
        cancel: CancellationToken,
        mut on_frame: impl FnMut(&Frame),
    ) -> Came {
        let (sender, mut receiver) = mpsc::channel(64);
        let io = CallIo { cancel, deadline: Instant::now() + limit, frames: sender };
        let running = self.executor.run(subject.permitted(definition, args), io);
        tokio::pin!(running);
        let mut frames = Vec::new();
        let outcome = tokio::time::timeout(PATIENCE + PATIENCE, async {
            loop {
                tokio::select! {
                    outcome = &mut running => break outcome,
                    Some(frame) = receiver.recv() => { on_frame(&frame); frames.push(frame); }
                }
            }
        });
        let outcome = outcome.await.expect("in time");
        while let Ok(frame) = receiver.try_recv() {
            frames.push(frame);
        }
        Came { outcome, frames }
    }

    pub(crate) fn state(&self, subject: &Subject) -> executor_api::PluginState {
        let name = subject.plugin.manifest.name.to_string();
        self.executor.states().into_iter().find(|state| state.plugin == name).expect("a state")
    }

    /// A folder that a plugin can be granted.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        fs::canonicalize(path).unwrap()
    }
}

/// A definition as the good server gives it at first.
pub(crate) fn good(name: &str) -> Definition {
    let tools = crate::fixture::tools("Says it back");
    let tool = tools.into_iter().find(|tool| tool["name"] == name).unwrap_or_else(|| json!({"name": name, "inputSchema": {}}));
    serde_json::from_value(tool).unwrap()
}

impl Subject {
    pub(crate) fn grant(mut self, power: Permission, scope: Option<&str>) -> Self {
        self.grants.give(&self.plugin, power, scope).unwrap();
        self
    }

    pub(crate) fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), SecretValue::new(value.to_owned()));
        self.grants.hand_secret(&self.plugin, name).unwrap();
        self
    }

    pub(crate) fn allowed(&self) -> Arc<Allowed> {
        let declared = Declared::of(&self.plugin.manifest);
        Arc::new(readiness(&declared, &self.standing(&declared, &Map::new())).expect("granted"))
    }

    fn standing<'a>(&'a self, declared: &Declared, config: &'a Map<String, Value>) -> Standing<'a> {
        let grant = self.grants.of(&self.plugin, declared);
        Standing { grant, secrets: &self.secrets, config, config_problem: None, reached: crate::level() }
    }

    fn permitted(&self, definition: &Definition, args: Value) -> PermittedCall {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let spec = serde_json::from_value(json!({"name": "tool", "description": "x"})).unwrap();
        let call = ResolvedCall {
            plugin: Arc::clone(&self.plugin),
            tool: Arc::new(spec),
            name: ServedName::new(&self.plugin.manifest.name, &ToolName::parse("tool").unwrap()),
            args,
            definition: Some(Arc::new(definition.clone())),
            session: None,
            trace: TraceId("trace-1".into()),
        };
        let declared = Declared::of(&self.plugin.manifest);
        authorize(call, &self.standing(&declared, &Map::new())).expect("granted")
    }
}

impl Came {
    pub(crate) fn text(&self) -> String {
        match &self.outcome {
            ToolOutcome::Completed(output) => match output.content.first() {
                Some(executor_api::Content::Text { text }) => text.clone(),
                other => panic!("no text: {other:?}"),
            },
            ToolOutcome::Failed(failure) => panic!("failed: {failure} {:?}", failure.detail),
        }
    }

    pub(crate) fn failure(&self) -> &ToolFailure {
        match &self.outcome {
            ToolOutcome::Failed(failure) => failure,
            ToolOutcome::Completed(output) => panic!("completed: {output:?}"),
        }
    }

    pub(crate) fn failed(&self, kind: FailureKind, words: &str) {
        let failure = self.failure();
        assert!(failure.kind == kind && failure.message.contains(words), "expected {kind:?} with `{words}`, found {failure:?}");
    }
}
