//! The way of an install, from a verified package to one that the lockfile names: [`Bundle`] → [`Vouched`] → [`Proposal`] → [`Approved`] →
//! an [`Entry`]. Each is a type whose only way in is the step before, so that none can be left out.
//!
//! How a package gets to this machine is not here: that needs a network or a process, which this crate has not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use manifest_schema::{Channel, Manifest, Permission, Runtime, ToolSpec};
use policy::{Declared, Definition};

use crate::{
    Bundle, Day, Entry, Error, FileChange, Lockfile, MANIFEST, Release, SignatureError, Store, TrustStore, Writer,
    dependencies::Offer,
};

/// A package and who vouches for it. Whether anybody has to is the operator's policy.
#[derive(Debug)]
pub struct Vouched {
    bundle: Bundle,
    by: Vec<String>,
    /// Why nobody does.
    missing: Option<SignatureError>,
}

impl Vouched {
    /// Looks for signatures by trusted keys. Without `required` a package that nobody signed, or nobody that is trusted, passes and says so;
    /// one whose signature does not hold passes never.
    ///
    /// # Errors
    /// What is missing for trust.
    pub fn of(bundle: Bundle, trust: &TrustStore, today: Day, required: bool) -> Result<Self, SignatureError> {
        match trust.vouchers(&bundle, today) {
            Ok(by) => Ok(Self { bundle, by, missing: None }),
            Err(problem @ (SignatureError::Unsigned | SignatureError::UnknownKey(_))) if !required => {
                Ok(Self { bundle, by: Vec::new(), missing: Some(problem) })
            }
            Err(problem) => Err(problem),
        }
    }

    /// The package.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Names of the trusted keys that vouch for it.
    #[must_use]
    pub fn by(&self) -> &[String] {
        &self.by
    }

    /// Why nobody vouches for it.
    #[must_use]
    pub const fn missing(&self) -> Option<&SignatureError> {
        self.missing.as_ref()
    }
}

/// How something that a plugin declares differs from what was accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is new.
    Added,
    /// It was accepted in another form.
    Changed,
    /// It is no longer there.
    Removed,
}

/// One difference between what is accepted and what would be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is about, such as `power:network_access`, `tool:search` or `signer`.
    pub key: String,
    /// How it differs.
    pub turn: Turn,
    /// What it was, where there is something to show.
    pub before: Option<String>,
    /// What it would be.
    pub after: Option<String>,
    /// Whether it gives the plugin more than was accepted: what `--yes` alone does not cover.
    pub widens: bool,
}

/// A package that could be installed, and how it differs from what is there.
#[derive(Debug)]
pub struct Proposal {
    vouched: Vouched,
    release: Release,
    differences: Vec<Difference>,
}

/// What was accepted and by which means.
#[derive(Debug, Clone, Copy)]
pub enum Consent<'a> {
    /// The operator was shown every difference and said yes.
    Shown,
    /// Nobody was asked: what flags name, and the lockfile, has to do.
    Named(&'a BTreeSet<String>),
}

/// A package whose every difference was accepted.
#[derive(Debug)]
pub struct Approved {
    bundle: Bundle,
    release: Release,
}

impl Proposal {
    /// Compares a package with what is installed under its name.
    #[must_use]
    pub fn new(vouched: Vouched, source: String, store: &Store, installed: Option<&Entry>) -> Self {
        let manifest = vouched.bundle.manifest();
        let release = Release {
            version: manifest.version.clone(),
            digest: vouched.bundle.digest(),
            source,
            signed_by: vouched.by.clone(),
            accepted: asks(manifest),
            tools: manifest.mcps.iter().map(|tool| (tool.name.to_string(), definition(tool).digest().to_string())).collect(),
        };
        let differences = differences(manifest, &release, installed, store);
        Self { vouched, release, differences }
    }

    /// The package.
    #[must_use]
    pub const fn vouched(&self) -> &Vouched {
        &self.vouched
    }

