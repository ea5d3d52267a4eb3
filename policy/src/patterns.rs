//! Which tools a token covers: patterns over served names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern covers nothing and looks as if it covered all.
    #[error("a tool pattern is empty")]
    Empty,
    /// Longer than any served name.
    #[error("tool pattern `{pattern}` has {} characters, at most {MAX_PATTERN} are allowed", pattern.len())]
    TooLong {
        /// The pattern.
        pattern: String,
    },
    /// A character that no served name has, and that is not `*`.
    #[error("tool pattern `{pattern}` holds `{character}`, expected `[a-z0-9_-]` and `*`")]
    Character {
        /// The pattern.
        pattern: String,
        /// The first such character.
        character: char,
    },
    /// More patterns than a token may have.
    #[error("{found} tool patterns, at most {MAX_PATTERNS} are allowed")]
    TooMany {
        /// Patterns found.
        found: usize,
    },
}

/// As long as the longest served name.
const MAX_PATTERN: usize = 64;
const MAX_PATTERNS: usize = 256;

/// Patterns over served names; `*` stands for any run of characters. No pattern covers no tool.
///
/// ```
/// use policy::ToolPatterns;
///
/// let patterns = ToolPatterns::parse(&["weather__*"])?;
/// assert!(patterns.allows("weather__forecast"));
/// assert!(!patterns.allows("files__read"));
/// # Ok::<(), policy::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct ToolPatterns(Vec<String>);

impl ToolPatterns {
    /// Reads patterns; one bad pattern refuses all.
    ///
    /// # Errors
    /// [`PatternError`] names the first bad pattern.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        if patterns.len() > MAX_PATTERNS {
            return Err(PatternError::TooMany { found: patterns.len() });
        }
        patterns.iter().map(|pattern| check(pattern.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a pattern covers the served name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, name))
    }

    /// The patterns as they were written.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn check(pattern: &str) -> Result<String, PatternError> {
    if pattern.is_empty() {
        return Err(PatternError::Empty);
    }
    let allowed = |character: &char| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-*".contains(*character);
    if let Some(character) = pattern.chars().find(|character| !allowed(character)) {
        return Err(PatternError::Character { pattern: pattern.to_owned(), character });
    }
    if pattern.len() > MAX_PATTERN {
        return Err(PatternError::TooLong { pattern: pattern.to_owned() });
    }
    Ok(pattern.to_owned())
}

/// The part before the first `*` begins the name, the part after the last ends it, and those between follow each other in it. Taking each at its
/// first place is enough, so no pattern is slow.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    for part in middle.unwrap_or_default().split('*') {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(tail)
}

impl TryFrom<Vec<String>> for ToolPatterns {
    type Error = PatternError;
    fn try_from(patterns: Vec<String>) -> Result<Self, PatternError> {
        Self::parse(&patterns)
    }
}

impl From<ToolPatterns> for Vec<String> {
    fn from(patterns: ToolPatterns) -> Self {
        patterns.0
    }
}

impl fmt::Display for ToolPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}
