//! From a command or an address to a plugin: the manifest that is written for it, and what it needs to be allowed. Reads the file system to tell
//! folders from words; writes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use manifest_schema::{Digest, Permission, PluginName, is_host_with_port};
use policy::{Declared, GrantError, Grants, Level, Plugin, Source};
use serde_json::{Map, Value, json};

use super::secretive;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    operator::{added, reserved},
    settings::Places,
};

/// How a server is reached.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Server {
    /// A program and its arguments, with variables of its environment.
    Command { words: Vec<String>, env: BTreeMap<String, String> },
    /// An address, with headers.
    Address { url: String, headers: BTreeMap<String, String> },
}

/// What the operator asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: PluginName,
    pub(crate) server: Server,
    /// Values of `env` or `headers` that are secrets whatever they look like.
    pub(crate) secret: Vec<String>,
    /// Beyond what is guessed; `None` guesses.
    pub(crate) network: Option<bool>,
    /// Folders beside those among the arguments.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// Folders among the arguments are not to be written.
    pub(crate) read_only: bool,
    /// It may start other programs; package launchers may without.
    pub(crate) spawn: bool,
    pub(crate) level: Option<Level>,
    /// Where relative paths among the arguments begin.
    pub(crate) folder: PathBuf,
}

/// A plugin that could be added.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    /// As it would be loaded.
    pub(crate) plugin: Arc<Plugin>,
    /// `plugin.yaml`.
    pub(crate) text: String,
    /// Values for the store, by name.
    pub(crate) secrets: BTreeMap<String, String>,
    /// Powers to grant; a folder each for those of the file system.
    pub(crate) powers: Vec<(Permission, Option<String>)>,
    pub(crate) level: Option<Level>,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

impl Proposal {
    /// Gives the plugin what it asks for.
    pub(crate) fn grant(&self, grants: &mut Grants) -> Result<(), GrantError> {
        for (power, scope) in &self.powers {
            grants.give(&self.plugin, *power, scope.as_deref())?;
        }
        if let Some(level) = self.level {
            grants.set_level(&self.plugin, level);
        }
        Ok(())
    }
}

/// Launchers that fetch packages before they start a server.
const FETCHING: &[&str] = &["npx", "npm", "uvx", "uv", "pipx", "pnpm", "bunx", "bun", "deno"];

/// Folders that every plugin sees: no grant is needed, and none would be right.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev"];

