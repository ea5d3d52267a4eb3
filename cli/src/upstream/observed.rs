//! What a server offers now: as a running Pegboard saw it last, or asked on the spot.

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

use executor_api::{FailureKind, ToolFailure};
use executor_mcp::{Inspection, McpExecutor, Offered};
use manifest_schema::{Digest, PluginName};
use policy::{Allowed, Approval, Declared, Definition, Grants, Level, Plugin, SecretValue, Standing, readiness};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::{
    commands::host,
    exit::Exit,
    failure::{Failure, Outcome},
    operator::{Lock, private_folder, write_private},
    settings::{Places, Settings},
};

/// `<cache>/upstream/<plugin>.json`, as far as it is known here. A running server writes it, and an approval of what was just seen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Observed {
    /// All tools, in the server's order.
    pub(crate) tools: Vec<Definition>,
    /// What was left out, and why.
    pub(crate) refused: Vec<String>,
    /// Tools that were seen defined otherwise than approved since the approval; quarantined even where they are as approved again.
    pub(crate) tripped: Vec<String>,
    /// Digest of the server that it was: of another one it says nothing.
    pub(crate) server: Option<Digest>,
}

/// What a server offers beside tools, as it was when it was asked last: `<data>/offered/<plugin>.json`. Named to the operator, not served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Beside {
    /// Names of its prompts.
    pub(crate) prompts: Vec<String>,
    /// Addresses of its resources.
    pub(crate) resources: Vec<String>,
}

fn beside_path(places: &Places, plugin: &PluginName) -> PathBuf {
    places.data.join("offered").join(format!("{plugin}.json"))
}

/// Takes down what a server offers beside tools.
pub(crate) fn remember(places: &Places, plugin: &PluginName, inspection: &Inspection) -> Outcome {
    let names = |list: &[Offered]| list.iter().map(|offered| offered.name.clone()).collect();
    let beside = Beside { prompts: names(&inspection.prompts), resources: names(&inspection.resources) };
    let lock = Lock::take(places)?;
    private_folder(&places.data.join("offered"))?;
    let text =
        serde_json::to_string(&beside).map_err(|error| anyhow::anyhow!("could not encode what a server offers: {error}"))?;
    write_private(&lock, &beside_path(places, plugin), text.as_bytes())
}

/// What was taken down; nothing when it is not there or does not parse: it is only shown.
pub(crate) fn beside(places: &Places, plugin: &PluginName) -> Beside {
    fs::read_to_string(beside_path(places, plugin)).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// What a running server saw last. A file that does not parse is as good as none: it lies in the cache and can be made again.
pub(crate) fn last(places: &Places, plugin: &Plugin) -> Outcome<Option<Observed>> {
    let path = places.cache.join("upstream").join(format!("{}.json", plugin.manifest.name));
    let server = Approval::none(plugin).server;
    match fs::read_to_string(&path) {
        Ok(text) => Ok(serde_json::from_str::<Observed>(&text).ok().filter(|observed| observed.server.as_ref() == Some(&server))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", &path, &error)),
    }
}

/// Keeps what was seen here, so that a running server does not hold an approval against what it saw before.
pub(crate) fn keep(places: &Places, plugin: &PluginName, seen: &Observed) -> Outcome {
    let lock = Lock::take(places)?;
    // Plugins' own folders lie in it, so it is not private.
    let folder = places.cache.join("upstream");
    fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
    let text = serde_json::to_string(seen).map_err(|error| anyhow::anyhow!("could not encode what a server offers: {error}"))?;
    write_private(&lock, &folder.join(format!("{plugin}.json")), text.as_bytes())
}

/// Forgets what was seen.
pub(crate) fn forget(places: &Places, plugin: &PluginName) {
    // Only a copy in the cache: what is left of it is never served.
    let _ = fs::remove_file(places.cache.join("upstream").join(format!("{plugin}.json")));
    let _ = fs::remove_file(beside_path(places, plugin));
}

/// What the plugin may use with these grants and secrets.
pub(crate) fn allowed(
    plugin: &Plugin,
    grants: &Grants,
    secrets: &BTreeMap<String, String>,
    reached: Level,
) -> Outcome<Arc<Allowed>> {
    let declared = Declared::of(&plugin.manifest);
    let kept: BTreeMap<String, SecretValue> =
        secrets.iter().map(|(name, value)| (name.clone(), SecretValue::new(value.clone()))).collect();
    let config = Map::new();
    let standing =
        Standing { grant: grants.of(plugin, &declared), secrets: &kept, config: &config, config_problem: None, reached };
    readiness(&declared, &standing).map(Arc::new).map_err(|missing| {
        let said: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Failure::new(
            Exit::Denied,
            "server.not_allowed",
            format!("`{}` can't be started: {}", plugin.manifest.name, said.join("; ")),
        )
        .maybe_hint(missing.first().map(|missing| missing.remedy(&plugin.manifest.name)))
    })
}

/// Starts the server, asks what it offers, ends it.
pub(crate) fn inspect(settings: &Settings, level: Level, plugin: &Arc<Plugin>, allowed: Arc<Allowed>) -> Outcome<Inspection> {
    let executor = host::mcp_executor(settings, level)?;
    let runtime = host::runtime()?;
    let result = runtime.block_on(ask(&executor, plugin.clone(), allowed));
    runtime.shutdown_background();
    result.map_err(|failure| refused(plugin, failure))
}

async fn ask(executor: &McpExecutor, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Result<Inspection, ToolFailure> {
    executor.inspect(plugin, allowed).await
}

fn refused(plugin: &Plugin, failure: ToolFailure) -> Failure {
    let exit = match failure.kind {
        FailureKind::Unsupported => Exit::Unavailable,
        FailureKind::Internal => Exit::Internal,
        _ => Exit::ToolFailed,
    };
    let detail = failure.detail.map(|detail| format!("\n{}", detail.trim_end())).unwrap_or_default();
    Failure::new(
        exit,
        "server.failed",
        format!("the server of `{}` could not be asked: {}{detail}", plugin.manifest.name, failure.message),
    )
    .maybe_hint(failure.hint)
}
