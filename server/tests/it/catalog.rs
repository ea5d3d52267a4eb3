//! The catalog: what is served, what is not and why, and what a change on disk does while clients are there.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use executor_api::{FailureKind, ToolFailure};
use policy::{Declared, Level, Missing};
use serde_json::json;

use crate::{
    server::{Availability, Host, PluginsFolder, PluginsSource, StartError},
    support::{Bench, Home, connect, error_text, host, stateless, text, text_plugin, tool, until},
};

fn served(host: &Arc<Host>) -> Vec<String> {
    host.catalog().tools.iter().map(|tool| tool.name.to_string()).collect()
}

/// `grants.yaml` that gives a plugin everything it declares, its secrets and its configuration.
fn grant(home: &Home, host: &Arc<Host>, plugin: &str) {
    let catalog = host.catalog();
    let plugin = &catalog.plugin(plugin).expect("the plugin").plugin;
    let mut grants = policy::Grants::default();
    for power in Declared::of(&plugin.manifest).powers {
        grants.give(plugin, power, None).expect("declared");
    }
    for secret in Declared::of(&plugin.manifest).secrets {
        grants.hand_secret(plugin, &secret).expect("declared");
    }
    grants.hand_config(plugin);
    home.write("config/grants.yaml", &serde_json::to_string(&grants).unwrap());
}

#[tokio::test]
async fn a_broken_plugin_is_broken_alone() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.write("plugins/unparsable/plugin.yaml", "name: [");
    home.plugin(
        "badschema",
        "mcps:\n  - {name: a, description: A, class_name: A, args_schema: {type: object, properties: {x: {type: nonsense}}}}\n",
    );
    home.plugin("fetching", "mcps:\n  - {name: a, description: A, class_name: A, args_schema: {type: object, properties: {x: {$ref: 'http://127.0.0.1:1/s.json'}}}}\n");
    home.plugin("escaping", &text_plugin());
    symlink("/etc/hostname", home.path("plugins/escaping/data.txt")).unwrap();
    home.plugin("contained", &text_plugin());
    symlink("plugin.yaml", home.path("plugins/contained/copy.yaml")).unwrap();
    home.write("plugins/not-a-plugin/readme.txt", "nothing");
    let host = host(home.settings(), &Bench::texts()).await;
    assert_eq!(served(&host), ["contained__count", "contained__shout", "texts__count", "texts__shout"]);
    let broken: Vec<String> = host.catalog().broken.iter().map(|broken| broken.name.clone()).collect();
    assert_eq!(broken, ["badschema", "escaping", "fetching", "unparsable"]);
    let why = |name: &str| host.catalog().broken.iter().find(|broken| broken.name == name).unwrap().diagnostics.to_string();
    assert!(why("badschema").contains("mcps[0]"), "{}", why("badschema"));
    assert!(why("escaping").contains("leads out of the plugin's folder"));
}

#[tokio::test]
async fn folders_win_over_the_store_and_the_store_over_the_bundled() {
    let home = Home::new();
    for (folder, word) in [("bundled", "bundled"), ("store", "store"), ("plugins", "folder"), ("second", "second")] {
        home.write(
            &format!("{folder}/texts/plugin.yaml"),
            &crate::support::manifest(
                "texts",
                &format!("category: {word}\n{}", text_plugin().replace("category: text_processing\n", "")),
            ),
        );
    }
    home.write("bundled/only/plugin.yaml", &crate::support::manifest("only", &text_plugin()));
    let mut settings = home.settings();
    let folder = |name: &str, source| PluginsFolder { path: home.path(name), source };
    settings.plugins = vec![
        folder("bundled", PluginsSource::Bundled),
        folder("plugins", PluginsSource::Folder),
        folder("store", PluginsSource::Store),
        folder("second", PluginsSource::Folder),
    ];
    let host = host(settings, &Bench::texts()).await;
    let catalog = host.catalog();
    let texts = catalog.plugin("texts").unwrap();
    assert_eq!(texts.plugin.manifest.category.as_deref(), Some("folder"));
    assert_eq!(texts.notes.len(), 3, "{:?}", texts.notes);
    assert!(texts.notes.iter().all(|note| note.starts_with("shadows `texts` of ")));
    assert!(catalog.plugin("only").is_some());
}

