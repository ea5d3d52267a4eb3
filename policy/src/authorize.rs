//! The decision: declared and granted and enforceable, or every key that is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{Allowed, Declared, Denial, Grant, Level, Missing, PermittedCall, ResolvedCall, SecretValue};

/// Where a plugin stands: everything of the operator's side that a decision needs.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The grant that fits the plugin, if there is one.
    pub grant: Option<&'a Grant>,
    /// Secrets that are set for the plugin.
    pub secrets: &'a BTreeMap<String, SecretValue>,
    /// The operator's configuration of the plugin.
    pub config: &'a Map<String, Value>,
    /// Why the configuration does not fit the plugin's schema, if it does not.
    pub config_problem: Option<&'a str>,
    /// The level that the executor reaches on this machine.
    pub reached: Level,
}

/// What the plugin may use, or every key that is missing. Tools of a plugin with a missing key are neither listed nor found.
///
/// # Errors
/// The missing keys; never empty.
pub fn readiness(declared: &Declared, standing: &Standing<'_>) -> Result<Allowed, Vec<Missing>> {
    let mut missing = Vec::new();
    let held = standing.grant.map(|grant| &grant.powers);
    let mut powers = BTreeMap::new();
    for power in &declared.powers {
        match held.and_then(|held| held.get(power)) {
            Some(scope) => {
                powers.insert(*power, scope.clone());
            }
            None => missing.push(Missing::Grant { power: *power }),
        }
    }
    let names: BTreeSet<&String> = declared.secrets.iter().collect();
    for name in &declared.required_secrets {
        if !standing.secrets.contains_key(name) {
            missing.push(Missing::Secret { name: name.clone() });
        }
    }
    if let Some(problem) = standing.config_problem {
        missing.push(Missing::Config { problem: problem.to_owned() });
    }
    // Without a grant of its own a plugin holds no power, and runs at whatever confinement the machine reaches, but never without any.
    let least_level = standing.grant.map_or(Level::L1, |grant| grant.level);
    if standing.reached < least_level {
        missing.push(Missing::Level { wanted: least_level, reached: standing.reached });
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let secrets = standing
        .secrets
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Allowed { powers, secrets, config: standing.config.clone(), least_level: Some(least_level) })
}

/// Makes the proof that executors ask for.
///
/// # Errors
/// [`Denial`] with every missing key.
pub fn authorize(call: ResolvedCall, standing: &Standing<'_>) -> Result<PermittedCall, Denial> {
    match readiness(&Declared::of(&call.plugin.manifest), standing) {
        Ok(allowed) => Ok(PermittedCall::new(call, Arc::new(allowed))),
        Err(missing) => Err(Denial { plugin: call.plugin.manifest.name.clone(), tool: call.name, missing }),
    }
}
