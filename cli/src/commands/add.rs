//! `pegboard add`: an existing MCP server becomes a plugin, after it was started once in its walls and the operator saw what it offers.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use policy::Level;
use serde_json::{Value, json};

use super::{
    asking::{self, Question},
    shelf, words,
};
use crate::{
    args::Shelf,
    failure::{Failure, Outcome},
    operator::added,
    output::Output,
    settings::Settings,
    upstream::{
        admit,
        shape::{self, Server, Wanted},
        show,
    },
};

/// Add an existing MCP server as a plugin
///
/// Shows what the server will be allowed, starts it once within that, shows its tools with what is flagged in them, asks, and keeps each definition as
/// approved: a tool that is defined otherwise later is not served until `pegboard approve`. Folders among the arguments are granted; values of
/// the environment that look like secrets go to the secret store.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard add files -- npx -y @modelcontextprotocol/server-filesystem@2026.8.31 ~/notes\n  \
                             pegboard add github --env GITHUB_TOKEN -- ./github-mcp-server stdio     takes it from this shell\n  \
                             pegboard add tracker https://mcp.example.org/mcp --header 'Authorization: Bearer …'\n  \
                             pegboard remove files")]
pub(crate) struct Add {
    /// Name of the plugin
    name: String,
    /// Address of a server (Streamable HTTP or SSE)
    #[arg(value_name = "URL", conflicts_with = "command")]
    url: Option<String>,
    /// A program and its arguments, after --
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// A variable of the program's environment; without a value it is taken from this shell
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "The server")]
    env: Vec<String>,
    /// A header of every request to the address
    #[arg(long, value_name = "NAME: VALUE", help_heading = "The server")]
    header: Vec<String>,
    /// Keep this variable or header in the secret store, whatever it looks like
    #[arg(long, value_name = "NAME", help_heading = "The server")]
    secret: Vec<String>,
    /// A further folder it may read
    #[arg(long, value_name = "DIR", help_heading = "What it may do")]
    read: Vec<PathBuf>,
    /// A further folder it may read and write
    #[arg(long, value_name = "DIR", help_heading = "What it may do")]
    write: Vec<PathBuf>,
    /// Folders among the arguments may be read and not written
    #[arg(long, help_heading = "What it may do")]
    read_only: bool,
    /// It may open network connections
    ///
    /// Launchers that fetch packages (npx, uvx and the like) and servers at an address may without this.
    #[arg(long, help_heading = "What it may do", conflicts_with = "no_network")]
    network: bool,
    /// It may not, even if its launcher fetches packages
    #[arg(long, help_heading = "What it may do")]
    no_network: bool,
    /// It may start other programs, inside the same sandbox; package launchers may without this
    #[arg(long, help_heading = "What it may do")]
    spawn: bool,
    /// The least sandbox level it may run at
    #[arg(long, value_parser = words::level, help_heading = "What it may do")]
    level: Option<Level>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    shelf: Shelf,
}

const START: Question = Question {
    ask: "Start it once and read its tools?",
    unconfirmed: "add.unconfirmed",
    declined: "add.declined",
    nothing: "nothing was added",
};
const KEEP: Question = Question {
    ask: "Approve these tools and add the plugin?",
    unconfirmed: "add.unconfirmed",
    declined: "add.declined",
    nothing: "nothing was added",
};

impl Add {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        added::make_root(&settings.places)?;
        let found = shelf::load(settings, &self.shelf)?;
        let wanted = self.wanted()?;
        refuse_taken(&found, &wanted)?;
        let proposal = shape::propose(&settings.places, &wanted)?;
        asking::confirm(output, self.yes, &admit::consequences(&proposal, found.reached)?, &START)?;
        let candidate = admit::inspect(settings, found.reached, proposal)?;
        let names = admit::other_tools(&found, wanted.name.as_str());
        let others: Vec<&str> = names.iter().map(String::as_str).collect();
        asking::confirm(output, self.yes, &candidate.render(&output.plain(), &others), &KEEP)?;
        candidate.write(&settings.places)?;
        let mut document = candidate.document(&others);
        if let Value::Object(map) = &mut document {
            map.insert("added".to_owned(), json!(true));
        }
        let count = candidate.inspection.tools.len();
        output.show(&document, |_| {
            format!("added `{}` with {}; a running server follows within a second", wanted.name, show::counted(count, "tool"))
        })
    }

    fn wanted(&self) -> Outcome<Wanted> {
        let folder = std::env::current_dir().map_err(|error| Failure::file("open", &PathBuf::from("."), &error))?;
        let server = match &self.url {
            Some(url) if self.env.is_empty() => Server::Address { url: url.clone(), headers: headers(&self.header)? },
            Some(_) => {
                return Err(Failure::usage("add.env", "a server at an address has no environment of ours").hint("give --header"));
            }
            None if self.command.is_empty() => {
                return Err(Failure::usage("add.nothing", "name a server: an address, or a command after `--`")
                    .hint(format!("pegboard add {} -- COMMAND …", self.name)));
            }
            None if self.header.is_empty() => Server::Command { words: self.command.clone(), env: environment(&self.env)? },
            None => return Err(Failure::usage("add.header", "a command takes no headers").hint("give --env")),
        };
        Ok(Wanted {
            name: words::plugin_name(&self.name)?,
            server,
            secret: self.secret.clone(),
            network: if self.network { Some(true) } else { self.no_network.then_some(false) },
            read: self.read.clone(),
            write: self.write.clone(),
            read_only: self.read_only,
            spawn: self.spawn,
            level: self.level,
            folder,
        })
    }
}

/// Refuses a name that something else goes by: it would be shadowed, or shadow.
pub(crate) fn refuse_taken(found: &shelf::Found, wanted: &Wanted) -> Outcome {
    let name = wanted.name.as_str();
    let root = found.catalog.plugin(name).map(|entry| entry.plugin.root.clone());
    let root = root.or_else(|| found.catalog.broken.iter().find(|broken| broken.name == name).map(|broken| broken.root.clone()));
    match root {
        Some(root) => {
            Err(Failure::usage("plugin.exists", format!("there is a plugin `{name}` already, in `{}`", root.display()))
                .hint(format!("choose another name, or pegboard remove {name} if it was added")))
        }
        None => Ok(()),
    }
}

fn environment(pairs: &[String]) -> Outcome<BTreeMap<String, String>> {
    let parse = |pair: &String| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => std::env::var(pair).map(|value| (pair.clone(), value)).map_err(|_| {
            Failure::usage("add.env", format!("`{pair}` is not set in this shell")).hint(format!("--env {pair}=VALUE"))
        }),
    };
    pairs.iter().map(parse).collect()
}

fn headers(lines: &[String]) -> Outcome<BTreeMap<String, String>> {
    let parse = |line: &String| match line.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::usage("add.header", "a header is written `NAME: VALUE`")),
    };
    lines.iter().map(parse).collect()
}
