//! The MCP handler, by hand, for both protocol eras. One endpoint is one view over one channel.

use std::{borrow::Cow, sync::Arc};

use axum::http::request::Parts;
use futures::{StreamExt as _, stream::FuturesUnordered};
use policy::{SessionId, TraceId};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod, CompleteRequestParams,
        CompleteResult, CustomRequest, CustomResult, DiscoverResult, Implementation, InputRequiredResult, InputResponses,
        ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod, ListResourceTemplatesResult,
        ListResourcesRequestMethod, ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams,
        ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    asking::can_be_asked,
    held::{HeldCall, Step},
    meta_tools::{self, Request},
    wire,
};
use crate::{CallReply, CallRequest, CallUpdate, Caller, Code, Host, View, session::META_KEY};

/// How long a list may be taken from a client's cache, in milliseconds; a change is told besides.
const LIST_TTL_MS: u64 = 60_000;
/// Updates that may wait for a slow client.
const UPDATE_QUEUE: usize = 64;
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

const INSTRUCTIONS: &str = "Tools of installed plugins, each run in a sandbox. Use search_tools with the task in plain words to find the right one. \
    A result that says `denied` can only be changed by the operator of this server.";

/// Where requests come from.
#[derive(Debug, Clone)]
pub(crate) enum Channel {
    /// One connection is one session, of one caller.
    Connection {
        session: SessionId,
        caller: Caller,
        /// Cancelled when nobody hears any more.
        ended: CancellationToken,
    },
    /// Each HTTP request says who calls and in which session.
    Http,
}

/// What rmcp drives: one view of the host over one channel.
#[derive(Clone)]
pub(crate) struct Endpoint {
    host: Arc<Host>,
    view: View,
    channel: Channel,
    config: Arc<ServerConfig>,
}

impl Endpoint {
    pub(crate) fn new(host: Arc<Host>, view: View, channel: Channel) -> Self {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let config = ServerConfig::new(capabilities).with_server_info(implementation()).with_instructions(INSTRUCTIONS);
        Self { host, view, channel, config: Arc::new(config) }
    }

    fn caller(&self, context: &RequestContext<RoleServer>) -> Caller {
        match &self.channel {
            Channel::Connection { caller, .. } => caller.clone(),
            // The guard of the HTTP server puts it there; without it, nobody is let through as anybody.
            Channel::Http => {
                let parts = context.extensions.get::<Parts>();
                parts.and_then(|parts| parts.extensions.get::<Caller>()).cloned().unwrap_or_else(Caller::nobody)
            }
        }
    }

    /// The session of a request, and whether the caller is to get a handle with the result.
    fn session(
        &self,
        context: &RequestContext<RoleServer>,
        caller: &Caller,
    ) -> Result<(Option<SessionId>, bool), Box<CallToolResult>> {
        if let Channel::Connection { session, .. } = &self.channel {
            return Ok((Some(session.clone()), false));
        }
        if !is_stateless(context) {
            let header = context.extensions.get::<Parts>().and_then(|parts| parts.headers.get("mcp-session-id"));
            return Ok((header.and_then(|id| id.to_str().ok()).map(|id| SessionId(id.into())), false));
        }
        match context.meta.0.0.get(META_KEY) {
            None => Ok((self.host.sessions.begin().ok(), true)),
            Some(handle) => {
                let session = handle.as_str().and_then(|handle| self.host.sessions.verify(handle, caller.name()));
                match session.filter(|session| self.host.stateless.is_open(session)) {
                    Some(session) => Ok((Some(session), true)),
                    None => Err(Box::new(wire::error_result(&format!(
                        "{}: the session has ended, or its handle was not made for this caller\nhint: leave `{META_KEY}` out to begin a new session",
                        Code::BadSession.as_str()
                    )))),
                }
            }
        }
    }

    async fn call(&self, request: CallRequest, context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let (name, caller) = (request.name.clone(), request.caller.clone());
        let (session, handle) = match self.session(context, &caller) {
            Ok(session) => session,
            Err(result) => return Ok((*result).into()),
        };
        let trace = context.meta.0.get_traceparent().filter(|trace| is_traceparent(trace)).map(|trace| TraceId(trace.into()));
        let request = CallRequest { session: session.clone(), trace, ..request };
        if is_stateless(context) && can_be_asked(context) {
            let call = HeldCall::begin(&self.host, request, &self.ended());
            return self.follow(&name, call, handle, &caller, context).await;
        }
        let reply = self.run(request, context).await;
        self.finish(&name, reply, session.filter(|_| handle), &caller).await.map(Into::into)
    }

