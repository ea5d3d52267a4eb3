//! `pegboard rollback`: exactly what ran before, in one command: the release, what it was granted and how it was configured.

use clap::Args;
use registry::{Entry, Lockfile};
use semver::Version;
use serde_json::json;

use super::{install::entry_document, words};
use crate::{
    failure::{Failure, Outcome},
    installs::{
        self, Done,
        kept::{self, Hand},
    },
    operator::trust,
    output::{Output, Tone},
    settings::Settings,
};

/// Go back to what ran before
///
/// The release that was served before, with the grants and the configuration that it had then. Secrets keep the values that they have now. A
/// plugin that was uninstalled comes back. A second rollback takes the first one back.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard rollback text_analysis\n  pegboard rollback text_analysis --to 1.2.0")]
pub(crate) struct Rollback {
    /// Name of the plugin
    plugin: String,
    /// The version to go back to; default: what was served last
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
}

impl Rollback {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let name = words::plugin_name(&self.plugin)?;
        let writer = installs::write(&settings.places)?;
        let store = writer.store().clone();
        let mut lockfile = writer.lockfile().clone();
        let before = lockfile.get(name.as_str()).cloned();
        let entry = match &before {
            Some(before) => self.earlier(before)?,
            None => self.uninstalled(&installs::history(&store)?)?,
        };
        let release = entry.release.clone();
        // What can't be served must not become what is served.
        store.check(release.digest).map_err(|error| {
            installs::failure(&error)
                .hint(format!("nothing was changed; pegboard install {name}@{} fetches it again", release.version))
        })?;
        if settings.file.require_signature {
            let vouched = store.vouchers(release.digest, &trust::read(&settings.places)?, trust::today());
            vouched.map_err(|error| installs::failure(&error))?;
        }
        lockfile.put(entry.clone());
        let changes =
            kept::change(&settings.places, &name, before.as_ref().map(|before| &before.release), Hand::Returns(&release))?;
        let line = Done::new("rollback", name.as_str(), before.as_ref().map(|before| &before.release), Some(&release)).line()?;
        writer.commit(&lockfile, &line, changes.files).map_err(|error| installs::failure(&error))?;
        output.show(&json!({"plugin": entry_document(&entry)}), |output| {
            let was = before.map(|before| format!(" (was {})", before.release.version)).unwrap_or_default();
            output.paint(Tone::Good, &format!("{name} {} is back{was}", release.version))
        })
    }

    fn earlier(&self, before: &Entry) -> Outcome<Entry> {
        let mut entry = before.clone();
        let digest = match &self.to {
            Some(version) => before.previous.iter().find(|release| release.version == *version),
            None => before.previous.first(),
        };
        let Some(digest) = digest.map(|release| release.digest) else {
            let there: Vec<String> = before.previous.iter().map(|release| release.version.to_string()).collect();
            let message = format!(
                "{} has no earlier release{}",
                before.name,
                self.to.as_ref().map(|to| format!(" {to}")).unwrap_or_default()
            );
            let hint =
                if there.is_empty() { "it was never updated".to_owned() } else { format!("there are {}", there.join(", ")) };
            return Err(Failure::not_found("rollback.none", message).hint(hint));
        };
        entry.return_to(digest);
        entry.active = true;
        Ok(entry)
    }

    /// The plugin as the lockfile had it when it was taken out.
    fn uninstalled(&self, history: &[Done]) -> Outcome<Entry> {
        let last = history.iter().rev().find(|done| done.plugin == self.plugin && done.what == "uninstall");
        let text = last.and_then(|done| done.entry.as_deref());
        let lockfile = text.and_then(|text| Lockfile::parse(text.as_bytes()).ok());
        let entry = lockfile.as_ref().and_then(|lockfile| lockfile.get(&self.plugin)).cloned();
        let entry = entry.ok_or_else(|| {
            Failure::not_found(
                "plugin.not_installed",
                format!("`{}` is not installed, and was not uninstalled here", self.plugin),
            )
            .hint("pegboard history shows what was done")
        })?;
        match &self.to {
            Some(version) if *version != entry.release.version => self.earlier(&entry),
            _ => Ok(entry),
        }
    }
}
