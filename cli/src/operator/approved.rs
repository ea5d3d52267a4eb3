//! `approved/<plugin>.json`: the definitions of an upstream server's tools that the operator approved. What they mean is [`policy::Approval`].

use std::{fs, io, path::PathBuf};

use manifest_schema::PluginName;
use policy::{Approval, Plugin};

use super::{Lock, private_folder, remove, write_private};
use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

fn path(places: &Places, plugin: &PluginName) -> PathBuf {
    places.config.join("approved").join(format!("{plugin}.json"))
}

/// What was approved of this plugin: nothing when what is kept was given for another server or source under its name.
pub(crate) fn of(places: &Places, plugin: &Plugin) -> Outcome<Approval> {
    let path = path(places, &plugin.manifest.name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Approval::none(plugin)),
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    let approval: Approval = serde_json::from_str(&text).map_err(|error| {
        Failure::usage("operator.invalid", format!("{}: {error}", path.display()))
            .hint("nothing was changed: mend the file or move it away")
    })?;
    Ok(if approval.fits(plugin) { approval } else { Approval::none(plugin) })
}

/// Keeps an approval.
pub(crate) fn write(places: &Places, approval: &Approval) -> Outcome {
    let lock = Lock::take(places)?;
    private_folder(&places.config.join("approved"))?;
    let text =
        serde_json::to_string_pretty(approval).map_err(|error| anyhow::anyhow!("could not encode the approval: {error}"))?;
    write_private(&lock, &path(places, &approval.plugin), text.as_bytes())
}

/// Forgets it. Returns whether there was one.
pub(crate) fn forget(places: &Places, plugin: &PluginName) -> Outcome<bool> {
    let lock = Lock::take(places)?;
    remove(&lock, &path(places, plugin))
}
