//! What the hub says a commit consists of. Bounded and judged before any of it is used: a hub, or a mirror of one, is anybody's server.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Hub;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs::web::{self, Wanted},
};

const MAX_DOCUMENT_BYTES: u64 = 8 << 20;
/// Repositories of models have tens of files.
const MAX_FILES: usize = 5_000;
const MAX_PAGES: usize = 20;
const MAX_PATH_BYTES: usize = 1_024;

/// Digest of a file's bytes, by how the hub keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Digest {
    /// SHA-256, of large files.
    Sha256(String),
    /// The digest of a git blob, of small ones.
    GitBlob(String),
}

/// A file as the hub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// By path.
pub(super) type Listing = BTreeMap<String, Listed>;

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: String,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

impl Hub {
    /// The commit that a revision is now.
    pub(super) fn commit(&self, repository: &str, revision: &str) -> Outcome<String> {
        let address = format!("{}/api/models/{repository}/revision/{revision}", self.endpoint);
        let (bytes, _) = self.document(&address)?;
        let found: Revision = serde_json::from_slice(&bytes).map_err(|error| strange(&address, &error.to_string()))?;
        if !hex(&found.sha, 40) {
            return Err(strange(&address, "expected `sha` with the 40 digits of a commit"));
        }
        if hex(revision, 40) && found.sha != revision {
            return Err(Failure::new(
                Exit::Tampered,
                "models.hub_revision",
                format!("`{repository}`: the hub was asked for commit {revision} and names {}", found.sha),
            ));
        }
        Ok(found.sha)
    }

    /// Every file of a commit.
    pub(super) fn listing(&self, repository: &str, commit: &str) -> Outcome<Listing> {
        let list = format!("{}/api/models/{repository}/tree/{commit}?", self.endpoint);
        let mut listing = Listing::new();
        let mut page = Some(format!("{list}recursive=true"));
        for _ in 0..MAX_PAGES {
            let Some(address) = page else { return Ok(listing) };
            let (bytes, links) = self.document(&address)?;
            let entries: Vec<Entry> = serde_json::from_slice(&bytes).map_err(|error| strange(&address, &error.to_string()))?;
            if listing.len() + entries.len() > MAX_FILES {
                return Err(strange(&address, &format!("expected at most {MAX_FILES} files")));
            }
            for entry in entries {
                add(&mut listing, entry).map_err(|problem| strange(&address, &problem))?;
            }
            page = links.as_deref().and_then(next).map(str::to_owned);
            // A token must not be sent to where a list says.
            if page.as_ref().is_some_and(|page| !page.starts_with(&list)) {
                return Err(strange(&address, "the next page is of another list"));
            }
        }
        Err(strange(&list, &format!("expected at most {MAX_PAGES} pages")))
    }

    fn document(&self, address: &str) -> Outcome<(Vec<u8>, Option<String>)> {
        let wanted =
            Wanted { address, limit: MAX_DOCUMENT_BYTES, patience: web::Patience::default(), bearer: self.token.as_deref() };
        let mut bytes = Vec::new();
        let mut keep = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let came = web::get(&wanted, &mut keep).map_err(|failure| self.explained(failure))?;
        Ok((bytes, came.links))
    }
}

fn add(listing: &mut Listing, entry: Entry) -> Result<(), String> {
    let Entry { kind, path, size, oid, lfs } = entry;
    if !plain(&path) {
        let shown: String = path.chars().take(80).collect();
        return Err(format!("`{}` is no path inside a repository", shown.escape_default()));
    }
    if kind != "file" {
        return Ok(());
    }
    let listed = match lfs {
        None if hex(&oid, 40) => Listed { size, digest: Digest::GitBlob(oid) },
        Some(large) if large.size == size => {
            let digest = large.oid.trim_start_matches("sha256:").to_owned();
            if !hex(&digest, 64) {
                return Err(format!("`{path}` has no SHA-256"));
            }
            Listed { size, digest: Digest::Sha256(digest) }
        }
        Some(large) => return Err(format!("`{path}` has two sizes, {size} and {}", large.size)),
        None => return Err(format!("`{path}` has no digest")),
    };
    match listing.insert(path, listed) {
        None => Ok(()),
        Some(_) => Err("a path is listed twice".to_owned()),
    }
}

/// A path that stays where it is put.
fn plain(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains('\\')
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The address of `Link: <…>; rel="next"`.
fn next(links: &str) -> Option<&str> {
    links.split(',').find_map(|link| {
        let (address, says) = link.split_once(';')?;
        let is_next = says.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then(|| address.trim().trim_start_matches('<').trim_end_matches('>'))
    })
}

fn strange(address: &str, problem: &str) -> Failure {
    Failure::new(Exit::Invalid, "models.hub_answer", format!("`{address}` is not what a hub answers: {problem}"))
        .hint("nothing was installed; HF_ENDPOINT names another hub")
}

#[cfg(test)]
mod tests {
    use super::{next, plain};

    #[test]
    fn only_paths_that_stay_inside_are_plain() {
        for path in ["config.json", "onnx/model.onnx", "1_Pooling/config.json", "a..b", ".gitattributes"] {
            assert!(plain(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", &"x".repeat(2_000)] {
            assert!(!plain(path), "{path}");
        }
    }

    #[test]
    fn the_next_page_is_read_of_the_header() {
        assert_eq!(next("<https://h/a?cursor=b>; rel=\"next\""), Some("https://h/a?cursor=b"));
        assert_eq!(next("<https://h/a>; rel=\"prev\", <https://h/b>; rel=\"next\""), Some("https://h/b"));
        assert_eq!(next("<https://h/a>; rel=\"prev\""), None);
        assert_eq!(next("nothing"), None);
    }
}
