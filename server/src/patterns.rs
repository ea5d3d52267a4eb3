//! Tool patterns of tokens, until `policy::ToolPatterns` is there.

/// Patterns of served tool names; `*` stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolPatterns(Vec<String>);

impl ToolPatterns {
    pub fn parse(patterns: &[String]) -> Result<Self, String> {
        Ok(Self(patterns.to_vec()))
    }
    pub fn allows(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => matches(&pattern[1..], name) || (!name.is_empty() && matches(pattern, &name[1..])),
        (Some(a), Some(b)) if a == b => matches(&pattern[1..], &name[1..]),
        _ => false,
    }
}
