//! `pegboard secret`: values that only the plugin they belong to may see. They are never taken from the command line and never printed.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use manifest_schema::PluginName;
use policy::{Declared, Plugin};
use serde_json::json;

use super::{shelf, words};
use crate::{
    args::Shelf,
    failure::{Failure, Outcome, nearest},
    operator::{
        self,
        secrets::{self, MAX_SECRET_BYTES, SecretName},
    },
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Manage the secrets of plugins
///
/// A secret is kept in an owner-only file and handed to the plugin inside the request of a call, never in its environment or arguments.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard secret set weather OPENWEATHER_API_KEY      asks, without showing what you type\n  \
                             pass show weather | pegboard secret set weather OPENWEATHER_API_KEY\n  \
                             pegboard secret list\n  \
                             pegboard secret remove weather OPENWEATHER_API_KEY")]
pub(crate) struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set a secret: from the terminal without echo, or from standard input
    #[command(after_long_help = "Examples:\n  \
                                 pegboard secret set weather OPENWEATHER_API_KEY\n  \
                                 pegboard secret set weather OPENWEATHER_API_KEY --value-file ./key.txt\n\n\
                                 The value is never taken from the command line: every user of the machine can read that.")]
    Set {
        /// Name of the plugin
        plugin: String,
        /// Name of the secret, as the manifest declares it
        name: String,
        /// Read the value from a file; `-` is standard input
        #[arg(long, value_name = "FILE")]
        value_file: Option<PathBuf>,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Hand a value that is there to the plugin as it is now
    ///
    /// A secret belongs to the plugin that it was set for: another one of the same name, or a version that asks for something else, is not
    /// handed it until you say so.
    #[command(after_long_help = "Example:\n  pegboard secret keep weather OPENWEATHER_API_KEY")]
    Keep {
        /// Name of the plugin
        plugin: String,
        /// Name of the secret, as the manifest declares it
        name: String,
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Show which secrets are declared and set, without their values
    #[command(after_long_help = "Examples:\n  pegboard secret list\n  pegboard secret list --json")]
    List {
        #[command(flatten)]
        shelf: Shelf,
    },
    /// Forget a secret
    #[command(after_long_help = "Example:\n  pegboard secret remove weather OPENWEATHER_API_KEY")]
    Remove {
        /// Name of the plugin
        plugin: String,
        /// Name of the secret
        name: String,
    },
}

impl Secret {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        match &self.action {
            Action::Set { plugin, name, value_file, shelf } => {
                let found = shelf::load(settings, shelf)?;
                let plugin = found.plugin(plugin)?;
                let name = declared(plugin, name)?;
                let value = read_value(plugin, &name, value_file.as_deref())?;
                secrets::set(&settings.places, plugin, &name, &value)?;
                let document = json!({"plugin": plugin.manifest.name.as_str(), "name": name.as_str(), "set": true});
                output.show(&document, |_| format!("secret `{}` of `{}` is set", name.as_str(), plugin.manifest.name))
            }
            Action::Keep { plugin, name, shelf } => {
                let found = shelf::load(settings, shelf)?;
                let plugin = found.plugin(plugin)?;
                let name = declared(plugin, name)?;
                if !secrets::keep(&settings.places, plugin, &name)? {
                    return Err(not_set(&plugin.manifest.name, &name));
                }
                let document = json!({"plugin": plugin.manifest.name.as_str(), "name": name.as_str(), "set": true});
                output.show(&document, |_| format!("secret `{}` is handed to `{}`", name.as_str(), plugin.manifest.name))
            }
            Action::List { shelf } => list(settings, shelf, output),
            Action::Remove { plugin, name } => {
                let (plugin, name) = (words::plugin_name(plugin)?, SecretName::parse(name)?);
                if !secrets::forget(&settings.places, &plugin, &name)? {
                    return Err(not_set(&plugin, &name));
                }
                let document = json!({"plugin": plugin.as_str(), "name": name.as_str(), "set": false});
                output.show(&document, |_| format!("secret `{}` of `{plugin}` is forgotten", name.as_str()))
            }
        }
    }
}

fn not_set(plugin: &PluginName, name: &SecretName) -> Failure {
    Failure::not_found("secret.not_found", format!("secret `{}` of `{plugin}` is not set", name.as_str()))
        .hint("pegboard secret list shows what is set")
}

/// A name that the plugin declares; another one would never reach it.
fn declared(plugin: &Plugin, name: &str) -> Outcome<SecretName> {
    let parsed = SecretName::parse(name)?;
    let known: Vec<&str> = plugin.manifest.secrets.iter().map(|secret| secret.name.as_str()).collect();
    if known.contains(&name) {
        return Ok(parsed);
    }
    let hint = nearest(name, known.iter().copied()).unwrap_or_else(|| match known.as_slice() {
        [] => "it declares no secret".to_owned(),
        known => format!("it declares {}", known.join(", ")),
    });
    Err(Failure::not_found("secret.not_declared", format!("plugin `{}` declares no secret `{name}`", plugin.manifest.name))
        .hint(hint))
}

fn read_value(plugin: &Plugin, name: &SecretName, file: Option<&Path>) -> Outcome<String> {
    let value = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => capped(File::open(file).map_err(|error| Failure::file("open", file, &error))?, file)?,
        None if file.is_none() && io::stdin().is_terminal() => {
            rpassword::prompt_password(format!("{} of {} (not shown): ", name.as_str(), plugin.manifest.name))
                .map_err(|error| Failure::file("read", Path::new("the terminal"), &error))?
        }
        None => capped(io::stdin().lock(), Path::new("standard input"))?,
    };
    // One line break at the end belongs to the editor or to `echo`, not to the value.
    let value = value.strip_suffix('\n').unwrap_or(&value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Failure::usage("secret.empty", "the value is empty").hint("pegboard secret remove forgets a secret"));
    }
    Ok(value.to_owned())
}

