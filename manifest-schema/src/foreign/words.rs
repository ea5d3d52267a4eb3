//! Words of other hosts in ours: names, versions, powers, types, packages, sizes. What has no equal is said, never guessed.

use serde_json::{Map, Value, json};

/// A name of ours for any text: words in lower case, joined with underscores; nothing when no letter is left.
pub(super) fn name(text: &str, limit: usize) -> Option<String> {
    let mut words = String::new();
    let mut before = ' ';
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) && !words.ends_with('_') {
                words.push('_');
            }
            words.push(letter.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('_') {
            words.push('_');
        }
        before = letter;
    }
    let words = words.trim_start_matches(|letter: char| !letter.is_ascii_lowercase());
    let cut: String = words.chars().take(limit).collect();
    let cut = cut.trim_end_matches('_');
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// The head of a manifest; a version that is none is replaced, and said to be.
pub(super) fn head(document: &Map<String, Value>, name: &str, description: &str, notes: &mut Vec<String>) -> Map<String, Value> {
    let version = text(document, "version").and_then(version).unwrap_or_else(|| {
        notes.push("its version is missing or not a version: 0.1.0 was taken".to_owned());
        "0.1.0".to_owned()
    });
    let description = cut(description, 2000);
    let head = [("name", json!(name)), ("version", json!(version)), ("description", json!(description))];
    head.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Says which keys are not read.
pub(super) fn leave(document: &Map<String, Value>, known: &[&str], notes: &mut Vec<String>) {
    let left = document.keys().filter(|key| !known.contains(&key.as_str()));
    notes.extend(left.map(|key| format!("`{}` has no place in plugin.yaml", cut(key, 60))));
}

/// A semantic version for any version: `1.0` is `1.0.0`.
pub(super) fn version(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    if semver::Version::parse(text).is_ok() {
        return Some(text.to_owned());
    }
    let mut parts: Vec<u64> = text.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    parts.resize(3, 0);
    let version = parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    (text.split('.').count() <= 3).then_some(version)
}

/// The powers behind a foreign permission; nothing when the word means none of ours.
pub(super) fn powers(word: &str) -> Option<&'static [&'static str]> {
    let plain: String =
        word.to_ascii_lowercase().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { ' ' }).collect();
    let has = |wanted: &[&str]| plain.split(' ').any(|word| wanted.contains(&word));
    let reads = has(&["read", "readonly"]);
    let writes = has(&["write", "delete", "create"]);
    Some(match () {
        () if has(&["net", "network", "internet", "http", "https", "web", "fetch"]) => &["network_access"],
        () if has(&["fs", "file", "files", "filesystem", "disk", "directory"]) => match (reads, writes) {
            (true, false) => &["file_system_read"],
            (false, true) => &["file_system_write"],
            _ => &["file_system_read", "file_system_write"],
        },
        () if has(&["database", "db", "sql", "sqlite", "mongo"]) => &["database_access"],
        () if has(&["api"]) => &["external_api"],
        () if has(&["system", "sysinfo", "os"]) => &["system_info"],
        () if has(&["process", "spawn", "exec", "shell", "subprocess"]) => &["process_spawn"],
        () if has(&["env", "environment"]) => &["env_read"],
        () if has(&["eval", "dynamic"]) => &["dynamic_code"],
        () if has(&["plugin", "plugins"]) => &["plugin_communication"],
        () if has(&["ui", "user", "prompt"]) => &["user_interface"],
        () => return None,
    })
}

/// The schema of a foreign type word; empty, with false, when the word is unknown.
pub(super) fn schema(kind: &str) -> (Map<String, Value>, bool) {
    let kind = kind.trim().to_ascii_lowercase();
    let word = match kind.as_str() {
        "string" | "str" | "text" | "url" | "uri" | "path" | "file" | "filepath" | "date" | "datetime" | "email" | "enum" => {
            "string"
        }
        "number" | "float" | "double" | "decimal" => "number",
        "integer" | "int" | "long" => "integer",
        "boolean" | "bool" => "boolean",
        "array" | "list" | "string[]" | "tuple" | "set" => "array",
        "object" | "dict" | "dictionary" | "map" | "json" | "record" => "object",
        "any" | "mixed" | "unknown" => return (Map::new(), true),
        _ => return (Map::new(), false),
    };
    (Map::from_iter([("type".to_owned(), json!(word))]), true)
}