#[tokio::test]
async fn a_plugin_without_its_grant_is_neither_listed_nor_found_nor_run() {
    let home = Home::new();
    home.plugin("texts", &format!("requires_network: true\n{}", text_plugin()));
    let host = host(home.settings(), &Bench::texts()).await;
    assert!(served(&host).is_empty());
    assert!(
        matches!(&host.catalog().plugins[0].availability, Availability::Withheld(missing) if matches!(missing[..], [Missing::Grant { .. }]))
    );
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    assert_eq!(client.names().await, ["search_tools", "get_tool_details"]);
    let found = client.call("search_tools", json!({"query": "count words"})).await;
    assert_eq!(found["result"]["structuredContent"]["tools"], json!([]));
    let denied = error_text(&client.call("texts__count", json!({"text": "x"})).await);
    assert!(denied.contains("`network_access` is declared but not granted") && denied.contains("ask the operator"), "{denied}");
    assert!(!denied.contains("pegboard grant"), "the command is the operator's: {denied}");
    // Granted while the client is there: listed, told, run. Taken back: gone again.
    grant(&home, &host, "texts");
    client.hear("notifications/tools/list_changed").await;
    assert_eq!(client.names().await.len(), 4);
    assert_eq!(client.call("texts__count", json!({"text": "x"})).await["result"]["structuredContent"], json!({"words": 1}));
    home.write("config/grants.yaml", "grants: []\n");
    client.hear("notifications/tools/list_changed").await;
    assert_eq!(client.names().await.len(), 2);
    error_text(&client.call("texts__count", json!({"text": "x"})).await);
}

#[tokio::test]
async fn a_changed_grant_is_in_force_within_a_second_and_ends_the_old_processes() {
    let home = Home::new();
    home.plugin("texts", &format!("requires_network: true\n{}", text_plugin()));
    let bench = Bench::texts();
    let host = host(home.settings(), &bench).await;
    let started = std::time::Instant::now();
    grant(&home, &host, "texts");
    until("the grant", || served(&host).len() == 2).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
    home.write("config/grants.yaml", "grants: []\n");
    until("the revocation", || served(&host).is_empty()).await;
    until("the end of its processes", || bench.logged() == ["retire texts"]).await;
}

#[tokio::test]
async fn the_first_grant_is_seen_although_there_was_no_folder_for_it() {
    let home = Home::new();
    home.plugin("texts", &format!("requires_network: true\n{}", text_plugin()));
    std::fs::remove_dir(home.path("config")).unwrap();
    let host = host(home.settings(), &Bench::texts()).await;
    grant(&home, &host, "texts");
    until("the grant", || served(&host).len() == 2).await;
    home.write("config/grants.yaml", "grants: []\n");
    until("the revocation", || served(&host).is_empty()).await;
}

#[tokio::test]
async fn a_malformed_grants_file_refuses_the_start_and_later_changes_nothing() {
    let home = Home::new();
    home.plugin("texts", &format!("requires_network: true\n{}", text_plugin()));
    home.write("config/grants.yaml", "grants: nonsense\n");
    let error = Host::assemble(home.settings(), Arc::new(Bench::texts())).err().expect("refused");
    assert!(matches!(&error, StartError::Operator(_)) && error.to_string().contains("grants.yaml"), "{error}");
    home.write("config/grants.yaml", "grants: []\n");
    let host = host(home.settings(), &Bench::texts()).await;
    grant(&home, &host, "texts");
    until("the grant", || served(&host).len() == 2).await;
    home.write("config/grants.yaml", "grants: nonsense\n");
    // Another change that is seen proves that the bad file was looked at and left aside.
    home.plugin("other", &text_plugin());
    until("the other plugin", || served(&host).len() == 4).await;
    home.mode("config/grants.yaml", 0o666);
    home.plugin("third", &text_plugin());
    until("the third plugin", || served(&host).len() == 6).await;
}

