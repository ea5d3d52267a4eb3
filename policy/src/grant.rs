//! What the operator gave. The file they live in is written by `cli` only; here they are values.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use manifest_schema::{Digest, Permission, PluginName, is_host_with_port};
use serde::{Deserialize, Serialize};

use crate::{Declared, Level, Plugin, Source, declared::is_grantable};

/// How far a power reaches. Empty lists mean "as far as declared".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Absolute folders, for the file system powers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// `host:port` entries, for the network powers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What one plugin was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The plugin's name.
    pub plugin: PluginName,
    /// Where it came from.
    pub source: Source,
    /// Digest of what it declared when the grant was given.
    pub declared: Digest,
    /// The least level it may run at, where the operator named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The powers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub powers: BTreeMap<Permission, Scope>,
    /// Names of the secrets that it is handed. Values are kept by the plugin's name; this says whose they are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Whether the configuration that is kept under its name is its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub config: bool,
}

impl Grant {
    /// The least level it may run at: what the operator named, else L2 as soon as it holds something that is worth a wall.
    #[must_use]
    pub fn least_level(&self) -> Level {
        let holds = !self.powers.is_empty() || !self.secrets.is_empty();
        self.level.unwrap_or(if holds { Level::L2 } else { Level::L1 })
    }
}

/// Why a grant can't be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The manifest does not ask for the power.
    #[error("plugin `{plugin}` does not declare `{power}`")]
    NotDeclared {
        /// Plugin.
        plugin: PluginName,
        /// Power.
        power: Permission,
    },
    /// A file system power without a folder.
    #[error("`{power}` needs a folder: `{power}=/absolute/path`")]
    NoFolder {
        /// Power.
        power: Permission,
    },
    /// A folder that is not absolute, or that has `..` in it, or that is the root.
    #[error("the scope of `{power}` must be an absolute path below `/` without `..`, found `{found}`")]
    NotAbsolute {
        /// Power.
        power: Permission,
        /// What was given.
        found: String,
    },
    /// A host outside the declared ones.
    #[error("plugin `{plugin}` does not declare host `{host}`")]
    HostNotDeclared {
        /// Plugin.
        plugin: PluginName,
        /// Host.
        host: String,
    },
    /// A folder outside the declared ones.
    #[error("plugin `{plugin}` does not declare `{power}` for folder `{folder}`")]
    FolderNotDeclared {
        /// Plugin.
        plugin: PluginName,
        /// Power.
        power: Permission,
        /// Folder.
        folder: String,
    },
    /// A scope that is not a host with a port.
    #[error("the scope of `{power}` must be `host:port`, found `{found}`")]
    NotAHost {
        /// Power.
        power: Permission,
        /// What was given.
        found: String,
    },
    /// The manifest names no such secret.
    #[error("plugin `{plugin}` declares no secret `{secret}`")]
    SecretNotDeclared {
        /// Plugin.
        plugin: PluginName,
        /// Secret.
        secret: String,
    },
    /// A scope on a power that has none.
    #[error("`{power}` takes no scope, found `{found}`")]
    NoScope {
        /// Power.
        power: Permission,
        /// What was given.
        found: String,
    },
}

/// All grants of an operator; the content of `grants.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// One entry a plugin, source and declaration.
    #[serde(default)]
    pub grants: Vec<Grant>,
}

impl Grants {
    /// The grant that fits this plugin: same name, same source, same declaration.
    #[must_use]
    pub fn of(&self, plugin: &Plugin, declared: &Declared) -> Option<&Grant> {
        let digest = declared.digest();
        self.grants
            .iter()
            .find(|grant| grant.plugin == plugin.manifest.name && grant.source == plugin.source && grant.declared == digest)
    }

    /// Gives a power, or widens its scope: a further folder or host is added. Without hosts a network power reaches as far as it is declared;
    /// a host that is named after that narrows it to that host.
    ///
    /// # Errors
    /// [`GrantError`] when the manifest does not ask for it or the scope does not fit.
    pub fn give(&mut self, plugin: &Plugin, power: Permission, scope: Option<&str>) -> Result<&Grant, GrantError> {
        let declared = Declared::of(&plugin.manifest);
        let name = &plugin.manifest.name;
        if !declared.powers.contains(&power) {
            return Err(GrantError::NotDeclared { plugin: name.clone(), power });
        }
        let addition = parse_scope(name, &declared, power, scope)?;
        let grant = self.entry(plugin, &declared);
        let held = grant.powers.entry(power).or_default();
        for folder in addition.folders {
            if !held.folders.contains(&folder) {
                held.folders.push(folder);
            }
        }
        if addition.hosts.is_empty() {
            held.hosts.clear();
        }
        for host in addition.hosts {
            if !held.hosts.contains(&host) {
                held.hosts.push(host);
            }
        }
        Ok(grant)
    }

