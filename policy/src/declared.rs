//! What a manifest asks for, reduced to what a decision needs.

use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

use manifest_schema::{Digest, Manifest, Permission};

/// The powers a manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Every power asked for, those that follow from `requires_network`, `requires_filesystem`, `network.hosts` and `filesystem` included.
    pub powers: BTreeSet<Permission>,
    /// Hosts asked for; empty with a network power means any public host.
    pub hosts: Vec<String>,
    /// Folders asked for by `filesystem.read`; empty with the power means whatever the operator grants. `$scratch` is every call's and not listed.
    pub read: Vec<String>,
    /// Folders asked for by `filesystem.write`, in the same way.
    pub write: Vec<String>,
    /// Names of secrets that must be set.
    pub required_secrets: Vec<String>,
    /// Names of all secrets the plugin may see.
    pub secrets: Vec<String>,
}

impl Declared {
    /// Reads what the manifest asks for.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let hosts = manifest.network.as_ref().map(|network| network.hosts.clone()).unwrap_or_default();
        let mut powers: BTreeSet<Permission> = manifest.permissions.iter().copied().collect();
        if (manifest.requires_network || !hosts.is_empty()) && !powers.iter().any(|power| power.is_network()) {
            powers.insert(Permission::NetworkAccess);
        }
        let filesystem = manifest.filesystem.clone().unwrap_or_default();
        let (read, write) = (beyond_scratch(&filesystem.read), beyond_scratch(&filesystem.write));
        for (power, listed, asked) in
            [(Permission::FileSystemRead, &filesystem.read, &read), (Permission::FileSystemWrite, &filesystem.write, &write)]
        {
            if !asked.is_empty() {
                powers.insert(power);
            } else if !listed.is_empty() {
                // Only its own scratch folder, which every call has without asking: the word in `permissions` asks for nothing more.
                powers.remove(&power);
            }
        }
        let no_folder_power = !powers.contains(&Permission::FileSystemRead) && !powers.contains(&Permission::FileSystemWrite);
        if manifest.requires_filesystem && no_folder_power && filesystem.read.is_empty() && filesystem.write.is_empty() {
            powers.insert(Permission::FileSystemRead);
        }
        let names = |required_only: bool| {
            let wanted = manifest.secrets.iter().filter(|secret| secret.required || !required_only);
            wanted.map(|secret| secret.name.clone()).collect()
        };
        Self { powers, hosts, read, write, required_secrets: names(true), secrets: names(false) }
    }

    /// Identifies the declaration: a plugin that asks for something else needs a new grant. The order of entries does not matter.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let powers: Vec<String> = self.powers.iter().map(|power| power.as_str().to_owned()).collect();
        let mut parts = Vec::new();
        for (label, list) in [
            ("powers", &powers),
            ("hosts", &self.hosts),
            ("read", &self.read),
            ("write", &self.write),
            ("secrets", &self.secrets),
        ] {
            let sorted: BTreeSet<&String> = list.iter().collect();
            // The count keeps an entry from passing for the label of the next list.
            parts.extend([label.to_owned(), sorted.len().to_string()]);
            parts.extend(sorted.into_iter().cloned());
        }
        Digest::of(parts.iter().map(String::as_bytes))
    }

    /// Whether a host is among the declared ones. Without declared hosts every host is.
    #[must_use]
    pub fn covers_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|declared| host_covers(declared, host))
    }

    /// Whether a folder is one that the power was declared for. `$data` is any folder that the operator names.
    #[must_use]
    pub fn covers_folder(&self, power: Permission, folder: &Path) -> bool {
        let declared = if power == Permission::FileSystemWrite { &self.write } else { &self.read };
        let absolute: Vec<&Path> = declared.iter().map(Path::new).filter(|path| path.is_absolute()).collect();
        absolute.len() < declared.len() || absolute.is_empty() || absolute.iter().any(|declared| folder.starts_with(declared))
    }
}

fn beyond_scratch(entries: &[String]) -> Vec<String> {
    entries.iter().filter(|entry| *entry != "$scratch").cloned().collect()
}

/// `*.example.org:443` covers `api.example.org:443` and `*.api.example.org:443`, not `example.org:443`.
fn host_covers(declared: &str, host: &str) -> bool {
    match declared.strip_prefix('*') {
        Some(suffix) if !suffix.is_empty() => declared == host || (host.len() > suffix.len() && host.ends_with(suffix)),
        _ => declared == host,
    }
}

/// Whether a path can be a granted folder: absolute, without `..`, and not the root, whose grant would undo every other wall.
pub(crate) fn is_grantable(folder: &Path) -> bool {
    let mut parts = folder.components();
    parts.next() == Some(Component::RootDir) && {
        let rest: Vec<Component<'_>> = parts.collect();
        !rest.is_empty() && rest.iter().all(|part| matches!(part, Component::Normal(_)))
    }
}
