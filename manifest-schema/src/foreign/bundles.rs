//! `manifest.json` of a bundle of an MCP server (`.mcpb`): its server becomes an upstream server, started by command in the plugin's folder. Its
//! tools are not taken from the manifest: they are read from the server itself, and approved.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Converted, ForeignError, ForeignPlugin, Form,
    words::{self, cut, text},
};

/// Keys that are read; the rest is named in the notes.
const KNOWN: [&str; 17] = [
    "manifest_version",
    "dxt_version",
    "$schema",
    "name",
    "display_name",
    "version",
    "description",
    "long_description",
    "author",
    "license",
    "homepage",
    "repository",
    "keywords",
    "server",
    "user_config",
    "compatibility",
    "tools",
];
/// Variables that a bundle's host fills in and nothing here could: where a person's folders are.
const HOST_FOLDERS: [&str; 4] = ["${HOME}", "${DESKTOP}", "${DOCUMENTS}", "${DOWNLOADS}"];
/// Programs that fetch what they run.
const FETCHING: [&str; 6] = ["npx", "uvx", "uv", "pipx", "bunx", "deno"];

/// Whether a `manifest.json` is a bundle's.
pub(super) fn is_bundle(document: &Map<String, Value>) -> bool {
    let says = document.contains_key("manifest_version") || document.contains_key("dxt_version");
    says && document.get("server").is_some_and(Value::is_object)
}

/// How the server is started.
struct Start {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    /// Folders that its user chooses are among the arguments.
    folders: bool,
    /// Secrets by name: description, and whether it goes without.
    secrets: BTreeMap<String, (String, bool)>,
}

pub(super) fn convert(plugin: &ForeignPlugin<'_>, document: &Map<String, Value>) -> Result<Converted, ForeignError> {
    let file = Form::ManifestJson.file();
    let mut notes = Vec::new();
    let empty = Map::new();
    let server = document.get("server").and_then(Value::as_object).unwrap_or(&empty);
    runs_here(document)?;
    let start = start(server, document, &mut notes)?;
    let title = text(document, "name").unwrap_or(plugin.folder);
    let name = [title, plugin.folder].into_iter().find_map(|text| words::name(text, 30));
    let Some(name) = name else { return Err(ForeignError::NotAPlugin { file, expected: "a name with letters" }) };
    let mut manifest = words::head(document, &name, text(document, "description").unwrap_or(title), &mut notes);
    about(document, &mut manifest);
    manifest.insert("runtime".to_owned(), json!("mcp"));
    manifest.insert("max_memory_mb".to_owned(), json!(1024));
    powers(&start, &mut manifest, &mut notes);
    if !start.secrets.is_empty() {
        let secrets = start.secrets.iter();
        let secrets = secrets.map(|(name, (what, required))| json!({"name": name, "description": what, "required": required}));
        manifest.insert("secrets".to_owned(), secrets.collect());
    }
    let mut section = json!({"command": start.command});
    if let (false, Some(section)) = (start.env.is_empty(), section.as_object_mut()) {
        section.insert("env".to_owned(), json!(start.env));
    }
    manifest.insert("mcp".to_owned(), section);
    notes.push(format!("its tools are read from its server and wait for your approval: pegboard approve {name}"));
    words::leave(document, &KNOWN, &mut notes);
    let executable = start.command.first().filter(|program| program.starts_with("./")).cloned();
    Ok(Converted { manifest, adapter: None, pairs_script: None, whole: true, executable, notes })
}

/// Whether it says that it runs on Linux; a bundle that does not say runs anywhere.
fn runs_here(document: &Map<String, Value>) -> Result<(), ForeignError> {
    let platforms = document.get("compatibility").and_then(|known| known.get("platforms")).and_then(Value::as_array);
    match platforms {
        Some(list) if !list.iter().any(|platform| platform == "linux") => {
            Err(ForeignError::NoEntry { reason: format!("it runs on {} and not on Linux", Value::Array(list.clone())) })
        }
        _ => Ok(()),
    }
}

fn about(document: &Map<String, Value>, manifest: &mut Map<String, Value>) {
    let author = document.get("author");
    let named = author.and_then(Value::as_object).and_then(|author| {
        let name = text(author, "name")?;
        Some(text(author, "email").map_or_else(|| name.to_owned(), |email| format!("{name} <{email}>")))
    });
    let author = named.or_else(|| author.and_then(Value::as_str).map(str::to_owned));
    author.map(|author| manifest.insert("author".to_owned(), json!(cut(&author, 200).replace('\n', " "))));
    let repository =
        document.get("repository").and_then(|repository| repository.as_str().or_else(|| repository.get("url")?.as_str()));
    let address = |found: Option<&str>| {
        found.filter(|found| found.starts_with("https://") && !found.contains(char::is_whitespace)).map(str::to_owned)
    };
    for (key, found) in [("homepage", address(text(document, "homepage"))), ("repository", address(repository))] {
        found.map(|found| manifest.insert(key.to_owned(), json!(found)));
    }
    text(document, "license")
        .filter(|license| license.len() <= 100 && !license.contains(['\n', '/']))
        .map(|license| manifest.insert("license".to_owned(), json!(license)));
    let keywords = document.get("keywords").and_then(Value::as_array);
    let keywords: Vec<String> = keywords
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|word| cut(word.trim(), 40).to_lowercase())
        .filter(|word| !word.is_empty())
        .take(20)
        .collect();
    if !keywords.is_empty() {
        manifest.insert("keywords".to_owned(), json!(keywords));
    }
}

