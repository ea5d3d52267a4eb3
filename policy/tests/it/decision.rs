//! Declared and granted and enforceable, or the keys that are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use manifest_schema::{Filesystem, Network, Permission, PluginName, SecretSpec};
use policy::{Declared, Denial, Grant, Grants, Level, Missing, Scope, Source, authorize, readiness};
use proptest::prelude::*;
use serde_json::{Map, json};

use crate::{Operator, call, manifest, plugin, plugin_from};

fn powers(more: &str) -> Vec<&'static str> {
    Declared::of(&manifest(more)).powers.into_iter().map(Permission::as_str).collect()
}

#[test]
fn what_a_manifest_asks_for() {
    let table: &[(&str, &[&str])] = &[
        ("", &[]),
        ("permissions: [env_read, external_api]", &["external_api", "env_read"]),
        ("requires_network: true", &["network_access"]),
        ("requires_network: true\npermissions: [external_api]", &["external_api"]),
        ("network: {hosts: [\"a.example.org:443\"]}", &["network_access"]),
        ("network: {hosts: []}", &[]),
        ("permissions: [database_access]\nnetwork: {hosts: [\"a.example.org:5432\"]}", &["database_access"]),
        ("requires_filesystem: true", &["file_system_read"]),
        ("requires_filesystem: true\nfilesystem: {}", &["file_system_read"]),
        ("requires_filesystem: true\npermissions: [file_system_write]", &["file_system_write"]),
        ("filesystem: {read: [$data]}", &["file_system_read"]),
        ("filesystem: {read: [$data], write: [$scratch]}", &["file_system_read"]),
        ("filesystem: {write: [$data]}", &["file_system_write"]),
        ("filesystem: {read: [$scratch], write: [$scratch]}", &[]),
        ("permissions: [file_system_read, file_system_write]\nfilesystem: {read: [$scratch], write: [$scratch]}", &[]),
        ("requires_filesystem: true\nfilesystem: {write: [$scratch]}", &[]),
    ];
    for (more, expected) in table {
        assert_eq!(powers(more), *expected, "{more}");
    }
}

#[test]
fn a_plugin_that_asks_for_nothing_runs_without_a_grant() {
    let plugin = plugin("");
    let permitted = authorize(call(&plugin), &Operator::default().standing(Level::L1)).unwrap();
    assert!(permitted.allowed().powers.is_empty());
    assert_eq!(permitted.allowed().least_level, Some(Level::L1));
    assert_eq!(permitted.call().plugin, plugin);
}

#[test]
fn without_walls_nothing_runs_unless_the_operator_says_so() {
    let plugin = plugin("");
    let denial = authorize(call(&plugin), &Operator::default().standing(Level::L0)).unwrap_err();
    assert_eq!(denial.missing, [Missing::Level { wanted: Level::L1, reached: Level::L0 }]);
    let mut grants = Grants::default();
    let operator = Operator { grant: Some(grants.set_level(&plugin, Level::L0).clone()), ..Operator::default() };
    authorize(call(&plugin), &operator.standing(Level::L0)).unwrap();
}

#[test]
fn a_grant_holds_for_its_level_and_higher() {
    let plugin = plugin("requires_network: true");
    let mut grants = Grants::default();
    grants.give(&plugin, Permission::NetworkAccess, None).unwrap();
    for (least, reached, runs) in [
        (Level::L2, Level::L1, false),
        (Level::L2, Level::L2, true),
        (Level::L2, Level::L3, true),
        (Level::L1, Level::L1, true),
        (Level::L3, Level::L2, false),
    ] {
        let operator = Operator { grant: Some(grants.set_level(&plugin, least).clone()), ..Operator::default() };
        let decision = authorize(call(&plugin), &operator.standing(reached));
        assert_eq!(decision.is_ok(), runs, "{least} {reached}");
        if let Err(denial) = decision {
            assert_eq!(denial.missing, [Missing::Level { wanted: least, reached }]);
        }
    }
}

