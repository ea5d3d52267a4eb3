//! A diagnostic for people, in the manner of a compiler: where, the line, what, and what to do. Machines read the serialised form.

use std::fmt::Write as _;

use crate::{Diagnostic, Diagnostics, tree::unseen};

/// The widest part of a source line that is shown, in characters.
const WIDTH: usize = 100;

struct Ink {
    red: &'static str,
    blue: &'static str,
    bold: &'static str,
    end: &'static str,
}

const PLAIN: Ink = Ink { red: "", blue: "", bold: "", end: "" };
const COLOR: Ink = Ink { red: "\x1b[1;31m", blue: "\x1b[1;34m", bold: "\x1b[1m", end: "\x1b[0m" };

impl Diagnostic {
    /// The diagnostic with the line it is about. `source` is the text that was parsed; control characters in it never reach the terminal.
    #[must_use]
    pub fn render(&self, source: &str, color: bool) -> String {
        let Ink { red, blue, bold, end } = if color { COLOR } else { PLAIN };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let mut out = format!("{red}error[{}]{end}{bold}: {}{end}\n", self.code, visible(&self.headline()));
        // Writing to a String can't fail.
        let _ = writeln!(out, "{margin}{blue}-->{end} {}:{}:{}", visible(&self.file), self.line, self.column);
        if let Some((text, before, width)) = self.excerpt(source) {
            let _ = writeln!(out, "{margin} {blue}|{end}");
            let _ = writeln!(out, "{blue}{number} |{end} {text}");
            let _ = writeln!(out, "{margin} {blue}|{end} {}{red}{}{end}", " ".repeat(before), "^".repeat(width));
        }
        for (label, text) in [("expected", &self.expected), ("found", &self.found), ("help", &self.hint)] {
            if let Some(text) = text {
                let _ = writeln!(out, "{margin} {blue}={end} {bold}{label}{end}: {}", visible(text));
            }
        }
        out
    }

    fn headline(&self) -> String {
        if self.path.is_empty() { format!("the document {}", self.message) } else { format!("`{}` {}", self.path, self.message) }
    }

    /// The visible part of the line, how many characters stand before the mark, and how long the mark is.
    fn excerpt(&self, source: &str) -> Option<(String, usize, usize)> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let line = source.lines().nth(usize::try_from(self.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(self.column).ok()?.saturating_sub(1);
        let line: Vec<char> = line.chars().take(column + WIDTH + 1).collect();
        let column = column.min(line.len());
        let start = if column + 20 > WIDTH { column.saturating_sub(WIDTH / 2) } else { 0 };
        let shown: Vec<char> = line.iter().skip(start).take(WIDTH).copied().collect();
        let marked = line.get(column..).map(token_length).unwrap_or(1);
        let width = marked.clamp(1, (start + shown.len()).saturating_sub(column).max(1));
        let plain = |character: &char| if *character == '\t' || unseen(*character).is_some() { ' ' } else { *character };
        let mut text: String = shown.iter().map(plain).collect();
        let mut before = column - start;
        if start > 0 {
            text.insert(0, '…');
            before += 1;
        }
        if start + shown.len() < line.len() {
            text.push('…');
        }
        Some((text, before, width))
    }
}

impl Diagnostics {
    /// Every diagnostic, rendered, with an empty line between two.
    #[must_use]
    pub fn render(&self, source: &str, color: bool) -> String {
        let parts: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(source, color)).collect();
        parts.join("\n")
    }
}

/// How much of the rest of a line belongs to the key or value that begins there.
fn token_length(rest: &[char]) -> usize {
    match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            rest.iter().skip(1).position(|character| character == quote).map_or(rest.len(), |at| at + 2)
        }
        Some('[' | '{' | '|' | '>' | '-') | None => 1,
        Some(_) => {
            let mut length = 0;
            for (index, character) in rest.iter().enumerate() {
                let next = rest.get(index + 1);
                let ends = matches!(character, ',' | ']' | '}')
                    || (*character == ':' && next.is_none_or(|next| next.is_whitespace()))
                    || (*character == ' ' && next == Some(&'#'));
                if ends {
                    break;
                }
                if !character.is_whitespace() {
                    length = index + 1;
                }
            }
            length
        }
    }
}

/// Text for a terminal: nothing in it moves the cursor or hides what follows.
fn visible(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if unseen(character).is_some() || character == '\n' || character == '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
