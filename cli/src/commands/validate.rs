//! `pegboard validate`: every problem of a plugin's folder, with its place. Reads only; nothing of the plugin runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use manifest_schema::{Diagnostic, Manifest};
use serde_json::{Value, json};

use super::check_folder::{Severity, check_folder};
use crate::{
    clean,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Tone},
};

/// Check plugin folders
///
/// Reads plugin.yaml and reports every problem with file, line and column, what was expected and what was found; also whether the modules and
/// scripts exist, the schemas are valid, and the examples fit them. Nothing of the plugin runs. Exit code 3 when there is an error.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard validate ./my-plugin\n  pegboard validate plugins/*/plugin.yaml --json")]
pub(crate) struct Validate {
    /// A plugin's folder, its plugin.yaml, or a folder of plugins
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// What was found in one folder.
pub(super) struct Report {
    file: PathBuf,
    text: String,
    manifest: Option<Manifest>,
    findings: Vec<(Severity, Diagnostic)>,
}

/// A path that stands for no manifest.
struct Stray {
    path: PathBuf,
    why: &'static str,
}

impl Validate {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        let mut reports = Vec::new();
        let mut strays = Vec::new();
        for path in &self.paths {
            match manifests(path)? {
                Ok(files) => {
                    for file in files {
                        reports.push(check(&file)?);
                    }
                }
                Err(why) => strays.push(Stray { path: path.clone(), why }),
            }
        }
        let errors = reports.iter().map(|report| report.count(Severity::Error)).sum::<usize>();
        let document = json!({
            "valid": errors == 0 && strays.is_empty(),
            "plugins": reports.iter().map(Report::document).collect::<Vec<_>>(),
            "not_plugins": strays.iter().map(|stray| json!({"path": stray.path, "reason": stray.why})).collect::<Vec<_>>(),
        });
        if errors == 0 && strays.is_empty() {
            return output.show(&document, |output| reports.iter().map(|report| report.render(output)).collect());
        }
        if !output.json {
            output.text(&reports.iter().map(|report| report.render(output)).collect::<String>())?;
        }
        Err(failure(errors, reports.len(), &strays).document(document))
    }
}

/// One message for all that is wrong: errors in manifests come before paths that are none.
fn failure(errors: usize, plugins: usize, strays: &[Stray]) -> Failure {
    const SHOWN: usize = 5;
    let list = strays
        .iter()
        .take(SHOWN)
        .map(|stray| format!("`{}` ({})", stray.path.display(), stray.why))
        .collect::<Vec<_>>()
        .join(", ");
    let more = if strays.len() > SHOWN { format!(" and {} more", strays.len() - SHOWN) } else { String::new() };
    let verb = if strays.len() == 1 { "is no plugin" } else { "are no plugins" };
    let strangers = format!("{list}{more} {verb}");
    if errors == 0 {
        return Failure::not_found("manifest.not_found", strangers)
            .hint("give folders that hold a plugin.yaml, or the file itself");
    }
    let noun = if errors == 1 { "error" } else { "errors" };
    let message = if plugins == 1 { format!("{errors} {noun}") } else { format!("{errors} {noun} in {plugins} plugins") };
    let message = if strays.is_empty() { message } else { format!("{message}; {strangers}") };
    Failure::new(Exit::Invalid, "manifest.invalid", message)
}

/// The manifests a path stands for, never none; or why it stands for none.
fn manifests(path: &Path) -> Outcome<Result<Vec<PathBuf>, &'static str>> {
    let metadata = fs::metadata(path)
        .map_err(|error| Failure::not_found("path.not_found", format!("could not open `{}`: {error}", path.display())))?;
    if !metadata.is_dir() {
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        return Ok(if yaml { Ok(vec![path.to_owned()]) } else { Err("not a YAML file") });
    }
    let own = path.join("plugin.yaml");
    if own.exists() {
        return Ok(Ok(vec![own]));
    }
    let listing = fs::read_dir(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut found: Vec<PathBuf> =
        listing.filter_map(Result::ok).map(|entry| entry.path().join("plugin.yaml")).filter(|file| file.exists()).collect();
    found.sort();
    Ok(if found.is_empty() { Err("no plugin.yaml in it or its folders") } else { Ok(found) })
}

