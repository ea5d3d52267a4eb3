//! Characters that people do not see, and text that is not language: encoded data, comments, addresses.

/// Whether a character is not seen, or moves what is seen: control and format characters, fillers, tags, variation selectors.
pub(super) fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' // control characters, terminal escapes among them
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Where the first hidden character stands that is not part of a picture: emoji are joined by U+200D and coloured by U+FE0F.
pub(super) fn hidden(text: &str) -> Option<usize> {
    let mut before: Option<char> = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        if is_hidden(character) {
            let after_picture = before.is_some_and(is_picture);
            let joins = character == '\u{200d}' && after_picture && rest.peek().is_some_and(|(_, next)| is_picture(*next));
            let colours = matches!(character, '\u{fe0e}' | '\u{fe0f}') && after_picture;
            if !joins && !colours {
                return Some(at);
            }
            // U+FE0F may stand before the joiner: the picture goes on. Any other pair of them is data.
            before = if colours {
                Some('\u{1f600}').filter(|_| rest.peek().is_some_and(|(_, next)| *next == '\u{200d}'))
            } else {
                None
            };
        } else {
            before = Some(character);
        }
    }
    None
}

fn is_picture(character: char) -> bool {
    matches!(character, '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}' | '\u{2030}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

/// The text without hidden characters, so that they can't break a word in two.
pub(super) fn visible(text: &str) -> String {
    text.chars().filter(|character| !is_hidden(*character)).collect()
}

/// Where the first word stands that has both Latin and Cyrillic letters: they look alike.
pub(super) fn mixed(text: &str) -> Option<usize> {
    let mut start = 0;
    for word in text.split_inclusive(|character: char| !character.is_alphanumeric()) {
        let latin = word.chars().any(|character| character.is_ascii_alphabetic());
        if latin && word.chars().any(|character| matches!(character, '\u{400}'..='\u{52f}')) {
            return Some(start);
        }
        start += word.len();
    }
    None
}

/// Encoded data, comments and addresses, each with where it stands.
pub(super) fn carried(text: &str) -> Vec<(&'static str, usize)> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    found.extend(["<!--", "[//]: #", "[comment]: <>"].iter().find_map(|mark| lower.find(mark)).map(|at| ("TXT-COMMENT", at)));
    let mut start = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        if is_blob(word.trim()) {
            found.push(("TXT-BLOB", start));
        }
        start += word.len();
    }
    if let Some(at) =
        ["data:text/", "data:application/", "javascript:", ";base64,", "file://"].iter().find_map(|mark| lower.find(mark))
    {
        found.push(("TXT-LINK", at));
    } else if let Some(at) = address(&lower) {
        found.push(("TXT-LINK", at));
    }
    found
}

/// Longer than any hash, id or path would be, or escapes in a row.
fn is_blob(word: &str) -> bool {
    let longest =
        |fits: fn(char) -> bool| word.split(|character| !fits(character)).max_by_key(|run| run.len()).unwrap_or_default();
    if longest(|character| character.is_ascii_hexdigit()).len() > 64 {
        return true;
    }
    let run = longest(|character| character.is_ascii_alphanumeric() || character == '+' || character == '=');
    let has = |kind: fn(&char) -> bool| run.chars().any(|character| kind(&character));
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    if run.len() >= 64 && mixed {
        return true;
    }
    ["\\x", "\\u", "%", "&#"].iter().any(|mark| word.matches(mark).count() >= 8 && word.len() < 12 * word.matches(mark).count())
}

/// Where an address stands that something is loaded from when the text is rendered, or that hides where it leads.
fn address(lower: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = lower.get(from..)?.find("http").map(|at| at + from) {
        from = at + 4;
        let link: &str =
            lower.get(at..)?.split(|character: char| character.is_whitespace() || "\"'`)>]".contains(character)).next()?;
        let Some(rest) = link.strip_prefix("http://").or_else(|| link.strip_prefix("https://")) else { continue };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let query = rest.split_once('?').map_or(0, |(_, query)| query.len());
        let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
        let local = ["localhost", "127.0.0.1", "0.0.0.0"].contains(&host);
        let number = !host.is_empty() && host.chars().all(|character| character.is_ascii_digit() || character == '.');
        let image = lower.get(..at).is_some_and(|before| before.ends_with("](") && before.contains("!["));
        let tag = lower.get(..at).is_some_and(|before| before.trim_end_matches(['"', '\'']).ends_with("src="));
        if image || tag || authority.contains('@') || (number && !local) || host.contains("xn--") || query > 64 || sent(lower, at)
        {
            return Some(at);
        }
    }
    None
}

/// Whether the same sentence, before the address, says to send something.
fn sent(lower: &str, at: usize) -> bool {
    const SENDS: [&str; 9] = ["send", "post", "upload", "forward", "submit", "transmit", "exfiltrate", "deliver", "report"];
    let before = lower.get(..at).unwrap_or_default();
    let sentence = before.rsplit(['.', '!', '?', '\n']).next().unwrap_or_default();
    let mut near = sentence.split_whitespace().rev().take(10);
    near.any(|word| SENDS.contains(&word.trim_matches(|character: char| !character.is_alphanumeric())))
}
