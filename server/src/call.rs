//! The way of a call, the same for MCP and for the command line. It never turns back, and every exit passes `record`.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use executor_api::{CallIo, Content, FailureKind, Frame, HostRequest, LogLevel, ToolFailure, ToolOutcome, ToolOutput};
use futures::FutureExt as _;
use manifest_schema::Runtime;
use policy::{Denial, PermittedCall, Plugin, ResolvedCall, SessionId, ToolPatterns, TraceId};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use crate::catalog::Misfit as ArgumentProblem;
use crate::{
    Code, Host, Seen, Witness,
    catalog::{Catalog, Lookup, PluginEntry, ServedTool, wrap_value},
    clean::{clean_content, clean_string, clean_text, clean_value, one_line},
    witness,
};

/// How long past its deadline an executor may take before the host gives the call up itself.
const OVERTIME: Duration = Duration::from_secs(5);
/// How long a cancelled call may take to end.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// Frames that may wait between an executor and the host.
const FRAME_QUEUE: usize = 64;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: Option<Arc<str>>,
    coverage: Coverage,
    /// Whether calls that succeed may teach the search, where the operator lets it learn.
    teaches: bool,
}

/// Which tools a caller may see and call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Coverage {
    Everything,
    Patterns(Arc<ToolPatterns>),
    Nothing,
}

impl Caller {
    /// The person at the machine, or a client without a token: every served tool.
    #[must_use]
    pub const fn local() -> Self {
        Self { name: None, coverage: Coverage::Everything, teaches: true }
    }

    /// The bearer of a token: the tools of its patterns.
    #[must_use]
    pub fn token(name: &str, tools: ToolPatterns) -> Self {
        Self { name: Some(name.into()), coverage: Coverage::Patterns(Arc::new(tools)), teaches: false }
    }

    /// Nobody known: no tool at all.
    pub(crate) const fn nobody() -> Self {
        Self { name: None, coverage: Coverage::Nothing, teaches: false }
    }

    /// The same caller, whose successful calls teach the search or do not. At first the person at the machine teaches, a token does not.
    #[must_use]
    pub fn teaching(self, teaches: bool) -> Self {
        Self { teaches, ..self }
    }

    pub(crate) const fn teaches(&self) -> bool {
        self.teaches
    }

    /// The token's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the caller may see and call a tool.
    #[must_use]
    pub fn covers(&self, tool: &str) -> bool {
        match &self.coverage {
            Coverage::Everything => true,
            Coverage::Patterns(patterns) => patterns.allows(tool),
            Coverage::Nothing => false,
        }
    }

    /// Tells callers who see the same list from others, for as long as the caller is kept.
    pub(crate) fn list_key(&self) -> usize {
        match &self.coverage {
            Coverage::Everything => 0,
            Coverage::Nothing => 1,
            Coverage::Patterns(patterns) => Arc::as_ptr(patterns) as usize,
        }
    }

    /// Whether another caller sees the same tools.
    pub(crate) fn sees_as(&self, other: &Self) -> bool {
        self.coverage == other.coverage
    }

    /// Whether there are tools that the caller may not see.
    pub(crate) fn is_limited(&self) -> bool {
        self.coverage != Coverage::Everything
    }
}

/// A call as it is asked for.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// Served name of the tool.
    pub name: String,
    /// Its arguments, not checked yet.
    pub args: Map<String, Value>,
    /// The client's session, for `isolation: session`.
    pub session: Option<SessionId>,
    /// Ties the call to the caller's own trace; made here when there is none.
    pub trace: Option<TraceId>,
    /// The `search_id` of the search that led to the call.
    pub search: Option<String>,
    /// Who calls.
    pub caller: Caller,
}

impl CallRequest {
    /// A call by the person at the machine, in no session.
    #[must_use]
    pub fn local(name: impl Into<String>, args: Map<String, Value>) -> Self {
        Self { name: name.into(), args, session: None, trace: None, search: None, caller: Caller::local() }
    }
}

