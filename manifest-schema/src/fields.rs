//! Reading a mapping key by key: wrong types, unknown and missing keys, ranges, lengths and choices. Which keys there are is the callers'.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::{
    report::{Path, Place, Report},
    suggest::{self, Misspelt},
    tree::{Entry, Kind, Node, quote, to_map},
};

/// A rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
    /// The text is not shown: it holds what nobody should read in a log.
    pub(crate) hidden: bool,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { code, message: message.into(), expected: expected.into(), hint: None, hidden: false }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The longest description, in characters.
pub(crate) const MAX_DESCRIPTION: usize = 2000;

/// Whether a text may hold line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    One,
    Many,
}

/// A mapping whose keys are known.
pub(crate) struct Section<'n> {
    entries: &'n [Entry],
    pub(crate) place: Place,
    pub(crate) path: Path,
}

/// A value with its place and path.
#[derive(Clone)]
pub(crate) struct Field<'n> {
    pub(crate) node: &'n Node,
    /// Where its key stands; for an item of a list, where the item begins.
    pub(crate) key: Place,
    pub(crate) path: Path,
}

impl<'n> Section<'n> {
    /// Opens a mapping and reports its unknown keys.
    pub(crate) fn open(report: &mut Report, field: &Field<'n>, known: &[&'static str]) -> Option<Self> {
        let entries = field.entries(report)?;
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !known.contains(&entry.key.as_str())) {
            if report.is_full() {
                report.drop(entries.len() - index);
                break;
            }
            let draft = report.add("manifest.unknown_key", entry.place, &field.path.key(&entry.key), "is not a known key");
            if known.len() <= 12 {
                draft.expected(suggest::one_of(known));
            }
            report.misspelt(Misspelt::Key(entry.key.clone(), known.to_vec()));
        }
        Some(Self { entries, place: field.node.place, path: field.path.clone() })
    }

    pub(crate) fn get(&self, key: &str) -> Option<Field<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { node: &entry.value, key: entry.place, path: self.path.key(key) })
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, report: &mut Report, key: &str, expected: &str) -> Option<Field<'n>> {
        let field = self.get(key);
        if field.is_none() {
            report.add("manifest.missing_key", self.place, &self.path.key(key), "is missing").expected(expected);
        }
        field
    }

    pub(crate) fn flag(&self, report: &mut Report, key: &str, default: bool) -> bool {
        self.get(key).and_then(|field| field.flag(report)).unwrap_or(default)
    }

    pub(crate) fn number(&self, report: &mut Report, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        self.get(key).and_then(|field| field.number(report, range)).unwrap_or(default)
    }

    pub(crate) fn text(&self, report: &mut Report, key: &str, limit: usize, lines: Lines) -> Option<String> {
        self.get(key)?.text(report, limit, lines)
    }

    /// A text on one line that a rule judges.
    pub(crate) fn ruled(
        &self,
        report: &mut Report,
        key: &str,
        limit: usize,
        rule: impl FnOnce(&str) -> Result<(), Fault>,
    ) -> Option<String> {
        self.get(key)?.ruled(report, limit, rule)
    }

    pub(crate) fn choice<T: Copy>(&self, report: &mut Report, key: &str, choices: &[(&'static str, T)]) -> Option<T> {
        self.get(key)?.choice(report, choices)
    }

    /// The items of a list; none when the key is absent or its value is refused.
    pub(crate) fn items(&self, report: &mut Report, key: &str, limit: usize) -> Vec<Field<'n>> {
        self.get(key).and_then(|field| field.items(report, limit)).unwrap_or_default()
    }

    /// A list of short texts, each once.
    pub(crate) fn words(
        &self,
        report: &mut Report,
        key: &str,
        limit: usize,
        length: usize,
        rule: impl Fn(&str) -> Result<(), Fault>,
    ) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for item in self.items(report, key, limit) {
            if let Some(word) = item.ruled(report, length, &rule) {
                if words.contains(&word) {
                    item.duplicate(report, &word);
                } else {
                    words.push(word);
                }
            }
        }
        words
    }

    pub(crate) fn object(&self, report: &mut Report, key: &str) -> Option<Map<String, Value>> {
        self.get(key)?.object(report)
    }
}

impl<'n> Field<'n> {
    pub(crate) fn root(node: &'n Node) -> Self {
        Self { node, key: node.place, path: Path::root() }
    }

    fn wrong_type(&self, report: &mut Report, expected: &str) {
        let hint = match (&self.node.kind, expected) {
            (Kind::Null, _) => Some("give it a value, or remove the key".to_owned()),
            (Kind::Number(_, text), "a string") => Some(format!("put it in quotes: \"{text}\"")),
            (Kind::Bool(flag), "a string") => Some(format!("put it in quotes: \"{flag}\"")),
            (Kind::Text(text), "a boolean") => boolean_hint(text),
            (Kind::Text(text), _) if expected.starts_with("a whole number") && text.parse::<u64>().is_ok() => {
                Some(format!("write it without quotes: {text}"))
            }
            (Kind::Text(_) | Kind::Map(_), "a list") => Some("begin each item with `- `, or put the items in `[…]`".to_owned()),
            _ => None,
        };
        let draft = report
            .add("manifest.wrong_type", self.node.place, &self.path, "has the wrong type")
            .expected(expected)
            .found(self.node.describe());
        if let Some(hint) = hint {
            draft.hint(hint);
        }
    }

