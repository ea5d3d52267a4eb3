//! `pegboard client-config`: the block that makes an MCP client use this program, with absolute paths and the view that fits.

use clap::Args;
use serde_json::{Map, Value, json};
use server::View;

use super::shelf::{self, Found};
use crate::{
    args::{Global, Shelf},
    clients::{Block, Client, Reach},
    failure::{Failure, Outcome},
    output::Output,
    settings::{Settings, ViewChoice},
};

/// Above this a list of tools costs a model more than searching does.
const MOST_TOKENS: usize = 10_000;

/// Print the block to paste into an MCP client
///
/// Proposes the view that fits the client and what is served: all tools while their list is short, else the search view, in which a model finds
/// tools by describing what it wants.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard client-config claude-code\n  \
                             pegboard client-config codex --plugins ./my-plugins >> ~/.codex/config.toml\n  \
                             pegboard client-config vscode --url http://127.0.0.1:7337\n  \
                             pegboard client-config cursor --url https://tools.example.org --token-variable PEGBOARD_TOKEN")]
pub(crate) struct ClientConfig {
    /// The client
    client: Client,
    /// The view, instead of the proposed one
    #[arg(long, value_name = "VIEW")]
    view: Option<ViewChoice>,
    /// A server that runs already, instead of one that the client starts
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The client's environment variable that holds the bearer token
    #[arg(long, value_name = "NAME", requires = "url")]
    token_variable: Option<String>,
    #[command(flatten)]
    shelf: Shelf,
}

/// A view and why.
pub(crate) struct Proposal {
    pub(crate) view: ViewChoice,
    pub(crate) reason: String,
}

impl ClientConfig {
    pub(crate) fn run(&self, settings: &Settings, global: &Global, output: &Output) -> Outcome {
        let found = shelf::load(settings, &self.shelf)?;
        let proposal =
            self.view.map_or_else(|| propose(self.client, &found), |view| Proposal { view, reason: "as you asked".to_owned() });
        let reach = match &self.url {
            Some(url) => self.over_http(url, proposal.view)?,
            None => by_stdio(settings, global, &self.shelf, proposal.view)?,
        };
        let Block { format, text } = self.client.block(&reach);
        let file = self.client.files().into_iter().next();
        output.note(&match &file {
            Some(file) => format!("for {}: add this to {}", self.client.title(), file.display()),
            None => format!("for {}: a program to start from", self.client.title()),
        });
        if let (Client::ClaudeCode, Reach::Stdio { command, args, .. }) = (self.client, &reach) {
            output.note(&format!(
                "or run: claude mcp add pegboard -- {} {}",
                quoted(command),
                args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ")
            ));
        }
        output.note(&format!("view `{}`: {}", proposal.view.as_str(), proposal.reason));
        let document = json!({
            "client": self.client.as_str(), "file": file, "format": format, "block": text,
            "view": proposal.view.as_str(), "reason": proposal.reason,
        });
        output.show(&document, |_| text)
    }

    fn over_http(&self, url: &str, view: ViewChoice) -> Outcome<Reach> {
        if !self.client.takes_http() {
            return Err(Failure::usage("client.http", format!("{} takes no server by address in its file", self.client.title()))
                .hint("leave out --url, or add the address among its connectors"));
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let Some(rest) = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
        else {
            return Err(Failure::usage(
                "client.url",
                format!("expected an address such as http://127.0.0.1:7337, found `{url}`"),
            ));
        };
        let path = match view {
            ViewChoice::All => "/mcp",
            ViewChoice::Search => "/mcp/search",
        };
        let bare = !rest.trim_end_matches('/').contains('/');
        let url = if bare { format!("{}{path}", url.trim_end_matches('/')) } else { url.to_owned() };
        Ok(Reach::Http { url, token_variable: self.token_variable.clone() })
    }
}

/// How a client starts this program with these plugins.
pub(crate) fn by_stdio(settings: &Settings, global: &Global, shelf: &Shelf, view: ViewChoice) -> Outcome<Reach> {
    let program = std::env::current_exe().map_err(|error| anyhow::anyhow!("could not find this program's own path: {error}"))?;
    let utf8 = |path: std::path::PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|path| Failure::usage("path.encoding", format!("the path is not UTF-8: {}", path.display())))
    };
    // One engine for all of the user's clients, instead of one server each.
    let mut args = vec!["serve".to_owned(), "--shared".to_owned()];
    if let (Some(_), Some(home)) = (&global.home, settings.places.config.parent()) {
        args.extend(["--home".to_owned(), utf8(home.to_owned())?]);
    }
    // Only what the flags or the environment say: the client's server reads pegboard.toml itself, but not this shell's variables.
    if !shelf.plugins.is_empty() || std::env::var_os("PEGBOARD_PLUGINS").is_some() {
        for folder in settings.plugin_folders(shelf)? {
            args.extend(["--plugins".to_owned(), utf8(folder)?]);
        }
    }
    if shelf.no_bundled {
        args.push("--no-bundled".to_owned());
    }
    if settings.file.view.unwrap_or(ViewChoice::All) != view {
        args.extend(["--view".to_owned(), view.as_str().to_owned()]);
    }
    // A client started from the desktop does not see what this shell sets.
    let environment: Map<String, Value> = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"]
        .into_iter()
        .filter(|_| global.home.is_none())
        .filter_map(|name| Some((name.to_owned(), json!(std::env::var(name).ok().filter(|value| !value.is_empty())?))))
        .collect();
    Ok(Reach::Stdio { command: utf8(program)?, args, environment })
}

/// The view that fits a client and what is served.
pub(crate) fn propose(client: Client, found: &Found) -> Proposal {
    let (tools, tokens) = (found.tool_count(), found.list_tokens(View::All));
    let cost = format!("{tools} tools, about {tokens} tokens as a list");
    if client.defers_tools() {
        return Proposal { view: ViewChoice::All, reason: format!("{cost}; {} searches long lists by itself", client.title()) };
    }
    if let Some(most) = client.most_tools().filter(|most| tools > *most) {
        return Proposal { view: ViewChoice::Search, reason: format!("{cost}; {} takes at most {most} tools", client.title()) };
    }
    if tokens > MOST_TOKENS {
        return Proposal {
            view: ViewChoice::Search,
            reason: format!("{cost}; the search view costs {}", found.list_tokens(View::Search)),
        };
    }
    Proposal { view: ViewChoice::All, reason: format!("{cost}; short enough to show whole") }
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
