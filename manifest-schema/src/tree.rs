//! From YAML text to a tree in which every key and value knows its place.
//!
//! This is where hostile text is stopped: size, depth, anchors, tags, merge keys, further documents, repeated keys and characters that cannot be
//! seen. What the values mean is not known here.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Number, Value};

use crate::{
    MAX_MANIFEST_BYTES,
    report::{Path, Place, Report},
};

/// The deepest nesting of lists and mappings. A schema may be [`crate::MAX_SCHEMA_DEPTH`] deep and begins a few levels down.
pub(crate) const MAX_DEPTH: usize = 72;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// The number, and the text it was written as: a version without quotes must be shown as it was written.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// The value without its places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number, _) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Kind::Map(entries) => Value::Object(to_map(entries)),
        }
    }

    /// What it is, for `found`: one line, cut.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(flag) => format!("boolean `{flag}`"),
            Kind::Number(_, text) => format!("number {}", quote(text)),
            Kind::Text(text) => format!("string {}", quote(text)),
            Kind::List(items) => format!("a list of {}", items.len()),
            Kind::Map(entries) => format!("a mapping of {}", entries.len()),
        }
    }
}

/// A mapping without its places.
pub(crate) fn to_map(entries: &[Entry]) -> Map<String, Value> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect()
}

/// Text in backticks, on one line, cut to 60 characters.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == 60 {
            out.push('…');
            break;
        }
        if unseen(character).is_some() || matches!(character, '\n' | '\t' | '\r') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push('`');
    out
}

/// Why a character may not stand in a manifest: names and descriptions are read by people and by models, and both must see the same.
pub(crate) fn unseen(character: char) -> Option<&'static str> {
    match character {
        '\n' | '\t' => None,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some("a control character"),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
            Some("a text direction character")
        }
        // Joiners (U+200C, U+200D) and emoji selectors (U+FE0F) are ordinary writing; these are not.
        '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' => {
            Some("an invisible character")
        }
        '\u{2028}' | '\u{2029}' => Some("a line separator"),
        '\u{e0000}'..='\u{e0fff}' => Some("an invisible character"),
        _ => None,
    }
}

/// Reads one document. `None` when anything was reported.
pub(crate) fn load(text: &str, report: &mut Report) -> Option<Node> {
    let root = Path::root();
    if text.len() > MAX_MANIFEST_BYTES {
        report
            .add("manifest.too_large", Place::START, &root, "is too large")
            .expected(format!("at most {MAX_MANIFEST_BYTES} bytes"))
            .found(format!("{} bytes", text.len()));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text, report);
    if !report.is_empty() {
        return None;
    }
    let mut options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut loader = Loader { parser: Parser::new_from_str_with_options(text, options), last: Path::root(), report };
    let node = loader.document().ok()?;
    if report.is_empty() { node } else { None }
}

/// Looks at the text itself, comments included: a comment that reads differently from what it is misleads a reviewer.
fn check_characters(text: &str, report: &mut Report) {
    let (mut line, mut column) = (1, 1);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        if let Some(what) = unseen(character) {
            report
                .add("manifest.character", Place { line, column }, &Path::root(), format!("holds {what}"))
                .expected("visible text")
                .found(code_point(character))
                .hint("remove it");
        }
        if character == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
}

