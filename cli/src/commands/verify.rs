//! `pegboard verify`: is this package whole, and does someone vouch for it whom the operator trusts?

use std::path::PathBuf;

use clap::Args;
use registry::{Error, PublicKey, TrustStore, TrustedKey};
use serde_json::json;

use super::packages;
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    operator::trust,
    output::{Output, Tone},
    settings::Settings,
};

/// Check a package and its signature
///
/// Holds every byte of the package against its inventory, then the signature against the keys that you trust. Nothing is written, nothing of
/// the plugin runs, no network is used.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  pegboard verify text-analysis.zip\n  pegboard verify text-analysis.zip --key ada.key.pub --json\n\n\
                             Exit codes:\n  0 whole, and signed by a trusted key · 3 no package · 5 no such file · 7 not signed\n  \
                             8 signed by a key that is not trusted, or not for this plugin · 9 changed after it was made or signed\n  \
                             10 the key or the signature has expired · 11 could not be read"
)]
pub(crate) struct Verify {
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: PathBuf,

    /// Trust this public key alone, for this once; repeatable
    ///
    /// A file, or the key itself as `ed25519:…`. Without it the keys of `pegboard trust list` hold.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
}

impl Verify {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let store = if self.key.is_empty() { trust::read(&settings.places)? } else { self.given()? };
        let bundle = packages::open(&self.package)?;
        let mut document = packages::document(&bundle);
        let line = packages::line(&bundle);
        match store.check(bundle, trust::today()) {
            Ok(trusted) => {
                if let Some(map) = document.as_object_mut() {
                    map.insert("trusted".to_owned(), json!(true));
                    map.insert("signed_by".to_owned(), json!(trusted.by));
                }
                output.show(&document, |output| {
                    let head = format!("signed by {}", trusted.by.join(", "));
                    format!("{}\n{}", output.paint(Tone::Good, &head), crate::clean::line(&line))
                })
            }
            Err(problem) => {
                if let Some(map) = document.as_object_mut() {
                    map.insert("trusted".to_owned(), json!(false));
                }
                output.note(&format!("the files are those of the inventory: {line}"));
                Err(packages::failure(&Error::from(problem)).document(document))
            }
        }
    }

    /// The keys of the command line.
    fn given(&self) -> Outcome<TrustStore> {
        let read = |text: &String| {
            let key = public(text)?;
            let plugins = vec!["*".to_owned()];
            Ok(TrustedKey { name: text.clone(), key, plugins, added: trust::today(), expires: None })
        };
        Ok(TrustStore { keys: self.key.iter().map(read).collect::<Outcome<_>>()? })
    }
}

/// A public key from a file, or as it is.
pub(super) fn public(text: &str) -> Outcome<PublicKey> {
    let given = text.starts_with("ed25519:");
    let content = if given { text.to_owned() } else { packages::read_small(&PathBuf::from(text))? };
    PublicKey::parse(&content).map_err(|error| Failure::new(Exit::Invalid, "key.invalid", format!("`{text}`: {error}")))
}
