//! From the operator's settings to the server's: folders of plugins, the Python executor, the embedder. The only place that makes a host.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use executor_api::{CallIo, Executor, PluginState, ToolFailure, ToolOutcome};
use executor_python::{PythonExecutor, PythonSettings};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};
use server::{Dirs, Host, PluginsFolder, PluginsSource, View};
use tokio::runtime::Runtime;

use crate::{
    args::Shelf,
    bundled,
    exit::Exit,
    failure::{Failure, Outcome},
    settings::{Settings, ViewChoice},
};

/// Variables of the user's that decide where packages come from; uv and pip get these and no others.
const PACKAGE_VARIABLES: [&str; 18] = [
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NETRC",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LANG",
    "LC_ALL",
    "USER",
];

/// The asynchronous runtime of a command.
pub(crate) fn runtime() -> Outcome<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(anyhow::anyhow!("could not start the asynchronous runtime: {error}")))
}

/// What the server is told, the same for every command. Commands that serve change the rest.
pub(crate) fn settings(settings: &Settings, shelf: &Shelf) -> Outcome<server::Settings> {
    let places = &settings.places;
    let mut told =
        server::Settings::new(Dirs { config: places.config.clone(), data: places.data.clone(), cache: places.cache.clone() });
    for path in settings.plugin_folders(shelf)? {
        told.plugins.push(PluginsFolder { path, source: PluginsSource::Folder });
    }
    let store = places.data.join("store");
    if store.is_dir() {
        told.plugins.push(PluginsFolder { path: store, source: PluginsSource::Store });
    }
    if settings.bundled(shelf)
        && let Some(path) = bundled::unpack(&places.cache)?
    {
        told.plugins.push(PluginsFolder { path, source: PluginsSource::Bundled });
    }
    let file = &settings.file;
    told.view = view(file.view.unwrap_or(ViewChoice::All));
    told.pinned.clone_from(&file.pin);
    told.frozen = file.frozen;
    told.warm = file.warm;
    told.embedder = super::embedder::choose(settings)?;
    if let Some(page_size) = file.page_size {
        told.page_size = page_size;
    }
    if let Some(seconds) = file.drain_seconds {
        told.drain = Duration::from_secs(seconds);
    }
    Ok(told)
}

/// The server's word for a view.
pub(crate) const fn view(choice: ViewChoice) -> View {
    match choice {
        ViewChoice::All => View::All,
        ViewChoice::Search => View::Search,
    }
}

/// How Python plugins run.
pub(crate) fn python_settings(settings: &Settings) -> Outcome<PythonSettings> {
    let launcher = env::current_exe().map_err(|error| anyhow::anyhow!("could not find this program's own path: {error}"))?;
    let mut python = PythonSettings::new(settings.places.cache.clone(), launcher);
    python.python.clone_from(&settings.file.python);
    python.forced_level = settings.file.level;
    // A relative entry would look for interpreters wherever the program happens to be started.
    let path: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_absolute()).collect();
    if !path.is_empty() {
        python.search_path = path;
    }
    python.package_environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| PACKAGE_VARIABLES.contains(&name.as_str()) || name.starts_with("PIP_") || name.starts_with("UV_"))
        .collect();
    Ok(python)
}

/// The executor of Python plugins.
pub(crate) fn python_executor(settings: &Settings) -> Outcome<PythonExecutor> {
    PythonExecutor::new(python_settings(settings)?).map_err(|error| match error {
        executor_python::StartError::Level { .. } => Failure::new(Exit::Unavailable, "sandbox.level", error.to_string())
            .hint("pegboard doctor says what this machine can enforce"),
        executor_python::StartError::Runtime { .. } => Failure::new(Exit::Internal, "file", error.to_string()),
    })
}

/// Puts the host together inside `runtime`.
pub(crate) fn assemble(runtime: &Runtime, told: server::Settings, python: Arc<dyn Executor>) -> Outcome<Arc<Host>> {
    let _inside = runtime.enter();
    Host::assemble(told, python).map_err(|error| refused(&error))
}

fn refused(error: &server::StartError) -> Failure {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let message = format!("{error}{source}");
    match error {
        server::StartError::Operator(inner) => Failure::usage("operator.invalid", message).maybe_hint(inner.hint()),
        server::StartError::PluginsFolder { .. } => Failure::not_found("plugins.not_found", message),
        server::StartError::Setting { .. } => Failure::usage("settings.invalid", message),
        server::StartError::Index { .. } | server::StartError::Random { .. } => Failure::new(Exit::Internal, "internal", message),
    }
}

/// The Python executor for commands that look or call once: it makes nothing ready but what they need, so that `pegboard list` starts no
/// plugin and installs no package.
pub(crate) struct Narrow {
    inner: PythonExecutor,
    wanted: Box<dyn Fn(&Plugin) -> bool + Send + Sync>,
}

impl Narrow {
    /// Makes ready only what `wanted` says.
    pub(crate) fn new(inner: PythonExecutor, wanted: impl Fn(&Plugin) -> bool + Send + Sync + 'static) -> Self {
        Self { inner, wanted: Box::new(wanted) }
    }
}

impl Executor for Narrow {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        self.inner.run(call, io)
    }

    fn prepare(&self, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        if (self.wanted)(&plugin) {
            return self.inner.prepare(plugin, allowed);
        }
        // Neither made ready nor failed: the command ends before anyone would ask.
        Box::pin(std::future::pending())
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.inner.retire(plugin)
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        self.inner.end_session(session)
    }

    fn level(&self) -> Level {
        self.inner.level()
    }

    fn states(&self) -> Vec<PluginState> {
        self.inner.states()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.shutdown()
    }
}