#[test]
fn a_denial_names_every_missing_key_at_once() {
    let plugin = plugin(
        "permissions: [env_read]\nrequires_network: true\nsecrets: [{name: KEY}, {name: SPARE, required: false}]\nconfig_schema: {type: object}",
    );
    let mut grants = Grants::default();
    let grant = grants.give(&plugin, Permission::EnvRead, None).unwrap().clone();
    let operator = Operator { grant: Some(grant), problem: Some("`port` is not a number".to_owned()), ..Operator::default() };
    let denial = authorize(call(&plugin), &operator.standing(Level::L1)).unwrap_err();
    let expected = [
        Missing::Grant { power: Permission::NetworkAccess },
        Missing::Secret { name: "KEY".to_owned() },
        Missing::Config { problem: "`port` is not a number".to_owned() },
        Missing::Level { wanted: Level::L2, reached: Level::L1 },
    ];
    assert_eq!(denial.missing, expected);
    assert_eq!(
        denial.to_string(),
        "tool `demo__run` may not run: `network_access` is declared but not granted; secret `KEY` is not set; the operator's configuration \
         does not fit the plugin's schema; needs sandbox level L2, this machine reached L1"
    );
}

#[test]
fn a_model_reads_no_command_no_configuration_and_no_secret() {
    let plugin = plugin("requires_network: true\nfilesystem: {read: [$data]}\nsecrets: [{name: KEY}, {name: OTHER}]");
    let operator = Operator { problem: Some("`password`: \"hunter2\" is too short".to_owned()), ..Operator::default() }
        .secret("OTHER", "hunter2")
        .handing(&plugin, &["OTHER"]);
    let mut denial = authorize(call(&plugin), &operator.standing(Level::L0)).unwrap_err();
    denial.missing.push(Missing::Caller);
    assert_eq!(denial.missing.len(), 6);
    let told = format!("{denial} {}", policy::ASK_THE_OPERATOR);
    for remedy in denial.missing.iter().map(|missing| missing.remedy(&denial.plugin)) {
        assert!(remedy.starts_with("pegboard "), "{remedy}");
        assert!(!told.contains(&remedy));
    }
    assert!(!told.contains("pegboard") && !told.contains("hunter2") && !told.contains("/path"), "{told}");
    // The operator does read it.
    assert!(denial.missing.iter().any(|missing| missing.to_string().contains("hunter2")));
}

#[test]
fn the_form_for_debugging_shows_no_secret() {
    let plugin = plugin("secrets: [{name: KEY}]");
    let operator = Operator::default().secret("KEY", "hunter2").handing(&plugin, &["KEY"]);
    let permitted = authorize(call(&plugin), &operator.standing(Level::L2)).unwrap();
    assert_eq!(permitted.allowed().secrets["KEY"].reveal(), "hunter2");
    assert!(!format!("{permitted:?} {:?}", operator.standing(Level::L2)).contains("hunter2"));
}

#[test]
fn only_declared_secrets_are_handed_out() {
    let plugin = plugin("secrets: [{name: KEY}, {name: SPARE, required: false}]");
    let operator = Operator::default().secret("KEY", "a").secret("SPARE", "b").secret("OTHER", "c");
    let mut operator = operator.handing(&plugin, &["KEY", "SPARE"]);
    // The file of grants can be edited by hand.
    operator.grant.as_mut().unwrap().secrets.insert("OTHER".to_owned());
    let permitted = authorize(call(&plugin), &operator.standing(Level::L2)).unwrap();
    assert_eq!(permitted.allowed().secrets.keys().collect::<Vec<_>>(), ["KEY", "SPARE"]);
}