    /// What the lockfile would say.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// Every difference, what widens first.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// What widens and is not among the names.
    #[must_use]
    pub fn unnamed(&self, named: &BTreeSet<String>) -> Vec<&Difference> {
        self.differences.iter().filter(|difference| difference.widens && !covers(named, &difference.key)).collect()
    }

    /// Takes the operator's word for it.
    ///
    /// # Errors
    /// What widens and nobody accepted.
    pub fn approve(self, consent: Consent<'_>) -> Result<Approved, Vec<Difference>> {
        if let Consent::Named(named) = consent {
            let unnamed: Vec<Difference> = self.unnamed(named).into_iter().cloned().collect();
            if !unnamed.is_empty() {
                return Err(unnamed);
            }
        }
        Ok(Approved { bundle: self.vouched.bundle, release: self.release })
    }
}

impl Approved {
    /// The package.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// What the lockfile will say.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// The lockfile with this package in it: served, following `channel`, what was served before kept for a rollback.
    #[must_use]
    pub fn enter(&self, lockfile: &Lockfile, channel: Option<Channel>) -> Lockfile {
        let mut lockfile = lockfile.clone();
        let name = &self.bundle.manifest().name;
        let entry = match lockfile.remove(name.as_str()) {
            Some(mut entry) => {
                entry.advance(self.release.clone());
                entry.active = true;
                entry.channel = channel.unwrap_or(entry.channel);
                entry
            }
            None => Entry {
                name: name.clone(),
                active: true,
                pinned: false,
                channel: channel.unwrap_or(Channel::Stable),
                release: self.release.clone(),
                previous: Vec::new(),
            },
        };
        lockfile.put(entry);
        lockfile
    }
}

impl Writer {
    /// Puts packages into the store and makes the lockfile that names them the truth.
    ///
    /// # Errors
    /// See [`Writer::place`] and [`Writer::commit`]: nothing changed, or the change is decided.
    pub fn install(self, approved: &[Approved], lockfile: &Lockfile, done: &str, files: Vec<FileChange>) -> Result<(), Error> {
        for package in approved {
            self.place(&package.bundle)?;
        }
        self.commit(lockfile, done, files)
    }
}

/// Whether names given by flags cover a key: the key itself, its kind, or the power that a host or folder belongs to.
fn covers(named: &BTreeSet<String>, key: &str) -> bool {
    let (kind, rest) = key.split_once(':').unwrap_or((key, ""));
    let wider = match kind {
        // Hosts belong to whichever power reaches them.
        "host" => {
            return named.contains(key) || named.iter().any(|word| Permission::parse(word).is_some_and(Permission::is_network));
        }
        "power" => rest,
        "read" => "file_system_read",
        "write" => "file_system_write",
        "secret" => "secrets",
        "tool" => "tools",
        kind => kind,
    };
    named.contains(key) || named.contains(wider)
}

/// What a manifest asks for, as keys that a lockfile keeps and a flag can name.
fn asks(manifest: &Manifest) -> BTreeSet<String> {
    let declared = Declared::of(manifest);
    let mut asks: BTreeSet<String> = declared.powers.iter().map(|power| format!("power:{}", power.as_str())).collect();
    for (kind, list) in
        [("host", &declared.hosts), ("read", &declared.read), ("write", &declared.write), ("secret", &declared.secrets)]
    {
        asks.extend(list.iter().map(|item| format!("{kind}:{item}")));
    }
    // A power without a list reaches anywhere: a list that goes away widens it.
    let network = declared.powers.iter().any(|power| power.is_network());
    if network && declared.hosts.is_empty() {
        asks.insert("host:*".to_owned());
    }
    asks.extend(runs(manifest).map(|what| format!("runtime:{what}")));
    asks
}