    /// Reports what a rule says.
    pub(crate) fn fault(&self, report: &mut Report, fault: Fault) {
        let draft = report.add(fault.code, self.node.place, &self.path, fault.message).expected(fault.expected);
        let draft = if fault.hidden { draft } else { draft.found(self.node.describe()) };
        if let Some(hint) = fault.hint {
            draft.hint(hint);
        }
    }

    pub(crate) fn duplicate(&self, report: &mut Report, value: &str) {
        report
            .add("manifest.duplicate", self.node.place, &self.path, "is given twice")
            .expected("each value once")
            .found(quote(value));
    }

    /// Reports two keys that do not go together, at this one.
    pub(crate) fn conflict(
        &self,
        report: &mut Report,
        message: impl Into<String>,
        expected: impl Into<String>,
        hint: Option<&str>,
    ) {
        let draft = report.add("manifest.conflict", self.key, &self.path, message).expected(expected);
        if let Some(hint) = hint {
            draft.hint(hint);
        }
    }

    pub(crate) fn entries(&self, report: &mut Report) -> Option<&'n [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Some(entries),
            _ => {
                self.wrong_type(report, "a mapping");
                None
            }
        }
    }

    pub(crate) fn object(&self, report: &mut Report) -> Option<Map<String, Value>> {
        self.entries(report).map(to_map)
    }

    pub(crate) fn items(&self, report: &mut Report, limit: usize) -> Option<Vec<Field<'n>>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_type(report, "a list");
            return None;
        };
        if items.len() > limit {
            report
                .add("manifest.too_many", self.node.place, &self.path, "has too many items")
                .expected(format!("at most {limit}"))
                .found(items.len().to_string());
            return None;
        }
        let field = |(index, node): (usize, &'n Node)| Field { node, key: node.place, path: self.path.index(index) };
        Some(items.iter().enumerate().map(field).collect())
    }

    pub(crate) fn flag(&self, report: &mut Report) -> Option<bool> {
        match self.node.kind {
            Kind::Bool(flag) => Some(flag),
            _ => {
                self.wrong_type(report, "a boolean");
                None
            }
        }
    }

    pub(crate) fn number(&self, report: &mut Report, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Kind::Number(number, _) = &self.node.kind else {
            self.wrong_type(report, &expected);
            return None;
        };
        let found = number.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
        if found.is_none() {
            report
                .add("manifest.range", self.node.place, &self.path, "is out of range")
                .expected(expected)
                .found(self.node.describe());
        }
        found
    }

    /// A text that is not blank, at most `limit` characters long.
    pub(crate) fn text(&self, report: &mut Report, limit: usize, lines: Lines) -> Option<String> {
        let Kind::Text(text) = &self.node.kind else {
            self.wrong_type(report, "a string");
            return None;
        };
        if text.trim().is_empty() {
            report
                .add("manifest.blank", self.node.place, &self.path, "is blank")
                .expected("a text")
                .hint("give it a value, or remove the key");
            return None;
        }
        let length = text.chars().count();
        if length > limit {
            report
                .add("manifest.too_long", self.node.place, &self.path, "is too long")
                .expected(format!("at most {limit} characters"))
                .found(format!("{length} characters"));
            return None;
        }
        if lines == Lines::One && text.contains('\n') {
            report.add("manifest.line_break", self.node.place, &self.path, "holds a line break").expected("one line");
            return None;
        }
        Some(text.clone())
    }

    pub(crate) fn ruled(
        &self,
        report: &mut Report,
        limit: usize,
        rule: impl FnOnce(&str) -> Result<(), Fault>,
    ) -> Option<String> {
        let text = self.text(report, limit, Lines::One)?;
        match rule(&text) {
            Ok(()) => Some(text),
            Err(fault) => {
                self.fault(report, fault);
                None
            }
        }
    }

    pub(crate) fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&'static str> = choices.iter().map(|(word, _)| *word).collect();
        let Kind::Text(text) = &self.node.kind else {
            self.wrong_type(report, &suggest::one_of(&words));
            return None;
        };
        let choice = choices.iter().find(|(word, _)| word == text).map(|(_, value)| *value);
        if choice.is_none() {
            report
                .add("manifest.choice", self.node.place, &self.path, "is not a known value")
                .expected(suggest::one_of(&words))
                .found(self.node.describe());
            report.misspelt(Misspelt::Word(text.clone(), words));
        }
        choice
    }
}

fn boolean_hint(text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some("write `true`, without quotes".to_owned()),
        "no" | "off" | "n" | "false" => Some("write `false`, without quotes".to_owned()),
        _ => None,
    }
}
