//! What an executor keeps for its plugins between calls: made at the first use, at most so many warm, ended when idle, one for exactly this
//! manifest with exactly these powers.
//!
//! What is kept, and how it starts, serves and ends, is each executor's own.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use policy::{Allowed, Plugin};
use tokio_util::sync::CancellationToken;

use crate::PluginState;

/// What an executor keeps for one plugin: its processes, or its connection.
pub trait Kept: Send + Sync + 'static {
    /// The plugin that it was made for.
    fn plugin(&self) -> &Arc<Plugin>;

    /// The powers that it was made with.
    fn allowed(&self) -> &Arc<Allowed>;

    /// Whether it was made for exactly this plugin with exactly these powers.
    fn fits(&self, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> bool {
        let (ours, held) = (self.plugin(), self.allowed());
        (Arc::ptr_eq(ours, plugin) || (ours.content == plugin.content && ours.root == plugin.root))
            && (Arc::ptr_eq(held, allowed) || held == allowed)
    }

    /// Whether anything of it runs.
    fn is_warm(&self) -> bool;

    /// How long it has not been used; nothing while it is (see [`Busy`]).
    fn idle(&self) -> Duration;

    /// Gives back what it holds beyond need. Asked now and then while it is warm and not used.
    fn shrink(&self) {}

    /// Ends all that runs; a later call starts it again.
    fn stop(&self) -> BoxFuture<'_, ()>;

    /// For `doctor`, metrics and logs.
    fn state(&self) -> PluginState;
}

/// Counts the calls that run and remembers when the last one ended: what is in use is neither idle nor in anybody's way.
#[derive(Debug)]
pub struct Busy {
    running: AtomicUsize,
    last: Mutex<Instant>,
}

/// A call that runs; over when it is dropped.
#[derive(Debug)]
pub struct InUse<'a>(&'a Busy);

impl Default for Busy {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }
}

impl Busy {
    /// A call begins.
    #[must_use]
    pub fn begin(&self) -> InUse<'_> {
        self.running.fetch_add(1, Ordering::AcqRel);
        InUse(self)
    }

    /// How long no call has run; nothing while one runs.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.running.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct KeepLimits {
    /// Plugins that are warm at once; one more ends the one that was used longest ago, unless all are in use.
    pub warm: usize,
    /// What is not used for longer is ended.
    pub idle: Duration,
    /// How often that is looked for.
    pub sweep: Duration,
}

/// The plugins of one executor.
pub struct KeptPlugins<K> {
    known: Mutex<HashMap<String, Arc<K>>>,
    limits: KeepLimits,
    sweeping: AtomicBool,
    stopping: CancellationToken,
}

impl<K> fmt::Debug for KeptPlugins<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptPlugins").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<K: Kept> KeptPlugins<K> {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: KeepLimits) -> Arc<Self> {
        let (known, sweeping) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { known, limits, sweeping, stopping: CancellationToken::new() })
    }

    /// What is kept for exactly this plugin with exactly these powers, made if need be; what was kept for anything else under its name is
    /// ended first, so that nothing runs on that was changed or taken back.
    pub async fn get(self: &Arc<Self>, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>, make: impl FnOnce() -> K) -> Arc<K> {
        self.sweep();
        let name = plugin.manifest.name.as_str();
        let (current, old) = {
            let mut known = self.known();
            match known.get(name) {
                Some(kept) if kept.fits(plugin, allowed) => (Arc::clone(kept), None),
                _ => {
                    let new = Arc::new(make());
                    let old = known.insert(name.to_owned(), Arc::clone(&new));
                    (new, old)
                }
            }
        };
        if let Some(old) = old {
            old.stop().await;
        }
        self.make_room(name).await;
        current
    }

    /// Everything that is kept.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.known().values().cloned().collect()
    }

    /// Ends and forgets what is kept for a plugin.
    pub fn retire(&self, plugin: &str) -> BoxFuture<'static, ()> {
        let old = self.known().remove(plugin);
        Box::pin(async move {
            if let Some(old) = old {
                old.stop().await;
            }
        })
    }

    /// What runs now.
    #[must_use]
    pub fn states(&self) -> Vec<PluginState> {
        self.known().values().map(|kept| kept.state()).collect()
    }

    /// Ends everything, for good.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        let all: Vec<Arc<K>> = self.known().drain().map(|(_, kept)| kept).collect();
        join_all(all.iter().map(|kept| kept.stop())).await;
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<K>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make_room(&self, newcomer: &str) {
        let tired: Vec<Arc<K>> = {
            let known = self.known();
            if known.get(newcomer).is_some_and(|kept| kept.is_warm()) {
                return;
            }
            let warm = known.values().filter(|kept| kept.is_warm());
            let surplus = (warm.clone().count() + 1).saturating_sub(self.limits.warm);
            // One that serves a call is not ended for the sake of another: then there are too many for a while.
            let mut resting: Vec<(Duration, &Arc<K>)> =
                warm.map(|kept| (kept.idle(), kept)).filter(|(idle, _)| !idle.is_zero()).collect();
            resting.sort_by_key(|(idle, _)| std::cmp::Reverse(*idle));
            resting.into_iter().take(surplus).map(|(_, kept)| Arc::clone(kept)).collect()
        };
        join_all(tired.iter().map(|kept| kept.stop())).await;
    }

    /// Ends what is idle, from a task that starts with the first use and ends with its owner.
    fn sweep(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let (owner, stopping, limits) = (Arc::downgrade(self), self.stopping.clone(), self.limits);
        drop(tokio::spawn(async move {
            let mut tick = tokio::time::interval(limits.sweep.min(limits.idle).max(Duration::from_millis(10)));
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = stopping.cancelled() => return,
                }
                let Some(owner) = owner.upgrade() else { return };
                for kept in owner.all().into_iter().filter(|kept| kept.is_warm()) {
                    if kept.idle() > limits.idle {
                        kept.stop().await;
                    } else if kept.idle() > limits.sweep {
                        kept.shrink();
                    }
                }
            }
        }));
    }
}
