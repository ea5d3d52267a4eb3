//! Takes out of a plugin's text what no model and no terminal should see: escape sequences, control characters, and the
//! invisible marks that reorder or hide text. A plugin's output is untrusted for ever.

use std::borrow::Cow;

use executor_api::Content;
use serde_json::{Map, Value};

/// Text without escape sequences, control characters (tab and newline stay), bidirectional overrides and tag characters.
pub(crate) fn clean_text(text: &str) -> Cow<'_, str> {
    match text.char_indices().find(|(_, character)| !is_plain(*character)) {
        None => Cow::Borrowed(text),
        Some((at, _)) => {
            let (head, tail) = text.split_at(at);
            let mut clean = String::with_capacity(text.len());
            clean.push_str(head);
            strip_into(&mut clean, tail);
            Cow::Owned(clean)
        }
    }
}

/// Cleans in place.
pub(crate) fn clean_string(text: &mut String) {
    if let Cow::Owned(clean) = clean_text(text) {
        *text = clean;
    }
}

/// Cleans every string of a value, keys included.
pub(crate) fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean_string(text),
        Value::Array(items) => items.iter_mut().for_each(clean_value),
        Value::Object(map) => {
            if map.keys().any(|key| matches!(clean_text(key), Cow::Owned(_))) {
                let old = std::mem::take(map);
                *map = old.into_iter().map(|(key, value)| (clean_text(&key).into_owned(), value)).collect::<Map<_, _>>();
            }
            map.values_mut().for_each(clean_value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cleans the words of a block; the bytes of images, sound and blobs are base64 and stay.
pub(crate) fn clean_content(content: &mut Content) {
    match content {
        Content::Text { text } => clean_string(text),
        Content::Image { mime, .. } | Content::Audio { mime, .. } => clean_string(mime),
        Content::Resource { uri, mime, text, .. } => {
            clean_string(uri);
            mime.iter_mut().chain(text.iter_mut()).for_each(clean_string);
        }
        Content::ResourceLink { uri, name, mime, description } => {
            clean_string(uri);
            clean_string(name);
            mime.iter_mut().chain(description.iter_mut()).for_each(clean_string);
        }
    }
}

/// One line of text, cut to `limit` characters: for log lines and error messages that quote foreign text.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let clean = clean_text(text);
    let mut line: String =
        clean.chars().map(|character| if character == '\n' || character == '\t' { ' ' } else { character }).take(limit).collect();
    if clean.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}

fn is_plain(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => false,
        // Embeddings, overrides and isolates: they show text in another order than it is read.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        // Tag characters are invisible everywhere and a known way to hide instructions from people.
        '\u{e0000}'..='\u{e007f}' => false,
        _ => true,
    }
}

fn strip_into(clean: &mut String, text: &str) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\u{9b}' => skip_parameters(&mut characters),
            // A lone carriage return overwrites the line on a terminal; as part of a line end it is only noise.
            '\r' if characters.peek() != Some(&'\n') => clean.push('\n'),
            _ if is_plain(character) => clean.push(character),
            _ => {}
        }
    }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(characters: &mut Characters<'_>) {
    match characters.peek() {
        Some('[') => {
            characters.next();
            skip_parameters(characters);
        }
        // Strings of the terminal (OSC, DCS, SOS, PM, APC) end at BEL or at ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut ahead = characters.clone();
            ahead.next();
            while let Some(character) = ahead.next() {
                if character == '\u{7}' || character == '\u{9c}' {
                    *characters = ahead;
                    return;
                }
                if character == '\u{1b}' && ahead.peek() == Some(&'\\') {
                    ahead.next();
                    *characters = ahead;
                    return;
                }
            }
            // Never closed: only the opener goes, so that a stray one cannot swallow the rest of a result.
            characters.next();
        }
        Some(' '..='/') => {
            while characters.next_if(|character| (' '..='/').contains(character)).is_some() {}
            characters.next_if(|character| ('0'..='~').contains(character));
        }
        Some('0'..='~') => {
            characters.next();
        }
        _ => {}
    }
}

fn skip_parameters(characters: &mut Characters<'_>) {
    while characters.next_if(|character| (' '..='?').contains(character)).is_some() {}
    characters.next_if(|character| ('@'..='~').contains(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dirty: &str, clean: &str) {
        assert_eq!(clean_text(dirty), clean, "{dirty:?}");
    }

    #[test]
    fn strips_escape_sequences_whole() {
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("a\u{1b}]0;title\u{7}b", "ab");
        check("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb");
        check("\u{9b}2Jx", "x");
        check("a\u{1b}(Bb", "ab");
        check("a\u{1b}", "a");
        check("a\u{1b}]never closed", "anever closed");
    }

    #[test]
    fn strips_controls_but_keeps_lines_and_tabs() {
        check("a\0b\u{8}c\u{7f}d", "abcd");
        check("one\r\ntwo\tthree\n", "one\ntwo\tthree\n");
        check("progress 1\rprogress 2", "progress 1\nprogress 2");
        check("c1\u{85}x", "c1x");
    }

    #[test]
    fn strips_what_reorders_or_hides() {
        check("a\u{202e}b\u{2066}c", "abc");
        check("hi\u{e0041}\u{e0042}", "hi");
    }

    #[test]
    fn leaves_ordinary_text_borrowed() {
        assert!(matches!(clean_text("Grüße, 世界, \u{200d} 👩‍🚀\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn cleans_values_with_their_keys() {
        let mut value = serde_json::json!({"a\u{1b}[1m": ["x\u{202e}", {"b": "\u{7}"}], "n": 1});
        clean_value(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x", {"b": ""}], "n": 1}));
    }
}
