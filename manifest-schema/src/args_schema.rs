//! What a JSON Schema in a manifest may be: well formed by draft 2020-12, bounded, without references to anywhere else or for ever.
//!
//! Works on plain values, so that a schema that was derived from code in the sandbox is judged by the same rules. Whether a value fits a schema
//! is not decided here.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::suggest;

/// The deepest nesting of a schema, in levels of objects and lists.
pub const MAX_SCHEMA_DEPTH: usize = 64;
/// The largest schema, in bytes of JSON.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// The longest `pattern`, in characters: expressions are matched against what a model sends.
pub const MAX_PATTERN: usize = 1000;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// A schema reports no more problems than this.
const KEPT: usize = 50;

/// What a schema describes; arguments and configuration are objects, results anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaUse {
    /// `args_schema`.
    Arguments,
    /// `output_schema`.
    Result,
    /// `config_schema`.
    Config,
}

/// A step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an item of a list.
    Index(usize),
}

/// One problem of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaProblem {
    /// Stable code.
    pub code: &'static str,
    /// From the root of the schema to the place.
    pub at: Vec<Step>,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// Judges a schema; nothing is returned for a good one.
#[must_use]
pub fn check_schema(schema: &Map<String, Value>, schema_use: SchemaUse) -> Vec<SchemaProblem> {
    let whole = Value::Object(schema.clone());
    let mut walk = Walk { root: &whole, problems: Vec::new(), schemas: Vec::new(), anchors: HashMap::new() };
    if let Some(at) = deeper_than(&whole, MAX_SCHEMA_DEPTH) {
        walk.add("manifest.too_deep", at, "is nested too deep", Some(format!("at most {MAX_SCHEMA_DEPTH} levels")), None);
        return walk.problems;
    }
    if whole.to_string().len() > MAX_SCHEMA_BYTES {
        let expected = Some(format!("at most {MAX_SCHEMA_BYTES} bytes of JSON"));
        walk.add("manifest.too_large", Vec::new(), "is too large", expected, None);
        return walk.problems;
    }
    walk.root(schema, schema_use);
    walk.schema(&whole, &At::Root);
    walk.references();
    walk.problems
}

/// The way to the first value that lies deeper than the limit.
fn deeper_than(value: &Value, left: usize) -> Option<Vec<Step>> {
    if left == 0 && (value.is_object() || value.is_array()) {
        return Some(Vec::new());
    }
    find_below(value, &|child| deeper_than(child, left - 1))
}

/// The way to the value at an address.
fn way_to(value: &Value, wanted: usize) -> Option<Vec<Step>> {
    if address(value) == wanted { Some(Vec::new()) } else { find_below(value, &|child| way_to(child, wanted)) }
}

/// The first child for which `look` finds a way, with the step to that child before it.
fn find_below(value: &Value, look: &dyn Fn(&Value) -> Option<Vec<Step>>) -> Option<Vec<Step>> {
    let (step, mut rest) = match value {
        Value::Object(entries) => {
            entries.iter().find_map(|(key, child)| look(child).map(|rest| (Step::Key(key.clone()), rest)))?
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, child)| look(child).map(|rest| (Step::Index(index), rest)))?
        }
        _ => return None,
    };
    rest.insert(0, step);
    Some(rest)
}

/// Names a schema while the document is borrowed. Pointers as text would cost their length for every schema of a hostile document.
fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Where the walk is: a list on the stack, turned into steps only when there is something to say.
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn steps(&self) -> Vec<Step> {
        let mut steps = match self {
            Self::Root => return Vec::new(),
            Self::Key(parent, _) | Self::Index(parent, _) => parent.steps(),
        };
        match self {
            Self::Root => {}
            Self::Key(_, key) => steps.push(Step::Key((*key).to_owned())),
            Self::Index(_, index) => steps.push(Step::Index(*index)),
        }
        steps
    }
}

/// What the value of a keyword is.
#[derive(Clone, Copy)]
enum Shape {
    Schema,
    SchemaMap,
    SchemaList,
    Text,
    Pattern,
    Count,
    Number,
    Positive,
    Flag,
    Names,
    NamesMap,
    Types,
    Reference,
    List,
}

