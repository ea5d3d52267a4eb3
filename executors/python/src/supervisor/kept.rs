//! A supervisor as the executor keeps it: whether it is warm, how it rests and ends, and how it shows itself.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use executor_api::{FailureKind, PluginState, ToolFailure};
use futures::future::BoxFuture;
use policy::{Allowed, Plugin};

use super::{BREAKER, CLEANUP_GRACE, Kept, Road, Supervisor};

impl executor_api::Kept for Supervisor {
    fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    fn allowed(&self) -> &Arc<Allowed> {
        &self.allowed
    }

    /// Whether processes are there.
    fn is_warm(&self) -> bool {
        self.warm.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn idle(&self) -> Duration {
        self.busy.idle()
    }

    /// Gives back what growth ordered.
    fn shrink(&self) {
        let warm = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone();
        for child in warm.iter().flat_map(|warm| warm.pool.shrink()) {
            drop(child);
        }
    }

    /// Ends every process. Kept children get a moment for `cleanup`.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _life = self.life.lock().await;
            let warm = self.warm.write().unwrap_or_else(PoisonError::into_inner).take();
            let kept: Vec<Kept> =
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, kept)| kept).collect();
            for place in kept {
                let child = place.try_lock().ok().and_then(|mut place| place.take());
                if let Some((child, _)) = child {
                    child.dismiss(CLEANUP_GRACE).await;
                }
            }
            let Some(warm) = warm else { return };
            self.close(&warm, &ToolFailure::new(FailureKind::Unavailable, "the plugin is being stopped"));
        })
    }

    /// What runs now.
    fn state(&self) -> PluginState {
        let warm = self.warm.read().unwrap_or_else(PoisonError::into_inner).clone();
        let life = self.life.try_lock();
        let backing_off = life.as_ref().is_ok_and(|life| life.retry_at.is_some_and(|at| at > Instant::now()));
        let failures = life.as_ref().map_or(0, |life| life.failures);
        let state = match (&warm, &life) {
            (Some(_), _) => "warm",
            (None, Err(_)) => "preparing",
            (None, Ok(life)) if life.preparing => "preparing",
            (None, _) if backing_off && failures >= BREAKER => "broken",
            (None, _) if backing_off => "backing_off",
            _ => "idle",
        };
        let road = match warm.as_ref().map(|warm| &warm.road) {
            Some(Road::Fork(_)) => "zygote".to_owned(),
            Some(Road::Spawn { reason, .. }) => format!("spawn: {reason}"),
            None => String::new(),
        };
        let ready = warm.as_ref().map_or(0, |warm| warm.pool.ready());
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).len();
        PluginState {
            plugin: self.plugin.manifest.name.to_string(),
            state,
            level: warm.is_some().then_some(self.parts.level),
            road,
            ready,
            processes: warm.as_ref().map_or(0, |_| ready + kept + 1),
            starts: life.as_ref().map_or(0, |life| life.starts),
            problem: life.ok().and_then(|life| life.problem.as_ref().map(ToString::to_string)),
        }
    }
}
