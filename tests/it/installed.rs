//! Installed plugins and a server that runs meanwhile: it follows within a second.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pegboard_tests::processes::wait_until;
use pegboard_tests::server::{Home, Server, binary};
use pegboard_tests::stdio::Connection;
use serde_json::json;

const TOOL: &str = "held__which";
/// What the product promises.
const WITHIN: Duration = Duration::from_secs(1);
/// A call that runs through an update.
const LONG: Duration = Duration::from_secs(10);

fn is_listed(client: &mut Connection) -> Result<bool> {
    let tools = client.request("tools/list", &json!({}))?["result"]["tools"].clone();
    Ok(tools.as_array().into_iter().flatten().any(|tool| tool["name"] == TOOL))
}

fn package(home: &Home, version: &str) -> Result<PathBuf> {
    let folder = home.plugins().join("..").join(format!("held-{version}"));
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("plugin.yaml"),
        format!(
            "name: held\nversion: {version}\ndescription: Says which version it is\nmcps:\n  - name: which\n    description: Waits, and says \
             which version it is, {version}\n    module_path: main\n    class_name: Which\n    args_schema: {{type: object, properties: \
             {{seconds: {{type: number}}}}}}\n"
        ),
    )?;
    let code = "import time\n\n\nclass Which:\n    def _run(self, seconds=0):\n        time.sleep(seconds)\n        import other\n        return \
                {'version': other.VERSION}\n";
    fs::write(folder.join("main.py"), code)?;
    fs::write(folder.join("other.py"), format!("VERSION = '{version}'\n"))?;
    let package = folder.with_extension("zip");
    done(&home.run(&["package", &folder.display().to_string(), "-o", &package.display().to_string()])?)?;
    Ok(package)
}

