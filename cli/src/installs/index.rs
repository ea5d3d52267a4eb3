//! An index: a folder, or the same folder behind an address, with `<name>/releases.json` for each plugin and the packages beside it.
//!
//! The document says which releases there are, in which channel, which are yanked and which mend a hole. It is not signed: what is taken from
//! it is held against the digest that it names, and then against the operator's keys like any other package.

use std::{
    fs,
    path::{Path, PathBuf},
};

use manifest_schema::{Channel, Dependency, DependencySource, Manifest, PluginName};
use registry::{
    FileDigest,
    dependencies::{Need, Offer},
};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use super::{
    fetch::{self, Choice, Fetched},
    invalid,
    request::Wanted,
    web,
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Settings,
};

/// The document of a plugin.
pub(crate) const RELEASES: &str = "releases.json";
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// An index that was named.
#[derive(Debug, Clone)]
pub(crate) enum Index {
    Folder(PathBuf),
    Address(String),
}

/// What an index says of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Releases {
    /// 1.
    pub(crate) format: u32,
    pub(crate) plugin: PluginName,
    pub(crate) releases: Vec<Offered>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offered {
    pub(crate) version: Version,
    pub(crate) channel: Channel,
    /// Name of the package, in the same folder.
    pub(crate) package: String,
    /// Digest of the package's inventory.
    pub(crate) digest: FileDigest,
    /// The plugins that it needs, as in its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) needs: Vec<Dependency>,
    /// Oldest Pegboard that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_core_version: Option<Version>,
    /// Newest Pegboard that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_core_version: Option<Version>,
    /// Why its author took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) yanked: Option<String>,
    /// Which hole it mends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) security: Option<String>,
}

impl Index {
    /// The index of a flag, else of pegboard.toml.
    pub(crate) fn open(settings: &Settings, flag: Option<&str>) -> Outcome<Self> {
        let place = flag.or(settings.file.index.as_deref()).ok_or_else(|| {
            Failure::usage("index.none", "a plugin is installed by name from an index, and none is named")
                .hint("--index DIR or --index https://…, or `index` in pegboard.toml; a path needs a `/`: ./folder")
        })?;
        if place.contains("://") {
            web::allowed(place)?;
            return Ok(Self::Address(place.trim_end_matches('/').to_owned()));
        }
        let folder = fs::canonicalize(place)
            .map_err(|error| Failure::not_found("index.not_found", format!("there is no index `{place}`: {error}")))?;
        Ok(Self::Folder(folder))
    }

    /// Its name in a lockfile.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Address(address) => address.clone(),
        }
    }

    /// What it says of a plugin.
    pub(crate) fn releases(&self, name: &PluginName) -> Outcome<Releases> {
        let bytes = match self {
            Self::Address(address) => web::document(&format!("{address}/{name}/{RELEASES}"), MAX_DOCUMENT_BYTES),
            Self::Folder(folder) => read(&folder.join(name.as_str()).join(RELEASES)),
        };
        let bytes = bytes.map_err(|failure| match failure.exit {
            Exit::NotFound => {
                Failure::not_found("plugin.not_found", format!("the index `{}` has no plugin `{name}`", self.name()))
            }
            _ => failure,
        })?;
        let releases: Releases = serde_json::from_slice(&bytes).map_err(|error| {
            invalid("index.invalid", format!("what the index `{}` says of `{name}` can't be read: {error}", self.name()))
        })?;
        if releases.format != 1 || releases.plugin != *name {
            return Err(invalid(
                "index.invalid",
                format!("what the index `{}` says of `{name}` is of another plugin or format", self.name()),
            ));
        }
        Ok(releases)
    }

    /// The release to take.
    pub(crate) fn release(&self, name: &PluginName, wanted: &Wanted, choice: &Choice) -> Outcome<Offered> {
        let releases = self.releases(name)?;
        let found = releases.choose(wanted, choice.channel);
        let Some(offered) = found else { return Err(self.none(&releases, wanted, choice.channel)) };
        if let (Some(why), false) = (&offered.yanked, choice.yanked) {
            return Err(Failure::new(
                Exit::Denied,
                "install.yanked",
                format!("{name} {} was taken back by its author: {why}", offered.version),
            )
            .hint("--allow yanked takes it nevertheless"));
        }
        Ok(offered.clone())
    }

    fn none(&self, releases: &Releases, wanted: &Wanted, channel: Channel) -> Failure {
        let there: Vec<String> = releases
            .releases
            .iter()
            .map(|offered| {
                let yanked = if offered.yanked.is_some() { ", yanked" } else { "" };
                format!("{} ({}{yanked})", offered.version, word(offered.channel))
            })
            .collect();
        let wanted = match wanted {
            Wanted::Exactly(version) => version.to_string(),
            Wanted::Among(wanted) => wanted.to_string(),
        };
        let message = format!("the index `{}` has no {} {wanted} in the channel {}", self.name(), releases.plugin, word(channel));
        let hint = if there.is_empty() { "it has none at all".to_owned() } else { format!("it has {}", there.join(", ")) };
        Failure::not_found("install.no_release", message).hint(hint)
    }
}

