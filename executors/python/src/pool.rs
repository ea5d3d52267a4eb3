//! Children that wait for calls, and calls that wait for children. Knows neither how a child is made nor what it runs.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use executor_api::ToolFailure;
use tokio::sync::oneshot;

use crate::child::Child;

/// The pool of one warm plugin. No lock is held across an await.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    floor: usize,
    ceiling: usize,
}

#[derive(Debug)]
struct State {
    ready: VecDeque<Child>,
    waiters: VecDeque<oneshot::Sender<Result<Child, ToolFailure>>>,
    /// Ordered and not here yet.
    coming: usize,
    /// How many should be ready when nobody waits; grows with the queue, shrinks when idle.
    target: usize,
    /// Children lost before they were ready, in a row.
    lost: usize,
    /// Set once: nothing comes any more.
    closed: Option<ToolFailure>,
}

/// A child, or a place in the queue.
#[derive(Debug)]
pub(crate) enum Taken {
    /// At once.
    Now(Child),
    /// Later, or a failure.
    Later(oneshot::Receiver<Result<Child, ToolFailure>>),
}

impl Pool {
    pub(crate) fn new(floor: usize, ceiling: usize) -> Self {
        let state =
            State { ready: VecDeque::new(), waiters: VecDeque::new(), coming: 0, target: floor.max(1), lost: 0, closed: None };
        Self { state: Mutex::new(state), floor: floor.max(1), ceiling: ceiling.max(floor.max(1)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest ready child, or a place in the queue.
    pub(crate) fn take(&self) -> Result<Taken, ToolFailure> {
        let mut state = self.lock();
        if let Some(failure) = &state.closed {
            return Err(failure.clone());
        }
        if let Some(child) = state.ready.pop_front() {
            return Ok(Taken::Now(child));
        }
        state.target = (state.target + 1).min(self.ceiling);
        let (sender, receiver) = oneshot::channel();
        state.waiters.push_back(sender);
        Ok(Taken::Later(receiver))
    }

    /// How many children to order now; they count as coming from here on.
    pub(crate) fn order(&self) -> usize {
        let mut state = self.lock();
        state.waiters.retain(|waiter| !waiter.is_closed());
        if state.closed.is_some() {
            return 0;
        }
        let wanted = (state.target + state.waiters.len()).min(self.ceiling + state.waiters.len());
        let missing = wanted.saturating_sub(state.ready.len() + state.coming);
        state.coming += missing;
        missing
    }

    /// Whether a call would have to wait and nothing is coming for it.
    pub(crate) fn is_dry(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.coming <= state.waiters.len()
    }

    /// A child is ready: the longest waiting call gets it.
    pub(crate) fn arrive(&self, child: Child) {
        let mut state = self.lock();
        state.coming = state.coming.saturating_sub(1);
        state.lost = 0;
        let mut child = child;
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(Ok(child)) {
                Ok(()) => return,
                // That call has given up; the next one gets the child.
                Err(Ok(back)) => child = back,
                Err(Err(_)) => return,
            }
        }
        if state.closed.is_none() {
            state.ready.push_back(child);
        }
    }

    /// A child was lost before it was ready. Returns how many in a row; `None` when the pool is closed and none is missed.
    pub(crate) fn lose(&self) -> Option<usize> {
        let mut state = self.lock();
        state.coming = state.coming.saturating_sub(1);
        state.lost += 1;
        state.closed.is_none().then_some(state.lost)
    }

    /// Ends the pool: waiting calls get the failure, waiting children are returned for their end.
    pub(crate) fn close(&self, failure: &ToolFailure) -> Vec<Child> {
        let mut state = self.lock();
        if state.closed.is_none() {
            state.closed = Some(failure.clone());
        }
        for waiter in state.waiters.drain(..) {
            // A call that has given up needs no answer.
            let _ = waiter.send(Err(failure.clone()));
        }
        state.ready.drain(..).collect()
    }

    /// Forgets growth; called when the plugin has been idle for a while.
    pub(crate) fn shrink(&self) -> Vec<Child> {
        let mut state = self.lock();
        state.target = self.floor;
        let surplus = state.ready.len().saturating_sub(self.floor);
        state.ready.drain(..surplus).collect()
    }

    /// Children ready now.
    pub(crate) fn ready(&self) -> usize {
        self.lock().ready.len()
    }
}
