//! `pegboard import-config`: the servers of an MCP client's configuration become plugins, and, only when told to, ours replaces them there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum as _};
use manifest_schema::PluginName;
use policy::Definition;
use serde_json::{Value, json};
use server::View;

use super::{
    asking::{self, Question},
    client_config::{by_stdio, propose},
    shelf::{self, Found},
};
use crate::{
    args::{Global, Shelf},
    clients::Client,
    failure::{Failure, Outcome},
    imports::{
        apply::{self, Changed, Edit},
        edit::Insert,
        items::{Item, State, inspect_all, propose_all},
        read::{self, ClientFile, Values},
    },
    operator::added,
    output::{Output, Tone},
    settings::Settings,
    upstream::{admit, show},
};

/// Take over the MCP servers of a client
///
/// Reads the configuration of Claude Code, Claude Desktop, Codex, Cursor, VS Code or Windsurf, shows each server with what it will be allowed,
/// starts it once within that, shows its tools, and makes a plugin of it; secrets move to the secret store. The client's file is written only with
/// --apply: its entries are replaced by Pegboard's, with a backup beside it that --undo brings back.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard import-config                          every client that is set up here\n  \
                             pegboard import-config cursor --dry-run         what would be taken over; nothing is started\n  \
                             pegboard import-config claude-desktop --apply   and replace its entries\n  \
                             pegboard import-config ./.mcp.json\n  \
                             pegboard import-config claude-desktop --undo")]
pub(crate) struct ImportConfig {
    /// A client (claude-code, claude-desktop, codex, cursor, vscode, windsurf) or a file; all clients by default
    #[arg(value_name = "CLIENT|FILE")]
    from: Option<String>,
    /// Replace the imported entries in the client's file by Pegboard's
    #[arg(long, conflicts_with_all = ["undo", "dry_run"])]
    apply: bool,
    /// Put back what --apply replaced; the plugins stay
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    /// Show what would be imported; start and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    shelf: Shelf,
}

const START: Question = Question {
    ask: "Start each of them once and read its tools?",
    unconfirmed: "import.unconfirmed",
    declined: "import.declined",
    nothing: "nothing was imported",
};
const KEEP: Question = Question {
    ask: "Approve these tools and add the plugins?",
    unconfirmed: "import.unconfirmed",
    declined: "import.declined",
    nothing: "nothing was imported",
};

impl ImportConfig {
    pub(crate) fn run(&self, settings: &Settings, global: &Global, output: &Output) -> Outcome {
        if self.undo {
            return self.take_back(settings, output);
        }
        let folder = std::env::current_dir().map_err(|error| Failure::file("open", Path::new("."), &error))?;
        let ask = |id: &str| ask_input(output, id);
        let files = self.read(&Values { folder: &folder, ask: &ask })?;
        added::make_root(&settings.places)?;
        let found = shelf::load(settings, &self.shelf)?;
        let mut items = propose_all(settings, &found, &files)?;
        let plain = output.plain();
        if self.dry_run {
            let plan = plan(&plain, &items, &found)?;
            return show_all(output, &found, &items, json!({"dry_run": true}), &crate::clean::block(&plan));
        }
        if items.iter().any(|item| matches!(item.state, State::Proposed(_))) {
            asking::confirm(output, self.yes, &plan(&plain, &items, &found)?, &START)?;
            inspect_all(settings, &found, &mut items);
            asking::confirm(output, self.yes, &candidates(&plain, &items, &found), &KEEP)?;
            for item in &items {
                if let State::Ready(candidate) = &item.state {
                    candidate.write(&settings.places)?;
                }
            }
        }
        // As it is now, with the new plugins.
        let after = shelf::load(settings, &self.shelf)?;
        let tokens = tokens(&items, &after);
        let applied = if self.apply { self.replace(settings, global, &after, &files, &items)? } else { Vec::new() };
        let text = result(output, &items, &tokens, &applied, self.apply);
        show_all(output, &found, &items, json!({"tokens": tokens, "applied": applied}), &text)
    }

    /// The files that are meant and are there.
    fn read(&self, values: &Values<'_>) -> Outcome<Vec<ClientFile>> {
        let mut files: Vec<ClientFile> = Vec::new();
        for (client, file) in self.sources()? {
            // In the home folder a client's file for the user and the one for the folder are the same.
            let file = values.folder.join(file);
            let real = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if !files.iter().any(|known| known.real == real) {
                files.extend(read::read(client, &file, values)?);
            }
        }
        if files.is_empty() {
            let message = self.from.as_ref().map_or_else(
                || "no configuration of a known client is here".to_owned(),
                |from| format!("there is no configuration of `{from}`"),
            );
            return Err(Failure::not_found("import.not_found", message).hint("name a file: pegboard import-config ./mcp.json"));
        }
        Ok(files)
    }

