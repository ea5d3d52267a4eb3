//! The powers a manifest can ask for. The operator's half is in `policy`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A power. None is held unless it is declared here and granted by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Read folders that the operator names.
    FileSystemRead,
    /// Write folders that the operator names.
    FileSystemWrite,
    /// Open network connections.
    NetworkAccess,
    /// Reach a database over the network.
    DatabaseAccess,
    /// See facts about the machine.
    SystemInfo,
    /// Call tools of other plugins through the host.
    PluginCommunication,
    /// Call a web API over the network.
    ExternalApi,
    /// Ask the user through the host.
    UserInterface,
    /// Start other programs inside the sandbox.
    ProcessSpawn,
    /// Read environment variables beyond the fixed few.
    EnvRead,
    /// Build code at run time.
    DynamicCode,
}

impl Permission {
    /// Every permission, in the order of the manifest reference.
    pub const ALL: [Self; 11] = [
        Self::FileSystemRead,
        Self::FileSystemWrite,
        Self::NetworkAccess,
        Self::DatabaseAccess,
        Self::SystemInfo,
        Self::PluginCommunication,
        Self::ExternalApi,
        Self::UserInterface,
        Self::ProcessSpawn,
        Self::EnvRead,
        Self::DynamicCode,
    ];

    /// The word used in manifests, commands and errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileSystemRead => "file_system_read",
            Self::FileSystemWrite => "file_system_write",
            Self::NetworkAccess => "network_access",
            Self::DatabaseAccess => "database_access",
            Self::SystemInfo => "system_info",
            Self::PluginCommunication => "plugin_communication",
            Self::ExternalApi => "external_api",
            Self::UserInterface => "user_interface",
            Self::ProcessSpawn => "process_spawn",
            Self::EnvRead => "env_read",
            Self::DynamicCode => "dynamic_code",
        }
    }

    /// Reads the word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == word)
    }

    /// Whether the power opens the network.
    #[must_use]
    pub const fn is_network(self) -> bool {
        matches!(self, Self::NetworkAccess | Self::DatabaseAccess | Self::ExternalApi)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
