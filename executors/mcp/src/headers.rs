//! Headers of the stateless era that repeat what a body says, so that what lies between can route without reading it.
//!
//! Headers that a manifest asks for are in `web`.

use base64::Engine as _;
use policy::Definition;
use serde_json::{Map, Value};

/// The tool's name, and arguments whose schema asks for it.
pub(crate) fn repeated(definition: &Definition, args: &Map<String, Value>) -> Vec<(String, String)> {
    let mut headers = vec![("mcp-name".to_owned(), header_value(&definition.name))];
    let properties = definition.input_schema.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        let Some(header) = schema.get("x-mcp-header").and_then(Value::as_str) else { continue };
        let plain = !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let value = match args.get(name) {
            Some(Value::String(text)) => header_value(text),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => continue,
        };
        if plain {
            headers.push((format!("mcp-param-{}", header.to_ascii_lowercase()), value));
        }
    }
    headers
}

fn header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text && !text.starts_with("=?");
    if plain { text.to_owned() } else { format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text)) }
}
