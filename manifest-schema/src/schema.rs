//! The JSON Schema of `plugin.yaml`, from the types; editors and `pegboard schema` use it.
//!
//! It accepts every manifest that [`crate::parse`] accepts. Rules that join several keys are the parser's alone.

use serde_json::{Map, Value, json};

use crate::Manifest;

/// JSON Schema 2020-12 of a manifest; what `pegboard schema` prints.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        add_tools_alias(root);
        describe(root);
    }
    schema
}

/// In a manifest a key that has no value is left out; `null` is refused.
fn without_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(entries) => {
            if let Some(Value::Array(types)) = entries.get_mut("type") {
                types.retain(|word| word != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = entries.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({"type": "null"}));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    entries.remove("anyOf");
                    entries.extend(only);
                }
            }
            entries.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// `tools` is another name of `mcps`; serde knows it, schemars does not.
fn add_tools_alias(root: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = root.get_mut("properties") else { return };
    if let Some(Value::Object(mut tools)) = properties.get("mcps").cloned() {
        tools.insert("description".to_owned(), json!("Another name of `mcps`."));
        tools.remove("default");
        properties.insert("tools".to_owned(), Value::Object(tools));
    }
    root.insert("not".to_owned(), json!({"required": ["mcps", "tools"]}));
}

fn describe(root: &mut Map<String, Value>) {
    let mut head = Map::new();
    head.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    head.insert("$id".to_owned(), json!("urn:pegboard:plugin.yaml"));
    head.insert("title".to_owned(), json!("Pegboard plugin manifest (plugin.yaml)"));
    for (key, value) in std::mem::take(root) {
        head.entry(key).or_insert(value);
    }
    *root = head;
}
