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

/// Changes the grants under the lock and keeps them if `change` succeeds.
pub(crate) fn change<T>(places: &Places, change: impl FnOnce(&mut Grants) -> Outcome<T>) -> Outcome<T> {
    let lock = Lock::take(&places.config)?;
    let before = read(places)?;
    let mut grants = before.clone();
    let result = change(&mut grants)?;
    if grants != before {
        let text = serde_saphyr::to_string(&grants).map_err(|error| anyhow::anyhow!("could not encode the grants: {error}"))?;
        write_private(&lock, &path(places), text.as_bytes())?;
    }
    Ok(result)
}