    /// Sets the least level a plugin may run at.
    pub fn set_level(&mut self, plugin: &Plugin, level: Level) -> &Grant {
        let grant = self.entry(plugin, &Declared::of(&plugin.manifest));
        grant.level = Some(level);
        grant
    }

    /// Makes this plugin the one that is handed a secret. There is one value a name, so there is one holder: another plugin of the same name
    /// loses it.
    ///
    /// # Errors
    /// [`GrantError::SecretNotDeclared`] when the manifest does not ask for it.
    pub fn hand_secret(&mut self, plugin: &Plugin, secret: &str) -> Result<&Grant, GrantError> {
        let declared = Declared::of(&plugin.manifest);
        let name = &plugin.manifest.name;
        if !declared.secrets.iter().any(|known| known == secret) {
            return Err(GrantError::SecretNotDeclared { plugin: name.clone(), secret: secret.to_owned() });
        }
        self.withdraw_secret(name, secret);
        let grant = self.entry(plugin, &declared);
        grant.secrets.insert(secret.to_owned());
        Ok(grant)
    }

    /// Takes a secret from every plugin of the name.
    pub fn withdraw_secret(&mut self, plugin: &PluginName, secret: &str) {
        for grant in self.grants.iter_mut().filter(|grant| &grant.plugin == plugin) {
            grant.secrets.remove(secret);
        }
    }

    /// Makes this plugin the one that is handed the configuration kept under its name, and no other of that name.
    pub fn hand_config(&mut self, plugin: &Plugin) -> &Grant {
        self.withdraw_config(&plugin.manifest.name);
        let grant = self.entry(plugin, &Declared::of(&plugin.manifest));
        grant.config = true;
        grant
    }

    /// Takes the configuration from every plugin of the name.
    pub fn withdraw_config(&mut self, plugin: &PluginName) {
        for grant in self.grants.iter_mut().filter(|grant| &grant.plugin == plugin) {
            grant.config = false;
        }
    }

    /// Takes a power back, from every source and version of the name; `None` takes everything. Returns whether anything was held.
    pub fn take(&mut self, plugin: &PluginName, power: Option<Permission>) -> bool {
        let before = self.clone();
        match power {
            None => self.grants.retain(|grant| &grant.plugin != plugin),
            Some(power) => {
                for grant in self.grants.iter_mut().filter(|grant| &grant.plugin == plugin) {
                    grant.powers.remove(&power);
                }
            }
        }
        *self != before
    }

    fn entry(&mut self, plugin: &Plugin, declared: &Declared) -> &mut Grant {
        let digest = declared.digest();
        let found = self
            .grants
            .iter()
            .position(|grant| grant.plugin == plugin.manifest.name && grant.source == plugin.source && grant.declared == digest);
        match found {
            Some(index) => &mut self.grants[index],
            None => self.grants.push_mut(Grant {
                plugin: plugin.manifest.name.clone(),
                source: plugin.source.clone(),
                declared: digest,
                level: None,
                powers: BTreeMap::new(),
                secrets: BTreeSet::new(),
                config: false,
            }),
        }
    }
}

fn parse_scope(plugin: &PluginName, declared: &Declared, power: Permission, scope: Option<&str>) -> Result<Scope, GrantError> {
    match (power, scope) {
        (Permission::FileSystemRead | Permission::FileSystemWrite, None) => Err(GrantError::NoFolder { power }),
        (Permission::FileSystemRead | Permission::FileSystemWrite, Some(path)) => {
            // Collected from its components: without a slash at the end and without `/./`, so that one folder has one form.
            let folder: PathBuf = Path::new(path).components().collect();
            if !is_grantable(&folder) {
                Err(GrantError::NotAbsolute { power, found: path.to_owned() })
            } else if !declared.covers_folder(power, &folder) {
                Err(GrantError::FolderNotDeclared { plugin: plugin.clone(), power, folder: path.to_owned() })
            } else {
                Ok(Scope { folders: vec![folder], hosts: Vec::new() })
            }
        }
        (_, None) => Ok(Scope::default()),
        (power, Some(host)) if power.is_network() => {
            if !is_host_with_port(host) {
                Err(GrantError::NotAHost { power, found: host.to_owned() })
            } else if declared.covers_host(host) {
                Ok(Scope { folders: Vec::new(), hosts: vec![host.to_owned()] })
            } else {
                Err(GrantError::HostNotDeclared { plugin: plugin.clone(), host: host.to_owned() })
            }
        }
        (_, Some(found)) => Err(GrantError::NoScope { power, found: found.to_owned() }),
    }
}
