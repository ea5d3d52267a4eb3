//! The decision: declared and granted and enforceable, or every key that is missing.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde_json::{Map, Value};

use manifest_schema::Permission;

use crate::{
    Allowed, Declared, Denial, Grant, Level, Missing, PermittedCall, Plugin, ResolvedCall, Scope, SecretValue,
    declared::is_grantable,
};

/// Where a plugin stands: everything of the operator's side that a decision needs.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The grant that fits the plugin, if there is one.
    pub grant: Option<&'a Grant>,
    /// Secrets that are kept under the plugin's name; the grant says which of them are this plugin's.
    pub secrets: &'a BTreeMap<String, SecretValue>,
    /// The configuration that is kept under the plugin's name; the grant says whether it is this plugin's.
    pub config: &'a Map<String, Value>,
    /// Why the configuration that the plugin would be handed does not fit its schema, if it does not.
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
    // A grant for another declaration is no grant, whoever handed it in.
    let grant = standing.grant.filter(|grant| grant.declared == declared.digest());
    let mut powers = BTreeMap::new();
    for power in &declared.powers {
        match grant.and_then(|grant| grant.powers.get(power)).and_then(|scope| reach(declared, *power, scope)) {
            Some(scope) => {
                powers.insert(*power, scope);
            }
            None => missing.push(Missing::Grant { power: *power }),
        }
    }
    let secrets = handed_secrets(declared, grant, standing.secrets);
    for name in declared.required_secrets.iter().filter(|name| !secrets.contains_key(*name)) {
        missing.push(Missing::Secret { name: name.clone() });
    }
    if let Some(problem) = standing.config_problem {
        missing.push(Missing::Config { problem: problem.to_owned() });
    }
    // Without a grant of its own a plugin holds no power, and runs at whatever confinement the machine reaches, but never without any.
    let least_level = grant.map_or(Level::L1, Grant::least_level);
    if standing.reached < least_level {
        missing.push(Missing::Level { wanted: least_level, reached: standing.reached });
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let config = grant.filter(|grant| grant.config).map_or_else(Map::new, |_| standing.config.clone());
    Ok(Allowed { powers, secrets, config, least_level: Some(least_level) })
}

/// Secrets that are declared, kept, and this plugin's: a name is no proof of who asks.
fn handed_secrets(
    declared: &Declared,
    grant: Option<&Grant>,
    kept: &BTreeMap<String, SecretValue>,
) -> BTreeMap<String, SecretValue> {
    let Some(grant) = grant else { return BTreeMap::new() };
    let handed = declared.secrets.iter().filter(|name| grant.secrets.contains(*name));
    handed.filter_map(|name| Some((name.clone(), kept.get(name)?.clone()))).collect()
}

/// How far a held power reaches: what is granted, as far as it is declared. `None` when nothing is left, which an empty scope would turn into
/// everything. The file of grants can be edited by hand, so nothing in it is taken on trust.
fn reach(declared: &Declared, power: Permission, scope: &Scope) -> Option<Scope> {
    match power {
        Permission::FileSystemRead | Permission::FileSystemWrite => {
            let fits = |folder: &&PathBuf| is_grantable(folder) && declared.covers_folder(power, folder);
            let folders: Vec<PathBuf> = scope.folders.iter().filter(fits).cloned().collect();
            (!folders.is_empty()).then_some(Scope { folders, hosts: Vec::new() })
        }
        power if power.is_network() => {
            if scope.hosts.is_empty() {
                return Some(Scope { folders: Vec::new(), hosts: declared.hosts.clone() });
            }
            let hosts: Vec<String> = scope.hosts.iter().filter(|host| declared.covers_host(host)).cloned().collect();
            (!hosts.is_empty()).then_some(Scope { folders: Vec::new(), hosts })
        }
        _ => Some(Scope::default()),
    }
}

/// Makes the proof that executors ask for.
///
/// # Errors
/// [`Denial`] with every missing key.
pub fn authorize(call: ResolvedCall, standing: &Standing<'_>) -> Result<PermittedCall, Denial> {
    let standing = &Standing { grant: standing.grant.filter(|grant| belongs(grant, &call.plugin)), ..*standing };
    match readiness(&Declared::of(&call.plugin.manifest), standing) {
        Ok(allowed) => Ok(PermittedCall::new(call, Arc::new(allowed))),
        Err(missing) => Err(Denial { plugin: call.plugin.manifest.name.clone(), tool: call.name, missing }),
    }
}

/// The other half of a grant's key; the declaration is compared in [`readiness`].
fn belongs(grant: &Grant, plugin: &Plugin) -> bool {
    grant.plugin == plugin.manifest.name && grant.source == plugin.source
}
