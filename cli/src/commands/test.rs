//! `pegboard test`: a plugin's examples as calls in its real sandbox, then its own tests there, too. How examples are compared is in `golden`, how
//! all of it is shown in `report`.

mod golden;
mod report;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use executor_python::{PythonExecutor, TestOutcome, TestReport};
use manifest_schema::Runtime;
use policy::Allowed;
use server::{Host, PluginEntry, PluginsFolder, PluginsSource};

use self::report::{Case, Kind, Report, Verdict};
use super::{check_folder::Severity, host, progress::Progress, standing, validate};
use crate::{
    args::Shelf,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// Test a plugin
///
/// Calls every example of plugin.yaml that has arguments, through the sandbox, limits and schemas that a client's call meets, and compares the
/// result where the example has one. Then runs the plugin's own tests (`tests/`, `test_*.py`) with pytest in the same sandbox: without network,
/// files or programs unless they are declared and granted. Exit code 0 when all passed, 1 when something failed, 3 when the plugin is not valid,
/// 4 when a key is missing, 5 when there is nothing to test, 6 when the tests could not be run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard test ./text_stats\n  \
                             pegboard test . --only code -- -k words -x     what follows -- goes to pytest\n  \
                             pegboard test . --junit report.xml --json")]
pub(crate) struct Test {
    /// The plugin's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Only the examples, or only the plugin's own tests
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Write the results as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Seconds that the plugin's own tests may take together
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Arguments for pytest
    #[arg(last = true, value_name = "PYTEST")]
    pytest: Vec<String>,
}

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The examples of plugin.yaml
    Examples,
    /// The plugin's own tests
    Code,
}

impl Test {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let manifest = self.folder.join(registry::MANIFEST);
        let folder = self.folder.canonicalize().ok().filter(|_| manifest.is_file()).ok_or_else(|| {
            Failure::not_found("manifest.not_found", format!("`{}` is no plugin: it holds no plugin.yaml", self.folder.display()))
        })?;
        valid(&manifest, output)?;
        let python = host::python_executor(settings)?;
        let wanted = folder.clone();
        let runners = host::narrow_with(settings, python.clone(), move |plugin| plugin.root == wanted)?;
        let runtime = host::runtime()?;
        let host = host::assemble(&runtime, told(settings, &folder)?, runners.executors)?;
        let tested = runtime.block_on(async {
            let tested = self.all(&host, &folder, &python, output).await;
            host.shutdown().await;
            tested
        });
        runtime.shutdown_background();
        let report = tested?;
        if let Some(path) = &self.junit {
            report.write_junit(path)?;
        }
        report.end(output)
    }

    async fn all(&self, host: &Arc<Host>, folder: &Path, python: &PythonExecutor, output: &Output) -> Outcome<Report> {
        let entry = entry(host, folder)?;
        let mut report = Report::new(&entry.plugin.manifest);
        let progress = Progress::start(output.json);
        if self.only != Some(Only::Code) {
            golden::run(host, folder, &progress, &mut report).await;
        }
        if self.only != Some(Only::Examples) && has_tests(folder) {
            if entry.plugin.manifest.runtime == Runtime::Python {
                self.code(&entry, python, &mut report).await?;
            } else {
                report.note("its own tests are not run: `pegboard test` runs those of plugins in Python");
            }
        }
        progress.end();
        Ok(report)
    }

    /// The plugin's own tests. With what it was allowed; where keys are missing, with nothing.
    async fn code(&self, entry: &PluginEntry, python: &PythonExecutor, report: &mut Report) -> Outcome {
        let nothing = Arc::new(Allowed::default());
        let allowed = entry.allowed().unwrap_or(&nothing);
        let mut tests = Vec::new();
        let limit = Duration::from_secs(self.timeout);
        let ended = python.run_suite(&entry.plugin, allowed, &self.pytest, limit, &mut |test| tests.push(test)).await;
        for test in tests {
            report.add(case(test));
        }
        match ended {
            Ok(()) => Ok(()),
            // What was run counts; that it did not come to an end is a failure of its own.
            Err(failure) if report.count(Kind::Code) > 0 => {
                report.add(Case {
                    kind: Kind::Code,
                    name: "(the run of the tests)".to_owned(),
                    verdict: Verdict::Error,
                    seconds: 0.0,
                    message: Some(failure.message),
                    detail: failure.detail,
                });
                Ok(())
            }
            Err(failure) => {
                let message = format!("the plugin's own tests could not be run: {}", failure.message);
                let detail = failure.detail.map(|detail| format!("\n{detail}")).unwrap_or_default();
                Err(Failure::new(Exit::Unavailable, "test.not_run", message + &detail).hint(
                    failure
                        .hint
                        .unwrap_or_else(|| "pytest is installed beside the plugin's dependencies: pegboard doctor".to_owned()),
                ))
            }
        }
    }
}

/// The plugin and what is installed, since it may need it; nothing is watched.
fn told(settings: &Settings, folder: &Path) -> Outcome<server::Settings> {
    let shelf = Shelf { plugins: vec![folder.to_owned()], no_bundled: true };
    let mut told = host::settings(settings, &shelf)?;
    told.plugins.retain(|known| known.source == PluginsSource::Store);
    told.plugins.insert(0, PluginsFolder { path: folder.to_owned(), source: PluginsSource::Folder });
    told.frozen = true;
    told.warm = false;
    Ok(told)
}

/// Shows what is wrong with the plugin before anything of it runs.
fn valid(manifest: &Path, output: &Output) -> Outcome {
    let report = validate::check(manifest)?;
    let errors = report.count(Severity::Error);
    if errors == 0 {
        return Ok(());
    }
    if !output.json {
        output.text(&report.render(output))?;
    }
    let message = format!("{errors} {}: nothing was tested", if errors == 1 { "error" } else { "errors" });
    Err(Failure::new(Exit::Invalid, "manifest.invalid", message).document(serde_json::json!({"plugins": [report.document()]})))
}

fn entry(host: &Host, folder: &Path) -> Outcome<Arc<PluginEntry>> {
    let catalog = host.catalog();
    if let Some(entry) = catalog.plugins.iter().find(|entry| entry.plugin.root == folder) {
        return Ok(Arc::clone(entry));
    }
    let broken = catalog.broken.iter().find(|broken| broken.root == folder).map(standing::broken).unwrap_or_default();
    let words: Vec<String> = broken.into_iter().map(|reason| reason.message).collect();
    Err(Failure::new(Exit::Invalid, "plugin.broken", format!("the plugin can't be served: {}", words.join("; "))))
}

/// Whether there is something that pytest would look into.
fn has_tests(folder: &Path) -> bool {
    let is_test = |name: &str| name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"));
    folder.join("tests").is_dir()
        || std::fs::read_dir(folder)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| is_test(&entry.file_name().to_string_lossy()))))
}

fn case(test: TestReport) -> Case {
    let verdict = match test.outcome {
        TestOutcome::Passed => Verdict::Passed,
        TestOutcome::Failed => Verdict::Failed,
        TestOutcome::Error => Verdict::Error,
        TestOutcome::Skipped => Verdict::Skipped,
    };
    Case { kind: Kind::Code, name: test.name, verdict, seconds: test.seconds, message: test.message, detail: test.detail }
}