    fn sources(&self) -> Outcome<Vec<(Client, PathBuf)>> {
        let of = |client: Client| client.files().into_iter().map(move |file| (client, file));
        let Some(from) = &self.from else { return Ok(Client::value_variants().iter().copied().flat_map(of).collect()) };
        if let Ok(client) = Client::from_str(from, false) {
            return Ok(of(client).collect());
        }
        let file = std::path::absolute(from).map_err(|error| Failure::file("resolve", Path::new(from), &error))?;
        if file.is_file() {
            return Ok(vec![(read::client_of(&file), file)]);
        }
        let known = Client::value_variants().iter().map(|client| client.as_str());
        Err(Failure::not_found("import.not_found", format!("`{from}` is neither a client nor a file"))
            .maybe_hint(crate::failure::nearest(from, known)))
    }

    fn take_back(&self, settings: &Settings, output: &Output) -> Outcome {
        let mut undone = Vec::new();
        let wanted: Option<Vec<PathBuf>> = match &self.from {
            Some(_) => Some(self.sources()?.into_iter().map(|(_, file)| std::fs::canonicalize(&file).unwrap_or(file)).collect()),
            None => None,
        };
        for file in apply::replaced_files(&settings.places)? {
            if wanted.as_ref().is_none_or(|wanted| wanted.contains(&file))
                && let Some(record) = apply::undo(&settings.places, &file)?
            {
                undone.push(record.file);
            }
        }
        if undone.is_empty() {
            return Err(Failure::not_found("import.nothing_to_undo", "nothing that --apply replaced is left to put back"));
        }
        output.show(&json!({"undone": undone}), |_| {
            undone.iter().map(|file| format!("put back the entries of {}\n", file.display())).collect::<String>()
                + "the plugins stay: pegboard remove NAME\n"
        })
    }

