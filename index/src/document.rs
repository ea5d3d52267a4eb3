//! What the index knows of a tool, and the texts that are searched.
//!
//! Nothing here scores. Sizes are bounded: a description written by a stranger must not decide how long indexing takes.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::analysis::split_name;

/// Bytes of one text field that are indexed.
const MAX_FIELD_BYTES: usize = 8 * 1024;
/// Bytes of everything taken from one schema.
const MAX_SCHEMA_BYTES: usize = 32 * 1024;
/// How deep `properties` and `items` are followed.
const MAX_DEPTH: usize = 3;
/// Enum values of one parameter that are indexed: a list of all countries says less than its first lines.
const MAX_ENUM_VALUES: usize = 20;
/// Example requests of one tool; each is a vector of its own.
const MAX_EXAMPLES: usize = 8;
/// Bytes of a description given to the encoder, which cuts at some 128 tokens anyway.
const MAX_EMBED_BYTES: usize = 1500;

/// One tool, as the catalog describes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ToolDocument {
    /// The served name, `plugin__tool`: unique in a catalog, at most 512 bytes.
    pub id: String,
    /// The plugin's name.
    pub plugin: String,
    /// The tool's own name in its plugin.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What the tool does, in the author's words.
    pub description: String,
    /// Shelf.
    pub category: Option<String>,
    /// Free words.
    pub keywords: Vec<String>,
    /// What the tool says it can do.
    pub capabilities: Vec<String>,
    /// JSON Schema of the arguments; parameter names, descriptions and enum values are searched.
    pub args_schema: Option<Map<String, Value>>,
    /// Requests this tool is the answer to. The strongest signal there is.
    pub examples: Vec<String>,
}

impl ToolDocument {
    /// Digest of all that the author says of the tool: what was learned for one definition is nothing to another.
    #[must_use]
    pub fn definition(&self) -> [u8; 32] {
        self.digest()
    }

    /// Digest of everything the index uses; equal digests need no work.
    pub(crate) fn digest(&self) -> [u8; 32] {
        // Serialising to a string cannot fail here: all keys are strings and no map is keyed otherwise.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(&canonical).into()
    }

    /// The texts of the catch-all field.
    pub(crate) fn body(&self) -> Vec<&str> {
        let mut body = vec![self.name.as_str(), clip(&self.description, MAX_FIELD_BYTES), self.plugin.as_str()];
        body.extend(self.title.as_deref());
        body.extend(self.category.as_deref());
        body.extend(self.keywords.iter().map(String::as_str));
        body.extend(self.capabilities.iter().map(String::as_str));
        body.extend(self.bounded_examples());
        for text in &mut body {
            *text = clip(text, MAX_FIELD_BYTES);
        }
        if let Some(schema) = &self.args_schema {
            SchemaWords { budget: MAX_SCHEMA_BYTES, words: &mut body }.object(schema, 0);
        }
        body
    }

    /// The texts to embed: plugin, name and description first, then the examples. The name alone is never embedded.
    pub(crate) fn embed_texts(&self) -> Vec<String> {
        // The plugin often says what the tool's own name leaves out: `search` of `flights`.
        let names = [&self.plugin, &self.name].map(|name| split_name(clip(name, MAX_EMBED_BYTES)));
        let head = format!("{}: {}", names.join(" ").trim_start(), clip(&self.description, MAX_EMBED_BYTES));
        std::iter::once(head)
            .chain(self.bounded_examples().map(str::to_owned))
            .map(|text| clean(clip(&text, MAX_EMBED_BYTES)))
            .collect()
    }

    fn bounded_examples(&self) -> impl Iterator<Item = &str> {
        self.examples.iter().take(MAX_EXAMPLES).map(|example| clip(example, MAX_FIELD_BYTES))
    }
}

/// Collects the words of a JSON Schema until the budget of bytes is spent.
struct SchemaWords<'w, 'd> {
    budget: usize,
    words: &'w mut Vec<&'d str>,
}

impl<'d> SchemaWords<'_, 'd> {
    fn object(&mut self, schema: &'d Map<String, Value>, depth: usize) {
        if depth > MAX_DEPTH || self.budget == 0 {
            return;
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                self.push(name);
                if let Value::Object(property) = property {
                    if let Some(Value::String(description)) = property.get("description") {
                        self.push(description);
                    }
                    self.values(property);
                    self.object(property, depth + 1);
                }
            }
        }
        if let Some(Value::Object(items)) = schema.get("items") {
            self.values(items);
            self.object(items, depth + 1);
        }
    }

    fn values(&mut self, schema: &'d Map<String, Value>) {
        if let Some(Value::Array(values)) = schema.get("enum") {
            for value in values.iter().take(MAX_ENUM_VALUES).filter_map(Value::as_str) {
                self.push(value);
            }
        }
    }

    fn push(&mut self, text: &'d str) {
        let text = clip(text, self.budget.min(MAX_FIELD_BYTES));
        self.budget -= text.len();
        if !text.is_empty() {
            self.words.push(text);
        }
    }
}

/// The first `bytes` of `text`, cut at a character.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// Control characters as spaces: encoders' normalisers disagree about them.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
