//! One container: made, started, waited for, called, watched, and asked how it ended.
//!
//! How many there are and which one serves a call is the supervisor's.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bollard::{
    models::{ContainerInspectResponse, VolumeCreateRequest},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
    },
};
use executor_api::{FailureKind, ToolFailure};
use futures::StreamExt as _;
use hyper::Method;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::{
    Parts, contract,
    engine::{self, Connected, EngineKind},
    plan::Plan,
    walls::{self, User},
    wire::{Answer, Door, Wire, WireError},
};

/// The first pause between two questions after health at the start, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of an answer to the health question.
const HEALTH_ANSWER: usize = 64 << 10;
/// Lines of a container's output that go with its failure, and their bytes.
const LAST_LINES: &str = "30";
const LAST_BYTES: usize = 8 << 10;

/// A container that serves calls.
pub(crate) struct Replica {
    pub(crate) id: String,
    /// Counts the replicas of this host; names its folder and its container.
    pub(crate) number: u64,
    parts: Arc<Parts>,
    folder: PathBuf,
    wire: OnceLock<Wire>,
    load: AtomicUsize,
    /// Cancelled when it is not to be used any more.
    pub(crate) gone: CancellationToken,
    /// Whether it was we who ended it: then its exit code says nothing.
    ended_by_us: AtomicBool,
    autopsy: OnceCell<ToolFailure>,
    /// Asks for a look at its health before the next is due.
    pub(crate) look: Notify,
}

