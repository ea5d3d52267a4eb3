//! Ended at any moment, or on a full or failing disk: what is installed is what it was, or what it was to become.
//!
//! `strace` ends the program, or makes one call of it fail, at every call of every kind that changes a disk, one run each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{installs::Life, run::BINARY};

/// The calls by which files and folders change.
const CALLS: [&str; 20] = [
    "write",
    "writev",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "ftruncate",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "fchmod",
    "chmod",
    "fchmodat",
    // Those that make a file.
    "openat",
];
const FAULTS: [&str; 3] = ["signal=KILL", "error=ENOSPC", "error=EIO"];

/// One operation on a prepared home.
struct Trial {
    /// The home before.
    before: PathBuf,
    args: Vec<String>,
    old: State,
    new: State,
    /// What `list` shows of either.
    shown: [serde_json::Value; 2],
    work: tempfile::TempDir,
}

/// What counts: the lockfile, the grants, the configuration.
type State = [Option<String>; 3];

fn state(home: &Path) -> State {
    ["data/pegboard.lock", "config/grants.yaml", "config/config/held.yaml"].map(|file| fs::read_to_string(home.join(file)).ok())
}

fn copied(from: &Path, to: &Path) {
    let _ = Command::new("rm").arg("-rf").arg(to).status().unwrap();
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn program(home: &Path, before: &[&str], args: &[String]) -> Output {
    let mut words: Vec<&str> = before.to_vec();
    words.push(BINARY);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(args).arg("--home").arg(home).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", home).env("PEGBOARD_NO_BUNDLED", "true").stdin(std::process::Stdio::null()).output().unwrap()
}

/// What somebody sees who only looks.
fn look(home: &Path) -> serde_json::Value {
    let output = program(home, &[], &["list".to_owned(), "--json".to_owned()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let plugins = listed["plugins"].as_array().unwrap().iter();
    plugins.map(|plugin| serde_json::json!([plugin["name"], plugin["version"], plugin["state"]])).collect()
}

impl Trial {
    /// `args` on a copy of `home`, which stays as it is.
    fn new(home: &Path, args: &[&str]) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (before, after) = (work.path().join("before"), work.path().join("after"));
        copied(home, &before);
        copied(home, &after);
        let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        let output = program(&after, &[], &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (old, new) = (state(&before), state(&after));
        assert_ne!(old, new);
        let shown = [look(&before), look(&after)];
        assert_eq!([state(&before), state(&after)], [old.clone(), new.clone()], "looking changed something");
        Self { before, args, old, new, shown, work }
    }

    /// Which of the operation's calls of each kind, counted from one, change something.
    fn points(&self) -> Vec<(&'static str, Vec<usize>)> {
        let (home, log) = (self.work.path().join("counted"), self.work.path().join("log"));
        copied(&self.before, &home);
        let log_word = log.display().to_string();
        let trace = format!("trace={}", CALLS.join(","));
        let output = program(&home, &["strace", "-f", "-qq", "-o", &log_word, "-e", &trace], &self.args);
        assert!(output.status.success(), "is strace here? {}", String::from_utf8_lossy(&output.stderr));
        let log = fs::read_to_string(log).unwrap();
        let changes = |call: &str| {
            let calls = log.lines().filter(|line| line.contains(&format!(" {call}("))).enumerate();
            calls.filter(|(_, line)| call != "openat" || line.contains("O_CREAT")).map(|(index, _)| index + 1).collect()
        };
        CALLS.map(|call| (call, changes(call))).into()
    }

    /// One run with one fault.
    fn run(&self, call: &str, fault: &str, at: usize) {
        let case = format!("{:?}: {fault} at {call} {at}", self.args.first());
        let home = self.work.path().join(format!("{call}-{at}-{}", fault.replace('=', "-")));
        copied(&self.before, &home);
        let inject = format!("inject={call}:{fault}:when={at}");
        let output = program(
            &home,
            &["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject],
            &self.args,
        );
        // Who comes next and only looks sees the old state or the new one, whole.
        let seen = look(&home);
        let found = state(&home);
        let (is_old, is_new) = (found == self.old, found == self.new);
        assert!(is_old || is_new, "{case}: neither old nor new: {found:?}");
        assert_eq!(seen, self.shown[usize::from(is_new)], "{case}");
        assert!(!home.join("data/.commit").exists(), "{case}: the journal is left");
        // The next command that writes changes nothing of it, and lacks nothing.
        let next = program(&home, &[], &["sync".to_owned(), "--json".to_owned()]);
        assert!(next.status.success(), "{case}: {}", String::from_utf8_lossy(&next.stdout));
        let next: serde_json::Value = serde_json::from_slice(&next.stdout).unwrap();
        assert_eq!(next["fetched"], serde_json::json!([]), "{case}");
        assert_eq!(state(&home), found, "{case}");
        assert!(!output.status.success() || is_new, "{case}: it said that it was done");
        if is_old {
            // What is left behind is in nobody's way.
            let again = program(&home, &[], &self.args);
            assert!(again.status.success(), "{case}: again: {}", String::from_utf8_lossy(&again.stderr));
            assert_eq!(state(&home), self.new, "{case}: again");
        }
        for folder in ["data", "data/store", "data/kept", "config", "config/config"] {
            let left = fs::read_dir(home.join(folder)).into_iter().flatten().flatten();
            let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
            assert!(!left.iter().any(|name| name.starts_with(".new-")), "{case}: left in {folder}: {left:?}");
        }
        assert!(Command::new("rm").arg("-rf").arg(&home).status().unwrap().success());
    }

    fn whole(&self) {
        let mut runs = 0;
        for (call, points) in self.points() {
            for at in points {
                for fault in FAULTS {
                    self.run(call, fault, at);
                    runs += 1;
                }
            }
        }
        assert!(runs > 60, "only {runs} runs: were the calls counted?");
    }
}

/// A home with the first release, granted and configured; the package that it came from is the second one by now.
fn installed() -> (Life, String) {
    let life = Life::new();
    let package = life.package("1.0.0", "system_info", "Says it").display().to_string();
    life.ok(&["install", &package, "--yes", "--allow", "system_info"]);
    life.ok(&["grant", "held", "system_info", "--yes"]);
    life.ok(&["config", "set", "held", "units", "metric"]);
    let second = life.source("2.0.0", "system_info, database_access", "Says it").display().to_string();
    life.ok(&["package", &second, "-o", &package]);
    (life, package)
}

/// The same after the update, with other grants and another configuration.
fn updated() -> Life {
    let (life, _) = installed();
    life.ok(&["update", "--yes", "--allow", "database_access"]);
    life.ok(&["grant", "held", "system_info", "database_access", "--yes"]);
    life.ok(&["config", "keep", "held"]);
    life.ok(&["config", "set", "held", "units", "imperial"]);
    life
}

/// The home alone, without the sources beside it.
fn home(life: &Life) -> PathBuf {
    let home = life.home.path().join("bare");
    fs::create_dir_all(&home).unwrap();
    for part in ["config", "data"] {
        let from = life.home.path().join(part);
        if from.exists() {
            copied(&from, &home.join(part));
        }
    }
    home
}

#[test]
fn an_install_is_whole_or_not_at_all() {
    let life = Life::new();
    let package = life.package("1.0.0", "", "Says it").display().to_string();
    Trial::new(&home(&life), &["install", &package, "--yes"]).whole();
}

#[test]
fn an_update_is_whole_or_not_at_all() {
    let (life, _) = installed();
    Trial::new(&home(&life), &["update", "--yes", "--allow", "database_access"]).whole();
}

#[test]
fn a_rollback_is_whole_or_not_at_all() {
    Trial::new(&home(&updated()), &["rollback", "held"]).whole();
}

#[test]
fn an_uninstall_is_whole_or_not_at_all() {
    Trial::new(&home(&updated()), &["uninstall", "held"]).whole();
}
