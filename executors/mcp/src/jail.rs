//! How a server that is started by command is confined: from its manifest and its grants to a `sandbox::Jail`, and the jail's life.
//!
//! What each wall does is in `sandbox` and docs/sandbox.md; here it is decided which ones a server gets.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use executor_api::{FailureKind, ToolFailure};
use manifest_schema::{Digest, Permission};
use policy::{Allowed, Level, Plugin};
use rustix::fd::OwnedFd;
use sandbox::{
    Access, Confined, Ended, Identity, Jail, Limits, Mount, Scratch,
    cgroup::{CgroupLimits, Cgroups, Slot},
};

use crate::{
    McpSettings,
    program::{self, Program},
    secrets,
};

/// What the scripts that launchers install call before they reach their interpreter.
const LAUNCHER_PROGRAMS: [&str; 6] =
    ["/bin/sh", "/usr/bin/env", "/usr/bin/dirname", "/usr/bin/realpath", "/usr/bin/readlink", "/usr/bin/uname"];
/// Users of servers, when the host is root: this and the `SPAN` that follow. Apart from those of Python plugins.
const FIRST_UID: u32 = 260_000;
const SPAN: u32 = 60_000;
const INODES: u64 = 16 * 1024;
/// Memory beside the declared: an interpreter with its libraries.
const RUNTIME_MB: u64 = 128;
/// Memory beside that for a package launcher, which resolves and unpacks before it starts the server.
const LAUNCHER_MB: u64 = 512;
/// Processes and threads of one server; node alone has a dozen.
const TASKS: u64 = 256;
const END_LIMIT: Duration = Duration::from_secs(2);

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// A server's process and what it stands on.
#[derive(Debug)]
pub(crate) struct Jailed {
    confined: Confined,
    // Order of drop: the process first, then what it stood on.
    group: Option<Slot>,
    _scratch: Option<Folder>,
}

/// A folder that goes with its owner.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "a scratch folder could not be removed");
        }
    }
}

impl Jailed {
    /// Starts the command of a plugin; `input` becomes its standard input. Blocks for some milliseconds.
    ///
    /// # Errors
    /// What the caller of a tool is told: the program is missing, a folder is gone, a wall can't be put up.
    pub(crate) fn start(
        settings: &McpSettings,
        groups: &Cgroups,
        plugin: &Plugin,
        allowed: &Allowed,
        input: OwnedFd,
    ) -> Result<Self, ToolFailure> {
        let server = plugin.manifest.mcp.as_ref();
        let command = server.and_then(|server| server.command.as_deref()).unwrap_or_default();
        let Some((name, args)) = command.split_first() else {
            return Err(ToolFailure::new(FailureKind::LoadFailed, "the manifest has neither `mcp.command` nor `mcp.url`"));
        };
        let program = program::find(name, plugin, allowed, &settings.search_path)?;
        let identity = identity(plugin, allowed)?;
        let mut jail = Jail::new(sandbox_level(settings.level), Vec::new());
        jail.identity = identity;
        let scratch = scratch(settings, plugin, identity)?;
        let limits = &plugin.manifest.resource_limits;
        jail.scratch = Scratch {
            size_mb: limits.max_disk_mb.into(),
            inodes: INODES,
            host_dir: scratch.as_ref().map(|folder| folder.0.clone()),
        };
        jail.network = allowed.powers.keys().any(|power| power.is_network());
        jail.mounts = mounts(&program, plugin, allowed, jail.network)?;
        let home = home(settings, &program, plugin, identity)?;
        jail.mounts.extend(home.iter().map(|home| Mount::granted(home, Access::ReadWrite)));
        // What a launcher has downloaded must be executable; for every other server only what is installed, and so read-only, is.
        jail.spawn_allowed = program.is_launcher || allowed.powers.contains_key(&Permission::ProcessSpawn);
        jail.workdir.clone_from(&plugin.root);
        jail.control_is_input = true;
        let file_size = if program.is_launcher { 1024 } else { u64::from(limits.max_disk_mb) };
        jail.limits = Limits { open_files: 4096, file_size_mb: Some(file_size.max(1)), ..Limits::default() };
        let memory = memory_mb(plugin, &program);
        let enforced = groups.enforced();
        if !enforced.memory {
            jail.limits.data_mb = Some(memory);
        }
        jail.argv = argv(&program, args, allowed);
        jail.env = environment(settings, &jail, home.as_deref(), plugin, allowed)?;
        let group = if enforced.memory || enforced.pids || enforced.cpu { group(groups, plugin, memory) } else { None };
        jail.cgroups = group.iter().flat_map(Slot::procs_files).collect();
        let confined = sandbox::spawn(&settings.launcher, &jail, input).map_err(|error| {
            tracing::error!(plugin = %plugin.manifest.name, %error, "a sandbox could not be entered");
            ToolFailure::new(FailureKind::LoadFailed, "the server's sandbox could not be entered")
                .with_hint("ask the operator to run `pegboard doctor`")
        })?;
        Ok(Self { confined, group, _scratch: scratch })
    }

