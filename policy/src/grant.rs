//! What the operator gave. The file they live in is written by `cli` only; here they are values.

use std::{collections::BTreeMap, path::PathBuf};

use manifest_schema::{Digest, Permission, PluginName};
use serde::{Deserialize, Serialize};

use crate::{Declared, Level, Plugin, Source};

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
    /// The least level it may run at.
    #[serde(default = "default_level")]
    pub level: Level,
    /// The powers.
    #[serde(default)]
    pub powers: BTreeMap<Permission, Scope>,
}

const fn default_level() -> Level {
    Level::L2
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
    /// A folder that is not absolute.
    #[error("the scope of `{power}` must be an absolute path, found `{found}`")]
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

    /// Gives a power, or widens its scope.
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
        grant.level = level;
        grant
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
        let index = found.unwrap_or_else(|| {
            self.grants.push(Grant {
                plugin: plugin.manifest.name.clone(),
                source: plugin.source.clone(),
                declared: digest,
                level: default_level(),
                powers: BTreeMap::new(),
            });
            self.grants.len() - 1
        });
        &mut self.grants[index]
    }
}

fn parse_scope(plugin: &PluginName, declared: &Declared, power: Permission, scope: Option<&str>) -> Result<Scope, GrantError> {
    match (power, scope) {
        (Permission::FileSystemRead | Permission::FileSystemWrite, None) => Err(GrantError::NoFolder { power }),
        (Permission::FileSystemRead | Permission::FileSystemWrite, Some(path)) => {
            let folder = PathBuf::from(path);
            if folder.is_absolute() {
                Ok(Scope { folders: vec![folder], hosts: Vec::new() })
            } else {
                Err(GrantError::NotAbsolute { power, found: path.to_owned() })
            }
        }
        (_, None) => Ok(Scope::default()),
        (power, Some(host)) if power.is_network() => {
            if declared.hosts.is_empty() || declared.hosts.iter().any(|declared| declared == host) {
                Ok(Scope { folders: Vec::new(), hosts: vec![host.to_owned()] })
            } else {
                Err(GrantError::HostNotDeclared { plugin: plugin.clone(), host: host.to_owned() })
            }
        }
        (_, Some(found)) => Err(GrantError::NoScope { power, found: found.to_owned() }),
    }
}
