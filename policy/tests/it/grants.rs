//! Giving and taking powers, and the text forms of the file they are kept in.

use std::path::PathBuf;

use manifest_schema::{Permission, PluginName};
use policy::{Declared, Grants, Level, Plugin, Scope, Source};
use proptest::prelude::*;
use serde_json::json;

use crate::{plugin, plugin_from};

fn held(grants: &Grants, plugin: &Plugin, power: Permission) -> Option<Scope> {
    grants.of(plugin, &Declared::of(&plugin.manifest)).and_then(|grant| grant.powers.get(&power).cloned())
}

#[test]
fn scopes_and_what_is_told_about_bad_ones() {
    use Permission::{EnvRead, FileSystemRead, FileSystemWrite, NetworkAccess};
    let any = "permissions: [file_system_read, env_read]\nrequires_network: true";
    let listed =
        "filesystem: {read: [/srv/texts], write: [$data]}\nnetwork: {hosts: [\"a.example.org:443\", \"*.b.example.org:443\"]}";
    type Row = (&'static str, Permission, Option<&'static str>, Result<&'static str, &'static str>);
    let table: &[Row] = &[
        (any, FileSystemRead, Some("/srv/notes"), Ok("/srv/notes")),
        (any, FileSystemRead, Some("/srv//notes/./"), Ok("/srv/notes")),
        (any, FileSystemRead, None, Err("`file_system_read` needs a folder: `file_system_read=/absolute/path`")),
        (
            any,
            FileSystemRead,
            Some("notes"),
            Err("the scope of `file_system_read` must be an absolute path below `/` without `..`, found `notes`"),
        ),
        (
            any,
            FileSystemRead,
            Some(""),
            Err("the scope of `file_system_read` must be an absolute path below `/` without `..`, found ``"),
        ),
        (
            any,
            FileSystemRead,
            Some("/"),
            Err("the scope of `file_system_read` must be an absolute path below `/` without `..`, found `/`"),
        ),
        (
            any,
            FileSystemRead,
            Some("/a/../b"),
            Err("the scope of `file_system_read` must be an absolute path below `/` without `..`, found `/a/../b`"),
        ),
        (any, FileSystemWrite, Some("/srv"), Err("plugin `demo` does not declare `file_system_write`")),
        (any, EnvRead, None, Ok("")),
        (any, EnvRead, Some("HOME"), Err("`env_read` takes no scope, found `HOME`")),
        (any, NetworkAccess, None, Ok("")),
        (any, NetworkAccess, Some("api.example.org:443"), Ok("api.example.org:443")),
        (
            any,
            NetworkAccess,
            Some("api.example.org"),
            Err("the scope of `network_access` must be `host:port`, found `api.example.org`"),
        ),
        (any, NetworkAccess, Some(""), Err("the scope of `network_access` must be `host:port`, found ``")),
        (listed, NetworkAccess, Some("a.example.org:443"), Ok("a.example.org:443")),
        (listed, NetworkAccess, Some("x.b.example.org:443"), Ok("x.b.example.org:443")),
        (listed, NetworkAccess, Some("*.b.example.org:443"), Ok("*.b.example.org:443")),
        (listed, NetworkAccess, Some("b.example.org:443"), Err("plugin `demo` does not declare host `b.example.org:443`")),
        (listed, NetworkAccess, Some("x.b.example.org:80"), Err("plugin `demo` does not declare host `x.b.example.org:80`")),
        (listed, NetworkAccess, Some("xb.example.org:443"), Err("plugin `demo` does not declare host `xb.example.org:443`")),
        (listed, FileSystemRead, Some("/srv/texts/new"), Ok("/srv/texts/new")),
        (listed, FileSystemRead, Some("/srv"), Err("plugin `demo` does not declare `file_system_read` for folder `/srv`")),
        (listed, FileSystemWrite, Some("/home/me"), Ok("/home/me")),
    ];
    for (more, power, scope, expected) in table {
        let plugin = plugin(more);
        let mut grants = Grants::default();
        let found = grants.give(&plugin, *power, *scope).map(|grant| {
            let scope = &grant.powers[power];
            scope.folders.iter().map(|folder| folder.display().to_string()).chain(scope.hosts.clone()).collect::<String>()
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(&found, expected, "{power} {scope:?}"),
            (Err(found), Err(expected)) => {
                assert_eq!(&found.to_string(), expected);
                assert_eq!(grants, Grants::default(), "a refused grant leaves nothing behind");
            }
            (found, _) => panic!("{power} {scope:?}: {found:?}"),
        }
    }
}

#[test]
fn giving_again_adds() {
    let plugin = plugin("requires_filesystem: true\nrequires_network: true");
    let mut grants = Grants::default();
    let (read, net) = (Permission::FileSystemRead, Permission::NetworkAccess);
    for folder in ["/a", "/b", "/a/"] {
        grants.give(&plugin, read, Some(folder)).unwrap();
    }
    assert_eq!(held(&grants, &plugin, read).unwrap().folders, [PathBuf::from("/a"), PathBuf::from("/b")]);
    for (scope, expected) in [
        (Some("a.org:1"), vec!["a.org:1"]),
        (Some("b.org:1"), vec!["a.org:1", "b.org:1"]),
        (Some("a.org:1"), vec!["a.org:1", "b.org:1"]),
        (None, vec![]),
        (Some("c.org:1"), vec!["c.org:1"]),
    ] {
        grants.give(&plugin, net, scope).unwrap();
        assert_eq!(held(&grants, &plugin, net).unwrap().hosts, expected);
    }
    assert_eq!(grants.grants.len(), 1);
    assert_eq!(grants.grants[0].least_level(), Level::L2);
    grants.set_level(&plugin, Level::L1);
    assert_eq!((grants.grants.len(), grants.grants[0].least_level()), (1, Level::L1));
}

#[test]
fn taking_one_power_leaves_the_others_and_taking_all_leaves_nothing() {
    let (bundled, stored) =
        (plugin("permissions: [env_read, system_info]"), plugin_from("permissions: [env_read]", Source::Store));
    let mut grants = Grants::default();
    for plugin in [&bundled, &stored] {
        grants.give(plugin, Permission::EnvRead, None).unwrap();
    }
    grants.give(&bundled, Permission::SystemInfo, None).unwrap();
    let name = &bundled.manifest.name;
    assert!(!grants.take(&PluginName::parse("other").unwrap(), None));
    assert!(!grants.take(name, Some(Permission::NetworkAccess)));
    assert!(grants.take(name, Some(Permission::EnvRead)));
    assert_eq!(held(&grants, &bundled, Permission::EnvRead), None);
    assert_eq!(held(&grants, &stored, Permission::EnvRead), None);
    assert!(held(&grants, &bundled, Permission::SystemInfo).is_some());
    assert!(grants.take(name, None));
    assert_eq!(grants, Grants::default());
    assert!(!grants.take(name, None));
}

#[test]
fn the_file_has_one_form_and_unknown_keys_are_refused() {
    let plugin = plugin_from("requires_filesystem: true", Source::Folder(PathBuf::from("/plugins")));
    let mut grants = Grants::default();
    grants.give(&plugin, Permission::FileSystemRead, Some("/notes")).unwrap();
    let expected = json!({"grants": [{
        "plugin": "demo", "source": "folder:/plugins", "declared": Declared::of(&plugin.manifest).digest().as_str(),
        "powers": {"file_system_read": {"folders": ["/notes"]}},
    }]});
    assert_eq!(serde_json::to_value(&grants).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Grants>(expected.clone()).unwrap(), grants);
    for (pointer, bad) in [
        ("/grants/0/source", json!("folder:plugins")),
        ("/grants/0/source", json!("somewhere")),
        ("/grants/0/level", json!("L9")),
        ("/grants/0/secrets", json!("KEY")),
        ("/grants/0/config", json!("yes")),
        ("/grants/0/powers", json!({"all": {}})),
        ("/grants/0/powers/file_system_read", json!({"folder": ["/"]})),
        ("/grants/0/plugin", json!("Demo")),
        ("/grants/0/extra", json!(1)),
        ("/extra", json!(1)),
    ] {
        let mut value = expected.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = bad;
        assert!(serde_json::from_value::<Grants>(value).is_err(), "{pointer}");
    }
}

#[test]
fn a_secret_and_the_configuration_have_one_holder_of_a_name() {
    let asks = "secrets: [{name: KEY}, {name: SPARE, required: false}]";
    let (ours, theirs) = (plugin(asks), plugin_from(asks, Source::Folder(PathBuf::from("/srv/theirs"))));
    let mut grants = Grants::default();
    assert_eq!(
        grants.hand_secret(&ours, "OTHER").map(|_| ()).unwrap_err().to_string(),
        "plugin `demo` declares no secret `OTHER`"
    );
    assert_eq!(grants, Grants::default(), "a refused secret leaves nothing behind");
    grants.hand_config(&ours);
    assert_eq!(grants.grants[0].least_level(), Level::L1, "a configuration alone is not worth a wall of its own");
    for secret in ["KEY", "SPARE"] {
        grants.hand_secret(&ours, secret).unwrap();
    }
    assert_eq!(grants.grants[0].least_level(), Level::L2);
    grants.hand_secret(&theirs, "KEY").unwrap();
    grants.hand_config(&theirs);
    let of = |plugin: &Plugin| {
        let grant = grants.of(plugin, &Declared::of(&plugin.manifest)).unwrap();
        (grant.secrets.iter().cloned().collect::<Vec<_>>(), grant.config)
    };
    assert_eq!(of(&ours), (vec!["SPARE".to_owned()], false));
    assert_eq!(of(&theirs), (vec!["KEY".to_owned()], true));
    let file = serde_json::to_value(&grants).unwrap();
    assert_eq!(file["grants"][1]["secrets"], json!(["KEY"]));
    assert_eq!(serde_json::from_value::<Grants>(file).unwrap(), grants);
}

proptest! {
    #[test]
    fn whatever_is_given_is_taken_back(
        gifts in prop::collection::vec((prop::sample::select(Permission::ALL.to_vec()), prop::sample::select(vec![None, Some("/a"), Some("b.org:1"), Some("x")])), 0..12),
    ) {
        let all: Vec<&str> = Permission::ALL.iter().map(|power| power.as_str()).collect();
        let plugin = plugin(&format!("permissions: [{}]", all.join(", ")));
        let mut grants = Grants::default();
        for (power, scope) in gifts {
            let before = grants.clone();
            if grants.give(&plugin, power, scope).is_err() {
                prop_assert_eq!(&before, &grants);
            } else {
                prop_assert!(held(&grants, &plugin, power).is_some());
            }
        }
        let text = serde_json::to_string(&grants).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Grants>(&text).unwrap(), &grants);
        grants.take(&plugin.manifest.name, None);
        prop_assert_eq!(grants, Grants::default());
    }

    #[test]
    fn sources_are_read_back(path in "/[ -~]{0,30}") {
        for source in [Source::Bundled, Source::Store, Source::Folder(PathBuf::from(&path))] {
            prop_assert_eq!(Source::try_from(source.to_string()).unwrap(), source);
        }
    }
}