    /// Replaces what was taken over, in all files or in none.
    fn replace(
        &self,
        settings: &Settings,
        global: &Global,
        found: &Found,
        files: &[ClientFile],
        items: &[Item<'_>],
    ) -> Outcome<Vec<Value>> {
        let (mut edits, mut documents) = (Vec::new(), Vec::new());
        for file in files {
            let changes = changes(file, items);
            if changes.is_empty() {
                continue;
            }
            let view = propose(file.client, found).view;
            let reach = by_stdio(settings, global, &self.shelf, view)?;
            let Some((value, toml)) = file.client.server(&reach) else { continue };
            let ours = Insert { name: "pegboard".to_owned(), value, toml };
            edits.push(Edit { file: &file.file, format: file.format, text: &file.text, changes, ours });
            documents.push(json!({"client": file.client.as_str(), "file": file.file, "view": view.as_str()}));
        }
        let backups = apply::apply(&settings.places, edits)?;
        for (document, backup) in documents.iter_mut().zip(backups) {
            document["backup"] = json!(backup);
        }
        Ok(documents)
    }
}

/// What is taken out of a file and put into it, map by map.
fn changes(file: &ClientFile, items: &[Item<'_>]) -> Vec<Changed> {
    let of_file = |item: &&Item<'_>| std::ptr::eq(item.file, file);
    let mut changes: BTreeMap<&[String], Changed> = BTreeMap::new();
    for item in items.iter().filter(of_file).filter(|item| matches!(item.state, State::Ready(_) | State::Known)) {
        let ours = |other: &Item<'_>| other.entry.path == item.entry.path && matches!(other.state, State::Ours);
        let there = items.iter().filter(of_file).any(ours);
        let change = changes.entry(&item.entry.path).or_insert_with(|| Changed {
            path: item.entry.path.clone(),
            removed: Vec::new(),
            inserted: (!there).then(|| "pegboard".to_owned()),
        });
        change.removed.push(item.entry.name.clone());
    }
    changes.into_values().collect()
}

/// An input of VS Code, from the terminal without echo.
fn ask_input(output: &Output, id: &str) -> Option<String> {
    if !asking::somebody() {
        return None;
    }
    output.ask(&format!("{id} (not shown): "));
    rpassword::read_password().ok().filter(|value| !value.is_empty())
}

/// What is in the files, and what each server will be allowed.
fn plan(output: &Output, items: &[Item<'_>], found: &Found) -> Outcome<String> {
    let mut text = String::new();
    let mut last: Option<&Path> = None;
    for item in items {
        if last != Some(&item.file.file) {
            text.push_str(&format!("{} {}\n", output.paint(Tone::Strong, item.file.client.title()), item.file.file.display()));
            last = Some(&item.file.file);
        }
        text.push_str(&line(item));
        if let State::Proposed(proposal) = &item.state {
            text.extend(admit::consequences(proposal, found.reached)?.lines().map(|line| format!("    {line}\n")));
        }
    }
    Ok(text)
}

fn line(item: &Item<'_>) -> String {
    let name = crate::clean::line(&item.entry.name);
    match (&item.state, &item.plugin) {
        (State::Skipped(reason), _) => format!("  {name}: skipped: {}\n", crate::clean::line(reason)),
        (State::Disabled, _) => format!("  {name}: disabled, stays so\n"),
        (State::Ours, _) => format!("  {name}: is Pegboard\n"),
        (State::Known, Some(plugin)) => format!("  {name}: is plugin `{plugin}` already\n"),
        (_, Some(plugin)) => format!("  {name}: plugin `{plugin}`\n"),
        (state, None) => format!("  {name}: {}\n", state.word()),
    }
}

/// The tools of every server that was started; those that could not be are named.
fn candidates(output: &Output, items: &[Item<'_>], found: &Found) -> String {
    let mut text = String::new();
    for item in items {
        match (&item.state, &item.plugin) {
            (State::Ready(candidate), Some(plugin)) => {
                let names = admit::other_tools(found, plugin.as_str());
                let others: Vec<&str> = names.iter().map(String::as_str).collect();
                text.push_str(&format!("{}: {}", output.paint(Tone::Strong, plugin.as_str()), candidate.render(output, &others)));
            }
            (State::Skipped(_), _) => text.push_str(&line(item)),
            _ => {}
        }
    }
    text
}

/// Prompt tokens: what the client's own entries cost now, and what both views cost with everything behind them.
fn tokens(items: &[Item<'_>], after: &Found) -> Value {
    let ready = items.iter().filter_map(|item| match &item.state {
        State::Ready(candidate) => Some(candidate.inspection.tools.as_slice()),
        _ => None,
    });
    let definitions: Vec<Definition> = ready.flatten().cloned().collect();
    let (all, search) = (after.list_tokens(View::All), after.list_tokens(View::Search));
    json!({"before": show::tokens(&definitions), "after_all": all, "after_search": search, "tools": definitions.len()})
}

fn result(output: &Output, items: &[Item<'_>], tokens: &Value, applied: &[Value], apply: bool) -> String {
    let mut text: String = items.iter().map(line).collect();
    text.push_str(&format!(
        "prompt tokens of the imported tools: {} before; after: {} in the all view with Pegboard's other tools, {} in the search view\n",
        tokens["before"], tokens["after_all"], tokens["after_search"]
    ));
    for file in applied {
        let path = |key: &str| crate::clean::line(file[key].as_str().unwrap_or_default());
        text.push_str(&format!(
            "replaced the entries of {}; the backup {} holds its secrets as the file did\n",
            path("file"),
            path("backup")
        ));
    }
    if !apply {
        text.push_str(&output.paint(Tone::Dim, "no client's file was changed; --apply replaces the entries by Pegboard's\n"));
    }
    text
}

fn show_all(output: &Output, found: &Found, items: &[Item<'_>], more: Value, text: &str) -> Outcome {
    let servers: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut document = match &item.state {
                State::Ready(candidate) => {
                    let names = admit::other_tools(found, item.plugin.as_ref().map_or("", PluginName::as_str));
                    candidate.document(&names.iter().map(String::as_str).collect::<Vec<_>>())
                }
                State::Proposed(proposal) => {
                    json!({"mcp": proposal.plugin.manifest.mcp, "secrets": proposal.secrets.keys().collect::<Vec<_>>()})
                }
                _ => json!({}),
            };
            if let Some(map) = document.as_object_mut() {
                map.insert("client".to_owned(), json!(item.file.client.as_str()));
                map.insert("file".to_owned(), json!(item.file.file));
                map.insert("name".to_owned(), json!(item.entry.name));
                map.insert("plugin".to_owned(), json!(item.plugin));
                map.insert("state".to_owned(), json!(item.state.word()));
                if let State::Skipped(reason) = &item.state {
                    map.insert("reason".to_owned(), json!(reason));
                }
            }
            document
        })
        .collect();
    let mut document = json!({"servers": servers});
    if let (Some(map), Value::Object(more)) = (document.as_object_mut(), more) {
        map.extend(more);
    }
    output.show(&document, |_| text.to_owned())
}
