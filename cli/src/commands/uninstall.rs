//! `pegboard uninstall`: out of the lockfile, and with it what it was granted.

use clap::Args;
use registry::{Entry, Lockfile};
use serde_json::json;

use super::words;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    installs::{
        self, Done,
        kept::{self, Hand},
        needs,
    },
    output::{Output, Tone},
    settings::Settings,
};

/// Uninstall a plugin
///
/// It is no longer served, and what it was granted is taken back: whatever is installed under its name later inherits nothing. Its files stay until
/// `pegboard store gc`, so that `pegboard rollback` can bring it back; the values of its secrets stay, too. A plugin that others need is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard uninstall text_analysis\n  pegboard rollback text_analysis   brings it back")]
pub(crate) struct Uninstall {
    /// Name of the plugin
    plugin: String,
    /// Uninstall it although others need it
    #[arg(long)]
    force: bool,
}

impl Uninstall {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let name = words::plugin_name(&self.plugin)?;
        let writer = installs::write(&settings.places)?;
        let mut lockfile = writer.lockfile().clone();
        installs::entry(&lockfile, name.as_str())?;
        let needed = needs::dependents(&name, &needs::installed(writer.store(), &lockfile));
        if !needed.is_empty() && !self.force {
            return Err(Failure::new(Exit::Denied, "plugin.needed", format!("{name} is needed by {}", needed.join(", ")))
                .hint("nothing was changed: uninstall those first, or give --force"));
        }
        let Some(entry) = lockfile.remove(name.as_str()) else { return Ok(()) };
        let changes = kept::change(&settings.places, &name, Some(&entry.release), Hand::Goes)?;
        let line =
            Done { entry: Some(alone(&entry)?), ..Done::new("uninstall", name.as_str(), Some(&entry.release), None) }.line()?;
        writer.commit(&lockfile, &line, changes.files).map_err(|error| installs::failure(&error))?;
        let document = json!({"plugin": name.as_str(), "version": entry.release.version.to_string(), "needed_by": needed});
        output.show(&document, |output| {
            let head = output.paint(Tone::Good, &format!("uninstalled {name} {}", entry.release.version));
            format!("{head}\npegboard rollback {name} brings it back")
        })
    }
}

/// The plugin's lines of the lockfile.
fn alone(entry: &Entry) -> Outcome<String> {
    let mut lockfile = Lockfile::default();
    lockfile.put(entry.clone());
    lockfile.text().map_err(|error| installs::failure(&error.into()))
}
