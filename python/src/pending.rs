//! Requests that wait for an answer: each by a thread that sleeps, or by a mailbox of an event loop.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

use crate::mailbox::Post;

/// How a request ended.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// `result` of the answer.
    Result(Value),
    /// `error` of the answer.
    Error(Value),
    /// There will be no answer.
    Gone(String),
}

/// Where one answer is put for one thread.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    reply: Mutex<Option<Reply>>,
    changed: Condvar,
}

impl Slot {
    fn put(&self, reply: Reply) {
        *locked(&self.reply) = Some(reply);
        self.changed.notify_one();
    }

    /// The answer, when it is there within this time.
    pub(crate) fn wait(&self, patience: Duration) -> Option<Reply> {
        let guard = locked(&self.reply);
        let waited = self.changed.wait_timeout_while(guard, patience, |reply| reply.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// Who waits.
pub(crate) enum Waiter {
    /// A thread.
    Thread(Arc<Slot>),
    /// An event loop.
    Loop(Arc<Post>),
}

/// All that wait, until the connection is gone.
#[derive(Default)]
pub(crate) struct Pending(Mutex<State>);

#[derive(Default)]
struct State {
    waiters: HashMap<u64, Waiter>,
    gone: Option<String>,
}

impl Pending {
    /// Takes one in; the reason when the connection is gone already.
    pub(crate) fn add(&self, id: u64, waiter: Waiter) -> Result<(), String> {
        let mut state = locked(&self.0);
        if let Some(reason) = &state.gone {
            return Err(reason.clone());
        }
        state.waiters.insert(id, waiter);
        Ok(())
    }

    /// Nobody waits any more; whether somebody did.
    pub(crate) fn forget(&self, id: u64) -> bool {
        locked(&self.0).waiters.remove(&id).is_some()
    }

    /// Hands an answer to who waits for it.
    pub(crate) fn answer(&self, id: u64, reply: Reply) {
        let waiter = locked(&self.0).waiters.remove(&id);
        hand(id, waiter, reply);
    }

    /// Why there is no connection any more.
    pub(crate) fn gone(&self) -> Option<String> {
        locked(&self.0).gone.clone()
    }

    /// Tells everybody that no answer will come. The first reason stays.
    pub(crate) fn end(&self, reason: &str) {
        let waiters = {
            let mut state = locked(&self.0);
            state.gone.get_or_insert_with(|| reason.to_owned());
            std::mem::take(&mut state.waiters)
        };
        for (id, waiter) in waiters {
            hand(id, Some(waiter), Reply::Gone(reason.to_owned()));
        }
    }
}

fn hand(id: u64, waiter: Option<Waiter>, reply: Reply) {
    match waiter {
        Some(Waiter::Thread(slot)) => slot.put(reply),
        Some(Waiter::Loop(post)) => post.put(id, reply),
        None => {}
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
