//! MCP over lines: one JSON-RPC message a line. Answers what cannot be read instead of dropping it, bounds every line,
//! splices lists, and ends only when what came in has been answered.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use rmcp::{
    RoleServer,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta as _, JsonRpcMessage, ProtocolVersion, RequestId,
        ServerJsonRpcMessage,
    },
    transport::Transport,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::{Mutex as AsyncMutex, Notify},
};
use tokio_util::sync::CancellationToken;

use super::{lists::Splices, wire};
use crate::{Code, Host, clean::one_line};

/// The longest line, in bytes.
const MAX_LINE: usize = 16 << 20;
/// Requests that may be open at once; beyond it nothing is read until one is answered.
const MAX_OPEN: usize = 1_024;

/// What an incoming message is, or how it is answered at once.
pub(crate) enum Incoming {
    Message(Box<ClientJsonRpcMessage>),
    Reply(Vec<u8>),
    Nothing,
}

/// Reads one message.
pub(crate) fn decode(bytes: &[u8]) -> Incoming {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    if bytes.is_empty() {
        return Incoming::Nothing;
    }
    match serde_json::from_slice(bytes) {
        Ok(message) => Incoming::Message(Box::new(message)),
        Err(error) => refuse(bytes, &error),
    }
}

/// How what is no message is answered: not at all where it is a notification, as nobody waits.
fn refuse(bytes: &[u8], error: &serde_json::Error) -> Incoming {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => {
            return Incoming::Reply(reply(
                &Value::Null,
                Code::ParseError,
                &format!("the message is not JSON: {}", one_line(&error.to_string(), 200)),
            ));
        }
    };
    match &value {
        Value::Array(_) => {
            Incoming::Reply(reply(&Value::Null, Code::InvalidRequest, "batches are not accepted: send one message at a time"))
        }
        Value::Object(map) if map.contains_key("method") && !map.contains_key("id") => Incoming::Nothing,
        _ => {
            let id = value.get("id").filter(|id| id.is_string() || id.is_i64() || id.is_u64()).cloned().unwrap_or_default();
            let reason = one_line(&error.to_string(), 200);
            Incoming::Reply(reply(&id, Code::InvalidRequest, &format!("not a JSON-RPC message: {reason}")))
        }
    }
}

/// A JSON-RPC error by hand: rmcp leaves out an id that could not be read, the older revisions want `null`.
pub(crate) fn reply(id: &Value, code: Code, message: &str) -> Vec<u8> {
    let error = serde_json::to_value(wire::protocol_error(code, message.to_owned())).unwrap_or_default();
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_bytes()
}

/// Writes one message, lists spliced in; the parts are to be sent one after the other.
pub(crate) fn encode(message: &ServerJsonRpcMessage, splices: &Splices) -> serde_json::Result<[Bytes; 3]> {
    let bytes = Bytes::from(serde_json::to_vec(message)?);
    // Only a response can hold a stand-in, and one that does is short.
    if bytes.len() < 8 << 10
        && matches!(message, JsonRpcMessage::Response(_))
        && let Some(spliced) = splices.split(&bytes)
    {
        return Ok([bytes.slice_ref(spliced.head), spliced.slice, bytes.slice_ref(spliced.tail)]);
    }
    Ok([bytes, Bytes::new(), Bytes::new()])
}

/// Whether a connection may hand a message to rmcp, whose handshake ends the connection at a notification or response that
/// comes before it.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    opened: bool,
}

impl Opening {
    pub(crate) fn lets(&mut self, message: &ClientJsonRpcMessage) -> bool {
        if self.opened {
            return true;
        }
        let JsonRpcMessage::Request(request) = message else { return false };
        self.opened = match &request.request {
            ClientRequest::InitializeRequest(_) => true,
            ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
            other => {
                let meta = other.get_meta();
                let known = meta.protocol_version().is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version));
                known && meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
            }
        };
        true
    }
}

/// Requests that were read and not answered yet.
#[derive(Debug, Default)]
struct Open {
    ids: Mutex<HashSet<RequestId>>,
    changed: Notify,
}

impl Open {
    fn add(&self, id: RequestId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn remove(&self, id: &RequestId) {
        if self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            self.changed.notify_waiters();
        }
    }

    async fn at_most(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.ids.lock().unwrap_or_else(PoisonError::into_inner).len() <= count {
                return;
            }
            changed.await;
        }
    }
}

/// A transport over a reader and a writer.
pub struct LineTransport<R, W> {
    reader: BufReader<R>,
    writer: Arc<AsyncMutex<Option<W>>>,
    /// The line that is being read; kept here because a read may be given up half way and taken up again.
    line: Vec<u8>,
    /// The rest of a line that is too long is thrown away.
    discarding: bool,
    /// Replies to what could not be read, not sent yet.
    replies: VecDeque<Vec<u8>>,
    opening: Opening,
    open: Arc<Open>,
    splices: Arc<Splices>,
    /// Cancelled when nothing more is to be read.
    closing: CancellationToken,
    /// Cancelled here when everything that was read has been answered.
    ended: CancellationToken,
    /// When waiting for open requests ends, once the input has ended.
    deadline: Option<tokio::time::Instant>,
    drain: Duration,
}