    /// Standard output and standard error, once.
    pub(crate) fn take_output(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        Some((self.confined.stdout.take()?, self.confined.stderr.take()?))
    }

    /// Whether the memory limit ended something in it.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.oom_kills() > 0)
    }

    /// Kills everything, unless it is ending by itself, and says how the first process ended. Blocks, not for long.
    pub(crate) fn end(mut self, patience: Duration) -> Option<Ended> {
        let began = std::time::Instant::now();
        let mut killed = false;
        loop {
            match self.confined.try_wait() {
                Ok(Some(ended)) => return Some(ended),
                Ok(None) if began.elapsed() < patience + END_LIMIT => {}
                _ => return None,
            }
            if !killed && began.elapsed() >= patience {
                self.confined.kill();
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn sandbox_level(level: Level) -> sandbox::Level {
    match level {
        Level::L0 => sandbox::Level::L0,
        Level::L1 => sandbox::Level::L1,
        // L3 is a container engine's; a process's strongest level is L2.
        Level::L2 | Level::L3 => sandbox::Level::L2,
    }
}

fn memory_mb(plugin: &Plugin, program: &Program) -> u64 {
    u64::from(plugin.manifest.max_memory_mb) + RUNTIME_MB + if program.is_launcher { LAUNCHER_MB } else { 0 }
}

fn group(groups: &Cgroups, plugin: &Plugin, memory_mb: u64) -> Option<Slot> {
    let limits = CgroupLimits {
        memory_bytes: Some(memory_mb << 20),
        pids: Some(TASKS),
        cpu_percent: Some(plugin.manifest.resource_limits.max_cpu_percent),
    };
    // No plugin's name begins with a capital letter, so no executor's groups are another's.
    let name = format!("Mcp-{}-{}", plugin.manifest.name, COUNTER.fetch_add(1, Ordering::Relaxed));
    groups
        .create(&name, &limits)
        .inspect_err(|error| tracing::warn!(plugin = %plugin.manifest.name, %error, "a control group could not be made"))
        .ok()
}

/// As root each server runs under a user of its own; where that user could not use a granted folder, as the folder's owner, but never as
/// root.
fn identity(plugin: &Plugin, allowed: &Allowed) -> Result<Option<Identity>, ToolFailure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    for (power, needed) in [(Permission::FileSystemWrite, 0o007), (Permission::FileSystemRead, 0o005)] {
        for folder in allowed.powers.get(&power).iter().flat_map(|scope| &scope.folders) {
            let owner = fs::metadata(folder).map_err(|_| folder_gone())?;
            if owner.mode() & needed == needed {
                continue;
            }
            if owner.uid() == 0 || owner.gid() == 0 {
                let problem = "a granted folder belongs to root, and a plugin never runs as root";
                return Err(ToolFailure::new(FailureKind::LoadFailed, problem)
                    .with_hint("ask the operator to give the folder another owner, or to run Pegboard as an ordinary user"));
            }
            return Ok(Some(Identity { uid: owner.uid(), gid: owner.gid(), exclusive: false }));
        }
    }
    // By name alone: what a launcher keeps in its cache belongs to this user, and the next start is to find it again.
    let digest = Digest::of([plugin.manifest.name.as_str().as_bytes()]);
    let number = u32::from_str_radix(digest.short().get(..7).unwrap_or("0"), 16).unwrap_or(0);
    let id = FIRST_UID + number % SPAN;
    Ok(Some(Identity { uid: id, gid: id, exclusive: false }))
}

fn folder_gone() -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, "a folder that was granted to this plugin does not exist any more")
        .with_hint("ask the operator to look at the grants of this plugin")
}

fn no_room(error: &io::Error) -> ToolFailure {
    tracing::error!(%error, "a folder for an upstream server could not be made");
    ToolFailure::new(FailureKind::LoadFailed, "a folder for the server could not be made in the cache")
}

fn own_folder(path: &Path, identity: Option<Identity>) -> io::Result<PathBuf> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)?;
    if let Some(identity) = identity {
        chown(path, Some(identity.uid), Some(identity.gid))?;
    }
    fs::canonicalize(path)
}