fn done(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Waits until the client was told of a list with, or without, the tool.
fn told(client: &mut Connection, listed: bool, began: Instant) -> Result<Duration> {
    loop {
        client.notification("notifications/tools/list_changed")?;
        if is_listed(client)? == listed {
            return Ok(began.elapsed());
        }
    }
}

fn version(client: &mut Connection) -> Result<String> {
    let result = client.call(TOOL, &json!({}))?;
    Ok(result["structuredContent"]["version"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_running_server_follows_within_a_second() -> Result<()> {
    let home = Home::with(&[])?;
    let (one, two) = (package(&home, "1.0.0")?, package(&home, "2.0.0")?);
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    ensure!(!is_listed(&mut client)?);

    done(&home.run(&["install", &one.display().to_string(), "--yes"])?)?;
    let took = told(&mut client, true, Instant::now())?;
    ensure!(took < WITHIN, "an install took {took:?}; {}", server.log_end());
    assert_eq!(version(&mut client)?, "1.0.0");

    let running = client.start("tools/call", &json!({"name": TOOL, "arguments": {"seconds": LONG.as_secs()}}))?;
    let began = Instant::now();
    done(&home.run(&["install", &two.display().to_string(), "--yes", "--allow", "tools"])?)?;
    let updated = Instant::now();
    let took = told(&mut client, true, updated)?;
    ensure!(took < WITHIN, "an update took {took:?}; {}", server.log_end());
    assert_eq!(version(&mut client)?, "2.0.0", "{}", server.log_end());
    ensure!(began.elapsed() < LONG, "the machine is too slow to tell: the call was over before the update was");
    let finished = client.answer(running)?;
    assert_eq!(
        finished["result"]["structuredContent"]["version"], "1.0.0",
        "what runs finishes on what it began with: {finished}"
    );

    done(&home.run(&["rollback", "held"])?)?;
    told(&mut client, true, Instant::now())?;
    assert_eq!(version(&mut client)?, "1.0.0");

    done(&home.run(&["deactivate", "held"])?)?;
    let took = told(&mut client, false, Instant::now())?;
    ensure!(took < WITHIN, "a deactivation took {took:?}");
    done(&home.run(&["activate", "held"])?)?;
    told(&mut client, true, Instant::now())?;
    done(&home.run(&["uninstall", "held"])?)?;
    let took = told(&mut client, false, Instant::now())?;
    ensure!(took < WITHIN, "an uninstall took {took:?}");
    ensure!(client.call(TOOL, &json!({})).is_err() || !is_listed(&mut client)?);
    Ok(())
}

/// What `store gc --all` removed and what it left because somebody uses it.
fn cleared(home: &Home) -> Result<[usize; 2]> {
    let output = home.run(&["store", "gc", "--all", "--json"])?;
    done(&output)?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(["removed", "in_use"].map(|key| document[key].as_array().map_or(0, Vec::len)))
}

#[test]
fn what_runs_is_not_cleared_away() -> Result<()> {
    let home = Home::with(&[])?;
    let one = package(&home, "1.0.0")?;
    done(&home.run(&["install", &one.display().to_string(), "--yes"])?)?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    let began = Instant::now();
    // It imports a module of its package only when it is almost over.
    let running = client.start("tools/call", &json!({"name": TOOL, "arguments": {"seconds": LONG.as_secs()}}))?;
    done(&home.run(&["uninstall", "held"])?)?;
    told(&mut client, false, Instant::now())?;
    assert_eq!(cleared(&home)?, [0, 1], "{}", server.log_end());
    ensure!(began.elapsed() < LONG, "the machine is too slow to tell: the call was over before the store was cleared");
    let finished = client.answer(running)?;
    assert_eq!(finished["result"]["structuredContent"]["version"], "1.0.0", "{finished}; {}", server.log_end());
    // Nobody uses it now.
    let mut counts = [0, 0];
    let gone = wait_until(Duration::from_secs(30), || {
        counts = cleared(&home).unwrap_or_default();
        counts == [1, 0]
    });
    ensure!(gone, "{counts:?}; {}", server.log_end());
    // What a killed server used is anybody's.
    done(&home.run(&["install", &one.display().to_string(), "--yes"])?)?;
    told(&mut client, true, Instant::now())?;
    done(&home.run(&["uninstall", "held"])?)?;
    drop((client, server));
    assert_eq!(cleared(&home)?, [1, 0]);
    Ok(())
}

#[test]
fn a_key_that_is_no_longer_trusted_ends_what_it_vouched_for() -> Result<()> {
    let home = Home::with(&[])?;
    let one = package(&home, "1.0.0")?.display().to_string();
    let key = home.path().join("ada.key").display().to_string();
    done(&home.run(&["keygen", &key])?)?;
    done(&home.run(&["sign", &one, "--key", &key])?)?;
    done(&home.run(&["trust", "add", "ada", &format!("{key}.pub")])?)?;
    fs::write(home.path().join("config/pegboard.toml"), "require_signature = true\n")?;
    done(&home.run(&["install", &one, "--yes"])?)?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    assert_eq!(version(&mut client)?, "1.0.0");
    let running = client.start("tools/call", &json!({"name": TOOL, "arguments": {"seconds": 600}}))?;
    done(&home.run(&["trust", "remove", "ada"])?)?;
    let took = told(&mut client, false, Instant::now())?;
    ensure!(took < WITHIN, "it took {took:?}; {}", server.log_end());
    // What ran is ended, and nothing new begins.
    let ended = client.answer(running)?;
    assert_eq!(ended["result"]["isError"], true, "{ended}");
    let refused = client.call(TOOL, &json!({}))?;
    ensure!(refused["content"][0]["text"].as_str().is_some_and(|text| text.contains("not signed")), "{refused}");
    done(&home.run(&["trust", "add", "ada", &format!("{key}.pub")])?)?;
    told(&mut client, true, Instant::now())?;
    assert_eq!(version(&mut client)?, "1.0.0");
    Ok(())
}

#[test]
fn a_server_carries_out_what_a_killed_command_had_decided() -> Result<()> {
    let home = Home::with(&[])?;
    let (one, two) = (package(&home, "1.0.0")?, package(&home, "2.0.0")?);
    done(&home.run(&["install", &one.display().to_string(), "--yes"])?)?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    let journal = home.path().join("data/.commit");
    let mut carried_out = 0;
    // Killed at its first rename, at its second, and so on, until it comes to its end.
    for at in 1.. {
        let kill = format!("inject=rename:signal=KILL:when={at}");
        let mut install = Command::new("strace");
        install.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", &kill]).arg(binary()?);
        install.arg("install").arg(&two).args(["--yes", "--allow", "tools", "--home"]).arg(home.path());
        if install.output()?.status.success() {
            break;
        }
        if !journal.exists() {
            continue;
        }
        // The server is the only one who looks.
        fs::write(home.path().join("config/poke"), at.to_string())?;
        ensure!(wait_until(Duration::from_secs(30), || !journal.exists()), "{at}: {}", server.log_end());
        let mut served =
            |wanted: &str| wait_until(Duration::from_secs(30), || version(&mut client).is_ok_and(|found| found == wanted));
        ensure!(served("2.0.0"), "{at}: {}", server.log_end());
        carried_out += 1;
        done(&home.run(&["rollback", "held"])?)?;
        ensure!(served("1.0.0"), "{at}: {}", server.log_end());
    }
    ensure!(carried_out >= 2, "{carried_out}: were the calls counted?");
    Ok(())
}
