//! When a server ends: signals, or a token that its owner cancels.

use tokio_util::sync::CancellationToken;

use crate::ServeError;

/// Ends a server when it is cancelled. A second signal while calls drain ends them at once.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    kill: CancellationToken,
}

impl Shutdown {
    /// A shutdown that nothing but its owner begins.
    #[must_use]
    pub fn manual() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM or SIGINT begins, and a second one hurries.
    ///
    /// # Errors
    /// [`ServeError::Signals`] when the operating system refuses.
    pub fn on_signals() -> Result<Self, ServeError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
        let shutdown = Self::default();
        let tokens = shutdown.clone();
        tokio::spawn(async move {
            for token in [tokens.drain, tokens.kill] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("signal received, ending");
                token.cancel();
            }
        });
        Ok(shutdown)
    }

    /// Begins the end: nothing new is taken, running calls drain.
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits for the end to begin.
    pub async fn begun(&self) {
        self.drain.cancelled().await;
    }

    /// Waits for the order not to wait any longer.
    pub(crate) async fn hurried(&self) {
        self.kill.cancelled().await;
    }
}
