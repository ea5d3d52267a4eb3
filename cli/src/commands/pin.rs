//! `pegboard pin`: `update` passes a plugin over until it is unpinned.

use clap::Args;
use serde_json::json;

use super::words;
use crate::{
    failure::Outcome,
    installs::{self, Done},
    output::{Output, Tone},
    settings::Settings,
};

/// Keep a plugin at its release
///
/// `update` passes it over. Installing another release by hand, and a rollback, still work.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard pin text_analysis\n  pegboard pin text_analysis --off")]
pub(crate) struct Pin {
    /// Name of the plugin
    plugin: String,
    /// Let it be updated again
    #[arg(long)]
    off: bool,
}

impl Pin {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let name = words::plugin_name(&self.plugin)?;
        let writer = installs::write(&settings.places)?;
        let mut lockfile = writer.lockfile().clone();
        let before = installs::entry(&lockfile, name.as_str())?.clone();
        if let Some(entry) = lockfile.get_mut(name.as_str()) {
            entry.pinned = !self.off;
        }
        if before.pinned == self.off {
            let what = if self.off { "unpin" } else { "pin" };
            let line = Done::new(what, name.as_str(), Some(&before.release), Some(&before.release)).line()?;
            writer.commit(&lockfile, &line, Vec::new()).map_err(|error| installs::failure(&error))?;
        }
        output.show(
            &json!({"plugin": name.as_str(), "pinned": !self.off, "version": before.release.version.to_string()}),
            |output| {
                let text = if self.off {
                    format!("{name} is no longer pinned")
                } else {
                    format!("{name} is pinned to {}", before.release.version)
                };
                output.paint(Tone::Good, &text)
            },
        )
    }
}
