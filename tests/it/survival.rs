//! Plugins that end badly, in every way of tests/plugins/crash: that call fails with a word for why, and everything else goes on.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use pegboard_tests::processes::{descendants, wait_until};
use pegboard_tests::server::{Home, Server};
use serde_json::{Value, json};

/// Each way to end badly, with words that the caller must be told.
const WAYS: &[(&str, &[&str])] = &[
    ("segfault", &["crashed"]),
    ("abort", &["crashed"]),
    ("kill", &["crashed"]),
    ("exit", &["crashed"]),
    ("half_written", &["crashed", "bad_output", "protocol"]),
    ("garbage", &["crashed", "bad_output", "protocol"]),
    ("closed", &["crashed", "timed_out", "timed out", "time"]),
    ("raise", &["ZeroDivisionError"]),
    ("system_exit", &["SystemExit", "exit"]),
    ("hang", &["timed_out", "timed out", "time"]),
    ("memory", &["memory", "Memory"]),
    ("flood", &["timed_out", "output_too_large"]),
];

fn text(result: &Value) -> String {
    result["content"].as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plugin_that_ends_badly_costs_that_call_alone() -> Result<()> {
    let (server, mut client) = Server::stdio(&Home::with(&["crash", "probe"])?, &[])?;
    assert_eq!(client.call("crash__fine", &json!({}))?["structuredContent"]["fine"], true, "{}", server.log());
    for (way, words) in WAYS {
        let result = client.call("crash__now", &json!({"mode": way}))?;
        assert_eq!(result["isError"], true, "{way}: {result}");
        let told = text(&result);
        assert!(words.iter().any(|word| told.contains(word)), "{way} is told as: {told}");
        assert!(result.get("structuredContent").is_none_or(Value::is_null), "{way}: {result}");
        assert_eq!(client.call("crash__fine", &json!({}))?["structuredContent"]["fine"], true, "after {way}: {}", server.log());
        assert_eq!(client.call("probe__echo", &json!({"text": "a"}))?["structuredContent"]["echo"], "a", "after {way}");
    }
    Ok(())
}

#[test]
fn what_a_bad_end_leaves_is_cleared_away() -> Result<()> {
    let (server, mut client) = Server::stdio(&Home::with(&["crash"])?, &[])?;
    client.call("crash__fine", &json!({}))?;
    let settled = |most: usize| wait_until(Duration::from_secs(20), || descendants(server.pid).len() <= most);
    let before = descendants(server.pid).len();
    for (way, _) in WAYS {
        client.call("crash__now", &json!({"mode": way}))?;
    }
    client.call("crash__fine", &json!({}))?;
    // The pool may have grown by a child or two while calls waited; zombies and strays would be one a way.
    assert!(settled(before + 4), "{before} processes before, now {:?}", descendants(server.pid));
    let zombies: Vec<_> = descendants(server.pid).into_iter().filter(|process| process.state == 'Z').collect();
    assert!(
        wait_until(Duration::from_secs(10), || descendants(server.pid).iter().all(|process| process.state != 'Z')),
        "zombies: {zombies:?}"
    );
    Ok(())
}

#[test]
fn a_broken_manifest_disables_that_plugin_alone_and_says_so() -> Result<()> {
    let home = Home::with(&["probe"])?;
    let broken = home.plugins().join("broken");
    fs::create_dir_all(&broken)?;
    fs::write(
        broken.join("plugin.yaml"),
        "name: broken\nversion: 1.0.0\ndescription: A broken one\nmcps:\n  - nmae: x\n    description: y\n",
    )?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    let tools = client.request("tools/list", &json!({}))?["result"]["tools"].clone();
    let names: Vec<&str> = tools.as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"probe__echo") && !names.iter().any(|name| name.starts_with("broken")), "{names:?}");
    assert_eq!(client.call("probe__echo", &json!({"text": "a"}))?["structuredContent"]["echo"], "a");
    assert!(server.log().contains("nmae"), "the log does not say what is wrong:\n{}", server.log());

    let listed = home.run(&["list", "--json", "--plugins", &home.plugins().display().to_string()])?;
    let printed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(printed.contains("nmae") && printed.contains("broken"), "{printed}");
    let doctor = home.run(&["doctor", "--plugins", &home.plugins().display().to_string()])?;
    let printed = format!("{}{}", String::from_utf8_lossy(&doctor.stdout), String::from_utf8_lossy(&doctor.stderr));
    assert!(printed.contains("broken"), "{printed}");
    Ok(())
}
