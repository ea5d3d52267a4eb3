//! A client's configuration with servers taken out and put in; everything else in the file stays byte for byte. Text in, text out; every edit is
//! parsed again and compared with what it should have become, so a form of file that is not understood is refused and never spoiled.

use std::path::Path;

use serde_json::{Map, Value};

use super::{jsonc, read::at};

/// The language of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON, with comments where the client allows them.
    Json,
    /// TOML.
    Toml,
}

/// A server to put in.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) value: Value,
    /// The same as tables, for TOML.
    pub(crate) toml: String,
}

impl Format {
    /// By the file's name.
    pub(crate) fn of(file: &Path) -> Self {
        if file.extension().is_some_and(|extension| extension == "toml") { Self::Toml } else { Self::Json }
    }

    /// The document, or what is wrong with it. An empty file is an empty document.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Json if text.trim().is_empty() => Ok(Value::Object(Map::new())),
            Self::Json => serde_json::from_str(&jsonc::strip(text.strip_prefix('\u{feff}').unwrap_or(text)))
                .map_err(|error| error.to_string()),
            Self::Toml => toml::from_str::<toml::Table>(text)
                .map_err(|error| error.message().to_owned())
                .and_then(|table| serde_json::to_value(table).map_err(|error| error.to_string())),
        }
    }

    /// The text with the servers of the map at `path` replaced.
    pub(crate) fn edit(self, text: &str, path: &[String], remove: &[String], insert: &[Insert]) -> Result<String, String> {
        let before = self.parse(text)?;
        let mut servers = at(&before, path).and_then(Value::as_object).cloned().ok_or("its servers are not where they were")?;
        servers.retain(|name, _| !remove.contains(name));
        for new in insert {
            servers.insert(new.name.clone(), new.value.clone());
        }
        let edited = match self {
            Self::Json => replaced(text, path, &servers)?,
            Self::Toml => tables(text, path, remove, insert),
        };
        let mut wanted = before;
        let place =
            path.iter().try_fold(&mut wanted, |value, key| value.get_mut(key)).ok_or("its servers are not where they were")?;
        *place = Value::Object(servers);
        let mut found = self.parse(&edited)?;
        // A table without entries is no table in TOML.
        for document in [&mut wanted, &mut found] {
            drop_empty(document, path);
        }
        if found == wanted {
            Ok(edited)
        } else {
            Err("it is written in a form that is not understood well enough to change it".to_owned())
        }
    }
}

fn drop_empty(document: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else { return };
    let parent = above.iter().try_fold(document, |value, key| value.get_mut(key)).and_then(Value::as_object_mut);
    if let Some(parent) = parent
        && parent.get(last).and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        parent.shift_remove(last);
    }
}

/// JSON: the one object is written anew, indented as the line it begins on.
fn replaced(text: &str, path: &[String], servers: &Map<String, Value>) -> Result<String, String> {
    let span = jsonc::span(&jsonc::strip(text), path).ok_or("its servers are not where they were")?;
    let (before, after) = (text.get(..span.start).unwrap_or_default(), text.get(span.end..).unwrap_or_default());
    let line = before.rsplit('\n').next().unwrap_or_default();
    let indent: String = line.chars().take_while(|character| matches!(character, ' ' | '\t')).collect();
    let new = format!("{:#}", Value::Object(servers.clone())).replace('\n', &format!("\n{indent}"));
    Ok(format!("{before}{new}{after}"))
}

/// TOML: whole tables are left out by their lines, new ones stand at the end.
fn tables(text: &str, path: &[String], remove: &[String], insert: &[Insert]) -> String {
    let mut out: String =
        split_tables(text).into_iter().filter(|(name, _)| !name_in(name, path, remove)).map(|(_, lines)| lines).collect();
    for new in insert {
        if !out.is_empty() && !out.ends_with("\n\n") {
            out.push_str(if out.ends_with('\n') { "\n" } else { "\n\n" });
        }
        out.push_str(&new.toml);
    }
    out
}

