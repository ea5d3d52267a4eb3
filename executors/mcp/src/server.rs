//! One server that runs or is connected: handshake of either era, its tools, and calls whose definition is the approved one.
//!
//! When a server is started, ended and started again is the supervisor's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, atomic::Ordering},
    time::{Duration, Instant},
};

use executor_api::{CallIo, FailureKind, Observer, ToolFailure, ToolOutcome};
use manifest_schema::Digest;
use policy::{Allowed, Definition, Plugin};
use sandbox::cgroup::Cgroups;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    McpSettings, Offered, ServerIdentity,
    definitions::{self, Listing, MAX_TOOLS},
    handshake::{Hello, handshake},
    headers::repeated,
    http::Http,
    jail::Jailed,
    peer::{self, Ask, Era, Fault, Link, Peer},
    pipe::{ErrorTail, Pipes},
    results,
    sse::Sse,
    web::Site,
    wire::{self, RpcError},
};

/// Messages that may wait to be understood.
const INCOMING: usize = 64;
/// The most pages of one list.
const MAX_PAGES: usize = 500;
/// Questions to the user within one call of the stateless era.
const MAX_ROUNDS: usize = 8;
/// A list is asked for again at a call after this long: not every server says when its tools change.
const RELIST_AFTER: Duration = Duration::from_secs(60);
/// How long a process that has closed its output may take to end by itself.
const ENDING: Duration = Duration::from_millis(300);

/// What all servers share.
pub(crate) struct Parts {
    pub(crate) settings: McpSettings,
    pub(crate) groups: Cgroups,
    /// Told what servers offer, once somebody wants to know.
    pub(crate) observer: OnceLock<Observer>,
}

/// A server that can be called.
pub(crate) struct Server {
    pub(crate) peer: Arc<Peer>,
    pub(crate) identity: ServerIdentity,
    pub(crate) protocol: String,
    pub(crate) instructions: Option<String>,
    capabilities: Value,
    known: RwLock<Arc<Known>>,
    /// Held while a list is asked for, so that it is asked for once.
    listing: tokio::sync::Mutex<()>,
    process: Mutex<Option<Jailed>>,
    errors: Option<ErrorTail>,
    autopsy: tokio::sync::OnceCell<ToolFailure>,
    start_limit: Duration,
}

/// The tools as they were last listed.
pub(crate) struct Known {
    pub(crate) listing: Listing,
    digests: HashMap<String, Digest>,
    at: Instant,
    /// How many announcements of a change it includes.
    announced: u64,
}

impl Known {
    fn of(listing: Listing, announced: u64) -> Arc<Self> {
        let digests = listing.tools.iter().map(|tool| (tool.name.clone(), tool.digest())).collect();
        Arc::new(Self { listing, digests, at: Instant::now(), announced })
    }
}