const KEYWORDS: &[(&str, Shape)] = &[
    ("$comment", Shape::Text),
    ("$defs", Shape::SchemaMap),
    ("$dynamicRef", Shape::Reference),
    ("$ref", Shape::Reference),
    ("additionalProperties", Shape::Schema),
    ("allOf", Shape::SchemaList),
    ("anyOf", Shape::SchemaList),
    ("contains", Shape::Schema),
    ("contentSchema", Shape::Schema),
    ("definitions", Shape::SchemaMap),
    ("dependentRequired", Shape::NamesMap),
    ("dependentSchemas", Shape::SchemaMap),
    ("deprecated", Shape::Flag),
    ("description", Shape::Text),
    ("else", Shape::Schema),
    ("enum", Shape::List),
    ("exclusiveMaximum", Shape::Number),
    ("exclusiveMinimum", Shape::Number),
    ("format", Shape::Text),
    ("if", Shape::Schema),
    ("items", Shape::Schema),
    ("maxContains", Shape::Count),
    ("maxItems", Shape::Count),
    ("maxLength", Shape::Count),
    ("maxProperties", Shape::Count),
    ("maximum", Shape::Number),
    ("minContains", Shape::Count),
    ("minItems", Shape::Count),
    ("minLength", Shape::Count),
    ("minProperties", Shape::Count),
    ("minimum", Shape::Number),
    ("multipleOf", Shape::Positive),
    ("not", Shape::Schema),
    ("oneOf", Shape::SchemaList),
    ("pattern", Shape::Pattern),
    ("patternProperties", Shape::SchemaMap),
    ("prefixItems", Shape::SchemaList),
    ("properties", Shape::SchemaMap),
    ("propertyNames", Shape::Schema),
    ("readOnly", Shape::Flag),
    ("required", Shape::Names),
    ("then", Shape::Schema),
    ("title", Shape::Text),
    ("type", Shape::Types),
    ("unevaluatedItems", Shape::Schema),
    ("unevaluatedProperties", Shape::Schema),
    ("uniqueItems", Shape::Flag),
    ("writeOnly", Shape::Flag),
];

/// Keywords whose schemas judge the same value: a circle of these never ends.
const IN_PLACE: &[&str] = &["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];

/// A schema that was met, the schemas that judge the same value, and the fragments it refers to.
struct Met<'s> {
    address: usize,
    next: Vec<usize>,
    references: Vec<&'s Value>,
}

struct Walk<'s> {
    root: &'s Value,
    problems: Vec<SchemaProblem>,
    schemas: Vec<Met<'s>>,
    anchors: HashMap<&'s str, usize>,
}

impl<'s> Walk<'s> {
    fn add(&mut self, code: &'static str, at: Vec<Step>, message: &str, expected: Option<String>, hint: Option<String>) {
        if self.problems.len() < KEPT {
            self.problems.push(SchemaProblem { code, at, message: message.to_owned(), expected, hint });
        }
    }

    fn wrong(&mut self, at: &At<'_>, expected: &str, hint: Option<&str>) {
        self.add(
            "manifest.schema",
            at.steps(),
            "is not valid in a JSON Schema",
            Some(expected.to_owned()),
            hint.map(str::to_owned),
        );
    }

    fn root(&mut self, schema: &Map<String, Value>, schema_use: SchemaUse) {
        if schema_use == SchemaUse::Result {
            return;
        }
        let what = if schema_use == SchemaUse::Arguments { "arguments are" } else { "configuration is" };
        match schema.get("type") {
            Some(Value::String(word)) if word == "object" => {}
            Some(_) => {
                let at = vec![Step::Key("type".to_owned())];
                self.add(
                    "manifest.schema_root",
                    at,
                    "is not the type of an object",
                    Some("`object`".to_owned()),
                    Some(format!("{what} always an object")),
                );
            }
            None => {
                let hint = format!("{what} always an object: add `type: object`");
                self.add(
                    "manifest.schema_root",
                    Vec::new(),
                    "does not say that it is an object",
                    Some("`type: object`".to_owned()),
                    Some(hint),
                );
            }
        }
    }

    fn schema(&mut self, value: &'s Value, at: &At<'_>) {
        let schema = match value {
            Value::Object(schema) => schema,
            Value::Bool(_) => return,
            _ => return self.wrong(at, "a schema: a mapping or a boolean", None),
        };
        self.identity(schema, address(value), at);
        let mut met = Met { address: address(value), next: Vec::new(), references: Vec::new() };
        for (key, value) in schema {
            let Some((_, shape)) = KEYWORDS.iter().find(|(word, _)| word == key) else { continue };
            let here = At::Key(at, key);
            match shape {
                Shape::Schema => {
                    if key == "items" && value.is_array() {
                        self.wrong(&here, "a schema: a mapping or a boolean", Some("a list of schemas is called `prefixItems`"));
                    } else {
                        self.schema(value, &here);
                    }
                }
                Shape::SchemaMap => self.schema_map(key, value, &here),
                Shape::SchemaList => self.schema_list(value, &here),
                Shape::Reference => {
                    if self.is_local(value, &here) {
                        met.references.push(value);
                    }
                }
                shape => self.plain(*shape, key, value, &here),
            }
            if IN_PLACE.contains(&key.as_str()) {
                match value {
                    Value::Array(schemas) => met.next.extend(schemas.iter().map(address)),
                    Value::Object(schemas) if key == "dependentSchemas" => met.next.extend(schemas.values().map(address)),
                    schema => met.next.push(address(schema)),
                }
            }
        }
        self.schemas.push(met);
    }