fn powers(start: &Start, manifest: &mut Map<String, Value>, notes: &mut Vec<String>) {
    if start.folders {
        manifest.insert("permissions".to_owned(), json!(["file_system_read", "file_system_write"]));
        manifest.insert("filesystem".to_owned(), json!({"read": ["$data"], "write": ["$data"]}));
        notes.push("folders that its user chooses are those that you grant".to_owned());
    }
    let fetches = start.command.first().is_some_and(|program| FETCHING.contains(&program.as_str()));
    manifest.insert("requires_network".to_owned(), json!(fetches));
    if !fetches {
        let note = "bundles do not say whether they need the network, so it has none: set `requires_network: true` in its plugin.yaml, and grant it";
        notes.push(note.to_owned());
    }
}

fn start(server: &Map<String, Value>, document: &Map<String, Value>, notes: &mut Vec<String>) -> Result<Start, ForeignError> {
    let empty = Map::new();
    let no_entry = |reason: String| ForeignError::NoEntry { reason };
    let kind = text(server, "type").unwrap_or_default();
    let entry = text(server, "entry_point").map(|entry| entry.trim_start_matches("./"));
    if !["node", "python", "binary", "uv"].contains(&kind) {
        return Err(ForeignError::Language { language: cut(kind, 40) });
    }
    let config = server.get("mcp_config").and_then(Value::as_object).unwrap_or(&empty);
    let here = config.get("platform_overrides").and_then(|known| known.get("linux")).and_then(Value::as_object).unwrap_or(&empty);
    let asked = Asked { config: document.get("user_config").and_then(Value::as_object).unwrap_or(&empty) };
    let said = text(here, "command").or_else(|| text(config, "command"));
    let args = here.get("args").or_else(|| config.get("args")).and_then(Value::as_array);
    let mut start = Start { command: Vec::new(), env: BTreeMap::new(), folders: false, secrets: BTreeMap::new() };
    match (said, entry) {
        (Some(said), _) => {
            start.command.push(program(&asked.literal(said)?, notes));
            for arg in args.into_iter().flatten() {
                let arg = arg.as_str().ok_or_else(|| no_entry("an argument of its command is no text".to_owned()))?;
                asked.argument(arg, &mut start, notes)?;
            }
        }
        (None, Some(entry)) => start.command = usual(kind, entry),
        (None, None) => return Err(no_entry("it has neither `mcp_config.command` nor `entry_point`".to_owned())),
    }
    let mut env = config.get("env").and_then(Value::as_object).cloned().unwrap_or_default();
    env.extend(here.get("env").and_then(Value::as_object).cloned().unwrap_or_default());
    for (name, value) in &env {
        let Some(value) = value.as_str() else {
            notes.push(format!("the variable `{}` is no text and was left out", cut(name, 60)));
            continue;
        };
        if let Some(value) = asked.variable(name, value, &mut start, notes) {
            start.env.insert(name.clone(), value);
        }
    }
    Ok(start)
}

/// What a server is started by that only names its file.
fn usual(kind: &str, entry: &str) -> Vec<String> {
    let words: &[&str] = match kind {
        "node" => &["node"],
        "python" => &["python3"],
        "uv" => &["uv", "run", "--directory", "."],
        _ => return vec![format!("./{entry}")],
    };
    words.iter().copied().chain([entry]).map(str::to_owned).collect()
}

fn program(said: &str, notes: &mut Vec<String>) -> String {
    if said == "python" {
        notes.push("`python` is `python3` here".to_owned());
        return "python3".to_owned();
    }
    said.to_owned()
}

/// What a bundle asks its user.
struct Asked<'a> {
    config: &'a Map<String, Value>,
}

