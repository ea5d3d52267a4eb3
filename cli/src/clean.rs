//! Text of others made safe for a terminal. A plugin's names, descriptions and results are untrusted for ever: an escape sequence in
//! one could move the cursor over a grant prompt, change the window title, or answer for the operator.

use std::borrow::Cow;

/// Whether a character could steer a terminal, reorder what is read, or be there without being seen.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{e0000}'..='\u{e007f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Several lines: line breaks and tabs stay, anything that steers is shown as `\u{…}`.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    if text.chars().all(|character| matches!(character, '\n' | '\t') || !steers(character)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.replace("\r\n", "\n").chars() {
        if matches!(character, '\n' | '\t') || !steers(character) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// One line: line breaks and tabs become spaces too.
pub(crate) fn line(text: &str) -> String {
    block(text).split(['\n', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// JSON text with every steering character written as `\uXXXX`: the same document, safe to look at. `serde_json` escapes C0 only.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let foreign = |character: char| steers(character) && character != '\n';
    if !text.contains(foreign) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if foreign(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::{block, json, line};

    #[test]
    fn escape_sequences_become_visible() {
        assert_eq!(block("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(block("a\u{9b}31mb\u{7f}"), "a\\u{9b}31mb\\u{7f}");
        assert_eq!(block("grant\u{202e}yllaer"), "grant\\u{202e}yllaer");
        assert_eq!(block("progress 1%\rgranted"), "progress 1%\\u{d}granted");
    }

    #[test]
    fn plain_text_stays() {
        assert_eq!(block("zwei Zeilen\n\tmit Ümläuten ✓\r\nund Ende"), "zwei Zeilen\n\tmit Ümläuten ✓\nund Ende");
        assert_eq!(line("  two\n\tlines "), "two lines");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({"text": "a\u{9b}b\u{202e}c\u{7f}\u{e0041}\u{200b}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = json(&text);
        assert!(safe.contains("\\u009b") && safe.contains("\\u202e") && safe.contains("\\u007f"), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