/// A call that runs in it; over when it is dropped.
pub(crate) struct Load<'a>(&'a Replica);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Replica {
    /// Makes and starts a container, and waits until it is healthy. Once this has begun it ends with a replica or with nothing left behind.
    ///
    /// # Errors
    /// What the caller of a tool is told.
    pub(crate) async fn start(
        parts: &Arc<Parts>,
        plugin: &str,
        plan: &Plan,
        image: &str,
        ending: &CancellationToken,
    ) -> Result<Arc<Self>, ToolFailure> {
        let connected = parts.engine.get().await?;
        let number = parts.count.fetch_add(1, Ordering::Relaxed);
        let folder = parts.instance.folder.join(number.to_string());
        let user = User::inside();
        let local =
            |error: io::Error| ToolFailure::new(FailureKind::Internal, format!("the socket's folder can't be made: {error}"));
        open_folder(&folder, user, connected.facts.rootless).map_err(local)?;
        let id = match create(parts, &connected, plugin, plan, image, user, &folder, number).await {
            Ok(id) => id,
            Err(failure) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(failure);
            }
        };
        let replica = Arc::new(Self {
            id,
            number,
            parts: Arc::clone(parts),
            folder,
            wire: OnceLock::new(),
            load: AtomicUsize::new(0),
            gone: CancellationToken::new(),
            ended_by_us: AtomicBool::new(false),
            autopsy: OnceCell::new(),
            look: Notify::new(),
        });
        let began = Instant::now();
        let started = tokio::select! {
            started = replica.begin(&connected, plan) => started,
            () = ending.cancelled() => Err(ToolFailure::new(FailureKind::Unavailable, "the plugin was ended while it started").with_hint("try again")),
        };
        match started {
            Ok(()) => {
                tracing::info!(
                    plugin,
                    replica = replica.number,
                    container = short(&replica.id),
                    door = replica.door(),
                    ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "container started"
                );
                Ok(replica)
            }
            Err(failure) => {
                replica.end().await;
                Err(failure)
            }
        }
    }

    async fn begin(&self, connected: &Connected, plan: &Plan) -> Result<(), ToolFailure> {
        let docker = &connected.docker;
        let started = docker.start_container(&self.id, None::<StartContainerOptions>).await;
        started.map_err(|error| self.parts.engine.failed("starting the container", &error))?;
        let deadline = tokio::time::Instant::now() + self.parts.settings.start_limit;
        let (mut pause, mut doors, mut said) = (FIRST_PAUSE, None, "it does not listen".to_owned());
        let mut looked = Instant::now();
        loop {
            if doors.is_none() {
                doors = self.doors(connected, plan).await?;
            }
            for door in doors.iter().flatten() {
                match self.try_door(door, plan).await {
                    Ok(wire) => {
                        let _ = self.wire.set(wire);
                        return Ok(());
                    }
                    Err(Some(problem)) => said = problem,
                    Err(None) => {}
                }
            }
            // A container that ended will not get healthy.
            if looked.elapsed() > LONGEST_PAUSE {
                looked = Instant::now();
                if let Some(failure) = self.has_ended().await {
                    return Err(not_started(failure));
                }
            }
            if tokio::time::Instant::now() > deadline {
                let seconds = self.parts.settings.start_limit.as_secs_f64();
                let failure = ToolFailure::new(
                    FailureKind::LoadFailed,
                    format!("the container was not healthy within {seconds} s of its start: {said}"),
                );
                return Err(self.with_output(failure).await);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks after health through one door. `None` where nobody listens.
    async fn try_door(&self, door: &Door, plan: &Plan) -> Result<Wire, Option<String>> {
        if matches!(door, Door::Socket(path) if !path.exists()) {
            return Err(None);
        }
        let wire = Wire::new(door.clone());
        match health(&wire, plan).await {
            Ok(()) => Ok(wire),
            Err(Unhealthy::Unreached) => Err(None),
            Err(Unhealthy::Says(problem)) => Err(Some(problem)),
        }
    }

    /// The ways in; `None` while the engine does not say what there is to know.
    async fn doors(&self, connected: &Connected, plan: &Plan) -> Result<Option<Vec<Door>>, ToolFailure> {
        let inspected = connected.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await;
        let found = inspected.map_err(|error| self.parts.engine.failed("looking at the container", &error))?;
        let pid = found.state.as_ref().and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let mut doors = vec![Door::Socket(self.folder.join(walls::SOCKET))];
        if let Some(pid) = pid.filter(|_| rustix::process::geteuid().is_root()) {
            doors.push(Door::Inside { pid, container: self.id.clone(), port: plan.port });
        }
        if plan.network {
            doors.extend(addresses(&found, plan.port));
        }
        Ok((pid.is_some() || doors.len() > 1).then_some(doors))
    }

    /// How it is reached.
    pub(crate) fn door(&self) -> &'static str {
        self.wire.get().map_or("none", |wire| wire.door().word())
    }

    /// How many calls run in it.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Acquire)
    }

    /// One more call runs in it.
    pub(crate) fn take(&self) -> Load<'_> {
        self.load.fetch_add(1, Ordering::AcqRel);
        Load(self)
    }

    /// Asks it something.
    pub(crate) async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<hyper::body::Bytes>,
        limit: usize,
    ) -> Result<Answer, WireError> {
        match self.wire.get() {
            Some(wire) => wire.ask(method, path, body, limit).await,
            None => Err(WireError::Unreached(io::Error::other("it is not ready"))),
        }
    }

    /// Asks after its health.
    pub(crate) async fn is_healthy(&self, plan: &Plan) -> Result<(), String> {
        let Some(wire) = self.wire.get() else { return Err("it is not ready".to_owned()) };
        health(wire, plan).await.map_err(|unhealthy| match unhealthy {
            Unhealthy::Unreached => "it does not listen any more".to_owned(),
            Unhealthy::Says(problem) => problem,
        })
    }

    /// How it ended, when it has; asked of the engine.
    pub(crate) async fn has_ended(&self) -> Option<ToolFailure> {
        if let Some(known) = self.autopsy.get() {
            return Some(known.clone());
        }
        let connected = self.parts.engine.get().await.ok()?;
        let found = match connected.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await {
            Ok(found) => found,
            Err(error) if engine::is_absent(&error) => {
                // By the operator, or with its engine: no fault of the plugin's.
                return Some(ToolFailure::new(FailureKind::Unavailable, "the container was removed").with_hint("try again"));
            }
            Err(error) => {
                drop(self.parts.engine.failed("looking at the container", &error));
                return None;
            }
        };
        let state = found.state?;
        if state.running.unwrap_or(false) || state.status.is_some_and(|status| is_early(status.as_ref())) {
            return None;
        }
        let looked = self.autopsy.get_or_init(|| async {
            let code = state.exit_code.unwrap_or_default();
            let ours = self.ended_by_us.load(Ordering::Acquire);
            // Podman does not say that it was memory; a kill that was not ours is taken for it.
            let failure = if state.oom_killed.unwrap_or(false) || (code == 137 && !ours) {
                ToolFailure::new(FailureKind::OutOfMemory, "the container used up its memory, and was killed")
            } else {
                let why = state.error.filter(|error| !error.is_empty()).map(|error| format!(": {error}")).unwrap_or_default();
                ToolFailure::new(FailureKind::Crashed, format!("the container ended with exit code {code}{why}"))
            };
            self.with_output(failure).await
        });
        Some(looked.await.clone())
    }

    /// The end of what it wrote, as the failure's detail.
    async fn with_output(&self, mut failure: ToolFailure) -> ToolFailure {
        let Ok(connected) = self.parts.engine.get().await else { return failure };
        let options = LogsOptions { stdout: true, stderr: true, tail: LAST_LINES.to_owned(), ..Default::default() };
        let mut lines = connected.docker.logs(&self.id, Some(options));
        let mut text = String::new();
        let reading = async {
            while let Some(Ok(line)) = lines.next().await {
                text.push_str(&String::from_utf8_lossy(line.as_ref()));
                if text.len() > LAST_BYTES {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(2), reading).await);
        let text: String = text.trim().chars().take(LAST_BYTES).collect();
        failure.detail = Some(text).filter(|text| !text.is_empty());
        failure
    }

    /// Removes the container, whatever it does.
    pub(crate) async fn end(&self) {
        self.ended_by_us.store(true, Ordering::Release);
        self.gone.cancel();
        remove(&self.parts, &self.id).await;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes a container; one that is not there is removed.
pub(crate) async fn remove(parts: &Parts, id: &str) {
    let Ok(connected) = parts.engine.get().await else { return };
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match connected.docker.remove_container(id, Some(options)).await {
        Ok(()) => {}
        Err(error) if engine::is_absent(&error) => {}
        Err(error) => tracing::warn!(
            container = short(id),
            problem = parts.engine.failed("removing", &error).message,
            "a container could not be removed"
        ),
    }
}

/// The first digits of an identity.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

enum Unhealthy {
    Unreached,
    Says(String),
}

async fn health(wire: &Wire, plan: &Plan) -> Result<(), Unhealthy> {
    let asked = wire.ask(&Method::GET, &plan.health.path, None, HEALTH_ANSWER);
    match tokio::time::timeout(plan.health.timeout, asked).await {
        Err(_) => Err(Unhealthy::Says(format!("it did not say how it is within {} s", plan.health.timeout.as_secs_f64()))),
        Ok(Err(WireError::Unreached(_))) => Err(Unhealthy::Unreached),
        Ok(Err(error)) => Err(Unhealthy::Says(error.to_string())),
        Ok(Ok(answer)) => contract::healthy(&answer).map_err(Unhealthy::Says),
    }
}

fn is_early(status: &str) -> bool {
    matches!(status, "created" | "configured" | "initialized" | "restarting" | "paused" | "stopping" | "removing" | "")
}

/// A crash at the start is a plugin that can't be loaded; memory stays memory.
fn not_started(failure: ToolFailure) -> ToolFailure {
    let kind = if failure.kind == FailureKind::Crashed { FailureKind::LoadFailed } else { failure.kind };
    ToolFailure { kind, message: format!("the container did not get healthy: {}", failure.message), ..failure }
}

/// A folder that the user inside may put a socket into. Only we can reach it from outside: the folder above is closed.
fn open_folder(folder: &PathBuf, user: User, rootless: bool) -> io::Result<()> {
    fs::create_dir(folder)?;
    if rootless {
        // There the user inside is somebody that only the engine knows.
        return fs::set_permissions(folder, fs::Permissions::from_mode(0o777));
    }
    chown(folder, Some(user.uid), Some(user.gid))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[expect(clippy::too_many_arguments, reason = "all that a container is made of")]
async fn create(
    parts: &Parts,
    connected: &Connected,
    plugin: &str,
    plan: &Plan,
    image: &str,
    user: User,
    folder: &std::path::Path,
    number: u64,
) -> Result<String, ToolFailure> {
    let docker = &connected.docker;
    let mut volumes = Vec::new();
    for volume in &plan.volumes {
        let name = format!("pegboard-{}-{plugin}-{}", parts.instance.name, volume.name);
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".to_owned()),
            driver_opts: Some(walls::volume_options(plan, user)),
            labels: Some(parts.instance.labels(plugin)),
            ..Default::default()
        };
        docker.create_volume(request).await.map_err(|error| parts.engine.failed("making a volume", &error))?;
        volumes.push(name);
    }
    let publish = plan.network && (plan.host_port.is_some() || !rustix::process::geteuid().is_root());
    let room = walls::Room { socket_folder: folder, volumes: &volumes, podman: connected.facts.kind == EngineKind::Podman };
    let body = walls::body(plan, image, parts.instance.labels(plugin), user, &room, publish);
    let name = format!("pegboard-{plugin}-{}-{number}", parts.instance.name);
    let options = CreateContainerOptions { name: Some(name), ..Default::default() };
    let made = docker.create_container(Some(options), body).await;
    made.map(|made| made.id).map_err(|error| parts.engine.failed("making the container", &error))
}

/// Addresses on its network, and published on our loopback.
fn addresses(found: &ContainerInspectResponse, port: u16) -> Vec<Door> {
    let Some(network) = &found.network_settings else { return Vec::new() };
    let own = network.networks.iter().flat_map(|networks| networks.values()).filter_map(|endpoint| {
        let address: std::net::IpAddr = endpoint.ip_address.as_ref()?.parse().ok()?;
        Some(Door::Address((address, port).into()))
    });
    let published = network.ports.iter().flat_map(|ports| ports.values()).flatten().flatten().filter_map(|binding| {
        let host: u16 = binding.host_port.as_ref()?.parse().ok().filter(|host| *host != 0)?;
        Some(Door::Address(([127, 0, 0, 1], host).into()))
    });
    published.chain(own).collect()
}