/// What is started or reached beside the host's own interpreter.
fn runs(manifest: &Manifest) -> Option<String> {
    match manifest.runtime {
        Runtime::Python => None,
        Runtime::Mcp => {
            let server = manifest.mcp.as_ref();
            let command = server.and_then(|server| server.command.as_ref()).map(|command| command.join(" "));
            Some(format!("mcp {}", command.or_else(|| server.and_then(|server| server.url.clone())).unwrap_or_default()))
        }
        other => Some(serde_json::to_value(other).ok()?.as_str()?.to_owned()),
    }
}

fn definition(tool: &ToolSpec) -> Definition {
    let annotations = serde_json::to_value(tool.annotations).ok();
    Definition {
        name: tool.name.to_string(),
        title: tool.title.clone(),
        description: Some(tool.description.clone()),
        input_schema: tool.args_schema.clone().unwrap_or_default(),
        output_schema: tool.output_schema.clone(),
        annotations: annotations.and_then(|annotations| annotations.as_object().cloned()),
        icons: None,
    }
}

/// What a person is shown of a tool's definition.
fn shown(tool: &ToolSpec) -> String {
    let schema = |schema: &Option<serde_json::Map<String, serde_json::Value>>| {
        schema.as_ref().map(|schema| serde_json::to_string(schema).unwrap_or_default())
    };
    let mut text = tool.description.clone();
    for (label, part) in [("takes", schema(&tool.args_schema)), ("gives", schema(&tool.output_schema))] {
        text.extend(part.map(|part| format!("\n{label} {part}")));
    }
    let annotations = serde_json::to_string(&tool.annotations).unwrap_or_default();
    text + "\nhints " + &annotations
}

fn differences(manifest: &Manifest, release: &Release, installed: Option<&Entry>, store: &Store) -> Vec<Difference> {
    let none = (BTreeSet::new(), Default::default());
    let (accepted, tools) = installed.map_or((&none.0, &none.1), |entry| (&entry.release.accepted, &entry.release.tools));
    let plain = |key: &str, turn, widens| Difference { key: key.to_owned(), turn, before: None, after: None, widens };
    let mut found: Vec<Difference> = release.accepted.difference(accepted).map(|key| plain(key, Turn::Added, true)).collect();
    found.extend(accepted.difference(&release.accepted).map(|key| plain(key, Turn::Removed, false)));
    let before = installed.and_then(|entry| manifest_of(store, entry));
    let earlier = |name: &str| {
        let tools = before.as_ref().map(|manifest| manifest.mcps.iter());
        tools.into_iter().flatten().find(|tool| tool.name.as_str() == name).map(shown)
    };
    for tool in &manifest.mcps {
        let (name, key) = (tool.name.as_str(), format!("tool:{}", tool.name));
        let turn = match tools.get(name) {
            None => Turn::Added,
            Some(known) if release.tools.get(name) != Some(known) => Turn::Changed,
            Some(_) => continue,
        };
        // The tools of a first install are what was asked for; later ones are news.
        let widens = installed.is_some();
        found.push(Difference { key, turn, before: earlier(name), after: Some(shown(tool)), widens });
    }
    found.extend(
        tools
            .keys()
            .filter(|name| !release.tools.contains_key(*name))
            .map(|name| Difference { before: earlier(name), ..plain(&format!("tool:{name}"), Turn::Removed, false) }),
    );
    found.extend(needs(manifest, before.as_ref(), installed.is_some()));
    found.extend(installed.into_iter().flat_map(|entry| provenance(&entry.release, release)));
    found.sort_by_key(|difference| !difference.widens);
    found
}