/// What comes back while a call runs.
#[derive(Debug, Clone, PartialEq)]
pub enum CallUpdate {
    /// How far it is; strictly increasing.
    Progress {
        /// Done so far.
        progress: f64,
        /// Of how much.
        total: Option<f64>,
        /// In words, cleaned.
        message: Option<String>,
    },
    /// A request that only the caller can serve, such as a question to the user. Dropped unanswered, it is refused.
    Ask(HostRequest),
    /// A line of its log, cleaned.
    Log {
        /// Severity.
        level: LogLevel,
        /// The line.
        message: String,
    },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// It returned; `structured` is always an object, and fits the tool's output schema where it has one.
    Completed(ToolOutput),
    /// It did not.
    Failed(ToolFailure),
    /// A key is missing.
    Denied(Denial),
    /// The caller's token does not cover the name. The same answer whether or not such a tool exists.
    NotCovered,
    /// The arguments do not fit; never empty.
    BadArguments(Vec<ArgumentProblem>),
    /// There is no such tool; the nearest served ones.
    UnknownTool(Vec<String>),
}

impl CallOutcome {
    /// The stable word of the outcome; `None` when it completed.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Completed(_) => None,
            Self::Failed(failure) => Some(failure.kind.into()),
            Self::Denied(_) | Self::NotCovered => Some(Code::Denied),
            Self::BadArguments(_) => Some(Code::BadArguments),
            Self::UnknownTool(_) => Some(Code::UnknownTool),
        }
    }
}

/// The end of a call, with what ties it to its log lines.
#[derive(Debug, Clone, PartialEq)]
pub struct CallReply {
    /// The trace the plugin saw.
    pub trace: TraceId,
    /// How it ended.
    pub outcome: CallOutcome,
    /// From its arrival to its end.
    pub elapsed: Duration,
    /// The tool's plugin keeps state a session, so a stateless caller needs a handle.
    pub in_session: bool,
}

/// A call whose tool is known, with what the rest of the way needs of it.
struct Resolved {
    plugin: Arc<PluginEntry>,
    tool: Arc<ServedTool>,
    call: ResolvedCall,
}

/// What one call carries through the pipeline beside its request.
struct Way<'a> {
    host: &'a Host,
    catalog: &'a Catalog,
    trace: TraceId,
    updates: Option<mpsc::Sender<CallUpdate>>,
    cancel: CancellationToken,
}

impl Host {
    /// Calls a tool. Ends when the tool does, when its time is over, or when `cancel` is cancelled; never panics on what a plugin does.
    ///
    /// Updates that find their queue full are dropped; the outcome never is.
    pub async fn call(
        &self,
        request: CallRequest,
        updates: Option<mpsc::Sender<CallUpdate>>,
        cancel: CancellationToken,
    ) -> CallReply {
        let started = Instant::now();
        let _running = self.running.begin();
        let catalog = self.catalog();
        let trace = request.trace.clone().unwrap_or_else(|| self.new_trace());
        let (name, caller, search) = (request.name.clone(), request.caller.clone(), request.search.clone());
        let witness = self.settings.witness.as_ref();
        witness::tell(witness, Seen::Begins { trace: &trace, tool: &name, args: &request.args });
        let way = Way { host: self, catalog: &catalog, trace: trace.clone(), updates, cancel };
        // The one place where a panic of ours is caught: it costs the call, not the host.
        let outcome = AssertUnwindSafe(way.walk(request)).catch_unwind().await.unwrap_or_else(|panic| {
            tracing::error!(tool = %one_line(&name, 80), trace = %trace.0, panic = panic_message(&*panic), "a call panicked");
            CallOutcome::Failed(ToolFailure::new(FailureKind::Internal, "the server failed while it ran the call"))
        });
        let in_session = matches!(catalog.lookup(&name), Lookup::Tool(plugin, _) if plugin.plugin.manifest.isolation == manifest_schema::Isolation::Session);
        let reply = CallReply { trace, outcome, elapsed: started.elapsed(), in_session };
        self.record(&catalog, &name, &caller, &reply);
        witness::tell(witness, Seen::Ends { tool: &name, reply: &reply });
        if let (Some(search), CallOutcome::Completed(_)) = (search, &reply.outcome)
            && self.learns_from(&caller)
        {
            self.learning.accept(&search, &name, &caller, &catalog);
        }
        reply
    }
}