/// Checks one manifest and the folder it is in.
pub(super) fn check(file: &Path) -> Outcome<Report> {
    let bytes = read_capped(file).map_err(|error| Failure::file("read", file, &error))?;
    let name = file.display().to_string();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{name}: is not UTF-8 at byte {}", error.utf8_error().valid_up_to());
            return Err(Failure::new(Exit::Invalid, "manifest.encoding", message));
        }
    };
    let (manifest, findings) = match manifest_schema::parse(&name, &text) {
        Ok(manifest) => {
            let findings = check_folder(&name, &text, file.parent().unwrap_or(Path::new(".")), &manifest);
            (Some(manifest), findings)
        }
        Err(problems) => (None, problems.0.into_iter().map(|problem| (Severity::Error, problem)).collect()),
    };
    Ok(Report { file: file.to_owned(), text, manifest, findings })
}

/// One byte more than is allowed is enough for the parser to refuse it.
fn read_capped(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(fs::File::open(file)?, manifest_schema::MAX_MANIFEST_BYTES as u64 + 1),
        &mut bytes,
    )?;
    Ok(bytes)
}

impl Report {
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|(found, _)| *found == severity).count()
    }

    pub(super) fn document(&self) -> Value {
        let of = |severity| {
            self.findings.iter().filter(|(found, _)| *found == severity).map(|(_, finding)| finding).collect::<Vec<_>>()
        };
        json!({
            "file": self.file,
            "name": self.manifest.as_ref().map(|manifest| manifest.name.as_str()),
            "version": self.manifest.as_ref().map(|manifest| manifest.version.to_string()),
            "tools": self.manifest.as_ref().map(|manifest| manifest.mcps.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>()),
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
        })
    }

    pub(super) fn render(&self, output: &Output) -> String {
        let mut text: String =
            self.findings.iter().map(|(severity, finding)| render(output, *severity, finding, &self.text)).collect();
        if let Some(manifest) = &self.manifest
            && self.count(Severity::Error) == 0
        {
            let tools = manifest.mcps.len();
            let noun = if tools == 1 { "tool" } else { "tools" };
            text.push_str(&format!(
                "{} {} {}, {tools} {noun}\n",
                output.paint(Tone::Good, "ok"),
                manifest.name,
                manifest.version
            ));
        }
        text
    }
}

/// One finding, with the line it is about.
fn render(output: &Output, severity: Severity, finding: &Diagnostic, source: &str) -> String {
    let (word, tone) = match severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Care),
    };
    let subject = if finding.path.is_empty() { String::new() } else { format!("`{}` ", clean::line(&finding.path)) };
    let mut text = format!(
        "{}: {subject}{}\n",
        output.paint(tone, &format!("{word}[{}]", finding.code)),
        output.paint(Tone::Strong, &clean::line(&finding.message))
    );
    let number = finding.line.to_string();
    let margin = " ".repeat(number.len());
    text.push_str(&format!("{margin}--> {}:{}:{}\n", clean::line(&finding.file), finding.line, finding.column));
    if let Some(line) = source.lines().nth(finding.line.saturating_sub(1) as usize).filter(|line| !line.trim().is_empty()) {
        let line: String = line.chars().take(160).map(|character| if character == '\t' { ' ' } else { character }).collect();
        let indent = " ".repeat((finding.column.saturating_sub(1) as usize).min(160));
        text.push_str(&format!(
            "{margin} |\n{number} | {}\n{margin} | {indent}{}\n",
            clean::block(&line),
            output.paint(tone, "^")
        ));
    }
    for (label, part) in [("expected", &finding.expected), ("found", &finding.found), ("hint", &finding.hint)] {
        if let Some(part) = part {
            text.push_str(&format!("{margin} = {label}: {}\n", clean::line(part)));
        }
    }
    text.push('\n');
    text
}
