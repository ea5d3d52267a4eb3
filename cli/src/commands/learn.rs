//! `pegboard learn`: whether accepted calls teach the search, what they taught, and the end of it.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use index::{LessonError, clear_lessons, lessons_in};
use serde_json::json;

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    operator::learning,
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Let accepted calls teach the search
///
/// A search hands out a `search_id`; a call that carries it and succeeds says that the tool was the right one. Kept is one vector a tool, the mean
/// of such requests, never their words. Off until you say `on`. Counted are calls over stdio, `pegboard call --for`, and over HTTP those of tokens
/// made with --learn. A running server follows within a second.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard learn on\n  pegboard learn show\n  pegboard learn clear")]
pub(crate) struct Learn {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Learn, and use what was learned
    #[command(after_long_help = "Example:\n  pegboard learn on")]
    On,
    /// Do neither; what was learned stays
    #[command(after_long_help = "Example:\n  pegboard learn off")]
    Off,
    /// What was learned, by model and tool
    #[command(after_long_help = "Example:\n  pegboard learn show --json")]
    Show,
    /// Forget all of it
    #[command(after_long_help = "Example:\n  pegboard learn clear")]
    Clear,
}

impl Learn {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let folder = settings.places.data.join("learned");
        match self.action {
            Action::On | Action::Off => {
                let on = matches!(self.action, Action::On);
                learning::switch(&settings.places, on)?;
                let says = if on {
                    "accepted calls teach the search from now on"
                } else {
                    "nothing is learned, and nothing learned is used"
                };
                output.show(&json!({"on": on}), |_| says.to_owned())
            }
            Action::Show => show(settings, output),
            Action::Clear => {
                let files = clear_lessons(&folder).map_err(|error| refused(&error))?;
                output.show(&json!({"cleared": files}), |_| {
                    if files == 0 { "there was nothing".to_owned() } else { "all is forgotten".to_owned() }
                })
            }
        }
    }
}

fn show(settings: &Settings, output: &Output) -> Outcome {
    let on = learning::read(&settings.places)?.on;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let today = u32::try_from(seconds / 86_400).unwrap_or(u32::MAX);
    let models = lessons_in(&settings.places.data.join("learned"), today).map_err(|error| refused(&error))?;
    let document = json!({
        "on": on,
        "models": models.iter().map(|known| json!({
            "model": known.model,
            "tools": known.tools.iter().map(|(tool, calls)| json!({"name": tool, "calls": calls})).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    });
    output.show(&document, |output| {
        let head = if on { "learning is on" } else { "learning is off; pegboard learn on" };
        let rows: Vec<Vec<Cell>> = models
            .iter()
            .flat_map(|known| known.tools.iter().map(move |(tool, calls)| (known, tool, calls)))
            .map(|(known, tool, calls)| {
                vec![Cell::toned(Tone::Strong, tool), format!("{calls:.1}").into(), known.model.as_str().into()]
            })
            .collect();
        if rows.is_empty() {
            return format!("{head}; nothing is learned yet");
        }
        format!("{head}\n\n{}", output.table(&["TOOL", "CALLS", "MODEL"], rows))
    })
}

fn refused(error: &LessonError) -> Failure {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let failure = Failure::new(Exit::Internal, "learned", format!("{error}{source}"));
    match error {
        LessonError::Damaged { .. } => failure.hint("pegboard learn clear"),
        LessonError::File { .. } => failure,
    }
}