impl Way<'_> {
    async fn walk(self, request: CallRequest) -> CallOutcome {
        let Resolved { plugin, tool, call } = match self.resolve(request) {
            Ok(resolved) => resolved,
            Err(outcome) => return outcome,
        };
        let permitted = match policy::authorize(call, &plugin.standing()) {
            Ok(permitted) => permitted,
            Err(denial) => return self.denied(denial),
        };
        if let Some(failure) = unable(&plugin) {
            return CallOutcome::Failed(failure);
        }
        let _place = match self.enter(&plugin).await {
            Ok(place) => place,
            Err(failure) => return CallOutcome::Failed(failure),
        };
        tracing::debug!(tool = %tool.name, trace = %self.trace.0, "call begins");
        match self.run(permitted).await {
            ToolOutcome::Completed(output) => self.finish(&tool, output),
            ToolOutcome::Failed(failure) => CallOutcome::Failed(clean_failure(failure)),
        }
    }

    /// Which tool, with arguments that fit.
    fn resolve(&self, request: CallRequest) -> Result<Resolved, CallOutcome> {
        // Before anything is looked up, so that a token cannot be used to find out which tools there are.
        if !request.caller.covers(&request.name) {
            return Err(CallOutcome::NotCovered);
        }
        match self.catalog.lookup(&request.name) {
            Lookup::Unknown => Err(CallOutcome::UnknownTool(self.host.nearest(self.catalog, &request.name, &request.caller))),
            Lookup::Pending(plugin) => Err(self.pending(&plugin)),
            Lookup::Tool(plugin, tool) => {
                let args = Value::Object(request.args);
                tool.args.check(&args).map_err(CallOutcome::BadArguments)?;
                let Value::Object(args) = args else { return Err(CallOutcome::BadArguments(Vec::new())) };
                let call = ResolvedCall {
                    plugin: tool.plugin.clone(),
                    tool: tool.spec.clone(),
                    name: tool.name.clone(),
                    args,
                    definition: tool.definition.clone(),
                    session: request.session,
                    trace: self.trace.clone(),
                };
                Ok(Resolved { plugin, tool, call })
            }
        }
    }

    fn pending(&self, plugin: &PluginEntry) -> CallOutcome {
        CallOutcome::Failed(match &plugin.preparation {
            Some(problem) => ToolFailure::new(
                FailureKind::LoadFailed,
                format!("the tool's schema could not be derived: {}", clean_text(problem)),
            ),
            None => {
                ToolFailure::new(FailureKind::Preparing, "the plugin is being made ready").with_hint("try again in a few seconds")
            }
        })
    }

    /// The model sees which key is missing; the command that mends it goes to the operator's log alone.
    fn denied(&self, denial: Denial) -> CallOutcome {
        for missing in &denial.missing {
            let remedy = missing.remedy(&denial.plugin);
            tracing::warn!(tool = %denial.tool, trace = %self.trace.0, %missing, remedy, "call denied");
        }
        CallOutcome::Denied(denial)
    }

    async fn enter(&self, plugin: &PluginEntry) -> Result<impl Drop + use<>, ToolFailure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ToolFailure::new(FailureKind::Cancelled, "the call was cancelled while it waited")),
            () = self.host.stopping.cancelled() => {
                Err(ToolFailure::new(FailureKind::Unavailable, "the server is shutting down").with_hint("try again when it is back"))
            }
            place = plugin.gate.enter() => place.map_err(|full| {
                let message = format!("{} calls of the plugin run and {} wait", full.running, full.waiting);
                ToolFailure::new(FailureKind::Overloaded, message).with_hint("try again later, with fewer calls at once")
            }),
        }
    }

    async fn run(&self, permitted: PermittedCall) -> ToolOutcome {
        let seconds = permitted.call().plugin.manifest.max_execution_time.max(1);
        let limit = Duration::from_secs(u64::from(seconds));
        let executor = self.host.executor(permitted.call().plugin.manifest.runtime);
        let (frames, mut receiver) = mpsc::channel(FRAME_QUEUE);
        let cancel = self.cancel.child_token();
        let io = CallIo { cancel: cancel.clone(), deadline: Instant::now() + limit, frames };
        let mut pump = Pump::new(&permitted, self);
        let outcome = {
            let mut running = executor.run(permitted, io);
            let overtime = tokio::time::sleep(limit + OVERTIME);
            tokio::pin!(overtime);
            let killed = async {
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = self.host.killing.cancelled() => cancel.cancel(),
                }
                tokio::time::sleep(CANCEL_GRACE).await;
            };
            tokio::pin!(killed);
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut running => break outcome,
                    () = &mut killed => break ToolOutcome::Failed(ToolFailure::new(FailureKind::Cancelled, "the call was cancelled")),
                    () = &mut overtime => {
                        break ToolOutcome::Failed(ToolFailure::new(FailureKind::TimedOut, format!("the call took longer than {seconds} s")));
                    }
                    // Last, so that a flood of frames cannot hold up the end of the call.
                    Some(frame) = receiver.recv() => pump.take(frame),
                }
            }
        };
        while let Ok(frame) = receiver.try_recv() {
            pump.take(frame);
        }
        pump.lead(outcome)
    }

    /// Checks, bounds and cleans what the tool returned.
    fn finish(&self, tool: &ServedTool, mut output: ToolOutput) -> CallOutcome {
        output.content.iter_mut().for_each(clean_content);
        if let Some(value) = &mut output.structured {
            clean_value(value);
        }
        let limit = self.host.settings.max_output_bytes;
        let bytes = output.content.iter().map(content_bytes).sum::<usize>()
            + output.structured.as_ref().map_or(0, |value| serde_json::to_vec(value).map_or(usize::MAX / 2, |json| json.len()));
        if bytes > limit {
            let failure = ToolFailure::new(
                FailureKind::OutputTooLarge,
                format!("the result has {bytes} bytes, at most {limit} are allowed"),
            );
            return CallOutcome::Failed(failure.with_hint("ask for less, or for a part of it"));
        }
        if let Some(schema) = &tool.output {
            let Some(value) = &output.structured else {
                let failure = ToolFailure::new(FailureKind::BadOutput, "the tool promises structured content and returned none");
                return CallOutcome::Failed(failure);
            };
            if let Err(misfits) = schema.schema.check(value) {
                let list = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return CallOutcome::Failed(ToolFailure::new(
                    FailureKind::BadOutput,
                    format!("the result does not fit the tool's output schema: {list}"),
                ));
            }
        }
        let wrapped = tool.output.as_ref().is_some_and(|schema| schema.wrapped);
        output.structured = output.structured.map(|value| wrap_value(value, wrapped));
        CallOutcome::Completed(output)
    }
}

