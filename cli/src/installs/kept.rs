//! What a plugin was granted and configured while a release of it was served, kept so that going back to the release brings it back.
//!
//! Kept beside the lockfile, a file a release, and changed with it in one step. Secrets are not in it: their values stay where they are.

use std::{fs, io};

use manifest_schema::PluginName;
use policy::{Grant, Grants, Source};
use registry::{FileChange, Place, Release};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Failure, Outcome},
    operator::{Lock, grants},
    settings::Places,
};

/// What is kept of one release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    grants: Vec<Grant>,
    /// The configuration file, when it was this plugin's.
    config: Option<String>,
}

/// The files that change with the lockfile. The operator's lock is held until they have.
pub(crate) struct Changes {
    pub(crate) files: Vec<FileChange>,
    _lock: Lock,
}

/// What happens to the grants and the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hand<'a> {
    /// They stay: the same hand goes on.
    Stays,
    /// They go: other code, or none.
    Goes,
    /// Those of an earlier release come back.
    Returns(&'a Release),
}

/// Takes down what holds now for `leaving`, and says what changes.
pub(crate) fn change(places: &Places, name: &PluginName, leaving: Option<&Release>, hand: Hand<'_>) -> Outcome<Changes> {
    let lock = Lock::take(places)?;
    let before = grants::read(places)?;
    let mut grants = before.clone();
    let mut files = Vec::new();
    turn(places, &mut grants, &mut files, name, leaving, hand)?;
    finish(&before, &grants, &mut files)?;
    Ok(Changes { files, _lock: lock })
}

/// The same for several plugins at once.
pub(crate) fn change_all(places: &Places, leaving: &[(PluginName, Option<Release>, Hand<'_>)]) -> Outcome<Changes> {
    let lock = Lock::take(places)?;
    let before = grants::read(places)?;
    let mut grants = before.clone();
    let mut files = Vec::new();
    for (name, release, hand) in leaving {
        turn(places, &mut grants, &mut files, name, release.as_ref(), *hand)?;
    }
    finish(&before, &grants, &mut files)?;
    Ok(Changes { files, _lock: lock })
}

fn turn(
    places: &Places,
    grants: &mut Grants,
    files: &mut Vec<FileChange>,
    name: &PluginName,
    leaving: Option<&Release>,
    hand: Hand<'_>,
) -> Outcome {
    let config_path = places.config.join("config").join(format!("{name}.yaml"));
    let config = if is_holder(grants, name) { read(&config_path)? } else { None };
    let now = Kept { grants: installed(grants, name), config };
    if let Some(release) = leaving {
        files.push(FileChange { place: Place::Data, path: path(name, release), bytes: Some(encode(&now)?) });
    }
    let after = match hand {
        Hand::Stays => return Ok(()),
        Hand::Goes => Kept::default(),
        Hand::Returns(release) => stored(places, name, release)?.unwrap_or_else(|| now.clone()),
    };
    if after.grants != now.grants {
        grants.grants.retain(|grant| !is_installed(grant, name));
        for grant in &after.grants {
            // One holder a value, whoever held it meanwhile.
            grant.secrets.iter().for_each(|secret| grants.withdraw_secret(name, secret));
            if grant.config {
                grants.withdraw_config(name);
            }
        }
        grants.grants.extend(after.grants.iter().cloned());
    }
    if after.config != now.config {
        let bytes = after.config.map(String::into_bytes);
        files.push(FileChange { place: Place::Config, path: format!("config/{name}.yaml"), bytes });
    }
    Ok(())
}

fn finish(before: &Grants, after: &Grants, files: &mut Vec<FileChange>) -> Outcome {
    if before != after {
        let text = serde_saphyr::to_string(after).map_err(|error| anyhow::anyhow!("could not encode the grants: {error}"))?;
        files.push(FileChange { place: Place::Config, path: "grants.yaml".to_owned(), bytes: Some(text.into_bytes()) });
    }
    Ok(())
}

fn path(name: &PluginName, release: &Release) -> String {
    format!("kept/{name}.{}.json", release.digest)
}

fn stored(places: &Places, name: &PluginName, release: &Release) -> Outcome<Option<Kept>> {
    let path = places.data.join(path(name, release));
    let Some(text) = read(&path)? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| super::invalid("kept.invalid", format!("`{}` can't be read: {error}", path.display())))
}

fn encode(kept: &Kept) -> Outcome<Vec<u8>> {
    serde_json::to_vec_pretty(kept).map_err(|error| anyhow::anyhow!("could not encode what is kept: {error}").into())
}

fn installed(grants: &Grants, name: &PluginName) -> Vec<Grant> {
    grants.grants.iter().filter(|grant| is_installed(grant, name)).cloned().collect()
}

fn is_installed(grant: &Grant, name: &PluginName) -> bool {
    &grant.plugin == name && grant.source == Source::Store
}

fn is_holder(grants: &Grants, name: &PluginName) -> bool {
    installed(grants, name).iter().any(|grant| grant.config)
}

fn read(path: &std::path::Path) -> Outcome<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}
