//! How a plugin is confined: from its manifest, its grants and its environment to a `sandbox::Jail`, and the jail's whole life.
//!
//! What each wall does is in `sandbox` and docs/sandbox.md; here it is decided which ones a plugin gets.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use executor_api::{FailureKind, ToolFailure};
use manifest_schema::{Digest, Permission};
use policy::{Allowed, Level, Plugin};
use sandbox::{Access, Confined, Ended, Identity, Jail, Limits, Mount, Scratch, SpawnError};

use crate::{Parts, environment::Environment, groups::Group};

/// Users of plugins, when the host is root: this and the `SPAN` that follow.
const FIRST_UID: u32 = 200_000;
const SPAN: u32 = 60_000;
/// Files and folders in the scratch room.
const INODES: u64 = 16 * 1024;
/// How long the end of a jail may take before it is no longer waited for.
const END_LIMIT: Duration = Duration::from_secs(2);

static COUNTER: AtomicU64 = AtomicU64::new(1);

pub(crate) fn sandbox_level(level: Level) -> sandbox::Level {
    match level {
        Level::L0 => sandbox::Level::L0,
        Level::L1 => sandbox::Level::L1,
        // L3 is a container engine's; a Python worker's strongest level is L2.
        Level::L2 | Level::L3 => sandbox::Level::L2,
    }
}

/// Room on the host for a plugin's files, below L2; removed with the jail.
#[derive(Debug)]
pub(crate) struct Ground {
    scratch: Option<PathBuf>,
    identity: Option<Identity>,
}

impl Ground {
    pub(crate) fn lay(parts: &Parts, plugin: &Plugin, allowed: &Allowed) -> io::Result<Self> {
        let identity = if parts.own_uids { Some(identity(plugin, allowed)?) } else { None };
        if parts.level >= Level::L2 {
            return Ok(Self { scratch: None, identity });
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = parts.settings.cache.join("scratch");
        fs::create_dir_all(&folder)?;
        let scratch = folder.join(format!("{}-{}-{number}", plugin.manifest.name, std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&scratch)?;
        if let Some(identity) = identity {
            std::os::unix::fs::chown(&scratch, Some(identity.uid), Some(identity.gid))?;
        }
        Ok(Self { scratch: Some(fs::canonicalize(scratch)?), identity })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(scratch) = &self.scratch
            && let Err(error) = fs::remove_dir_all(scratch)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %scratch.display(), "a scratch folder could not be removed");
        }
    }
}

/// As root each plugin runs under a user of its own. Where that user could not use a folder that was granted, the plugin runs as the
/// folder's owner instead, without a single capability and behind the same walls; but never as root.
fn identity(plugin: &Plugin, allowed: &Allowed) -> io::Result<Identity> {
    const READ: u32 = 0o005;
    const WRITE: u32 = 0o007;
    for (power, needed) in [(Permission::FileSystemWrite, WRITE), (Permission::FileSystemRead, READ)] {
        for folder in allowed.powers.get(&power).iter().flat_map(|scope| &scope.folders) {
            let owner = fs::metadata(folder)?;
            if owner.mode() & needed == needed {
                continue;
            }
            if owner.uid() == 0 || owner.gid() == 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, Unusable(folder.clone())));
            }
            return Ok(Identity { uid: owner.uid(), gid: owner.gid(), exclusive: false });
        }
    }
    let name = format!("{}-{}", plugin.manifest.name, std::process::id());
    let digest = Digest::of([name.as_bytes()]);
    let number = u32::from_str_radix(digest.short().get(..7).unwrap_or("0"), 16).unwrap_or(0);
    let id = FIRST_UID + number % SPAN;
    Ok(Identity { uid: id, gid: id, exclusive: true })
}

/// A granted folder that only root can use.
#[derive(Debug, thiserror::Error)]
#[error("`{}` belongs to root, and a plugin never runs as root; give the folder another owner and group, or run Pegboard as an ordinary user", .0.display())]
struct Unusable(PathBuf);

/// The jail of a plugin's zygote, of one call on the spawn road, or of its tests: `begin` is the program's first line.
pub(crate) fn build(
    parts: &Parts,
    plugin: &Plugin,
    allowed: &Allowed,
    environment: &Environment,
    ground: &Ground,
    begin: &str,
) -> Result<Jail, ToolFailure> {
    let manifest = &plugin.manifest;
    let network = allowed.powers.keys().any(|power| power.is_network());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let argv = [
        text(&environment.python),
        // Isolated, without `site` (the zygote enters it once exec is forbidden), no bytecode written, UTF-8.
        "-ISB".to_owned(),
        "-X".to_owned(),
        "utf8".to_owned(),
        "-X".to_owned(),
        "faulthandler".to_owned(),
        "-c".to_owned(),
        begin.to_owned(),
        text(&parts.runtime.root),
    ];
    let mut jail = Jail::new(sandbox_level(parts.level), argv.to_vec());
    jail.mounts = sandbox::system_mounts(network);
    jail.mounts.extend(interpreter_mounts(environment));
    jail.mounts.push(Mount::system(&parts.runtime.root));
    jail.mounts.push(Mount::system(&plugin.root));
    jail.mounts.extend(granted_mounts(allowed)?);
    jail.scratch =
        Scratch { size_mb: manifest.resource_limits.max_disk_mb.into(), inodes: INODES, host_dir: ground.scratch.clone() };
    let scratch = jail.scratch_path().unwrap_or(Path::new("/")).to_owned();
    jail.workdir = scratch.clone();
    jail.network = network;
    jail.spawn_allowed = allowed.powers.contains_key(&Permission::ProcessSpawn);
    jail.identity = ground.identity;
    jail.limits =
        Limits { open_files: 1024, file_size_mb: Some(manifest.resource_limits.max_disk_mb.into()), ..Limits::default() };
    jail.env = BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("HOME".to_owned(), text(&scratch)),
        ("TMPDIR".to_owned(), text(&scratch)),
        // Symbols are resolved once, in the zygote, and not again in every child. The zygote takes it out again.
        ("LD_BIND_NOW".to_owned(), "1".to_owned()),
    ]);
    Ok(jail)
}