    /// `$schema`, `$id` and anchors.
    fn identity(&mut self, schema: &'s Map<String, Value>, address: usize, at: &At<'_>) {
        if let Some(value) = schema.get("$schema")
            && value.as_str().map(|text| text.trim_end_matches('#')) != Some(DRAFT)
        {
            self.wrong(&At::Key(at, "$schema"), &format!("`{DRAFT}`"), Some("leave `$schema` out"));
        }
        if schema.contains_key("$id") && !matches!(at, At::Root) {
            self.wrong(&At::Key(at, "$id"), "no `$id` below the root", Some("references inside the schema begin with `#`"));
        }
        for word in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = schema.get(word).and_then(Value::as_str) {
                self.anchors.insert(name, address);
            }
        }
    }

    fn schema_map(&mut self, key: &str, value: &'s Value, at: &At<'_>) {
        let Some(entries) = value.as_object() else { return self.wrong(at, "a mapping of schemas", None) };
        for (name, schema) in entries {
            let here = At::Key(at, name);
            if key == "patternProperties" {
                self.pattern(name, &here);
            }
            self.schema(schema, &here);
        }
    }

    fn schema_list(&mut self, value: &'s Value, at: &At<'_>) {
        match value.as_array() {
            Some(schemas) if !schemas.is_empty() => {
                for (index, schema) in schemas.iter().enumerate() {
                    self.schema(schema, &At::Index(at, index));
                }
            }
            _ => self.wrong(at, "a list of at least one schema", None),
        }
    }

    fn plain(&mut self, shape: Shape, key: &str, value: &Value, at: &At<'_>) {
        let (ok, expected) = match shape {
            Shape::Text => (value.is_string(), "a string"),
            Shape::Count => (value.is_u64(), "a whole number from 0"),
            Shape::Number => (value.is_number(), "a number"),
            Shape::Positive => (value.as_f64().is_some_and(|number| number > 0.0), "a number above 0"),
            Shape::Flag => (value.is_boolean(), "a boolean"),
            Shape::List => (value.as_array().is_some_and(|items| !items.is_empty()), "a list of at least one value"),
            Shape::Names => (are_names(value), "a list of different strings"),
            Shape::NamesMap => {
                (value.as_object().is_some_and(|lists| lists.values().all(are_names)), "a mapping of lists of different strings")
            }
            Shape::Types => return self.types(value, at),
            Shape::Pattern => {
                return match value.as_str() {
                    Some(text) => self.pattern(text, at),
                    None => self.wrong(at, "a string", None),
                };
            }
            Shape::Schema | Shape::SchemaMap | Shape::SchemaList | Shape::Reference => return,
        };
        if !ok {
            let hint = (key == "required" && value.is_boolean())
                .then_some("list the names in the `required` of the object that holds them");
            self.wrong(at, expected, hint);
        }
    }

    fn pattern(&mut self, text: &str, at: &At<'_>) {
        if text.chars().count() > MAX_PATTERN {
            self.add(
                "manifest.schema_pattern",
                at.steps(),
                "is too long a pattern",
                Some(format!("at most {MAX_PATTERN} characters")),
                None,
            );
        }
    }

    fn types(&mut self, value: &Value, at: &At<'_>) {
        match value {
            Value::String(word) => self.type_word(word, at),
            Value::Array(words) if !words.is_empty() => {
                for (index, word) in words.iter().enumerate() {
                    match word.as_str() {
                        Some(word) => self.type_word(word, &At::Index(at, index)),
                        None => self.wrong(&At::Index(at, index), &suggest::one_of(TYPES), null_hint(word)),
                    }
                }
            }
            _ => self.wrong(at, &suggest::one_of(TYPES), null_hint(value)),
        }
    }

    fn type_word(&mut self, word: &str, at: &At<'_>) {
        if TYPES.contains(&word) {
            return;
        }
        let meant = match word {
            "str" | "text" => vec!["string"],
            "int" => vec!["integer"],
            "float" | "double" | "decimal" => vec!["number"],
            "bool" => vec!["boolean"],
            "dict" | "map" | "mapping" => vec!["object"],
            "list" | "tuple" | "set" => vec!["array"],
            "none" | "None" | "nil" => vec!["null"],
            word => suggest::nearest(word, TYPES),
        };
        let hint = (!meant.is_empty()).then(|| suggest::did_you_mean(&meant));
        self.add("manifest.schema_type", at.steps(), "is not a JSON type", Some(suggest::one_of(TYPES)), hint);
    }

    /// Whether a reference stays in the schema.
    fn is_local(&mut self, value: &Value, at: &At<'_>) -> bool {
        match value.as_str() {
            Some(text) if text.starts_with('#') => return true,
            Some(_) => {
                let hint = "put the schema under `$defs` and refer to `#/$defs/…`: nothing is fetched";
                let expected = Some("a reference that begins with `#`".to_owned());
                self.add("manifest.schema_reference", at.steps(), "refers outside the schema", expected, Some(hint.to_owned()));
            }
            None => self.wrong(at, "a string", None),
        }
        false
    }

    /// Every reference leads to a schema that was met, and none leads back to itself without going into a part of the value.
    fn references(&mut self) {
        let index: HashMap<usize, usize> = self.schemas.iter().enumerate().map(|(index, met)| (met.address, index)).collect();
        let mut edges: Vec<Vec<usize>> = Vec::new();
        let (mut lost, mut found) = (Vec::new(), Vec::new());
        for (from, met) in self.schemas.iter().enumerate() {
            let mut next: Vec<usize> = met.next.iter().filter_map(|address| index.get(address).copied()).collect();
            for reference in &met.references {
                match self.target(reference).map(|target| index.get(&target).copied()) {
                    Some(Some(to)) => {
                        next.push(to);
                        found.push((from, to, address(reference)));
                    }
                    // `true` and `false` are schemas too, but lead nowhere.
                    Some(None) if self.target_is_boolean(reference) => {}
                    _ => lost.push(address(reference)),
                }
            }
            edges.push(next);
        }
        for address in lost.into_iter().take(KEPT) {
            let at = way_to(self.root, address).unwrap_or_default();
            self.add("manifest.schema_reference", at, "refers to nothing", Some("a schema in `$defs`".to_owned()), None);
        }
        let endless = endless(&edges);
        let circle = |index: &usize| endless.get(*index).copied().unwrap_or(false);
        if let Some((_, _, address)) = found.into_iter().find(|(from, to, _)| circle(from) && circle(to)) {
            let at = way_to(self.root, address).unwrap_or_default();
            let hint = "a schema may refer to itself only for a part of the value, such as a property or an item";
            let expected = Some("a reference that leads to a type".to_owned());
            self.add("manifest.schema_reference", at, "never ends", expected, Some(hint.to_owned()));
        }
    }

    fn target(&self, reference: &Value) -> Option<usize> {
        let fragment = reference.as_str()?.strip_prefix('#')?;
        if fragment.is_empty() || fragment.starts_with('/') {
            self.root.pointer(&percent_decoded(fragment)).map(address)
        } else {
            self.anchors.get(fragment).copied()
        }
    }

    fn target_is_boolean(&self, reference: &Value) -> bool {
        let fragment = reference.as_str().and_then(|text| text.strip_prefix('#')).unwrap_or_default();
        self.root.pointer(&percent_decoded(fragment)).is_some_and(Value::is_boolean)
    }
}

fn null_hint(value: &Value) -> Option<&'static str> {
    value.is_null().then_some("the type of nothing is `\"null\"`, in quotes")
}

fn are_names(value: &Value) -> bool {
    let Some(items) = value.as_array() else { return false };
    let mut names: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == items.len()
}

/// Which nodes can reach a circle: those that are left when nodes without a way on are taken away, again and again.
fn endless(edges: &[Vec<usize>]) -> Vec<bool> {
    let mut left: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut incoming: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, next) in edges.iter().enumerate() {
        for to in next {
            if let Some(list) = incoming.get_mut(*to) {
                list.push(from);
            }
        }
    }
    let mut ends: Vec<usize> = (0..edges.len()).filter(|index| left.get(*index) == Some(&0)).collect();
    while let Some(end) = ends.pop() {
        for from in incoming.get(end).map(Vec::as_slice).unwrap_or_default() {
            if let Some(count) = left.get_mut(*from) {
                *count -= 1;
                if *count == 0 {
                    ends.push(*from);
                }
            }
        }
    }
    left.into_iter().map(|count| count > 0).collect()
}

/// A fragment may write `%24defs` for `$defs`.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let code = bytes.get(index + 1..index + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                index += 3;
            }
            None => {
                out.push(*byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
