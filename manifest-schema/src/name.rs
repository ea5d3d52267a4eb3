//! Names of plugins and tools: parsed once at the edge, so that no raw string travels inside.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// Longer than a client's tool name can hold.
    #[error("has {found} characters, at most {limit} are allowed")]
    TooLong {
        /// Characters found.
        found: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// A character or an order of characters outside the rule.
    #[error("does not match ^[a-z][a-z0-9]*([_-][a-z0-9]+)*$ at character {at}")]
    Shape {
        /// One-based position of the first offending character.
        at: usize,
    },
}

/// Accepts `^[a-z][a-z0-9]*([_-][a-z0-9]+)*$`: single separators only, so that `__` can join plugin and tool without ambiguity.
fn check(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let mut separator = true;
    for (index, character) in name.chars().enumerate() {
        let ok = match character {
            'a'..='z' => true,
            '0'..='9' => index > 0,
            '_' | '-' => !separator,
            _ => false,
        };
        if !ok {
            return Err(NameError::Shape { at: index + 1 });
        }
        separator = matches!(character, '_' | '-');
    }
    if separator {
        return Err(NameError::Shape { at: name.chars().count() });
    }
    let found = name.chars().count();
    if found > limit { Err(NameError::TooLong { found, limit }) } else { Ok(()) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $limit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", "maxLength" = $limit))]
        pub struct $type(String);

        impl $type {
            /// The most characters a name of this kind may have.
            pub const LIMIT: usize = $limit;

            /// Parses a name, or says what is wrong with it.
            ///
            /// # Errors
            /// [`NameError`] names the first rule that is broken.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check(name, $limit).map(|()| Self(name.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

name_type!(
    /// The name of a plugin: `^[a-z][a-z0-9]*([_-][a-z0-9]+)*$`, at most 30 characters.
    PluginName,
    30
);
name_type!(
    /// The name of a tool inside its plugin: the same rule, at most 32 characters.
    ToolName,
    32
);

/// The name a tool is served under: `plugin__tool`, at most 64 characters of `[a-z0-9_-]`, which every model API accepts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ServedName(String);

impl ServedName {
    /// Joins the two names; names hold no `__`, so the pair can be read back.
    #[must_use]
    pub fn new(plugin: &PluginName, tool: &ToolName) -> Self {
        Self(format!("{plugin}__{tool}"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ServedName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
