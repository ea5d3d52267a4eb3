//! Running a program of ours or others: its output goes to a log, its end into an answer.
//!
//! Knows nothing of what is run. Lines `could-not-run: NAME: WHY` in an output are collected: a test that can't run on a machine says so this
//! way, and is never counted as passed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// How many lines of a failed program's output are shown.
const SHOWN: usize = 100;

/// Where the repository is, and where builds and set-up go.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Everything that `cargo xtask` makes: virtual environments, node packages, logs.
    pub(crate) work: PathBuf,
}

impl Checkout {
    /// Found from where this crate was compiled.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate has no parent folder")?.to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let work = target.join("xtask");
        fs::create_dir_all(work.join("logs")).with_context(|| format!("cannot make `{}`", work.display()))?;
        Ok(Self { root, target, work })
    }

    /// The log of a step.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.work.join("logs").join(format!("{name}.log"))
    }

    /// A command that runs at the root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// `cargo` with these arguments, at the root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        command
    }
}

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran and passed; with a few words on what ran.
    Passed(String),
    /// It ran and did not pass; with what to look at.
    Failed(String),
    /// This machine can't run it, or part of it; with the reasons.
    CouldNotRun(Vec<String>),
}

/// Runs programs one after the other into one log and stops at the first that fails.
pub(crate) fn all(log: &Path, limit: Duration, commands: Vec<Command>) -> Result<Outcome> {
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    for mut command in commands {
        if let Some(failure) = one(&mut command, &file, limit)? {
            return Ok(Outcome::Failed(format!("{failure}; the end of {}:\n{}", log.display(), tail(log))));
        }
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let missing: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("could-not-run: ")).map(str::to_owned).collect();
    if missing.is_empty() { Ok(Outcome::Passed(summary(&text))) } else { Ok(Outcome::CouldNotRun(missing)) }
}

/// Runs one program; says what went wrong, if anything did. Exit code 3 means that it told what could not run.
fn one(command: &mut Command, log: &File, limit: Duration) -> Result<Option<String>> {
    let shown = format!("{command:?}");
    let shown = shown.split_once("&& ").map_or(shown.as_str(), |(_, rest)| rest).to_owned();
    let began = Instant::now();
    let mut child = command
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .map_err(|error| anyhow!("cannot start {shown}: {error}"))?;
    loop {
        if let Some(status) = child.try_wait()? {
            let fine = status.success() || status.code() == Some(3);
            return Ok((!fine).then(|| format!("{shown} ended with {status}")));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("{shown} was stopped after {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// The test counts in an output, added up: cargo's and pytest's closing lines, and our own programs' (`checks: 3 passed, 0 failed`).
fn summary(text: &str) -> String {
    let (mut passed, mut runs) = (0_u64, 0);
    for line in text.lines() {
        let line = line.trim_matches(|c: char| c == '=' || c.is_whitespace());
        let counted = line.strip_prefix("test result: ok. ").or_else(|| line.strip_prefix("checks: ")).or_else(|| {
            let pytest = line.contains(" passed") && line.contains(" in ") && line.starts_with(|c: char| c.is_ascii_digit());
            pytest.then_some(line)
        });
        let number =
            counted.and_then(|counted| counted.split(" passed").next()).and_then(|number| number.trim().parse::<u64>().ok());
        if let Some(number) = number {
            (passed, runs) = (passed + number, runs + 1);
        }
    }
    if runs == 0 { String::new() } else { format!("{passed} passed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let text = "test result: ok. 12 passed; 0 failed; 0 ignored\n===== 5 passed in 0.31s =====\nchecks: 3 passed, 0 failed\nnothing 9 passed\n";
        assert_eq!(summary(text), "20 passed");
        assert_eq!(summary("Compiling"), "");
    }

    #[test]
    fn an_output_decides_the_outcome() {
        let folder = std::env::temp_dir().join(format!("pegboard-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let log = folder.join("log");
            all(&log, Duration::from_secs(5), vec![command]).unwrap()
        };
        let outcomes = (sh("true"), sh("echo boom; exit 1"), sh("echo 'could-not-run: cgroups: no v2' >&2"), sh("exec sleep 60"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(outcomes.0, Outcome::Passed(_)));
        assert!(matches!(&outcomes.1, Outcome::Failed(why) if why.contains("boom")));
        assert!(matches!(&outcomes.2, Outcome::CouldNotRun(why) if why == &["cgroups: no v2"]));
        assert!(matches!(&outcomes.3, Outcome::Failed(why) if why.contains("stopped after 5 s")));
    }
}
