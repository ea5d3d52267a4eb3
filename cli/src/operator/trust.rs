//! The keys that the operator trusts to sign packages: `trust.yaml`. What trust means is in `registry`.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use registry::{Day, TrustStore};

use super::{Lock, read_yaml, write_private};
use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The file.
pub(crate) fn path(places: &Places) -> PathBuf {
    places.config.join("trust.yaml")
}

/// The trusted keys; none when there is no file. A broken file stops the command: it never counts as an empty one.
pub(crate) fn read(places: &Places) -> Outcome<TrustStore> {
    let path = path(places);
    let store: TrustStore = read_yaml(&path)?;
    for key in &store.keys {
        if let Some(pattern) = key.plugins.iter().find(|pattern| !is_pattern(pattern)) {
            let message = format!("{}: `{pattern}` is no name of plugins", path.display());
            return Err(Failure::usage("operator.invalid", message).hint("nothing was changed: mend the file or move it away"));
        }
    }
    Ok(store)
}

/// Changes the list under the lock.
pub(crate) fn change<T>(places: &Places, change: impl FnOnce(&mut TrustStore) -> Outcome<T>) -> Outcome<T> {
    let lock = Lock::take(places)?;
    let mut store = read(places)?;
    let result = change(&mut store)?;
    let text = serde_saphyr::to_string(&store).map_err(|error| anyhow::anyhow!("could not encode the trusted keys: {error}"))?;
    write_private(&lock, &path(places), text.as_bytes())?;
    Ok(result)
}

/// A plugin's name, or the start of one and `*`.
pub(crate) fn is_pattern(text: &str) -> bool {
    let start = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty() && text.len() <= 64 && start.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_' | '-'))
}

/// The day that it is in UTC.
pub(crate) fn today() -> Day {
    Day::of_seconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