impl Server {
    /// Starts or connects, shakes hands, and lists.
    ///
    /// # Errors
    /// What the caller of a tool is told.
    pub(crate) async fn start(parts: &Arc<Parts>, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Result<Self, ToolFailure> {
        let is_address = plugin.manifest.mcp.as_ref().is_some_and(|server| server.url.is_some());
        if is_address { Self::connect(parts, plugin, allowed).await } else { Self::launch(parts, plugin, allowed).await }
    }

    async fn launch(parts: &Arc<Parts>, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Result<Self, ToolFailure> {
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| ToolFailure::new(FailureKind::Internal, format!("a pipe could not be made: {error}")))?;
        let mut jailed = {
            let (parts, plugin, allowed) = (Arc::clone(parts), Arc::clone(plugin), Arc::clone(allowed));
            let started =
                tokio::task::spawn_blocking(move || Jailed::start(&parts.settings, &parts.groups, &plugin, &allowed, theirs));
            started
                .await
                .map_err(|error| ToolFailure::new(FailureKind::Internal, format!("starting a sandbox failed: {error}")))??
        };
        let (sender, heard) = mpsc::channel(INCOMING);
        let (output, errors) =
            jailed.take_output().ok_or_else(|| ToolFailure::new(FailureKind::Internal, "the server's output can't be read"))?;
        let pipes = Pipes::open(ours, output, parts.settings.max_message, sender)
            .map_err(|error| ToolFailure::new(FailureKind::Internal, format!("the server's pipes can't be used: {error}")))?;
        let name = plugin.manifest.name.as_str();
        let errors = ErrorTail::follow(name, errors);
        let peer = Peer::begin(name, Box::new(pipes), heard);
        Self::greet(parts, peer, Some(jailed), Some(errors)).await
    }

    async fn connect(parts: &Arc<Parts>, plugin: &Arc<Plugin>, allowed: &Arc<Allowed>) -> Result<Self, ToolFailure> {
        let site = Site::open(plugin, allowed, parts.settings.max_message)?;
        let name = plugin.manifest.name.as_str();
        let begin = |link: Box<dyn Link>, heard| Peer::begin(name, link, heard);
        let (sender, heard) = mpsc::channel(INCOMING);
        let peer = begin(Box::new(Http::new(site.clone(), sender)), heard);
        let failure = match Self::greet(parts, peer, None, None).await {
            Ok(server) => return Ok(server),
            Err(failure) => failure,
        };
        // Old servers know no POST at this address; they say so by a status.
        if !["HTTP 404", "HTTP 405", "HTTP 400"].iter().any(|status| failure.message.contains(status)) {
            return Err(failure);
        }
        let (sender, heard) = mpsc::channel(INCOMING);
        let sse = tokio::time::timeout(parts.settings.start_limit, Sse::connect(site, sender)).await;
        match sse {
            Ok(Ok(sse)) => Self::greet(parts, begin(Box::new(sse), heard), None, None).await,
            // The newer transport's answer says more about a server that speaks neither.
            Ok(Err(_)) | Err(_) => Err(failure),
        }
    }

    /// Shakes hands and lists, or ends everything and says why.
    async fn greet(
        parts: &Arc<Parts>,
        peer: Arc<Peer>,
        process: Option<Jailed>,
        errors: Option<ErrorTail>,
    ) -> Result<Self, ToolFailure> {
        let limit = parts.settings.start_limit;
        let deadline = Instant::now() + limit;
        let (hello, problem) = match handshake(&peer, deadline).await {
            Ok(hello) => (hello, None),
            Err(fault) => (Hello::nobody(), Some(fault)),
        };
        let server = Self {
            peer,
            identity: hello.identity,
            protocol: hello.protocol,
            instructions: hello.instructions,
            capabilities: hello.capabilities,
            known: RwLock::new(Known::of(Listing::default(), 0)),
            listing: tokio::sync::Mutex::default(),
            process: Mutex::new(process),
            errors,
            autopsy: tokio::sync::OnceCell::new(),
            start_limit: limit,
        };
        let problem = match problem {
            Some(fault) => Some(fault),
            None => server.list(deadline).await.err(),
        };
        match problem {
            None => Ok(server),
            Some(fault) => Err(server.not_started(fault, limit).await),
        }
    }

    async fn not_started(&self, fault: Fault, limit: Duration) -> ToolFailure {
        let mut failure = match fault {
            Fault::TimedOut | Fault::Cancelled => {
                let mut message = format!("the server did not answer within {} s of its start", limit.as_secs());
                if let Some(text) = self.peer.first_garbage() {
                    message = format!("{message}; what it wrote is no message of the protocol: `{text}`");
                }
                ToolFailure::new(FailureKind::LoadFailed, message)
            }
            Fault::Rpc(error) => ToolFailure::new(FailureKind::LoadFailed, format!("the server refused: {}", told(&error))),
            Fault::Broken(failure) if failure.kind == FailureKind::Crashed => {
                let died = self.autopsy(failure).await;
                let kind = if died.kind == FailureKind::OutOfMemory { died.kind } else { FailureKind::LoadFailed };
                ToolFailure { kind, ..died }
            }
            Fault::Broken(failure) => failure,
        };
        if failure.detail.is_none() {
            failure.detail = self.errors.as_ref().map(ErrorTail::text).filter(|text| !text.is_empty());
        }
        self.stop(failure.clone()).await;
        failure
    }

    /// Lists everything and remembers it. One at a time.
    async fn list(&self, deadline: Instant) -> Result<Arc<Known>, Fault> {
        let announced = self.peer.announced.load(Ordering::Acquire);
        let items = match self.capabilities.get("tools") {
            Some(_) => self.pages("tools/list", "tools", MAX_TOOLS, deadline).await?,
            None => Vec::new(),
        };
        let known = Known::of(definitions::read(items), announced);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        Ok(known)
    }

    /// Every page of a list, bounded in pages and in items.
    async fn pages(&self, method: &str, key: &str, most: usize, deadline: Instant) -> Result<Vec<Value>, Fault> {
        let bad = |problem: String| Fault::Broken(ToolFailure::new(FailureKind::BadOutput, problem));
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let mut page = self.request(method, params, deadline).await?;
            let Some(Value::Array(found)) = page.get_mut(key).map(Value::take) else {
                return Err(bad(format!("the server's answer to `{method}` has no list of `{key}`")));
            };
            items.extend(found);
            if items.len() > most {
                return Err(bad(format!("the server lists more than {most} {key}")));
            }
            match page.get("nextCursor").and_then(Value::as_str) {
                None | Some("") => return Ok(items),
                Some(next) if cursor.as_deref() == Some(next) => {
                    return Err(bad(format!("the server's pages of `{method}` lead back to themselves")));
                }
                Some(next) => cursor = Some(next.to_owned()),
            }
        }
        Err(bad(format!("the server's list has more than {MAX_PAGES} pages")))
    }

