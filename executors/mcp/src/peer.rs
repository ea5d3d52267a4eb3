//! One conversation with a server: requests and their answers, progress, cancellation, and what the server asks of us.
//!
//! How bytes travel is the link's; what a conversation is about (handshake, lists, calls) is in `server`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use executor_api::{FailureKind, Frame, HostRequest, ToolFailure};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::wire::{self, Message, RpcError};

/// Messages that nobody asked for, in one second, after which a server counts as flooding.
const FLOOD: u32 = 5_000;
/// Lines in a row that are no message, after which a server counts as broken.
const GARBAGE: u32 = 200;
const METHOD_NOT_FOUND: i64 = -32601;

/// A message on its way out, with what a transport may need to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Set for requests.
    pub(crate) id: Option<u64>,
    pub(crate) method: String,
    pub(crate) body: Value,
    /// Headers of the stateless era that repeat parameters.
    pub(crate) headers: Vec<(String, String)>,
}

/// What a transport heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// One message; `via` is the request whose own stream it came on, where the transport has such.
    Message { bytes: Vec<u8>, via: Option<u64> },
    /// One request failed on the way.
    Failed { id: u64, failure: ToolFailure },
    /// The connection is over.
    Ended(ToolFailure),
}

/// Carries messages out. Those that come in go to the channel that the link was made with.
pub(crate) trait Link: Send + Sync {
    /// Sends one message; waits while the other side does not read.
    fn send(&self, message: Outgoing) -> BoxFuture<'_, Result<(), ToolFailure>>;
    /// Nobody waits for this request any more. Matters where each request has a stream of its own.
    fn forget(&self, _id: u64) {}
    /// The version that was agreed on. Matters where it is repeated with each request.
    fn agreed(&self, _version: &str) {}
    /// Ends the connection.
    fn close(&self);
    /// Whether closing a request's stream is how it is cancelled in the stateless era.
    fn cancels_by_closing(&self) -> bool {
        false
    }
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// The server said so.
    Rpc(RpcError),
    /// The transport, or the whole connection.
    Broken(ToolFailure),
    TimedOut,
    Cancelled,
}

/// Which handshake was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

struct Pending {
    answer: oneshot::Sender<Result<Value, Fault>>,
    /// Where frames of a call go.
    frames: Option<mpsc::Sender<Frame>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    count: u32,
}

/// One conversation.
pub(crate) struct Peer {
    plugin: String,
    link: Box<dyn Link>,
    next: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
    era: OnceLock<Era>,
    /// Cancelled when the connection is over.
    pub(crate) gone: CancellationToken,
    fault: Mutex<Option<ToolFailure>>,
    /// How often the server said that its tools changed.
    pub(crate) announced: AtomicU64,
    pub(crate) changed: Notify,
    /// Messages understood so far.
    pub(crate) heard: AtomicU64,
    unasked: Mutex<Window>,
    garbage: AtomicU32,
    first_garbage: OnceLock<String>,
}

impl Peer {
    /// Begins to listen.
    pub(crate) fn begin(plugin: &str, link: Box<dyn Link>, incoming: mpsc::Receiver<Heard>) -> Arc<Self> {
        let peer = Arc::new(Self {
            plugin: plugin.to_owned(),
            link,
            next: AtomicU64::new(1),
            pending: Mutex::default(),
            era: OnceLock::new(),
            gone: CancellationToken::new(),
            fault: Mutex::default(),
            announced: AtomicU64::new(0),
            changed: Notify::new(),
            heard: AtomicU64::new(0),
            unasked: Mutex::new(Window { began: Instant::now(), count: 0 }),
            garbage: AtomicU32::new(0),
            first_garbage: OnceLock::new(),
        });
        drop(tokio::spawn(Arc::clone(&peer).listen(incoming)));
        peer
    }

    async fn listen(self: Arc<Self>, mut incoming: mpsc::Receiver<Heard>) {
        loop {
            let heard = tokio::select! {
                heard = incoming.recv() => heard,
                () = self.gone.cancelled() => return,
            };
            match heard {
                Some(Heard::Message { bytes, via }) => self.hear(&bytes, via),
                Some(Heard::Failed { id, failure }) => self.settle(id, Err(Fault::Broken(failure))),
                Some(Heard::Ended(failure)) => self.end(failure),
                None => self.end(ToolFailure::new(FailureKind::Crashed, "the connection to the server ended")),
            }
        }
    }