#[test]
fn a_plugin_that_took_the_name_of_another_is_handed_neither_its_secret_nor_its_configuration() {
    let asks = "secrets: [{name: KEY}]\nconfig_schema: {type: object}";
    let ours = plugin_from(asks, Source::Bundled);
    let mut operator = Operator::default().secret("KEY", "hunter2").handing(&ours, &["KEY"]);
    operator.config.insert("base_url".to_owned(), json!("https://internal.example.org"));
    operator.grant.as_mut().unwrap().config = true;
    let held = authorize(call(&ours), &operator.standing(Level::L2)).unwrap();
    assert_eq!((held.allowed().secrets.len(), held.allowed().config.len()), (1, 1));
    let taken = plugin_from(asks, Source::Folder(PathBuf::from("/srv/taken")));
    let denial = authorize(call(&taken), &operator.standing(Level::L2)).unwrap_err();
    assert_eq!(denial.missing, [Missing::Secret { name: "KEY".to_owned() }]);
    // One that can do without is served, with nothing.
    let content =
        plugin_from(&asks.replace("name: KEY", "name: KEY, required: false"), Source::Folder(PathBuf::from("/srv/taken")));
    let bare = authorize(call(&content), &operator.standing(Level::L2)).unwrap();
    assert!(bare.allowed().secrets.is_empty() && bare.allowed().config.is_empty(), "{:?}", bare.allowed());
}

#[test]
fn a_grant_of_another_plugin_source_or_declaration_is_no_grant() {
    let ours = plugin("requires_network: true");
    let mut grants = Grants::default();
    let grant = grants.give(&ours, Permission::NetworkAccess, None).unwrap().clone();
    let with = |grant: Grant| Operator { grant: Some(grant), ..Operator::default() };
    authorize(call(&ours), &with(grant.clone()).standing(Level::L2)).unwrap();
    let missing = [Missing::Grant { power: Permission::NetworkAccess }];
    for wrong in [
        Grant { plugin: PluginName::parse("other").unwrap(), ..grant.clone() },
        Grant { source: Source::Store, ..grant.clone() },
        Grant { declared: Declared::of(&manifest("permissions: [env_read]")).digest(), ..grant.clone() },
    ] {
        let denial: Denial = authorize(call(&ours), &with(wrong).standing(Level::L2)).unwrap_err();
        assert_eq!(denial.missing, missing);
    }
}

#[test]
fn a_changed_declaration_inherits_nothing() {
    let asks = [
        "requires_network: true",
        "requires_network: true\nnetwork: {hosts: [\"a.example.org:443\"]}",
        "requires_network: true\nnetwork: {hosts: [\"b.example.org:443\"]}",
        "requires_network: true\npermissions: [env_read, network_access]",
        "requires_network: true\nsecrets: [{name: KEY, required: false}]",
        "requires_network: true\nfilesystem: {read: [$data]}",
        "requires_network: true\nfilesystem: {read: [/srv]}",
        "requires_network: true\nfilesystem: {write: [/srv]}",
    ];
    for (index, before) in asks.iter().enumerate() {
        let mut grants = Grants::default();
        grants.give(&plugin(before), Permission::NetworkAccess, None).unwrap();
        for (other, after) in asks.iter().enumerate() {
            let after = plugin(after);
            let held = grants.of(&after, &Declared::of(&after.manifest));
            assert_eq!(held.is_some(), index == other, "{before} / {after:?}");
        }
        let elsewhere = plugin_from(before, Source::Folder(PathBuf::from("/elsewhere")));
        assert_eq!(grants.of(&elsewhere, &Declared::of(&elsewhere.manifest)), None);
    }
}

#[test]
fn the_order_of_a_declaration_does_not_matter() {
    let digest = |more| Declared::of(&manifest(more)).digest();
    assert_eq!(
        digest("network: {hosts: [\"a.example.org:1\", \"b.example.org:2\"]}\nsecrets: [{name: A}, {name: B}]"),
        digest("secrets: [{name: B}, {name: A}]\nnetwork: {hosts: [\"b.example.org:2\", \"a.example.org:1\"]}"),
    );
    assert_ne!(digest("secrets: [{name: A}]"), digest("secrets: [{name: B}]"));
}

