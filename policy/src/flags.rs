//! What in a tool's definition reads as if it were written to steer the model: rules with stable ids, applied to every word of it.
//!
//! Flags inform the person who approves a definition. They decide nothing and prevent nothing: a text that says the same in other words
//! passes, and an honest text may be flagged. What keeps a tool from doing harm is what it is granted.

mod asked;
mod characters;
mod phrases;

use serde::Serialize;
use serde_json::Value;

use crate::Definition;

/// The most characters of a tool's description that raise no flag.
const LONG_DESCRIPTION: usize = 4_096;
/// The most characters of any other text that raise no flag.
const LONG_TEXT: usize = 2_048;
/// The most flags of one definition: a hostile one could otherwise fill the screen that shows them.
const MOST_FLAGS: usize = 64;
/// The deepest part of a definition that is read; nothing deeper is served.
const MOST_DEPTH: usize = 64;

/// One thing that the person who approves a definition should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Flag {
    /// The rule, such as `TXT-HIDDEN`; see [`RULES`].
    pub id: &'static str,
    /// JSON pointer into the definition. One that ends at a key of an object may be about the key itself.
    pub place: String,
    /// The words that raised it, shortened; hidden characters are written as `<U+200B>`.
    pub excerpt: String,
}

/// Every rule and what it means, for people.
pub const RULES: &[(&str, &str)] = &[
    ("TXT-OVERRIDE", "tells the model to set other instructions aside"),
    ("TXT-CONCEAL", "tells the model to keep something from the user"),
    ("TXT-ORDER", "tells the model to prefer or always call a tool"),
    ("TXT-READ", "tells the model to read files, or names files that hold secrets"),
    ("TXT-ROLE", "imitates the marks that separate roles in a conversation"),
    ("TXT-HIDDEN", "holds characters that people do not see"),
    ("TXT-MIXED", "mixes alphabets within a word"),
    ("TXT-SHADOW", "speaks of a tool of another plugin"),
    ("TXT-SECRET", "asks for a secret"),
    ("TXT-CONTEXT", "asks for the conversation or the system prompt"),
    ("TXT-BLOB", "holds encoded data"),
    ("TXT-COMMENT", "holds a comment that a rendered page hides"),
    ("TXT-LONG", "is very long"),
    ("TXT-LINK", "sends to an address, or loads something from one"),
    ("ANN-CONTRADICTS", "is said to be read-only under a name that says otherwise"),
];

/// What a rule means; empty for an id that is none.
#[must_use]
pub fn rule(id: &str) -> &'static str {
    RULES.iter().find(|(known, _)| *known == id).map_or("", |(_, meaning)| meaning)
}

/// Looks at every text and every key of a definition. `others` are the names of tools of other plugins. In the order of places; at most one flag
/// of a rule at a place.
#[must_use]
pub fn flags(definition: &Definition, others: &[&str]) -> Vec<Flag> {
    let mut found = Found { flags: Vec::new(), others };
    let whole = serde_json::to_value(definition).unwrap_or_default();
    found.walk(&whole, &mut String::new(), 0);
    found.annotations(definition);
    found.flags.truncate(MOST_FLAGS);
    found.flags
}

struct Found<'a> {
    flags: Vec<Flag>,
    others: &'a [&'a str],
}

impl Found<'_> {
    fn walk(&mut self, value: &Value, place: &mut String, depth: usize) {
        if depth > MOST_DEPTH || self.flags.len() >= MOST_FLAGS {
            return;
        }
        match value {
            Value::String(text) => self.text(text, place),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let length = place.len();
                    place.push_str(&format!("/{index}"));
                    self.walk(item, place, depth + 1);
                    place.truncate(length);
                }
            }
            Value::Object(map) => {
                let parameters = is_parameters(place);
                for (key, item) in map {
                    let length = place.len();
                    place.push('/');
                    place.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.key(key, place, parameters);
                    self.walk(item, place, depth + 1);
                    place.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn key(&mut self, key: &str, place: &str, is_parameter: bool) {
        self.characters(key, place);
        if is_parameter && let Some(id) = asked::by_name(key) {
            self.add(id, place, key, 0);
        }
        // A key is as good a place for a sentence as a description.
        if key.contains(char::is_whitespace) {
            self.text(key, place);
        }
    }

    fn text(&mut self, text: &str, place: &str) {
        // Identifiers of schemas are addresses, and pictures are data: neither is read by the model.
        if ["/$schema", "/$id", "/$ref"].iter().any(|key| place.ends_with(key)) {
            return;
        }
        let picture = place.starts_with("/icons/") && place.ends_with("/src");
        if picture && ["https:", "data:image/"].iter().any(|scheme| text.starts_with(scheme)) {
            return;
        }
        self.characters(text, place);
        let bare = characters::visible(text);
        let words = phrases::words(&bare);
        for (id, at) in phrases::find(&words) {
            self.add(id, place, &bare, at);
        }
        for (id, at) in asked::by_text(&bare, &words, place.starts_with("/inputSchema/")) {
            self.add(id, place, &bare, at);
        }
        if let Some(at) = phrases::other_tool(&bare, self.others) {
            self.add("TXT-SHADOW", place, &bare, at);
        }
        for (id, at) in characters::carried(&bare) {
            self.add(id, place, &bare, at);
        }
        let most = if place == "/description" { LONG_DESCRIPTION } else { LONG_TEXT };
        let length = text.chars().count();
        if length > most {
            self.add("TXT-LONG", place, &format!("{length} characters"), 0);
        }
    }

    fn characters(&mut self, text: &str, place: &str) {
        if let Some(at) = characters::hidden(text) {
            self.add("TXT-HIDDEN", place, text, at);
        }
        if let Some(at) = characters::mixed(text) {
            self.add("TXT-MIXED", place, text, at);
        }
    }

    fn annotations(&mut self, definition: &Definition) {
        const ACTS: [&str; 16] = [
            "delete", "remove", "write", "create", "update", "send", "post", "drop", "kill", "move", "edit", "insert", "execute",
            "install", "upload", "publish",
        ];
        let claims =
            definition.annotations.as_ref().and_then(|map| map.get("readOnlyHint")).and_then(Value::as_bool) == Some(true);
        let verb = asked::parts(&definition.name).into_iter().next().unwrap_or_default();
        if claims && ACTS.contains(&verb.as_str()) {
            self.add("ANN-CONTRADICTS", "/annotations/readOnlyHint", &definition.name, 0);
        }
    }

    fn add(&mut self, id: &'static str, place: &str, text: &str, at: usize) {
        if !self.flags.iter().any(|flag| flag.id == id && flag.place == place) {
            self.flags.push(Flag { id, place: place.to_owned(), excerpt: excerpt(text, at) });
        }
    }
}

/// Whether the keys of the object at a place are names of parameters.
fn is_parameters(place: &str) -> bool {
    place.starts_with("/inputSchema") && place.ends_with("/properties")
}

/// About a line around a byte offset, on one line.
fn excerpt(text: &str, at: usize) -> String {
    const BEFORE: usize = 20;
    const WHOLE: usize = 100;
    let before = text.get(..at).unwrap_or_default().chars().count();
    let start = before.saturating_sub(BEFORE);
    let mut shown = if start > 0 { "…".to_owned() } else { String::new() };
    for character in text.chars().skip(start).take(WHOLE) {
        if character.is_whitespace() && !characters::is_hidden(character) {
            shown.push(' ');
        } else if characters::is_hidden(character) {
            shown.push_str(&format!("<U+{:04X}>", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    if text.chars().nth(start + WHOLE).is_some() {
        shown.push('…');
    }
    shown
}
