//! Words of the command line as types: names of plugins, powers, levels. Each refusal says what would have been accepted.

use manifest_schema::{Permission, PluginName};
use policy::Level;

use crate::failure::{Failure, Outcome, nearest};

/// The name of a plugin.
pub(crate) fn plugin_name(word: &str) -> Outcome<PluginName> {
    PluginName::parse(word).map_err(|error| Failure::usage("plugin.name", format!("the plugin name `{word}` {error}")))
}

/// A power.
pub(crate) fn power(word: &str) -> Outcome<Permission> {
    Permission::parse(word).ok_or_else(|| {
        let known: Vec<&str> = Permission::ALL.into_iter().map(Permission::as_str).collect();
        let hint = nearest(word, known.iter().copied()).unwrap_or_else(|| format!("powers are {}", known.join(", ")));
        Failure::usage("power.unknown", format!("there is no power `{word}`")).hint(hint)
    })
}

/// A sandbox level that a grant may name. `L0` is none: nothing is granted it.
pub(crate) fn level(word: &str) -> Result<Level, String> {
    match Level::parse(&word.to_ascii_uppercase()) {
        Some(Level::L0) => Err("`L0` is no confinement at all, and no plugin runs without".to_owned()),
        Some(level) => Ok(level),
        None => Err("expected `L1`, `L2` or `L3`".to_owned()),
    }
}
