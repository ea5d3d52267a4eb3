//! From the result of `tools/call` to an outcome: every kind of content carried through, an error told as one.

use executor_api::{Content, FailureKind, ToolFailure, ToolOutcome, ToolOutput};
use serde_json::{Map, Value};

use crate::wire::cut;

/// How much of an error's text is kept.
const MAX_ERROR: usize = 16 << 10;

/// Reads a complete result.
pub(crate) fn outcome(result: Value) -> ToolOutcome {
    let Value::Object(mut result) = result else { return bad("the server's result is no object") };
    let content = match result.remove("content") {
        None => Vec::new(),
        Some(Value::Array(blocks)) => match blocks.into_iter().map(block).collect::<Result<Vec<_>, _>>() {
            Ok(content) => content,
            Err(problem) => return bad(&problem),
        },
        Some(_) => return bad("the server's result has content that is no list"),
    };
    if result.get("isError").and_then(Value::as_bool).unwrap_or(false) {
        let texts =
            content.iter().filter_map(|block| if let Content::Text { text } = block { Some(text.as_str()) } else { None });
        let text = texts.collect::<Vec<_>>().join("\n");
        let text = if text.is_empty() { "the tool failed and did not say why".to_owned() } else { cut(&text, MAX_ERROR) };
        return ToolOutcome::Failed(ToolFailure::new(FailureKind::Raised, text));
    }
    let structured = result.remove("structuredContent").filter(|value| !value.is_null());
    ToolOutcome::Completed(ToolOutput { content, structured })
}

fn bad(problem: &str) -> ToolOutcome {
    ToolOutcome::Failed(ToolFailure::new(FailureKind::BadOutput, problem.to_owned()))
}

fn block(block: Value) -> Result<Content, String> {
    let Value::Object(mut map) = block else { return Err("the server's result has a block that is no object".to_owned()) };
    let kind = text(&mut map, "type").unwrap_or_default();
    let missing = |key: &str| format!("the server's result has a block of type `{}` without `{key}`", cut(&kind, 40));
    let need = |map: &mut Map<String, Value>, key: &str| text(map, key).ok_or_else(|| missing(key));
    match kind.as_str() {
        "text" => Ok(Content::Text { text: need(&mut map, "text")? }),
        "image" => Ok(Content::Image { data: need(&mut map, "data")?, mime: need(&mut map, "mimeType")? }),
        "audio" => Ok(Content::Audio { data: need(&mut map, "data")?, mime: need(&mut map, "mimeType")? }),
        "resource" => {
            let Some(Value::Object(mut inner)) = map.remove("resource") else { return Err(missing("resource")) };
            let uri = need(&mut inner, "uri")?;
            let (mime, words, blob) = (text(&mut inner, "mimeType"), text(&mut inner, "text"), text(&mut inner, "blob"));
            if words.is_some() == blob.is_some() {
                return Err("the server's result has a resource without exactly one of `text` and `blob`".to_owned());
            }
            Ok(Content::Resource { uri, mime, text: words, blob })
        }
        "resource_link" => Ok(Content::ResourceLink {
            uri: need(&mut map, "uri")?,
            name: need(&mut map, "name")?,
            mime: text(&mut map, "mimeType"),
            description: text(&mut map, "description"),
        }),
        other => Err(format!("the server's result has a block of the unknown type `{}`", cut(other, 40))),
    }
}

fn text(map: &mut Map<String, Value>, key: &str) -> Option<String> {
    match map.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn carries_every_kind_of_content() {
        let result = json!({"content": [
            {"type": "text", "text": "a"},
            {"type": "image", "data": "AA==", "mimeType": "image/png"},
            {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "x://1", "blob": "AA=="}},
            {"type": "resource_link", "uri": "x://2", "name": "two", "mimeType": "text/plain"},
        ], "structuredContent": [1, 2]});
        let ToolOutcome::Completed(output) = outcome(result) else { panic!("failed") };
        assert_eq!(output.content.len(), 5);
        assert_eq!(output.structured, Some(json!([1, 2])));
        assert!(matches!(&output.content[4], Content::ResourceLink { name, mime: Some(_), .. } if name == "two"));
    }

    #[test]
    fn tells_errors_and_refuses_what_it_does_not_know() {
        let failed = |result: Value| match outcome(result) {
            ToolOutcome::Failed(failure) => (failure.kind, failure.message),
            ToolOutcome::Completed(output) => panic!("{output:?}"),
        };
        let raised = json!({"isError": true, "content": [{"type": "text", "text": "no"}], "structuredContent": {"x": 1}});
        assert_eq!(failed(raised), (FailureKind::Raised, "no".to_owned()));
        for (result, words) in [
            (json!({"content": [{"type": "hologram"}]}), "unknown type `hologram`"),
            (json!({"content": [{"type": "text"}]}), "without `text`"),
            (json!({"content": [{"type": "resource", "resource": {"uri": "x"}}]}), "exactly one of"),
            (json!({"content": 3}), "no list"),
            (json!("x"), "no object"),
        ] {
            let (kind, message) = failed(result);
            assert_eq!(kind, FailureKind::BadOutput);
            assert!(message.contains(words), "{message}");
        }
    }
}