impl Asked<'_> {
    /// The bundle's own folder is where its server is started.
    fn literal(&self, text: &str) -> Result<String, ForeignError> {
        let filled = text.replace("${__dirname}", ".").replace("${/}", "/").replace("${pathSeparator}", "/");
        if filled.contains("${") {
            return Err(ForeignError::NoEntry { reason: format!("nothing here fills in `{}`", cut(text, 120)) });
        }
        Ok(filled)
    }

    fn is_folder(&self, key: &str) -> bool {
        matches!(self.config.get(key).and_then(|entry| entry.get("type")).and_then(Value::as_str), Some("directory" | "file"))
    }

    fn is_sensitive(&self, key: &str) -> bool {
        self.config.get(key).and_then(|entry| entry.get("sensitive")) == Some(&Value::Bool(true))
    }

    fn is_required(&self, key: &str) -> bool {
        self.config.get(key).and_then(|entry| entry.get("required")) == Some(&Value::Bool(true))
    }

    /// What holds when its user says nothing; a list for what may be given several times.
    fn defaults(&self, key: &str) -> Option<Vec<String>> {
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        match self.config.get(key)?.get("default")? {
            Value::Array(list) => list.iter().map(scalar).collect(),
            value => scalar(value).map(|text| vec![text]),
        }
    }

    /// An argument, which may stand for several.
    fn argument(&self, arg: &str, start: &mut Start, notes: &mut Vec<String>) -> Result<(), ForeignError> {
        let Some((key, whole)) = placeholder(arg) else {
            start.command.push(self.literal(arg)?);
            return Ok(());
        };
        let refused = |why: &str| {
            let reason = format!("its argument `{}` {why}; unpack it, then: pegboard add NAME -- COMMAND", cut(arg, 120));
            Err(ForeignError::NoEntry { reason })
        };
        if self.is_folder(key) {
            if !whole {
                return refused("has a folder of its user's within a word");
            }
            if !start.folders {
                start.command.push("$data".to_owned());
                start.folders = true;
            }
            return Ok(());
        }
        if self.is_sensitive(key) {
            return refused("is a secret, and every user of a machine can read arguments");
        }
        match self.defaults(key) {
            Some(values) => {
                for value in values {
                    start.command.push(self.literal(&arg.replace(&format!("${{user_config.{key}}}"), &value))?);
                }
                notes.push(format!("`{}` is its default; it stands in `mcp.command`", cut(key, 60)));
                Ok(())
            }
            None if self.is_required(key) => refused("must be given by its user"),
            None => {
                notes.push(format!("the argument `{}` was left out: it has no default", cut(arg, 120)));
                Ok(())
            }
        }
    }

    /// A variable of its environment; what its user gives is a secret here, since that is what an operator sets for one plugin.
    fn variable(&self, name: &str, value: &str, start: &mut Start, notes: &mut Vec<String>) -> Option<String> {
        let left_out = |why: &str| format!("the variable `{}` was left out: {why}", cut(name, 60));
        let Some((key, whole)) = placeholder(value) else {
            return match self.literal(value) {
                Ok(value) => Some(value),
                Err(_) if HOST_FOLDERS.iter().any(|folder| value.contains(folder)) => {
                    notes.push(left_out("it names a folder of its user's"));
                    None
                }
                Err(_) => {
                    notes.push(left_out("nothing here fills it in"));
                    None
                }
            };
        };
        if self.is_folder(key) {
            notes.push(left_out("it names a folder that its user chooses; write it into `mcp.env`, and grant the folder"));
            return None;
        }
        let default = self.defaults(key).filter(|_| !self.is_sensitive(key)).map(|values| values.join(","));
        if let Some(default) = default {
            notes.push(format!("`{}` is its default; it stands in `mcp.env`", cut(key, 60)));
            return self.literal(&value.replace(&format!("${{user_config.{key}}}"), &default)).ok();
        }
        let Some(secret) = words::name(key, 60).map(|secret| secret.to_ascii_uppercase()) else {
            notes.push(left_out("what it asks for has no name"));
            return None;
        };
        let Some(entry) = self.config.get(key).and_then(Value::as_object) else {
            notes.push(left_out("the bundle does not say what it asks for"));
            return None;
        };
        if !whole && placeholder(&value.replace(&format!("${{user_config.{key}}}"), "")).is_some() {
            notes.push(left_out("it is made of several answers"));
            return None;
        }
        let what = text(entry, "description").or_else(|| text(entry, "title")).unwrap_or(key);
        start.secrets.insert(secret.clone(), (cut(what, 300).replace('\n', " "), true));
        if !self.is_required(key) {
            notes.push(format!("`{}` is optional in the bundle; here it must be set, or taken out of `mcp.env`", cut(key, 60)));
        }
        Some(value.replace(&format!("${{user_config.{key}}}"), &format!("${{{secret}}}")))
    }
}

/// The first answer that a text asks for, and whether it is all of it.
fn placeholder(text: &str) -> Option<(&str, bool)> {
    let (before, rest) = text.split_once("${user_config.")?;
    let (key, after) = rest.split_once('}')?;
    Some((key, before.is_empty() && after.is_empty()))
}
