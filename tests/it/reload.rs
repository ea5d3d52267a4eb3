//! Plugins that come, change and go while the server runs, and grants that come and go: seen by clients without a restart.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use pegboard_tests::server::{Home, Server, copy_folder, fixtures};
use pegboard_tests::stdio::Connection;
use serde_json::json;

fn names(client: &mut Connection) -> Result<Vec<String>> {
    let tools = client.request("tools/list", &json!({}))?["result"]["tools"].clone();
    Ok(tools.as_array().into_iter().flatten().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
}

/// Waits for a `list_changed` after which the list fits.
fn told(client: &mut Connection, fits: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
    let began = Instant::now();
    loop {
        client.notification("notifications/tools/list_changed")?;
        let names = names(client)?;
        if fits(&names) || began.elapsed() > Duration::from_secs(30) {
            return Ok(names);
        }
    }
}

#[test]
fn a_plugin_comes_changes_and_goes() -> Result<()> {
    let home = Home::with(&["probe"])?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    assert!(!names(&mut client)?.contains(&"late__here".to_owned()));

    let late = home.plugins().join("late");
    copy_folder(&fixtures().join("late"), &late)?;
    let listed = told(&mut client, |names| names.contains(&"late__here".to_owned()))?;
    assert!(listed.contains(&"late__here".to_owned()), "{listed:?}; {}", server.log());
    assert_eq!(client.call("late__here", &json!({}))?["structuredContent"]["here"], true);

    let manifest = fs::read_to_string(late.join("plugin.yaml"))?;
    fs::write(late.join("plugin.yaml"), manifest.replace("- name: here", "- name: there"))?;
    let listed = told(&mut client, |names| names.contains(&"late__there".to_owned()))?;
    assert!(listed.contains(&"late__there".to_owned()) && !listed.contains(&"late__here".to_owned()), "{listed:?}");

    // The code of a running plugin changes: the next call runs the new code.
    let code = fs::read_to_string(late.join("main.py"))?;
    fs::write(late.join("main.py"), code.replace("\"here\": True", "\"here\": \"anew\""))?;
    let anew = pegboard_tests::processes::wait_until(Duration::from_secs(20), || {
        client.call("late__there", &json!({})).is_ok_and(|result| result["structuredContent"]["here"] == "anew")
    });
    assert!(anew, "the old code still runs: {}", server.log());

    fs::remove_dir_all(&late)?;
    let listed = told(&mut client, |names| !names.iter().any(|name| name.starts_with("late")))?;
    assert!(!listed.iter().any(|name| name.starts_with("late")), "{listed:?}");
    Ok(())
}
