//! `pegboard trust`: the keys whose signatures count here.

use clap::{Args, Subcommand};
use registry::{Day, TrustStore, TrustedKey};
use serde_json::{Value, json};

use super::{packages, verify::public};
use crate::{
    failure::{Failure, Outcome, nearest},
    operator::trust,
    output::{Cell, Output, Tone},
    settings::{Places, Settings},
};

/// Manage the keys that may sign packages
///
/// A package is trusted when a key of this list signed it that may sign plugins of its name and has not expired. Nothing comes onto the list
/// by itself. It is kept in trust.yaml in the configuration folder.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard trust add ada ada.key.pub --plugins 'text_*' --expires 2027-06-30\n  \
                             pegboard trust list\n  pegboard trust remove ada")]
pub(crate) struct Trust {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a key
    #[command(after_long_help = "Examples:\n  pegboard trust add ada ada.key.pub\n  \
                                 pegboard trust add acme ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= --plugins 'acme_*'")]
    Add {
        /// What you call its owner
        name: String,
        /// The public key: a file, or the key itself as `ed25519:…`
        key: String,
        /// Name of a plugin that it may sign; `*` at the end stands for any rest; repeatable
        #[arg(long, value_name = "PATTERN", default_value = "*")]
        plugins: Vec<String>,
        /// The last day, in UTC, on which it is trusted
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = packages::day)]
        expires: Option<Day>,
    },
    /// Show the trusted keys
    #[command(after_long_help = "Example:\n  pegboard trust list --json")]
    List,
    /// Trust a key no longer
    #[command(after_long_help = "Example:\n  pegboard trust remove ada")]
    Remove {
        /// Name it was added under
        name: String,
    },
}

impl Trust {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        match &self.action {
            Action::Add { name, key, plugins, expires } => add(&settings.places, (name, key), plugins, *expires, output),
            Action::List => list(&trust::read(&settings.places)?, output),
            Action::Remove { name } => remove(&settings.places, name, output),
        }
    }
}

fn add(places: &Places, (name, key): (&str, &str), plugins: &[String], expires: Option<Day>, output: &Output) -> Outcome {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(Failure::usage(
            "trust.name",
            format!("expected a name of 1 to 64 letters, digits or `-_.@`, found `{name}`"),
        ));
    }
    if let Some(pattern) = plugins.iter().find(|pattern| !trust::is_pattern(pattern)) {
        let message = format!("expected a plugin's name, or its start and `*`, found `{pattern}`");
        return Err(Failure::usage("trust.pattern", message));
    }
    let added = trust::today();
    if let Some(day) = expires.filter(|day| *day < added) {
        return Err(Failure::usage("trust.expires", format!("expected a day from {added} on, found {day}")));
    }
    let key = TrustedKey { name: name.to_owned(), key: public(key)?, plugins: plugins.to_vec(), added, expires };
    trust::change(places, |store| {
        if let Some(known) = store.keys.iter().find(|known| known.name == name || known.key == key.key) {
            let message = match known.name == name {
                true => format!("there is a key named `{name}` already"),
                false => format!("that key is there already, as `{}`", known.name),
            };
            return Err(Failure::usage("trust.exists", message).hint(format!("pegboard trust remove {}", known.name)));
        }
        store.keys.push(key.clone());
        Ok(())
    })?;
    output.show(&document(&key), |_| format!("trusted {name} for {} ({})", key.plugins.join(", "), key.key.id()))
}

fn list(store: &TrustStore, output: &Output) -> Outcome {
    let today = trust::today();
    let keys: Vec<Value> = store.keys.iter().map(document).collect();
    output.show(&json!({"keys": keys}), |output| {
        if store.keys.is_empty() {
            return "no trusted keys; add one with pegboard trust add NAME KEY".to_owned();
        }
        let row = |key: &TrustedKey| {
            let (tone, until) = match key.expires {
                Some(day) if day < today => (Tone::Bad, format!("{day} (expired)")),
                Some(day) => (Tone::Good, day.to_string()),
                None => (Tone::Dim, "no end".to_owned()),
            };
            vec![
                Cell::toned(Tone::Strong, &key.name),
                key.plugins.join(" ").into(),
                Cell::toned(tone, until),
                key.key.id().to_string().into(),
            ]
        };
        output.table(&["NAME", "PLUGINS", "UNTIL", "ID"], store.keys.iter().map(row).collect())
    })
}

fn document(key: &TrustedKey) -> Value {
    json!({
        "name": key.name,
        "key": key.key.to_string(),
        "id": key.key.id(),
        "plugins": key.plugins,
        "added": key.added,
        "expires": key.expires,
    })
}

fn remove(places: &Places, name: &str, output: &Output) -> Outcome {
    trust::change(places, |store| {
        let known: Vec<String> = store.keys.iter().map(|key| key.name.clone()).collect();
        store.keys.retain(|key| key.name != name);
        if store.keys.len() == known.len() {
            return Err(Failure::not_found("trust.not_found", format!("there is no key named `{name}`"))
                .maybe_hint(nearest(name, known.iter().map(String::as_str))));
        }
        Ok(())
    })?;
    output.show(&json!({"removed": name}), |_| format!("`{name}` is trusted no longer"))
}
