//! Clients that are told when the list of tools changes: subscriptions of the stateless era, peers of the older ones.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rmcp::{
    RoleServer,
    service::{Peer, SubscriptionSink},
};

/// A client that does not take its notification for this long misses it.
const SEND: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Subscriber {
    Peer(Peer<RoleServer>),
    Sink(SubscriptionSink),
}

/// Everyone who is told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Subscribers {
    list: Arc<Mutex<Vec<(u64, Subscriber)>>>,
    next: Arc<AtomicU64>,
}

/// Takes its subscription out when it goes.
#[derive(Debug)]
pub(crate) struct Subscription {
    subscribers: Subscribers,
    id: u64,
}

impl Subscribers {
    pub(crate) fn add_peer(&self, peer: Peer<RoleServer>) {
        let _ = self.add(Subscriber::Peer(peer));
    }

    pub(crate) fn add_sink(&self, sink: SubscriptionSink) -> Subscription {
        Subscription { id: self.add(Subscriber::Sink(sink)), subscribers: self.clone() }
    }

    fn add(&self, subscriber: Subscriber) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // Peers say nothing when they go; those that went are taken out whenever one comes.
        list.retain(|(_, subscriber)| !matches!(subscriber, Subscriber::Peer(peer) if peer.is_transport_closed()));
        list.push((id, subscriber));
        id
    }

    /// Tells everyone, without waiting for anyone. Needs a tokio runtime around it.
    pub(crate) fn list_changed(&self) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, subscriber) in list {
            tokio::spawn(tokio::time::timeout(SEND, async move {
                let sent = match subscriber {
                    Subscriber::Peer(peer) => peer.notify_tool_list_changed().await.map_err(|error| error.to_string()),
                    Subscriber::Sink(sink) => sink.notify_tool_list_changed().await.map_err(|error| error.to_string()),
                };
                if let Err(error) = sent {
                    tracing::debug!(error, "a client was not told of the new list");
                }
            }));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscribers.list.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != self.id);
    }
}
