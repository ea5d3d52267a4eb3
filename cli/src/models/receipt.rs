//! What is installed, and whether it still is what was installed: `model.json` beside each model.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use index::Encoding;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::gather::{GRAPH, TOKENIZER_FILES};
use crate::settings::Settings;

/// Its name in the model's folder.
pub(crate) const RECEIPT: &str = "model.json";

/// `model.json`: what was installed, from where, how it is asked, and the digest of each file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    pub(crate) source: String,
    /// None in receipts of before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<Encoding>,
    /// SHA-256 by file.
    pub(crate) files: BTreeMap<String, String>,
}

/// A model in the folder of models.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// None where it was put there by hand.
    pub(crate) receipt: Option<Receipt>,
    /// Files that are not what the receipt says.
    pub(crate) changed: Vec<String>,
}

/// Every model in the folder of models, by name, verified against its receipt.
pub(crate) fn installed(settings: &Settings) -> Vec<Installed> {
    let models = settings.places.data.join("models");
    let entries = fs::read_dir(&models).into_iter().flatten().flatten().map(|entry| entry.path());
    let whole = |path: &PathBuf| path.join(GRAPH).is_file() && TOKENIZER_FILES.iter().all(|name| path.join(name).is_file());
    let mut found: Vec<Installed> = entries
        .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) && whole(path))
        .map(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let receipt: Option<Receipt> =
                fs::read(folder.join(RECEIPT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let differs = |(file, digest): &(&String, &String)| self::digest(&folder.join(file)).ok().as_ref() != Some(*digest);
            let changed =
                receipt.iter().flat_map(|receipt| &receipt.files).filter(differs).map(|(file, _)| file.clone()).collect();
            Installed { name, folder, receipt, changed }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// SHA-256 of a file, in hex.
pub(crate) fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs::File::open(path)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => hasher.update(block.get(..read).unwrap_or_default()),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
