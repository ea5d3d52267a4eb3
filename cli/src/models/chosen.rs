//! `embedder.yaml`: what `pegboard models use` said. `pegboard.toml` wins over it, and `auto` takes whatever is installed.

use serde::{Deserialize, Serialize};

use crate::{
    failure::Outcome,
    operator::{Lock, read_yaml, write_private},
    settings::Places,
};

/// What is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// A model's name, `static`, `none`, or nothing for the best that is there.
    #[serde(rename = "use")]
    pub(crate) name: Option<String>,
}

/// What was said last.
pub(crate) fn chosen(places: &Places) -> Outcome<Chosen> {
    read_yaml(&places.config.join("embedder.yaml"))
}

/// Says it; `None` is `auto`.
pub(crate) fn choose(places: &Places, name: Option<&str>) -> Outcome {
    let lock = Lock::take(places)?;
    let text = serde_saphyr::to_string(&Chosen { name: name.map(str::to_owned) })
        .map_err(|error| anyhow::anyhow!("could not encode the choice: {error}"))?;
    write_private(&lock, &places.config.join("embedder.yaml"), text.as_bytes())
}
