//! Repositories: a plugin from one, and hostile ones: what a server sends and what a commit unfolds to is bounded before it is written. Each beside a commit of the same
//! repository that installs.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::installs::Life;

/// No bomb takes longer to be refused.
const SOON: Duration = Duration::from_secs(120);

/// A repository whose branch `good` installs.
struct Repository {
    life: Life,
    folder: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let life = Life::new();
        let folder = life.source("1.0.0", "", "Says it");
        let repository = Self { life, folder };
        repository.git(&["init", "-q", "-b", "good"], b"");
        repository.git(&["config", "core.compression", "1"], b"");
        repository.git(&["add", "."], b"");
        repository.git(&["commit", "-q", "-m", "one"], b"");
        repository
    }

    /// Runs git in the repository, as its author; returns what it prints.
    fn git(&self, args: &[&str], input: &[u8]) -> String {
        self.git_fed(args, |pipe| pipe.write_all(input))
    }

    fn git_fed(&self, args: &[&str], feed: impl FnOnce(&mut std::process::ChildStdin) -> std::io::Result<()>) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"]).arg(&self.folder).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A program that does not read its input may be gone already.
        let _ = feed(&mut pipe);
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Stores so many times the same byte, or noise.
    fn blob(&self, bytes: usize, noise: bool) -> String {
        self.git_fed(&["hash-object", "-w", "--stdin"], |pipe| {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
            let mut left = bytes;
            while left > 0 {
                let mut piece = vec![b'a'; left.min(1 << 16)];
                if noise {
                    piece.chunks_mut(8).for_each(|eight| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let eight_more = (state ^ (state >> 29)).to_le_bytes();
                        eight.copy_from_slice(&eight_more[..eight.len()]);
                    });
                }
                pipe.write_all(&piece)?;
                left -= piece.len();
            }
            Ok(())
        })
    }

    /// A tree of the good commit's files and these lines of `git mktree`.
    fn with(&self, lines: &str) -> String {
        let good = self.git(&["ls-tree", "good"], b"");
        self.git(&["mktree"], format!("{good}\n{lines}").as_bytes())
    }

    fn branch(&self, name: &str, tree: &str) {
        let commit = self.git(&["commit-tree", "-m", name, tree], b"");
        self.git(&["update-ref", &format!("refs/heads/{name}"), &commit], b"");
    }

    /// The branch is refused, soon, with nothing left of it; the good one installs.
    #[track_caller]
    fn refuses(&self, branch: &str, code: i32, word: &str, says: &str) {
        let url = format!("git+file://{}", self.folder.display());
        let begun = Instant::now();
        let refused = self.life.refused(&["install", &format!("{url}@{branch}"), "--yes"], code, word);
        assert!(begun.elapsed() < SOON, "{branch} took {:?}", begun.elapsed());
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
        let cache = self.life.home.path().join("cache");
        let left: Vec<_> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.starts_with(".git-")), "{left:?}");
        assert_eq!(self.life.lockfile(), "");
        self.life.ok(&["install", &format!("{url}@good"), "--yes"]);
        self.life.ok(&["uninstall", "held"]);
        fs::remove_file(self.life.home.path().join("data/pegboard.lock")).unwrap();
    }
}

#[test]
fn a_plugin_comes_from_a_repository() {
    let repository = Repository::new();
    let Repository { life, folder: source } = &repository;
    let git = |args: &[&str]| repository.git(args, b"");
    // What a hostile repository would have run.
    let ran = life.home.path().join("ran");
    fs::write(source.join(".gitattributes"), "*.py filter=evil\n").unwrap();
    fs::write(source.join(".gitmodules"), "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% ran\n").unwrap();
    git(&["config", "filter.evil.smudge", &format!("touch {}", ran.display())]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v1.0.0"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let url = format!("git+file://{}", source.display());
    life.ok(&["install", &format!("{url}@v1.0.0"), "--yes"]);
    life.says("1.0.0");
    assert!(life.lockfile().contains(&format!("?rev=v1.0.0#{commit}")), "{}", life.lockfile());
    assert!(!ran.exists());
    life.ok(&["uninstall", "held"]);
    life.ok(&["install", &format!("{url}@{commit}"), "--yes"]);
    life.refused(&["install", &format!("{url}@v9"), "--yes"], 5, "install.git");
    life.refused(&["install", "git+ext::sh -c id", "--yes"], 2, "install.unsupported");
    life.refused(&["install", &format!("{url}@--upload-pack=touch"), "--yes"], 2, "install.revision");
    std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "two"]);
    life.refused(&["install", &url, "--yes"], 3, "package.invalid");
}