#[test]
fn a_file_of_grants_edited_by_hand_reaches_no_further_than_the_declaration() {
    let read = Permission::FileSystemRead;
    let net = Permission::NetworkAccess;
    let table: &[(&str, Permission, Scope, Option<Scope>)] = &[
        ("filesystem: {read: [$data]}", read, folders(&[]), None),
        ("filesystem: {read: [$data]}", read, folders(&["/"]), None),
        ("filesystem: {read: [$data]}", read, folders(&["notes", "../x", "/a/../.."]), None),
        ("filesystem: {read: [$data]}", read, folders(&["/notes", "/"]), Some(folders(&["/notes"]))),
        (
            "filesystem: {read: [/srv/texts]}",
            read,
            folders(&["/srv/texts/new", "/srv", "/srv/textsx"]),
            Some(folders(&["/srv/texts/new"])),
        ),
        ("filesystem: {read: [/srv/texts]}", read, folders(&["/etc"]), None),
        ("filesystem: {read: [/srv/texts, $data]}", read, folders(&["/etc"]), Some(folders(&["/etc"]))),
        ("requires_network: true", net, hosts(&[]), Some(hosts(&[]))),
        ("requires_network: true", net, hosts(&["x.org:1"]), Some(hosts(&["x.org:1"]))),
        ("network: {hosts: [\"a.org:1\", \"b.org:1\"]}", net, hosts(&[]), Some(hosts(&["a.org:1", "b.org:1"]))),
        ("network: {hosts: [\"a.org:1\", \"b.org:1\"]}", net, hosts(&["b.org:1", "c.org:1"]), Some(hosts(&["b.org:1"]))),
        // An empty list would mean every host.
        ("network: {hosts: [\"a.org:1\"]}", net, hosts(&["c.org:1"]), None),
        ("permissions: [env_read]", Permission::EnvRead, folders(&["/etc"]), Some(Scope::default())),
    ];
    for (more, power, scope, expected) in table {
        let plugin = plugin(more);
        let mut grant = Grants::default().set_level(&plugin, Level::L1).clone();
        grant.powers.insert(*power, scope.clone());
        let operator = Operator { grant: Some(grant), ..Operator::default() };
        match (readiness(&Declared::of(&plugin.manifest), &operator.standing(Level::L2)), expected) {
            (Ok(allowed), Some(expected)) => assert_eq!(allowed.powers.get(power), Some(expected), "{more} {scope:?}"),
            (Err(missing), None) => assert_eq!(missing, [Missing::Grant { power: *power }], "{more} {scope:?}"),
            (decision, _) => panic!("{more} {scope:?}: {decision:?}"),
        }
    }
}

fn folders(list: &[&str]) -> Scope {
    Scope { folders: list.iter().map(PathBuf::from).collect(), hosts: Vec::new() }
}

fn hosts(list: &[&str]) -> Scope {
    Scope { folders: Vec::new(), hosts: list.iter().map(ToString::to_string).collect() }
}

#[test]
fn missing_keys_are_told_to_machines_by_kind() {
    let missing = [Missing::Grant { power: Permission::EnvRead }, Missing::Level { wanted: Level::L2, reached: Level::L1 }];
    let expected = json!([{"kind": "grant", "power": "env_read"}, {"kind": "level", "wanted": "L2", "reached": "L1"}]);
    assert_eq!(serde_json::to_value(missing).unwrap(), expected);
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let folder = prop::sample::select(vec!["/", "/a", "/a/b", "/srv/x", "a", "/a/../b", ""]);
    let host = prop::sample::select(vec!["a.org:1", "x.a.org:1", "b.org:2", "", "*"]);
    (prop::collection::vec(folder, 0..3), prop::collection::vec(host, 0..3)).prop_map(|(folders, hosts)| Scope {
        folders: folders.into_iter().map(PathBuf::from).collect(),
        hosts: hosts.into_iter().map(str::to_owned).collect(),
    })
}

fn any_level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::L0, Level::L1, Level::L2, Level::L3])
}

