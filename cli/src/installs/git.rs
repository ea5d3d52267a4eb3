//! A plugin from a repository, at a tag, branch or commit: `git` fetches one commit into a folder of ours and writes its files out.
//!
//! Nothing of the repository runs: no hooks, no filters, no submodules, no configuration of the user's or the machine's, and no transport but
//! https and files of this machine. What a server sends is bounded while it comes, in one file's bytes, in memory and in time; what lies in the
//! commit is listed and judged (`tree.rs`) before a byte of it is written out. Its files are then a folder like any other, packed and judged
//! by the same rules.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use registry::limits::MAX_PACKAGE_BYTES;
use sandbox::{Ceiling, TrustedError, TrustedRun, run_trusted};

use super::{
    fetch::{Fetched, pack},
    tree::Tree,
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

const LIMIT: Duration = Duration::from_secs(180);
/// How much of git's words is kept.
const WORDS: usize = 600;
/// A commit comes in one pack, which is no larger than a package; an object that git must hold whole fits into this much memory, or is given up.
const CEILING: Ceiling = Ceiling { file_bytes: Some(MAX_PACKAGE_BYTES), data_bytes: Some(384 << 20) };
/// Before whatever the repository says of its files: their bytes are what was committed.
const ATTRIBUTES: &str = "* -text -eol -ident -filter -working-tree-encoding\n";
/// Everything that git reads of configuration. `protocol.allow=never` closes `ext::`, ssh, git:// and whatever a later git knows;
/// `unpackLimit` has few objects come in a pack, too: each by itself would be a file, under a ceiling of its own;
/// `bigFileThreshold` and `window` have large files pass through, and nothing searched for likenesses, where this machine is the server.
const CONFIG: &str = "[protocol]\n\tallow = never\n[protocol \"https\"]\n\tallow = always\n[protocol \"file\"]\n\tallow = always\n\
                      [safe]\n\tdirectory = *\n[core]\n\tbigFileThreshold = 1m\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tsymlinks = true\n\tautocrlf = false\n\
                      [transfer]\n\tfsckObjects = true\n\tunpackLimit = 1\n[fetch]\n\tunpackLimit = 1\n[submodule]\n\trecurse = false\n[http]\n\tfollowRedirects = initial\n\
                      [credential]\n\thelper =\n[pack]\n\tthreads = 1\n\twindow = 0\n[gc]\n\tauto = 0\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n";

/// Fetches a commit and makes a package of it.
pub(crate) fn fetch(settings: &Settings, url: &str, revision: Option<&str>) -> Outcome<Fetched> {
    let address = address(url)?;
    let revision = revision.unwrap_or("HEAD");
    check_revision(revision)?;
    let cache = &settings.places.cache;
    crate::operator::private_folder(cache)?;
    let made = tempfile::Builder::new().prefix(".git-").tempdir_in(cache);
    let work = made.map_err(|error| Failure::file("make a folder in", cache, &error))?;
    let config = work.path().join("config");
    fs::write(&config, CONFIG).map_err(|error| Failure::file("write", &config, &error))?;
    let git = Git { work: work.path() };
    let (repository, files) = (work.path().join("repository"), work.path().join("files"));
    fs::create_dir(&files).map_err(|error| Failure::file("make", &files, &error))?;
    let (repository_word, files_word) = (repository.display().to_string(), files.display().to_string());
    git.run(&["init", "--quiet", "--bare", "--template=", &repository_word])?;
    let info = repository.join("info");
    let attributes = || fs::create_dir_all(&info).and_then(|()| fs::write(info.join("attributes"), ATTRIBUTES));
    attributes().map_err(|error| Failure::file("write", &info, &error))?;
    let inside = format!("--git-dir={repository_word}");
    git.run(&[&inside, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", &address, revision])?;
    let commit = git.run(&[&inside, "rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}"])?.trim().to_owned();
    git.judge(&inside, &commit)?;
    let tree = format!("--work-tree={files_word}");
    git.run(&[&inside, &tree, "checkout", "--quiet", "--force", &commit, "--", "."])?;
    let bundle = pack(&files)?;
    let named = if revision == commit { String::new() } else { format!("?rev={revision}") };
    Ok(Fetched { bundle, source: format!("git+{url}{named}#{commit}"), remarks: Vec::new() })
}

/// https, or a folder of this machine.
fn address(url: &str) -> Outcome<String> {
    if let Some(path) = url.strip_prefix("file://") {
        return Ok(format!("file://{path}"));
    }
    if url.starts_with("https://") {
        return super::web::allowed(url).map(|url| url.to_string());
    }
    Err(Failure::new(Exit::Usage, "install.unsupported", format!("a repository at `{url}` can't be installed from"))
        .hint("expected git+https://… or git+file:///…; one that needs a key is cloned first, and installed from its folder"))
}

/// A name or a commit: never something that git would take for a flag or a refspec.
fn check_revision(revision: &str) -> Outcome {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '/' | '+');
    let fits = !revision.is_empty()
        && revision.len() <= 200
        && revision.chars().all(plain)
        && !revision.starts_with(['-', '+'])
        && !revision.contains("..");
    if fits { Ok(()) } else { Err(Failure::usage("install.revision", format!("`{revision}` is no tag, branch or commit"))) }
}

struct Git<'a> {
    work: &'a Path,
}

impl Git<'_> {
    fn run(&self, args: &[&str]) -> Outcome<String> {
        let output = run_trusted(&self.command(args, None), |_| {}).map_err(|error| not_run(&error))?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failed(output.stderr.trim())) }
    }

    /// Goes over what lies in a commit, no further than to what is too much. A few small trees may name each other so often that a whole
    /// list would never end.
    fn judge(&self, inside: &str, commit: &str) -> Outcome {
        let enough = Arc::new(AtomicBool::new(false));
        let mut tree = Tree::default();
        let run = self.command(&[inside, "ls-tree", "-r", "-t", "-l", "--full-tree", commit], Some(enough.clone()));
        let listed = run_trusted(&run, |line| enough.store(!tree.take(line), Ordering::Relaxed));
        tree.judged()?;
        let output = listed.map_err(|error| not_run(&error))?;
        if output.status.success() { Ok(()) } else { Err(self.failed(output.stderr.trim())) }
    }

    fn command(&self, args: &[&str], cancel: Option<Arc<AtomicBool>>) -> TrustedRun {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
        let config = self.work.join("config");
        let mut env: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path),
            ("HOME".into(), self.work.into()),
            ("GIT_CONFIG_GLOBAL".into(), config.into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            ("GIT_ATTR_NOSYSTEM".into(), "1".into()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
            ("GIT_ASKPASS".into(), "false".into()),
            ("GIT_LFS_SKIP_SMUDGE".into(), "1".into()),
            ("GIT_OPTIONAL_LOCKS".into(), "0".into()),
            ("LC_ALL".into(), "C".into()),
        ];
        for name in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            env.extend(std::env::var_os(name).map(|value| (name.into(), value)));
        }
        TrustedRun {
            program: "git".into(),
            args: args.iter().map(OsString::from).collect(),
            env,
            cwd: Some(self.work.to_owned()),
            timeout: LIMIT,
            cancel,
            ceiling: CEILING,
        }
    }

    /// How git's failure ends the program. What came up against a ceiling is told by the file that it left, or by git's words.
    fn failed(&self, said: &str) -> Failure {
        let packs = fs::read_dir(self.work.join("repository/objects/pack")).into_iter().flatten().flatten();
        let full = packs.filter_map(|entry| entry.metadata().ok()).any(|metadata| metadata.len() >= MAX_PACKAGE_BYTES);
        let too_large = |what: String| Failure::new(Exit::Invalid, "fetch.too_large", what).hint("nothing of it was kept");
        if full || said.contains("File too large") {
            return too_large(format!("the commit has more than {} MiB as its server packs it", MAX_PACKAGE_BYTES >> 20));
        }
        if ["out of memory", "malloc failed", "mmap failed"].iter().any(|word| said.to_lowercase().contains(word)) {
            return too_large("what the server sent unfolds to more than git may hold in memory".to_owned());
        }
        let tail: String = said.chars().skip(said.chars().count().saturating_sub(WORDS)).collect();
        let message = format!("the repository could not be fetched: {}", crate::clean::line(&tail));
        Failure::new(Exit::NotFound, "install.git", message).hint("is there such a repository with such a tag, branch or commit?")
    }
}

fn not_run(error: &TrustedError) -> Failure {
    let hint = match error {
        TrustedError::Start { .. } => "git must be installed to install from a repository",
        _ => "its server may be slow; what is on this machine is installed from its folder",
    };
    Failure::new(Exit::Unavailable, "install.git", format!("the repository could not be fetched: {error}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::{address, check_revision};

    #[test]
    fn no_word_becomes_a_flag_or_another_transport() {
        for revision in ["v1.0", "main", "feature/x", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in ["--upload-pack=sh", "-x", "+refs/heads/*", "a..b", "a b", "a:b", "", "a\nb", "$(sh)"] {
            assert!(check_revision(revision).is_err(), "{revision}");
        }
        for url in ["ext::sh -c id", "ssh://x/y", "git@x:y", "git://x/y", "http://example.org/x", "/etc", "-x"] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
