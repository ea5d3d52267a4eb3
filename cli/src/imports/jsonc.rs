//! JSON as clients take it: with comments and with commas before a closing bracket. Where a value stands in the text, so that the rest of a file
//! stays as its owner wrote it.

use std::ops::Range;

/// The same text with comments and commas before a closing bracket as spaces: every byte keeps its place.
pub(crate) fn strip(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    let mut comma = None;
    while let Some(byte) = bytes.get(at).copied() {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => {
                at = string_end(&bytes, at);
                comma = None;
                continue;
            }
            (b'/', Some(b'/')) => {
                at = blank(&mut bytes, at, |rest| rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
            }
            (b'/', Some(b'*')) => {
                at = blank(&mut bytes, at, |rest| {
                    rest.get(2..)
                        .and_then(|inner| inner.windows(2).position(|two| two == b"*/"))
                        .map_or(rest.len(), |end| end + 4)
                });
            }
            (b',', _) => {
                comma = Some(at);
                at += 1;
            }
            (b'}' | b']', _) => {
                if let Some(byte) = comma.take().and_then(|comma| bytes.get_mut(comma)) {
                    *byte = b' ';
                }
                at += 1;
            }
            (byte, _) => {
                if !byte.is_ascii_whitespace() {
                    comma = None;
                }
                at += 1;
            }
        }
    }
    // Whole comments became spaces, so what is left is UTF-8 still.
    String::from_utf8(bytes).unwrap_or_default()
}

fn blank(bytes: &mut [u8], from: usize, length: impl Fn(&[u8]) -> usize) -> usize {
    let end = from + bytes.get(from..).map_or(0, length);
    for byte in bytes.get_mut(from..end).into_iter().flatten().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
    end.max(from + 1)
}

/// Behind the closing quote of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while let Some(byte) = bytes.get(next) {
        match byte {
            b'\\' => next += 2,
            b'"' => return next + 1,
            _ => next += 1,
        }
    }
    bytes.len()
}

/// Where the value at a path of keys stands in a stripped text that is valid JSON.
pub(crate) fn span(stripped: &str, path: &[String]) -> Option<Range<usize>> {
    let bytes = stripped.as_bytes();
    let mut at = skip(bytes, 0);
    for key in path {
        at = member(stripped, at, key)?;
    }
    Some(at..value_end(bytes, at))
}

/// Where the value of a key begins, in the object at `at`. Of a key that is given twice the last one counts, as everywhere.
fn member(text: &str, at: usize, wanted: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let mut found = None;
    let mut next = skip(bytes, at + 1);
    while bytes.get(next) == Some(&b'"') {
        let end = string_end(bytes, next);
        let key: String = serde_json::from_str(text.get(next..end)?).ok()?;
        let value = skip(bytes, skip(bytes, end) + 1);
        if key == wanted {
            found = Some(value);
        }
        next = skip(bytes, value_end(bytes, value));
        if bytes.get(next) == Some(&b',') {
            next = skip(bytes, next + 1);
        }
    }
    found
}

fn skip(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

fn value_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut next = at;
    while let Some(byte) = bytes.get(next) {
        match byte {
            b'"' => {
                next = string_end(bytes, next);
                if depth == 0 {
                    return next;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { next + 1 } else { next },
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return next,
            byte if depth == 0 && byte.is_ascii_whitespace() => return next,
            _ => {}
        }
        next += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::{span, strip};

    #[test]
    fn comments_go_and_places_stay() {
        let text = "{ // one, \"two\"\n \"a\": \"// no, /* comment */\", /* , } */\n \"b\": [1, 2,], \"ü\": {\"c\": null,},\n}";
        let plain = strip(text);
        assert_eq!(plain.len(), text.len());
        let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(value, serde_json::json!({"a": "// no, /* comment */", "b": [1, 2], "ü": {"c": null}}));
        let at = |path: &[&str]| {
            span(&plain, &path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()).map(|span| plain[span].to_owned())
        };
        assert_eq!(at(&["b"]).unwrap(), "[1, 2 ]");
        assert_eq!(at(&["ü", "c"]).unwrap(), "null");
        assert_eq!(at(&["a"]).unwrap(), "\"// no, /* comment */\"");
        assert_eq!(at(&["b", "c"]), None);
        assert_eq!(at(&["nothing"]), None);
    }

    #[test]
    fn an_open_comment_or_string_ends_with_the_text() {
        for text in ["{\"a\": 1 /* ", "{\"a", "// x", "\"\\", "/", ",", "}"] {
            assert_eq!(strip(text).len(), text.len(), "{text}");
        }
    }
}
