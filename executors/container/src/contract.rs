//! The container contract: what a call looks like on the way in, and what an answer must look like on the way out.
//!
//! `POST /execute` with `{"inputs": {"p": {"value": …, "args": {}}}, "context": {…}}`; `{"success": true, "outputs": …}` or
//! `{"success": false, "error": "…"}`; `GET /health` with `{"status": "healthy"}`.

use executor_api::{Content, FailureKind, ToolFailure, ToolOutcome, ToolOutput};
use hyper::body::Bytes;
use policy::PermittedCall;
use serde_json::{Map, Value, json};

use crate::{plan::Folder, wire::Answer};

/// How much of an error's text is kept.
const ERROR_TEXT: usize = 16 << 10;
/// How much of an answer is shown that is none.
const SHOWN: usize = 200;

/// The body of a call. Secrets and configuration are here and nowhere else: not in the container's environment.
pub(crate) fn request(call: &PermittedCall, folders: &[Folder]) -> Bytes {
    let (resolved, allowed) = (call.call(), call.allowed());
    let manifest = &resolved.plugin.manifest;
    let inputs: Map<String, Value> =
        resolved.args.iter().map(|(name, value)| (name.clone(), json!({ "value": value, "args": {} }))).collect();
    let mut context = json!({
        "trace_id": &*resolved.trace.0,
        "plugin_id": manifest.name.as_str(),
        "version": manifest.version.to_string(),
        "tool": resolved.tool.name.as_str(),
    });
    if let Value::Object(context) = &mut context {
        if !allowed.secrets.is_empty() {
            let secrets: Map<String, Value> =
                allowed.secrets.iter().map(|(name, value)| (name.clone(), Value::from(value.reveal()))).collect();
            context.insert("secrets".to_owned(), Value::Object(secrets));
        }
        if !allowed.config.is_empty() {
            context.insert("config".to_owned(), Value::Object(allowed.config.clone()));
        }
        if !folders.is_empty() {
            let folders: Vec<Value> =
                folders.iter().map(|folder| json!({ "path": folder.inside, "writable": folder.writable })).collect();
            context.insert("folders".to_owned(), Value::Array(folders));
        }
    }
    json!({ "inputs": inputs, "context": context }).to_string().into()
}

/// Reads an answer. Whatever is not the contract is a failure that says what came instead.
pub(crate) fn outcome(answer: &Answer) -> ToolOutcome {
    let Ok(Value::Object(mut said)) = serde_json::from_slice::<Value>(&answer.body) else {
        return ToolOutcome::Failed(strange(answer, "the container answered with something that is no JSON object"));
    };
    match (said.get("success").and_then(Value::as_bool), answer.status.is_success()) {
        (Some(true), true) => match said.remove("outputs") {
            Some(outputs) => completed(outputs),
            None => ToolOutcome::Failed(strange(answer, "the container's answer has no `outputs`")),
        },
        (Some(false), _) => {
            let text = match said.remove("error") {
                Some(Value::String(text)) if !text.is_empty() => text,
                None | Some(Value::Null | Value::String(_)) => "the tool failed and did not say why".to_owned(),
                Some(other) => other.to_string(),
            };
            ToolOutcome::Failed(ToolFailure::new(FailureKind::Raised, cut(&text, ERROR_TEXT)))
        }
        (Some(true), false) => ToolOutcome::Failed(strange(
            answer,
            "the container says that the tool succeeded, under a status that says it did not",
        )),
        (None, _) => ToolOutcome::Failed(strange(answer, "the container's answer has no `success`")),
    }
}

fn completed(outputs: Value) -> ToolOutcome {
    ToolOutcome::Completed(match outputs {
        Value::String(text) => ToolOutput { content: vec![Content::Text { text }], structured: None },
        value => ToolOutput { content: Vec::new(), structured: Some(value) },
    })
}

fn strange(answer: &Answer, problem: &str) -> ToolFailure {
    let media = if answer.media.is_empty() { "no media type" } else { &answer.media };
    let message = format!("{problem} (HTTP {}, {}, {} bytes)", answer.status.as_u16(), cut(media, 80), answer.body.len());
    let begins = cut(&String::from_utf8_lossy(answer.body.get(..SHOWN * 4).unwrap_or(&answer.body)), SHOWN);
    let failure = ToolFailure::new(FailureKind::BadOutput, message);
    if begins.is_empty() { failure } else { failure.with_detail(format!("it begins with: {begins}")) }
}

/// Whether an answer to the health question says `healthy`; else what it says.
pub(crate) fn healthy(answer: &Answer) -> Result<(), String> {
    let status =
        serde_json::from_slice::<Value>(&answer.body).ok().and_then(|said| said.get("status")?.as_str().map(str::to_owned));
    match status {
        Some(status) if status == "healthy" && answer.status.is_success() => Ok(()),
        Some(status) => Err(format!("it says `{}` (HTTP {})", cut(&status, 80), answer.status.as_u16())),
        None => Err(format!(
            "its answer is not {{\"status\": \"healthy\"}} (HTTP {}, {}, {} bytes)",
            answer.status.as_u16(),
            cut(&answer.media, 80),
            answer.body.len()
        )),
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn answer(status: u16, media: &str, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), media: media.to_owned(), body: body.to_owned().into() }
    }

    fn failed(answer: &Answer) -> (FailureKind, String) {
        match outcome(answer) {
            ToolOutcome::Failed(failure) => (failure.kind, failure.message),
            ToolOutcome::Completed(output) => panic!("{output:?}"),
        }
    }

    #[test]
    fn an_answer_is_the_contract_or_a_failure_that_says_what_it_is() {
        let good = outcome(&answer(200, "application/json", r#"{"success": true, "outputs": {"n": 1}}"#));
        let ToolOutcome::Completed(output) = good else { panic!("{good:?}") };
        assert_eq!(output.structured, Some(json!({"n": 1})));
        assert_eq!(
            failed(&answer(500, "application/json", r#"{"success": false, "error": "no"}"#)),
            (FailureKind::Raised, "no".to_owned())
        );
        for (status, body, words) in [
            (200, "<html>hello", "no JSON object"),
            (200, "[1]", "no JSON object"),
            (200, r#"{"success": true}"#, "no `outputs`"),
            (200, r#"{"result": 1}"#, "no `success`"),
            (503, r#"{"success": true, "outputs": {}}"#, "under a status"),
            (204, "", "no JSON object"),
        ] {
            let (kind, message) = failed(&answer(status, "text/html", body));
            assert!(kind == FailureKind::BadOutput && message.contains(words), "{body}: {message}");
        }
    }

    #[test]
    fn health_is_one_word() {
        assert!(healthy(&answer(200, "application/json", r#"{"status": "healthy", "since": 3}"#)).is_ok());
        for (status, body) in
            [(200, "ok"), (200, "<html>"), (200, r#"{"status": "starting"}"#), (500, r#"{"status": "healthy"}"#)]
        {
            assert!(healthy(&answer(status, "text/plain", body)).is_err(), "{body}");
        }
    }
}