fn scratch(settings: &McpSettings, plugin: &Plugin, identity: Option<Identity>) -> Result<Option<Folder>, ToolFailure> {
    if settings.level >= Level::L2 {
        return Ok(None);
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    fs::create_dir_all(settings.cache.join("scratch")).map_err(|error| no_room(&error))?;
    let name = format!("mcp-{}-{}-{number}", plugin.manifest.name, std::process::id());
    let path = own_folder(&settings.cache.join("scratch").join(name), identity).map_err(|error| no_room(&error))?;
    Ok(Some(Folder(path)))
}

/// Where a package launcher keeps what it downloads, from one start to the next.
fn home(
    settings: &McpSettings,
    program: &Program,
    plugin: &Plugin,
    identity: Option<Identity>,
) -> Result<Option<PathBuf>, ToolFailure> {
    if !program.is_launcher {
        return Ok(None);
    }
    let above = settings.cache.join("upstream");
    fs::create_dir_all(&above).map_err(|error| no_room(&error))?;
    own_folder(&above.join(plugin.manifest.name.as_str()), identity).map(Some).map_err(|error| no_room(&error))
}

fn mounts(program: &Program, plugin: &Plugin, allowed: &Allowed, network: bool) -> Result<Vec<Mount>, ToolFailure> {
    let mut mounts = sandbox::system_mounts(network);
    mounts.extend(program.mounts.iter().cloned());
    // Launchers start what they installed through a shell.
    if program.is_launcher {
        mounts.extend(LAUNCHER_PROGRAMS.map(Mount::system_if_present));
    }
    // To start processes is to start the host's programs; without the power only the server's own installation is there.
    if allowed.powers.contains_key(&Permission::ProcessSpawn) {
        mounts.extend(["/bin", "/usr/bin", "/usr/libexec", "/usr/share/git-core"].map(Mount::system_if_present));
    }
    mounts.push(Mount::system(&plugin.root));
    let mut granted: BTreeMap<&PathBuf, Access> = BTreeMap::new();
    for (power, access) in [(Permission::FileSystemRead, Access::ReadOnly), (Permission::FileSystemWrite, Access::ReadWrite)] {
        for folder in allowed.powers.get(&power).iter().flat_map(|scope| &scope.folders) {
            // The path as it was granted: resolving it here would follow a link that a plugin made since.
            if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
                return Err(folder_gone());
            }
            granted.insert(folder, access);
        }
    }
    mounts.extend(granted.into_iter().map(|(folder, access)| Mount::granted(folder, access)));
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    mounts.dedup();
    Ok(mounts)
}

/// `$data` alone becomes one argument a granted folder, in their order.
fn argv(program: &Program, args: &[String], allowed: &Allowed) -> Vec<String> {
    let mut folders: Vec<String> =
        allowed.powers.values().flat_map(|scope| &scope.folders).map(|folder| folder.to_string_lossy().into_owned()).collect();
    folders.sort();
    folders.dedup();
    let mut argv = vec![program.path.to_string_lossy().into_owned()];
    for arg in args {
        if arg == "$data" {
            argv.extend(folders.iter().cloned());
        } else if arg.contains("$data") {
            argv.push(arg.replace("$data", folders.first().map_or("", String::as_str)));
        } else {
            argv.push(arg.clone());
        }
    }
    argv
}

fn environment(
    settings: &McpSettings,
    jail: &Jail,
    home: Option<&Path>,
    plugin: &Plugin,
    allowed: &Allowed,
) -> Result<BTreeMap<String, String>, ToolFailure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let scratch = jail.scratch_path().unwrap_or(Path::new("/"));
    let path = std::env::join_paths(&settings.search_path).unwrap_or_default().to_string_lossy().into_owned();
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), path),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("HOME".to_owned(), text(home.unwrap_or(scratch))),
        ("TMPDIR".to_owned(), text(scratch)),
    ]);
    if let Some(home) = home {
        for (name, folder) in
            [("npm_config_cache", "npm"), ("UV_CACHE_DIR", "uv"), ("UV_TOOL_DIR", "uv-tools"), ("XDG_CACHE_HOME", "cache")]
        {
            env.insert(name.to_owned(), text(&home.join(folder)));
        }
        env.extend(settings.package_environment.iter().cloned());
    }
    let given = plugin.manifest.mcp.iter().flat_map(|server| &server.env);
    for (name, value) in given {
        env.insert(name.clone(), secrets::filled(value, allowed)?);
    }
    Ok(env)
}
