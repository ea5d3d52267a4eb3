//! Folders that no plugin is granted: those that hold Pegboard's own configuration, data and cache. Whoever could write there could grant
//! itself anything; whoever could read there, every secret.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::{Failure, Outcome},
    settings::Places,
};

/// The folder as it really is: a link that is changed later must not move a grant. Refuses Pegboard's own.
pub(crate) fn grantable(places: &Places, folder: &Path) -> Outcome<PathBuf> {
    let path = match (folder.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.to_owned(),
    };
    let real = fs::canonicalize(&path)
        .map_err(|error| Failure::not_found("grant.folder", format!("could not open folder `{}`: {error}", path.display())))?;
    if !real.is_dir() {
        return Err(Failure::usage("grant.folder", format!("expected a folder, found the file `{}`", path.display())));
    }
    refuse(places, &real)?;
    Ok(real)
}

/// Refuses a folder that holds one of ours, or lies in one.
pub(crate) fn refuse(places: &Places, real: &Path) -> Outcome {
    for (what, own) in [("configuration", &places.config), ("data", &places.data), ("cache", &places.cache)] {
        let own = resolved(own);
        if own.starts_with(real) || real.starts_with(&own) {
            let message = format!(
                "`{}` is not granted: it {} Pegboard's own {what} folder `{}`",
                real.display(),
                relation(real, &own),
                own.display()
            );
            return Err(Failure::usage("grant.own_folder", message)
                .hint("grant a folder beside it, or one further down that holds only the data"));
        }
    }
    Ok(())
}

fn relation(real: &Path, own: &Path) -> &'static str {
    if real == own {
        "is"
    } else if own.starts_with(real) {
        "contains"
    } else {
        "lies in"
    }
}

/// As it really is as far as it exists: the folder may be made later, and then must not be inside what was granted.
fn resolved(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = fs::canonicalize(at) {
            return rest.iter().rev().fold(real, |path, part| path.join(part));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                at = parent;
            }
            _ => return path.to_owned(),
        }
    }
}
