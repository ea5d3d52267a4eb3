//! Questions that a tool asks the user while it runs: passed on to clients that said they take them, refused with a reason for all others.
//!
//! In the era with sessions the question is a request of ours, here. In the stateless era it ends the request and the call waits: `held.rs`.

use executor_api::{FailureKind, HostRequest, ToolFailure};
use rmcp::{
    RoleServer,
    model::{ClientResult, ElicitRequest, ElicitRequestParams, ElicitResult, ServerRequest},
    service::RequestContext,
};
use serde_json::Value;

use crate::clean::{clean_value, one_line};

/// Whether the client of this request takes questions.
pub(super) fn can_be_asked(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|capabilities| capabilities.elicitation.is_some())
}

/// The question as the protocol has it; `None` when it was refused. It comes from a plugin, so it is cleaned like any of its words.
pub(super) fn question(request: &mut HostRequest, takes_questions: bool) -> Option<ElicitRequest> {
    let problem = if request.kind != "ask_user" {
        format!("a request of the kind `{}` is not offered", one_line(&request.kind, 60))
    } else if !takes_questions {
        "the client of this call takes no questions (elicitation)".to_owned()
    } else {
        clean_value(&mut request.params);
        match serde_json::from_value::<ElicitRequestParams>(request.params.clone()) {
            Ok(params) => return Some(ElicitRequest::new(params)),
            Err(error) => format!("the question is malformed: {error}"),
        }
    };
    refuse(request, problem);
    None
}

/// Hands on what the user said, when it is an answer at all.
pub(super) fn answer(request: &HostRequest, said: Value) {
    match serde_json::from_value::<ElicitResult>(said.clone()) {
        Ok(_) => request.answer(Ok(said)),
        Err(error) => refuse(request, format!("the client's answer is malformed: {error}")),
    }
}

pub(super) fn refuse(request: &HostRequest, message: String) {
    request.answer(Err(ToolFailure::new(FailureKind::Unsupported, message)));
}

/// Asks in the midst of a request, and hands the answer back to whoever asked.
pub(super) async fn ask(mut request: HostRequest, context: &RequestContext<RoleServer>) {
    let Some(question) = question(&mut request, can_be_asked(context)) else { return };
    match context.peer.send_request(ServerRequest::ElicitRequest(question)).await {
        Ok(ClientResult::ElicitResult(result)) => match serde_json::to_value(result) {
            Ok(said) => request.answer(Ok(said)),
            Err(error) => refuse(&request, format!("the answer can't be passed on: {error}")),
        },
        Ok(_) => refuse(&request, "the client answered the question with something else".to_owned()),
        Err(error) => refuse(&request, format!("the client did not answer the question: {error}")),
    }
}
