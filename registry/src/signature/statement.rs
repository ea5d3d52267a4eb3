//! What is signed: an in-toto statement that names every file of the package with its digest, and says which plugin that is.

use std::collections::BTreeMap;

use manifest_schema::Manifest;
use serde::{Deserialize, Serialize};

use super::{Day, Terms};
use crate::{Bundle, FileDigest, INVENTORY, Inventory, archive::shown};

const TYPE: &str = "https://in-toto.io/Statement/v1";
/// A name, not an address: there is nothing to fetch.
const PREDICATE: &str = "urn:pegboard:package:1";

/// The statement.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    pub(super) predicate: Predicate,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, FileDigest>,
}

/// What is said of the files together.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Predicate {
    plugin: String,
    version: String,
    channel: serde_json::Value,
    permissions: serde_json::Value,
    /// Digest of the inventory, which binds sizes and modes, too.
    package: FileDigest,
    signed: Day,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Day>,
}

/// What a statement is held against: a package in its archive, or in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) manifest: &'a Manifest,
    pub(crate) digest: FileDigest,
}

impl<'a> Contents<'a> {
    pub(super) const fn of(bundle: &'a Bundle) -> Self {
        Self { inventory: bundle.inventory(), manifest: bundle.manifest(), digest: bundle.digest() }
    }
}

impl Statement {
    /// The bytes to sign: the same for the same package and terms.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads signed bytes and holds them against a package; says what differs.
    pub(super) fn check(payload: &[u8], contents: &Contents<'_>) -> Result<Self, String> {
        let statement: Self =
            serde_json::from_slice(payload).map_err(|error| format!("it is no statement of a package: {error}"))?;
        let terms = Terms { signed: statement.predicate.signed, expires: statement.predicate.expires };
        let expected = of(contents, terms);
        if statement == expected { Ok(statement) } else { Err(statement.difference(&expected)) }
    }

    fn difference(&self, package: &Self) -> String {
        if self.kind != package.kind || self.predicate_type != package.predicate_type {
            return format!("it is no statement of a package, but {}", shown(&self.predicate_type));
        }
        let (signed, found) = (&self.predicate, &package.predicate);
        if (&signed.plugin, &signed.version) != (&found.plugin, &found.version) {
            return format!("it is of {}", shown(&format!("{} {}", signed.plugin, signed.version)));
        }
        let (signed, found) = (self.digests(), package.digests());
        let differs = found.iter().find(|(name, digest)| signed.get(*name) != Some(*digest)).map(|(name, _)| *name);
        let missing = signed.keys().find(|name| !found.contains_key(*name)).copied();
        // The inventory differs with every file; the file itself says more.
        match differs.filter(|name| *name != INVENTORY).or(missing).or(differs) {
            Some(name) => format!("{} differs", shown(name)),
            None => "what it says of the plugin differs".to_owned(),
        }
    }

    fn digests(&self) -> BTreeMap<&str, &BTreeMap<String, FileDigest>> {
        self.subject.iter().map(|subject| (subject.name.as_str(), &subject.digest)).collect()
    }
}

/// The statement of a package.
pub(super) fn of(contents: &Contents<'_>, terms: Terms) -> Statement {
    let Contents { inventory, manifest, digest } = *contents;
    let subject = |name: &str, digest: FileDigest| Subject {
        name: name.to_owned(),
        digest: BTreeMap::from([("sha256".to_owned(), digest)]),
    };
    let mut subjects: Vec<Subject> = inventory.files.iter().map(|file| subject(&file.path, file.sha256)).collect();
    subjects.push(subject(INVENTORY, digest));
    subjects.sort_by(|a, b| a.name.cmp(&b.name));
    let mut permissions: Vec<&str> = manifest.permissions.iter().map(|permission| permission.as_str()).collect();
    permissions.sort_unstable();
    permissions.dedup();
    Statement {
        kind: TYPE.to_owned(),
        subject: subjects,
        predicate_type: PREDICATE.to_owned(),
        predicate: Predicate {
            plugin: inventory.plugin.clone(),
            version: inventory.version.clone(),
            channel: serde_json::to_value(manifest.channel).unwrap_or_default(),
            permissions: permissions.into(),
            package: digest,
            signed: terms.signed,
            expires: terms.expires,
        },
    }
}