proptest! {
    #[test]
    fn what_is_allowed_is_declared_and_granted_and_a_denial_names_exactly_what_is_not(
        permissions in prop::sample::subsequence(Permission::ALL.to_vec(), 0..=3),
        scopes in prop::collection::vec(any_scope(), 11), withheld in prop::sample::subsequence(Permission::ALL.to_vec(), 0..=2),
        declared_hosts in prop::option::of(prop::sample::subsequence(vec!["a.org:1", "*.a.org:1", "b.org:2"], 0..=3)),
        declared_read in prop::option::of(prop::sample::subsequence(vec!["$data", "$scratch", "/a", "/srv"], 0..=4)),
        network in any::<bool>(), files in any::<bool>(), required in any::<bool>(), set in any::<bool>(), handed in any::<bool>(),
        least in prop::option::of(any_level()), config in any::<bool>(), reached in any_level(), has_grant in prop::bool::weighted(0.9),
    ) {
        let mut granted: BTreeMap<Permission, Scope> = Permission::ALL.into_iter().zip(scopes).collect();
        granted.retain(|power, _| !withheld.contains(power));
        let mut manifest = manifest("");
        manifest.permissions = permissions;
        manifest.requires_network = network;
        manifest.requires_filesystem = files;
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        manifest.network = declared_hosts.map(|hosts| Network { hosts: owned(hosts) });
        manifest.filesystem = declared_read.map(|read| Filesystem { read: owned(read), write: Vec::new() });
        manifest.secrets = vec![SecretSpec { name: "KEY".to_owned(), description: None, required }];
        let declared = Declared::of(&manifest);
        let grant = Grant { plugin: manifest.name.clone(), source: Source::Bundled, declared: declared.digest(), level: least, powers: granted.clone(), secrets: if handed { BTreeSet::from(["KEY".to_owned(), "FOREIGN".to_owned()]) } else { BTreeSet::new() }, config };
        let least = if has_grant { grant.least_level() } else { Level::L1 };
        let (set_and_handed, config) = (set && handed && has_grant, config && has_grant);
        let operator = Operator { grant: has_grant.then_some(grant), config: Map::from_iter([("k".to_owned(), json!(1))]), ..Operator::default() };
        let operator = if set { operator.secret("KEY", "v").secret("FOREIGN", "w") } else { operator };
        let held: BTreeMap<Permission, Scope> = if has_grant { granted } else { BTreeMap::new() };
        match readiness(&declared, &operator.standing(reached)) {
            Ok(allowed) => {
                prop_assert_eq!(allowed.powers.keys().copied().collect::<Vec<_>>(), declared.powers.iter().copied().collect::<Vec<_>>());
                for (power, scope) in &allowed.powers {
                    let given = &held[power];
                    prop_assert!(scope.folders.iter().all(|folder| given.folders.contains(folder)));
                    prop_assert!(scope.folders.iter().all(|folder| folder.is_absolute() && folder.as_os_str() != "/"));
                    prop_assert!(given.hosts.is_empty() || scope.hosts.iter().all(|host| given.hosts.contains(host)));
                    prop_assert!(scope.hosts.iter().all(|host| declared.covers_host(host)));
                    // An empty list is the widest of all: only where neither side names a host.
                    prop_assert!(!power.is_network() || !scope.hosts.is_empty() || (given.hosts.is_empty() && declared.hosts.is_empty()));
                }
                prop_assert!(allowed.secrets.keys().all(|name| declared.secrets.contains(name)));
                prop_assert!(allowed.secrets.contains_key("KEY") == set_and_handed);
                prop_assert!(allowed.config.is_empty() != config);
                prop_assert!(reached >= least && (set_and_handed || !required));
            }
            Err(missing) => {
                prop_assert!(!missing.is_empty());
                for key in &missing {
                    match key {
                        Missing::Grant { power } => prop_assert!(declared.powers.contains(power)),
                        Missing::Secret { name } => prop_assert!(name == "KEY" && required && !set_and_handed),
                        Missing::Level { wanted, reached: found } => prop_assert!(*wanted == least && *found == reached && reached < least),
                        Missing::Config { .. } | Missing::Approval | Missing::Caller => prop_assert!(false, "{:?}", key),
                    }
                }
                // Every declared power that nobody granted is named.
                for power in declared.powers.iter().filter(|power| !held.contains_key(power)) {
                    let named = missing.contains(&Missing::Grant { power: *power });
                    prop_assert!(named);
                }
                // And no plain power that was.
                for power in declared.powers.iter().filter(|power| held.contains_key(power)) {
                    let scoped = power.is_network() || matches!(power, Permission::FileSystemRead | Permission::FileSystemWrite);
                    let named = missing.contains(&Missing::Grant { power: *power });
                    prop_assert!(scoped || !named);
                }
            }
        }
    }
}