    fn hear(self: &Arc<Self>, bytes: &[u8], via: Option<u64>) {
        let message = match wire::read(bytes) {
            Ok(message) => message,
            Err(problem) => return self.hear_garbage(bytes, &problem),
        };
        self.garbage.store(0, Ordering::Relaxed);
        self.heard.fetch_add(1, Ordering::Relaxed);
        match message {
            Message::Answer { id, answer } => {
                if !self.is_pending(id) && self.floods() {
                    return;
                }
                self.settle(id, answer.map_err(Fault::Rpc));
            }
            Message::Notification { method, params } => {
                if self.floods() {
                    return;
                }
                self.take(&method, &params);
            }
            Message::Request { id, method, params } => {
                if self.floods() {
                    return;
                }
                self.serve(id, &method, params, via);
            }
        }
    }

    /// Many servers print a greeting where the protocol belongs; that is passed over, and a stream of it is not.
    fn hear_garbage(&self, bytes: &[u8], problem: &str) {
        #[derive(Deserialize)]
        struct OnlyId {
            id: u64,
        }
        // An answer whose inside can't be read (nested too deeply, say) costs the request it answers and nothing else.
        if let Ok(OnlyId { id }) = serde_json::from_slice::<OnlyId>(bytes)
            && self.is_pending(id)
        {
            let failure = ToolFailure::new(FailureKind::BadOutput, format!("the server's answer can't be read: {problem}"));
            return self.settle(id, Err(Fault::Broken(failure)));
        }
        let text = wire::cut(&String::from_utf8_lossy(bytes), 120);
        let _ = self.first_garbage.set(text.clone());
        tracing::debug!(plugin = self.plugin, text, problem, "an upstream server wrote what is no message");
        if self.garbage.fetch_add(1, Ordering::Relaxed) >= GARBAGE {
            self.end(ToolFailure::new(
                FailureKind::BadOutput,
                format!("the server writes what is no message of the protocol: `{text}` ({problem})"),
            ));
        }
    }

    /// What was heard first that is no message, for the failure of a start.
    pub(crate) fn first_garbage(&self) -> Option<&str> {
        self.first_garbage.get().map(String::as_str)
    }

    fn floods(&self) -> bool {
        let mut window = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.elapsed().as_secs() >= 1 {
            *window = Window { began: Instant::now(), count: 0 };
        }
        window.count += 1;
        let floods = window.count > FLOOD;
        drop(window);
        if floods {
            self.end(ToolFailure::new(
                FailureKind::BadOutput,
                format!("the server sent more than {FLOOD} messages in a second that nobody asked for"),
            ));
        }
        floods
    }

    fn take(&self, method: &str, params: &Value) {
        match method {
            "notifications/progress" => self.progress(params),
            "notifications/tools/list_changed" => {
                self.announced.fetch_add(1, Ordering::AcqRel);
                self.changed.notify_one();
            }
            "notifications/message" => {
                let text = params.get("data").map(|data| wire::cut(&data.to_string(), 500)).unwrap_or_default();
                tracing::debug!(plugin = self.plugin, text, "upstream log");
            }
            _ => {}
        }
    }

    fn progress(&self, params: &Value) {
        let token = params.get("progressToken").and_then(|token| token.as_u64().or_else(|| token.as_str()?.parse().ok()));
        let (Some(id), Some(progress)) = (token, params.get("progress").and_then(Value::as_f64)) else { return };
        let frames = self.pending().get(&id).and_then(|pending| pending.frames.clone());
        if let Some(frames) = frames {
            let message = params.get("message").and_then(Value::as_str).map(|text| wire::cut(text, 500));
            // A full queue drops progress.
            let _ = frames.try_send(Frame::Progress { progress, total: params.get("total").and_then(Value::as_f64), message });
        }
    }

