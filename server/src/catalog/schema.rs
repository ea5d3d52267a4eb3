//! JSON Schemas of tools: compiled once, bounded, never fetched; problems said as path, expected, found.
//!
//! Wrapping an output schema into an object root is here too, beside the wrapping of the value, so that the two cannot part.

use std::{fmt, sync::Arc};

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind as Kind};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clean::one_line;

/// The deepest schema that is accepted, in levels.
const MAX_DEPTH: usize = 48;
/// The largest schema that is accepted, in bytes of JSON.
const MAX_BYTES: usize = 256 << 10;
/// The most problems that are reported of one value.
const MAX_PROBLEMS: usize = 5;
/// Above this size only the first problem is looked for: collecting all of them costs memory in proportion to the value.
const MAX_COLLECT_BYTES: usize = 64 << 10;
/// The most memory that one compiled pattern may take, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// It is nested too deep.
    #[error("schema is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It is too large.
    #[error("schema has {found} bytes, at most {MAX_BYTES} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// It is not a JSON Schema, or refers to what is not in it.
    #[error("schema is not valid at `{path}`: {reason}")]
    Invalid {
        /// JSON pointer into the schema.
        path: String,
        /// Why.
        reason: String,
    },
    /// Arguments are always an object.
    #[error("the root of an argument schema must have `type: object`, found `{found}`")]
    NotObject {
        /// The type found.
        found: String,
    },
}

/// One thing in a value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// JSON pointer into the value; empty for the value itself.
    pub path: String,
    /// What the schema allows there.
    pub expected: String,
    /// What is there, cut to a line.
    pub found: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "(the whole value)" } else { &self.path };
        write!(f, "at `{path}`: expected {}, found {}", self.expected, self.found)
    }
}

/// A compiled schema.
#[derive(Clone)]
pub struct Schema {
    validator: Arc<Validator>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema(…)")
    }
}

impl Schema {
    /// Compiles a schema: 2020-12 unless `$schema` says otherwise, references only into itself, patterns in linear time.
    ///
    /// # Errors
    /// [`SchemaProblem`] says where and why.
    pub fn compile(schema: &Map<String, Value>) -> Result<Self, SchemaProblem> {
        let schema = Value::Object(schema.clone());
        if depth(&schema, 0) > MAX_DEPTH {
            return Err(SchemaProblem::TooDeep);
        }
        let found = schema.to_string().len();
        if found > MAX_BYTES {
            return Err(SchemaProblem::TooLarge { found });
        }
        let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES);
        jsonschema::options().offline().with_pattern_options(patterns).build(&schema).map_or_else(
            |error| {
                Err(SchemaProblem::Invalid { path: error.instance_path().to_string(), reason: one_line(&error.to_string(), 300) })
            },
            |validator| Ok(Self { validator: Arc::new(validator) }),
        )
    }

    /// Compiles the schema of arguments, whose root is an object.
    ///
    /// # Errors
    /// [`SchemaProblem`] says where and why.
    pub fn compile_arguments(schema: &Map<String, Value>) -> Result<Self, SchemaProblem> {
        match schema.get("type") {
            Some(Value::String(word)) if word == "object" => Self::compile(schema),
            other => Err(SchemaProblem::NotObject {
                found: other.map_or_else(|| "no type".to_owned(), |other| one_line(&other.to_string(), 60)),
            }),
        }
    }

    /// Whether the value fits.
    ///
    /// # Errors
    /// What does not fit, at most five entries; never empty.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Misfit>> {
        let Err(first) = self.validator.validate(value) else { return Ok(()) };
        if rough_size(value, MAX_COLLECT_BYTES) > MAX_COLLECT_BYTES {
            return Err(vec![misfit(&first)]);
        }
        let mut found: Vec<Misfit> = self.validator.iter_errors(value).take(MAX_PROBLEMS).map(|error| misfit(&error)).collect();
        if found.is_empty() {
            found.push(misfit(&first));
        }
        Err(found)
    }
}

