//! How text becomes terms: words split at case changes and separators, lower case, no stop words, English stems.
//!
//! The same analysis runs over tools and over requests. It knows nothing of fields or scores.

use std::str::CharIndices;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream,
    Tokenizer,
};

/// The name under which the analyzer is registered with tantivy.
pub const ANALYZER: &str = "pegboard";

/// Longer runs (base64, hashes) are noise that only grows the dictionary.
const MAX_TERM_BYTES: usize = 64;

/// Words that match every long description. tantivy's own stemming analyzer does not remove any, and the polite half
/// ("can you please") is what requests to an agent are full of: removing these is the largest single gain of the analysis.
pub const STOP_WORDS: [&str; 77] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of", "on", "or",
    "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with", "i", "me", "my",
    "you", "your", "we", "our", "can", "could", "would", "should", "please", "need", "want", "help", "also", "like", "do",
    "does", "did", "have", "has", "had", "what", "how", "which", "who", "when", "where", "from", "am", "so", "just", "any",
    "some", "us", "its", "m", "s", "t", "re", "ve", "ll", "let",
];

/// The analyzer for both sides. Cheap to clone: the stop words are shared.
pub fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(WordTokenizer::default())
        .filter(RemoveLongFilter::limit(MAX_TERM_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(StopWordFilter::remove(STOP_WORDS.iter().map(|word| (*word).to_owned())))
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The terms of `text`, in order, duplicates included.
pub fn terms(text: &str) -> Vec<String> {
    let mut analyzer = analyzer();
    let mut stream = analyzer.token_stream(text);
    let mut terms = Vec::new();
    while stream.advance() {
        terms.push(stream.token().text.clone());
    }
    terms
}

/// A name as words: `getHTTPStatus_code` → `get HTTP Status code`. For encoders, which know words and not identifiers.
pub fn split_name(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    for run in Runs::new(name) {
        for part in parts(run.text) {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(part);
        }
    }
    words
}

/// Splits text into runs of letters and digits, and those at case changes.
///
/// A run that was split is also given whole, at the same position: `GitHub` must be found by `github` and by `git hub`.
#[derive(Clone, Default)]
pub struct WordTokenizer {
    token: Token,
}

/// The tokens of one text; see [`WordTokenizer`].
pub struct WordStream<'a> {
    runs: Runs<'a>,
    /// Tokens of the current run that were not handed out yet, last first.
    waiting: Vec<(usize, &'a str)>,
    token: &'a mut Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { runs: Runs::new(text), waiting: Vec::new(), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        while self.waiting.is_empty() {
            let Some(run) = self.runs.next() else { return false };
            let mut offset = run.start;
            for part in parts(run.text) {
                self.waiting.push((offset, part));
                offset += part.len();
            }
            if self.waiting.len() > 1 {
                self.waiting.push((run.start, run.text));
            }
            self.waiting.reverse();
        }
        let Some((start, text)) = self.waiting.pop() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = start;
        self.token.offset_to = start + text.len();
        self.token.text.clear();
        self.token.text.push_str(text);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// A maximal run of letters and digits, and where it starts in the text (bytes).
struct Run<'a> {
    start: usize,
    text: &'a str,
}

struct Runs<'a> {
    text: &'a str,
    chars: CharIndices<'a>,
}

impl<'a> Runs<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, chars: text.char_indices() }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let (start, first) = self.chars.by_ref().find(|(_, c)| c.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        // Scripts without spaces: one character is the smallest thing that can match at all.
        while !is_ideograph(first) {
            match self.chars.clone().next() {
                Some((at, c)) if c.is_alphanumeric() && !is_ideograph(c) => {
                    end = at + c.len_utf8();
                    self.chars.next();
                }
                _ => break,
            }
        }
        Some(Run { start, text: self.text.get(start..end)? })
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2fa1f)
}

/// Cuts `aB`, `1B` and `ABc` (before `B`), so that `parseHTTPHeader2Json` gives `parse HTTP Header2 Json`.
fn parts(run: &str) -> impl Iterator<Item = &str> {
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, after) = rest.split_at(first_part(rest));
        rest = after;
        Some(part)
    })
}

fn first_part(run: &str) -> usize {
    let mut previous = None::<char>;
    let mut chars = run.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if let Some(before) = previous {
            let next_is_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
            let opens_word = c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit() || next_is_lower);
            if opens_word {
                return at;
            }
        }
        previous = Some(c);
    }
    run.len()
}