fn code_point(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

/// Reported; nothing more can be read.
struct Stop;

struct Loader<'t, 'r> {
    parser: Parser<'t, StrInput<'t>>,
    /// The node that was read last: the parser names an anchor after the node that carries it.
    last: Path,
    report: &'r mut Report,
}

impl<'t> Loader<'t, '_> {
    fn next(&mut self, path: &Path) -> Result<(Event<'t>, Span), Stop> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Anchor(_, name), span))) => {
                    self.report
                        .add("manifest.anchor", Place::of(span.start), &self.last, "is anchored")
                        .expected("no anchors and no aliases")
                        .found(quote(&format!("&{name}")))
                        .hint("write the value out where it is used");
                }
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => {
                    self.syntax(&error, path);
                    return Err(Stop);
                }
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let root = Path::root();
        let mut node = None;
        loop {
            let (event, span) = self.next(&root)?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if node.is_some() => {
                    self.report
                        .add("manifest.documents", Place::of(span.start), &root, "holds more than one document")
                        .expected("one document")
                        .hint("a manifest describes one plugin: give each its own folder");
                    return Err(Stop);
                }
                Event::DocumentStart(..) => {}
                event => node = Some(self.node(event, span, &root, 0)?),
            }
        }
        if node.as_ref().is_none_or(|node| node.kind == Kind::Null) && self.report.is_empty() {
            self.report
                .add("manifest.empty", Place::START, &root, "is empty")
                .expected("a mapping with `name`, `version`, `description` and `mcps`");
        }
        Ok(node)
    }

    fn node(&mut self, event: Event<'t>, span: Span, path: &Path, depth: usize) -> Result<Node, Stop> {
        let place = Place::of(span.start);
        self.last = path.clone();
        if self.report.is_full() {
            return Err(Stop);
        }
        if let Some(tag) = event.tag() {
            self.report
                .add("manifest.tag", span.tag_start().map_or(place, Place::of), path, "has a tag")
                .expected("no tags")
                .found(quote(&tag.original()))
                .hint("write the plain value; put a string that looks like a number in quotes");
        }
        let kind = match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, place, path),
            Event::SequenceStart(..) => Kind::List(self.list(place, path, depth + 1)?),
            Event::MappingStart(..) => Kind::Map(self.map(place, path, depth + 1)?),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.report
                    .add("manifest.anchor", place, path, "is an alias")
                    .expected("no anchors and no aliases")
                    .hint("write the value out where it is used");
                Kind::Null
            }
            // The parser yields nothing else where a node stands.
            _ => {
                self.report.add("manifest.syntax", place, path, "is not YAML");
                return Err(Stop);
            }
        };
        Ok(Node { place, kind })
    }

    fn list(&mut self, place: Place, path: &Path, depth: usize) -> Result<Vec<Node>, Stop> {
        self.check_depth(place, path, depth)?;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(path)?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(event, span, &path.index(items.len()), depth)?);
        }
    }

    fn map(&mut self, place: Place, path: &Path, depth: usize) -> Result<Vec<Entry>, Stop> {
        self.check_depth(place, path, depth)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashMap::new();
        loop {
            let (event, span) = self.next(path)?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let (key, place) = self.key(event, span, path, depth)?;
            let child = path.key(&key);
            let first = *seen.entry(key.clone()).or_insert(place);
            if first != place {
                self.report
                    .add("manifest.duplicate_key", place, &child, "is given twice")
                    .expected("each key once")
                    .hint(format!("it is given first on line {}", first.line));
            }
            let (event, span) = self.next(&child)?;
            let implied = is_implied(&event, &span);
            let mut value = self.node(event, span, &child, depth)?;
            if implied {
                // A value that is not there has no place of its own.
                value.place = place;
            }
            entries.push(Entry { key, place, value });
        }
    }

    fn key(&mut self, event: Event<'t>, span: Span, path: &Path, depth: usize) -> Result<(String, Place), Stop> {
        let place = Place::of(span.start);
        match &event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                self.report
                    .add("manifest.merge_key", place, path, "has a merge key")
                    .expected("no merge keys")
                    .hint("write the keys out");
                Ok(("<<".to_owned(), place))
            }
            Event::Scalar(text, ..) if !is_implied(&event, &span) => {
                let key = text.to_string();
                // Tags and characters of a key are judged as those of a value.
                self.node(event, span, &path.key(&key), depth)?;
                Ok((key, place))
            }
            _ => {
                let node = self.node(event, span, path, depth)?;
                self.report
                    .add("manifest.key", place, path, "has a key that is not a string")
                    .expected("a string")
                    .found(node.describe());
                Ok((String::new(), place))
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place, path: &Path) -> Kind {
        if let Some((character, what)) = text.chars().find_map(|character| unseen(character).map(|what| (character, what))) {
            self.report
                .add("manifest.character", place, path, format!("holds {what}"))
                .expected("visible text")
                .found(code_point(character))
                .hint("remove it");
        }
        if style != ScalarStyle::Plain {
            return Kind::Text(text.to_owned());
        }
        match resolve(text) {
            Ok(kind) => kind,
            Err(NotFinite) => {
                self.report
                    .add("manifest.number", place, path, "is not a number that JSON can hold")
                    .expected("a finite number")
                    .found(quote(text));
                Kind::Null
            }
        }
    }

    fn check_depth(&mut self, place: Place, path: &Path, depth: usize) -> Result<(), Stop> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        self.report.add("manifest.too_deep", place, path, "is nested too deep").expected(format!("at most {MAX_DEPTH} levels"));
        Err(Stop)
    }

    fn syntax(&mut self, error: &ScanError, path: &Path) {
        let place = Place::of(*error.marker());
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                self.report
                    .add("manifest.too_deep", place, path, "is nested too deep")
                    .expected(format!("at most {MAX_DEPTH} levels"));
            }
            ErrorKind::DirectiveDisallowed => {
                self.report
                    .add("manifest.directive", place, &Path::root(), "holds a YAML directive")
                    .expected("no directives")
                    .hint("remove the line that begins with `%`");
            }
            kind => {
                let draft = self.report.add("manifest.syntax", place, path, format!("is not YAML: {kind}"));
                if let Some(hint) = syntax_hint(kind) {
                    draft.hint(hint);
                }
            }
        }
    }
}

fn syntax_hint(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => Some("indent with spaces"),
        ErrorKind::MappingValueNotAllowed => Some("put a text that holds `: ` in quotes, or check the indentation"),
        ErrorKind::UnexpectedCharacter { .. } => Some("put the text in quotes"),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => Some("close the quote"),
        ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey => {
            Some("check the indentation and the `:` after the key")
        }
        _ => None,
    }
}

/// A value that is not written: nothing between a `:` and the next key.
fn is_implied(event: &Event<'_>, span: &Span) -> bool {
    matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..)) && span.start == span.end
}

struct NotFinite;

/// What a plain scalar is, by the core schema of YAML 1.2: `yes`, `on` and `1:30` are strings.
fn resolve(text: &str) -> Result<Kind, NotFinite> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(NotFinite);
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)));
    for (prefix, base) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = radix(prefix, base).filter(|digits| !digits.is_empty()) {
            let number = u64::from_str_radix(digits, base).map_err(|_| NotFinite)?;
            return Ok(Kind::Number(number.into(), text.to_owned()));
        }
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = match text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => unsigned.parse::<u64>().ok().filter(|_| !text.starts_with('-')).ok_or(NotFinite)?.into(),
        };
        return Ok(Kind::Number(number, text.to_owned()));
    }
    if is_float(unsigned) {
        let number = text.parse::<f64>().ok().and_then(Number::from_f64).ok_or(NotFinite)?;
        return Ok(Kind::Number(number, text.to_owned()));
    }
    Ok(Kind::Text(text.to_owned()))
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}
