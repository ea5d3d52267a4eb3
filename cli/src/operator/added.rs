//! `<data>/added/<plugin>/plugin.yaml`: plugins that the operator made of existing MCP servers. Served on every start, like a folder given with
//! `--plugins`; each one's source is its own folder.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf};

use manifest_schema::PluginName;

use super::{Lock, private_folder, write_private};
use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The folder of all of them.
pub(crate) fn root(places: &Places) -> PathBuf {
    places.data.join("added")
}

/// Makes it, so that a running server watches it before the first plugin is there.
pub(crate) fn make_root(places: &Places) -> Outcome<PathBuf> {
    let root = root(places);
    private_folder(&root)?;
    fs::canonicalize(&root).map_err(|error| Failure::file("open", &root, &error))
}

/// The folder of one, by its real path once the folder around it exists: a grant's source is compared by text.
pub(crate) fn folder(places: &Places, name: &PluginName) -> PathBuf {
    let root = root(places);
    fs::canonicalize(&root).unwrap_or(root).join(name.as_str())
}

/// Whether there is one of this name.
pub(crate) fn exists(places: &Places, name: &PluginName) -> bool {
    folder(places, name).join("plugin.yaml").exists()
}

/// Makes the folder of one. Its server sees it, as root under another user: that user may read and enter it, and nobody gets past the folder
/// around it.
pub(crate) fn make(places: &Places, name: &PluginName) -> Outcome<PathBuf> {
    make_root(places)?;
    let folder = folder(places, name);
    private_folder(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).map_err(|error| Failure::file("change", &folder, &error))?;
    Ok(folder)
}

/// Writes the manifest, whole or not at all.
pub(crate) fn write(places: &Places, name: &PluginName, text: &str) -> Outcome {
    let lock = Lock::take(places)?;
    let folder = make(places, name)?;
    write_private(&lock, &folder.join("plugin.yaml"), text.as_bytes())
}

/// Removes the folder with all that is in it. The manifest goes first: from then on it is no plugin.
pub(crate) fn remove(places: &Places, name: &PluginName) -> Outcome<bool> {
    let lock = Lock::take(places)?;
    let folder = folder(places, name);
    let was = super::remove(&lock, &folder.join("plugin.yaml"))?;
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(was),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(was),
        Err(error) => Err(Failure::file("remove", &folder, &error)),
    }
}
