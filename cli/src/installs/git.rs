//! A plugin from a repository, at a tag, branch or commit: `git` fetches one commit into a folder of ours and writes its files out.
//!
//! Nothing of the repository runs: no hooks, no filters, no submodules, no configuration of the user's or the machine's, and no transport but
//! https and files of this machine. Its files are then a folder like any other, packed and judged by the same rules.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use sandbox::{TrustedRun, run_trusted};

use super::fetch::{Fetched, pack};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

const LIMIT: Duration = Duration::from_secs(180);
/// How much of git's words is kept.
const WORDS: usize = 600;
/// Everything that git reads of configuration. `protocol.allow=never` closes `ext::`, ssh, git:// and whatever a later git knows.
const CONFIG: &str = "[protocol]\n\tallow = never\n[protocol \"https\"]\n\tallow = always\n[protocol \"file\"]\n\tallow = always\n\
                      [safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tsymlinks = true\n\tautocrlf = false\n\
                      [transfer]\n\tfsckObjects = true\n[submodule]\n\trecurse = false\n[http]\n\tfollowRedirects = initial\n\
                      [credential]\n\thelper =\n[gc]\n\tauto = 0\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n";

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
    let inside = format!("--git-dir={repository_word}");
    git.run(&[&inside, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", &address, revision])?;
    let commit = git.run(&[&inside, "rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}"])?.trim().to_owned();
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
        let run = TrustedRun {
            program: "git".into(),
            args: args.iter().map(OsString::from).collect(),
            env,
            cwd: Some(self.work.to_owned()),
            timeout: LIMIT,
            cancel: None,
        };
        let output = run_trusted(&run, |_| {}).map_err(|error| {
            Failure::new(Exit::Unavailable, "install.git", format!("the repository could not be fetched: {error}"))
                .hint("git must be installed to install from a repository")
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = output.stderr.trim();
        let tail: String = said.chars().skip(said.chars().count().saturating_sub(WORDS)).collect();
        Err(Failure::new(
            Exit::NotFound,
            "install.git",
            format!("the repository could not be fetched: {}", crate::clean::line(&tail)),
        )
        .hint("is there such a repository with such a tag, branch or commit?"))
    }
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