impl Releases {
    /// Those of a channel and of calmer ones that were not taken back.
    pub(crate) fn offered(&self, channel: Channel) -> impl Iterator<Item = &Offered> {
        self.releases.iter().filter(move |offered| offered.yanked.is_none() && rank(offered.channel) <= rank(channel))
    }

    /// The newest release that fits, of the channel or a calmer one. One that was yanked is taken only when it is named exactly.
    ///
    /// The version alone decides: a beta is not ahead of a later stable release because it is a beta.
    pub(crate) fn choose(&self, wanted: &Wanted, channel: Channel) -> Option<&Offered> {
        match wanted {
            Wanted::Exactly(version) => self.releases.iter().find(|offered| offered.version == *version),
            Wanted::Among(wanted) => self
                .offered(channel)
                .filter(|offered| fits(wanted, &offered.version, channel) && offered.runs_here())
                .max_by(|a, b| a.version.cmp(&b.version)),
        }
    }
}

/// A pre-release stands for the version it leads to, for those who asked for a channel that has them.
fn fits(wanted: &VersionReq, version: &Version, channel: Channel) -> bool {
    let calm = Version { pre: semver::Prerelease::EMPTY, ..version.clone() };
    if version.pre.is_empty() || channel != Channel::Stable { wanted.matches(&calm) } else { wanted.matches(version) }
}

const fn rank(channel: Channel) -> u8 {
    match channel {
        Channel::Stable => 0,
        Channel::Beta => 1,
        Channel::Dev => 2,
    }
}

/// A channel's word.
pub(crate) const fn word(channel: Channel) -> &'static str {
    match channel {
        Channel::Stable => "stable",
        Channel::Beta => "beta",
        Channel::Dev => "dev",
    }
}

impl Offered {
    /// What an index says of a package, in a folder of that name.
    pub(crate) fn of(manifest: &Manifest, package: String, digest: FileDigest, security: Option<String>) -> Self {
        let plugins = manifest.dependencies.iter().filter(|dependency| dependency.source == DependencySource::Marketplace);
        Self {
            version: manifest.version.clone(),
            channel: manifest.channel,
            package,
            digest,
            needs: plugins.cloned().collect(),
            min_core_version: manifest.min_core_version.clone(),
            max_core_version: manifest.max_core_version.clone(),
            yanked: None,
            security,
        }
    }

    /// As the choice of what is needed sees it.
    pub(crate) fn offer(&self, name: &PluginName) -> Offer {
        let need = |dependency: &Dependency| {
            let wanted = dependency.version.as_deref().map_or(Ok(VersionReq::STAR), VersionReq::parse).ok()?;
            Some(Need { name: PluginName::parse(&dependency.name).ok()?, wanted, optional: dependency.optional })
        };
        Offer {
            name: name.clone(),
            version: self.version.clone(),
            needs: self.needs.iter().filter_map(need).collect(),
            min_core: self.min_core_version.clone(),
            max_core: self.max_core_version.clone(),
            yanked: false,
        }
    }

    /// Whether this program is one of those that its author names.
    fn runs_here(&self) -> bool {
        let Ok(ours) = Version::parse(env!("CARGO_PKG_VERSION")) else { return true };
        self.min_core_version.as_ref().is_none_or(|least| *least <= ours)
            && self.max_core_version.as_ref().is_none_or(|most| *most >= ours)
    }