/// The folders that a command needs.
#[derive(Debug, Default)]
struct Folders {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// Works out the plugin.
pub(crate) fn propose(places: &Places, wanted: &Wanted) -> Outcome<Proposal> {
    let mut secrets = BTreeMap::new();
    let mut notes = Vec::new();
    let mut folders = Folders { read: Vec::new(), write: Vec::new() };
    let described = match &wanted.server {
        Server::Command { words, env } => by_command(words, env, wanted, &mut folders, &mut secrets, &mut notes)?,
        Server::Address { url, headers } => by_address(url, headers, wanted, &mut secrets, &mut notes)?,
    };
    for (folder, list) in wanted.read.iter().map(|folder| (folder, false)).chain(wanted.write.iter().map(|folder| (folder, true)))
    {
        let folder = reserved::grantable(places, folder)?;
        if list {
            push(&mut folders.write, folder.clone());
        }
        push(&mut folders.read, folder);
    }
    for folder in folders.read.iter().chain(&folders.write) {
        reserved::refuse(places, folder)?;
    }
    let text = manifest(wanted, described, &folders, &secrets)?;
    let root = added::folder(places, &wanted.name);
    let manifest = manifest_schema::parse(&root.join("plugin.yaml").display().to_string(), &text).map_err(|problems| {
        let first = problems.0.first().map(ToString::to_string).unwrap_or_default();
        Failure::new(Exit::Usage, "add.invalid", format!("`{}` can't be written as a plugin: {first}", wanted.name))
    })?;
    let content = Digest::of([text.as_bytes()]);
    let plugin = Arc::new(Plugin { manifest, source: Source::Folder(root.clone()), root, content });
    let powers = powers(&plugin, &folders)?;
    Ok(Proposal { plugin, text, secrets, powers, level: wanted.level, notes })
}

/// A server as a manifest speaks of it.
struct Described {
    /// Its `mcp` section.
    section: Value,
    /// The hosts it speaks to, none for any; `None` without the network.
    network: Option<Vec<String>>,
    /// In words, for the plugin's description.
    what: String,
}

fn by_command(
    words: &[String],
    env: &BTreeMap<String, String>,
    wanted: &Wanted,
    folders: &mut Folders,
    secrets: &mut BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Outcome<Described> {
    let words = command(words, wanted, folders)?;
    if words.iter().any(|word| secretive::looks_like_one(word)) {
        let note = "an argument looks like a secret: arguments stay in plugin.yaml, and every user of the machine can read those of a running \
                    program; give it as a variable of the environment if the server takes one";
        notes.push(note.to_owned());
    }
    let program = words.first().map(|word| file_name(word)).unwrap_or_default();
    let env = stored("environment variable", env, &wanted.secret, secrets)?;
    let network = wanted.network.unwrap_or(FETCHING.contains(&program.as_str())).then(Vec::new);
    let what = named_package(&words).map_or(program.clone(), |package| format!("{program} {package}"));
    Ok(Described { section: json!({"command": words, "env": env}), network, what })
}

fn by_address(
    url: &str,
    headers: &BTreeMap<String, String>,
    wanted: &Wanted,
    secrets: &mut BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Outcome<Described> {
    if wanted.network == Some(false) {
        return Err(Failure::usage("add.network", "a server at an address needs the network").hint("leave out --no-network"));
    }
    if url.split_once('?').is_some_and(|(_, query)| query.split('&').any(is_secret_pair)) {
        let note = "the address holds what looks like a secret, and stays in plugin.yaml as it is; give it as --header if the server takes one";
        notes.push(note.to_owned());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let port = if scheme == "http" { 80 } else { 443 };
    let host = if is_host_with_port(&authority) { authority.clone() } else { format!("{authority}:{port}") };
    let section = json!({"url": url, "headers": stored("header", headers, &wanted.secret, secrets)?});
    Ok(Described { section, network: Some(vec![host]), what: authority })
}

fn manifest(wanted: &Wanted, described: Described, folders: &Folders, secrets: &BTreeMap<String, String>) -> Outcome<String> {
    let Described { mut section, network, what } = described;
    let name = &wanted.name;
    if let Value::Object(section) = &mut section {
        section.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    let uses_data =
        section.get("command").and_then(Value::as_array).is_some_and(|words| words.iter().any(|word| word == "$data"));
    let declared = |list: &[PathBuf]| -> Vec<String> {
        if uses_data && !list.is_empty() {
            vec!["$data".to_owned()]
        } else {
            list.iter().map(|folder| folder.display().to_string()).collect()
        }
    };
    let mut document = Map::new();
    document.insert("name".to_owned(), json!(name.as_str()));
    document.insert("version".to_owned(), json!("0.0.0"));
    document.insert("description".to_owned(), json!(format!("Tools of the MCP server {what}")));
    document.insert("runtime".to_owned(), json!("mcp"));
    document.insert("max_memory_mb".to_owned(), json!(1024));
    document.insert("requires_network".to_owned(), json!(network.is_some()));
    if let Some(hosts) = network.filter(|hosts| !hosts.is_empty()) {
        document.insert("network".to_owned(), json!({"hosts": hosts}));
    }
    if wanted.spawn {
        document.insert("permissions".to_owned(), json!(["process_spawn"]));
    }
    if !folders.read.is_empty() || !folders.write.is_empty() {
        document.insert("filesystem".to_owned(), json!({"read": declared(&folders.read), "write": declared(&folders.write)}));
    }
    if !secrets.is_empty() {
        let listed: Vec<Value> = secrets.keys().map(|name| json!({"name": name})).collect();
        document.insert("secrets".to_owned(), json!(listed));
    }
    document.insert("mcp".to_owned(), section);
    let body = serde_saphyr::to_string(&document).map_err(|error| anyhow::anyhow!("could not encode the manifest: {error}"))?;
    Ok(format!("# Written by `pegboard add`; `pegboard remove {name}` takes it back.\n{body}"))
}

fn powers(plugin: &Plugin, folders: &Folders) -> Outcome<Vec<(Permission, Option<String>)>> {
    let mut powers = Vec::new();
    for power in Declared::of(&plugin.manifest).powers {
        let list = match power {
            Permission::FileSystemRead => &folders.read,
            Permission::FileSystemWrite => &folders.write,
            _ => {
                powers.push((power, None));
                continue;
            }
        };
        for folder in list {
            let text = folder
                .to_str()
                .ok_or_else(|| Failure::usage("path.encoding", format!("the path is not UTF-8: {}", folder.display())))?;
            powers.push((power, Some(text.to_owned())));
        }
    }
    Ok(powers)
}

/// The command with paths made absolute and, where the folders it names are all it needs, `$data` in their place.
fn command(words: &[String], wanted: &Wanted, folders: &mut Folders) -> Outcome<Vec<String>> {
    let mut out = Vec::with_capacity(words.len());
    let mut data = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let (flag, value) = match word.split_once('=').filter(|(flag, _)| flag.starts_with('-')) {
            Some((flag, value)) => (format!("{flag}="), value),
            None => (String::new(), word.as_str()),
        };
        let Some(path) = existing(value, &wanted.folder) else {
            out.push(word.clone());
            continue;
        };
        let text =
            path.to_str().ok_or_else(|| Failure::usage("path.encoding", format!("the path is not UTF-8: {}", path.display())))?;
        if path.is_dir() {
            if flag.is_empty() && index > 0 {
                data.push(out.len());
            }
            push(&mut folders.read, path.clone());
            if !wanted.read_only {
                push(&mut folders.write, path.clone());
            }
        } else if let Some(home) = home_of(&path) {
            push(&mut folders.read, home);
        }
        out.push(format!("{flag}{text}"));
    }
    // Granted folders stand for `$data` in the order of their names.
    let sorted = folders.read.is_sorted();
    let alone = sorted && wanted.read.is_empty() && wanted.write.is_empty() && folders.read.len() == data.len();
    let (first, last) = (data.first().copied(), data.last().copied());
    if let (Some(first), Some(last), true) = (first, last, alone)
        && last - first + 1 == data.len()
    {
        out.splice(first..=last, ["$data".to_owned()]);
    }
    Ok(out)
}

/// The path that a word names, when it looks like one and is there. Links are resolved for folders, whose grant must not move; a program
/// behind a link keeps its name.
fn existing(word: &str, from: &Path) -> Option<PathBuf> {
    let looks = word.contains('/') || matches!(word, "." | ".." | "~");
    if !looks || word.contains("://") {
        return None;
    }
    let path = match (word.strip_prefix('~'), std::env::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => from.join(word),
    };
    let metadata = fs::metadata(&path).ok()?;
    if metadata.is_dir() { fs::canonicalize(&path).ok() } else { std::path::absolute(&path).ok() }
}

/// The folder that a program or a script needs to be read: the package it belongs to where its place tells, else its own. `None` for the system's.
fn home_of(file: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(file).ok()?;
    let parent = real.parent()?;
    if SYSTEM.iter().any(|folder| real.starts_with(folder)) {
        return None;
    }
    // A package manager's folder holds what the program loads, beside it.
    let modules =
        real.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "node_modules")).and_then(Path::parent);
    let environment = parent.parent().filter(|folder| folder.join("pyvenv.cfg").is_file());
    Some(modules.or(environment).unwrap_or(parent).to_owned())
}

/// Values with secrets taken out: each becomes `${NAME}`, its value goes to the store.
fn stored(
    kind: &str,
    values: &BTreeMap<String, String>,
    named: &[String],
    secrets: &mut BTreeMap<String, String>,
) -> Outcome<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for (key, value) in values {
        if value.contains("${") {
            let message = format!("the {kind} `{key}` holds a placeholder that nothing here fills in");
            return Err(
                Failure::usage("add.placeholder", message).hint("give its value; what looks like a secret goes to the store")
            );
        }
        if !named.contains(key) && !secretive::is_secret(key, value) {
            out.insert(key.clone(), value.clone());
            continue;
        }
        let name = secretive::name_of(key);
        let scheme = ["Bearer ", "Basic ", "token "].into_iter().find(|scheme| value.starts_with(scheme)).unwrap_or_default();
        out.insert(key.clone(), format!("{scheme}${{{name}}}"));
        if secrets.insert(name.clone(), value.strip_prefix(scheme).unwrap_or(value).to_owned()).is_some() {
            return Err(Failure::usage("add.secret", format!("two values would be kept as the secret `{name}`")));
        }
    }
    Ok(out)
}

fn is_secret_pair(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(key, value)| secretive::is_secret(key, value))
}

/// The package that a launcher is told to start.
fn named_package(words: &[String]) -> Option<String> {
    let program = file_name(words.first()?);
    if !FETCHING.contains(&program.as_str()) {
        return None;
    }
    let skipped = ["run", "exec", "dlx", "x", "tool"];
    words.iter().skip(1).find(|word| !word.starts_with('-') && !skipped.contains(&word.as_str())).cloned()
}

fn file_name(word: &str) -> String {
    Path::new(word).file_name().map_or_else(|| word.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn push(list: &mut Vec<PathBuf>, folder: PathBuf) {
    if !list.contains(&folder) {
        list.push(folder);
    }
}
