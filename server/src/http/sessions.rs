//! Sessions of Streamable HTTP: rmcp's, bounded in number, each its opener's alone, and telling the host when one ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
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

use crate::{Caller, Host};

const HEADER: &str = "mcp-session-id";

/// Who opened which session. An id that another caller got hold of opens nothing.
#[derive(Clone, Default)]
pub(crate) struct Owners(Arc<Mutex<HashMap<SessionId, Caller>>>);

impl Owners {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Caller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a request into a session only with the token that opened it; to anyone else the session does not exist. Behind the guard.
pub(crate) async fn bind(State(owners): State<Owners>, request: Request, next: Next) -> Response {
    let id = |headers: &axum::http::HeaderMap| headers.get(HEADER).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_else(Caller::nobody);
    let asked = id(request.headers());
    if let Some(asked) = &asked
        && owners.lock().get(asked.as_str()).is_some_and(|owner| *owner != caller)
    {
        return (StatusCode::NOT_FOUND, "no such session").into_response();
    }
    let response = next.run(request).await;
    if let (None, Some(opened)) = (asked, id(response.headers())) {
        owners.lock().insert(opened.into(), caller);
    }
    response
}

pub(crate) struct Sessions {
    inner: LocalSessionManager,
    host: Arc<Host>,
    owners: Owners,
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
    pub(crate) fn new(host: Arc<Host>, owners: Owners, most: usize) -> Self {
        Self { inner: LocalSessionManager::default(), host, owners, most }
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
        self.owners.lock().remove(id);
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