/// So many names for one thing.
fn names(kind: &str, id: &str, count: usize) -> String {
    (0..count).map(|number| format!("{kind} {id}\tn{number:05}\n")).collect()
}

#[test]
fn trees_that_name_each_other_without_end_are_refused() {
    let repository = Repository::new();
    let blob = repository.blob(10, false);
    // A thousand million files, and as many folders without one.
    let empty = repository.git(&["mktree"], b"");
    let grown =
        |first: String| (0..9).fold(first, |tree, _| repository.git(&["mktree"], names("040000 tree", &tree, 10).as_bytes()));
    let leaves = grown(repository.git(&["mktree"], names("100644 blob", &blob, 10).as_bytes()));
    for (branch, tree) in [("leaves", leaves), ("folders", grown(empty))] {
        repository.branch(branch, &repository.with(&format!("040000 tree {tree}\tdeep\n")));
        repository.refuses(branch, 3, "package.invalid", "2000 files");
    }
}

#[test]
fn one_blob_under_many_names_counts_each_time() {
    let repository = Repository::new();
    let small = repository.blob(10, false);
    repository.branch("many", &repository.with(&names("100644 blob", &small, 2_001)));
    repository.refuses("many", 3, "package.invalid", "2000 files");
    let large = repository.blob(8 << 20, false);
    repository.branch("large", &repository.with(&names("100644 blob", &large, 9)));
    repository.refuses("large", 3, "package.invalid", "67108864 bytes together");
}

#[test]
fn a_file_that_unfolds_is_not_unfolded() {
    let repository = Repository::new();
    let blob = repository.blob(300 << 20, false);
    repository.branch("bomb", &repository.with(&names("100644 blob", &blob, 1)));
    repository.refuses("bomb", 3, "package.invalid", "67108864 bytes together");
}

#[test]
fn what_a_server_sends_has_an_end() {
    let repository = Repository::new();
    let lines: String =
        (0..5).map(|number| format!("100644 blob {}\tnoise{number}\n", repository.blob((14 << 20) + number, true))).collect();
    repository.branch("long", &repository.with(&lines));
    repository.refuses("long", 3, "fetch.too_large", "64 MiB");
}

#[test]
fn a_commit_that_fills_the_memory_is_given_up() {
    let repository = Repository::new();
    let tree = repository.git(&["rev-parse", "good^{tree}"], b"");
    let id = repository.git_fed(&["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], |pipe| {
        write!(pipe, "tree {tree}\nauthor t <t@e> 1 +0000\ncommitter t <t@e> 1 +0000\n\n")?;
        let piece = vec![b'a'; 1 << 20];
        (0..400).try_for_each(|_| pipe.write_all(&piece))
    });
    repository.git(&["update-ref", "refs/heads/words", &id], b"");
    repository.refuses("words", 3, "fetch.too_large", "memory");
}

#[test]
fn a_repository_inside_a_repository_is_no_file() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "good"], b"");
    repository.branch("inner", &repository.with(&format!("160000 commit {commit}\tinner\n")));
    repository.refuses("inner", 3, "package.invalid", "`inner` is a repository inside");
}

#[test]
fn files_have_the_bytes_that_were_committed() {
    let repository = Repository::new();
    fs::write(repository.folder.join(".gitattributes"), "* text eol=crlf ident\n*.txt working-tree-encoding=UTF-16\n").unwrap();
    let text = "one\n$Id$\n";
    for name in ["notes.md", "notes.txt"] {
        let blob = repository.git(&["hash-object", "-w", "--stdin", "--no-filters"], text.as_bytes());
        repository.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{name}")], b"");
    }
    repository.git(&["add", ".gitattributes"], b"");
    repository.git(&["commit", "-q", "-m", "two"], b"");
    repository.life.ok(&["install", &format!("git+file://{}", repository.folder.display()), "--yes"]);
    let stored = fs::read_dir(repository.life.home.path().join("data/store")).unwrap().next().unwrap().unwrap().path();
    for name in ["notes.md", "notes.txt"] {
        assert_eq!(fs::read_to_string(stored.join(name)).unwrap(), text, "{name}");
    }
}
