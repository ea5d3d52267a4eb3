//! One question to the operator, the same wherever something is allowed: what it means first, then yes or no; nobody there means no.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
};

/// The words of a question.
pub(crate) struct Question {
    /// The question itself, such as `Grant?`.
    pub(crate) ask: &'static str,
    /// Code when nobody is there to ask.
    pub(crate) unconfirmed: &'static str,
    /// Code when the answer is no.
    pub(crate) declined: &'static str,
    /// What then happened, such as "nothing was granted".
    pub(crate) nothing: &'static str,
}

/// Whether somebody can answer.
pub(crate) fn somebody() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows what it is about, and asks unless `yes` says that it was asked before.
pub(crate) fn confirm(output: &Output, yes: bool, about: &str, question: &Question) -> Outcome {
    if !yes && !somebody() {
        return Err(Failure::usage(question.unconfirmed, "nobody is there to ask: standard input is not a terminal")
            .hint("give --yes to go on without being asked"));
    }
    if output.json && yes {
        return Ok(());
    }
    output.ask(about);
    if yes {
        return Ok(());
    }
    output.ask(&format!("{} [y/N] ", question.ask));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::file("read", Path::new("standard input"), &error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Denied, question.declined, question.nothing))
}
