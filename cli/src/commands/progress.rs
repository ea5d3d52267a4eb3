//! How far a call is, on stderr: a bar on a terminal, plain lines elsewhere, nothing with `--json`.

use std::io::IsTerminal;

use executor_api::LogLevel;
use indicatif::{ProgressBar, ProgressStyle};
use manifest_schema::ServedName;
use server::CallUpdate;

use crate::{clean, output::Output};

/// Shows the updates of one call.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// Shows nothing yet: most calls end before there is anything to show.
    pub(crate) fn start(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal())
            .then(|| ProgressBar::no_length().with_style(style("{spinner} {elapsed} {msg}")));
        Self { bar, quiet }
    }

    /// The plugin's environment is being made.
    pub(crate) fn preparing(&self, name: &ServedName) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("making {name} ready"));
            bar.tick();
        }
    }

    /// One update.
    pub(crate) fn show(&self, update: &CallUpdate) {
        if self.quiet {
            return;
        }
        match update {
            CallUpdate::Progress { progress, total, message } => {
                let message = clean::line(message.as_deref().unwrap_or_default());
                let Some(bar) = &self.bar else {
                    let of = total.map(|total| format!("/{total}")).unwrap_or_default();
                    return self.line(&format!("{progress}{of} {message}"));
                };
                if let Some(total) = total.filter(|total| *total > 0.0) {
                    bar.set_style(style("{bar:30} {percent}% {msg}"));
                    bar.set_length(1000);
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000 before")]
                    bar.set_position((progress / total * 1000.0).clamp(0.0, 1000.0) as u64);
                }
                bar.set_message(message);
                bar.tick();
            }
            // Letting go of the question refuses it: nothing is asked on a terminal yet.
            CallUpdate::Ask(_) => {}
            CallUpdate::Log { level, message } => {
                let word = match level {
                    LogLevel::Debug => "debug",
                    LogLevel::Info => "log",
                    LogLevel::Warning => "warning",
                    LogLevel::Error => "error",
                };
                self.line(&format!("{word}: {}", clean::line(message)));
            }
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => Output::new(self.quiet).note(text),
        }
    }

    /// Leaves nothing behind.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