/// The schema of a tool's output as clients see it, and how values are made to fit it.
#[derive(Debug, Clone)]
pub(crate) struct OutputSchema {
    /// Checks the value as the tool returned it.
    pub(crate) schema: Schema,
    /// Rooted in an object.
    pub(crate) served: Arc<Map<String, Value>>,
    /// The value goes under `result`.
    pub(crate) wrapped: bool,
}

impl OutputSchema {
    /// Compiles an output schema. A root that is not an object is wrapped as `{"result": …}`: several clients refuse the whole
    /// list of tools for one such schema, and most cannot read structured content that is not an object.
    pub(crate) fn compile(schema: &Map<String, Value>) -> Result<Self, SchemaProblem> {
        let compiled = Schema::compile(schema)?;
        let typed = schema.get("type").and_then(Value::as_str);
        let object =
            typed == Some("object") || (typed.is_none() && !schema.contains_key("type") && schema.contains_key("properties"));
        if object {
            let mut served = schema.clone();
            served.insert("type".to_owned(), json!("object"));
            return Ok(Self { schema: compiled, served: Arc::new(served), wrapped: false });
        }
        Ok(Self { schema: compiled, served: Arc::new(wrap_schema(schema)), wrapped: true })
    }
}

/// What goes to the wire for a value without an output schema: objects as they are, the rest under `result`.
pub(crate) fn wrap_value(value: Value, wrapped: bool) -> Value {
    if wrapped || !value.is_object() { json!({ "result": value }) } else { value }
}

fn wrap_schema(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut inner = schema.clone();
    let mut outer = Map::new();
    // Definitions move to the new root, where every client's validator looks for them.
    for key in ["$schema", "$defs", "definitions"] {
        if let Some(mut value) = inner.shift_remove(key) {
            rebase(&mut value);
            outer.insert(key.to_owned(), value);
        }
    }
    let mut inner = Value::Object(inner);
    rebase(&mut inner);
    outer.insert("type".to_owned(), json!("object"));
    outer.insert("properties".to_owned(), json!({ "result": inner }));
    outer.insert("required".to_owned(), json!(["result"]));
    outer
}

/// Turns references to the old root into references to its new place.
fn rebase(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rebase),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), &mut *value) {
                    ("$ref" | "$dynamicRef", Value::String(target)) => {
                        if target == "#" {
                            "#/properties/result".clone_into(target);
                        } else if let Some(rest) = target.strip_prefix("#/")
                            && !rest.starts_with("$defs/")
                            && !rest.starts_with("definitions/")
                        {
                            *target = format!("#/properties/result/{rest}");
                        }
                    }
                    ("const" | "enum" | "default" | "examples", _) => {}
                    _ => rebase(value),
                }
            }
        }
        _ => {}
    }
}

fn depth(value: &Value, level: usize) -> usize {
    if level > MAX_DEPTH {
        return level;
    }
    match value {
        Value::Array(items) => items.iter().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        Value::Object(map) => map.values().map(|item| depth(item, level + 1)).max().unwrap_or(level),
        _ => level,
    }
}

/// The size of a value in bytes, roughly, looked at no further than the limit.
fn rough_size(value: &Value, limit: usize) -> usize {
    let mut total = 0_usize;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        total += match value {
            Value::String(text) => text.len() + 2,
            Value::Array(items) => {
                open.extend(items);
                2
            }
            Value::Object(map) => {
                open.extend(map.values());
                map.keys().map(|key| key.len() + 4).sum::<usize>() + 2
            }
            _ => 8,
        };
        if total > limit {
            break;
        }
    }
    total
}

fn misfit(error: &ValidationError<'_>) -> Misfit {
    let found = match error.kind() {
        Kind::Required { .. } => "nothing".to_owned(),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            one_line(&unexpected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "), 200)
        }
        _ => one_line(&error.instance().to_string(), 120),
    };
    let path = match error.kind() {
        Kind::Required { property } => format!("{}/{}", error.instance_path(), property.as_str().unwrap_or_default()),
        _ => error.instance_path().to_string(),
    };
    Misfit { path: one_line(&path, 200), expected: one_line(&expected(error), 300), found }
}

