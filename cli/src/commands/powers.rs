//! What each power lets a plugin do, and which part of it the sandbox can't hold: shown wherever something is granted or listed.

use manifest_schema::Permission;
use policy::Scope;

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

/// The part of a power that is not enforced, if there is one. Never shown as if it were.
pub(crate) const fn advisory(power: Permission) -> Option<&'static str> {
    match power {
        Permission::NetworkAccess | Permission::DatabaseAccess | Permission::ExternalApi => Some(
            "the host list and max_network_mb are advisory: with the network open the plugin can reach any host, this machine's own services included",
        ),
        Permission::SystemInfo => Some("advisory: some facts about the machine are visible to every plugin"),
        Permission::DynamicCode => {
            Some("advisory: nothing keeps a Python plugin from building code; the walls hold that code too")
        }
        _ => None,
    }
}

/// A power with its scope, such as `file_system_read=/data`.
pub(crate) fn with_scope(power: Permission, scope: &Scope) -> String {
    let parts: Vec<String> =
        scope.folders.iter().map(|folder| folder.display().to_string()).chain(scope.hosts.iter().cloned()).collect();
    if parts.is_empty() { power.to_string() } else { format!("{power}={}", parts.join(",")) }
}
