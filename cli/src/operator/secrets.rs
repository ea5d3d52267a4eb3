//! `secrets/<plugin>/<NAME>`: one owner-only file a secret, holding the bare value. Nothing here prints a value.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::PathBuf};

use manifest_schema::{Manifest, PluginName};
use policy::{Grants, Plugin};

use super::{Lock, grants, private_folder, remove, write_private};
use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The largest secret, in bytes.
pub(crate) const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The name of a secret, `^[A-Z][A-Z0-9_]*$`; also the name of its file, so nothing else may pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretName(String);

impl SecretName {
    /// Checks a name.
    pub(crate) fn parse(name: &str) -> Outcome<Self> {
        let mut characters = name.chars();
        let first = characters.next().is_some_and(|first| first.is_ascii_uppercase());
        let rest = characters.all(|character| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_');
        if first && rest && name.len() <= 128 {
            return Ok(Self(name.to_owned()));
        }
        Err(Failure::usage("secret.name", format!("the name of a secret must match ^[A-Z][A-Z0-9_]*$, found `{name}`")))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn folder(places: &Places, plugin: &PluginName) -> PathBuf {
    places.config.join("secrets").join(plugin.as_str())
}

/// Keeps a value and makes this plugin, and no other of its name, its holder.
pub(crate) fn set(places: &Places, plugin: &Plugin, name: &SecretName, value: &str) -> Outcome {
    let lock = Lock::take(places)?;
    private_folder(&places.config.join("secrets"))?;
    let folder = folder(places, &plugin.manifest.name);
    private_folder(&folder)?;
    let write = || write_private(&lock, &folder.join(name.as_str()), value.as_bytes());
    hand(&lock, places, plugin, name, write)
}

/// Makes this plugin the holder of a value that is there. Returns whether there is one.
pub(crate) fn keep(places: &Places, plugin: &Plugin, name: &SecretName) -> Outcome<bool> {
    let lock = Lock::take(places)?;
    if !folder(places, &plugin.manifest.name).join(name.as_str()).exists() {
        return Ok(false);
    }
    hand(&lock, places, plugin, name, || Ok(()))?;
    Ok(true)
}

fn hand(lock: &Lock, places: &Places, plugin: &Plugin, name: &SecretName, write: impl FnOnce() -> Outcome) -> Outcome {
    let withdraw = |grants: &mut Grants| grants.withdraw_secret(&plugin.manifest.name, name.as_str());
    grants::hand_over(lock, places, withdraw, write, |grants| match grants.hand_secret(plugin, name.as_str()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage("secret.not_declared", error.to_string())),
    })
}

/// Forgets a value. Returns whether there was one.
pub(crate) fn forget(places: &Places, plugin: &PluginName, name: &SecretName) -> Outcome<bool> {
    grants::change(places, |grants| {
        grants.withdraw_secret(plugin, name.as_str());
        Ok(())
    })?;
    let lock = Lock::take(places)?;
    remove(&lock, &folder(places, plugin).join(name.as_str()))
}

/// The values that are kept under a plugin's name and that it declares; whose they are is for the grants to say. For an executor only.
pub(crate) fn values(places: &Places, manifest: &Manifest) -> Outcome<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for secret in all(places)?.into_iter().filter(|secret| secret.plugin == manifest.name.as_str() && secret.problem.is_none()) {
        if manifest.secrets.iter().any(|declared| declared.name == secret.name) {
            let path = folder(places, &manifest.name).join(&secret.name);
            let value = fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))?;
            values.insert(secret.name, value);
        }
    }
    Ok(values)
}

/// A secret that is set, without its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct SetSecret {
    /// The plugin it belongs to.
    pub(crate) plugin: String,
    /// Its name.
    pub(crate) name: String,
    /// Why the server will refuse it, if it will.
    pub(crate) problem: Option<String>,
}

/// Every secret that is set, by plugin and name.
pub(crate) fn all(places: &Places) -> Outcome<Vec<SetSecret>> {
    let mut found = Vec::new();
    for (plugin, folder) in entries(&places.config.join("secrets"))? {
        if PluginName::parse(&plugin).is_err() {
            continue;
        }
        for (name, path) in entries(&folder)? {
            if SecretName::parse(&name).is_err() {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(|error| Failure::file("read", &path, &error))?;
            let mode = metadata.mode() & 0o777;
            let problem =
                (mode & 0o077 != 0).then(|| format!("others may read it (mode {mode:03o}): chmod 600 {}", path.display()));
            found.push(SetSecret { plugin: plugin.clone(), name, problem });
        }
    }
    found.sort();
    Ok(found)
}

fn entries(folder: &PathBuf) -> Outcome<Vec<(String, PathBuf)>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file("read", folder, &error)),
    };
    listing
        .map(|entry| {
            let entry = entry.map_err(|error| Failure::file("read", folder, &error))?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::SecretName;

    #[test]
    fn a_name_can_never_be_a_path() {
        for bad in ["", "..", "a", "A/B", "A.B", "1A", "_A", "A\0", "Ä"] {
            assert!(SecretName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SecretName::parse("OPENWEATHER_API_KEY2").unwrap().as_str(), "OPENWEATHER_API_KEY2");
    }
}