/// The plugins that it brings along. Those of a first install are what was asked for; later ones are other people's code that is news.
fn needs(manifest: &Manifest, before: Option<&Manifest>, installed: bool) -> Vec<Difference> {
    let of = |manifest: &Manifest| -> BTreeMap<String, String> {
        let needs = Offer::of(manifest).needs.into_iter().filter(|need| !need.optional);
        needs.map(|need| (format!("needs:{}", need.name), need.to_string())).collect()
    };
    let (mut earlier, now) = (before.map(of).unwrap_or_default(), of(manifest));
    let mut found = Vec::new();
    for (key, after) in now {
        let known = earlier.remove(&key);
        let turn = if known.is_some() { Turn::Changed } else { Turn::Added };
        if known.as_ref() != Some(&after) {
            found.push(Difference { key, turn, widens: installed && known.is_none(), before: known, after: Some(after) });
        }
    }
    let gone = earlier.into_iter().map(|(key, before)| Difference {
        key,
        turn: Turn::Removed,
        before: Some(before),
        after: None,
        widens: false,
    });
    found.extend(gone);
    found
}

/// Who vouches, from where it comes, and whether it is older: what makes other code of the same name look like an update.
fn provenance(before: &Release, after: &Release) -> Vec<Difference> {
    let differs = |key: &str, before: String, after: String| Difference {
        key: key.to_owned(),
        turn: Turn::Changed,
        before: Some(before),
        after: Some(after),
        widens: true,
    };
    let mut found = Vec::new();
    let same_hand = after.signed_by.iter().any(|key| before.signed_by.contains(key));
    let names = |keys: &[String]| if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") };
    if !before.signed_by.is_empty() && !same_hand {
        found.push(differs("signer", names(&before.signed_by), names(&after.signed_by)));
    }
    if !same_hand && origin(&before.source) != origin(&after.source) {
        found.push(differs("source", before.source.clone(), after.source.clone()));
    }
    if after.version < before.version {
        found.push(differs("downgrade", before.version.to_string(), after.version.to_string()));
    }
    found
}

/// Whether a later release comes from where the earlier one did: this machine, the same index or repository, the same server.
#[must_use]
pub fn origin(source: &str) -> &str {
    if source.starts_with("file:") || source.starts_with("folder:") {
        return "this machine";
    }
    let source = source.split(['#', '?']).next().unwrap_or(source);
    if source.starts_with("index+") || source.starts_with("git+") {
        return source;
    }
    let host = source.find("://").map_or(0, |at| at + 3);
    let end = source.get(host..).and_then(|rest| rest.find('/')).map_or(source.len(), |at| host + at);
    source.get(..end).unwrap_or(source)
}

/// Whether code that replaces other code may take over what that was granted.
#[must_use]
pub fn is_other_hand(before: &Release, after: &Release) -> bool {
    provenance(before, after).iter().any(|difference| matches!(difference.key.as_str(), "signer" | "source"))
}

fn manifest_of(store: &Store, entry: &Entry) -> Option<Manifest> {
    let bytes = fs::read(store.root(entry.release.digest).join(MANIFEST)).ok()?;
    manifest_schema::parse_bytes(MANIFEST, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{covers, origin};

    #[test]
    fn a_source_is_of_the_server_or_index_that_it_names() {
        for (source, expected) in [
            ("file:/a/b.zip", "this machine"),
            ("folder:/a", "this machine"),
            ("https://example.org/a/b.zip?x", "https://example.org"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("index+https://example.org/shelf#name@1", "index+https://example.org/shelf"),
            ("git+https://example.org/r.git?rev=v1#0123", "git+https://example.org/r.git"),
        ] {
            assert_eq!(origin(source), expected);
        }
    }

    #[test]
    fn a_flag_covers_its_key_and_what_belongs_to_it() {
        let named: BTreeSet<String> = ["network_access", "tool:a", "read:/x"].map(str::to_owned).into();
        for (key, expected) in [
            ("power:network_access", true),
            ("host:api:443", true),
            ("tool:a", true),
            ("tool:b", false),
            ("read:/x", true),
            ("read:/y", false),
            ("power:file_system_read", false),
            ("signer", false),
        ] {
            assert_eq!(covers(&named, key), expected, "{key}");
        }
    }
}