/// Why a plugin that lacks no key still cannot run.
fn unable(plugin: &PluginEntry) -> Option<ToolFailure> {
    use crate::Availability as Is;
    match &plugin.availability {
        Is::Served | Is::Withheld(_) => None,
        Is::Disabled => Some(ToolFailure::new(FailureKind::Unsupported, "the plugin is disabled")),
        Is::Incompatible { wanted } => {
            Some(ToolFailure::new(FailureKind::Unsupported, format!("the plugin asks for Pegboard {wanted}")))
        }
        Is::NameRefused { .. } => {
            let message = "the plugin's name is refused, since it is taken for another one's";
            Some(ToolFailure::new(FailureKind::Unavailable, message).with_hint("ask the operator to run `pegboard doctor`"))
        }
        Is::Untrusted { .. } => {
            let message = "the plugin is not signed by anyone whom the operator trusts";
            Some(ToolFailure::new(FailureKind::Unavailable, message).with_hint("ask the operator to run `pegboard doctor`"))
        }
        Is::Lacking { problems } => Some(
            ToolFailure::new(FailureKind::Unavailable, format!("the plugin {}", problems.join("; and ")))
                .with_hint("ask the operator to install what is missing"),
        ),
        Is::Unsupported { runtime: Runtime::Container } => Some(ToolFailure::new(
            FailureKind::Unsupported,
            "the plugin runs in a container, and this machine has no container engine",
        )),
        Is::Unsupported { runtime } => {
            let word = format!("{runtime:?}").to_lowercase();
            Some(ToolFailure::new(FailureKind::Unsupported, format!("`runtime: {word}` is not supported yet")))
        }
    }
}

