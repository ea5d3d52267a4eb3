//! All tests once more without root: a server under an ordinary user has other means (user namespaces, no uids of its own).

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, process::Command};

use libtest_mimic::{Failed, Trial};

use crate::world::nix_is_root;

/// An ordinary user of every Linux machine.
const NOBODY: u32 = 65534;

/// Nothing where the tests run as an ordinary user already.
pub(crate) fn trials() -> Vec<Trial> {
    if !nix_is_root() {
        return Vec::new();
    }
    vec![Trial::test("everything_again_as_an_ordinary_user", again)]
}

fn again() -> Result<(), Failed> {
    let home = tempfile::Builder::new().prefix("ordinary-").tempdir_in("/tmp")?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY))?;
    let own = home.path().join("tests");
    fs::copy(std::env::current_exe()?, &own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(&own);
    command.args(["--test-threads", "2"]).env("HOME", home.path()).env("TMPDIR", home.path()).current_dir(home.path());
    let output = command.uid(NOBODY).gid(NOBODY).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = text.rsplit("test result: ok. ").next().and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    if output.status.success() && passed.is_some_and(|count| count > 50) {
        return Ok(());
    }
    Err(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}
