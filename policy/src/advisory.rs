//! What is granted and can't be enforced: said wherever something is listed or granted, so that no one trusts a wall that is not there.

use std::fmt;

use manifest_schema::{Manifest, Permission};
use serde::Serialize;

use crate::Level;

/// Something a manifest or a grant says that the reached level does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advisory {
    /// Stable word.
    pub code: &'static str,
    /// The power it comes with; `None` when it holds for every plugin at this level.
    pub power: Option<Permission>,
    /// For people: lower case, no full stop.
    pub text: String,
}

impl fmt::Display for Advisory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the level does not enforce for a plugin that holds these powers. Powers that the manifest does not declare are never held, so say nothing.
///
/// The network powers share one wall and are spoken of once, at the first of them.
#[must_use]
pub fn advisory(manifest: &Manifest, powers: impl IntoIterator<Item = Permission>, level: Level) -> Vec<Advisory> {
    let mut powers: Vec<Permission> = powers.into_iter().collect();
    powers.sort_unstable();
    powers.dedup();
    if level == Level::L0 {
        let text = "nothing is enforced at L0: the plugin runs with all rights of the host's user";
        return vec![Advisory { code: "no_walls", power: None, text: text.to_owned() }];
    }
    let mut said = Vec::new();
    if let Some(power) = powers.iter().copied().find(|power| power.is_network()) {
        network(manifest, power, level, &mut said);
    }
    for power in powers {
        if let Some((code, text)) = of_power(manifest, power) {
            said.push(Advisory { code, power: Some(power), text });
        }
    }
    said.extend(of_level(manifest, level));
    said
}

fn network(manifest: &Manifest, power: Permission, level: Level, said: &mut Vec<Advisory>) {
    let hosts = manifest.network.as_ref().map(|network| network.hosts.as_slice()).unwrap_or_default();
    let whose = if level == Level::L3 {
        "the container has a network of its own, and its addresses are not filtered"
    } else {
        "the plugin shares the host's network: it can reach any address, services on this machine's loopback and the local network included"
    };
    let text =
        if hosts.is_empty() { whose.to_owned() } else { format!("the host list ({}) is advisory: {whose}", hosts.join(", ")) };
    said.push(Advisory { code: "network_open", power: Some(power), text });
    let limit = manifest.resource_limits.max_network_mb;
    let text = format!("max_network_mb ({limit}) is advisory: traffic is not counted");
    said.push(Advisory { code: "network_volume", power: Some(power), text });
}

fn of_power(manifest: &Manifest, power: Permission) -> Option<(&'static str, String)> {
    let text = match power {
        Permission::FileSystemWrite => {
            let limit = manifest.resource_limits.max_disk_mb;
            return Some(("disk_volume", format!("max_disk_mb ({limit}) bounds the scratch folder, not the granted folders")));
        }
        Permission::SystemInfo => {
            "system_info is advisory: every plugin can see some facts about the machine, such as its cores and kernel"
        }
        Permission::EnvRead => {
            "env_read is advisory: code can always read its own environment, which holds a few fixed variables and no secret"
        }
        Permission::DynamicCode => {
            "dynamic_code is advisory: no interpreter can be kept from building code; the walls hold that code, too"
        }
        _ => return None,
    };
    Some((power.as_str(), text.to_owned()))
}

/// What no plugin is kept from at this level, whatever it holds.
fn of_level(manifest: &Manifest, level: Level) -> Vec<Advisory> {
    if level != Level::L1 {
        return Vec::new();
    }
    let disk = manifest.resource_limits.max_disk_mb;
    [
        ("stat_visible", "at L1 the plugin can see that files exist and how large they are, though not read them".to_owned()),
        (
            "thread_bomb",
            "at L1 as an ordinary user the number of threads is not limited: a thread bomb can use up the user's processes"
                .to_owned(),
        ),
        ("scratch_volume", format!("at L1 max_disk_mb ({disk}) limits each file, not their sum")),
    ]
    .into_iter()
    .map(|(code, text)| Advisory { code, power: None, text })
    .collect()
}
