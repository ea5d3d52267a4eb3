//! What a misspelt key or word was meant to be. Only words; where they stand is the reader's.

use crate::keys;

/// Keys that other formats use for what a manifest calls otherwise.
const SYNONYMS: &[(&str, &str)] = &[
    ("input_schema", "args_schema"),
    ("inputschema", "args_schema"),
    ("parameters", "args_schema"),
    ("params", "args_schema"),
    ("result_schema", "output_schema"),
    ("class", "class_name"),
    ("entrypoint", "class_name"),
    ("entry_point", "class_name"),
    ("module", "module_path"),
    ("function_name", "function"),
    ("handler", "function"),
    ("requirements", "dependencies"),
    ("summary", "description"),
    ("authors", "author"),
    ("timeout_seconds", "max_execution_time"),
    ("max_memory", "max_memory_mb"),
    ("memory_mb", "max_memory_mb"),
    ("requires_python", "python_requires"),
    ("tags", "keywords"),
    ("url", "homepage"),
    ("hints", "annotations"),
    ("read_only_hint", "read_only"),
    ("readonlyhint", "read_only"),
    ("destructivehint", "destructive"),
    ("idempotenthint", "idempotent"),
    ("openworldhint", "open_world"),
];

/// "one of `a`, `b`".
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    if quoted.len() == 1 { quoted.concat() } else { format!("one of {}", quoted.join(", ")) }
}

/// A word that is not known, and the words that are.
pub(crate) enum Misspelt {
    /// A key of a mapping.
    Key(String, Vec<&'static str>),
    /// A value.
    Word(String, Vec<&'static str>),
}

impl Misspelt {
    /// What to tell the author; a key always gets something.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Key(key, known) => Some(key_hint(key, known)),
            Self::Word(word, known) => Some(nearest(word, known)).filter(|near| !near.is_empty()).map(|near| did_you_mean(&near)),
        }
    }
}

fn key_hint(key: &str, known: &[&'static str]) -> String {
    let mut near = nearest(key, known);
    if near.is_empty() {
        let lower = key.to_ascii_lowercase();
        near.extend(SYNONYMS.iter().filter(|(word, meant)| *word == lower && known.contains(meant)).map(|(_, meant)| *meant));
    }
    if !near.is_empty() {
        did_you_mean(&near)
    } else if let Some(home) = keys::home_of(key) {
        format!("`{key}` belongs {home}")
    } else {
        "`pegboard schema` prints every key".to_owned()
    }
}

pub(crate) fn did_you_mean(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

/// The known words that are nearest: equal but for case and separators, or else at the least distance, at most two edits
/// or a third of the word, or else those of which one is the beginning of the other.
pub(crate) fn nearest(word: &str, known: &[&'static str]) -> Vec<&'static str> {
    // Nothing we know is longer than 32 bytes; a longer word is not measured, whatever the file holds.
    if word.len() > 64 {
        return Vec::new();
    }
    let folded = fold(word);
    let same: Vec<&'static str> = known.iter().copied().filter(|known| fold(known) == folded).collect();
    if !same.is_empty() {
        return same;
    }
    let part = |known: &str| folded.len() >= 3 && (known.starts_with(word) || word.starts_with(known));
    let bound = (word.chars().count() / 3).max(2);
    let measured: Vec<(usize, &'static str)> = known
        .iter()
        .map(|known| (strsim::osa_distance(word, known), *known))
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    let least = measured.iter().map(|(distance, _)| *distance).min();
    if least.is_none() {
        return known.iter().copied().filter(|known| part(known)).take(3).collect();
    }
    measured.into_iter().filter(|(distance, _)| Some(*distance) == least).map(|(_, known)| known).collect()
}

fn fold(word: &str) -> String {
    word.chars().filter(|character| !matches!(character, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}