#[tokio::test]
async fn secrets_and_configuration_are_read_checked_and_bounded() {
    let home = Home::new();
    let yaml = format!(
        "secrets: [{{name: KEY, required: true}}]\nconfig_schema: {{type: object, properties: {{limit: {{type: integer}}}}, required: [limit]}}\n{}",
        text_plugin()
    );
    home.plugin("texts", &yaml);
    let bench = Bench::texts().on("texts__count", |call, _| async move {
        text(&format!("{} {}", call.allowed().secrets["KEY"].reveal(), call.allowed().config["limit"]))
    });
    let host = host(home.settings(), &bench).await;
    let missing = |host: &Arc<Host>| match &host.catalog().plugins[0].availability {
        Availability::Withheld(missing) => missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    };
    assert!(missing(&host).contains("secret `KEY` is not set") && missing(&host).contains("/limit"), "{}", missing(&host));
    home.write("config/config/texts.yaml", "limit: 3\n");
    let notes = |host: &Arc<Host>| host.catalog().plugins[0].notes.join("\n");
    until("the note", || notes(&host).contains("config keep texts")).await;
    assert!(missing(&host).contains("/limit"), "kept under its name, and not its own: {}", missing(&host));
    grant(&home, &host, "texts");
    until("the configuration", || !missing(&host).contains("configuration")).await;
    home.write("config/secrets/texts/KEY", "hush\n");
    home.mode("config/secrets/texts", 0o700);
    home.mode("config/secrets/texts/KEY", 0o640);
    until("the refusal", || {
        host.catalog().operator.problems.iter().any(|problem| problem.error.to_string().contains("mode 0600"))
    })
    .await;
    assert!(missing(&host).contains("secret `KEY`"));
    home.mode("config/secrets/texts/KEY", 0o600);
    until("the secret", || missing(&host) == "Served").await;
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    assert_eq!(client.call("texts__count", json!({"text": "x"})).await["result"]["content"][0]["text"], "hush 3");
    home.write("config/config/texts.yaml", "limit: many\n");
    until("the misfit", || missing(&host).contains("/limit")).await;
    home.write("config/config/texts.yaml", "limit: [\n");
    until("the malformed file", || missing(&host).contains("texts.yaml")).await;
    let denied = error_text(&client.call("texts__count", json!({"text": "x"})).await);
    let folder = home.folder.path().display().to_string();
    assert!(denied.contains("configuration") && !denied.contains(&folder), "{denied}");
    assert!(
        host.catalog().operator.problems.iter().any(|problem| problem.error.to_string().contains(&folder)),
        "the operator sees the file"
    );
}

#[tokio::test]
async fn a_plugin_that_takes_the_name_of_another_is_not_handed_what_that_one_was_given() {
    let home = Home::new();
    let yaml = format!("secrets: [{{name: KEY}}]\nconfig_schema: {{type: object}}\n{}", text_plugin());
    home.plugin("texts", &yaml);
    home.write("config/config/texts.yaml", "limit: 3\n");
    home.write("config/secrets/texts/KEY", "hush\n");
    home.mode("config/secrets/texts", 0o700);
    let host = host(home.settings(), &Bench::texts()).await;
    assert!(served(&host).is_empty(), "a value under its name is no grant");
    grant(&home, &host, "texts");
    until("the grant", || served(&host).len() == 2).await;
    // The same name and the same declaration, from another folder that comes first.
    fs::create_dir(home.path("first")).unwrap();
    home.write("first/texts/plugin.yaml", &crate::support::manifest("texts", &yaml));
    let mut settings = home.settings();
    settings.plugins.insert(0, PluginsFolder { path: home.path("first"), source: PluginsSource::Folder });
    let other = self::host(settings, &Bench::texts()).await;
    let catalog = other.catalog();
    let entry = catalog.plugin("texts").unwrap();
    assert!(entry.plugin.root.starts_with(home.path("first")), "{}", entry.plugin.root.display());
    assert!(
        matches!(&entry.availability, Availability::Withheld(missing) if matches!(&missing[..], [Missing::Secret { name }] if name == "KEY")),
        "{:?}",
        entry.availability
    );
    let notes = entry.notes.join("\n");
    assert!(notes.contains("secret keep texts KEY") && notes.contains("config keep texts"), "{notes}");
}