    async fn request(&self, method: &str, params: Value, deadline: Instant) -> Result<Value, Fault> {
        let never = CancellationToken::new();
        self.peer.ask(Ask { method, params, headers: Vec::new(), frames: None, deadline, cancel: &never }).await
    }

    /// The tools as last listed.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists again when the server said that something changed, or when it was long ago; the new list, when there is one.
    pub(crate) async fn refresh(&self) -> Result<Option<Arc<Known>>, Fault> {
        let _one = self.listing.lock().await;
        if !self.is_stale() && !self.is_old() {
            return Ok(None);
        }
        self.list(Instant::now() + self.start_limit).await.map(Some)
    }

    /// Whether a change was announced that the list does not include.
    pub(crate) fn is_stale(&self) -> bool {
        self.known().announced < self.peer.announced.load(Ordering::Acquire)
    }

    pub(crate) fn is_old(&self) -> bool {
        self.known().at.elapsed() >= RELIST_AFTER
    }

    /// Refuses a tool whose definition is not the approved one.
    pub(crate) fn check(&self, approved: &Definition) -> Result<(), ToolFailure> {
        let review = |message: &str| {
            Err(ToolFailure::new(FailureKind::Unavailable, message.to_owned()).with_hint("ask the operator to review it"))
        };
        match self.known().digests.get(&approved.name) {
            Some(now) if *now == approved.digest() => Ok(()),
            Some(_) => review("the definition of the tool changed since it was approved"),
            None => review("the server does not offer this tool any more, or its definition is refused"),
        }
    }

    /// One call of a tool whose definition was checked.
    pub(crate) async fn call(
        &self,
        definition: &Definition,
        args: &Map<String, Value>,
        io: &CallIo,
    ) -> Result<ToolOutcome, Fault> {
        let mut params = json!({ "name": definition.name, "arguments": args });
        for _ in 0..MAX_ROUNDS {
            let ask = Ask {
                method: "tools/call",
                params: params.clone(),
                headers: if self.peer.era() == Era::Modern { repeated(definition, args) } else { Vec::new() },
                frames: Some(io.frames.clone()),
                deadline: io.deadline,
                cancel: &io.cancel,
            };
            let result = self.peer.ask(ask).await?;
            match result.get("resultType").and_then(Value::as_str) {
                None | Some("complete") => return Ok(results::outcome(result)),
                Some("input_required") => self.provide(result, &mut params, io).await?,
                Some(other) => {
                    let problem =
                        format!("the server answered with a result of type `{}`, which is not supported", wire::cut(other, 40));
                    return Err(Fault::Broken(ToolFailure::new(FailureKind::Unsupported, problem)));
                }
            }
        }
        let problem = format!("the server asked more than {MAX_ROUNDS} times before it answered");
        Err(Fault::Broken(ToolFailure::new(FailureKind::BadOutput, problem)))
    }