    /// What the server asks of us: whether we are there, and a question to the user. Nothing else is offered.
    fn serve(self: &Arc<Self>, id: Value, method: &str, params: Value, via: Option<u64>) {
        let answer = match method {
            "ping" => Ok(json!({})),
            "elicitation/create" => match self.asking_call(via) {
                Ok(frames) => {
                    let peer = Arc::clone(self);
                    drop(tokio::spawn(async move {
                        let answer = ask_user(&frames, params).await.map_err(refusal);
                        peer.reply(&id, answer).await;
                    }));
                    return;
                }
                Err(problem) => Err(RpcError { code: METHOD_NOT_FOUND, message: problem.to_owned() }),
            },
            "sampling/createMessage" => Err(RpcError { code: METHOD_NOT_FOUND, message: "sampling is not offered".to_owned() }),
            "roots/list" => Err(RpcError { code: METHOD_NOT_FOUND, message: "roots are not offered".to_owned() }),
            other => Err(RpcError { code: METHOD_NOT_FOUND, message: format!("unknown method `{}`", wire::cut(other, 80)) }),
        };
        let peer = Arc::clone(self);
        drop(tokio::spawn(async move { peer.reply(&id, answer).await }));
    }

    async fn reply(&self, id: &Value, answer: Result<Value, RpcError>) {
        let message = Outgoing { id: None, method: String::new(), body: wire::answer(id, answer), headers: Vec::new() };
        tokio::select! {
            sent = self.link.send(message) => {
                if let Err(failure) = sent {
                    tracing::debug!(plugin = self.plugin, %failure, "an upstream server's question could not be answered");
                }
            }
            () = self.gone.cancelled() => {}
        }
    }

    /// The call that a question belongs to: the one on whose stream it came, or else the only one that runs. A question must never reach
    /// the user of another call.
    fn asking_call(&self, via: Option<u64>) -> Result<mpsc::Sender<Frame>, &'static str> {
        let pending = self.pending();
        if let Some(frames) = via.and_then(|id| pending.get(&id)).and_then(|pending| pending.frames.clone()) {
            return Ok(frames);
        }
        let mut calls = pending.values().filter_map(|pending| pending.frames.clone());
        match (calls.next(), calls.next()) {
            (Some(frames), None) => Ok(frames),
            (None, _) => Err("no call runs that a question to the user could belong to"),
            (Some(_), Some(_)) => Err("several calls run, and nothing says which of them the question to the user belongs to"),
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Value, Fault> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let Ask { method, mut params, headers, frames, deadline, cancel } = ask;
        self.sign(&mut params, frames.is_some().then_some(id));
        let (sender, receiver) = oneshot::channel();
        self.pending().insert(id, Pending { answer: sender, frames });
        // However this future ends, the request is not waited for any more.
        let _forgotten = Forget { peer: self, id };
        if let Some(failure) = self.ended() {
            return Err(Fault::Broken(failure));
        }
        let message = Outgoing { id: Some(id), method: method.to_owned(), body: wire::request(id, method, &params), headers };
        let exchange = async {
            self.link.send(message).await.map_err(Fault::Broken)?;
            receiver.await.unwrap_or_else(|_| Err(Fault::Broken(self.ended().unwrap_or_else(lost))))
        };
        let fault = tokio::select! {
            biased;
            answer = exchange => return answer,
            () = cancel.cancelled() => Fault::Cancelled,
            () = tokio::time::sleep_until(deadline.into()) => Fault::TimedOut,
        };
        // `initialize` can't be cancelled, by the protocol.
        if method != "initialize" && !(self.era() == Era::Modern && self.link.cancels_by_closing()) {
            let reason = if fault == Fault::Cancelled { "the caller cancelled the call" } else { "the time of the call is over" };
            self.tell("notifications/cancelled", &json!({ "requestId": id, "reason": reason }));
        }
        Err(fault)
    }

