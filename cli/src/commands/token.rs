//! `pegboard token`: bearer tokens for `serve --http`, each with the tools it may call.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use server::TokenEntry;

use crate::{
    failure::{Failure, Outcome, nearest},
    operator::tokens,
    output::{Cell, Output, Tone},
    settings::{Places, Settings},
};

/// Manage the tokens of callers over HTTP
///
/// A server that listens on more than this machine needs tokens. Each has a list of patterns of tools that it sees and may call.
/// The file keeps hashes only, and a running server follows its changes within a second.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard token create laptop --tools 'text_analysis__*' --tools 'units__*'\n  \
                             pegboard token list\n  \
                             pegboard token revoke laptop\n  \
                             pegboard serve --http 0.0.0.0:7337 --token-file ~/.config/pegboard/tokens.yaml")]
pub(crate) struct Token {
    /// The token file
    ///
    /// Default: tokens.yaml in the configuration folder. Give the same file to `serve --token-file`.
    #[arg(long, value_name = "FILE", env = "PEGBOARD_TOKEN_FILE", hide_env_values = true, global = true)]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it, once
    #[command(
        after_long_help = "Examples:\n  pegboard token create laptop --tools '*'\n  pegboard token create ci --tools 'text_analysis__*' --json"
    )]
    Create {
        /// Name for logs and for revoking
        name: String,
        /// Pattern of served tool names; `*` stands for any run of characters; repeatable
        #[arg(long, required = true, value_name = "PATTERN")]
        tools: Vec<String>,
        /// Let its successful calls teach the search, where `pegboard learn on` was said
        #[arg(long)]
        learn: bool,
    },
    /// Show the tokens, without the tokens themselves
    #[command(after_long_help = "Example:\n  pegboard token list --json")]
    List,
    /// Make a token worthless
    #[command(after_long_help = "Example:\n  pegboard token revoke laptop")]
    Revoke {
        /// Name it was created under
        name: String,
    },
}

impl Token {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let file = self
            .token_file
            .clone()
            .or_else(|| settings.file.token_file.clone())
            .unwrap_or_else(|| tokens::default_path(&settings.places));
        let file = std::path::absolute(&file).map_err(|error| Failure::file("resolve", &file, &error))?;
        match &self.action {
            Action::Create { name, tools, learn } => create(&settings.places, &file, name, tools, *learn, output),
            Action::List => list(&tokens::read(&file)?, output),
            Action::Revoke { name } => revoke(&settings.places, &file, name, output),
        }
    }
}

fn create(places: &Places, file: &Path, name: &str, tools: &[String], learn: bool, output: &Output) -> Outcome {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Failure::usage(
            "token.name",
            format!("expected a name of 1 to 64 letters, digits or `-_.@`, found `{name}`"),
        ));
    }
    for pattern in tools {
        let fits = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '_' | '-' | '*');
        if pattern.is_empty() || !pattern.chars().all(fits) {
            return Err(Failure::usage("token.pattern", format!("expected a pattern of `a-z0-9_-` and `*`, found `{pattern}`"))
                .hint("quote it, so that the shell does not expand it: --tools 'text_analysis__*'"));
        }
    }
    let token = tokens::generate()?;
    let entry = TokenEntry {
        name: name.to_owned(),
        sha256: tokens::hash(&token),
        tools: tools.to_vec(),
        created: Some(tokens::now()),
        learn,
    };
    tokens::change(places, file, |entries| {
        if entries.iter().any(|entry| entry.name == name) {
            return Err(Failure::usage("token.exists", format!("there is a token named `{name}` already"))
                .hint(format!("pegboard token revoke {name}")));
        }
        entries.push(entry.clone());
        Ok(())
    })?;
    let document = json!({"name": name, "token": token, "tools": tools, "created": entry.created, "file": file});
    output.note(&format!("token `{name}` for {}; it is shown this once and kept nowhere:", tools.join(", ")));
    output.show(&document, |_| token.clone())
}

fn list(entries: &[TokenEntry], output: &Output) -> Outcome {
    let document = json!({
        "tokens": entries.iter().map(|entry| json!({"name": entry.name, "tools": entry.tools, "created": entry.created, "learn": entry.learn})).collect::<Vec<_>>()
    });
    output.show(&document, |output| {
        if entries.is_empty() {
            return "no tokens; make one with pegboard token create NAME --tools PATTERN".to_owned();
        }
        let row = |entry: &TokenEntry| {
            vec![
                Cell::toned(Tone::Strong, &entry.name),
                entry.tools.join(" ").into(),
                entry.created.as_deref().unwrap_or_default().into(),
            ]
        };
        output.table(&["NAME", "TOOLS", "CREATED"], entries.iter().map(row).collect())
    })
}

fn revoke(places: &Places, file: &Path, name: &str, output: &Output) -> Outcome {
    tokens::change(places, file, |entries| {
        let before = entries.len();
        let known: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        entries.retain(|entry| entry.name != name);
        if entries.len() == before {
            return Err(Failure::not_found("token.not_found", format!("there is no token named `{name}`"))
                .maybe_hint(nearest(name, known.iter().map(String::as_str))));
        }
        Ok(())
    })?;
    output.show(&json!({"revoked": name}), |_| format!("revoked token `{name}`"))
}
