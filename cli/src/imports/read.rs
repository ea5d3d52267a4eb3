//! Which servers a client's configuration holds, as each client writes them, with the client's placeholders filled in.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{edit::Format, jsonc};
use crate::{
    clients::Client,
    failure::{Failure, Outcome},
    upstream::shape::Server,
};

/// The largest configuration that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A configuration that was found.
#[derive(Debug)]
pub(crate) struct ClientFile {
    pub(crate) client: Client,
    pub(crate) file: PathBuf,
    /// The same with links resolved.
    pub(crate) real: PathBuf,
    pub(crate) format: Format,
    pub(crate) text: String,
    pub(crate) entries: Vec<Entry>,
}

/// One server of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The client's name for it.
    pub(crate) name: String,
    /// Keys that lead to the map it is in.
    pub(crate) path: Vec<String>,
    pub(crate) kind: Kind,
}

/// What is to be done about it.
#[derive(Debug)]
pub(crate) enum Kind {
    /// It can be imported.
    Import(Found),
    /// It is switched off, and stays so.
    Disabled,
    /// It is Pegboard.
    Ours,
    /// It can't be imported, and why.
    Left(String),
}

/// A server to import.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) server: Server,
    /// Variables and headers that the client asks its user for: secrets whatever they look like.
    pub(crate) secret: Vec<String>,
    /// Where it starts.
    pub(crate) folder: PathBuf,
}

/// Values that a client would fill in.
pub(crate) struct Values<'a> {
    /// The user's folder that the command was started in.
    pub(crate) folder: &'a Path,
    /// Asks for an input of VS Code by its id; `None` where nobody is there.
    pub(crate) ask: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a file; `None` when it is not there.
pub(crate) fn read(client: Client, file: &Path, values: &Values<'_>) -> Outcome<Option<ClientFile>> {
    let text = match fs::metadata(file).map(|found| found.len()) {
        Ok(length) if length > MAX_FILE_BYTES => {
            return Err(Failure::usage(
                "import.too_large",
                format!("`{}` has {length} bytes, at most {MAX_FILE_BYTES} are read", file.display()),
            ));
        }
        Ok(_) => fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", file, &error)),
    };
    let format = Format::of(file);
    let document = format.parse(&text).map_err(|problem| {
        Failure::usage("import.invalid", format!("{}: {problem}", file.display()))
            .hint("nothing was changed: mend the file first")
    })?;
    let mut entries = Vec::new();
    for path in containers(client, &document, values.folder) {
        let Some(map) = at(&document, &path).and_then(Value::as_object) else { continue };
        let off = switched_off(&document, &path, values.folder);
        for (name, entry) in map {
            let kind = if off.contains(name) { Kind::Disabled } else { kind(client, name, entry, values) };
            entries.push(Entry { name: name.clone(), path: path.clone(), kind });
        }
    }
    let real = fs::canonicalize(file).map_err(|error| Failure::file("open", file, &error))?;
    Ok(Some(ClientFile { client, file: file.to_owned(), real, format, text, entries }))
}

/// The client that a file is written for, by its form.
pub(crate) fn client_of(file: &Path) -> Client {
    if file.extension().is_some_and(|extension| extension == "toml") {
        return Client::Codex;
    }
    let known = [Client::ClaudeDesktop, Client::Cursor, Client::Windsurf, Client::Vscode, Client::ClaudeCode];
    if let Some(client) = known.into_iter().find(|client| client.files().iter().any(|one| one == file)) {
        return client;
    }
    let document = fs::read_to_string(file).ok().and_then(|text| serde_json::from_str::<Value>(&jsonc::strip(&text)).ok());
    if document.is_some_and(|document| document.get("servers").is_some()) { Client::Vscode } else { Client::ClaudeCode }
}

/// Where a client keeps its servers; Claude Code has some for each project.
fn containers(client: Client, document: &Value, folder: &Path) -> Vec<Vec<String>> {
    let key = match client {
        Client::Vscode => "servers",
        Client::Codex => "mcp_servers",
        _ => "mcpServers",
    };
    let mut paths = vec![vec![key.to_owned()]];
    let project = vec!["projects".to_owned(), folder.display().to_string(), key.to_owned()];
    if client == Client::ClaudeCode && at(document, &project).is_some() {
        paths.push(project);
    }
    paths
}

/// Claude Code keeps the names of servers that are switched off beside the project's own.
fn switched_off(document: &Value, path: &[String], folder: &Path) -> Vec<String> {
    let project = at(document, &["projects".to_owned(), folder.display().to_string()]);
    let lists = ["disabledMcpServers", "disabledMcpjsonServers"].into_iter().filter_map(|key| project?.get(key)?.as_array());
    if path.is_empty() { Vec::new() } else { lists.flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect() }
}

pub(crate) fn at<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, key| value.get(key))
}

