//! `learning.yaml`: whether accepted calls teach the search. What they taught is the server's, in the folder of data.

use server::LearningSettings;

use super::{Lock, read_yaml, write_private};
use crate::{failure::Outcome, settings::Places};

/// What is said now; off where nothing is said.
pub(crate) fn read(places: &Places) -> Outcome<LearningSettings> {
    read_yaml(&places.config.join("learning.yaml"))
}

/// Says it.
pub(crate) fn switch(places: &Places, on: bool) -> Outcome {
    let lock = Lock::take(places)?;
    write_private(&lock, &places.config.join("learning.yaml"), format!("on: {on}\n").as_bytes())
}
