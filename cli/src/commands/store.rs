//! `pegboard store`: is what lies in the store what it should be, and what of it does nobody need?

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use registry::FileDigest;
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs,
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// A plugin that was uninstalled can be brought back for this long, in seconds, whatever `gc` removes.
const SPARED: u64 = 24 * 60 * 60;

/// Check and clean the store of packages
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard store verify\n  pegboard store gc --dry-run")]
pub(crate) struct StoreCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Hold every byte of every package against its digest
    #[command(
        after_long_help = "Example:\n  pegboard store verify --json\n\nExit codes:\n  0 all is whole · 5 a package is missing · 9 a package was changed"
    )]
    Verify,
    /// Remove packages that no release of the lockfile needs
    ///
    /// Earlier releases that a rollback can return to are needed. What was uninstalled within the last day is kept, unless --all is given. What a
    /// running server or command uses is kept in any case.
    #[command(after_long_help = "Examples:\n  pegboard store gc\n  pegboard store gc --all --dry-run")]
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Also what was uninstalled within the last day
        #[arg(long)]
        all: bool,
    },
}

impl StoreCommand {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        match self.action {
            Action::Verify => verify(settings, output),
            Action::Gc { dry_run, all } => collect(settings, output, dry_run, all),
        }
    }
}

fn verify(settings: &Settings, output: &Output) -> Outcome {
    let lockfile = installs::lockfile(&settings.places)?;
    let store = installs::store(&settings.places);
    let named: Vec<(String, FileDigest)> = lockfile
        .entries()
        .flat_map(|entry| {
            let releases = std::iter::once(&entry.release).chain(&entry.previous);
            releases.map(|release| (format!("{} {}", entry.name, release.version), release.digest))
        })
        .collect();
    let mut worst: Option<Exit> = None;
    let mut rows = Vec::new();
    for (what, digest) in &named {
        let problem = store.check(*digest).err().map(|error| installs::failure(&error));
        if let Some(problem) = &problem {
            worst = Some(if worst == Some(Exit::Tampered) { Exit::Tampered } else { problem.exit });
        }
        rows.push((what.clone(), *digest, problem.map(|problem| problem.message)));
    }
    let documents: Vec<Value> = rows
        .iter()
        .map(|(what, digest, problem)| json!({"release": what, "digest": format!("sha256:{digest}"), "problem": problem}))
        .collect();
    let document = json!({"packages": documents, "whole": worst.is_none()});
    if let Some(exit) = worst {
        let bad: Vec<String> =
            rows.iter().filter_map(|(what, _, problem)| Some(format!("{what}: {}", problem.as_ref()?))).collect();
        return Err(Failure::new(exit, "store.damaged", bad.join("; "))
            .hint("pegboard sync fetches what the lockfile names again")
            .document(document));
    }
    output.show(&document, |output| {
        if rows.is_empty() {
            return "nothing is installed".to_owned();
        }
        let rows = rows.iter().map(|(what, digest, _)| {
            vec![Cell::toned(Tone::Strong, what), Cell::toned(Tone::Good, "whole"), format!("sha256:{digest}").into()]
        });
        output.table(&["RELEASE", "STATE", "DIGEST"], rows.collect())
    })
}

fn collect(settings: &Settings, output: &Output, dry_run: bool, all: bool) -> Outcome {
    let writer = installs::write(&settings.places)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let fresh = installs::history(writer.store())?.into_iter().filter(|done| !all && done.seconds + SPARED > now);
    let spared: BTreeSet<FileDigest> = fresh.filter_map(|done| FileDigest::try_from(done.digest?).ok()).collect();
    let collected = writer.collect(&spared, dry_run).map_err(|error| installs::failure(&error))?;
    let shown = |digests: &[FileDigest]| digests.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>();
    let (packages, in_use) = (shown(&collected.packages), shown(&collected.in_use));
    let document = json!({"removed": packages, "bytes": collected.bytes, "in_use": in_use, "dry_run": dry_run});
    output.show(&document, |output| {
        let word = if dry_run { "would be removed" } else { "removed" };
        let head = format!("{} packages {word}, {} bytes", packages.len(), collected.bytes);
        let kept = in_use.iter().map(|package| format!("{package} is in use and was kept"));
        std::iter::once(output.paint(Tone::Good, &head))
            .chain(packages.iter().cloned())
            .chain(kept)
            .collect::<Vec<_>>()
            .join("\n")
    })
}
