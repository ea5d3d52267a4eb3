//! Questions to a person: asked on a terminal, answered there, and never taken for granted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
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
    let (mut person, program) = terminal()?;
    let mut command = Command::new(binary()?);
    command.args(arguments).args(home.arguments()).env("NO_COLOR", "1");
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
