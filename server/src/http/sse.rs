//! HTTP+SSE of 2024-11-05, for old clients only: `GET /sse` opens a session, `POST /messages` speaks in it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use policy::SessionId;
use rmcp::{
    RoleServer,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    service::serve_server_with_ct,
    transport::Transport,
};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    HttpLimits,
    body::{json_response, read},
};
use crate::{
    Caller, Host,
    mcp::{Channel, Endpoint, Incoming, Opening, Splices, decode, encode},
};

/// Messages that may wait in either direction; a client that does not read blocks its own session alone.
const QUEUE: usize = 64;
/// A comment is sent this often, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The open sessions.
#[derive(Clone)]
pub(crate) struct SseSessions {
    host: Arc<Host>,
    open: Arc<Mutex<HashMap<String, Session>>>,
    limits: HttpLimits,
    ended: CancellationToken,
}

#[derive(Clone)]
struct Session {
    input: mpsc::Sender<ClientJsonRpcMessage>,
    caller: Caller,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    session_id: String,
}

impl SseSessions {
    pub(crate) fn new(host: Arc<Host>, limits: HttpLimits, ended: CancellationToken) -> Self {
        Self { host, open: Arc::default(), limits, ended }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /sse`.
pub(crate) async fn open(State(sessions): State<SseSessions>, Extension(caller): Extension<Caller>) -> Response {
    let Ok(session) = sessions.host.sessions.begin() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let (input, receiver) = mpsc::channel(QUEUE);
    let (sender, output) = mpsc::channel::<Bytes>(QUEUE);
    {
        let mut open = sessions.lock();
        if open.len() >= sessions.limits.sessions {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many sessions").into_response();
        }
        open.insert(session.0.to_string(), Session { input, caller: caller.clone() });
    }
    let closed = sessions.ended.child_token();
    tokio::spawn(serve(sessions.clone(), session.clone(), caller, receiver, sender, closed.clone()));
    // Dropped with the response, which is how a client that went is noticed.
    let guard = closed.clone().drop_guard();
    let first = Bytes::from(format!("event: endpoint\ndata: /messages?session_id={}\n\n", session.0));
    let events = stream::unfold((output, guard, closed), |(mut output, guard, closed)| async move {
        let event = tokio::select! {
            event = tokio::time::timeout(KEEP_ALIVE, output.recv()) => event.unwrap_or_else(|_| Some(Bytes::from_static(b": keep-alive\n\n"))),
            () = closed.cancelled() => None,
        };
        event.map(|event| (event, (output, guard, closed)))
    });
    let body = Body::from_stream(stream::iter([first]).chain(events).map(Ok::<_, io::Error>));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

async fn serve(
    sessions: SseSessions,
    session: SessionId,
    caller: Caller,
    receiver: mpsc::Receiver<ClientJsonRpcMessage>,
    sender: mpsc::Sender<Bytes>,
    closed: CancellationToken,
) {
    let host = sessions.host.clone();
    let splices = host.catalog().lists.splices.clone();
    let transport = SseTransport { receiver, sender, splices, opening: Opening::default() };
    let channel = Channel::Connection { session: session.clone(), caller, ended: closed.clone() };
    let endpoint = Endpoint::new(host.clone(), host.settings.view, channel);
    match serve_server_with_ct(endpoint, transport, closed).await {
        Ok(service) => {
            let _ = service.waiting().await;
        }
        Err(error) => tracing::debug!(%error, "a session over SSE ended before its handshake"),
    }
    sessions.lock().remove(&*session.0);
    host.end_session(&session).await;
}

/// `POST /messages?session_id=…`.
pub(crate) async fn message(
    State(sessions): State<SseSessions>,
    Extension(caller): Extension<Caller>,
    target: Result<Query<Target>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
    if !json {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json").into_response();
    }
    // A session belongs to whoever opened it; to anyone else it does not exist.
    let session = target
        .ok()
        .and_then(|Query(target)| sessions.lock().get(&target.session_id).cloned())
        .filter(|session| session.caller == caller);
    let Some(session) = session else { return (StatusCode::NOT_FOUND, "no such session").into_response() };
    let bytes = match read(body, sessions.limits.body).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    match decode(&bytes) {
        Incoming::Message(message) => match session.input.send(*message).await {
            Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
            Err(_) => (StatusCode::GONE, "the session has ended").into_response(),
        },
        Incoming::Reply(reply) => json_response(StatusCode::BAD_REQUEST, reply),
        Incoming::Nothing => (StatusCode::ACCEPTED, "Accepted").into_response(),
    }
}

struct SseTransport {
    receiver: mpsc::Receiver<ClientJsonRpcMessage>,
    sender: mpsc::Sender<Bytes>,
    splices: Arc<Splices>,
    opening: Opening,
}

impl Transport<RoleServer> for SseTransport {
    type Error = io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (sender, splices) = (self.sender.clone(), self.splices.clone());
        async move {
            let [head, slice, tail] = encode(&item, &splices)?;
            let event = [b"event: message\ndata: ", &*head, &*slice, &*tail, b"\n\n"].concat();
            sender.send(event.into()).await.map_err(|_closed| io::Error::new(io::ErrorKind::NotConnected, "the client went"))
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let message = self.receiver.recv().await?;
            if self.opening.lets(&message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.receiver.close();
        Ok(())
    }
}
