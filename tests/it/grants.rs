//! What the operator gives and takes while the server runs: in force within a second, and told to the client.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pegboard_tests::server::{Home, Server, binary};
use pegboard_tests::stdio::Connection;
use serde_json::{Value, json};

const TOOL: &str = "keeper__look";
/// What the product promises.
const WITHIN: Duration = Duration::from_secs(1);

fn is_listed(client: &mut Connection) -> Result<bool> {
    let tools = client.request("tools/list", &json!({}))?["result"]["tools"].clone();
    Ok(tools.as_array().into_iter().flatten().any(|tool| tool["name"] == TOOL))
}

/// Waits until the client has been told of a list with, or without, the tool; how long that took since `began`.
fn told(client: &mut Connection, listed: bool, began: Instant) -> Result<Duration> {
    loop {
        client.notification("notifications/tools/list_changed")?;
        if is_listed(client)? == listed {
            return Ok(began.elapsed());
        }
    }
}

/// One command of the operator, with the test's plugins.
fn operator(home: &Home, arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new(binary()?);
    command.args(arguments).args(home.arguments()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn look(client: &mut Connection, path: &str) -> Result<Value> {
    client.call(TOOL, &json!({"path": path}))
}

#[test]
fn what_is_granted_and_taken_is_in_force_within_a_second() -> Result<()> {
    let home = Home::with(&["keeper", "probe"])?;
    let (open, closed) = (home.plugins().join("../open"), home.plugins().join("../closed"));
    for folder in [&open, &closed] {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("note.txt"), "a note")?;
    }
    // Every user may read them: what keeps the plugin out is the missing grant.
    let [open, closed] = [open.canonicalize()?, closed.canonicalize()?];
    allow_everyone(&home)?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    client.limit = Duration::from_secs(30);
    ensure!(!is_listed(&mut client)?, "listed without a grant");
    let denied = look(&mut client, "/x")?;
    ensure!(denied["isError"] == true && denied.to_string().contains("file_system_read"), "{denied}");
    ensure!(!denied.to_string().contains("pegboard grant"), "the model reads the operator's command: {denied}");

    operator(&home, &["secret", "set", "keeper", "KEEPER_KEY"], "s3cr3t")?;
    operator(&home, &["config", "set", "keeper", "greeting", "hello"], "")?;
    let folder = format!("file_system_read={}", open.display());
    operator(&home, &["grant", "keeper", &folder, "--yes"], "")?;
    let granted = Instant::now();
    let took = told(&mut client, true, granted)?;
    ensure!(took < WITHIN, "a grant took {took:?}; {}", server.log_end());

    let note = open.join("note.txt").display().to_string();
    let seen = look(&mut client, &note)?["structuredContent"].clone();
    assert_eq!(seen, json!({"text": "a note", "key": "t3rc3s", "greeting": "hello"}));
    let outside = look(&mut client, &closed.join("note.txt").display().to_string())?;
    ensure!(outside["isError"] == true, "a folder that was not granted was read: {outside}");
    ensure!(!server.log().contains("s3cr3t"), "the log shows the secret");

    let taken = home.run(&["revoke", "keeper", "file_system_read"])?;
    ensure!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let revoked = Instant::now();
    let took = told(&mut client, false, revoked)?;
    ensure!(took < WITHIN, "a revocation took {took:?}");
    ensure!(look(&mut client, &note)?["isError"] == true, "the tool still runs");
    Ok(())
}

/// The temporary folder of the tests is its owner's alone; a plugin's user must be able to walk to a folder that it was granted.
fn allow_everyone(home: &Home) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let parent = home.plugins().parent().context("a parent")?.to_owned();
    Ok(fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?)
}