/// The interpreter, its standard library and the virtualenv; nothing else of the host.
fn interpreter_mounts(environment: &Environment) -> Vec<Mount> {
    let base = &environment.base;
    let mut mounts = Vec::new();
    if base.prefix == Path::new("/usr") || base.prefix == Path::new("/usr/local") {
        // The rest of such a prefix is the host's, not the interpreter's.
        mounts.push(Mount::system(&base.executable));
        mounts.push(Mount::system(&base.stdlib));
        mounts.push(Mount::system_if_present(&base.platstdlib));
    } else {
        mounts.push(Mount::system(&base.prefix));
        if base.exec_prefix != base.prefix {
            mounts.push(Mount::system(&base.exec_prefix));
        }
        if !base.executable.starts_with(&base.prefix) {
            mounts.push(Mount::system(&base.executable));
        }
    }
    if let Some(libdir) = &base.libdir {
        let covered =
            ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"].iter().any(|folder| libdir.starts_with(folder));
        if !covered && !libdir.starts_with(&base.prefix) {
            mounts.push(Mount::system_if_present(libdir));
        }
    }
    mounts.extend(environment.venv.iter().map(Mount::system));
    mounts
}

/// Granted folders, seen at their own paths. Links are not followed: a plugin that may write a folder could make one.
fn granted_mounts(allowed: &Allowed) -> Result<Vec<Mount>, ToolFailure> {
    let mut mounts: BTreeMap<PathBuf, Access> = BTreeMap::new();
    let powers = [(Permission::FileSystemRead, Access::ReadOnly), (Permission::FileSystemWrite, Access::ReadWrite)];
    for (power, access) in powers {
        for folder in allowed.powers.get(&power).iter().flat_map(|scope| &scope.folders) {
            // The path as it was granted, not what it leads to by now: resolving it here would follow a link that a plugin made since.
            if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
                let gone = "a folder that was granted to this plugin does not exist any more";
                return Err(ToolFailure::new(FailureKind::LoadFailed, gone)
                    .with_hint("ask the operator to look at the grants of this plugin"));
            }
            mounts.insert(folder.clone(), access);
        }
    }
    Ok(mounts.into_iter().map(|(path, access)| Mount::granted(path, access)).collect())
}

/// A running jail: the process, its control group and its ground.
#[derive(Debug)]
pub(crate) struct Jailed {
    confined: Confined,
    // Order of drop: the process first, then what it stood on.
    group: Option<Arc<Group>>,
    _ground: Ground,
}

impl Jailed {
    /// The confined process as the host numbers it.
    pub(crate) fn pid(&self) -> i32 {
        self.confined.child_pid
    }

    /// The output pipes, once.
    pub(crate) fn take_output(&mut self) -> Vec<OwnedFd> {
        [self.confined.stdout.take(), self.confined.stderr.take()].into_iter().flatten().collect()
    }

    /// Its control group, where there is one.
    pub(crate) fn group(&self) -> Option<Arc<Group>> {
        self.group.clone()
    }

    /// Whether the memory limit ended something in it.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.oom_kills() > 0)
    }

    /// Kills everything and says how the first process ended, where that can be known in time.
    pub(crate) async fn end(mut self) -> Option<Ended> {
        // A process that is ending by itself says more than one that we kill.
        let waiting = tokio::task::spawn_blocking(move || {
            let patience = std::time::Instant::now() + Duration::from_millis(200);
            let mut killed = false;
            let limit = std::time::Instant::now() + END_LIMIT;
            loop {
                match self.confined.try_wait() {
                    Ok(Some(ended)) => return Some(ended),
                    Ok(None) if std::time::Instant::now() < limit => {}
                    _ => return None,
                }
                if !killed && std::time::Instant::now() > patience {
                    self.confined.kill();
                    killed = true;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        waiting.await.ok().flatten()
    }
}

/// Starts the jail off the async threads.
pub(crate) async fn spawn(
    parts: &Arc<Parts>,
    plugin: &Plugin,
    mut jail: Jail,
    control: OwnedFd,
    ground: Ground,
) -> Result<Jailed, ToolFailure> {
    let group = parts.groups.of_plugin(plugin, parts.settings.pool_limit).map(Arc::new);
    if let Some(group) = &group {
        jail.cgroups = group.procs_files();
    }
    let launcher = parts.settings.launcher.clone();
    let spawned = tokio::task::spawn_blocking(move || sandbox::spawn(&launcher, &jail, control)).await;
    match spawned {
        Ok(Ok(confined)) => Ok(Jailed { confined, group, _ground: ground }),
        Ok(Err(error)) => Err(spawn_failure(&error)),
        Err(error) => Err(ToolFailure::new(FailureKind::Internal, format!("starting a sandbox failed: {error}"))),
    }
}

fn spawn_failure(error: &SpawnError) -> ToolFailure {
    tracing::error!(%error, "a sandbox could not be entered");
    ToolFailure::new(FailureKind::LoadFailed, "the plugin's sandbox could not be entered")
        .with_hint("ask the operator to run `pegboard doctor`")
}