    /// Takes up a call that waits for an answer.
    async fn resume(
        &self,
        name: &str,
        args: &Map<String, Value>,
        (state, said): (&str, InputResponses),
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let id = self.host.sessions.verify(state, caller.name());
        let Some(mut call) = id.and_then(|id| self.host.held.take(&id, name, args)) else {
            let problem = "no call of this caller, tool and arguments waits for an answer under this `requestState`";
            let text = format!("{}: {problem}\nhint: call again without it", Code::BadSession.as_str());
            return Ok(wire::error_result(&text).into());
        };
        call.answer(said);
        self.follow(name, call, matches!(self.channel, Channel::Http), caller, context).await
    }

    /// Waits for the end of a call that may ask, or ends the request with what it asks.
    async fn follow(
        &self,
        name: &str,
        mut call: HeldCall,
        handle: bool,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        loop {
            let questions = match call.advance(context).await {
                Step::Ended(reply) => {
                    let session = call.session.take().filter(|_| handle);
                    return self.finish(name, reply, session, caller).await.map(Into::into);
                }
                Step::Asks(questions) => questions,
            };
            let id = self.host.sessions.begin().map_err(|error| wire::protocol_error(Code::InternalError, error.to_string()))?;
            let state = self.host.sessions.handle(&id, caller.name());
            match self.host.held.hold(id, call) {
                Ok(()) => return Ok(InputRequiredResult::new(Some(questions), Some(state)).into()),
                Err(refused) => call = *refused,
            }
        }
    }

    /// The result of a call, with the handle of its session where the caller needs one.
    async fn finish(
        &self,
        name: &str,
        reply: CallReply,
        session: Option<SessionId>,
        caller: &Caller,
    ) -> Result<CallToolResult, ErrorData> {
        let in_session = reply.in_session;
        let mut result = wire::result(name, reply.outcome)?;
        if let (true, Some(session)) = (in_session, session) {
            if let Some(ended) = self.host.stateless.use_now(&session) {
                self.host.end_session(&ended).await;
            }
            let handle = self.host.sessions.handle(&session, caller.name());
            result.meta.get_or_insert_with(MetaObject::new).0.insert(META_KEY.to_owned(), json!(handle));
        }
        Ok(result)
    }

    /// Cancelled when nobody can come back for what was begun here.
    fn ended(&self) -> CancellationToken {
        match &self.channel {
            Channel::Connection { ended, .. } => ended.clone(),
            Channel::Http => self.host.killing.clone(),
        }
    }

    /// Runs the call and passes its progress on, in order and before the result.
    async fn run(&self, request: CallRequest, context: &RequestContext<RoleServer>) -> CallReply {
        let token = context.meta.get_progress_token();
        if token.is_none() && !can_be_asked(context) {
            return Box::pin(self.host.call(request, None, context.ct.clone())).await;
        }
        let (sender, receiver) = mpsc::channel(UPDATE_QUEUE);
        let call = Box::pin(self.host.call(request, Some(sender), context.ct.clone()));
        let (reply, ()) = tokio::join!(call, pass_on(receiver, token, context));
        reply
    }

    /// What results of the stateless era carry besides.
    fn sign(&self, meta: &mut Option<MetaObject>, context: &RequestContext<RoleServer>) {
        if is_stateless(context) {
            let info = json!({ "name": self.config.server_info.name, "version": self.config.server_info.version });
            meta.get_or_insert_with(MetaObject::new).0.insert(SERVER_INFO.to_owned(), info);
        }
    }
}

fn implementation() -> Implementation {
    Implementation::new("pegboard", env!("CARGO_PKG_VERSION")).with_title("Pegboard")
}

fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn is_traceparent(text: &str) -> bool {
    text.len() == 55 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

async fn pass_on(mut updates: mpsc::Receiver<CallUpdate>, token: Option<ProgressToken>, context: &RequestContext<RoleServer>) {
    // In this task, not in one of its own: rmcp knows by the task which request a question belongs to.
    let mut asked = FuturesUnordered::new();
    loop {
        let update = tokio::select! {
            update = updates.recv() => update,
            Some(()) = asked.next() => continue,
        };
        let Some(update) = update else { return };
        let (progress, total, message) = match update {
            CallUpdate::Progress { progress, total, message } => (progress, total, message),
            CallUpdate::Ask(request) => {
                asked.push(super::asking::ask(request, context));
                continue;
            }
            CallUpdate::Log { .. } => continue,
        };
        let Some(token) = &token else { continue };
        if !notify(token, (progress, total, message), context).await {
            return;
        }
    }
}

/// Tells how far a call is. False when nobody hears it any more.
pub(super) async fn notify(
    token: &ProgressToken,
    (progress, total, message): (f64, Option<f64>, Option<String>),
    context: &RequestContext<RoleServer>,
) -> bool {
    let mut notification = ProgressNotificationParam::new(token.clone(), progress);
    notification.total = total;
    notification.message = message;
    context.peer.notify_progress(notification).await.is_ok()
}

impl ServerHandler for Endpoint {
    fn get_info(&self) -> ServerConfig {
        (*self.config).clone()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let mut result = DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), self.get_info());
        result.ttl_ms = LIST_TTL_MS;
        result.cache_scope = CacheScope::Public;
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.host.catalog().tool(name).map(|tool| tool.wire.clone())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = self.caller(&context);
        let catalog = self.host.catalog();
        let list = catalog.lists.of(&catalog, self.view, &caller);
        let cursor = request.and_then(|request| request.cursor);
        let page = list
            .page(cursor.as_deref(), catalog.lists.page_size(), &catalog.lists.splices)
            .ok_or_else(|| wire::protocol_error(Code::InvalidParams, "the cursor is not one of this list"))?;
        let scope = if caller.is_limited() { CacheScope::Private } else { CacheScope::Public };
        let mut result =
            ListToolsResult::with_all_items(page.stand_in.into_iter().collect()).with_ttl_ms(LIST_TTL_MS).with_cache_scope(scope);
        result.next_cursor = page.next_cursor;
        self.sign(&mut result.meta, &context);
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = self.caller(&context);
        let args = request.arguments.unwrap_or_default();
        let name = request.name.into_owned();
        let (name, args, search) = if meta_tools::names(self.view).contains(&name.as_str()) {
            match meta_tools::run(&self.host, self.view, &caller, &name, args).await {
                Request::Answer(mut result) => {
                    self.sign(&mut result.meta, &context);
                    return Ok(result.into());
                }
                Request::Forward { name, args, search } => (name, args, search),
            }
        } else {
            (name, args, None)
        };
        let mut response = match &request.request_state {
            Some(state) => {
                let answers = (state.as_str(), request.input_responses.unwrap_or_default());
                self.resume(&name, &args, answers, &caller, &context).await?
            }
            None => {
                let request = CallRequest { name, args, session: None, trace: None, search, caller };
                self.call(request, &context).await?
            }
        };
        match &mut response {
            CallToolResponse::Complete(result) => self.sign(&mut result.meta, &context),
            CallToolResponse::InputRequired(result) => self.sign(&mut result.meta, &context),
            _ => {}
        }
        Ok(response)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.config.capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let _subscription = self.host.subscribers.add_sink(context.sink().clone());
        let ended = match &self.channel {
            Channel::Connection { ended, .. } => ended.clone(),
            Channel::Http => CancellationToken::new(),
        };
        tokio::select! {
            () = context.cancelled() => {}
            () = ended.cancelled() => {}
            () = self.host.stopping.cancelled() => {}
        }
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.host.subscribers.add_peer(context.peer);
    }

    // rmcp answers the following with empty lists, although nothing of the kind is declared.

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>())
    }

    async fn complete(&self, _: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    /// Requests that rmcp does not know, and requests of ours whose parameters do not fit.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        const OURS: [&str; 4] = ["server/discover", "tools/list", "tools/call", "subscriptions/listen"];
        // The stateless era has neither of these, well-formed or not.
        const EARLIER: [&str; 2] = ["initialize", "ping"];
        let method = crate::clean::one_line(&request.method, 80);
        let name = request.method.as_str();
        if OURS.contains(&name) || (EARLIER.contains(&name) && !is_stateless(&context)) {
            return Err(wire::protocol_error(Code::InvalidParams, format!("the parameters of `{method}` do not fit")));
        }
        Err(wire::protocol_error(Code::MethodNotFound, format!("unknown method `{method}`")))
    }
}
