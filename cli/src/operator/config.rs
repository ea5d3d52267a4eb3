//! `config/<plugin>.yaml`: the operator's configuration of a plugin, kept only when it fits the plugin's `config_schema`.

use std::{fs, io, path::PathBuf};

use manifest_schema::{Manifest, PluginName};
use serde_json::{Map, Value};
use server::Schema;

use super::{Lock, private_folder, read_yaml, write_private};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::Places,
};

/// The file of a plugin.
pub(crate) fn path(places: &Places, plugin: &PluginName) -> PathBuf {
    places.config.join("config").join(format!("{plugin}.yaml"))
}

/// The configuration as it is.
pub(crate) fn read(places: &Places, plugin: &PluginName) -> Outcome<Map<String, Value>> {
    read_yaml(&path(places, plugin))
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
    manifest: &Manifest,
    change: impl FnOnce(&mut Map<String, Value>) -> Outcome,
) -> Outcome<Map<String, Value>> {
    let lock = Lock::take(&places.config)?;
    let mut config = read(places, &manifest.name)?;
    change(&mut config)?;
    check(manifest, &config)?;
    let text =
        serde_saphyr::to_string(&config).map_err(|error| anyhow::anyhow!("could not encode the configuration: {error}"))?;
    keep(&lock, places, &manifest.name, &text)?;
    Ok(config)
}

/// Keeps a text that the operator edited, when it parses and fits the schema, and nobody changed the file since it was `before`.
pub(crate) fn replace(places: &Places, manifest: &Manifest, before: Option<&str>, text: &str) -> Outcome<Map<String, Value>> {
    let lock = Lock::take(&places.config)?;
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
    keep(&lock, places, &manifest.name, text)?;
    Ok(config)
}

fn keep(lock: &Lock, places: &Places, plugin: &PluginName, text: &str) -> Outcome {
    private_folder(&places.config.join("config"))?;
    write_private(lock, &path(places, plugin), text.as_bytes())
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