/// The text of a server's tables.
pub(crate) fn tables_of(text: &str, path: &[String], name: &str) -> String {
    let names = [name.to_owned()];
    split_tables(text).into_iter().filter(|(header, _)| name_in(header, path, &names)).map(|(_, lines)| lines).collect()
}

/// Each table's keys with its lines; what stands before the first has no keys.
fn split_tables(text: &str) -> Vec<(Vec<String>, String)> {
    let mut tables: Vec<(Vec<String>, String)> = vec![(Vec::new(), String::new())];
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[')
            && let Some(keys) = header(line.trim())
        {
            tables.push((keys, String::new()));
        }
        if let Some((_, lines)) = tables.last_mut() {
            lines.push_str(line);
        }
    }
    tables
}

/// The keys of a table's header, read by the parser itself: quotes and escapes are its business.
fn header(line: &str) -> Option<Vec<String>> {
    let mut value = Value::Null;
    if let Ok(table) = toml::from_str::<toml::Table>(line) {
        value = serde_json::to_value(table).ok()?;
    }
    let mut keys = Vec::new();
    loop {
        value = match value {
            Value::Object(map) => {
                let Some((key, inner)) = map.into_iter().next() else { break };
                keys.push(key);
                inner
            }
            Value::Array(items) => items.into_iter().next()?,
            _ => break,
        };
    }
    (!keys.is_empty()).then_some(keys)
}

fn name_in(header: &[String], path: &[String], names: &[String]) -> bool {
    header.strip_prefix(path).and_then(<[String]>::first).is_some_and(|name| names.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Format, Insert};

    fn ours() -> Insert {
        Insert {
            name: "pegboard".to_owned(),
            value: json!({"command": "pegboard"}),
            toml: "[mcp_servers.pegboard]\ncommand = \"pegboard\"\n".to_owned(),
        }
    }

    fn path(key: &str) -> Vec<String> {
        vec![key.to_owned()]
    }

    #[test]
    fn the_rest_of_a_json_file_stays() {
        let text = "{\n  // mine\n  \"numStartups\": 1e3,\n  \"mcpServers\": {\n    \"a\": {\"command\": \"x\"}, // gone\n    \"b\": {\"command\": \"y\"},\n  },\n  \"last\": 1.0\n}\n";
        let edited = Format::Json.edit(text, &path("mcpServers"), &["a".to_owned()], &[ours()]).unwrap();
        assert_eq!(
            edited,
            "{\n  // mine\n  \"numStartups\": 1e3,\n  \"mcpServers\": {\n    \"b\": {\n      \"command\": \"y\"\n    },\n    \"pegboard\": {\n      \"command\": \"pegboard\"\n    }\n  },\n  \"last\": 1.0\n}\n"
        );
    }

    #[test]
    fn the_rest_of_a_toml_file_stays() {
        let text = "model = \"x\" # mine\n\n[mcp_servers.a]\ncommand = \"x\"\n[mcp_servers.a.env]\nK = \"v\"\n\n[mcp_servers.\"b c\"]\nurl = \"https://b\"\n\n[profiles.p]\nx = 1\n";
        let edited = Format::Toml.edit(text, &path("mcp_servers"), &["a".to_owned(), "b c".to_owned()], &[ours()]).unwrap();
        assert_eq!(edited, "model = \"x\" # mine\n\n[profiles.p]\nx = 1\n\n[mcp_servers.pegboard]\ncommand = \"pegboard\"\n");
    }

    #[test]
    fn a_form_that_is_not_understood_is_refused() {
        for text in [
            "mcp_servers.a = {command = \"x\"}\n",
            "mcp_servers = {a = {command = \"x\"}}\n",
            "[mcp_servers]\na = {command = \"x\"}\n",
        ] {
            Format::Toml.edit(text, &path("mcp_servers"), &["a".to_owned()], &[ours()]).unwrap_err();
        }
        Format::Json.edit("{\"mcpServers\": [", &path("mcpServers"), &[], &[]).unwrap_err();
        Format::Json.edit("{\"mcpServers\": []}", &path("mcpServers"), &[], &[ours()]).unwrap_err();
    }
}
