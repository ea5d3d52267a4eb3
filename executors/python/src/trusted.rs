//! Our own programs that run unconfined: interpreters that are asked what they are, uv, pip. Nothing of a plugin runs here.

use std::{ffi::OsStr, path::Path, time::Duration};

/// Runs a program to its end and returns its output, or the end of what it said when it failed.
pub(crate) fn run(
    program: &Path,
    args: &[&OsStr],
    environment: &[(String, String)],
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<String, String> {
    let _ = limit;
    #[allow(clippy::disallowed_methods, reason = "replaced when sandbox::run_trusted lands")]
    let output = std::process::Command::new(program)
        .args(args)
        .env_clear()
        .envs(environment.iter().cloned())
        .output()
        .map_err(|e| e.to_string())?;
    for l in String::from_utf8_lossy(&output.stderr).lines() {
        line(l);
    }
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The few variables every program of ours gets.
pub(crate) fn plain_environment() -> Vec<(String, String)> {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("HOME", "/nonexistent")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
