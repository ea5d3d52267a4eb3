//! Plugins that were written for other hosts: what their manifests say, as a `plugin.yaml`, with a word on each thing that has no place in one.
//!
//! Pure: files are handed in as text. Nothing here runs or trusts what it reads; the result is parsed like any other manifest.

mod bundles;
mod classes;
mod verbs;
mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The largest foreign manifest that is read, in bytes.
pub const MAX_FOREIGN_BYTES: usize = 256 << 10;

/// Which manifest a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `manifest.json` with `verb` or `actionVerb` and `inputDefinitions`.
    ManifestJson,
    /// `plugin.json` with `plugin_id` and `entry_point`.
    PluginJson,
}

impl Form {
    /// Both, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::ManifestJson, Self::PluginJson];

    /// The name of its file.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::ManifestJson => "manifest.json",
            Self::PluginJson => "plugin.json",
        }
    }
}

/// A folder that holds a plugin of another host.
#[derive(Clone, Copy)]
pub struct ForeignPlugin<'a> {
    /// The folder's own name, for a plugin that does not say its name.
    pub folder: &'a str,
    /// Which manifest it has.
    pub form: Form,
    /// The text of that manifest.
    pub manifest: &'a str,
    /// The text of one of its files, by its path in the folder; nothing when it is not there or is no text.
    pub file: &'a dyn Fn(&str) -> Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The keys of the `plugin.yaml`.
    pub manifest: Map<String, Value>,
    /// What stands between our call and its function, where something must.
    pub adapter: Option<Adapter>,
    /// A script that expects its input as a list of pairs.
    pub pairs_script: Option<String>,
    /// What it needs to run lies in its folder, however large: nothing of it may be left behind.
    pub whole: bool,
    /// A file that must be executable, which archives do not always say.
    pub executable: Option<String>,
    /// What could not be carried over, and what was assumed.
    pub notes: Vec<String>,
}

/// How a function of another host is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its file, by its path in the folder.
    pub file: String,
    /// Its name.
    pub function: String,
    /// It reads `.value` or `["value"]` of what it is given.
    pub boxed: bool,
    /// Other names of its arguments, each with the name that it stands for.
    pub aliases: BTreeMap<String, String>,
    /// Arguments that must be given, under one name or another.
    pub required: Vec<String>,
}

/// Why a folder can't be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// More than is read.
    #[error("`{file}` has {found} bytes, at most {MAX_FOREIGN_BYTES} are read")]
    TooLarge {
        /// The manifest's file.
        file: &'static str,
        /// Bytes found.
        found: usize,
    },
    /// Not JSON.
    #[error("`{file}` is not valid JSON: {reason}")]
    Json {
        /// The manifest's file.
        file: &'static str,
        /// Where and why.
        reason: String,
    },
    /// JSON, but not a manifest of the form.
    #[error("`{file}` is not a plugin's manifest: expected {expected}")]
    NotAPlugin {
        /// The manifest's file.
        file: &'static str,
        /// What would make it one.
        expected: &'static str,
    },
    /// A runtime that is not here.
    #[error("it is written in `{language}`, which is not run yet")]
    Language {
        /// As it says.
        language: String,
    },
    /// No code that could be called.
    #[error("there is no code to call: {reason}")]
    NoEntry {
        /// What was looked for.
        reason: String,
    },
}

/// Takes a plugin over.
///
/// # Errors
/// [`ForeignError`] says why it can't be.
pub fn convert(plugin: &ForeignPlugin<'_>) -> Result<Converted, ForeignError> {
    let file = plugin.form.file();
    if plugin.manifest.len() > MAX_FOREIGN_BYTES {
        return Err(ForeignError::TooLarge { file, found: plugin.manifest.len() });
    }
    // A byte order mark is common where these files come from, and no JSON.
    let text = plugin.manifest.trim_start_matches('\u{feff}');
    let document = serde_json::from_str(text).map_err(|error| ForeignError::Json { file, reason: error.to_string() })?;
    let Value::Object(document) = document else {
        return Err(ForeignError::NotAPlugin { file, expected: "an object" });
    };
    match plugin.form {
        Form::ManifestJson if bundles::is_bundle(&document) => bundles::convert(plugin, &document),
        Form::ManifestJson => verbs::convert(plugin, &document),
        Form::PluginJson => classes::convert(plugin, &document),
    }
}
