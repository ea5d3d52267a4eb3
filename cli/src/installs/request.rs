//! What someone asks to be installed: a folder, a package, an address, a repository, or a name of an index. Words only; nothing is looked at.

use std::path::PathBuf;

use manifest_schema::PluginName;
use semver::{Version, VersionReq};

use crate::failure::{Failure, Outcome};

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// A folder or a package of this machine.
    Path(PathBuf),
    /// A package at an address.
    Address(String),
    /// A repository at a tag, branch or commit.
    Repository { url: String, revision: Option<String> },
    /// A name of an index.
    Named { name: PluginName, wanted: Wanted },
}

/// Which versions of a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// This one, whatever its channel.
    Exactly(Version),
    /// The newest of these.
    Among(VersionReq),
}

impl Request {
    /// Reads the word of a command line, or the source that a lockfile keeps.
    pub(crate) fn parse(word: &str) -> Outcome<Self> {
        if let Some(path) = word.strip_prefix("file:").or_else(|| word.strip_prefix("folder:")) {
            return Ok(Self::Path(PathBuf::from(path)));
        }
        if let Some(rest) = word.strip_prefix("git+") {
            return repository(rest);
        }
        if let Some(rest) = word.strip_prefix("marketplace://") {
            return named(rest);
        }
        if word.starts_with("http://") || word.starts_with("https://") {
            return Ok(Self::Address(word.to_owned()));
        }
        if let Some((scheme, _)) = word.split_once("://") {
            return Err(Failure::usage("install.scheme", format!("nothing can be installed from `{scheme}://`"))
                .hint("expected a path, https://…, git+https://…@TAG, NAME@VERSION or marketplace://NAME@VERSION"));
        }
        let is_path = word.contains('/') || word.starts_with('.') || word.ends_with(".zip");
        if is_path { Ok(Self::Path(PathBuf::from(word))) } else { named(word) }
    }
}

fn repository(word: &str) -> Outcome<Request> {
    // What a lockfile keeps: the commit that it was, whatever the tag says today.
    if let Some((url, commit)) = word.split_once('#') {
        let url = url.split_once("?rev=").map_or(url, |(url, _)| url);
        return Ok(Request::Repository { url: url.to_owned(), revision: Some(commit.to_owned()) });
    }
    let after = word.rfind('/').map_or(0, |at| at + 1);
    let (url, revision) = match word.get(after..).and_then(|last| last.rfind('@')) {
        Some(at) => (word.get(..after + at).unwrap_or(word), word.get(after + at + 1..).map(str::to_owned)),
        None => (word, None),
    };
    Ok(Request::Repository { url: url.to_owned(), revision: revision.filter(|revision| !revision.is_empty()) })
}

fn named(word: &str) -> Outcome<Request> {
    let (name, version) = word.split_once('@').map_or((word, None), |(name, version)| (name, Some(version)));
    let name = PluginName::parse(name).map_err(|error| {
        Failure::usage("plugin.name", format!("the plugin name `{name}` {error}"))
            .hint("a path needs a `/`: ./folder or ./package.zip")
    })?;
    Ok(Request::Named { name, wanted: version.map_or(Ok(Wanted::Among(VersionReq::STAR)), wanted)? })
}

fn wanted(text: &str) -> Outcome<Wanted> {
    if let Ok(version) = Version::parse(text) {
        return Ok(Wanted::Exactly(version));
    }
    VersionReq::parse(text).map(Wanted::Among).map_err(|error| {
        Failure::usage("install.version", format!("`{text}` is no version: {error}")).hint("for example NAME@1.2.0 or NAME@^1.2")
    })
}

#[cfg(test)]
mod tests {
    use super::{Request, Wanted};

    #[test]
    fn every_form_is_told_apart() {
        let git = |url: &str, revision: Option<&str>| Request::Repository {
            url: url.to_owned(),
            revision: revision.map(str::to_owned),
        };
        for (word, expected) in [
            ("./a", Request::Path("./a".into())),
            ("a.zip", Request::Path("a.zip".into())),
            ("/x/a", Request::Path("/x/a".into())),
            ("folder:/x/a", Request::Path("/x/a".into())),
            ("https://example.org/a.zip", Request::Address("https://example.org/a.zip".to_owned())),
            ("git+https://example.org/a.git@v1.0", git("https://example.org/a.git", Some("v1.0"))),
            ("git+https://me@example.org/a.git", git("https://me@example.org/a.git", None)),
            ("git+https://example.org/a?rev=v1#0123", git("https://example.org/a", Some("0123"))),
        ] {
            assert_eq!(Request::parse(word).unwrap(), expected, "{word}");
        }
        for (word, exact) in [("a@1.0.0", true), ("a@^1.2", false), ("a", false), ("marketplace://a@1.0.0", true)] {
            let Request::Named { name, wanted } = Request::parse(word).unwrap() else { panic!("{word}") };
            assert_eq!((name.as_str(), matches!(wanted, Wanted::Exactly(_))), ("a", exact), "{word}");
        }
        for word in ["ftp://x/y", "A Name", "a@one", "ssh://x"] {
            assert!(Request::parse(word).is_err(), "{word}");
        }
    }
}
