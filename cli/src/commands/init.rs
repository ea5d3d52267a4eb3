//! `pegboard init`: writes a plugin that works, to be changed by its author. What it writes is in `templates/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use manifest_schema::PluginName;
use registry::names;
use rust_embed::Embed;
use serde_json::json;

use super::words;
use crate::{
    bundled,
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
#[exclude = "*/.pytest_cache/*"]
struct Templates;

/// The longest --author, in bytes.
const MAX_AUTHOR: usize = 200;

/// Write a new plugin
///
/// A folder that works as it is: a manifest with a tool and an example of it, the code, a test and a README. Without --template a plugin in
/// Python; the others are containers. plugin.yaml and the file of the tools are what you change.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard init text_stats\n  \
                             pegboard test text_stats && pegboard dev text_stats\n  \
                             pegboard init text_stats --author 'Ada <ada@example.org>' --template container-python\n  \
                             pegboard init text_stats --template container-go --base-image registry.example.org/go:1.26")]
pub(crate) struct Init {
    /// Name of the plugin; also of the folder, unless --into names one
    name: String,
    /// What to write
    #[arg(long, value_enum, default_value = "python")]
    template: Template,
    /// Who writes it, such as 'Ada <ada@example.org>'
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
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
    /// In Python, run in the sandbox
    Python,
    /// A container, in Python
    ContainerPython,
    /// A container, in JavaScript on Node
    ContainerNode,
    /// A container, in Go
    ContainerGo,
    /// A container, in Rust
    ContainerRust,
}

impl Template {
    const fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::ContainerPython => "container-python",
            Self::ContainerNode => "container-node",
            Self::ContainerGo => "container-go",
            Self::ContainerRust => "container-rust",
        }
    }

    /// What the Dockerfile starts from, where there is one.
    const fn base_image(self) -> Option<&'static str> {
        match self {
            Self::Python => None,
            Self::ContainerPython => Some("docker.io/library/python:3.13-slim"),
            Self::ContainerNode => Some("docker.io/library/node:24-slim"),
            Self::ContainerGo => Some("docker.io/library/golang:1.26"),
            Self::ContainerRust => Some("docker.io/library/rust:1"),
        }
    }
}

/// What is put into a template in place of its words.
struct Words<'a> {
    name: &'a str,
    author: Option<&'a str>,
    base_image: Option<&'a str>,
}

impl Init {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let name = words::plugin_name(&self.name).map_err(|failure| failure.maybe_hint(nearest_name(&self.name)))?;
        let bundled = bundled::names();
        if bundled.iter().any(|other| other == name.as_str()) {
            return Err(Failure::usage("name.taken", format!("the name `{name}` is taken: a plugin of it is part of Pegboard"))
                .hint("choose another name"));
        }
        names::judge(name.as_str(), bundled.iter().map(String::as_str))
            .map_err(|problem| Failure::usage("name.refused", problem.to_string()).hint("choose another name"))?;
        let words = Words { name: name.as_str(), author: self.author()?, base_image: self.base_image()? };
        let folder = self.into.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
        let files = filled(self.template, &words);
        write(&folder, &files)?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let document = json!({
            "plugin": name.as_str(), "folder": folder, "template": self.template.folder(), "base_image": words.base_image, "files": names,
        });
        output.show(&document, |output| {
            let path = folder.display().to_string();
            let call = format!("pegboard call count_words --plugins {path} --arg text='two words'");
            let next = match self.template {
                Template::Python => format!("pegboard test {path}"),
                // Its build downloads a crate, which no build may by itself.
                Template::ContainerRust => format!("pegboard container rebuild {name} --network --plugins {path} && {call}"),
                _ => call,
            };
            format!("wrote {path}: {}\nnext: {}", names.join(", "), output.paint(Tone::Strong, &next))
        })
    }

    fn author(&self) -> Outcome<Option<&str>> {
        let Some(author) = self.author.as_deref().map(str::trim) else { return Ok(None) };
        let fits = !author.is_empty() && author.len() <= MAX_AUTHOR && !author.chars().any(char::is_control);
        if fits {
            Ok(Some(author))
        } else {
            Err(Failure::usage("author.invalid", format!("expected a line of at most {MAX_AUTHOR} bytes as --author")))
        }
    }

    fn base_image(&self) -> Outcome<Option<&str>> {
        match (self.base_image.as_deref(), self.template.base_image()) {
            (Some(_), None) => Err(Failure::usage("image.unused", "a plugin in Python starts from no image")
                .hint("leave --base-image out, or choose a --template container-…")),
            (Some(base), Some(_)) if base.is_empty() || base.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err(Failure::usage("image.invalid", format!("`{base}` is no name of an image")))
            }
            (given, usual) => Ok(given.or(usual)),
        }
    }
}

