//! Sessions of Streamable HTTP: rmcp's, bounded in number, and telling the host when one ends.

use std::sync::Arc;

use futures::Stream;
use policy::SessionId as PluginSession;
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::{
        common::server_side_http::{ServerSseMessage, SessionId},
        streamable_http_server::session::{
            SessionManager,
            local::{LocalSessionManager, LocalSessionManagerError},
        },
    },
};

use crate::Host;

pub(crate) struct Sessions {
    inner: LocalSessionManager,
    host: Arc<Host>,
    most: usize,
}

/// Why a session could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
    #[error("there are {0} sessions already")]
    TooMany(usize),
}

impl Sessions {
    pub(crate) fn new(host: Arc<Host>, most: usize) -> Self {
        Self { inner: LocalSessionManager::default(), host, most }
    }
}

impl SessionManager for Sessions {
    type Error = SessionError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionError> {
        if self.inner.sessions.read().await.len() >= self.most {
            return Err(SessionError::TooMany(self.most));
        }
        Ok(self.inner.create_session().await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionError> {
        Ok(self.inner.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionError> {
        Ok(self.inner.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionError> {
        // Also reached when a session ends by itself; ending one twice is harmless.
        self.host.end_session(&PluginSession(id.clone())).await;
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        Ok(self.inner.create_stream(id, message).await?)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), SessionError> {
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        Ok(self.inner.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionError> {
        Ok(self.inner.resume(id, last_event_id).await?)
    }
}
