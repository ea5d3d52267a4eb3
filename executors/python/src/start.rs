//! From a plugin and what it is allowed to a loaded zygote: the jail, the start order, the choice of road.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use executor_api::{FailureKind, ToolFailure};
use manifest_schema::{Isolation, Manifest, Permission};
use policy::{Allowed, Plugin};

use crate::{
    Parts,
    child::Child,
    control::Control,
    environment::{Environment, EnvironmentError},
    jail,
    message::{StartOrder, ToolOrder},
    zygote::{News, Size, Zygote},
};

/// Variables that keep numeric libraries from starting threads at import: a fork copies only one thread.
const QUIET: [(&str, &str); 9] = [
    ("OPENBLAS_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("BLIS_NUM_THREADS", "1"),
    ("VECLIB_MAXIMUM_THREADS", "1"),
    ("NUMEXPR_NUM_THREADS", "1"),
    ("POLARS_MAX_THREADS", "1"),
    ("RAYON_NUM_THREADS", "1"),
    ("TOKENIZERS_PARALLELISM", "false"),
];
/// `-I` leaves every folder out of the path; the runtime's is the only one that is put there before the plugin's.
const BEGIN: &str = "import sys; sys.path.insert(0, sys.argv[1]); import pegboard_runtime.zygote";
/// Descriptors of a call.
const OPEN_FILES: u64 = 128;
/// Threads and processes of a call, where its uid is its own.
const PROCESSES: u64 = 64;

/// A loaded zygote, and why its plugin can't use the fork road, if it can't.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) zygote: Arc<Zygote>,
    pub(crate) environment: Environment,
    pub(crate) spawn_reason: Option<String>,
}

/// Makes the environment off the async threads.
pub(crate) async fn environment(parts: &Arc<Parts>, plugin: &Arc<Plugin>) -> Result<Environment, ToolFailure> {
    environment_with(parts, plugin, &[]).await
}

/// The same with further packages, for the plugin's tests.
pub(crate) async fn environment_with(
    parts: &Arc<Parts>,
    plugin: &Arc<Plugin>,
    further: &'static [&'static str],
) -> Result<Environment, ToolFailure> {
    let (shared, subject) = (Arc::clone(parts), Arc::clone(plugin));
    let made = tokio::task::spawn_blocking(move || {
        let name = subject.manifest.name.to_string();
        let environment =
            shared.environments.ensure_with(&subject, further, &mut |line| tracing::info!(plugin = name, "{line}"))?;
        shared.runtime.compile_for(&environment.base, &shared.settings);
        Ok(environment)
    });
    match made.await {
        Ok(Ok(environment)) => Ok(environment),
        Ok(Err(error)) => Err(environment_failure(&error)),
        Err(error) => Err(ToolFailure::new(FailureKind::Internal, format!("preparing the environment failed: {error}"))),
    }
}

fn environment_failure(error: &EnvironmentError) -> ToolFailure {
    match error {
        EnvironmentError::Interpreter(error) => {
            ToolFailure::new(FailureKind::LoadFailed, error.to_string()).with_hint("ask the operator to run `pegboard doctor`")
        }
        EnvironmentError::Unsupported { .. } => ToolFailure::new(FailureKind::Unsupported, error.to_string()),
        EnvironmentError::Lock { .. } | EnvironmentError::Step { .. } => {
            ToolFailure::new(FailureKind::LoadFailed, error.to_string()).with_hint("ask the operator to run `pegboard doctor`")
        }
    }
}

/// Starts a zygote and chooses the road.
pub(crate) async fn start(
    parts: &Arc<Parts>,
    plugin: &Arc<Plugin>,
    allowed: &Allowed,
    schemaless: &[&str],
) -> Result<Made, ToolFailure> {
    let environment = environment(parts, plugin).await?;
    let zygote = load(parts, plugin, allowed, &environment, !schemaless.is_empty()).await?;
    let spawn_reason = if zygote.loaded.confines {
        let threads = zygote.threads();
        (threads > 1).then(|| format!("its imports start {} threads, which a fork would lose", threads - 1))
    } else {
        Some(format!("the worker module does not load in Python {}", zygote.loaded.python))
    };
    if let Some(reason) = &spawn_reason {
        tracing::warn!(plugin = %plugin.manifest.name, reason, "one confined process per call: slower, equally confined");
    }
    Ok(Made { zygote, environment, spawn_reason })
}

/// A whole confined process that serves one call and ends.
pub(crate) async fn spawn_child(
    parts: &Arc<Parts>,
    plugin: &Arc<Plugin>,
    allowed: &Allowed,
    environment: &Environment,
    id: u64,
) -> Result<Child, ToolFailure> {
    let zygote = load(parts, plugin, allowed, environment, false).await?;
    let failed = |problem: String| ToolFailure::new(FailureKind::LoadFailed, problem);
    zygote.become_child(id).await.map_err(|error| failed(error.to_string()))?;
    match zygote.hear().await {
        Some(News::Child { socket, log, exit }) => {
            let child = zygote.greet(socket, log, exit).await.map_err(|error| failed(error.to_string()))?;
            // The process is the call's now, and ends with it.
            let jail = zygote.take_jail().ok_or_else(|| failed("the plugin's process ended before its call".to_owned()))?;
            Ok(child.at_home_in(jail))
        }
        _ => Err(failed("the plugin's process ended before its call".to_owned())),
    }
}

