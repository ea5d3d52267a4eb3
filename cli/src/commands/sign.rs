//! `pegboard sign`: puts a signature into a package.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::Args;
use registry::{Day, SecretKey, Terms, sign};
use serde_json::json;

use super::packages;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    operator::trust,
    output::{Output, Tone},
};

/// Sign a package
///
/// The signature names every file of the package with its digest, the plugin, its version and permissions, and lies inside the package
/// (DSSE around an in-toto statement). No network is used.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard sign text-analysis.zip --key ada.key\n  \
                             pegboard sign text-analysis.zip --key ada.key --expires 2027-06-30 -o signed.zip")]
pub(crate) struct Sign {
    /// The package, as `pegboard package` made it
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// Your secret key, as `pegboard keygen` made it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The last day, in UTC, on which the signature holds
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = packages::day)]
    expires: Option<Day>,

    /// Where the signed package goes; default: in place of the package
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Take the place of a signature that is there
    #[arg(long)]
    replace: bool,
}

impl Sign {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let key = secret(&self.key)?;
        let signed = trust::today();
        if let Some(day) = self.expires.filter(|day| *day < signed) {
            return Err(Failure::usage("sign.expires", format!("expected a day from {signed} on, found {day}")));
        }
        let bundle = packages::open(&self.package)?;
        if bundle.signature().is_some() && !self.replace {
            let message = format!("`{}` is signed already", self.package.display());
            return Err(
                Failure::usage("package.signed", message).hint("--replace takes the signature away and puts yours in its place")
            );
        }
        let target = self.output.as_ref().unwrap_or(&self.package);
        let file = packages::beside(target)?;
        let handle = file.as_file().try_clone().map_err(|error| Failure::file("write", target, &error))?;
        let terms = Terms { signed, expires: self.expires };
        let bundle = sign(&bundle, &key, terms, handle).map_err(|error| packages::failure(&error))?;
        packages::persist(file, target)?;
        let id = key.public().map_err(|error| packages::failure(&error.into()))?.id();
        let mut document = packages::document(&bundle);
        if let Some(map) = document.as_object_mut() {
            map.insert("package".to_owned(), json!(target));
            map.insert("key_id".to_owned(), json!(id));
            map.insert("signed_on".to_owned(), json!(signed));
            map.insert("expires".to_owned(), json!(self.expires));
        }
        output.show(&document, |output| {
            let until = self.expires.map_or_else(String::new, |day| format!(", holds until {day}"));
            let head = format!("signed {}", target.display());
            format!("{} by key {id}{until}\n{}", output.paint(Tone::Strong, &head), packages::line(&bundle))
        })
    }
}

/// Reads a secret key that nobody else can read.
fn secret(path: &Path) -> Outcome<SecretKey> {
    let text = packages::read_small(path)?;
    let mode = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!("expected a key that only its owner can read, found mode {mode:03o}: `{}`", path.display());
        return Err(Failure::usage("file.mode", message).hint(format!("chmod 600 {}", path.display())));
    }
    SecretKey::parse(&text).map_err(|error| Failure::new(Exit::Invalid, "key.invalid", format!("`{}`: {error}", path.display())))
}