enum Line {
    Whole,
    TooLong,
    End,
}

impl<R, W> LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    /// Serves `host`'s lists; stops reading when `closing` is cancelled, and cancels `ended` when all has been answered.
    pub fn new(host: &Host, reader: R, writer: W, closing: CancellationToken, ended: CancellationToken) -> Self {
        Self {
            reader: BufReader::with_capacity(64 << 10, reader),
            writer: Arc::new(AsyncMutex::new(Some(writer))),
            line: Vec::new(),
            discarding: false,
            replies: VecDeque::new(),
            opening: Opening::default(),
            open: Arc::default(),
            splices: host.catalog().lists.splices.clone(),
            closing,
            ended,
            deadline: None,
            drain: host.settings.drain,
        }
    }

    /// Reads up to the end of a line, never keeping more than the bound. May be given up at any await and called again.
    async fn read_line(&mut self) -> io::Result<Line> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(Line::End);
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            let too_long = self.line.len() + taken > MAX_LINE;
            if !self.discarding && !too_long {
                self.line.extend_from_slice(available.get(..taken).unwrap_or_default());
            }
            self.reader.consume(taken);
            let started_discarding = too_long && !self.discarding;
            if started_discarding {
                self.line = Vec::new();
            }
            match (newline.is_some(), self.discarding || too_long) {
                (ended, true) => {
                    self.discarding = !ended;
                    if started_discarding {
                        return Ok(Line::TooLong);
                    }
                }
                (true, false) => return Ok(Line::Whole),
                (false, false) => {}
            }
        }
    }

    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            self.send_replies().await;
            let line = if self.deadline.is_some() {
                Line::End
            } else {
                let closing = self.closing.clone();
                let open = self.open.clone();
                tokio::select! {
                    biased;
                    () = closing.cancelled() => Line::End,
                    line = async {
                        open.at_most(MAX_OPEN).await;
                        self.read_line().await
                    } => line.unwrap_or_else(|error| {
                        tracing::warn!(%error, "the input cannot be read any more");
                        Line::End
                    }),
                }
            };
            match line {
                Line::End => {
                    self.drain().await;
                    return None;
                }
                Line::TooLong => {
                    tracing::warn!(limit = MAX_LINE, "a line is too long and was thrown away");
                    self.replies.push_back(reply(
                        &Value::Null,
                        Code::TooLarge,
                        &format!("a message has more than {MAX_LINE} bytes"),
                    ));
                }
                Line::Whole => {
                    let decoded = decode(&self.line);
                    self.line.clear();
                    self.line.shrink_to(1 << 20);
                    match decoded {
                        Incoming::Message(message) if self.opening.lets(&message) => {
                            self.track(&message);
                            return Some(*message);
                        }
                        Incoming::Message(_) => tracing::debug!("a message before the handshake was ignored"),
                        Incoming::Reply(bytes) => self.replies.push_back(bytes),
                        Incoming::Nothing => {}
                    }
                }
            }
        }
    }

    fn track(&self, message: &ClientJsonRpcMessage) {
        match message {
            // A subscription stays open until the server ends it; nobody waits for it here.
            JsonRpcMessage::Request(request) if !matches!(request.request, ClientRequest::SubscriptionsListenRequest(_)) => {
                self.open.add(request.id.clone());
            }
            // A cancelled request is not answered.
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.open.remove(id);
                }
            }
            _ => {}
        }
    }

    async fn send_replies(&mut self) {
        while let Some(mut bytes) = self.replies.pop_front() {
            bytes.push(b'\n');
            // On its own task, because this future may be given up half way through a write.
            let writer = self.writer.clone();
            tokio::spawn(async move { write(&writer, &[Bytes::from(bytes)]).await });
        }
    }

    async fn drain(&mut self) {
        let deadline = *self.deadline.get_or_insert_with(|| tokio::time::Instant::now() + self.drain);
        if tokio::time::timeout_at(deadline, self.open.at_most(0)).await.is_err() {
            tracing::warn!("the connection ends with open requests");
        }
        self.ended.cancel();
    }
}

async fn write<W: AsyncWrite + Unpin>(writer: &AsyncMutex<Option<W>>, parts: &[Bytes]) -> io::Result<()> {
    let mut guard = writer.lock().await;
    let writer = guard.as_mut().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection is closed"))?;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        writer.write_all(part).await?;
    }
    writer.flush().await
}

impl<R, W> Transport<RoleServer> for LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (writer, open, splices) = (self.writer.clone(), self.open.clone(), self.splices.clone());
        async move {
            let [head, slice, tail] = encode(&item, &splices)?;
            let mut end = Vec::with_capacity(tail.len() + 1);
            end.extend_from_slice(&tail);
            end.push(b'\n');
            let result = write(&writer, &[head, slice, end.into()]).await;
            match &item {
                JsonRpcMessage::Response(response) => open.remove(&response.id),
                JsonRpcMessage::Error(error) => {
                    if let Some(id) = &error.id {
                        open.remove(id);
                    }
                }
                _ => {}
            }
            result
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.next().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.writer.lock().await.take();
        Ok(())
    }
}