/// Takes the frames of one call: progress that grows, log lines, content ahead of the result.
struct Pump {
    plugin: Arc<Plugin>,
    trace: TraceId,
    updates: Option<mpsc::Sender<CallUpdate>>,
    witness: Option<Witness>,
    last: f64,
    ahead: Vec<Content>,
    /// Bytes that content ahead of the result may still take.
    room: usize,
}

impl Pump {
    fn new(call: &PermittedCall, way: &Way<'_>) -> Self {
        let settings = &way.host.settings;
        Self {
            plugin: call.call().plugin.clone(),
            trace: way.trace.clone(),
            updates: way.updates.clone(),
            witness: settings.witness.clone(),
            last: f64::NEG_INFINITY,
            ahead: Vec::new(),
            room: settings.max_output_bytes,
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Progress { progress, total, mut message } => {
                // Clients may take a step back for a protocol error, so it is not passed on.
                if progress.is_finite() && progress > self.last {
                    self.last = progress;
                    message.iter_mut().for_each(clean_string);
                    self.send(CallUpdate::Progress { progress, total: total.filter(|total| total.is_finite()), message });
                }
            }
            Frame::Log { level, message } => {
                let message = one_line(&message, 2_000);
                tracing::debug!(plugin = %self.plugin.manifest.name, trace = %self.trace.0, level = ?level, %message, "plugin log");
                witness::tell(self.witness.as_ref(), Seen::Log { trace: &self.trace, level, message: &message });
                self.send(CallUpdate::Log { level, message });
            }
            Frame::Content(content) => {
                // Beyond the bound one block too many is kept, so that the check of the whole result still sees the excess.
                if self.room > 0 {
                    self.room = self.room.saturating_sub(content_bytes(&content).max(1));
                    self.ahead.push(content);
                }
            }
            Frame::Host(request) => {
                tracing::debug!(plugin = %self.plugin.manifest.name, trace = %self.trace.0, kind = %one_line(&request.kind, 60), "a request to the caller");
                // Nobody there, or nobody who takes it: letting go of it refuses it.
                self.send(CallUpdate::Ask(request));
            }
            Frame::Usage { cpu_us, max_rss_kib } => {
                tracing::debug!(plugin = %self.plugin.manifest.name, trace = %self.trace.0, cpu_us, max_rss_kib, "call cost");
            }
        }
    }

    fn send(&self, update: CallUpdate) {
        if let Some(updates) = &self.updates {
            // A slow client loses updates rather than slowing the call.
            let _ = updates.try_send(update);
        }
    }

    /// Puts the content that came ahead before the result.
    fn lead(self, outcome: ToolOutcome) -> ToolOutcome {
        match outcome {
            ToolOutcome::Completed(mut output) if !self.ahead.is_empty() => {
                output.content.splice(0..0, self.ahead);
                ToolOutcome::Completed(output)
            }
            outcome => outcome,
        }
    }
}

fn clean_failure(mut failure: ToolFailure) -> ToolFailure {
    clean_string(&mut failure.message);
    failure.hint.iter_mut().chain(failure.detail.iter_mut()).for_each(clean_string);
    failure
}

fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Text { text } => text.len(),
        Content::Image { data, mime } | Content::Audio { data, mime } => data.len() + mime.len(),
        Content::Resource { uri, mime, text, blob } => {
            uri.len() + [mime, text, blob].into_iter().flatten().map(String::len).sum::<usize>()
        }
        Content::ResourceLink { uri, name, mime, description } => {
            uri.len() + name.len() + [mime, description].into_iter().flatten().map(String::len).sum::<usize>()
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(_) => f.write_str("completed"),
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::Denied(denial) => write!(f, "denied: {denial}"),
            Self::NotCovered => f.write_str("denied: the caller's token does not cover this tool"),
            Self::BadArguments(problems) => {
                f.write_str("bad_arguments: the arguments do not fit the tool's schema")?;
                problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
            Self::UnknownTool(_) => f.write_str("unknown_tool: no such tool is served"),
        }
    }
}
