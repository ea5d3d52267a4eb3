//! A request for several things, taken apart: "find a flight and then book a hotel" needs two tools, and the words of one
//! must not drown the other. Rules, not a model: they cost nothing and split nothing that has one verb.

/// Clauses looked at besides the whole request; each costs one search.
pub const MAX_CLAUSES: usize = 8;
/// Shorter pieces ("in Paris") are not requests.
const MIN_WORDS: usize = 3;

const SPLIT_BEFORE: [&str; 13] = [
    "then",
    "also",
    "additionally",
    "furthermore",
    "moreover",
    "finally",
    "next",
    "afterwards",
    "secondly",
    "lastly",
    "firstly",
    "plus",
    "besides",
];

/// "and" splits only before these: they open a request of their own.
const AFTER_AND: [&str; 24] = [
    "then",
    "also",
    "can",
    "could",
    "please",
    "tell",
    "show",
    "get",
    "find",
    "give",
    "check",
    "provide",
    "let",
    "what",
    "how",
    "create",
    "send",
    "book",
    "set",
    "search",
    "calculate",
    "i",
    "finally",
    "convert",
];

/// The clauses of a request, or none when it is one thing.
pub fn clauses(request: &str) -> Vec<String> {
    let mut pieces = vec![Vec::new()];
    let words: Vec<&str> = request.split_inclusive(char::is_whitespace).collect();
    for (at, raw) in words.iter().enumerate() {
        let word = bare(raw);
        let opens = match word.as_str() {
            "and" => words.get(at + 1).is_some_and(|next| AFTER_AND.contains(&bare(next).as_str())),
            other => SPLIT_BEFORE.contains(&other),
        };
        if opens {
            pieces.push(Vec::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(raw.trim());
        }
        if ends_clause(raw) {
            pieces.push(Vec::new());
        }
    }
    let clauses: Vec<String> =
        pieces.into_iter().filter(|piece| piece.len() >= MIN_WORDS).take(MAX_CLAUSES).map(|piece| piece.join(" ")).collect();
    if clauses.len() > 1 { clauses } else { Vec::new() }
}

fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase()
}

/// Ends of sentences, commas and line breaks; "3.5" and "1,000" are inside words and do not count.
fn ends_clause(word: &str) -> bool {
    word.contains('\n') || word.trim_end().ends_with(['.', '!', '?', ';', ','])
}
