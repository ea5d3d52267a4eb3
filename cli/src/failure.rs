//! Why a command could not do what it was asked: exit code, stable word, message and hint. How it is shown is in `output`.

use std::{fmt, io, path::Path};

use serde_json::Value;

use crate::exit::Exit;

/// A command that did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// Stable word, such as `plugin.not_found`; scripts branch on it, never on the message.
    pub(crate) code: &'static str,
    /// What happened: lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// A document to print instead of the bare error, for commands whose result says more (`validate`, `call`).
    pub(crate) document: Option<Box<Value>>,
    /// The reader went away (`| head`): nothing is left to say.
    pub(crate) silent: bool,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with its exit code and word.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None, document: None, silent: false }
    }

    /// A wrong argument or configuration.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// Something that does not exist.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// A file that could not be read or written; `action` is a verb such as `read`.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Internal, "file", format!("could not {action} `{}`: {error}", path.display()))
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do about it, if there is something.
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Prints this document instead of the bare error when `--json` was given.
    pub(crate) fn document(mut self, document: Value) -> Self {
        self.document = Some(Box::new(document));
        self
    }

    /// The reader of our output went away. Not an error of the command: a pipe into `head` must not fail.
    pub(crate) fn closed_pipe() -> Self {
        Self { silent: true, ..Self::new(Exit::Ok, "closed_pipe", "") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Internal, "internal", format!("{error:#}"))
    }
}

/// The nearest of `known`, as a hint, when it is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
