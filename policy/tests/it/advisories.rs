//! What a level does not hold is said, and nothing else.

use manifest_schema::Permission;
use policy::{Level, advisory};

use crate::manifest;

fn said(more: &str, powers: &[Permission], level: Level) -> Vec<(&'static str, Option<Permission>)> {
    advisory(&manifest(more), powers.iter().copied(), level).into_iter().map(|one| (one.code, one.power)).collect()
}

#[test]
fn each_power_says_what_is_not_held() {
    use Permission::{
        DynamicCode, EnvRead, ExternalApi, FileSystemRead, FileSystemWrite, NetworkAccess, ProcessSpawn, SystemInfo,
    };
    assert_eq!(said("", &[], Level::L2), []);
    assert_eq!(said("", &[FileSystemRead, ProcessSpawn], Level::L2), []);
    assert_eq!(
        said("", &[ExternalApi, NetworkAccess, NetworkAccess], Level::L2),
        [("network_open", Some(NetworkAccess)), ("network_volume", Some(NetworkAccess))]
    );
    assert_eq!(
        said("", &[DynamicCode, FileSystemWrite, EnvRead, SystemInfo], Level::L3),
        [
            ("disk_volume", Some(FileSystemWrite)),
            ("system_info", Some(SystemInfo)),
            ("env_read", Some(EnvRead)),
            ("dynamic_code", Some(DynamicCode)),
        ]
    );
    assert_eq!(said("", &[], Level::L1), [("stat_visible", None), ("thread_bomb", None), ("scratch_volume", None)]);
    assert_eq!(said("", &[NetworkAccess], Level::L0), [("no_walls", None)]);
}

#[test]
fn the_text_names_the_hosts_the_limit_and_loopback() {
    let more = "network: {hosts: [\"a.example.org:443\"]}\nresource_limits: {max_network_mb: 7}";
    let texts = |level| -> Vec<String> {
        advisory(&manifest(more), [Permission::NetworkAccess], level).iter().map(ToString::to_string).collect()
    };
    let told = texts(Level::L2);
    assert!(told[0].starts_with("the host list (a.example.org:443) is advisory: ") && told[0].contains("loopback"), "{told:?}");
    assert_eq!(told[1], "max_network_mb (7) is advisory: traffic is not counted");
    assert!(!texts(Level::L3)[0].contains("loopback"));
}
