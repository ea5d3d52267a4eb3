//! How strongly a call is confined: an ordered scale, reported as reached and never silently lowered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sandbox level; a higher one confines more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// No confinement.
    L0,
    /// Landlock, seccomp and rlimits.
    L1,
    /// Namespaces besides.
    L2,
    /// A container engine.
    L3,
}

impl Level {
    /// Reads `L0` to `L3`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::L0, Self::L1, Self::L2, Self::L3].into_iter().find(|level| level.as_str() == word)
    }

    /// The word used everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
