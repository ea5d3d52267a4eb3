//! Why a call may not happen: which key is missing. The public text is safe to show a model; the command that mends it is the operator's.

use std::fmt;

use manifest_schema::{Permission, PluginName, ServedName};
use serde::Serialize;

use crate::Level;

/// One missing key. Its text is the operator's; what a model reads is the text of [`Denial`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Missing {
    /// Declared, not granted.
    Grant {
        /// Power.
        power: Permission,
    },
    /// A required secret is not set.
    Secret {
        /// Name of the secret.
        name: String,
    },
    /// The reached sandbox level is below what the grant asks for.
    Level {
        /// Asked for.
        wanted: Level,
        /// Reached.
        reached: Level,
    },
    /// The configuration does not fit `config_schema`.
    Config {
        /// What does not fit.
        problem: String,
    },
    /// Nothing of what its upstream server offers was approved.
    Approval,
    /// The caller's token does not cover the tool.
    Caller,
}

/// What to tell a model beside a denial.
pub const ASK_THE_OPERATOR: &str = "ask the operator of this host for it; it can't be had from here";

/// A refused call. The serialised form holds the operator's details: it is for the log and for `--json`, not for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Denial {
    /// The plugin.
    pub plugin: PluginName,
    /// The tool.
    pub tool: ServedName,
    /// Every missing key; never empty.
    pub missing: Vec<Missing>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { power } => write!(f, "`{power}` is declared but not granted"),
            Self::Secret { name } => write!(f, "secret `{name}` is not set"),
            Self::Level { wanted, reached } => write!(f, "needs sandbox level {wanted}, this machine reached {reached}"),
            Self::Config { problem } => write!(f, "configuration does not fit: {problem}"),
            Self::Approval => f.write_str("none of its server's tools is approved"),
            Self::Caller => f.write_str("the caller's token does not cover this tool"),
        }
    }
}

/// What a model may read: the keys that are missing. Neither the command that mends it nor a value of the configuration.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tool `{}` may not run: ", self.tool)?;
        for (index, missing) in self.missing.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match missing {
                // The problem may quote the value, and a value may be a secret.
                Missing::Config { .. } => f.write_str("the operator's configuration does not fit the plugin's schema")?,
                missing => write!(f, "{missing}")?,
            }
        }
        Ok(())
    }
}

impl Missing {
    /// The command that mends it. For the operator's terminal and log, never for a model.
    #[must_use]
    pub fn remedy(&self, plugin: &PluginName) -> String {
        match self {
            Self::Grant { power: power @ (Permission::FileSystemRead | Permission::FileSystemWrite) } => {
                format!("pegboard grant {plugin} {power}=/path/to/folder")
            }
            Self::Grant { power } => format!("pegboard grant {plugin} {power}"),
            Self::Secret { name } => format!("pegboard secret set {plugin} {name}"),
            // Nothing is granted a level without walls.
            Self::Level { reached: Level::L0, .. } => "pegboard doctor".to_owned(),
            Self::Level { reached, .. } => format!("pegboard grant {plugin} --level {reached}"),
            Self::Config { .. } => format!("pegboard config edit {plugin}"),
            Self::Approval => format!("pegboard approve {plugin}"),
            Self::Caller => "pegboard token create --tools PATTERN".to_owned(),
        }
    }
}
