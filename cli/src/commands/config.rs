//! `pegboard config`: the operator's configuration of a plugin, checked against its `config_schema` before it is kept.

use std::{
    fs,
    io::{self, IsTerminal},
    path::Path,
    process::Command,
};

use clap::{Args, Subcommand};
use policy::Plugin;
use serde_json::{Map, Value, json};

use super::shelf;
use crate::{
    args::Shelf,
    clean,
    failure::{Failure, Outcome, nearest},
    operator,
    output::{Cell, Output, Tone},
    settings::Settings,
    typed,
};

/// Read and change the configuration of plugins
///
/// What a plugin can be told is in its `config_schema`; a value that does not fit is refused and nothing changes.
/// A running server follows within a second.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard config get weather\n  \
                             pegboard config set weather base_url http://127.0.0.1:8080\n  \
                             pegboard config edit weather")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is set and what can be set
    #[command(after_long_help = "Examples:\n  pegboard config get weather\n  pegboard config get weather base_url")]
    Get {
        /// Name of the plugin
        plugin: String,
        /// One key; its bare value is printed
        key: Option<String>,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Set one key
    #[command(after_long_help = "Examples:\n  \
                                 pegboard config set weather units metric\n  \
                                 pegboard config set tables limits '{\"rows\": 1000}'")]
    Set {
        /// Name of the plugin
        plugin: String,
        /// A key of its config_schema
        key: String,
        /// The value: a word, or JSON where the schema wants a list or an object
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Forget one key, so that the plugin's default holds again
    #[command(after_long_help = "Example:\n  pegboard config unset weather units")]
    Unset {
        /// Name of the plugin
        plugin: String,
        /// A key that is set
        key: String,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Hand the configuration that is there to the plugin as it is now
    ///
    /// A configuration belongs to the plugin that it was made for: another one of the same name, or a version that asks for something else,
    /// is not handed it until you say so.
    #[command(after_long_help = "Example:\n  pegboard config keep weather")]
    Keep {
        /// Name of the plugin
        plugin: String,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Open the configuration in $VISUAL or $EDITOR
    #[command(after_long_help = "Example:\n  EDITOR=nano pegboard config edit weather")]
    Edit {
        /// Name of the plugin
        plugin: String,
        #[command(flatten)]
        shelf: Shelf,
    },
}

impl Config {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let (Action::Get { plugin, shelf, .. }
        | Action::Set { plugin, shelf, .. }
        | Action::Unset { plugin, shelf, .. }
        | Action::Keep { plugin, shelf }
        | Action::Edit { plugin, shelf }) = &self.action;
        let found = shelf::load(settings, shelf)?;
        let plugin = found.plugin(plugin)?;
        match &self.action {
            Action::Get { key, .. } => get(settings, plugin, key.as_deref(), output),
            Action::Set { key, value, .. } => set(settings, plugin, key, value, output),
            Action::Unset { key, .. } => unset(settings, plugin, key, output),
            Action::Keep { .. } => keep(settings, plugin, output),
            Action::Edit { .. } => edit(settings, plugin, output),
        }
    }
}

fn schema(plugin: &Plugin) -> Outcome<&Map<String, Value>> {
    let name = &plugin.manifest.name;
    plugin.manifest.config_schema.as_ref().ok_or_else(|| {
        Failure::usage("config.none", format!("plugin `{name}` takes no configuration"))
            .hint("its manifest has no `config_schema`")
    })
}

fn get(settings: &Settings, plugin: &Plugin, key: Option<&str>, output: &Output) -> Outcome {
    let schema = schema(plugin)?;
    let config = operator::config::held(&settings.places, plugin)?;
    let anothers = operator::config::is_anothers(&settings.places, plugin)?;
    let name = plugin.manifest.name.as_str();
    if let Some(key) = key {
        let Some(value) = config.get(key).or_else(|| typed::property(schema, key)?.get("default")) else {
            return Err(Failure::not_found("config.not_set", format!("`{key}` of `{name}` is not set and has no default")));
        };
        return output
            .show(&json!({"plugin": name, "key": key, "value": value, "set": config.contains_key(key)}), |_| shown(value));
    }
    output.show(&json!({"plugin": name, "config": config, "anothers": anothers, "schema": schema}), |output| {
        let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut keys: Vec<&String> = properties.keys().collect();
        keys.extend(config.keys().filter(|key| !properties.contains_key(*key)));
        if keys.is_empty() {
            return format!("nothing is set for `{name}`");
        }
        let rows = keys.into_iter().map(|key| {
            let property = typed::property(schema, key);
            let of = |word: &str| property.and_then(|property| property.get(word));
            let (value, tone) = match (config.get(key), of("default")) {
                (Some(value), _) => (shown(value), Tone::Good),
                (None, Some(default)) => (format!("{} (default)", shown(default)), Tone::Dim),
                (None, None) => ("not set".to_owned(), Tone::Dim),
            };
            let what = of("description").and_then(Value::as_str).unwrap_or_default();
            vec![Cell::toned(Tone::Strong, key), Cell::toned(tone, value), what.into()]
        });
        let mut text = output.table(&["KEY", "VALUE", "WHAT"], rows.collect());
        if anothers {
            text.push_str(&format!("\na configuration is kept that was not made for this plugin: pegboard config keep {name}\n"));
        }
        text
    })
}

/// A value for people: a string without its quotes.
fn shown(value: &Value) -> String {
    clean::block(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)).into_owned()
}

fn set(settings: &Settings, plugin: &Plugin, key: &str, word: &str, output: &Output) -> Outcome {
    let schema = schema(plugin)?;
    let name = &plugin.manifest.name;
    let property = typed::property(schema, key);
    let properties = schema.get("properties").and_then(Value::as_object);
    if property.is_none()
        && let Some(properties) = properties
        && let Some(hint) = nearest(key, properties.keys().map(String::as_str))
    {
        return Err(Failure::usage("config.unknown_key", format!("`{name}` has no configuration `{key}`")).hint(hint));
    }
    let value = typed::parse(schema, property, word)
        .map_err(|problem| Failure::usage("config.invalid", format!("`{key}`: {problem}")))?;
    let kept = operator::config::change(&settings.places, plugin, |config| {
        config.insert(key.to_owned(), value.clone());
        Ok(())
    })?;
    output.show(&json!({"plugin": name.as_str(), "config": kept}), |_| format!("`{key}` of `{name}` is now {}", shown(&value)))
}

fn unset(settings: &Settings, plugin: &Plugin, key: &str, output: &Output) -> Outcome {
    schema(plugin)?;
    let name = &plugin.manifest.name;
    let kept = operator::config::change(&settings.places, plugin, |config| match config.shift_remove(key) {
        Some(_) => Ok(()),
        None => Err(Failure::not_found("config.not_set", format!("`{key}` of `{name}` is not set"))),
    })?;
    output.show(&json!({"plugin": name.as_str(), "config": kept}), |_| format!("`{key}` of `{name}` is no longer set"))
}

fn keep(settings: &Settings, plugin: &Plugin, output: &Output) -> Outcome {
    schema(plugin)?;
    let name = &plugin.manifest.name;
    if operator::config::text(&settings.places, name)?.is_none() {
        return Err(Failure::not_found("config.not_set", format!("no configuration of `{name}` is kept"))
            .hint(format!("pegboard config set {name} KEY VALUE")));
    }
    let kept = operator::config::keep(&settings.places, plugin)?;
    output.show(&json!({"plugin": name.as_str(), "config": kept}), |_| format!("the configuration of `{name}` is handed to it"))
}

fn edit(settings: &Settings, plugin: &Plugin, output: &Output) -> Outcome {
    let schema = schema(plugin)?;
    let name = &plugin.manifest.name;
    let editor = editor()?;
    let before = operator::config::text(&settings.places, name)?;
    operator::private_folder(&settings.places.config)?;
    // Beside the real file and owner-only, because it may hold what the real file holds.
    let file = tempfile::Builder::new().prefix(&format!(".edit-{name}-")).suffix(".yaml").tempfile_in(&settings.places.config);
    let file = file.map_err(|error| Failure::file("make a file in", &settings.places.config, &error))?;
    let start = before.clone().unwrap_or_else(|| template(plugin, schema));
    fs::write(file.path(), &start).map_err(|error| Failure::file("write", file.path(), &error))?;
    loop {
        open(&editor, file.path())?;
        let text = fs::read_to_string(file.path()).map_err(|error| Failure::file("read", file.path(), &error))?;
        if text == start {
            return output.show(&json!({"plugin": name.as_str(), "changed": false}), |_| "nothing was changed".to_owned());
        }
        match operator::config::replace(&settings.places, plugin, before.as_deref(), &text) {
            Ok(kept) => {
                return output.show(&json!({"plugin": name.as_str(), "changed": true, "config": kept}), |_| {
                    format!("configuration of `{name}` kept")
                });
            }
            Err(failure) if io::stdin().is_terminal() && io::stderr().is_terminal() => {
                output.ask(&format!("{failure}\nEdit again? [Y/n] "));
                let mut answer = String::new();
                io::stdin().read_line(&mut answer).map_err(|error| Failure::file("read", Path::new("standard input"), &error))?;
                if !matches!(answer.trim(), "" | "y" | "Y" | "yes") {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Program and arguments of the operator's editor.
fn editor() -> Outcome<Vec<String>> {
    let words =
        |name: &str| std::env::var(name).ok().map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    ["VISUAL", "EDITOR"].into_iter().filter_map(words).find(|words| !words.is_empty()).ok_or_else(|| {
        Failure::usage("config.editor", "no editor is known: neither VISUAL nor EDITOR is set")
            .hint("EDITOR=nano pegboard config edit PLUGIN, or pegboard config set PLUGIN KEY VALUE")
    })
}

/// Runs the editor on the terminal. It is the operator's own program, named by the operator, so it is not confined.
#[allow(clippy::disallowed_methods, reason = "an interactive program of the operator's choice, not one of ours or of a plugin")]
fn open(editor: &[String], file: &Path) -> Outcome {
    let (program, args) = editor.split_first().map_or(("", &[][..]), |(program, args)| (program.as_str(), args));
    let status = Command::new(program).args(args).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure::usage("config.editor", format!("the editor `{program}` failed: {status}")).hint("nothing was changed"))
        }
        Err(error) => Err(Failure::usage("config.editor", format!("could not start the editor `{program}`: {error}"))),
    }
}

/// What the editor shows when nothing is set: every key with its description, as comments.
fn template(plugin: &Plugin, schema: &Map<String, Value>) -> String {
    let mut text = format!("# Configuration of {}. Lines with # are comments.\n", plugin.manifest.name);
    for (key, _) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let property = typed::property(schema, key);
        let of = |word: &str| property.and_then(|property| property.get(word));
        if let Some(description) = of("description").and_then(Value::as_str) {
            text.push_str(&format!("\n# {}\n", clean::line(description)));
        }
        let value = of("default").or_else(|| of("examples")?.get(0)).map_or_else(|| "…".to_owned(), Value::to_string);
        text.push_str(&format!("# {}: {}\n", clean::line(key), clean::line(&value)));
    }
    text
}
