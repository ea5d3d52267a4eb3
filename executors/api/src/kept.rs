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

/// The longest that a plugin's last calls are waited for: no call has more time (`max_execution_time`), and what hangs beyond it is ended.
const LONGEST_FINISH: Duration = Duration::from_secs(3_600);
/// How often one looks whether they are over.
const LOOK: Duration = Duration::from_millis(20);

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
    /// What nobody finds any more and whose last calls still run.
    finishing: Mutex<Vec<Arc<K>>>,
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
        let (known, finishing, sweeping) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { known, finishing, limits, sweeping, stopping: CancellationToken::new() })
    }

    /// What is kept for exactly this plugin with exactly these powers, made if need be. What was kept with other powers under its name is ended
    /// first, so that nothing runs on with what was taken back; what only holds other content finishes its calls.
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
        match old {
            Some(old) if old.allowed() == allowed => self.let_finish(old),
            Some(old) => old.stop().await,
            None => {}
        }
        self.make_room(name).await;
        current
    }

    /// Everything that is kept.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.known().values().cloned().collect()
    }

    /// Ends and forgets what is kept for a plugin, its last calls included.
    pub fn retire(&self, plugin: &str) -> BoxFuture<'static, ()> {
        let mut all: Vec<Arc<K>> = self.known().remove(plugin).into_iter().collect();
        all.extend(self.finishing().iter().filter(|kept| kept.plugin().manifest.name.as_str() == plugin).cloned());
        Box::pin(async move {
            join_all(all.iter().map(|kept| kept.stop())).await;
        })
    }

    /// Forgets what is kept for a plugin, and ends it when its last call is over.
    pub fn finish(self: &Arc<Self>, plugin: &str) -> BoxFuture<'static, ()> {
        let old = self.known().remove(plugin);
        if let Some(old) = old {
            self.let_finish(old);
        }
        Box::pin(std::future::ready(()))
    }

    fn let_finish(self: &Arc<Self>, old: Arc<K>) {
        self.finishing().push(Arc::clone(&old));
        let (owner, stopping) = (Arc::downgrade(self), self.stopping.clone());
        drop(tokio::spawn(async move {
            let over = async {
                while old.idle().is_zero() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(LONGEST_FINISH, over) => {}
                () = stopping.cancelled() => {}
            }
            old.stop().await;
            if let Some(owner) = owner.upgrade() {
                owner.finishing().retain(|kept| !Arc::ptr_eq(kept, &old));
            }
        }));
    }

    /// What runs now.
    #[must_use]
    pub fn states(&self) -> Vec<PluginState> {
        self.known().values().map(|kept| kept.state()).collect()
    }

    /// Ends everything, for good.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        let mut all: Vec<Arc<K>> = self.known().drain().map(|(_, kept)| kept).collect();
        all.append(&mut self.finishing());
        join_all(all.iter().map(|kept| kept.stop())).await;
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<K>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finishing(&self) -> MutexGuard<'_, Vec<Arc<K>>> {
        self.finishing.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use manifest_schema::Digest;
    use policy::{Level, Source};

    use super::*;

    struct Fake {
        plugin: Arc<Plugin>,
        allowed: Arc<Allowed>,
        busy: Busy,
        stopped: AtomicBool,
    }

    impl Kept for Fake {
        fn plugin(&self) -> &Arc<Plugin> {
            &self.plugin
        }

        fn allowed(&self) -> &Arc<Allowed> {
            &self.allowed
        }

        fn is_warm(&self) -> bool {
            !self.stopped()
        }

        fn idle(&self) -> Duration {
            self.busy.idle()
        }

        fn stop(&self) -> BoxFuture<'_, ()> {
            self.stopped.store(true, Ordering::Release);
            Box::pin(std::future::ready(()))
        }

        fn state(&self) -> PluginState {
            unreachable!("nobody asks here")
        }
    }

    impl Fake {
        fn stopped(&self) -> bool {
            self.stopped.load(Ordering::Acquire)
        }
    }

    fn plugin(content: &str) -> Arc<Plugin> {
        let text = "name: one\nversion: 1.0.0\ndescription: A plugin of the tests\nmcps:\n  - {name: tool, description: Does it, class_name: T, args_schema: {type: object}}\n";
        let manifest = manifest_schema::parse("plugin.yaml", text).unwrap();
        Arc::new(Plugin { manifest, root: "/one".into(), source: Source::Store, content: Digest::of([content.as_bytes()]) })
    }

    fn plugins() -> Arc<KeptPlugins<Fake>> {
        KeptPlugins::new(KeepLimits { warm: 4, idle: Duration::from_secs(60), sweep: Duration::from_secs(60) })
    }

    async fn get(plugins: &Arc<KeptPlugins<Fake>>, content: &str, allowed: &Arc<Allowed>) -> Arc<Fake> {
        let plugin = plugin(content);
        let make = || Fake {
            plugin: Arc::clone(&plugin),
            allowed: Arc::clone(allowed),
            busy: Busy::default(),
            stopped: AtomicBool::new(false),
        };
        plugins.get(&plugin, allowed, make).await
    }

    async fn until_stopped(fake: &Fake) {
        let stopped = async {
            while !fake.stopped() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), stopped).await.unwrap();
    }

    #[tokio::test]
    async fn other_content_lets_calls_finish_and_other_powers_do_not() {
        let (plugins, powers) = (plugins(), Arc::new(Allowed::default()));
        let old = get(&plugins, "1", &powers).await;
        let call = old.busy.begin();
        let new = get(&plugins, "2", &powers).await;
        assert!(!Arc::ptr_eq(&old, &new));
        tokio::time::sleep(3 * LOOK).await;
        assert!(!old.stopped(), "its call runs");
        drop(call);
        until_stopped(&old).await;
        assert!(!new.stopped());

        let _call = new.busy.begin();
        let fewer = Arc::new(Allowed { least_level: Some(Level::L2), ..Allowed::default() });
        get(&plugins, "2", &fewer).await;
        assert!(new.stopped(), "nothing runs on with powers that were taken back");
    }

    #[tokio::test]
    async fn what_finishes_is_ended_by_a_retirement_and_by_the_end_of_all() {
        let (plugins, powers) = (plugins(), Arc::new(Allowed::default()));
        let old = get(&plugins, "1", &powers).await;
        let _call = old.busy.begin();
        plugins.finish("one").await;
        assert!(!old.stopped() && plugins.all().is_empty());
        plugins.retire("other").await;
        assert!(!old.stopped());
        plugins.retire("one").await;
        assert!(old.stopped());

        let last = get(&plugins, "3", &powers).await;
        let _call = last.busy.begin();
        plugins.finish("one").await;
        plugins.shutdown().await;
        assert!(last.stopped());
    }
}
