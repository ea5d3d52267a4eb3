//! Text as word pieces of a fixed vocabulary: lower case, no accents, every sign a word of its own, longest piece first.
//!
//! The vocabulary is BERT's, and so are the rules, but for signs outside ASCII, which are always split off here.
//! `index/train/pieces.py` is the same in Python: the shipped table is only right for these pieces.

use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::is_combining_mark;

/// Longer words (hashes, base64) have no pieces worth knowing.
const MAX_WORD_CHARS: usize = 100;
/// No piece of the vocabulary is longer, in characters.
const MAX_PIECE_CHARS: usize = 20;
/// What goes before a piece that does not open a word.
const INSIDE: &str = "##";

/// Calls `each` with the rows of the first `most` pieces of `text`, in order; words without pieces are passed over.
pub(crate) fn pieces(text: &str, most: usize, row_of: impl Fn(&str) -> Option<u32>, mut each: impl FnMut(u32)) {
    let mut left = most;
    let mut word = String::new();
    let mut found = Vec::new();
    let mut close = |word: &mut String, left: &mut usize| {
        if !word.is_empty() && *left > 0 {
            found.clear();
            split(word, &row_of, &mut found);
            found.iter().take(*left).for_each(|row| each(*row));
            *left = left.saturating_sub(found.len());
        }
        word.clear();
    };
    for (character, _) in text.chars().nfd() {
        if left == 0 {
            return;
        }
        if is_combining_mark(character) || (character.is_control() && !character.is_whitespace()) {
            continue;
        }
        if character.is_alphanumeric() && !is_ideograph(character) {
            word.extend(character.to_lowercase());
            continue;
        }
        close(&mut word, &mut left);
        if !character.is_whitespace() {
            word.push(character);
            close(&mut word, &mut left);
        }
    }
    close(&mut word, &mut left);
}

/// The rows of one word's pieces; none at all when a part of it has no piece.
fn split(word: &str, row_of: &impl Fn(&str) -> Option<u32>, found: &mut Vec<u32>) {
    if word.chars().nth(MAX_WORD_CHARS).is_some() {
        return;
    }
    let mut rest = word;
    let mut key = String::with_capacity(32);
    while !rest.is_empty() {
        let longest = rest.char_indices().nth(MAX_PIECE_CHARS).map_or(rest.len(), |(at, _)| at);
        let mut end = longest;
        let matched = loop {
            let Some(piece) = rest.get(..end).filter(|piece| !piece.is_empty()) else { break None };
            key.clear();
            if rest.len() < word.len() {
                key.push_str(INSIDE);
            }
            key.push_str(piece);
            if let Some(row) = row_of(&key) {
                break Some((row, end));
            }
            end = piece.char_indices().next_back().map_or(0, |(at, _)| at);
        };
        let Some((row, end)) = matched else {
            found.clear();
            return;
        };
        found.push(row);
        rest = rest.get(end..).unwrap_or_default();
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2ceaf | 0x2f800..=0x2fa1f)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const VOCABULARY: [&str; 9] = ["!", "cafe", "##teria", "book", "##s", "a", "天", "##a", "b"];

    fn of(text: &str, most: usize) -> Vec<&'static str> {
        let mut found = Vec::new();
        let row = |piece: &str| VOCABULARY.iter().position(|known| *known == piece).map(|at| at as u32);
        pieces(text, most, row, |row| found.push(VOCABULARY[row as usize]));
        found
    }

    #[test]
    fn words_are_cut_longest_piece_first_without_accents_and_case() {
        assert_eq!(of("Cafétéria books!", 9), ["cafe", "##teria", "book", "##s", "!"]);
        assert_eq!(of("天天a", 9), ["天", "天", "a"]);
    }

    #[test]
    fn a_word_with_an_unknown_part_is_no_word_and_the_next_one_is() {
        assert_eq!(of("bookx book", 9), ["book"]);
        assert_eq!(of("", 9), [""; 0]);
        assert_eq!(of(&format!("{} book", "a".repeat(101)), 200), ["book"]);
        assert_eq!(of(&"a".repeat(100), 200).len(), 100);
    }

    #[test]
    fn the_cut_holds_within_a_word_too() {
        assert_eq!(of("a books books", 2), ["a", "book"]);
        assert_eq!(of("a books books", 3), ["a", "book", "##s"]);
        assert_eq!(of("a", 0), [""; 0]);
    }
}
