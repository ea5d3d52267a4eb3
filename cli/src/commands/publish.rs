//! `pegboard publish`: a package into an index, which is a folder that any web server can serve.

use std::{fs, path::PathBuf};

use clap::Args;
use manifest_schema::PluginName;
use semver::Version;
use serde_json::json;

use super::packages;
use crate::{
    failure::{Failure, Outcome},
    installs::index::{Offered, RELEASES, Releases, word},
    output::{Output, Tone},
};

/// Put a package into an index
///
/// An index is a folder: `<plugin>/releases.json` and the packages beside it. Served by any web server, it is the same index behind an address. A
/// release once published is never replaced: it can be taken back with --yank.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard publish text-analysis-1.2.0.zip --index ./shelf\n  \
                             pegboard publish text-analysis-1.2.1.zip --index ./shelf --security 'closes a path traversal'\n  \
                             pegboard publish text_analysis@1.2.0 --index ./shelf --yank 'loses the last line'")]
pub(crate) struct Publish {
    /// The package; with --yank: NAME@VERSION
    #[arg(value_name = "PACKAGE")]
    what: String,
    /// The folder of the index; it is made when it is not there
    #[arg(long, value_name = "DIR")]
    index: PathBuf,
    /// Which hole the release mends
    #[arg(long, value_name = "WHAT")]
    security: Option<String>,
    /// Take a release back, and say why
    #[arg(long, value_name = "WHY", conflicts_with = "security")]
    yank: Option<String>,
}

impl Publish {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        match &self.yank {
            Some(why) => self.yank(why, output),
            None => self.add(output),
        }
    }

    fn add(&self, output: &Output) -> Outcome {
        let path = PathBuf::from(&self.what);
        let bundle = packages::open(&path)?;
        let manifest = bundle.manifest();
        let mut releases = self.releases(&manifest.name)?;
        if let Some(known) = releases.releases.iter().find(|known| known.version == manifest.version) {
            let same =
                if known.digest == bundle.digest() { "is there already" } else { "is there already, and is another package" };
            return Err(Failure::usage("publish.exists", format!("{} {} {same}", manifest.name, manifest.version))
                .hint("a release is never replaced: give the change a version of its own"));
        }
        let package = format!("{}-{}.zip", manifest.name, manifest.version);
        let target = self.folder(&manifest.name)?.join(&package);
        let mut copy = packages::beside(&target)?;
        fs::File::open(&path)
            .and_then(|mut from| std::io::copy(&mut from, &mut copy))
            .and_then(|_| copy.as_file().sync_all())
            .map_err(|error| Failure::file("write", &target, &error))?;
        packages::persist(copy, &target)?;
        // What was copied, not what was opened: the file may have changed in between.
        let digest = packages::open(&target)?.digest();
        let head = format!("published {} {} ({})", manifest.name, manifest.version, word(manifest.channel));
        releases.releases.push(Offered::of(manifest, package, digest, self.security.clone()));
        self.write(&mut releases)?;
        let document = json!({"plugin": manifest.name.as_str(), "version": manifest.version.to_string(), "digest": format!("sha256:{digest}")});
        output.show(&document, |output| output.paint(Tone::Good, &head))
    }

    fn yank(&self, why: &str, output: &Output) -> Outcome {
        let (name, version) = self.what.split_once('@').unwrap_or((&self.what, ""));
        let name = super::words::plugin_name(name)?;
        let version = Version::parse(version).map_err(|error| {
            Failure::usage("install.version", format!("expected NAME@VERSION, found `{}`: {error}", self.what))
        })?;
        let mut releases = self.releases(&name)?;
        let Some(known) = releases.releases.iter_mut().find(|known| known.version == version) else {
            return Err(Failure::not_found("publish.none", format!("the index has no {name} {version}")));
        };
        known.yanked = Some(why.to_owned());
        self.write(&mut releases)?;
        output.show(&json!({"plugin": name.as_str(), "version": version.to_string(), "yanked": why}), |output| {
            output.paint(Tone::Good, &format!("yanked {name} {version}"))
        })
    }

    fn folder(&self, name: &PluginName) -> Outcome<PathBuf> {
        let folder = self.index.join(name.as_str());
        fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
        Ok(folder)
    }

    fn releases(&self, name: &PluginName) -> Outcome<Releases> {
        let path = self.index.join(name.as_str()).join(RELEASES);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                crate::installs::invalid("index.invalid", format!("`{}` can't be read: {error}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Releases { format: 1, plugin: name.clone(), releases: Vec::new() })
            }
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    fn write(&self, releases: &mut Releases) -> Outcome {
        releases.releases.sort_by(|a, b| a.version.cmp(&b.version));
        let path = self.folder(&releases.plugin)?.join(RELEASES);
        let text =
            serde_json::to_vec_pretty(releases).map_err(|error| anyhow::anyhow!("could not encode the releases: {error}"))?;
        let mut file = packages::beside(&path)?;
        std::io::Write::write_all(&mut file, &text)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| Failure::file("write", &path, &error))?;
        packages::persist(file, &path)
    }
}