/// The name that was probably meant.
fn nearest_name(word: &str) -> Option<String> {
    let plain: String =
        word.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }).collect();
    let parts: Vec<&str> = plain.split('_').filter(|part| !part.is_empty()).collect();
    PluginName::parse(&parts.join("_")).ok().map(|name| format!("pegboard init {name}"))
}

/// The files of a template by name, with the author's words in place.
fn filled(template: Template, words: &Words<'_>) -> Vec<(String, String)> {
    let prefix = format!("{}/", template.folder());
    let mut files: Vec<(String, String)> = Templates::iter()
        .filter_map(|path| {
            let short = path.strip_prefix(&prefix)?.to_owned();
            let bytes = Templates::get(&path)?.data;
            Some((short, fill(&String::from_utf8_lossy(&bytes), words)))
        })
        .collect();
    files.sort();
    files
}

fn fill(text: &str, words: &Words<'_>) -> String {
    // JSON is YAML: whatever somebody is called, it is one value.
    let author = words.author.map(|author| json!(author).to_string());
    let lines = text.split_inclusive('\n').filter(|line| author.is_some() || !line.contains("{{author}}"));
    let text: String = lines.collect();
    text.replace("{{author}}", author.as_deref().unwrap_or_default())
        .replace("{{base_image}}", words.base_image.unwrap_or_default())
        .replace("{{name}}", words.name)
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

    const WORDS: Words<'_> =
        Words { name: "my_plugin", author: Some("Ada \"A: B\" <ada@example.org>"), base_image: Some("example.org/base:1") };

    #[test]
    fn every_template_is_whole_and_its_manifest_valid() {
        for template in Template::value_variants() {
            let files = filled(*template, &WORDS);
            let text = |name: &str| files.iter().find(|(file, _)| file == name).map(|(_, text)| text.clone()).unwrap_or_default();
            for name in ["plugin.yaml", "README.md"] {
                assert!(!text(name).is_empty(), "{template:?} has no {name}");
            }
            assert_eq!(text("Dockerfile").contains("FROM example.org/base:1"), *template != Template::Python);
            assert!(
                files.iter().any(|(name, text)| name.contains("test") || text.contains("#[test]")),
                "{template:?} has no test"
            );
            let manifest = manifest_schema::parse("plugin.yaml", &text("plugin.yaml")).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.author.as_deref()), ("my_plugin", WORDS.author));
            assert!(manifest.mcps.iter().all(|tool| !tool.examples.is_empty()), "{template:?} has a tool without an example");
            assert!(files.iter().all(|(_, text)| !text.contains("{{")), "{template:?} has a word that was not filled in");
            let nobody = filled(*template, &Words { author: None, ..WORDS });
            let manifest = nobody.iter().find(|(file, _)| file == "plugin.yaml").map(|(_, text)| text.as_str()).unwrap();
            assert_eq!(manifest_schema::parse("plugin.yaml", manifest).unwrap().author, None);
        }
    }

    #[test]
    fn nobodys_work_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let files = filled(Template::Python, &WORDS);
        write(folder.path(), &files).unwrap();
        assert_eq!(write(folder.path(), &files).unwrap_err().code, "init.not_empty");
    }
}
