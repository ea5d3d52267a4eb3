//! The link to an address by Streamable HTTP, in both eras: one POST a message, answers as JSON or as a stream of events.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use executor_api::{FailureKind, ToolFailure};
use futures::future::BoxFuture;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    events::Events,
    peer::{Heard, Link, Outgoing},
    web::{Site, broken},
    wire,
};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// How often an answer's stream that broke off is taken up again.
const RESUMPTIONS: usize = 5;
const RESUME_AFTER: Duration = Duration::from_millis(500);
/// How long the stream of news rests when it broke off.
const NEWS_AGAIN: Duration = Duration::from_secs(5);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A server at an address.
pub(crate) struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    site: Site,
    heard: mpsc::Sender<Heard>,
    session: Mutex<Option<String>>,
    version: Mutex<Option<String>>,
    modern: AtomicBool,
    streams: Mutex<HashMap<u64, AbortHandle>>,
    closed: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Http {
    pub(crate) fn new(site: Site, heard: mpsc::Sender<Heard>) -> Self {
        let shared = Shared {
            site,
            heard,
            session: Mutex::default(),
            version: Mutex::default(),
            modern: AtomicBool::new(false),
            streams: Mutex::default(),
            closed: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Link for Http {
    fn send(&self, message: Outgoing) -> BoxFuture<'_, Result<(), ToolFailure>> {
        let shared = Arc::clone(&self.shared);
        // The handshake's last word must be there before the first request.
        if message.method == "notifications/initialized" {
            return Box::pin(async move { shared.post(&message).await.map(drop) });
        }
        let id = message.id;
        let task = tokio::spawn(async move {
            let closed = shared.closed.clone();
            tokio::select! {
                () = shared.exchange(message) => {}
                () = closed.cancelled() => {}
            }
            if let Some(id) = id {
                lock(&shared.streams).remove(&id);
            }
        });
        if let Some(id) = id {
            lock(&self.shared.streams).insert(id, task.abort_handle());
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget(&self, id: u64) {
        // An answered request's stream ends by itself; the stateless era hears a cancellation by its end.
        if let Some(stream) = lock(&self.shared.streams).remove(&id) {
            stream.abort();
        }
    }

    fn agreed(&self, version: &str) {
        *lock(&self.shared.version) = Some(version.to_owned());
        if version == wire::MODERN {
            // A session that the refused handshake left behind.
            lock(&self.shared.session).take();
            self.shared.modern.store(true, Ordering::Relaxed);
        } else {
            drop(tokio::spawn(news(Arc::clone(&self.shared))));
        }
    }

    fn close(&self) {
        self.shared.closed.cancel();
        let session = lock(&self.shared.session).take();
        if let Some(session) = session {
            let request = self.shared.request(Method::DELETE).header(SESSION, session).timeout(FAREWELL);
            // A courtesy: many servers refuse it.
            drop(tokio::spawn(async move { drop(request.send().await) }));
        }
    }

    fn cancels_by_closing(&self) -> bool {
        true
    }
}

impl Shared {
    fn request(&self, method: Method) -> RequestBuilder {
        let mut request = self.site.client.request(method, self.site.url.clone()).headers(self.site.headers.clone());
        if let Some(version) = &*lock(&self.version) {
            request = request.header(VERSION, version);
        }
        if let Some(session) = &*lock(&self.session) {
            request = request.header(SESSION, session);
        }
        request
    }

    async fn post(&self, message: &Outgoing) -> Result<Response, ToolFailure> {
        let mut request = self.request(Method::POST).header("accept", "application/json, text/event-stream");
        for (name, value) in &message.headers {
            request = request.header(name, value);
        }
        if self.modern.load(Ordering::Relaxed) && !message.method.is_empty() {
            request = request.header("mcp-method", &message.method);
        }
        request = request.header(CONTENT_TYPE, "application/json").body(message.body.to_string());
        request.send().await.map_err(|error| broken(&error))
    }

    async fn exchange(&self, message: Outgoing) {
        let outcome = match self.post(&message).await {
            Ok(response) => self.take(&message, response).await,
            Err(failure) => Err(failure),
        };
        match (outcome, message.id) {
            (Ok(()), _) => {}
            (Err(failure), Some(id)) => drop(self.heard.send(Heard::Failed { id, failure }).await),
            (Err(failure), None) => {
                tracing::debug!(%failure, method = message.method, "a message to an upstream server got lost");
            }
        }
    }

    async fn take(&self, message: &Outgoing, response: Response) -> Result<(), ToolFailure> {
        if message.method == "initialize"
            && let Some(session) = response.headers().get(SESSION).and_then(|value| value.to_str().ok())
        {
            *lock(&self.session) = Some(session.to_owned());
        }
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let Some(id) = message.id else { return if status.is_success() { Ok(()) } else { Err(refused(status)) } };
        if !status.is_success() {
            return self.take_refusal(id, status, response).await;
        }
        if kind.starts_with("text/event-stream") {
            return self.follow(id, response).await;
        }
        if !kind.starts_with("application/json") {
            let found = wire::cut(&kind, 80);
            let problem = format!("the server answered with HTTP {status} and `{found}`, expected JSON or a stream of events");
            return Err(ToolFailure::new(FailureKind::BadOutput, problem));
        }
        let bytes = self.site.body(response).await?;
        drop(self.heard.send(Heard::Message { bytes, via: Some(id) }).await);
        // An answer to another request would leave this one waiting for ever.
        drop(self.heard.send(Heard::Failed { id, failure: unanswered() }).await);
        Ok(())
    }

    /// A refusal often holds a JSON-RPC error, sometimes without the request's id.
    async fn take_refusal(&self, id: u64, status: StatusCode, response: Response) -> Result<(), ToolFailure> {
        if status == StatusCode::NOT_FOUND && lock(&self.session).is_some() && !self.modern.load(Ordering::Relaxed) {
            let over = ToolFailure::new(FailureKind::Unavailable, "the server ended the session").with_hint("try again");
            drop(self.heard.send(Heard::Ended(over)).await);
            return Ok(());
        }
        let body = self.site.body(response).await.unwrap_or_default();
        match serde_json::from_slice::<Value>(&body) {
            Ok(Value::Object(mut map)) if map.get("error").is_some_and(Value::is_object) => {
                map.insert("id".to_owned(), json!(id));
                let bytes = Value::Object(map).to_string().into_bytes();
                drop(self.heard.send(Heard::Message { bytes, via: Some(id) }).await);
                Ok(())
            }
            _ => Err(refused(status)),
        }
    }

    /// Reads a stream until the answer is through; a stream that breaks off before is taken up again where it can be.
    async fn follow(&self, id: u64, response: Response) -> Result<(), ToolFailure> {
        let mut last = None;
        let mut response = Some(response);
        for _ in 0..=RESUMPTIONS {
            if let Some(response) = response.take() {
                self.read(response, Some(id), &mut last).await?;
            }
            // Whether the answer was among the events is the peer's to know: it has ended this task then.
            let Some(event) = &last else { break };
            tokio::time::sleep(RESUME_AFTER).await;
            let request = self.request(Method::GET).header("accept", "text/event-stream").header("last-event-id", event);
            match request.send().await {
                Ok(resumed) if resumed.status().is_success() => response = Some(resumed),
                _ => break,
            }
        }
        Err(unanswered())
    }

    async fn read(&self, mut response: Response, via: Option<u64>, last: &mut Option<String>) -> Result<(), ToolFailure> {
        let mut events = Events::new(self.site.max_message);
        // A stream that breaks off ends like one that is closed: what came before counts.
        while let Ok(Some(chunk)) = response.chunk().await {
            for event in events.push(&chunk).map_err(|_| self.site.too_large())? {
                if event.id.as_ref().is_some_and(|id| !id.is_empty()) {
                    last.clone_from(&event.id);
                }
                if matches!(event.name.as_str(), "" | "message") && !event.data.is_empty() {
                    drop(self.heard.send(Heard::Message { bytes: event.data.into_bytes(), via }).await);
                }
            }
        }
        Ok(())
    }
}

/// Listens for what the server tells without being asked, in the era that has sessions.
async fn news(shared: Arc<Shared>) {
    let mut last = None;
    while !shared.closed.is_cancelled() {
        let mut request = shared.request(Method::GET).header("accept", "text/event-stream");
        if let Some(event) = &last {
            request = request.header("last-event-id", event);
        }
        let listening = async {
            let Ok(response) = request.send().await else { return true };
            // Not every server has news to tell; those answer 405.
            if !response.status().is_success() {
                return false;
            }
            shared.read(response, None, &mut last).await.is_ok()
        };
        tokio::select! {
            again = listening => if !again { return },
            () = shared.closed.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(NEWS_AGAIN) => {}
            () = shared.closed.cancelled() => return,
        }
    }
}

fn unanswered() -> ToolFailure {
    ToolFailure::new(FailureKind::BadOutput, "the server ended its answer without giving one")
}

pub(crate) fn refused(status: StatusCode) -> ToolFailure {
    let failure = ToolFailure::new(FailureKind::Unavailable, format!("the server answered with HTTP {status}"));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            failure.with_hint("ask the operator to check the secrets that the plugin's headers are made of")
        }
        _ => failure,
    }
}