#[tokio::test]
async fn an_edit_is_served_told_in_both_eras_and_retires_the_old_code() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.write("plugins/texts/main.py", "one");
    let bench = Bench::texts();
    let host = host(home.settings(), &bench).await;
    let (mut older, ..) = connect(&host);
    older.initialize("2025-11-25").await;
    let (mut newer, ..) = connect(&host);
    let subscription =
        newer.begin("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}, "_meta": stateless()})).await;
    newer.hear("notifications/subscriptions/acknowledged").await;
    // Code alone: the list stays, the processes go.
    home.write("plugins/texts/main.py", "two");
    until("the retirement", || bench.logged() == ["retire texts"]).await;
    assert_eq!(older.names().await.len(), 4);
    assert!(older.heard.is_empty(), "{:?}", older.heard);
    home.plugin("texts", &text_plugin().replace("name: shout", "name: whisper"));
    older.hear("notifications/tools/list_changed").await;
    let told = newer.hear("notifications/tools/list_changed").await;
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], json!(subscription));
    assert!(older.names().await.contains(&"texts__whisper".to_owned()));
    // Broken by an edit: gone; mended: back.
    home.write("plugins/texts/plugin.yaml", "name: [");
    older.hear("notifications/tools/list_changed").await;
    assert_eq!(older.names().await.len(), 2);
    home.plugin("texts", &text_plugin());
    older.hear("notifications/tools/list_changed").await;
    assert_eq!(older.names().await.len(), 4);
    std::fs::remove_dir_all(home.path("plugins/texts")).unwrap();
    until("the removal", || served(&host).is_empty()).await;
}

#[tokio::test]
async fn a_frozen_host_sees_no_change() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.frozen = true;
    let frozen = host(settings, &Bench::texts()).await;
    let control = host(home.settings(), &Bench::texts()).await;
    home.plugin("other", &text_plugin());
    until("the control", || served(&control).len() == 4).await;
    assert_eq!(served(&frozen).len(), 2);
}

#[tokio::test]
async fn a_tool_without_a_schema_is_listed_once_it_has_one() {
    let home = Home::new();
    let bare = "mcps:\n  - {name: bare, description: Has no schema, class_name: Bare}\n".to_owned();
    home.plugin("texts", &format!("{bare}{}", tool("count", "Count")));
    home.plugin("failing", &bare);
    let bench = Bench::default().on("texts__bare", |_, _| async move { text("ran") });
    let mut specs = manifest_schema::parse("x", &crate::support::manifest("texts", &format!("{bare}{}", tool("count", "Count"))))
        .unwrap()
        .mcps;
    specs[0].args_schema = json!({"type": "object"}).as_object().cloned();
    bench.prepared.lock().unwrap().insert("texts".to_owned(), Ok(specs));
    bench
        .prepared
        .lock()
        .unwrap()
        .insert("failing".to_owned(), Err(ToolFailure::new(FailureKind::LoadFailed, "ImportError: nothing")));
    let host = Host::assemble(home.settings(), Arc::new(bench)).unwrap();
    host.ready().await;
    assert_eq!(served(&host), ["texts__bare", "texts__count"]);
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    assert_eq!(client.call("texts__bare", json!({})).await["result"]["content"][0]["text"], "ran");
    let failed = error_text(&client.call("failing__bare", json!({})).await);
    assert!(failed.starts_with("load_failed: ") && failed.contains("ImportError"), "{failed}");
    assert!(host.catalog().plugin("failing").unwrap().preparation.is_some());
}

#[tokio::test]
async fn a_plugin_granted_under_a_higher_level_does_not_run_at_a_lower() {
    let home = Home::new();
    home.plugin("texts", &format!("requires_network: true\n{}", text_plugin()));
    let strong = host(home.settings(), &Bench::texts()).await;
    grant(&home, &strong, "texts");
    until("the grant", || served(&strong).len() == 2).await;
    let bench = Bench { level: Some(Level::L1), ..Bench::texts() };
    let weak = host(home.settings(), &bench).await;
    assert!(
        matches!(&weak.catalog().plugins[0].availability, Availability::Withheld(missing) if matches!(missing[..], [Missing::Level { .. }]))
    );
}

