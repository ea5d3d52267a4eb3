//! `pegboard completions`: the completion script of a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{args::Cli, failure::Outcome, output::Output};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard completions bash > ~/.local/share/bash-completion/completions/pegboard\n  \
                             pegboard completions zsh > ~/.zfunc/_pegboard\n  \
                             pegboard completions fish > ~/.config/fish/completions/pegboard.fish")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pegboard", &mut script);
        let script = String::from_utf8_lossy(&script);
        if output.json {
            return output.document(&serde_json::json!({"shell": self.shell.to_string(), "script": script}));
        }
        output.text(&script)
    }
}