    /// Gets what the server asks for within a call of the stateless era. Only questions to the user can be served.
    async fn provide(&self, mut result: Value, params: &mut Value, io: &CallIo) -> Result<(), Fault> {
        let mut responses = Map::new();
        let asked = result.get_mut("inputRequests").map(Value::take);
        for (key, request) in
            asked.into_iter().filter_map(|asked| if let Value::Object(map) = asked { Some(map) } else { None }).flatten()
        {
            let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
            if method != "elicitation/create" {
                let problem = format!("the server asks for `{}`, which is not offered", wire::cut(method, 40));
                return Err(Fault::Broken(ToolFailure::new(FailureKind::Unsupported, problem)));
            }
            let question = request.get("params").cloned().unwrap_or_else(|| json!({}));
            let answer = tokio::select! {
                answer = peer::ask_user(&io.frames, question) => answer.map_err(Fault::Broken)?,
                () = io.cancel.cancelled() => return Err(Fault::Cancelled),
                () = tokio::time::sleep_until(io.deadline.into()) => return Err(Fault::TimedOut),
            };
            responses.insert(key, answer);
        }
        if let Value::Object(params) = params {
            params.insert("inputResponses".to_owned(), Value::Object(responses));
            if let Some(state) = result.get_mut("requestState").map(Value::take) {
                params.insert("requestState".to_owned(), state);
            }
        }
        Ok(())
    }

    /// Hears of changes in the stateless era, for as long as the server lives; in the other one it hears of them anyway.
    pub(crate) fn subscribe(&self) {
        if self.peer.era() == Era::Legacy {
            return;
        }
        let peer = Arc::clone(&self.peer);
        drop(tokio::spawn(async move {
            let params = json!({ "notifications": { "toolsListChanged": true } });
            let far = Instant::now() + Duration::from_secs(30 * 24 * 3600);
            let (headers, gone) = (Vec::new(), peer.gone.clone());
            // A server without subscriptions refuses; its list is asked for again now and then.
            let ask = Ask { method: "subscriptions/listen", params, headers, frames: None, deadline: far, cancel: &gone };
            drop(peer.ask(ask).await);
        }));
    }

    /// Names of what is offered and not served.
    pub(crate) async fn offered(&self, capability: &str, name: &str) -> Vec<Offered> {
        const MOST: usize = 500;
        if self.capabilities.get(capability).is_none() {
            return Vec::new();
        }
        let deadline = Instant::now() + self.start_limit;
        let items = self.pages(&format!("{capability}/list"), capability, MOST, deadline).await.unwrap_or_default();
        let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(|text| wire::cut(text, 1000));
        items
            .iter()
            .filter_map(|item| Some(Offered { name: text(item, name)?, description: text(item, "description") }))
            .collect()
    }

    /// What a server that ended says for itself: its exit, its memory, the end of its standard error. Asked once, told to everyone.
    pub(crate) async fn autopsy(&self, failure: ToolFailure) -> ToolFailure {
        let looked = self.autopsy.get_or_init(|| async {
            let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(process) = process else { return failure };
            let ended = tokio::task::spawn_blocking(move || (process.ran_out_of_memory(), process.end(ENDING))).await;
            let (memory, ended) = ended.unwrap_or((false, None));
            let mut failure = failure;
            if memory {
                failure = ToolFailure::new(FailureKind::OutOfMemory, "the server used up its memory");
            } else if let Some(code) = ended.and_then(|ended| ended.code) {
                failure.message = format!("{} (exit code {code})", failure.message);
            } else if let Some(signal) = ended.and_then(|ended| ended.signal) {
                failure.message = format!("{} (signal {signal})", failure.message);
            }
            failure.detail = self.errors.as_ref().map(ErrorTail::text).filter(|text| !text.is_empty());
            failure
        });
        looked.await.clone()
    }

    /// Ends it; calls that still run get this failure.
    pub(crate) async fn stop(&self, failure: ToolFailure) {
        self.peer.end(failure);
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(process) = process {
            // Closing its input asks a well-behaved server to end; whatever is left after that is killed.
            drop(tokio::task::spawn_blocking(move || process.end(ENDING)).await);
        }
    }
}

/// A server's error in words.
pub(crate) fn told(error: &RpcError) -> String {
    format!("{} (code {})", error.message, error.code)
}
