//! The numbers that Pegboard promises, measured beside what they are promised against. Run by `cargo xtask bench [ROW]...`.
//!
//! Here: which rows there are, and how the programs are started. A row that falls short is printed as such and is no error of the run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "starts what it measures and reads its arguments; it is no part of the product")]

mod catalogue;
mod figures;
mod lean;
mod package;
mod packages;
mod rows;
mod upstream;
mod web;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::figures::Row;

/// What the rows start and where they write.
pub(crate) struct Bench {
    pegboard: PathBuf,
    /// The interpreter of the environment with the Python package and its peers; for the rows of the package.
    pub(crate) package: Option<PathBuf>,
    /// The wheel of the package, and what starts it.
    pub(crate) wheel: Option<PathBuf>,
    pub(crate) uv: Option<PathBuf>,
    /// The bare echo on the same protocol library.
    pub(crate) echo: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) peer: PathBuf,
    /// Fixture plugins of this folder.
    pub(crate) plugins: PathBuf,
    /// The list of packages.
    pub(crate) packages: PathBuf,
    /// For generated catalogues and results.
    pub(crate) work: PathBuf,
    pub(crate) home: PathBuf,
}

impl Bench {
    /// `pegboard serve` of one folder of plugins, with a home that lasts over the rows.
    pub(crate) fn serve(&self, plugins: &Path, extra: &[&str]) -> Command {
        let mut command = Command::new(&self.pegboard);
        command.arg("serve").arg("--no-bundled").arg("--home").arg(&self.home).arg("--plugins").arg(plugins).args(extra);
        command
    }

    /// The peer's server.
    pub(crate) fn fastmcp(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(&self.peer).args(arguments).env("FASTMCP_LOG_LEVEL", "ERROR");
        command
    }

    /// The interpreter of the newest virtual environment that Pegboard made.
    pub(crate) fn venv_python(&self) -> Result<PathBuf> {
        let venvs = self.home.join("cache/venvs");
        let mut found: Vec<PathBuf> =
            fs::read_dir(&venvs)?.flatten().map(|entry| entry.path().join("bin/python")).filter(|path| path.exists()).collect();
        found.sort_by_key(|path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok());
        found.pop().with_context(|| format!("no environment in `{}`", venvs.display()))
    }
}

type Measure = fn(&Bench) -> Result<Row>;

const ROWS: &[(&str, Measure)] = &[
    ("call", rows::call_row),
    ("flat", rows::flat_row),
    ("worker", rows::worker_row),
    ("host-stdio", rows::host_stdio_row),
    ("host-http", rows::host_http_row),
    ("first-call", rows::first_call_row),
    ("cold-start", rows::cold_start_row),
    ("list", rows::list_row),
    ("search-1k", |bench| rows::search_row(bench, 1000, 1, &json!({}), 2.0)),
    ("search-10k", |bench| rows::search_row(bench, 1000, 10, &json!({}), 4.0)),
    ("search-10k-filtered", |bench| rows::search_row(bench, 1000, 10, &json!({"runtime": "python"}), 4.0)),
    ("prompt", rows::prompt_row),
    ("upstream", upstream::call_row),
    ("upstream-start", upstream::start_row),
    ("py-import", package::import_row),
    ("py-search", package::search_row),
    ("py-call", package::call_row),
    ("py-threads", package::threads_row),
    ("py-uvx", package::uvx_row),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<()> {
    let (flags, names) = arguments()?;
    let flag =
        |name: &str| flags.get(name).map(PathBuf::from).with_context(|| format!("`{name}` is missing: use `cargo xtask bench`"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = flag("--work")?;
    fs::create_dir_all(&work)?;
    let home = work.join("home");
    let bench = Bench {
        pegboard: flag("--pegboard")?,
        package: flag("--package").ok(),
        wheel: flag("--wheel").ok(),
        uv: flag("--uv").ok(),
        echo: flag("--echo")?,
        python: flag("--fastmcp")?,
        peer: here.join("python/fastmcp_peer.py"),
        plugins: here.join("plugins"),
        packages: here.join("packages.txt"),
        work,
        home,
    };
    if let Some(unknown) = names.iter().find(|name| *name != "packages" && !ROWS.iter().any(|(row, _)| row == name)) {
        let known: Vec<&str> = ROWS.iter().map(|(name, _)| *name).chain(["packages"]).collect();
        bail!("there is no row `{unknown}`; the rows are {known:?}");
    }
    let mut results: Vec<Value> = Vec::new();
    let mut broken = Vec::new();
    for (name, measure) in ROWS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        match measure(&bench) {
            Ok(row) => {
                row.print();
                results.push(row.json());
            }
            Err(error) => {
                println!("\n{name}: could not be measured: {error:#}");
                broken.push(*name);
            }
        }
    }
    // Half an hour of installing: only where it is asked for.
    if names.iter().any(|name| name == "packages") {
        results.push(packages::packages(&bench)?);
    }
    fs::write(bench.work.join("results.json"), serde_json::to_string_pretty(&json!(results))?)?;
    println!("\nresults: {}", bench.work.join("results.json").display());
    if broken.is_empty() { Ok(()) } else { bail!("rows that could not be measured: {broken:?}") }
}

/// Flags with their values, and the names of rows.
fn arguments() -> Result<(HashMap<String, String>, Vec<String>)> {
    let (mut flags, mut names) = (HashMap::new(), Vec::new());
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        if argument.starts_with("--") {
            let value = rest.next().with_context(|| format!("`{argument}` needs a value"))?;
            flags.insert(argument, value);
        } else {
            names.push(argument);
        }
    }
    Ok((flags, names))
}
