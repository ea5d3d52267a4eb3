//! What a manifest asks for, reduced to what a decision needs.

use std::collections::BTreeSet;

use manifest_schema::{Digest, Manifest, Permission};

/// The powers a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Every power asked for, `requires_network` and `requires_filesystem` included.
    pub powers: BTreeSet<Permission>,
    /// Hosts asked for; empty with a network power means any public host.
    pub hosts: Vec<String>,
    /// Names of secrets that must be set.
    pub required_secrets: Vec<String>,
    /// Names of all secrets the plugin may see.
    pub secrets: Vec<String>,
}

impl Declared {
    /// Reads what the manifest asks for.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let mut powers: BTreeSet<Permission> = manifest.permissions.iter().copied().collect();
        if manifest.requires_network && !powers.iter().any(|power| power.is_network()) {
            powers.insert(Permission::NetworkAccess);
        }
        let asks = |entries: &[String]| entries.iter().any(|entry| entry != "$scratch");
        if let Some(filesystem) = &manifest.filesystem {
            if asks(&filesystem.read) {
                powers.insert(Permission::FileSystemRead);
            }
            if asks(&filesystem.write) {
                powers.insert(Permission::FileSystemWrite);
            } else if !filesystem.write.is_empty() {
                // Only its own scratch folder, which every call has without asking.
                powers.remove(&Permission::FileSystemWrite);
            }
        } else if manifest.requires_filesystem && !powers.contains(&Permission::FileSystemWrite) {
            powers.insert(Permission::FileSystemRead);
        }
        Self {
            powers,
            hosts: manifest.network.as_ref().map(|network| network.hosts.clone()).unwrap_or_default(),
            required_secrets: manifest
                .secrets
                .iter()
                .filter(|secret| secret.required)
                .map(|secret| secret.name.clone())
                .collect(),
            secrets: manifest.secrets.iter().map(|secret| secret.name.clone()).collect(),
        }
    }

    /// Identifies the declaration: a plugin that asks for something else needs a new grant.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let powers: Vec<&str> = self.powers.iter().map(|power| power.as_str()).collect();
        let mut hosts = self.hosts.clone();
        hosts.sort();
        Digest::of([powers.join(",").as_bytes(), hosts.join(",").as_bytes(), self.secrets.join(",").as_bytes()])
    }
}
