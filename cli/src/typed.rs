//! Words of a command line as JSON values, by the type the schema gives them. Whether a value is allowed is not decided here.

use serde_json::{Map, Value};

/// The schema of a property, local references followed.
pub(crate) fn property<'a>(root: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let schema = root.get("properties")?.get(name)?;
    Some(follow(root, schema))
}

/// A bounded number of local `$ref` steps: a reference may point at itself.
fn follow<'a>(root: &'a Map<String, Value>, mut schema: &'a Value) -> &'a Value {
    for _ in 0..16 {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/"));
        let Some(target) = target else { return schema };
        let mut at = None;
        for (depth, part) in target.split('/').enumerate() {
            let part = part.replace("~1", "/").replace("~0", "~");
            at = if depth == 0 { root.get(&part) } else { at.and_then(|at: &Value| at.get(&part)) };
        }
        let Some(next) = at else { return schema };
        schema = next;
    }
    schema
}

/// The types a schema allows; empty when it does not say.
fn types(root: &Map<String, Value>, schema: &Value) -> Vec<String> {
    let schema = follow(root, schema);
    let mut found = Vec::new();
    match schema.get("type") {
        Some(Value::String(one)) => found.push(one.clone()),
        Some(Value::Array(several)) => found.extend(several.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {}
    }
    for key in ["anyOf", "oneOf"] {
        for branch in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            found.extend(types(root, branch));
        }
    }
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const")) {
        found.push(type_of(value).to_owned());
    }
    found
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A word as the schema's type. `Err` says what was expected.
pub(crate) fn parse(root: &Map<String, Value>, schema: Option<&Value>, word: &str) -> Result<Value, String> {
    let allowed = schema.map(|schema| types(root, schema)).unwrap_or_default();
    let json = serde_json::from_str::<Value>(word).ok();
    let fits = |value: &Value| {
        let found = type_of(value);
        allowed.iter().any(|allowed| allowed == found || (allowed == "number" && found == "integer"))
    };
    if allowed.is_empty() {
        // The schema does not say: JSON where it is JSON, else the word itself.
        return Ok(json.unwrap_or_else(|| Value::String(word.to_owned())));
    }
    // A type other than string goes first, so that `5` is a number where both are allowed; a quoted JSON string is a string with its quotes.
    if let Some(value) = json.filter(|value| !value.is_string() && fits(value)) {
        return Ok(value);
    }
    if allowed.iter().any(|allowed| allowed == "string") {
        return Ok(Value::String(word.to_owned()));
    }
    if allowed.iter().any(|allowed| allowed == "array") {
        // One item, or several with commas, where a list is wanted: `--arg tags=a,b`.
        let items = schema.map(|schema| follow(root, schema)).and_then(|schema| schema.get("items"));
        return word.split(',').map(|item| parse(root, items, item.trim())).collect::<Result<Vec<_>, _>>().map(Value::Array);
    }
    Err(format!("expected {}, found `{word}`", allowed.join(" or ")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{parse, property};

    #[expect(clippy::needless_pass_by_value, reason = "literals read better whole")]
    fn check(property_schema: Value, word: &str, expected: Result<Value, &str>) {
        let root =
            json!({"properties": {"p": property_schema}, "$defs": {"n": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}});
        let root: Map<String, Value> = serde_json::from_value(root).unwrap();
        let found = parse(&root, property(&root, "p"), word);
        assert_eq!(found, expected.map_err(str::to_owned), "{word}");
    }

    #[test]
    fn words_become_the_type_of_the_schema() {
        check(json!({"type": "string"}), "5", Ok(json!("5")));
        check(json!({"type": "integer"}), "5", Ok(json!(5)));
        check(json!({"type": "number"}), "5", Ok(json!(5)));
        check(json!({"type": "number"}), "2.5", Ok(json!(2.5)));
        check(json!({"type": "boolean"}), "true", Ok(json!(true)));
        check(json!({"type": "boolean"}), "yes", Err("expected boolean, found `yes`"));
        check(json!({"type": "integer"}), "five", Err("expected integer, found `five`"));
        check(json!({"type": ["integer", "null"]}), "null", Ok(json!(null)));
        check(json!({"type": "object"}), "{\"a\": 1}", Ok(json!({"a": 1})));
        check(json!({"enum": ["celsius", "kelvin"]}), "kelvin", Ok(json!("kelvin")));
        check(json!({}), "plain words", Ok(json!("plain words")));
        check(json!({}), "[1]", Ok(json!([1])));
    }

    #[test]
    fn lists_take_commas_or_json() {
        check(json!({"type": "array", "items": {"type": "string"}}), "a, 5", Ok(json!(["a", "5"])));
        check(json!({"type": "array", "items": {"type": "integer"}}), "1,2", Ok(json!([1, 2])));
        check(json!({"type": "array", "items": {"type": "integer"}}), "[1, 2]", Ok(json!([1, 2])));
        check(json!({"type": "array", "items": {"type": "integer"}}), "1,x", Err("expected integer, found `x`"));
    }

    #[test]
    fn references_and_alternatives_are_followed() {
        check(json!({"$ref": "#/$defs/n"}), "7", Ok(json!(7)));
        check(json!({"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}), "7", Ok(json!(7)));
        check(json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}), "seven", Ok(json!("seven")));
        check(json!({"$ref": "#/$defs/loop"}), "7", Ok(json!(7)));
    }
}
