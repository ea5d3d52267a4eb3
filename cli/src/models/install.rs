//! From files, a package or the hub to a model that can be used: fetched, gathered, verified, and put in place whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use index::{Encoding, HubModel};

use super::{
    Heard, Known,
    gather::{self, Found, GRAPH, Gathered},
    hub::{self, Wish},
    packages,
    receipt::{Installed, RECEIPT, Receipt},
    staging::Staging,
};
use crate::{
    failure::{Failure, Outcome},
    settings::Settings,
};

/// Where a model comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source<'a> {
    /// A folder of this machine, and what fastembed knows of a model with the name that it is to have.
    Folder(&'a Path, Option<&'a HubModel>),
    /// Requirements of the Python registry, with hashes.
    Package(String),
    /// A model that is known, from its package.
    Known(&'a Known),
    /// Its weights, from the hub, at a revision.
    Weights(&'a Known, Option<&'a str>),
    /// A model of the hub, at a revision.
    Hub(&'a HubModel, Option<&'a str>),
}

impl Source<'_> {
    /// How the model is asked where its own files do not say.
    fn encoding(&self) -> Encoding {
        match self {
            Source::Folder(_, Some(model)) | Source::Hub(model, _) => model.encoding.clone(),
            Source::Folder(_, None) | Source::Package(_) | Source::Known(_) | Source::Weights(..) => Encoding::default(),
        }
    }

    /// What the model must consist of.
    fn pinned(&self) -> Option<&Known> {
        match self {
            Source::Known(known) | Source::Weights(known, _) => Some(known),
            Source::Folder(..) | Source::Package(_) | Source::Hub(..) => None,
        }
    }
}

/// Installs a model under a name. `heard` hears of each step.
pub(crate) fn install(
    settings: &Settings,
    name: &str,
    source: &Source<'_>,
    heard: &mut dyn FnMut(Heard<'_>),
) -> Outcome<Installed> {
    check_name(name)?;
    let models = settings.places.data.join("models");
    let work = Staging::new(&models)?;
    let (found, from) = fetch(settings, source, work.path(), heard)?;
    let staged = work.path().join("model");
    fs::create_dir(&staged).map_err(|error| Failure::file("make", &staged, &error))?;
    let Gathered { encoding, files } = gather::gather(&found, &staged, source.pinned(), &source.encoding(), heard)?;
    let receipt = Receipt { source: from, encoding: Some(encoding), files };
    let text = serde_json::to_vec_pretty(&receipt).map_err(|error| anyhow::anyhow!("could not encode the receipt: {error}"))?;
    let path = staged.join(RECEIPT);
    fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
    let folder = models.join(name);
    swap(&staged, &folder, &work.path().join("old"))?;
    Ok(Installed { name: name.to_owned(), folder, receipt: Some(receipt), changed: Vec::new() })
}

/// The folder with the model's files, and where they are from, for the receipt.
fn fetch(settings: &Settings, source: &Source<'_>, work: &Path, heard: &mut dyn FnMut(Heard<'_>)) -> Outcome<(Found, String)> {
    let from_hub = |wish: &Wish<'_>, heard: &mut dyn FnMut(Heard<'_>)| {
        let folder = work.join("hub");
        let commit = hub::fetch(settings, wish, &folder, heard)?;
        Ok((Found { folder, graph: GRAPH.to_owned(), ours: true }, format!("hub {}@{commit}", wish.repository)))
    };
    match source {
        Source::Folder(root, model) => {
            let (folder, graph) = gather::find(root, model.map(|model| model.graph.as_str()))?;
            Ok((Found { folder, graph, ours: false }, format!("folder {}", root.display())))
        }
        Source::Package(requirement) => from_package(settings, requirement, work, heard),
        Source::Known(known) => from_package(settings, known.requirement, work, heard),
        Source::Weights(known, revision) => from_hub(&Wish::weights(known.repository, *revision), heard),
        Source::Hub(model, revision) => from_hub(&Wish::model(model, *revision), heard),
    }
}

fn from_package(
    settings: &Settings,
    requirement: &str,
    work: &Path,
    heard: &mut dyn FnMut(Heard<'_>),
) -> Outcome<(Found, String)> {
    let package = requirement.split_whitespace().next().unwrap_or_default();
    heard(Heard::Line(&format!("fetching {package}")));
    let unpacked = work.join("package");
    packages::unpack(settings, requirement, &unpacked, heard)?;
    let (folder, graph) = gather::find(&unpacked, None)?;
    Ok((Found { folder, graph, ours: true }, format!("package {package}")))
}

/// Never half a model: the old one makes room, and comes back if the new one cannot take its place.
fn swap(staged: &Path, folder: &PathBuf, old: &Path) -> Outcome {
    let had = folder.exists();
    if had {
        fs::rename(folder, old).map_err(|error| Failure::file("replace", folder, &error))?;
    }
    if let Err(error) = fs::rename(staged, folder) {
        if had && let Err(back) = fs::rename(old, folder) {
            return Err(Failure::file("restore", folder, &back));
        }
        return Err(Failure::file("make", folder, &error));
    }
    Ok(())
}

/// Removes a model. Returns whether it was there.
pub(crate) fn remove(settings: &Settings, name: &str) -> Outcome<bool> {
    check_name(name)?;
    let folder = settings.places.data.join("models").join(name);
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("remove", &folder, &error)),
    }
}

fn check_name(name: &str) -> Outcome {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 80 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Failure::usage(
            "models.name",
            format!("expected a name of 1 to 80 letters, digits or `-_.`, found `{name}`"),
        ));
    }
    Ok(())
}
