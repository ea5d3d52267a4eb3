//! Models from the model hub, by its plain HTTP interface: a revision becomes a commit, the commit's list says size and digest of each file, and
//! what comes is held against the list. Nothing that comes is believed before that; whatever is wrong, nothing is installed.
//!
//! fastembed has a client of its own for this, which would bring a second TLS stack with roots of its own into the program.

mod blob;
mod listing;

use std::{env, fs, path::Path};

use index::HubModel;

use self::listing::Listed;
use super::{
    Heard,
    gather::{GRAPH, MAX_DATA_BYTES, MAX_FILE_BYTES, POOLING, TOKENIZER_FILES, WEIGHTS},
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs::web,
    settings::Settings,
};

/// What a repository moves to when nothing else is said.
const REVISION: &str = "main";
/// Tokenizers of many languages have tens of megabytes.
const MAX_CONFIG_BYTES: u64 = 64 << 20;
const MAX_REVISION: usize = 100;

/// What is wanted of a repository.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) repository: &'a str,
    revision: Option<&'a str>,
    files: Vec<Needed>,
}

/// One file of it.
#[derive(Debug)]
struct Needed {
    path: String,
    /// Where it goes.
    to: String,
    limit: u64,
    optional: bool,
}

impl Needed {
    fn new(path: &str, to: &str, limit: u64) -> Self {
        Self { path: path.to_owned(), to: to.to_owned(), limit, optional: false }
    }
}

impl<'a> Wish<'a> {
    /// A model with its graph.
    pub(crate) fn model(model: &'a HubModel, revision: Option<&'a str>) -> Self {
        let data = model.data.iter().zip(&model.encoding.data);
        let data = data.map(|(path, name)| Needed::new(path, name, MAX_DATA_BYTES));
        let graph = std::iter::once(Needed::new(&model.graph, GRAPH, MAX_FILE_BYTES));
        Self { repository: &model.repository, revision, files: Self::configs().chain(graph).chain(data).collect() }
    }

    /// A model's weights, which become a graph here.
    pub(crate) fn weights(repository: &'a str, revision: Option<&'a str>) -> Self {
        let weights = std::iter::once(Needed::new(WEIGHTS, WEIGHTS, MAX_FILE_BYTES));
        Self { repository, revision, files: Self::configs().chain(weights).collect() }
    }

    /// Small files first: what is wrong with a repository is seen before gigabytes came.
    fn configs() -> impl Iterator<Item = Needed> {
        let tokenizer = TOKENIZER_FILES.into_iter().map(|name| Needed::new(name, name, MAX_CONFIG_BYTES));
        // What its authors say of its vectors.
        tokenizer.chain([Needed { optional: true, ..Needed::new(POOLING, POOLING, MAX_CONFIG_BYTES) }])
    }
}

/// A hub, and how it is spoken to.
#[derive(Debug)]
struct Hub {
    endpoint: String,
    /// Of `HF_TOKEN`, for repositories that not everybody is given.
    token: Option<String>,
}

/// Fetches what is wanted into a folder, which is made; returns the commit that it is of.
pub(crate) fn fetch(settings: &Settings, wish: &Wish<'_>, folder: &Path, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome<String> {
    let revision = checked(wish.revision.unwrap_or(REVISION))?;
    let hub = Hub::told(settings)?;
    heard(Heard::Line(&format!("fetching the list of {}", wish.repository)));
    let commit = hub.commit(wish.repository, revision)?;
    let files = choose(wish, &hub.listing(wish.repository, &commit)?)?;
    let of: u64 = files.iter().map(|(_, listed)| listed.size).sum();
    heard(Heard::Line(&format!("fetching {}@{} ({:.1} MB)", wish.repository, short(&commit), of as f64 / 1e6)));
    fs::create_dir(folder).map_err(|error| Failure::file("make", folder, &error))?;
    let mut done = 0;
    for (needed, listed) in files {
        let to = folder.join(&needed.to);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::file("make", parent, &error))?;
        }
        let mut moved = |bytes: u64| heard(Heard::Bytes { done: done + bytes, of });
        hub.file(wish.repository, &commit, &needed.path, &listed, &to, &mut moved)?;
        done += listed.size;
    }
    Ok(commit)
}

/// The files that are wanted, as the hub lists them; nothing is fetched of a repository that lacks one.
fn choose<'w>(wish: &'w Wish<'_>, listing: &listing::Listing) -> Outcome<Vec<(&'w Needed, Listed)>> {
    let mut chosen = Vec::new();
    for needed in &wish.files {
        let Some(listed) = listing.get(&needed.path) else {
            if needed.optional {
                continue;
            }
            return Err(Failure::not_found(
                "models.hub_incomplete",
                format!("`{}` on the hub has no `{}`", wish.repository, needed.path),
            )
            .hint("its files were moved or renamed since; an older commit may have it: --revision COMMIT"));
        };
        if listed.size > needed.limit {
            let (path, size, limit) = (&needed.path, listed.size, needed.limit);
            return Err(Failure::new(
                Exit::Invalid,
                "models.size",
                format!("`{path}` of `{}`: expected at most {limit} bytes, found {size}", wish.repository),
            ));
        }
        chosen.push((needed, listed.clone()));
    }
    Ok(chosen)
}

/// The hub's address, where one is named: as for packages, none is written into the program.
pub(crate) fn address(settings: &Settings) -> Option<String> {
    variable("HF_ENDPOINT").or_else(|| settings.file.embedder.hub.clone())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Hub {
    fn told(settings: &Settings) -> Outcome<Self> {
        let endpoint = address(settings).ok_or_else(|| {
            Failure::usage("models.hub_unset", "nobody has said which model hub to fetch from")
                .hint("HF_ENDPOINT=https://ADDRESS-OF-THE-HUB before the command, or `hub = \"https://…\"` under [embedder] in pegboard.toml; --from DIR needs none")
        })?;
        let url = web::allowed(&endpoint)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Failure::usage(
                "fetch.address",
                format!("expected the hub's address as https://HOST, found `{endpoint}`"),
            ));
        }
        Ok(Self { endpoint: endpoint.trim_end_matches('/').to_owned(), token: variable("HF_TOKEN") })
    }

    /// What a failed fetch means here.
    fn explained(&self, failure: Failure) -> Failure {
        match failure.code {
            "fetch.denied" if self.token.is_some() => {
                failure.hint("HF_TOKEN was sent and is not enough: accept the model's terms on the hub with the same account")
            }
            "fetch.denied" => {
                failure.hint("a repository that does not exist, or one with terms: accept them on the hub, and set HF_TOKEN")
            }
            "fetch.failed" | "fetch.timeout" => failure
                .hint("is the hub in reach from here? HF_ENDPOINT names another; --from DIR takes files that are here already"),
            _ => failure,
        }
    }
}

/// A branch, a tag or a commit; it becomes part of an address.
fn checked(revision: &str) -> Outcome<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if revision.is_empty() || revision.len() > MAX_REVISION || revision.contains("..") || !revision.chars().all(plain) {
        return Err(Failure::usage(
            "models.revision",
            format!("expected a commit, tag or branch of letters, digits or `-_.`, found `{revision}`"),
        ));
    }
    Ok(revision)
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
