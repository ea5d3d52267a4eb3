//! Questions that a tool asks the user while it runs: passed on to clients that said they take them, refused with a reason for all others.

use executor_api::{FailureKind, HostRequest, ToolFailure};
use rmcp::{
    RoleServer,
    model::{ClientResult, ElicitRequest, ElicitRequestParams, ProtocolVersion, ServerRequest},
    service::RequestContext,
};

use crate::clean::{clean_value, one_line};

/// Whether the client of this request takes questions. In the stateless era nothing can be asked in the midst of a call, only by ending the
/// call with a request for input, which a call that runs cannot be.
pub(super) fn can_be_asked(context: &RequestContext<RoleServer>) -> bool {
    let stateless = context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
    !stateless && context.client_capabilities().is_some_and(|capabilities| capabilities.elicitation.is_some())
}

/// Asks, and hands the answer back to whoever asked. The question comes from a plugin: it is cleaned like any of its words.
pub(super) async fn ask(mut request: HostRequest, context: &RequestContext<RoleServer>) {
    let refuse = |message: String| Err(ToolFailure::new(FailureKind::Unsupported, message));
    if request.kind != "ask_user" {
        let kind = one_line(&request.kind, 60);
        return request.answer(refuse(format!("a request of the kind `{kind}` is not offered")));
    }
    if !can_be_asked(context) {
        return request.answer(refuse("the client of this call takes no questions (elicitation)".to_owned()));
    }
    clean_value(&mut request.params);
    let params: ElicitRequestParams = match serde_json::from_value(request.params.clone()) {
        Ok(params) => params,
        Err(error) => return request.answer(refuse(format!("the question is malformed: {error}"))),
    };
    let question = ServerRequest::ElicitRequest(ElicitRequest::new(params));
    let answer = match context.peer.send_request(question).await {
        Ok(ClientResult::ElicitResult(result)) => {
            serde_json::to_value(result).or_else(|error| refuse(format!("the answer can't be passed on: {error}")))
        }
        Ok(_) => refuse("the client answered the question with something else".to_owned()),
        Err(error) => refuse(format!("the client did not answer the question: {error}")),
    };
    request.answer(answer);
}