/// A package requirement as a dependency; nothing for what is no plain requirement (options, addresses, markers).
pub(super) fn package(line: &str) -> Option<Value> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let end = line.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_.[],".contains(letter))).unwrap_or(line.len());
    let (name, version) = line.split_at(end);
    let version = version.trim();
    let plain = version.is_empty() || version.starts_with(['=', '<', '>', '!', '~']);
    let odd = line.contains([';', '@', '/', ' ']) && version.contains([';', '@', '/']);
    if name.is_empty() || name.starts_with('-') || !plain || odd {
        return None;
    }
    let mut dependency = json!({"name": name, "source": "pypi"});
    if let (false, Value::Object(map)) = (version.is_empty(), &mut dependency) {
        map.insert("version".to_owned(), json!(version.replace(' ', "")));
    }
    Some(dependency)
}

/// A number of MiB: a number of them, or a text with a unit.
pub(super) fn mebibytes(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        // More than this many MiB is nobody's limit: bytes are meant.
        return Some(if number > 1 << 20 { number >> 20 } else { number }.clamp(16, 65_536));
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().ok()?;
    let found = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" | "m" => number,
        "g" => number.checked_mul(1024)?,
        "k" => number / 1024,
        _ => return None,
    };
    Some(found.clamp(16, 65_536))
}

/// A number of seconds. Above a thousand, milliseconds are meant: nobody writes a limit of a quarter of an hour in seconds here.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().trim_end_matches(['s', 'm']).parse().ok())?;
    Some(if number >= 1_000 { number.div_ceil(1_000) } else { number }.clamp(1, 86_400))
}

/// Text of a key, when it is text that says something.
pub(super) fn text<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    map.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The first `limit` characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    text.chars().filter(|letter| !letter.is_control() || *letter == '\n').take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_sizes() {
        for (text, expected) in
            [("Text Analysis!", Some("text_analysis")), ("getUserByID", Some("get_user_by_id")), ("2fa", Some("fa")), ("…", None)]
        {
            assert_eq!(name(text, 30).as_deref(), expected, "{text}");
        }
        assert_eq!(name("a_very_long_name_that_goes_on_and_on", 10).as_deref(), Some("a_very_lon"));
        for (text, expected) in [
            ("1.0", Some("1.0.0")),
            ("v2", Some("2.0.0")),
            ("1.2.3-beta", Some("1.2.3-beta")),
            ("latest", None),
            ("1.2.3.4", None),
        ] {
            assert_eq!(version(text).as_deref(), expected, "{text}");
        }
        for (value, expected) in [
            (json!(128), Some(128)),
            (json!("256MB"), Some(256)),
            (json!("1g"), Some(1024)),
            (json!(268_435_456), Some(256)),
            (json!("much"), None),
            (json!(1), Some(16)),
        ] {
            assert_eq!(mebibytes(&value), expected, "{value}");
        }
        for (value, expected) in [(json!(30), Some(30)), (json!(30_000), Some(30)), (json!("5s"), Some(5)), (json!(null), None)] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }

    #[test]
    fn powers_and_packages_are_taken_only_where_they_are_understood() {
        assert_eq!(powers("net.fetch"), Some(&["network_access"][..]));
        assert_eq!(powers("fs.read"), Some(&["file_system_read"][..]));
        assert_eq!(powers("filesystem"), Some(&["file_system_read", "file_system_write"][..]));
        assert_eq!(powers("gpu"), None);
        assert_eq!(package("requests >= 2.0 # why"), Some(json!({"name": "requests", "source": "pypi", "version": ">=2.0"})));
        assert_eq!(package("numpy"), Some(json!({"name": "numpy", "source": "pypi"})));
        for bad in ["-r other.txt", "git+https://example.org/x", "x @ https://example.org/x", "x; python_version < '3'", ""] {
            assert_eq!(package(bad), None, "{bad}");
        }
    }
}
