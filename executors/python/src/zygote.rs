//! A running zygote: starts it in its jail, hears what it says, orders children. When to start and how many is the supervisor's.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use executor_api::{FailureKind, ToolFailure};
use rustix::fd::OwnedFd;
use serde_json::{Map, Value};
use tokio::{net::unix::pipe, sync::oneshot};

use crate::{
    child::Child,
    control::{Control, Message},
    exit::{Exit, signal_name},
    groups::Group,
    jail::Jailed,
    message::{BecomeOrder, FromZygote, MESSAGE_LIMIT, cut, fork_order},
};

/// Page size that `/proc/*/statm` counts in on every machine we build for.
const PAGE: u64 = 4096;
/// How much of what imports print is kept for a failure's detail.
const OUTPUT_KEPT: usize = 4 * 1024;

/// A confined interpreter with the plugin loaded.
#[derive(Debug)]
pub(crate) struct Zygote {
    control: Control,
    /// Dropping it ends the jail and everything in it.
    jail: Mutex<Option<Jailed>>,
    /// Process id in the host's view.
    pub(crate) pid: i32,
    /// What it said when it was ready.
    pub(crate) loaded: Loaded,
    group: Option<Arc<Group>>,
    exits: Mutex<HashMap<u64, oneshot::Sender<Exit>>>,
    /// Limits of a call that depend on how large the zygote is.
    limits: Vec<(u32, u64)>,
}

/// What a zygote says when it has loaded its plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaded {
    /// Tools whose code can't be loaded.
    pub(crate) faults: HashMap<String, ToolFailure>,
    /// Schemas derived from code.
    pub(crate) described: HashMap<String, Option<Map<String, Value>>>,
    /// Whether the worker module is there, so that children can be forked and confined.
    pub(crate) confines: bool,
    /// Interpreter version.
    pub(crate) python: String,
}

/// What a zygote tells its supervisor while it runs.
pub(crate) enum News {
    /// A child is coming; greet it off the zygote's ear.
    Child { socket: OwnedFd, log: OwnedFd, exit: oneshot::Receiver<Exit> },
    /// A fork failed.
    NotForked { errno: Option<i32> },
}

impl Zygote {
    /// Sends the start order and waits until the plugin is loaded.
    ///
    /// `limits_of` gives the limits of a call once the zygote's own size is known.
    pub(crate) async fn start(
        mut jail: Jailed,
        control: Control,
        order: &[u8],
        start_limit: Duration,
        limits_of: impl FnOnce(Size) -> Vec<(u32, u64)>,
    ) -> Result<Arc<Self>, ToolFailure> {
        let (pid, group) = (jail.pid(), jail.group());
        let output = OutputTail::follow(&mut jail);
        let loading = async {
            control.send(order).await.map_err(|error| broken(&format!("its first order could not be sent: {error}")))?;
            load(&control, pid).await
        };
        let loaded = tokio::time::timeout(start_limit, loading).await.unwrap_or_else(|_| {
            Err(ToolFailure::new(FailureKind::LoadFailed, format!("loading took longer than {} s", start_limit.as_secs()))
                .with_hint("imports and `initialize` must be quick; do slow work in the call"))
        });
        match loaded {
            Ok(loaded) => {
                let limits = limits_of(Size::of(pid));
                Ok(Arc::new(Self { control, jail: Mutex::new(Some(jail)), group, pid, loaded, exits: Mutex::default(), limits }))
            }
            Err(mut failure) => {
                let memory = jail.ran_out_of_memory();
                if let Some(signal) = jail.end().await.and_then(|ended| ended.signal) {
                    failure.message = format!("{} (ended by {})", failure.message, signal_name(signal));
                }
                if memory {
                    failure.message = format!("{}: its imports used up the memory", failure.message);
                }
                let text = output.text();
                if failure.detail.is_none() && !text.is_empty() {
                    failure.detail = Some(text);
                }
                Err(failure)
            }
        }
    }

