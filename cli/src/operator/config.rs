//! `config/<plugin>.yaml`: the operator's configuration of a plugin, kept only when it fits the plugin's `config_schema`, and
//! handed only to the plugin that it was made for.

use std::{fs, io, path::PathBuf};

use manifest_schema::{Manifest, PluginName};
use policy::{Declared, Grants, Plugin};
use serde_json::{Map, Value};
use server::Schema;

use super::{Lock, grants, private_folder, read_yaml, write_private};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Places,
};

/// The file of a plugin.
pub(crate) fn path(places: &Places, plugin: &PluginName) -> PathBuf {
    places.config.join("config").join(format!("{plugin}.yaml"))
}

/// The configuration that this plugin is handed: nothing when what is kept under its name is another's.
pub(crate) fn held(places: &Places, plugin: &Plugin) -> Outcome<Map<String, Value>> {
    if is_holder(places, plugin)? { read_yaml(&path(places, &plugin.manifest.name)) } else { Ok(Map::new()) }
}

/// Whether something is kept under the plugin's name that it is not handed.
pub(crate) fn is_anothers(places: &Places, plugin: &Plugin) -> Outcome<bool> {
    Ok(!is_holder(places, plugin)? && !read_yaml::<Map<String, Value>>(&path(places, &plugin.manifest.name))?.is_empty())
}

fn is_holder(places: &Places, plugin: &Plugin) -> Outcome<bool> {
    Ok(grants::read(places)?.of(plugin, &Declared::of(&plugin.manifest)).is_some_and(|grant| grant.config))
}

/// The file as the operator wrote it, comments and all; `None` when there is none.
pub(crate) fn text(places: &Places, plugin: &PluginName) -> Outcome<Option<String>> {
    let path = path(places, plugin);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", &path, &error)),
    }
}

/// Changes the configuration under the lock, and keeps it when it fits the schema.
pub(crate) fn change(
    places: &Places,
    plugin: &Plugin,
    change: impl FnOnce(&mut Map<String, Value>) -> Outcome,
) -> Outcome<Map<String, Value>> {
    let lock = Lock::take(places)?;
    let name = &plugin.manifest.name;
    if is_anothers(places, plugin)? {
        let message = format!(
            "the configuration that is kept was made for another plugin named `{name}`, or before this one declared what it does now"
        );
        return Err(Failure::usage("config.anothers", message)
            .hint(format!("pegboard config keep {name} hands it over; pegboard config edit {name} shows it")));
    }
    let mut config = read_yaml(&path(places, name))?;
    change(&mut config)?;
    check(&plugin.manifest, &config)?;
    let text =
        serde_saphyr::to_string(&config).map_err(|error| anyhow::anyhow!("could not encode the configuration: {error}"))?;
    write(&lock, places, plugin, &text)?;
    Ok(config)
}

/// Makes this plugin the holder of the configuration that is there, when it fits its schema.
pub(crate) fn keep(places: &Places, plugin: &Plugin) -> Outcome<Map<String, Value>> {
    let lock = Lock::take(places)?;
    let config = read_yaml(&path(places, &plugin.manifest.name))?;
    check(&plugin.manifest, &config)?;
    hand(&lock, places, plugin, || Ok(()))?;
    Ok(config)
}

/// Keeps a text that the operator edited, when it parses and fits the schema, and nobody changed the file since it was `before`.
pub(crate) fn replace(places: &Places, plugin: &Plugin, before: Option<&str>, text: &str) -> Outcome<Map<String, Value>> {
    let lock = Lock::take(places)?;
    let manifest = &plugin.manifest;
    if self::text(places, &manifest.name)?.as_deref() != before {
        let message = format!("the configuration of `{}` was changed by someone else meanwhile", manifest.name);
        return Err(Failure::usage("config.changed", message).hint(format!("pegboard config edit {}, once more", manifest.name)));
    }
    let config: Map<String, Value> = if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        Map::new()
    } else {
        serde_saphyr::from_str(text).map_err(|error| {
            let message = error.to_string();
            let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("is not valid YAML").trim().to_owned();
            Failure::usage("config.invalid", format!("the configuration of `{}` is not valid: {first}", manifest.name))
        })?
    };
    check(manifest, &config)?;
    write(&lock, places, plugin, text)?;
    Ok(config)
}

fn write(lock: &Lock, places: &Places, plugin: &Plugin, text: &str) -> Outcome {
    private_folder(&places.config.join("config"))?;
    let path = path(places, &plugin.manifest.name);
    hand(lock, places, plugin, || write_private(lock, &path, text.as_bytes()))
}

fn hand(lock: &Lock, places: &Places, plugin: &Plugin, write: impl FnOnce() -> Outcome) -> Outcome {
    let withdraw = |grants: &mut Grants| grants.withdraw_config(&plugin.manifest.name);
    grants::hand_over(lock, places, withdraw, write, |grants| {
        grants.hand_config(plugin);
        Ok(())
    })
}

/// Whether a configuration fits the plugin's schema.
pub(crate) fn check(manifest: &Manifest, config: &Map<String, Value>) -> Outcome {
    let Some(schema) = &manifest.config_schema else {
        return Err(Failure::usage("config.none", format!("plugin `{}` takes no configuration", manifest.name))
            .hint("its manifest has no `config_schema`"));
    };
    // The server's own check, so that what is kept is what it takes.
    let schema = Schema::compile(schema).map_err(|error| {
        Failure::new(Exit::Invalid, "config.schema", format!("`config_schema` of `{}` is not valid: {error}", manifest.name))
    })?;
    let Err(misfits) = schema.check(&Value::Object(config.clone())) else { return Ok(()) };
    let problems: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    Err(Failure::usage(
        "config.invalid",
        format!("the configuration of `{}` does not fit: {}", manifest.name, problems.join("; ")),
    )
    .hint(format!(
        "nothing was changed; pegboard config get {} shows what is set, pegboard info {} what it takes",
        manifest.name, manifest.name
    )))
}