fn capped(source: impl Read, path: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    source.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| Failure::file("read", path, &error))?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(Failure::usage(
            "secret.too_large",
            format!("expected at most {MAX_SECRET_BYTES} bytes, found more: `{}`", path.display()),
        ));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("secret.encoding", format!("expected UTF-8 text: `{}`", path.display())))
}

/// A secret of the list: declared by a plugin that is there, set, or both.
struct Listed {
    plugin: String,
    name: String,
    state: &'static str,
    required: bool,
    note: String,
}

fn list(settings: &Settings, shelf: &Shelf, output: &Output) -> Outcome {
    let set = secrets::all(&settings.places)?;
    let found = shelf::load(settings, shelf)?;
    let grants = operator::grants::read(&settings.places)?;
    let mut listed: Vec<Listed> = Vec::new();
    for plugin in found.plugins() {
        let grant = grants.of(plugin, &Declared::of(&plugin.manifest));
        for secret in &plugin.manifest.secrets {
            let held = set.iter().find(|held| held.plugin == plugin.manifest.name.as_str() && held.name == secret.name);
            let problem = held.and_then(|held| held.problem.clone());
            let handed = grant.is_some_and(|grant| grant.secrets.contains(&secret.name));
            let anothers =
                "set for another plugin of this name, or before this one declared what it does now: pegboard secret keep";
            let note = held.filter(|_| problem.is_none() && !handed).map(|_| anothers.to_owned());
            listed.push(Listed {
                plugin: plugin.manifest.name.to_string(),
                name: secret.name.clone(),
                state: match (held, &problem) {
                    (None, _) => "not set",
                    (Some(_), Some(_)) => "refused",
                    (Some(_), None) if handed => "set",
                    (Some(_), None) => "anothers",
                },
                required: secret.required,
                note: problem.or(note).or_else(|| secret.description.clone()).unwrap_or_default(),
            });
        }
    }
    for held in set {
        if !listed.iter().any(|listed| listed.plugin == held.plugin && listed.name == held.name) {
            let note = held.problem.unwrap_or_else(|| "no plugin here declares it".to_owned());
            listed.push(Listed { plugin: held.plugin, name: held.name, state: "unused", required: false, note });
        }
    }
    listed.sort_by(|a, b| (&a.plugin, &a.name).cmp(&(&b.plugin, &b.name)));
    let document = json!({"secrets": listed.iter().map(|secret| json!({
        "plugin": secret.plugin, "name": secret.name, "state": secret.state, "required": secret.required, "note": secret.note,
    })).collect::<Vec<_>>()});
    output.show(&document, |output| {
        if listed.is_empty() {
            return "no secret is set, and no plugin here asks for one".to_owned();
        }
        let rows = listed.iter().map(|secret| {
            let tone = match (secret.state, secret.required) {
                ("set", _) => Tone::Good,
                ("not set" | "anothers", true) => Tone::Care,
                ("refused", _) => Tone::Bad,
                _ => Tone::Dim,
            };
            let needed = if secret.required { "required" } else { "optional" };
            vec![
                Cell::toned(Tone::Strong, &secret.plugin),
                (&secret.name).into(),
                Cell::toned(tone, secret.state),
                needed.into(),
                (&secret.note).into(),
            ]
        });
        output.table(&["PLUGIN", "SECRET", "STATE", "", "WHAT"], rows.collect())
    })
}
