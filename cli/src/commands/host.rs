//! From the operator's settings to the server's: folders of plugins, the Python executor, the embedder. The only place that makes a host.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use executor_api::Executor;
use executor_container::{ContainerExecutor, ContainerSettings};
use executor_mcp::{McpExecutor, McpSettings};
use executor_python::{PythonExecutor, PythonSettings};
use policy::{Allowed, Level, Plugin};
use server::{Dirs, Executors, Host, PluginsFolder, PluginsSource, Reconsider, View};
use tokio::runtime::Runtime;

use super::readying::{Readied, Readies, Readying};
use crate::{
    args::Shelf,
    bundled,
    exit::Exit,
    failure::{Failure, Outcome},
    installs, operator,
    settings::{Settings, ViewChoice},
};

/// Variables of the user's that decide where packages come from; uv and pip get these and no others.
const PACKAGE_VARIABLES: [&str; 19] = [
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NETRC",
    "NODE_EXTRA_CA_CERTS",
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
    let added = operator::added::root(places);
    if added.is_dir() {
        told.plugins.push(PluginsFolder { path: added, source: PluginsSource::Folder });
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
    told.require_signature = file.require_signature;
    told.warm = file.warm;
    told.embedder = super::embedder::choose(settings)?;
    let again = settings.clone();
    told.reconsider = Some(Reconsider(Arc::new(move || super::embedder::choose(&again).ok())));
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
    let path = search_path();
    if !path.is_empty() {
        python.search_path = path;
    }
    python.package_environment = package_environment(&["PIP_", "UV_"]);
    Ok(python)
}

/// What package tools are given of the user's environment.
fn package_environment(prefixes: &[&str]) -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| PACKAGE_VARIABLES.contains(&name.as_str()) || prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// The executor of Python plugins.
pub(crate) fn python_executor(settings: &Settings) -> Outcome<PythonExecutor> {
    PythonExecutor::new(python_settings(settings)?).map_err(|error| match error {
        executor_python::StartError::Level { .. } => Failure::new(Exit::Unavailable, "sandbox.level", error.to_string())
            .hint("pegboard doctor says what this machine can enforce"),
        executor_python::StartError::Runtime { .. } => Failure::new(Exit::Internal, "file", error.to_string()),
    })
}

/// The executor of upstream MCP servers, at a level.
pub(crate) fn mcp_executor(settings: &Settings, level: Level) -> Outcome<McpExecutor> {
    let launcher = env::current_exe().map_err(|error| anyhow::anyhow!("could not find this program's own path: {error}"))?;
    let mut told = McpSettings::new(settings.places.cache.clone(), launcher, level);
    let path = crate::switchers::without_shims(search_path());
    if !path.is_empty() {
        told.search_path = path;
    }
    // Their home is a folder of ours, and each server's secrets are its own.
    told.package_environment = package_environment(&["PIP_", "UV_", "npm_config_", "NPM_CONFIG_"]);
    told.package_environment.retain(|(name, _)| {
        name != "HOME" && !name.starts_with("XDG_") && !crate::upstream::secretive::is_secret(name, "a secret")
    });
    let npm = npm_settings(&told.package_environment);
    told.package_environment.extend(npm);
    McpExecutor::new(told).map_err(|error| Failure::new(Exit::Internal, "internal", error.to_string()))
}

/// The executor of container plugins; `None` on a machine without the socket of an engine. Whether the engine answers is seen at a call.
pub(crate) fn container_executor(settings: &Settings) -> Option<ContainerExecutor> {
    let sockets = engine_sockets().unwrap_or_default();
    sockets.iter().any(|socket| socket.exists()).then(|| ContainerExecutor::new(container_settings(settings, sockets)))
}

/// How container plugins run.
pub(crate) fn container_settings(settings: &Settings, sockets: Vec<PathBuf>) -> ContainerSettings {
    ContainerSettings::new(sockets, &settings.places.cache)
}

/// Where a container engine may listen, the preferred place first: what `DOCKER_HOST` says, else Docker's and Podman's own places.
///
/// # Errors
/// `DOCKER_HOST` names something else than a unix socket.
pub(crate) fn engine_sockets() -> Result<Vec<PathBuf>, String> {
    if let Some(host) = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        let socket = host.strip_prefix("unix://").map(PathBuf::from).filter(|path| path.is_absolute());
        return socket.map(|socket| vec![socket]).ok_or_else(|| {
            format!("DOCKER_HOST is `{host}`; only an engine on this machine can be used, by its unix socket: unix:///path")
        });
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = runtime.iter().flat_map(|folder| [folder.join("docker.sock"), folder.join("podman/podman.sock")]);
    let desktop = env::home_dir().map(|home| home.join(".docker/run/docker.sock"));
    let system = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
    Ok(system.into_iter().chain(own).chain(desktop).collect())
}

/// The registry, and the certificates to trust it by, that npm is told of in the user's or the machine's file, which a launcher in its walls
/// does not see. Its keys stay where they are.
fn npm_settings(given: &[(String, String)]) -> Vec<(String, String)> {
    let files = [env::home_dir().map(|home| home.join(".npmrc")), Some(PathBuf::from("/etc/npmrc"))];
    let texts: Vec<String> = files.into_iter().flatten().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let fits = |key: &str, value: &str| match key {
        "cafile" => value.starts_with('/'),
        _ => value.starts_with("http") && !value.contains('@'),
    };
    let setting = |key: &str| {
        let lines = texts.iter().flat_map(|text| text.lines());
        let mut values = lines.filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
        values.find(|value| fits(key, value.trim())).map(|value| value.trim().to_owned())
    };
    ["registry", "cafile"]
        .into_iter()
        .filter(|key| !given.iter().any(|(name, _)| name.eq_ignore_ascii_case(&format!("npm_config_{key}"))))
        .filter_map(|key| Some((format!("npm_config_{key}"), setting(key)?)))
        .collect()
}

/// Where programs are looked for. A relative entry would look wherever this program happens to be started.
fn search_path() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_absolute()).collect()
}

