//! From a request to a verified bundle: fetched into a nameless file of its own, which nobody else can change, then listed, judged and verified.

use std::{fs, io::Seek, path::Path};

use manifest_schema::{Channel, PluginName};
use registry::{Archive, Bundle, Error, FileDigest, Folder, limits::MAX_PACKAGE_BYTES};

use super::{
    failure, git,
    index::{Index, Offered},
    needs,
    request::Request,
    web,
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// A verified package and where it came from.
pub(crate) struct Fetched {
    pub(crate) bundle: Bundle,
    /// What the lockfile keeps: enough to fetch it again.
    pub(crate) source: String,
    /// What the index says of it, for the operator.
    pub(crate) remarks: Vec<String>,
}

/// What decides among several releases.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) index: Option<String>,
    pub(crate) channel: Channel,
    /// A yanked release may be taken, when it is named exactly.
    pub(crate) yanked: bool,
}

/// Fetches what was asked for.
pub(crate) fn fetch(settings: &Settings, request: &Request, choice: &Choice) -> Outcome<Fetched> {
    match request {
        Request::Path(path) => from_path(path),
        Request::Address(address) => Ok(Fetched { bundle: download(address)?, source: address.clone(), remarks: Vec::new() }),
        Request::Repository { url, revision } => git::fetch(settings, url, revision.as_deref()),
        Request::Named { name, wanted } => {
            let index = Index::open(settings, choice.index.as_deref())?;
            index.release(name, wanted, choice)?.fetch(&index, name)
        }
    }
}

/// Fetches what was asked for, after what it needs of other plugins, where an index can bring that along.
pub(crate) fn fetch_all(settings: &Settings, request: &Request, choice: &Choice) -> Outcome<Vec<Fetched>> {
    let Request::Named { name, wanted } = request else { return fetch(settings, request, choice).map(|fetched| vec![fetched]) };
    let index = Index::open(settings, choice.index.as_deref())?;
    let release = index.release(name, wanted, choice)?;
    with_needs(settings, &index, (name, &release), choice)
}

/// Fetches a release of an index after what it needs of other plugins and is not there yet.
pub(crate) fn with_needs(
    settings: &Settings,
    index: &Index,
    (name, release): (&PluginName, &Offered),
    choice: &Choice,
) -> Outcome<Vec<Fetched>> {
    if release.needs.iter().all(|need| need.optional) {
        return release.fetch(index, name).map(|fetched| vec![fetched]);
    }
    let lockfile = super::lockfile(&settings.places)?;
    let there = needs::installed(&super::store(&settings.places), &lockfile);
    let plan = needs::plan(index, (name, release), choice, there)?;
    plan.iter().map(|(name, offered)| offered.fetch(index, name)).collect()
}

/// Fetches a release again that a lockfile names, and holds it against its digest.
pub(crate) fn again(settings: &Settings, source: &str, digest: FileDigest) -> Outcome<Bundle> {
    let fetched = if let Some(rest) = source.strip_prefix("index+") {
        let (base, release) = rest.split_once('#').unwrap_or((rest, ""));
        let choice = Choice { index: Some(base.to_owned()), channel: Channel::Dev, yanked: true };
        fetch(settings, &Request::parse(&format!("marketplace://{release}"))?, &choice)?
    } else {
        let choice = Choice { index: None, channel: Channel::Stable, yanked: false };
        fetch(settings, &Request::parse(source)?, &choice)?
    };
    let found = fetched.bundle.digest();
    if found == digest {
        return Ok(fetched.bundle);
    }
    Err(Failure::new(
        Exit::Tampered,
        "package.other",
        format!("`{source}` holds sha256:{found} now, the lockfile names sha256:{digest}"),
    )
    .hint("nothing was changed; what the lockfile names must come from somewhere else: pegboard install PACKAGE"))
}

fn from_path(path: &Path) -> Outcome<Fetched> {
    let absolute = fs::canonicalize(path)
        .map_err(|_| Failure::not_found("package.not_found", format!("there is no `{}`", path.display())))?;
    let kind = if absolute.is_dir() { "folder" } else { "file" };
    let source = format!("{kind}:{}", absolute.display());
    let bundle = if absolute.is_dir() { pack(&absolute)? } else { copy(&absolute)? };
    Ok(Fetched { bundle, source, remarks: Vec::new() })
}

/// Makes a package of a folder.
pub(crate) fn pack(folder: &Path) -> Outcome<Bundle> {
    let packed = Folder::read(folder).and_then(|folder| folder.pack(nameless().map_err(|error| Error::Internal(error.message))?));
    packed.map(|packed| packed.bundle).map_err(|error| failure(&error))
}

/// A package of this machine, copied first: what was judged must be what is unpacked.
pub(crate) fn copy(path: &Path) -> Outcome<Bundle> {
    if !path.exists() {
        return Err(Failure::not_found("package.not_found", format!("there is no `{}`", path.display())));
    }
    // Judged where it lies, so that neither a pipe nor something endless is read.
    Archive::open(path).map_err(|error| failure(&error.into()))?;
    let mut file = nameless()?;
    let copied =
        fs::File::open(path).and_then(|from| std::io::copy(&mut std::io::Read::take(from, MAX_PACKAGE_BYTES + 1), &mut file));
    copied.map_err(|error| Failure::file("read", path, &error))?;
    judge(file)
}

/// A package at an address.
pub(crate) fn download(address: &str) -> Outcome<Bundle> {
    let mut file = nameless()?;
    web::fetch(address, MAX_PACKAGE_BYTES, &mut file)?;
    judge(file)
}

fn judge(mut file: fs::File) -> Outcome<Bundle> {
    file.rewind().map_err(|error| anyhow::anyhow!("could not read the package: {error}"))?;
    Archive::judge(file).map_err(Error::from).and_then(Archive::verify).map_err(|error| failure(&error))
}

fn nameless() -> Outcome<fs::File> {
    tempfile::tempfile().map_err(|error| Failure::file("make a file in", &std::env::temp_dir(), &error))
}
