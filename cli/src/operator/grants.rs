//! `grants.yaml`: what the operator gave. The values and their rules are [`policy::Grants`]; here is the file.

use std::path::PathBuf;

use policy::Grants;

use super::{Lock, read_yaml, write_private};
use crate::{failure::Outcome, settings::Places};

fn path(places: &Places) -> PathBuf {
    places.config.join("grants.yaml")
}

/// The grants as they are.
pub(crate) fn read(places: &Places) -> Outcome<Grants> {
    read_yaml(&path(places))
}

/// Replaces a value that is kept by the plugin's name and handed out by its grant.
///
/// A reader may come between any two writes, and must never see one plugin's value with another as its holder: the old holder loses it, the
/// value is replaced, the new holder is handed it. A plugin that holds it already keeps it throughout.
pub(crate) fn hand_over(
    lock: &Lock,
    places: &Places,
    withdraw: impl FnOnce(&mut Grants),
    replace: impl FnOnce() -> Outcome,
    hand: impl FnOnce(&mut Grants) -> Outcome,
) -> Outcome {
    let before = read(places)?;
    let mut after = before.clone();
    hand(&mut after)?;
    let mut between = before.clone();
    if after != before {
        withdraw(&mut between);
        save(lock, places, &before, &between)?;
    }
    replace()?;
    save(lock, places, &between, &after)
}

/// Changes the grants under the lock and keeps them if `change` succeeds.
pub(crate) fn change<T>(places: &Places, change: impl FnOnce(&mut Grants) -> Outcome<T>) -> Outcome<T> {
    let lock = Lock::take(places)?;
    let before = read(places)?;
    let mut grants = before.clone();
    let result = change(&mut grants)?;
    save(&lock, places, &before, &grants)?;
    Ok(result)
}

fn save(lock: &Lock, places: &Places, before: &Grants, after: &Grants) -> Outcome {
    if after == before {
        return Ok(());
    }
    let text = serde_saphyr::to_string(after).map_err(|error| anyhow::anyhow!("could not encode the grants: {error}"))?;
    write_private(lock, &path(places), text.as_bytes())
}
