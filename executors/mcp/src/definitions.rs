//! From an item of `tools/list` to a definition: bounded and judged, one tool at a time, so that one bad tool costs only itself.
//!
//! Whether a definition is the approved one is decided in `policy`.

use std::collections::HashSet;

use policy::Definition;
use serde_json::{Map, Value};

use crate::wire::cut;

/// The most tools of one server.
pub(crate) const MAX_TOOLS: usize = 2000;
/// The most bytes of one definition as JSON.
const MAX_BYTES: usize = 64 << 10;
/// The deepest nesting of one definition.
const MAX_DEPTH: usize = 48;
/// The longest name.
const MAX_NAME: usize = 128;

/// What a server offers, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Listing {
    pub(crate) tools: Vec<Definition>,
    pub(crate) refused: Vec<String>,
}

/// Reads the items of all pages.
pub(crate) fn read(items: Vec<Value>) -> Listing {
    let mut listing = Listing::default();
    let mut names = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let name = item.get("name").and_then(Value::as_str).map(|name| cut(name, 64));
        match definition(item) {
            Ok(tool) if !names.insert(tool.name.clone()) => {
                listing.refused.push(format!("tool `{}` is given twice; the first one counts", cut(&tool.name, 64)));
            }
            Ok(tool) => listing.tools.push(tool),
            Err(problem) => {
                listing.refused.push(format!("tool `{}`: {problem}", name.unwrap_or_else(|| format!("number {index}"))));
            }
        }
    }
    listing
}

fn definition(item: Value) -> Result<Definition, String> {
    // First, because everything after it walks the value.
    if deeper_than(&item, MAX_DEPTH) {
        return Err(format!("its definition is nested deeper than {MAX_DEPTH} levels"));
    }
    let Value::Object(mut map) = item else { return Err("it is no object".to_owned()) };
    let bytes = serde_json::to_vec(&map).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_BYTES {
        return Err(format!("its definition has {bytes} bytes, at most {MAX_BYTES} are allowed"));
    }
    let name = match map.remove("name") {
        Some(Value::String(name)) if !name.is_empty() && name.len() <= MAX_NAME => name,
        _ => return Err(format!("expected a name of 1 to {MAX_NAME} bytes")),
    };
    let input_schema = match map.remove("inputSchema") {
        Some(Value::Object(schema)) => schema,
        _ => return Err("expected `inputSchema` to be an object".to_owned()),
    };
    if input_schema.get("type").is_some_and(|kind| kind != "object") {
        return Err("expected the root of `inputSchema` to be of type object".to_owned());
    }
    let output_schema = match map.remove("outputSchema") {
        None | Some(Value::Null) => None,
        Some(Value::Object(schema)) => Some(schema),
        Some(_) => return Err("expected `outputSchema` to be an object".to_owned()),
    };
    if let Some(target) = remote_reference(&input_schema).or_else(|| remote_reference(output_schema.as_ref()?)) {
        return Err(format!("its schema refers to `{}`, which would have to be fetched", cut(&target, 120)));
    }
    let text = |map: &mut Map<String, Value>, key: &str| match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("expected `{key}` to be text")),
    };
    Ok(Definition {
        title: text(&mut map, "title")?,
        description: text(&mut map, "description")?,
        name,
        input_schema,
        output_schema,
        annotations: map.remove("annotations").and_then(|value| if let Value::Object(map) = value { Some(map) } else { None }),
        icons: map.remove("icons").and_then(|value| if let Value::Array(icons) = value { Some(icons) } else { None }),
    })
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, left)),
        Value::Object(map) => map.values().any(|item| deeper_than(item, left)),
        _ => false,
    }
}

/// The first reference that leads out of the document.
fn remote_reference(schema: &Map<String, Value>) -> Option<String> {
    schema.iter().find_map(|(key, value)| match (key.as_str(), value) {
        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) if !target.starts_with('#') => Some(target.clone()),
        // Data, not schema.
        ("const" | "enum" | "default" | "examples", _) => None,
        (_, Value::Object(map)) => remote_reference(map),
        (_, Value::Array(items)) => items.iter().filter_map(Value::as_object).find_map(remote_reference),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bad_tool_costs_only_itself_and_says_why() {
        let deep = (0..60).fold(json!({}), |inner, _| json!({"properties": {"x": inner}}));
        let listing = read(vec![
            json!({"name": "good", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}, "icons": [], "title": "T"}),
            json!({"name": "good", "inputSchema": {"type": "object"}, "description": "a second one"}),
            json!({"name": "remote", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "https://example.org/x"}}}}),
            json!({"name": "array", "inputSchema": {"type": "array"}}),
            json!({"name": "out", "inputSchema": {"type": "object"}, "outputSchema": true}),
            json!({"name": "deep", "inputSchema": deep}),
            json!({"name": "large", "inputSchema": {"type": "object"}, "description": "x".repeat(70_000)}),
            json!({"inputSchema": {}}),
            json!("text"),
        ]);
        assert_eq!(listing.tools.len(), 1, "{listing:?}");
        let expected = [
            "`good` is given twice",
            "`https://example.org/x`, which would have to be fetched",
            "root of `inputSchema`",
            "`outputSchema` to be an object",
            "deeper than 48",
            "at most 65536 are allowed",
            "expected a name",
            "it is no object",
        ];
        assert_eq!(listing.refused.len(), expected.len(), "{:?}", listing.refused);
        for (found, expected) in listing.refused.iter().zip(expected) {
            assert!(found.contains(expected), "expected `{expected}` in `{found}`");
        }
    }

    #[test]
    fn local_references_and_data_that_looks_like_one_pass() {
        let schema = json!({"type": "object", "$defs": {"n": {}}, "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"default": {"$ref": "http://x"}}}});
        assert_eq!(read(vec![json!({"name": "t", "inputSchema": schema})]).refused, Vec::<String>::new());
    }
}