#[tokio::test]
async fn disabled_and_foreign_versions_are_not_served() {
    let home = Home::new();
    home.plugin("off", &format!("status: disabled\n{}", text_plugin()));
    home.plugin("later", &format!("min_core_version: 99.0.0\n{}", text_plugin()));
    home.plugin("texts", &text_plugin());
    let host = host(home.settings(), &Bench::texts()).await;
    assert_eq!(served(&host).len(), 2);
    assert_eq!(host.catalog().plugin("off").unwrap().availability, Availability::Disabled);
    assert!(matches!(host.catalog().plugin("later").unwrap().availability, Availability::Incompatible { .. }));
}

#[tokio::test]
async fn short_names_work_where_they_are_unique() {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    home.plugin("other", &text_plugin().replace("name: shout", "name: whisper"));
    let host = host(home.settings(), &Bench::texts()).await;
    let catalog = host.catalog();
    assert_eq!(catalog.served_name("shout").unwrap().as_str(), "texts__shout");
    assert_eq!(catalog.served_name("texts__count").unwrap().as_str(), "texts__count");
    assert_eq!(catalog.served_name("count").unwrap_err().len(), 2);
    assert!(catalog.served_name("nothing").unwrap_err().is_empty());
}

#[tokio::test]
async fn a_name_that_looks_like_another_is_refused_at_reload_and_the_first_party_one_stays() {
    let home = Home::new();
    home.write("bundled/tables/plugin.yaml", &crate::support::manifest("tables", &text_plugin()));
    home.plugin("texts", &text_plugin());
    let mut settings = home.settings();
    settings.plugins.push(PluginsFolder { path: home.path("bundled"), source: PluginsSource::Bundled });
    let host = host(settings, &Bench::texts()).await;
    assert_eq!(served(&host).len(), 4);
    for name in ["tab1es", "t3xts", "text5", "mcp"] {
        home.plugin(name, &text_plugin());
    }
    until("the catalog with all six", || host.catalog().plugins.len() == 6).await;
    let why = |name: &str| match &host.catalog().plugin(name).unwrap().availability {
        Availability::NameRefused { reason } => reason.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!(why("tab1es"), "the name `tab1es` looks like `tables`, which is there already");
    assert_eq!(why("text5"), "the name `text5` looks like `texts`, which is there already");
    assert_eq!(why("mcp"), "the name `mcp` is reserved: it is the protocol's name");
    assert_eq!(served(&host).len(), 6, "`t3xts` looks like nothing, and the others stay: {:?}", served(&host));
    let (mut client, _served, _shutdown) = connect(&host);
    client.initialize("2025-06-18").await;
    let refused = client.call("tab1es__count", json!({"text": "x"})).await;
    assert!(error_text(&refused).contains("taken for another one's"), "{refused}");
    fs::remove_dir_all(home.path("plugins/texts")).unwrap();
    until("the name is free", || served(&host).contains(&"text5__count".to_owned())).await;
}

#[tokio::test]
async fn a_plugin_is_served_once_the_plugins_that_it_needs_are_there() {
    let home = Home::new();
    let needs =
        |wanted: &str| format!("dependencies: [{{name: base, version: \"{wanted}\", source: marketplace}}]\n{}", text_plugin());
    home.plugin("app", &needs("^1"));
    home.plugin("newer", &needs("^2"));
    home.plugin("at_will", &needs("^2").replace("marketplace}", "marketplace, optional: true}"));
    let host = host(home.settings(), &Bench::texts()).await;
    let why = |name: &str| match &host.catalog().plugin(name).unwrap().availability {
        Availability::Lacking { problems } => problems.join("; "),
        other => format!("{other:?}"),
    };
    assert_eq!(served(&host), ["at_will__count", "at_will__shout"]);
    assert_eq!(why("app"), "needs the plugin `base ^1`, which is not there");
    home.plugin("base", &text_plugin());
    until("the plugin that was needed", || why("app") == "Served").await;
    assert_eq!(why("newer"), "needs the plugin `base ^2`, and 1.0.0 is there");
    let (mut client, _served, _shutdown) = connect(&host);
    client.initialize("2025-06-18").await;
    let lacking = client.call("newer__count", json!({"text": "x"})).await;
    assert!(error_text(&lacking).contains("needs the plugin `base ^2`"), "{lacking}");
}