    /// Threads of the zygote as the kernel counts them: a fork copies only one.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count)
    }

    /// Orders one child for each identity.
    pub(crate) async fn fork(&self, ids: &[u64]) -> io::Result<()> {
        self.control.send(&fork_order(ids, &self.limits)).await
    }

    /// Orders the zygote to serve one call itself.
    pub(crate) async fn become_child(&self, id: u64) -> io::Result<()> {
        self.control.send(&serde_json::to_vec(&BecomeOrder { id, limits: &self.limits })?).await
    }

    /// Hears one piece of news; `None` when the zygote is gone or broke the protocol.
    pub(crate) async fn hear(&self) -> Option<News> {
        loop {
            let message = match self.control.receive(MESSAGE_LIMIT).await {
                Ok(Some(message)) => message,
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(pid = self.pid, %error, "a zygote broke the control protocol");
                    return None;
                }
            };
            match self.understand(message) {
                Ok(Some(news)) => return Some(news),
                Ok(None) => {}
                Err(problem) => {
                    tracing::warn!(pid = self.pid, problem, "a zygote broke the control protocol");
                    return None;
                }
            }
        }
    }

    fn understand(&self, message: Message) -> Result<Option<News>, &'static str> {
        let said: FromZygote = serde_json::from_slice(&message.bytes).map_err(|_| "a message that can't be read")?;
        match said {
            FromZygote::Child { id } => {
                let [socket, log]: [OwnedFd; 2] = message.fds.try_into().map_err(|_| "a child without its two descriptors")?;
                let (sender, exit) = oneshot::channel();
                self.exits().insert(id, sender);
                Ok(Some(News::Child { socket, log, exit }))
            }
            FromZygote::NotForked { errno } => Ok(Some(News::NotForked { errno })),
            FromZygote::Exited { id, status, cpu_us } => {
                if let Some(sender) = self.exits().remove(&id) {
                    // Nobody waits for a child whose call ended well.
                    let _ = sender.send(Exit { status, cpu_us });
                }
                Ok(None)
            }
            FromZygote::TooLarge { what, bytes } => {
                tracing::warn!(pid = self.pid, what = cut(what, 64), bytes, "a zygote's message did not fit");
                Ok(None)
            }
            FromZygote::Ready { .. } | FromZygote::Failed { .. } | FromZygote::Described { .. } => Err("a second start"),
        }
    }

    fn exits(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Exit>>> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the jail for its end.
    pub(crate) fn take_jail(&self) -> Option<Jailed> {
        self.jail.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for a child's hello and takes hold of it.
    pub(crate) async fn greet(&self, socket: OwnedFd, log: OwnedFd, exit: oneshot::Receiver<Exit>) -> io::Result<Child> {
        Child::greet(socket, log, self.pid, exit, self.group.clone()).await
    }
}

/// Hears the zygote until it is ready or says why not. The last message must come from the jailed process itself, as the kernel attests.
async fn load(control: &Control, pid: i32) -> Result<Loaded, ToolFailure> {
    let mut loaded = Loaded::default();
    loop {
        let message = control.receive(MESSAGE_LIMIT).await.map_err(|error| broken(&error.to_string()))?;
        let Some(message) = message else {
            return Err(ToolFailure::new(FailureKind::LoadFailed, "the plugin's process ended while it was loading"));
        };
        let said = serde_json::from_slice(&message.bytes).map_err(|error| broken(&error.to_string()))?;
        match said {
            FromZygote::Described { tool, schema } => {
                loaded.described.insert(cut(tool, 64), schema);
            }
            FromZygote::TooLarge { what, bytes } => {
                tracing::warn!(what = cut(what, 64), bytes, "a derived schema did not fit and is left out");
            }
            FromZygote::Ready { faults, python, confines } => {
                if message.pid != Some(pid) {
                    return Err(broken("a message from another process"));
                }
                loaded.faults = faults.into_iter().map(|(tool, failure)| (tool, failure.into_failure())).collect();
                loaded.python = cut(python, 32);
                loaded.confines = confines;
                return Ok(loaded);
            }
            FromZygote::Failed { failure } => {
                let mut failure = failure.into_failure();
                failure.kind = FailureKind::LoadFailed;
                return Err(failure);
            }
            _ => return Err(broken("a message out of turn")),
        }
    }
}

fn broken(problem: &str) -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, format!("the plugin's process broke the worker protocol: {problem}"))
}

/// How large a process is, in bytes; limits of its children count from here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) address_space: u64,
    pub(crate) data: u64,
}

impl Size {
    fn of(pid: i32) -> Self {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: Vec<u64> = statm.split_whitespace().map(|pages| pages.parse().unwrap_or(0)).collect();
        // Fields of proc(5): total size first, data and stack sixth.
        let bytes = |field: usize| pages.get(field).copied().unwrap_or(0) * PAGE;
        Self { address_space: bytes(0), data: bytes(5) }
    }
}

/// The end of what a zygote prints while it loads; later output is read and dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputTail(Arc<Mutex<Vec<u8>>>);

impl OutputTail {
    pub(crate) fn follow(jail: &mut Jailed) -> Self {
        let tail = Self::default();
        for pipe in jail.take_output() {
            let tail = tail.clone();
            if let Err(error) = rustix::io::ioctl_fionbio(&pipe, true) {
                tracing::warn!(%error, "a zygote's output can't be followed");
                continue;
            }
            match pipe::Receiver::from_owned_fd(pipe) {
                Ok(pipe) => drop(tokio::spawn(async move { tail.read(pipe).await })),
                Err(error) => tracing::warn!(%error, "a zygote's output can't be followed"),
            }
        }
        tail
    }

    async fn read(&self, pipe: pipe::Receiver) {
        let mut space = vec![0u8; 4096];
        while pipe.readable().await.is_ok() {
            match pipe.try_read(&mut space) {
                Ok(0) => return,
                Ok(got) => {
                    let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&space[..got]);
                    let surplus = kept.len().saturating_sub(OUTPUT_KEPT);
                    kept.drain(..surplus);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned()
    }
}