    /// Fetches the package, which must be the one that the index names.
    pub(crate) fn fetch(&self, index: &Index, plugin: &PluginName) -> Outcome<Fetched> {
        let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '+');
        if self.package.is_empty() || self.package.starts_with('.') || !self.package.chars().all(plain) {
            return Err(invalid(
                "index.invalid",
                format!("the index names the package `{}`, which is no file name", self.package),
            ));
        }
        let bundle = match index {
            Index::Folder(folder) => fetch::copy(&folder.join(plugin.as_str()).join(&self.package))?,
            Index::Address(address) => fetch::download(&format!("{address}/{plugin}/{}", self.package))?,
        };
        let manifest = bundle.manifest();
        if bundle.digest() != self.digest || manifest.version != self.version || manifest.name != *plugin {
            let message = format!(
                "the index names {} as sha256:{}, what lies there is {} {} sha256:{}",
                self.version,
                self.digest,
                manifest.name,
                manifest.version,
                bundle.digest()
            );
            return Err(
                Failure::new(Exit::Tampered, "package.other", message).hint("do not use it; tell whoever keeps the index")
            );
        }
        let source = format!("index+{}#{}@{}", index.name(), manifest.name, self.version);
        let remarks = self.remarks();
        Ok(Fetched { bundle, source, remarks })
    }

    /// What the operator should know of it.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let yanked = self.yanked.iter().map(|why| format!("yanked: {why}"));
        yanked.chain(self.security.iter().map(|why| format!("security release: {why}"))).collect()
    }
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(fs::File::open(path)?, MAX_DOCUMENT_BYTES + 1), &mut bytes)
            .map(|_| bytes)
    };
    let bytes = read().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found("file.not_found", format!("there is no `{}`", path.display())),
        _ => Failure::file("read", path, &error),
    })?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(invalid("index.invalid", format!("`{}` has more than {MAX_DOCUMENT_BYTES} bytes", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use manifest_schema::{Channel, PluginName};
    use registry::FileDigest;
    use semver::{Version, VersionReq};

    use super::{Offered, Releases, Wanted};

    fn releases() -> Releases {
        let offered = |version: &str, channel, yanked: bool| Offered {
            version: Version::parse(version).unwrap(),
            channel,
            package: format!("a-{version}.zip"),
            digest: FileDigest::of(version.as_bytes()),
            needs: Vec::new(),
            min_core_version: None,
            max_core_version: None,
            yanked: yanked.then(|| "broken".to_owned()),
            security: None,
        };
        let releases = vec![
            offered("1.2.0", Channel::Stable, false),
            offered("1.3.0", Channel::Stable, false),
            offered("1.4.0", Channel::Stable, true),
            offered("1.3.0-beta.2", Channel::Beta, false),
            offered("2.0.0-beta.1", Channel::Beta, false),
            offered("1.9.0", Channel::Dev, false),
        ];
        Releases { format: 1, plugin: PluginName::parse("a").unwrap(), releases }
    }

    #[test]
    fn a_channel_offers_what_is_calmer_too_and_the_version_decides() {
        let releases = releases();
        for (wanted, channel, expected) in [
            ("*", Channel::Stable, Some("1.3.0")),
            ("*", Channel::Beta, Some("2.0.0-beta.1")),
            ("^1", Channel::Beta, Some("1.3.0")),
            ("^1", Channel::Dev, Some("1.9.0")),
            ("=1.2.0", Channel::Stable, Some("1.2.0")),
            ("^1.4", Channel::Stable, None),
            ("^2", Channel::Stable, None),
        ] {
            let wanted = Wanted::Among(VersionReq::parse(wanted).unwrap());
            let found = releases.choose(&wanted, channel).map(|offered| offered.version.to_string());
            assert_eq!(found.as_deref(), expected, "{wanted:?} {channel:?}");
        }
        let exact = Wanted::Exactly(Version::parse("1.4.0").unwrap());
        assert!(releases.choose(&exact, Channel::Stable).unwrap().yanked.is_some());
    }
}