    /// In the stateless era every request says who asks.
    fn sign(&self, params: &mut Value, progress: Option<u64>) {
        let mut meta = Map::new();
        if let Some(token) = progress {
            meta.insert("progressToken".to_owned(), json!(token));
        }
        if self.era() == Era::Modern {
            meta.insert("io.modelcontextprotocol/protocolVersion".to_owned(), json!(wire::MODERN));
            meta.insert("io.modelcontextprotocol/clientInfo".to_owned(), client());
            meta.insert("io.modelcontextprotocol/clientCapabilities".to_owned(), capabilities());
        }
        if let (false, Value::Object(params)) = (meta.is_empty(), params) {
            params.insert("_meta".to_owned(), Value::Object(meta));
        }
    }

    /// Sends a notification and waits until it is on its way.
    pub(crate) async fn told(&self, method: &str, params: Value) -> Result<(), ToolFailure> {
        let body = wire::notification(method, &params);
        self.link.send(Outgoing { id: None, method: method.to_owned(), body, headers: Vec::new() }).await
    }

    /// Sends a notification without waiting.
    pub(crate) fn tell(&self, method: &str, params: &Value) {
        let message =
            Outgoing { id: None, method: method.to_owned(), body: wire::notification(method, params), headers: Vec::new() };
        // Links take a message at the first poll when there is room; when there is none, nobody reads anyway.
        if let Some(Err(failure)) = futures::FutureExt::now_or_never(self.link.send(message)) {
            tracing::debug!(plugin = self.plugin, %failure, "a notification could not be sent");
        }
    }

    pub(crate) fn agree(&self, era: Era, version: &str) {
        let _ = self.era.set(era);
        self.link.agreed(version);
    }

    pub(crate) fn era(&self) -> Era {
        self.era.get().copied().unwrap_or(Era::Legacy)
    }

    fn settle(&self, id: u64, answer: Result<Value, Fault>) {
        if let Some(pending) = self.pending().remove(&id) {
            // The caller may have given up at this very moment.
            let _ = pending.answer.send(answer);
        }
    }

    fn is_pending(&self, id: u64) -> bool {
        self.pending().contains_key(&id)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the connection is over, when it is.
    pub(crate) fn ended(&self) -> Option<ToolFailure> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the conversation; everyone who waits gets this failure. The first reason stands.
    pub(crate) fn end(&self, failure: ToolFailure) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| failure.clone());
        let failure = self.ended().unwrap_or(failure);
        // First, so that whoever is told finds the connection over.
        self.gone.cancel();
        for (_, pending) in self.pending().drain() {
            let _ = pending.answer.send(Err(Fault::Broken(failure.clone())));
        }
        self.link.close();
    }
}

/// A request to be made.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: Value,
    pub(crate) headers: Vec<(String, String)>,
    /// Set for calls: where progress and questions go.
    pub(crate) frames: Option<mpsc::Sender<Frame>>,
    pub(crate) deadline: Instant,
    pub(crate) cancel: &'a CancellationToken,
}

struct Forget<'a> {
    peer: &'a Peer,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.peer.pending().remove(&self.id);
        self.peer.link.forget(self.id);
    }
}

/// Passes a question on to the caller and waits for the answer. The call's own time limit ends it at the latest.
pub(crate) async fn ask_user(frames: &mpsc::Sender<Frame>, params: Value) -> Result<Value, ToolFailure> {
    let (request, answer) = HostRequest::new("ask_user", params);
    let nobody = || ToolFailure::new(FailureKind::Unsupported, "the server asks the user, and this caller can't be asked");
    tokio::select! {
        sent = frames.send(Frame::Host(request)) => sent.map_err(|_| nobody())?,
        () = frames.closed() => return Err(nobody()),
    }
    answer.await.unwrap_or_else(|_| Err(nobody()))
}

fn refusal(failure: ToolFailure) -> RpcError {
    RpcError { code: METHOD_NOT_FOUND, message: failure.message }
}

fn lost() -> ToolFailure {
    ToolFailure::new(FailureKind::Crashed, "the connection to the server ended")
}

/// Who we are.
pub(crate) fn client() -> Value {
    json!({ "name": "pegboard", "version": env!("CARGO_PKG_VERSION") })
}

/// What we offer to servers.
pub(crate) fn capabilities() -> Value {
    json!({ "elicitation": {} })
}
