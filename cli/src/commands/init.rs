//! `pegboard init`: writes a plugin that works, to be changed by its author. What it writes is in `templates/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use manifest_schema::PluginName;
use rust_embed::Embed;
use serde_json::json;

use crate::{
    failure::{Failure, Outcome},
    output::{Output, Tone},
};

/// Everything in `templates/` but what building and testing them leaves behind.
#[derive(Embed)]
#[folder = "../templates"]
#[exclude = "*/target/*"]
#[exclude = "*/Cargo.lock"]
#[exclude = "*/__pycache__/*"]
#[exclude = "*.pyc"]
struct Templates;

/// Write a new plugin
///
/// A folder with a manifest, a server of the container contract in the language of your choice, its Dockerfile, a test and a README. It runs as it
/// is; plugin.yaml and the file of the tools are what you change.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard init text_stats --template container-python\n  \
                             pegboard init text_stats --template container-go --base-image registry.example.org/go:1.26\n  \
                             pegboard call count_words --plugins ./text_stats --arg text='two words'")]
pub(crate) struct Init {
    /// Name of the plugin; also of the folder, unless --into names one
    name: String,
    /// What to write
    #[arg(long, value_enum)]
    template: Template,
    /// The image that the Dockerfile starts from, where the usual one can't be downloaded
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// The folder to write; it must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Which template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A container, in Python
    #[value(name = "container-python")]
    Python,
    /// A container, in JavaScript on Node
    #[value(name = "container-node")]
    Node,
    /// A container, in Go
    #[value(name = "container-go")]
    Go,
    /// A container, in Rust
    #[value(name = "container-rust")]
    Rust,
}

impl Template {
    const fn folder(self) -> &'static str {
        match self {
            Self::Python => "container-python",
            Self::Node => "container-node",
            Self::Go => "container-go",
            Self::Rust => "container-rust",
        }
    }

    /// What the Dockerfile starts from.
    const fn base_image(self) -> &'static str {
        match self {
            Self::Python => "docker.io/library/python:3.13-slim",
            Self::Node => "docker.io/library/node:24-slim",
            Self::Go => "docker.io/library/golang:1.26",
            Self::Rust => "docker.io/library/rust:1",
        }
    }
}

impl Init {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let name = PluginName::parse(&self.name)
            .map_err(|error| Failure::usage("name.invalid", format!("`{}` is no name for a plugin: it {error}", self.name)))?;
        let base = self.base_image.as_deref().unwrap_or(self.template.base_image());
        if base.is_empty() || base.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(Failure::usage("image.invalid", format!("`{base}` is no name of an image")));
        }
        let folder = self.into.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
        let files = filled(self.template, name.as_str(), base);
        write(&folder, &files)?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let document = json!({"plugin": name.as_str(), "folder": folder, "template": self.template.folder(), "base_image": base, "files": names});
        output.show(&document, |output| {
            let path = folder.display().to_string();
            let next = format!("pegboard call count_words --plugins {path} --arg text='two words'");
            format!("wrote {path}: {}\nnext: {}", names.join(", "), output.paint(Tone::Strong, &next))
        })
    }
}

/// The files of a template by name, with the author's words in place.
fn filled(template: Template, name: &str, base: &str) -> Vec<(String, String)> {
    let prefix = format!("{}/", template.folder());
    let mut files: Vec<(String, String)> = Templates::iter()
        .filter_map(|path| {
            let short = path.strip_prefix(&prefix)?.to_owned();
            let bytes = Templates::get(&path)?.data;
            let text = String::from_utf8_lossy(&bytes).replace("{{name}}", name).replace("{{base_image}}", base);
            Some((short, text))
        })
        .collect();
    files.sort();
    files
}

/// Writes into a new folder, or one that is empty: nobody's work is overwritten.
fn write(folder: &Path, files: &[(String, String)]) -> Outcome {
    let failed = |error: &io::Error| Failure::file("write", folder, error);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::usage("init.not_empty", format!("`{}` is not empty", folder.display()))
            .hint("--into DIR names another folder"));
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| failed(&error))?;
        let mut file = fs::File::create_new(&path).map_err(|error| Failure::file("write", &path, &error))?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| Failure::file("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_whole_and_its_manifest_valid() {
        for template in Template::value_variants() {
            let files = filled(*template, "my_plugin", "example.org/base:1");
            let text = |name: &str| files.iter().find(|(file, _)| file == name).map(|(_, text)| text.clone()).unwrap_or_default();
            for name in ["plugin.yaml", "Dockerfile", "README.md"] {
                assert!(!text(name).is_empty(), "{template:?} has no {name}");
            }
            assert!(text("Dockerfile").contains("FROM example.org/base:1"));
            assert!(
                files.iter().any(|(name, text)| name.contains("test") || text.contains("#[test]")),
                "{template:?} has no test"
            );
            let manifest = manifest_schema::parse("plugin.yaml", &text("plugin.yaml")).unwrap();
            assert_eq!(manifest.name.as_str(), "my_plugin");
            assert!(files.iter().all(|(_, text)| !text.contains("{{")), "{template:?} has a word that was not filled in");
        }
    }

    #[test]
    fn nobodys_work_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let files = filled(Template::Python, "a", "b");
        write(folder.path(), &files).unwrap();
        assert_eq!(write(folder.path(), &files).unwrap_err().code, "init.not_empty");
    }
}
