//! `pegboard sync`: makes this machine equal to a lockfile: its own, or one that came from elsewhere.

use std::path::PathBuf;

use clap::Args;
use registry::{Approved, Bundle, Consent, Entry, Lockfile, Proposal, Release, Vouched};
use serde_json::json;

use super::packages;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs::{
        self, Done, fetch,
        kept::{self, Hand},
    },
    operator::trust,
    output::{Output, Tone},
    settings::Settings,
};

/// Make this machine equal to a lockfile
///
/// Fetches every package that the lockfile names and the store lacks, or has in another form, from where the lockfile says, and holds it against
/// the digest, the powers and the definitions that the lockfile names. With --from another lockfile takes the place of this machine's.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard sync\n  pegboard sync --from ../team/pegboard.lock")]
pub(crate) struct Sync {
    /// The lockfile to become equal to; default: this machine's own
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Sync {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let writer = installs::write(&settings.places)?;
        let before = writer.lockfile().clone();
        let wanted = match &self.from {
            Some(path) => read(path)?,
            None => before.clone(),
        };
        let mut approved = Vec::new();
        for entry in wanted.entries() {
            if writer.store().check(entry.release.digest).is_err() {
                output.note(&format!("fetching {} {}", entry.name, entry.release.version));
                let bundle = fetch::again(settings, &entry.release.source, entry.release.digest)?;
                approved.push(approve(settings, bundle, entry)?);
            }
        }
        let fetched: Vec<String> = approved.iter().map(|approved| approved.release().digest.to_string()).collect();
        let mut leaving = Vec::new();
        for entry in before.entries() {
            let after = wanted.get(entry.name.as_str()).map(|after| &after.release);
            let hand = match after {
                Some(after) if !registry::install::is_other_hand(&entry.release, after) => Hand::Stays,
                _ => Hand::Goes,
            };
            if after.is_none_or(|after| after.digest != entry.release.digest) {
                leaving.push((entry.name.clone(), Some(entry.release.clone()), hand));
            }
        }
        let changes = kept::change_all(&settings.places, &leaving)?;
        let line = Done::new("sync", "", None, None).line()?;
        if wanted == before && approved.is_empty() {
            drop(writer);
        } else {
            writer.install(&approved, &wanted, &line, changes.files).map_err(|error| installs::failure(&error))?;
        }
        output.show(&json!({"plugins": wanted.entries().count(), "fetched": fetched, "changed": wanted != before}), |output| {
            let text = format!("{} plugins as the lockfile says, {} packages fetched", wanted.entries().count(), fetched.len());
            output.paint(Tone::Good, &text)
        })
    }
}

fn read(path: &std::path::Path) -> Outcome<Lockfile> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found("file.not_found", format!("there is no `{}`", path.display())),
        _ => Failure::file("read", path, &error),
    })?;
    Lockfile::parse(&bytes).map_err(|error| installs::failure(&error.into()))
}

/// A lockfile says what was accepted: a package that declares anything else is not what it names.
fn approve(settings: &Settings, bundle: Bundle, entry: &Entry) -> Outcome<Approved> {
    let trusted = trust::read(&settings.places)?;
    let vouched = Vouched::of(bundle, &trusted, trust::today(), settings.file.require_signature)
        .map_err(|error| packages::failure(&error.into()))?;
    let name = vouched.bundle().manifest().name.clone();
    let proposal = Proposal::new(vouched, entry.release.source.clone(), &installs::store(&settings.places), Some(entry));
    let found = proposal.release();
    let said = |release: &Release| (release.version.clone(), release.accepted.clone(), release.tools.clone());
    if name != entry.name || said(found) != said(&entry.release) {
        let message =
            format!("the lockfile says of {} what its package does not: its version, powers or definitions differ", entry.name);
        return Err(
            Failure::new(Exit::Tampered, "lockfile.other", message).hint("nothing was changed; was the lockfile edited by hand?")
        );
    }
    // Every difference was ruled out just now, but who vouches here, which the operator's own keys decide.
    proposal.approve(Consent::Shown).map_err(|_| anyhow::anyhow!("the lockfile names less than it does").into())
}
