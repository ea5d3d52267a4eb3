//! How many calls of one plugin run at once, and how many may wait. One more is refused at once instead of piling up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The door of one plugin.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Permits of calls that may run.
    running: Arc<Semaphore>,
    /// Calls that wait for a permit now.
    waiting: AtomicUsize,
    /// Calls that may run at once.
    limit: usize,
    /// Calls that may wait.
    queue: usize,
}

/// The queue of the plugin is full.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
}

/// Counts itself out, also when the waiting call is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    pub(crate) fn new(limit: usize, queue: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        Self { running: Arc::new(Semaphore::new(limit)), waiting: AtomicUsize::new(0), limit, queue }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits for a place in order of arrival.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        let full = || Full { running: self.limit, waiting: self.queue };
        if before >= self.queue {
            return Err(full());
        }
        self.running.clone().acquire_owned().await.map_err(|_closed| full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_only_beyond_the_queue_and_frees_places() {
        let gate = Arc::new(Gate::new(1, 1));
        let first = gate.enter().await.expect("a free place");
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.map(drop).is_ok() }
        });
        while gate.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.enter().await.is_err());
        drop(first);
        assert!(second.await.expect("no panic"));
        assert_eq!(gate.waiting(), 0);
        assert!(gate.enter().await.is_ok());
    }
}
