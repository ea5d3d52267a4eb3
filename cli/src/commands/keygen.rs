//! `pegboard keygen`: a pair of keys for signing packages.

use std::path::PathBuf;

use clap::Args;
use registry::SecretKey;
use serde_json::json;

use super::packages;
use crate::{
    failure::{Failure, Outcome},
    output::{Output, Tone},
};

/// Make a pair of keys for signing packages
///
/// Ed25519, in PEM files as other programs read them: the secret key for you alone (mode 0600, no password), the public key beside it for
/// those who are to trust you. Files that are there are never overwritten.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  pegboard keygen ada.key            writes ada.key and ada.key.pub\n  pegboard keygen ~/keys/ada.key --json"
)]
pub(crate) struct Keygen {
    /// Where the secret key goes; the public key goes to FILE.pub
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Keygen {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let key = SecretKey::generate().map_err(|error| anyhow::anyhow!("the kernel gave no randomness: {error}"))?;
        let public = key.public().map_err(|error| anyhow::anyhow!("could not make a key: {error}"))?;
        let mut name = self.file.clone().into_os_string();
        name.push(".pub");
        let file = PathBuf::from(name);
        if file.exists() {
            return Err(Failure::usage("file.exists", format!("`{}` is there already", file.display()))
                .hint("give another name: a key that is overwritten is lost"));
        }
        packages::write_new(&self.file, &key.pem(), 0o600)?;
        packages::write_new(&file, &public.pem(), 0o644)?;
        let document =
            json!({"secret_key": self.file, "public_key": file, "key": public.to_string(), "id": public.id().to_string()});
        output.show(&document, |output| {
            format!(
                "secret key  {}\npublic key  {}\n            {}\nid          {}",
                self.file.display(),
                file.display(),
                output.paint(Tone::Strong, &public.to_string()),
                public.id()
            )
        })
    }
}