/// Puts the host together inside `runtime`.
pub(crate) fn assemble(runtime: &Runtime, told: server::Settings, executors: Executors) -> Outcome<Arc<Host>> {
    let _inside = runtime.enter();
    Host::assemble(told, executors).map_err(|error| refused(&error))
}

fn refused(error: &server::StartError) -> Failure {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let message = format!("{error}{source}");
    match error {
        server::StartError::Operator(inner) => Failure::usage("operator.invalid", message).maybe_hint(inner.hint()),
        server::StartError::Lockfile { source } => match &**source {
            registry::Error::Lockfile(_) => Failure::new(Exit::Invalid, "lockfile.invalid", message)
                .hint("mend the lockfile, or take an earlier one from version control and run pegboard sync"),
            other => installs::failure(other),
        },
        server::StartError::PluginsFolder { .. } => Failure::not_found("plugins.not_found", message),
        server::StartError::Setting { .. } => Failure::usage("settings.invalid", message),
        server::StartError::Index { .. } | server::StartError::Random { .. } => Failure::new(Exit::Internal, "internal", message),
    }
}

/// What runs the tools, and at which level.
pub(crate) struct Runners {
    pub(crate) executors: Executors,
    pub(crate) level: Level,
}

/// Everything that runs tools, for a server.
pub(crate) fn runners(settings: &Settings) -> Outcome<Runners> {
    let python = python_executor(settings)?;
    let level = python.level();
    let mcp = mcp_executor(settings, level)?;
    let mut executors = Executors::new(Arc::new(python)).with_mcp(Arc::new(mcp));
    if let Some(container) = container_executor(settings) {
        executors = executors.with_container(Arc::new(container));
    }
    Ok(Runners { executors, level })
}

/// The same for commands that look or call once: nothing is made ready but what is `wanted`.
pub(crate) fn narrow(settings: &Settings, wanted: impl Fn(&Plugin) -> bool + Send + Sync + 'static) -> Outcome<Runners> {
    narrow_with(settings, python_executor(settings)?, wanted)
}

/// The same with an executor of Python plugins that the command keeps a hold of.
pub(crate) fn narrow_with(
    settings: &Settings,
    python: PythonExecutor,
    wanted: impl Fn(&Plugin) -> bool + Send + Sync + 'static,
) -> Outcome<Runners> {
    let level = python.level();
    let mcp = mcp_executor(settings, level)?;
    let narrow = Narrow(Arc::new(wanted));
    let mut executors = Executors::new(narrow.around(python)).with_mcp(narrow.around(mcp));
    if let Some(container) = container_executor(settings) {
        executors = executors.with_container(narrow.around(container));
    }
    Ok(Runners { executors, level })
}

/// Makes nothing ready but what is wanted, so that `pegboard list` starts no plugin, installs no package and asks no server.
#[derive(Clone)]
struct Narrow(Arc<dyn Fn(&Plugin) -> bool + Send + Sync>);

impl Narrow {
    fn around(&self, executor: impl Executor + 'static) -> Arc<dyn Executor> {
        Arc::new(Readying { executor: Arc::new(executor), way: self.clone() })
    }
}

impl Readies for Narrow {
    fn ready<'a>(&'a self, executor: &'a dyn Executor, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Readied<'a> {
        if (self.0)(&plugin) {
            return executor.prepare(plugin, allowed);
        }
        // Neither made ready nor failed: the command ends before anyone would ask.
        Box::pin(std::future::pending())
    }
}
