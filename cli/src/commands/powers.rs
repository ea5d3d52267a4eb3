//! What each power lets a plugin do, in words: shown wherever something is granted or listed. What the sandbox can't hold of it is in `policy`.

use manifest_schema::Permission;
use policy::{Advisory, Scope};

/// What a power allows, as the end of "the plugin may …".
pub(crate) const fn allows(power: Permission) -> &'static str {
    match power {
        Permission::FileSystemRead => "read everything in the granted folders",
        Permission::FileSystemWrite => "read, change and delete everything in the granted folders",
        Permission::NetworkAccess => "open network connections",
        Permission::DatabaseAccess => "reach a database over the network",
        Permission::ExternalApi => "call a web API over the network",
        Permission::SystemInfo => "see facts about this machine",
        Permission::PluginCommunication => "ask the host to call tools of other plugins",
        Permission::UserInterface => "ask the host to ask the user",
        Permission::ProcessSpawn => "start other programs, inside the same sandbox",
        Permission::EnvRead => "read environment variables beyond the fixed few",
        Permission::DynamicCode => "build and run code that is not in its folder",
    }
}

/// What is not enforced of one of the powers that a plugin holds, in words. Never shown as if it were.
pub(crate) fn advisory(said: &[Advisory], power: Permission) -> Option<String> {
    let texts: Vec<&str> =
        said.iter().filter(|advisory| advisory.power == Some(power)).map(|advisory| advisory.text.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// A power with its scope, such as `file_system_read=/data`.
pub(crate) fn with_scope(power: Permission, scope: &Scope) -> String {
    let parts: Vec<String> =
        scope.folders.iter().map(|folder| folder.display().to_string()).chain(scope.hosts.iter().cloned()).collect();
    if parts.is_empty() { power.to_string() } else { format!("{power}={}", parts.join(",")) }
}
