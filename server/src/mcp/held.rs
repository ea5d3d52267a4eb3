//! Calls of stateless clients that may ask the user something. The protocol has no question in the midst of a request there: the request
//! ends with `input_required`, the call is held, and the client's next request brings the answer and takes the call up again (MCP
//! 2026-07-28, multi round-trip requests).
//!
//! A held call goes on by its own clock: its time limit, its cancellation and its place among its plugin's calls are those of any other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use executor_api::{FailureKind, HostRequest, ToolFailure};
use policy::SessionId;
use rmcp::{
    RoleServer,
    model::{InputRequest, InputRequests, ProgressToken},
    service::RequestContext,
};
use serde_json::{Map, Value};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{asking, handler};
use crate::{CallOutcome, CallReply, CallRequest, CallUpdate, Host};

/// The most calls that wait for an answer at once; the question of one more is refused.
const MAX_HELD: usize = 256;
/// How long the end of a held call is kept for a client that never comes back.
const KEPT: Duration = Duration::from_secs(60);
/// Updates that may wait while nobody listens.
const UPDATE_QUEUE: usize = 64;

/// A call that runs beside the requests that wait for it, and is cancelled when nobody can come back for it.
pub(crate) struct HeldCall {
    name: String,
    args: Map<String, Value>,
    pub(super) session: Option<SessionId>,
    updates: mpsc::Receiver<CallUpdate>,
    ended: JoinHandle<CallReply>,
    asked: BTreeMap<String, (HostRequest, InputRequest)>,
    questions: usize,
    cancel: CancellationToken,
    _cancel_when_dropped: DropGuard,
}

/// Why a request does not wait any longer.
pub(super) enum Step {
    Ended(CallReply),
    Asks(InputRequests),
}

impl HeldCall {
    /// Begins a call that ends with `ended`, at the latest.
    pub(super) fn begin(host: &Arc<Host>, request: CallRequest, ended: &CancellationToken) -> Self {
        let (sender, updates) = mpsc::channel(UPDATE_QUEUE);
        let cancel = ended.child_token();
        let (name, args, session) = (request.name.clone(), request.args.clone(), request.session.clone());
        let (host, given_up) = (Arc::clone(host), cancel.clone());
        let ended = tokio::spawn(async move { Box::pin(host.call(request, Some(sender), given_up)).await });
        let _cancel_when_dropped = cancel.clone().drop_guard();
        Self { name, args, session, updates, ended, asked: BTreeMap::new(), questions: 0, cancel, _cancel_when_dropped }
    }

    /// Waits for its end or its next question, and passes progress on before either.
    pub(super) async fn advance(&mut self, context: &RequestContext<RoleServer>) -> Step {
        let token = context.meta.get_progress_token();
        let (mut open, mut cancelled) = (true, false);
        loop {
            if !self.asked.is_empty() && !self.ended.is_finished() {
                return Step::Asks(self.asked.iter().map(|(key, (_, question))| (key.clone(), question.clone())).collect());
            }
            tokio::select! {
                biased;
                update = self.updates.recv(), if open => match update {
                    Some(update) => {
                        self.take(update, token.as_ref(), context).await;
                        while let Ok(update) = self.updates.try_recv() {
                            self.take(update, token.as_ref(), context).await;
                        }
                    }
                    None => open = false,
                },
                () = context.ct.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.cancel.cancel();
                }
                reply = &mut self.ended => return Step::Ended(reply.unwrap_or_else(|error| lost(&error))),
            }
        }
    }

    async fn take(&mut self, update: CallUpdate, token: Option<&ProgressToken>, context: &RequestContext<RoleServer>) {
        match update {
            CallUpdate::Ask(mut request) => {
                if let Some(question) = asking::question(&mut request, asking::can_be_asked(context)) {
                    self.questions += 1;
                    self.asked.insert(format!("question-{}", self.questions), (request, InputRequest::Elicitation(question)));
                }
            }
            CallUpdate::Progress { progress, total, message } => {
                if let Some(token) = token {
                    // A client that does not listen loses progress, not its result.
                    let _ = handler::notify(token, (progress, total, message), context).await;
                }
            }
            CallUpdate::Log { .. } => {}
        }
    }

    /// Hands on the client's answers. A question that none of them answers is asked again.
    pub(super) fn answer(&mut self, mut said: BTreeMap<String, Value>) {
        self.asked.retain(|key, (request, _)| match said.remove(key) {
            Some(said) => {
                asking::answer(request, said);
                false
            }
            None => true,
        });
    }

    fn refuse_all(&mut self, reason: &str) {
        for (request, _) in std::mem::take(&mut self.asked).into_values() {
            asking::refuse(&request, reason.to_owned());
        }
    }
}

/// The end of a call whose task died; the pipeline catches panics, so this is the runtime's shutdown.
fn lost(error: &tokio::task::JoinError) -> CallReply {
    CallReply {
        trace: policy::TraceId("lost".into()),
        outcome: CallOutcome::Failed(ToolFailure::new(FailureKind::Internal, format!("the call was lost: {error}"))),
        elapsed: Duration::ZERO,
        in_session: false,
    }
}

/// Calls that wait for an answer, by the id that their client brings back.
#[derive(Default)]
pub(crate) struct HeldCalls {
    calls: Mutex<HashMap<SessionId, (Instant, HeldCall)>>,
}

impl HeldCalls {
    /// Keeps a call until its client comes back. When too many are kept, its questions are refused and it is given back.
    pub(super) fn hold(&self, id: SessionId, mut call: HeldCall) -> Result<(), Box<HeldCall>> {
        let mut calls = self.lock();
        if calls.len() >= MAX_HELD {
            drop(calls);
            call.refuse_all("too many calls wait for an answer");
            return Err(Box::new(call));
        }
        calls.insert(id, (Instant::now(), call));
        Ok(())
    }

    /// Takes up a call again, for the same tool and arguments as at first: what was checked for it must be what it does.
    pub(super) fn take(&self, id: &SessionId, name: &str, args: &Map<String, Value>) -> Option<HeldCall> {
        let mut calls = self.lock();
        calls.get(id).filter(|(_, call)| call.name == name && call.args == *args)?;
        calls.remove(id).map(|(_, call)| call)
    }

    /// Forgets calls that ended and that nobody came back for.
    pub(crate) fn forget_ended(&self, now: Instant) {
        self.lock().retain(|_, (held, call)| !call.ended.is_finished() || now.saturating_duration_since(*held) < KEPT);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, (Instant, HeldCall)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
