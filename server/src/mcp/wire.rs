//! From outcomes to MCP results: the only place where a tool error is told from a protocol error, and where text is laid out.

use executor_api::{Content, ToolFailure, ToolOutput};
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData, Resource, ResourceContents};
use serde_json::{Value, json};

use crate::{CallOutcome, Code, clean::one_line};

/// The result of a call, or the protocol error of a tool that is none.
pub(crate) fn result(name: &str, outcome: CallOutcome) -> Result<CallToolResult, ErrorData> {
    Ok(match outcome {
        CallOutcome::Completed(output) => completed(output),
        CallOutcome::UnknownTool(nearest) => return Err(unknown_tool(name, &nearest)),
        other => error_result(&failure_text(name, &other)),
    })
}

/// A result that says what went wrong, in text alone: clients that check structured content check it on errors too.
pub(crate) fn error_result(text: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// A result with structured content, and the same as text for clients that read no structured content.
pub(crate) fn structured(value: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// -32602, with the nearest names as data.
pub(crate) fn unknown_tool(name: &str, nearest: &[String]) -> ErrorData {
    let mut message = format!("Unknown tool: {}", one_line(name, 80));
    // In the text as well as in the data: the text is what a model is shown.
    if !nearest.is_empty() {
        message.push_str(&format!(" (the nearest are {})", nearest.join(", ")));
    }
    ErrorData::invalid_params(message, Some(json!({ "code": Code::UnknownTool.as_str(), "nearest": nearest })))
}

/// A protocol error of the table.
pub(crate) fn protocol_error(code: Code, message: impl Into<String>) -> ErrorData {
    let number = code.rpc().unwrap_or(-32603);
    ErrorData::new(ErrorCode(number), message.into(), Some(json!({ "code": code.as_str() })))
}

/// The text of an outcome that is no success: what happened first, the hint last.
pub(crate) fn failure_text(name: &str, outcome: &CallOutcome) -> String {
    let hint = match outcome {
        CallOutcome::Failed(ToolFailure { hint, detail, .. }) => {
            let detail = detail.as_deref().map(|detail| format!("\n{detail}")).unwrap_or_default();
            let hint = hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            return format!("{outcome}{detail}{hint}");
        }
        CallOutcome::Denied(_) => policy::ASK_THE_OPERATOR.to_owned(),
        CallOutcome::NotCovered => "ask the operator for a token that covers it".to_owned(),
        CallOutcome::BadArguments(_) => format!("`get_tool_details` with the name `{name}` shows the schema"),
        CallOutcome::UnknownTool(nearest) if nearest.is_empty() => "`search_tools` finds tools by what they do".to_owned(),
        CallOutcome::UnknownTool(nearest) => {
            format!("the nearest are {}", nearest.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
        CallOutcome::Completed(_) => return outcome.to_string(),
    };
    format!("{outcome}\nhint: {hint}")
}

fn completed(output: ToolOutput) -> CallToolResult {
    let mut content: Vec<ContentBlock> = output.content.into_iter().map(block).collect();
    if let Some(value) = &output.structured
        && !content.iter().any(|block| matches!(block, ContentBlock::Text(_)))
    {
        content.push(ContentBlock::text(value.to_string()));
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = output.structured;
    result
}

fn block(content: Content) -> ContentBlock {
    match content {
        Content::Text { text } => ContentBlock::text(text),
        Content::Image { data, mime } => ContentBlock::image(data, mime),
        Content::Audio { data, mime } => ContentBlock::audio(data, mime),
        Content::Resource { uri, mime, text, blob } => {
            let contents = match blob {
                Some(blob) => ResourceContents::BlobResourceContents { uri, mime_type: mime, blob, meta: None },
                None => {
                    ResourceContents::TextResourceContents { uri, mime_type: mime, text: text.unwrap_or_default(), meta: None }
                }
            };
            ContentBlock::resource(contents)
        }
        Content::ResourceLink { uri, name, mime, description } => {
            let mut link = Resource::new(uri, name);
            link.mime_type = mime;
            link.description = description;
            ContentBlock::resource_link(link)
        }
    }
}