fn expected(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Required { .. } => "a value, because it is required".to_owned(),
        Kind::Type { kind } => match kind {
            jsonschema::error::TypeKind::Single(kind) => format!("type {kind}"),
            jsonschema::error::TypeKind::Multiple(kinds) => {
                format!("one of the types {}", kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(", "))
            }
        },
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => "no other properties".to_owned(),
        Kind::Enum { options } => format!("one of {options}"),
        Kind::Constant { expected_value } => format!("{expected_value}"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::Pattern { pattern } => format!("text that matches `{pattern}`"),
        Kind::Format { format } => format!("a valid `{format}`"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::UniqueItems => "items that differ".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "a value that fits one of the alternatives".to_owned(),
        Kind::OneOfMultipleValid { .. } => "a value that fits only one of the alternatives".to_owned(),
        other => format!("a value that fits `{}`", other.keyword()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object: {value}") };
        map
    }

    fn check(schema: &Value, value: &Value, problems: &[&str]) {
        let schema = Schema::compile(&object(schema.clone())).expect("a schema");
        let found = schema.check(value).err().unwrap_or_default();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), problems);
    }

    #[test]
    fn says_where_what_was_expected_and_what_was_found() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "u": {"enum": ["c", "f"]}}, "required": ["n"], "additionalProperties": false});
        check(&schema, &json!({"n": 2}), &[]);
        check(&schema, &json!({}), &["at `/n`: expected a value, because it is required, found nothing"]);
        check(&schema, &json!({"n": "2"}), &["at `/n`: expected type integer, found \"2\""]);
        check(&schema, &json!({"n": 0}), &["at `/n`: expected at least 1, found 0"]);
        check(&schema, &json!({"n": 1, "u": "k"}), &["at `/u`: expected one of [\"c\",\"f\"], found \"k\""]);
        check(&schema, &json!({"n": 1, "x": 1}), &["at `(the whole value)`: expected no other properties, found `x`"]);
    }

    #[test]
    fn refuses_what_it_would_have_to_fetch_and_what_has_no_bound() {
        for schema in [
            json!({"$ref": "https://example.org/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "#/$defs/missing"}),
            json!({"type": "nonsense"}),
            json!({"pattern": "(?=look)"}),
            json!({"pattern": "(a{1000}){1000}"}),
        ] {
            assert!(matches!(Schema::compile(&object(schema.clone())), Err(SchemaProblem::Invalid { .. })), "{schema}");
        }
        let deep = (0..100).fold(json!({}), |inner, _| json!({"properties": {"x": inner}}));
        assert_eq!(Schema::compile(&object(deep)).err(), Some(SchemaProblem::TooDeep));
        assert!(matches!(Schema::compile_arguments(&object(json!({"type": "array"}))), Err(SchemaProblem::NotObject { .. })));
    }

    #[test]
    fn matches_a_hostile_pattern_in_linear_time() {
        let schema = Schema::compile(&object(json!({"type": "string", "pattern": "^(a+)+$"}))).expect("a schema");
        let started = std::time::Instant::now();
        assert!(schema.check(&json!("a".repeat(50_000) + "b")).is_err());
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn wraps_roots_that_are_not_objects_and_keeps_references() {
        let list = object(
            json!({"$defs": {"n": {"type": "integer"}}, "type": "array", "items": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#"}]}}),
        );
        let output = OutputSchema::compile(&list).expect("a schema");
        assert!(output.wrapped);
        let served = Schema::compile(&output.served).expect("still a schema");
        assert!(served.check(&wrap_value(json!([1, [2]]), true)).is_ok());
        assert!(served.check(&wrap_value(json!(["x"]), true)).is_err());
        let plain = OutputSchema::compile(&object(json!({"properties": {"a": {}}}))).expect("a schema");
        assert!(!plain.wrapped);
        assert_eq!(plain.served.get("type"), Some(&json!("object")));
    }
}
