//! A host in miniature on a real engine: an executor, plugins made on the spot, and the engine itself to look behind the executor's back.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{API_DEFAULT_VERSION, Docker, models::ContainerSummary, query_parameters::ListContainersOptions};
use executor_api::{CallIo, Content, Executor as _, FailureKind, Frame, PluginState, ToolFailure, ToolOutcome};
use executor_container::{ContainerExecutor, ContainerSettings};
use manifest_schema::{Digest, Permission, ServedName, ToolName};
use policy::{Declared, Grants, Level, PermittedCall, Plugin, ResolvedCall, SecretValue, Source, Standing, TraceId, authorize};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The base image that `tests/containers/python_image.py` makes.
pub(crate) const BASE: &str = "localhost/pegboard-base/python:1";

/// One engine.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    /// `127.0.0.1:PORT` of a registry that the engine reaches.
    registry: Option<String>,
}

impl Site {
    pub(crate) fn parse(word: &str, registry: Option<String>) -> Self {
        let (name, socket) = word.split_once('=').expect("name=unix:///path");
        Self { name: name.to_owned(), socket: socket.trim_start_matches("unix://").into(), registry }
    }

    pub(crate) fn registry(&self) -> &str {
        self.registry.as_deref().expect("registry=http://127.0.0.1:PORT in PEGBOARD_TEST_ENGINES")
    }

    pub(crate) fn docker(&self) -> Docker {
        Docker::connect_with_unix(self.socket.to_str().unwrap(), 60, API_DEFAULT_VERSION).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) executor: ContainerExecutor,
    pub(crate) folder: Arc<tempfile::TempDir>,
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
    pub(crate) fn new(site: Site) -> Self {
        Self::with(site, |_| {})
    }

    pub(crate) fn with(site: Site, change: impl FnOnce(&mut ContainerSettings)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::beside(site, folder, change)
    }

    /// Another host of the same installation.
    pub(crate) fn beside(site: Site, folder: Arc<tempfile::TempDir>, change: impl FnOnce(&mut ContainerSettings)) -> Self {
        let mut settings = ContainerSettings::new(vec![site.socket.clone()], folder.path());
        settings.max_answer = 1 << 20;
        change(&mut settings);
        Self { site, executor: ContainerExecutor::new(settings), folder }
    }

    /// The fixture, built from the base image, with more in the `container` section and in the manifest.
    pub(crate) fn plugin(&self, name: &str, container: &str, more: &str) -> Subject {
        let dockerfile = format!("FROM {BASE}\nCOPY server.py /server.py\nENTRYPOINT [\"/usr/bin/python3\", \"/server.py\"]\n");
        self.built(name, &dockerfile, container, more)
    }

    pub(crate) fn built(&self, name: &str, dockerfile: &str, container: &str, more: &str) -> Subject {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("Dockerfile"), dockerfile).unwrap();
        fs::write(root.join("server.py"), include_str!("../../../../tests/containers/server.py")).unwrap();
        self.manifest(name, &format!("  dockerfile: Dockerfile\n{container}"), more)
    }

    pub(crate) fn manifest(&self, name: &str, container: &str, more: &str) -> Subject {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        let text = format!(
            "name: {name}\nversion: 1.0.0\ndescription: A container of the tests\nauthor: T <t@example.org>\nlicense: MIT\nruntime: container\n\
             mcps: [{{name: echo, description: Says it back}}]\ncontainer:\n{container}{more}"
        );
        fs::write(root.join("plugin.yaml"), &text).unwrap();
        let root = fs::canonicalize(root).unwrap();
        let manifest = manifest_schema::parse("plugin.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let content = Digest::of([text.as_bytes()]);
        let plugin = Arc::new(Plugin { manifest, root, source: Source::Store, content });
        let mut grants = Grants::default();
        grants.set_level(&plugin, Level::L3);
        Subject { plugin, grants, secrets: BTreeMap::new() }
    }

    pub(crate) async fn call(&self, subject: &Subject, tool: &str, args: Value) -> Came {
        self.call_within(subject, tool, args, PATIENCE, CancellationToken::new()).await
    }

    pub(crate) async fn call_within(
        &self,
        subject: &Subject,
        tool: &str,
        args: Value,
        limit: Duration,
        cancel: CancellationToken,
    ) -> Came {
        let (sender, mut receiver) = mpsc::channel(256);
        let io = CallIo { cancel, deadline: Instant::now() + limit, frames: sender };
        let running = self.executor.run(subject.permitted(tool, args), io);
        let outcome = tokio::time::timeout(PATIENCE + PATIENCE, running).await.expect("in time");
        let mut frames = Vec::new();
        while let Ok(frame) = receiver.try_recv() {
            frames.push(frame);
        }
        Came { outcome, frames }
    }

    /// Python in the container: its value of `result`, or the exception.
    pub(crate) async fn python(&self, subject: &Subject, code: &str) -> Value {
        self.call(subject, "run", json!({ "code": code })).await.value()
    }

    pub(crate) fn state(&self, subject: &Subject) -> PluginState {
        let name = subject.plugin.manifest.name.to_string();
        self.executor.states().into_iter().find(|state| state.plugin == name).expect("a state")
    }

    /// What the engine has of this installation, by its own account.
    pub(crate) async fn on_engine(&self, plugin: &str) -> Vec<ContainerSummary> {
        let docker = self.site.docker().negotiate_version().await.unwrap();
        let filters = [("label".to_owned(), vec![format!("pegboard.plugin={plugin}")])].into_iter().collect();
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        docker.list_containers(Some(options)).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.executor.shutdown().await;
    }
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

    pub(crate) fn permitted(&self, tool: &str, args: Value) -> PermittedCall {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let idempotent = tool == "echo";
        let spec = json!({"name": tool, "description": "x", "annotations": {"read_only": false, "destructive": true, "idempotent": idempotent, "open_world": true}});
        let call = ResolvedCall {
            plugin: Arc::clone(&self.plugin),
            tool: Arc::new(serde_json::from_value(spec).unwrap()),
            name: ServedName::new(&self.plugin.manifest.name, &ToolName::parse(tool).unwrap()),
            args,
            definition: None,
            session: None,
            trace: TraceId("trace-1".into()),
        };
        let declared = Declared::of(&self.plugin.manifest);
        let config = Map::new();
        let grant = self.grants.of(&self.plugin, &declared);
        let standing = Standing { grant, secrets: &self.secrets, config: &config, config_problem: None, reached: Level::L3 };
        authorize(call, &standing).expect("granted")
    }
}

impl Came {
    pub(crate) fn value(&self) -> Value {
        match &self.outcome {
            ToolOutcome::Completed(output) => match (&output.structured, output.content.first()) {
                (Some(value), _) => value.clone(),
                (None, Some(Content::Text { text })) => Value::from(text.clone()),
                other => panic!("nothing: {other:?}"),
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

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