async fn load(
    parts: &Arc<Parts>,
    plugin: &Arc<Plugin>,
    allowed: &Allowed,
    environment: &Environment,
    describe: bool,
) -> Result<Arc<Zygote>, ToolFailure> {
    let (control, theirs) = Control::pair().map_err(|error| internal("a control socket could not be made", &error))?;
    let ground = jail::Ground::lay(parts, plugin, allowed).map_err(|error| ground_failure(&error))?;
    let jail = jail::build(parts, plugin, allowed, environment, &ground, BEGIN)?;
    let order = encode_order(parts, plugin, allowed, environment, &jail, describe)?;
    let confined = jail::spawn(parts, plugin, jail, theirs, ground).await?;
    let manifest = &plugin.manifest;
    let limits_of = |size: Size| call_limits(manifest, size, parts.memory_by_address_space, parts.own_uids);
    Zygote::start(confined, control, &order, parts.settings.start_limit, limits_of).await
}

/// rlimits of a call, soft = hard.
///
/// Memory counts from what the zygote has already. With a control group behind it, only private writable memory is limited here
/// (RLIMIT_DATA), since libraries reserve address space that they never use; without one, the address space is all there is.
fn call_limits(manifest: &Manifest, size: Size, by_address_space: bool, own_uid: bool) -> Vec<(u32, u64)> {
    let memory = u64::from(manifest.max_memory_mb) * 1024 * 1024;
    let mut limits = vec![
        (libc::RLIMIT_CPU, cpu_seconds(manifest)),
        (libc::RLIMIT_FSIZE, u64::from(manifest.resource_limits.max_disk_mb) * 1024 * 1024),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
        (libc::RLIMIT_DATA, size.data + memory),
    ];
    if by_address_space {
        limits.push((libc::RLIMIT_AS, size.address_space + memory));
    }
    // As an ordinary user this counts every process of the user, so it would fail calls for what others run.
    if own_uid {
        limits.push((libc::RLIMIT_NPROC, PROCESSES));
    }
    limits
}

/// CPU seconds of a call: its wall clock, as often as it may use more than one core.
pub(crate) fn cpu_seconds(manifest: &Manifest) -> u64 {
    let percent = u64::from(manifest.resource_limits.max_cpu_percent.max(100));
    (u64::from(manifest.max_execution_time) * percent).div_ceil(100).max(1)
}

fn encode_order(
    parts: &Parts,
    plugin: &Plugin,
    allowed: &Allowed,
    environment: &Environment,
    jail: &sandbox::Jail,
    describe: bool,
) -> Result<Vec<u8>, ToolFailure> {
    let manifest = &plugin.manifest;
    let version = manifest.version.to_string();
    let worker = parts.runtime.worker();
    let scratch = jail.scratch_path().unwrap_or(Path::new("/tmp"));
    let mut variables: BTreeMap<&str, &str> = QUIET.into_iter().collect();
    let scratch_text = scratch.to_string_lossy();
    variables.insert("TMPDIR", &scratch_text);
    let (readable, writable) = call_folders(jail);
    let order = StartOrder {
        worker: environment.base.can_fork().then_some(worker.as_path()),
        may_spawn: allowed.powers.contains_key(&Permission::ProcessSpawn),
        site: environment.venv.is_some(),
        environment: variables,
        tools: manifest.mcps.iter().map(ToolOrder::of).collect(),
        root: &plugin.root,
        describe,
        config: &allowed.config,
        context: BTreeMap::from([("plugin_id", manifest.name.as_str()), ("version", version.as_str())]),
        scratch,
        readable,
        writable,
        max_result: parts.settings.max_result,
        single: manifest.isolation == Isolation::Call,
    };
    let order = serde_json::to_vec(&order).map_err(|error| ToolFailure::new(FailureKind::Internal, error.to_string()))?;
    if order.len() > crate::message::MESSAGE_LIMIT {
        let message =
            format!("its manifest makes a start order of {} bytes, at most {} fit", order.len(), crate::message::MESSAGE_LIMIT);
        return Err(ToolFailure::new(FailureKind::LoadFailed, message));
    }
    Ok(order)
}

/// What a call sees beside its own scratch folder: all that the jail shows, by right.
fn call_folders(jail: &sandbox::Jail) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let of = |access: sandbox::Access| {
        let mounts = jail.mounts.iter().filter(move |mount| mount.access == access);
        mounts.map(|mount| mount.path.clone()).collect::<Vec<_>>()
    };
    let mut readable = of(sandbox::Access::ReadOnly);
    readable.extend(["/proc", "/dev/urandom", "/dev/random", "/dev/zero"].map(PathBuf::from));
    let mut writable = of(sandbox::Access::ReadWrite);
    // Not /dev/shm: at L2 it is the scratch room's own tmpfs, and a right on its root would be one on every call's folder.
    writable.push(PathBuf::from("/dev/null"));
    (readable, writable)
}

pub(crate) fn ground_failure(error: &std::io::Error) -> ToolFailure {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        // The path is the operator's business; the log has it.
        tracing::error!(%error, "a granted folder can't be used");
        return ToolFailure::new(FailureKind::LoadFailed, "a folder that was granted to this plugin can't be used by it")
            .with_hint("ask the operator to look at the log");
    }
    internal("the plugin's room could not be made", error)
}

pub(crate) fn internal(what: &str, error: &std::io::Error) -> ToolFailure {
    tracing::error!(%error, what, "the host could not start a plugin");
    ToolFailure::new(FailureKind::Internal, what.to_owned())
}
