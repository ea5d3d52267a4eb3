//! Questions to a person: asked on a terminal, answered there, and never taken for granted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pegboard_tests::processes::wait_until;
use pegboard_tests::server::{Home, binary};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal: the end of the person, and the end of the program.
fn terminal() -> Result<(File, OwnedFd)> {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&person)?;
    unlockpt(&person)?;
    let name = ptsname(&person, Vec::new())?;
    let program = File::options().read(true).write(true).open(name.to_str()?)?;
    Ok((File::from(person), program.into()))
}

/// Runs a command on a terminal, answers its question, and gives back how it ended and what it asked.
fn answered(home: &Home, arguments: &[&str], answer: &str) -> Result<(ExitStatus, String)> {
    let words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).chain(home.arguments()).collect();
    answered_to(&words, answer)
}

fn answered_to(arguments: &[String], answer: &str) -> Result<(ExitStatus, String)> {
    let (mut person, program) = terminal()?;
    let mut command = Command::new(binary()?);
    command.args(arguments).env("NO_COLOR", "1");
    command.stdin(program.try_clone()?).stderr(program).stdout(Stdio::null());
    let mut child = command.spawn()?;
    // The command holds copies of the program's end, which must be closed before the last read can end.
    drop(command);
    let mut asked = String::new();
    let mut space = [0u8; 4096];
    while !asked.contains("[y/N]") {
        let got = person.read(&mut space).context("the program ended without a question")?;
        ensure!(got > 0, "no question: {asked}");
        asked.push_str(&String::from_utf8_lossy(&space[..got]));
    }
    person.write_all(answer.as_bytes())?;
    Ok((child.wait()?, asked))
}

/// Whether a terminal keeps what is typed to itself.
fn shows_nothing(terminal: &Path) -> bool {
    let said = Command::new("stty").arg("-F").arg(terminal).arg("-a").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).split_whitespace().any(|word| word == "-echo"))
}

fn granted(home: &Home) -> Result<bool> {
    let output = home.run(&["grants", "--json"])?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(document["grants"]
        .as_array()
        .is_some_and(|grants| grants.iter().any(|grant| grant["powers"][0]["power"] == "file_system_read")))
}

#[test]
fn a_grant_is_given_only_on_a_yes() -> Result<()> {
    let home = Home::with(&["keeper"])?;
    let folder = home.plugins().join("../open");
    fs::create_dir_all(&folder)?;
    let power = format!("file_system_read={}", folder.canonicalize()?.display());
    for no in ["\n", "n\n", "maybe\n"] {
        let (status, asked) = answered(&home, &["grant", "keeper", &power], no)?;
        ensure!(status.code() == Some(4) && !granted(&home)?, "{no:?}: {status}");
        ensure!(asked.contains("read everything in the granted folders"), "it does not say what is allowed: {asked}");
    }
    let (status, _) = answered(&home, &["grant", "keeper", &power], "y\n")?;
    ensure!(status.success() && granted(&home)?, "{status}");
    Ok(())
}

#[test]
fn a_package_is_installed_only_on_a_yes() -> Result<()> {
    let home = Home::with(&["keeper"])?;
    let package = home.plugins().join("../keeper.zip").display().to_string();
    let packed = home.run(&["package", &home.plugins().join("keeper").display().to_string(), "-o", &package])?;
    ensure!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let words = ["install", &package, "--home", &home.path().display().to_string()].map(str::to_owned);
    let lockfile = home.path().join("data/pegboard.lock");
    for no in ["\n", "n\n"] {
        let (status, asked) = answered_to(&words, no)?;
        ensure!(status.code() == Some(4) && !lockfile.exists(), "{no:?}: {status}");
        for part in ["the package is not signed", "+ power:file_system_read", "+ secret:KEEPER_KEY", "+ tool:look"] {
            ensure!(asked.contains(part), "it does not say `{part}`: {asked}");
        }
    }
    let (status, _) = answered_to(&words, "y\n")?;
    ensure!(status.success() && fs::read_to_string(&lockfile)?.contains("secret:KEEPER_KEY"), "{status}");
    Ok(())
}

#[test]
fn where_nobody_can_answer_nothing_is_granted() -> Result<()> {
    let home = Home::with(&["keeper"])?;
    let folder = home.plugins().canonicalize()?;
    let power = format!("file_system_read={}", folder.display());
    let arguments: Vec<String> = ["grant", "keeper", &power].map(str::to_owned).into_iter().chain(home.arguments()).collect();
    let output = Command::new(binary()?).args(&arguments).stdin(Stdio::null()).output()?;
    ensure!(output.status.code() == Some(2) && !granted(&home)?, "{output:?}");
    let output = Command::new(binary()?).args(&arguments).arg("--yes").stdin(Stdio::null()).output()?;
    ensure!(output.status.success() && granted(&home)?, "{output:?}");
    Ok(())
}

/// A secret that a client would ask its user for is asked for here, without being shown, and lies in the secret store alone.
#[test]
fn an_input_of_a_clients_configuration_is_asked_for_on_the_terminal() -> Result<()> {
    let home = Home::with(&[])?;
    let folder = home.plugins().join("../server");
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/servers/upstream.py");
    fs::copy(script, folder.join("upstream.py"))?;
    let schema = serde_json::json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let tools =
        serde_json::json!({"name": "s", "tools": [{"name": "environment", "description": "A variable", "inputSchema": schema}]});
    fs::write(folder.join("offered.json"), tools.to_string())?;
    let entry = serde_json::json!({"servers": {"vault": {"type": "stdio", "command": "/usr/bin/python3", "env": {"PLACE": "${input:place}"},
        "args": [folder.join("upstream.py"), folder.join("offered.json")]}}, "inputs": [{"id": "place", "type": "promptString", "password": true}]});
    let file = folder.join("mcp.json");
    fs::write(&file, entry.to_string())?;
    let (mut person, program) = terminal()?;
    let terminal_name = fs::read_link(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    // The answer is read from the terminal of the process, which only a session of its own can have.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(binary()?).arg("import-config").arg(&file).args(["--yes"]).args(home.arguments());
    command.env("NO_COLOR", "1").stdin(program.try_clone()?).stderr(program).stdout(Stdio::null());
    let mut child = command.spawn()?;
    drop(command);
    let mut shown = String::new();
    let mut space = [0u8; 4096];
    while !shown.contains("place (not shown): ") {
        let got = person.read(&mut space).context("the program ended without a question")?;
        ensure!(got > 0, "no question: {shown}");
        shown.push_str(&String::from_utf8_lossy(&space[..got]));
    }
    // A person needs longer than the program to turn the echo off.
    ensure!(wait_until(Duration::from_secs(20), || shows_nothing(&terminal_name)), "the terminal still shows what is typed");
    person.write_all(b"under-the-mat\n")?;
    // A terminal whose other end is closed fails to be read: that is its end.
    while let Ok(got @ 1..) = person.read(&mut space) {
        shown.push_str(&String::from_utf8_lossy(&space[..got]));
    }
    ensure!(child.wait()?.success(), "{shown}");
    ensure!(!shown.contains("under-the-mat"), "the answer was shown: {shown}");
    ensure!(fs::read_to_string(home.path().join("config/secrets/vault/PLACE"))? == "under-the-mat");
    let called = home.run(&["call", "vault__environment", "--arg", "name=PLACE", "--no-bundled"])?;
    ensure!(String::from_utf8_lossy(&called.stdout).contains("under-the-mat"), "{called:?}");
    Ok(())
}
