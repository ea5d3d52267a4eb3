//! Rust source with comments and literals blanked out, so that a rule about code is not tripped by prose, nor fooled by a string.
//!
//! Line numbers stay as they were. This is a scanner, not a parser: it knows comments (nested), strings (raw, byte, C), and the difference
//! between a character literal and a lifetime. [`functions`] and [`without_tests`] work by counting braces on its result.

/// Replaces every comment and the inside of every literal by spaces.
pub(crate) fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars.get(at..end).unwrap_or_default().iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => position(chars, at, |c| c == '\n').unwrap_or(chars.len()),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        '\'' => char_end(chars, at),
        'r' | 'b' | 'c' if !follows_word(chars, at) => prefixed_end(chars, at),
        _ => at,
    }
}

fn position(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> Option<usize> {
    (from..chars.len()).find(|index| wanted(chars[*index]))
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut index: usize) -> usize {
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// `'a'` and `'\n'` are literals, `'a` in `&'a str` is not.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => position(chars, at + 3, |c| c == '\'').map_or(chars.len(), |end| end + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// `b"…"`, `r"…"`, `br#"…"#`, `c"…"`, `b'…'`; a plain word that begins with these letters ends where it starts.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let mut index = at;
    let mut raw = false;
    while let Some(letter @ ('r' | 'b' | 'c')) = chars.get(index) {
        raw |= *letter == 'r';
        index += 1;
    }
    let hashes = chars[index.min(chars.len())..].iter().take_while(|c| **c == '#').count();
    match chars.get(index + hashes) {
        Some('"') if raw => raw_string_end(chars, index + hashes + 1, hashes),
        Some('"') if hashes == 0 => string_end(chars, index + 1),
        Some('\'') if hashes == 0 && index == at + 1 && chars[at] == 'b' => char_end(chars, index),
        _ => at,
    }
}

fn raw_string_end(chars: &[char], from: usize, hashes: usize) -> usize {
    (from..chars.len())
        .find(|index| chars[*index] == '"' && chars[index + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes)
        .map_or(chars.len(), |index| index + 1 + hashes)
}

/// A function in blanked source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Line of the `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from the `fn` to its closing brace.
    pub(crate) lines: usize,
}

/// Every function with a body, found by counting braces.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    words(code)
        .filter(|(_, word)| *word == "fn")
        .filter_map(|(at, _)| {
            let rest = &code[at + 2..];
            let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let end = at + 2 + body_end(rest)?;
            let line = code[..at].matches('\n').count() + 1;
            (!name.is_empty()).then(|| Function { name, line, lines: code[at..end].matches('\n').count() + 1 })
        })
        .collect()
}

/// Blanked source with every `#[cfg(test)]` item blanked too.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(at) = out.find("#[cfg(test)]") {
        let rest = &out[at..];
        let end = at + body_end(rest).unwrap_or_else(|| rest.find(';').map_or(rest.len(), |index| index + 1));
        let blanked: String = out[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(at..end, &blanked);
    }
    out
}

/// Where the braces that open next are closed again; `None` when a `;` outside brackets comes first: there is no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_i64, 0_i64);
    for (index, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The words of a source with their byte positions.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        let source = "let a = \"unsafe\"; // unsafe\n/* unsafe /* nested */ */ let b = r#\"unsafe \" }\"#;\nlet c = b\"unsafe\"; let d = '{';\n";
        let code = blank(source);
        assert!(!code.contains("unsafe") && !code.contains('{') && !code.contains('}'), "{code}");
        assert_eq!(code.matches('\n').count(), 3);
        assert!(code.contains("let a =") && code.contains("let b =") && code.contains("let d ="));
    }

    #[test]
    fn a_lifetime_is_not_a_literal() {
        assert_eq!(blank("fn f<'a>(x: &'a str) -> &'a str { x }"), "fn f<'a>(x: &'a str) -> &'a str { x }");
        assert_eq!(blank(r"let q = '\''; let n = '\u{1F600}'; raw()"), "let q =     ; let n =            ; raw()");
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let code = blank(
            "trait T {\n    fn none(&self);\n    fn long(&self, a: [u8; 2]) -> u8\n    {\n        if a { 1 } else { 2 }\n    }\n}\n",
        );
        assert_eq!(functions(&code), [Function { name: "long".into(), line: 3, lines: 4 }]);
    }

    #[test]
    fn test_modules_are_blanked() {
        let code = without_tests(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { tokio() }\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n",
        );
        assert!(!code.contains("tokio") && !code.contains("more"));
        assert!(code.contains("fn a()") && code.contains("fn c()") && code.contains("fn d()"));
        assert_eq!(code.matches('\n').count(), 9);
    }
}
