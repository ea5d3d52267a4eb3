//! Examples of a manifest as calls: the real pipeline and sandbox, and the result that the example promises, where it promises one.

use std::{path::Path, sync::Arc, time::Duration};

use executor_api::{Content, FailureKind, ToolOutput};
use manifest_schema::{Example, ServedName};
use serde_json::Value;
use server::{CallOutcome, CallReply, CallRequest, Host};
use tokio_util::sync::CancellationToken;

use super::report::{Case, Kind, Report, Verdict};
use crate::commands::progress::Progress;

/// Between two looks at a plugin that is being made ready.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a plugin may take to be made ready, packages included.
const PREPARATION: Duration = Duration::from_secs(900);

/// Calls every example of the plugin in the folder.
pub(super) async fn run(host: &Arc<Host>, folder: &Path, progress: &Progress, report: &mut Report) {
    let catalog = host.catalog();
    let Some(entry) = catalog.plugins.iter().find(|entry| entry.plugin.root == folder) else { return };
    let manifest = &entry.plugin.manifest;
    for tool in &manifest.mcps {
        let name = ServedName::new(&manifest.name, &tool.name);
        for example in &tool.examples {
            let case = one(host, &name, tool.name.as_str(), example, progress).await;
            report.add(case);
        }
    }
}

async fn one(host: &Arc<Host>, name: &ServedName, tool: &str, example: &Example, progress: &Progress) -> Case {
    let mut case = Case {
        kind: Kind::Example,
        name: format!("{tool}: {}", example.query),
        verdict: Verdict::Passed,
        seconds: 0.0,
        message: None,
        detail: None,
    };
    let Some(args) = &example.args else {
        case.verdict = Verdict::Skipped;
        case.message = Some("it has no `args`".to_owned());
        return case;
    };
    let reply = call(host, CallRequest::local(name.as_str(), args.clone()), name, progress).await;
    case.seconds = reply.elapsed.as_secs_f64();
    match &reply.outcome {
        CallOutcome::Completed(output) => {
            let difference = example.result.as_ref().and_then(|expected| difference(expected, output));
            if let Some(difference) = difference {
                case.verdict = Verdict::Failed;
                case.message = Some(difference);
            }
        }
        CallOutcome::Failed(failure) => {
            case.verdict = Verdict::Failed;
            case.message = Some(failure.to_string());
            case.detail.clone_from(&failure.detail);
        }
        CallOutcome::Denied(denial) => {
            case.verdict = Verdict::Denied;
            case.message = Some(denial.to_string());
            let remedies: Vec<String> = denial.missing.iter().map(|missing| missing.remedy(&denial.plugin)).collect();
            case.detail = Some(remedies.join("\n"));
        }
        other => {
            case.verdict = Verdict::Failed;
            case.message = Some(other.to_string());
        }
    }
    case
}

/// One call; waits while the plugin is made ready.
async fn call(host: &Arc<Host>, request: CallRequest, name: &ServedName, progress: &Progress) -> CallReply {
    let deadline = tokio::time::Instant::now() + PREPARATION;
    loop {
        let reply = host.call(request.clone(), None, CancellationToken::new()).await;
        let preparing = matches!(&reply.outcome, CallOutcome::Failed(failure) if failure.kind == FailureKind::Preparing);
        if !preparing || tokio::time::Instant::now() > deadline {
            return reply;
        }
        progress.preparing(name);
        tokio::time::sleep(PATIENCE).await;
    }
}

/// Where a result is not the promised one. A promise that is no object is held against the text, or against what was wrapped as `result`.
fn difference(expected: &Value, output: &ToolOutput) -> Option<String> {
    let texts = output.content.iter().filter_map(|content| match content {
        Content::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let text = Value::String(texts.collect::<Vec<_>>().join("\n"));
    let found = match &output.structured {
        None => &text,
        Some(structured) => match structured.as_object().and_then(|map| map.get("result").filter(|_| map.len() == 1)) {
            Some(wrapped) if !expected.is_object() => wrapped,
            _ if expected.is_string() => &text,
            _ => structured,
        },
    };
    first_difference(expected, found, "result")
}

/// The first place where two values differ. Floats may differ in their last bits, everything else is exact.
fn first_difference(expected: &Value, found: &Value, path: &str) -> Option<String> {
    let differ = || {
        let cut = |value: &Value| value.to_string().chars().take(200).collect::<String>();
        Some(format!("{path}: expected {}, found {}", cut(expected), cut(found)))
    };
    match (expected, found) {
        (Value::Number(one), Value::Number(other)) => {
            let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) else { return differ() };
            let near = (one - other).abs() <= 1e-12 * one.abs().max(other.abs());
            if near { None } else { differ() }
        }
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Some(format!("{path}: expected {} items, found {}", one.len(), other.len()));
            }
            let pairs = one.iter().zip(other).enumerate();
            pairs.into_iter().find_map(|(index, (one, other))| first_difference(one, other, &format!("{path}[{index}]")))
        }
        (Value::Object(one), Value::Object(other)) => {
            if let Some(key) = one.keys().find(|key| !other.contains_key(*key)) {
                return Some(format!("{path}.{key}: expected, and not there"));
            }
            if let Some(key) = other.keys().find(|key| !one.contains_key(*key)) {
                return Some(format!("{path}.{key}: not expected"));
            }
            one.iter().find_map(|(key, value)| first_difference(value, &other[key], &format!("{path}.{key}")))
        }
        _ if expected == found => None,
        _ => differ(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output(text: &str, structured: Option<Value>) -> ToolOutput {
        ToolOutput { content: vec![Content::Text { text: text.to_owned() }], structured }
    }

    #[test]
    fn results_are_compared_where_they_differ() {
        let object = |value: Value| output("", Some(value));
        for (expected, found, says) in [
            (json!({"a": 1, "b": [1, 2]}), object(json!({"b": [1, 2.0], "a": 1.000_000_000_000_000_1})), None),
            (json!({"a": 1}), object(json!({"a": 2})), Some("result.a: expected 1, found 2")),
            (json!({"a": {"b": [1]}}), object(json!({"a": {"b": [1, 2]}})), Some("result.a.b: expected 1 items, found 2")),
            (json!({"a": 1}), object(json!({})), Some("result.a: expected, and not there")),
            (json!({}), object(json!({"x": null})), Some("result.x: not expected")),
            (json!(7), object(json!({"result": 7})), None),
            (json!([1]), object(json!({"result": [2]})), Some("result[0]: expected 1, found 2")),
            (json!("7"), object(json!({"result": 7})), Some("result: expected \"7\", found 7")),
            (json!("text"), output("text", None), None),
            (json!("text"), output("text", Some(json!({"other": 1}))), None),
            (json!({"result": 7}), object(json!({"result": 7})), None),
        ] {
            assert_eq!(difference(&expected, &found).as_deref(), says, "{expected}");
        }
    }
}