fn kind(client: Client, name: &str, entry: &Value, values: &Values<'_>) -> Kind {
    let flag = |key: &str| entry.get(key).and_then(Value::as_bool);
    if is_ours(name, entry) {
        return Kind::Ours;
    }
    if flag("disabled") == Some(true) || flag("enabled") == Some(false) {
        return Kind::Disabled;
    }
    match server(client, entry, values) {
        Ok(found) => Kind::Import(found),
        Err(reason) => Kind::Left(reason),
    }
}

/// Whether an entry is this program, started or reached.
fn is_ours(name: &str, entry: &Value) -> bool {
    let command = entry.get("command").and_then(Value::as_str).unwrap_or_default();
    let program = Path::new(command).file_name().is_some_and(|file| file == "pegboard");
    let this = std::env::current_exe().is_ok_and(|this| this == Path::new(command));
    program || this || (name == "pegboard" && entry.get("url").is_some())
}

fn server(client: Client, entry: &Value, values: &Values<'_>) -> Result<Found, String> {
    if entry.get("envFile").is_some() {
        return Err("it reads its environment from a file (`envFile`): add it with --env".to_owned());
    }
    let mut secret = Vec::new();
    let folder = match entry.get("cwd").and_then(Value::as_str) {
        Some(folder) => values.folder.join(filled(folder, values)?),
        None => values.folder.to_owned(),
    };
    let address = ["url", "serverUrl", "httpUrl"].into_iter().find_map(|key| entry.get(key)?.as_str());
    let server = match (entry.get("command").and_then(Value::as_str), address) {
        (Some(command), _) => {
            let args = entry.get("args").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let words = args.iter().map(|arg| arg.as_str().ok_or_else(|| "an argument of it is not text".to_owned()));
            let words = std::iter::once(Ok(command))
                .chain(words)
                .map(|word| filled(word?, values))
                .collect::<Result<Vec<_>, String>>()?;
            Server::Command { words, env: texts(entry.get("env"), values, &mut secret)? }
        }
        (None, Some(url)) => {
            let mut headers = texts(entry.get("headers").or_else(|| entry.get("http_headers")), values, &mut secret)?;
            if client == Client::Codex {
                from_environment(entry, &mut headers)?;
            }
            Server::Address { url: filled(url, values)?, headers }
        }
        (None, None) => return Err("it has neither a command nor an address".to_owned()),
    };
    Ok(Found { server, secret, folder })
}

/// Headers that Codex takes from its environment.
fn from_environment(entry: &Value, headers: &mut BTreeMap<String, String>) -> Result<(), String> {
    let value = |name: &str| std::env::var(name).map_err(|_| format!("the variable `{name}` is not set here"));
    if let Some(variable) = entry.get("bearer_token_env_var").and_then(Value::as_str) {
        headers.insert("Authorization".to_owned(), format!("Bearer {}", value(variable)?));
    }
    for (header, variable) in entry.get("env_http_headers").and_then(Value::as_object).into_iter().flatten() {
        headers.insert(header.clone(), value(variable.as_str().unwrap_or_default())?);
    }
    Ok(())
}

fn texts(map: Option<&Value>, values: &Values<'_>, secret: &mut Vec<String>) -> Result<BTreeMap<String, String>, String> {
    let empty = Map::new();
    let map = map.and_then(Value::as_object).unwrap_or(&empty);
    let mut out = BTreeMap::new();
    for (key, value) in map {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return Err(format!("the value of `{key}` is not text")),
        };
        if text.contains("${input:") {
            secret.push(key.clone());
        }
        out.insert(key.clone(), filled(&text, values)?);
    }
    Ok(out)
}

/// A text with the client's placeholders filled in: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${input:id}`, and folders.
fn filled(text: &str, values: &Values<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (word, after) = after.split_once('}').ok_or_else(|| format!("`{text}` has an open placeholder"))?;
        out.push_str(before);
        out.push_str(&placeholder(word, values)?);
        rest = after;
    }
    Ok(out + rest)
}

fn placeholder(word: &str, values: &Values<'_>) -> Result<String, String> {
    let folder = |path: Option<PathBuf>| path.and_then(|path| path.into_os_string().into_string().ok());
    if let Some(id) = word.strip_prefix("input:") {
        return (values.ask)(id).ok_or_else(|| format!("it asks for `{id}`, and nobody is there to answer"));
    }
    match word {
        "workspaceFolder" => {
            return folder(Some(values.folder.to_owned())).ok_or_else(|| "the folder's path is not UTF-8".to_owned());
        }
        "userHome" => return folder(std::env::home_dir()).ok_or_else(|| "there is no home folder".to_owned()),
        "/" | "pathSeparator" => return Ok("/".to_owned()),
        _ => {}
    }
    let name = word.strip_prefix("env:").unwrap_or(word);
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    match (std::env::var(name), default) {
        (Ok(value), _) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        _ => Err(format!("the variable `{name}` is not set here")),
    }
}
