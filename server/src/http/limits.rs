//! What a client may use up before it has asked for anything: time, connections, sessions.

use std::time::Duration;

/// Bounds of the HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at once; further ones wait in the operating system's queue.
    pub connections: usize,
    /// How long a client may take to send the head of a request, and how long a connection may be idle.
    pub head: Duration,
    /// How long a client may take to send a body.
    pub body: Duration,
    /// The most sessions at once, on each route that has them; each costs memory until it is closed or idle for five minutes.
    pub sessions: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { connections: 1_024, head: Duration::from_secs(30), body: Duration::from_secs(30), sessions: 2_048 }
    }
}
