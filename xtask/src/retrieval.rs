//! `cargo xtask train` and `cargo xtask bench-search`: the default encoder's table made again, and search beside its peers.
//!
//! Data and model are the caller's: they are no part of the repository. Each command says what it does before it does it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::bench::finish;
use crate::run::Checkout;
use crate::toolchain::{self, Part};

const TRAIN: &str =
    "usage: cargo xtask train --data SETS --model MINILM --wordnet DIR (fit [OUT.table] | leave-out [--lexical RUNS])";
const BENCH: &str = "usage: cargo xtask bench-search --model MINILM [--half even|odd] SET...";

/// Runs `index/train/train.py` in an environment of its own; what it learns from the teacher is kept under the work folder.
pub(crate) fn train(checkout: &Checkout, arguments: &[String]) -> Result<ExitCode> {
    if !arguments.iter().any(|argument| argument == "fit" || argument == "leave-out") {
        bail!("{TRAIN}");
    }
    let cache = checkout.work.join("teacher");
    eprintln!("environment: {}, from index/train/train.txt", checkout.work.join("py-train").display());
    eprintln!("teacher's vectors: {} (the first time some ten minutes)", cache.display());
    let mut arguments = arguments.to_vec();
    if arguments.last().is_some_and(|last| last == "fit") {
        let out = checkout.work.join("static.table");
        eprintln!(
            "the table goes to {}; to ship it, copy it to index/model and pin its digest in index/tests/it/table.rs",
            out.display()
        );
        arguments.push(out.to_string_lossy().into_owned());
    }
    let mut run = python(checkout, "train", "index/train/train.py")?;
    // On several threads sums come in another order, and the digest with them.
    run.env("OMP_NUM_THREADS", "1").arg("--cache").arg(cache).args(arguments);
    finish(&mut run)
}

/// Builds `eval` for release and runs it beside the peers.
pub(crate) fn bench(checkout: &Checkout, arguments: &[String]) -> Result<ExitCode> {
    if arguments.len() < 3 {
        bail!("{BENCH}");
    }
    let mut build = checkout.cargo(&["build", "--release", "--locked", "-p", "pegboard-index", "--example", "eval"]);
    if !build.status().context("cannot run cargo")?.success() {
        bail!("the release build failed");
    }
    let mut run = python(checkout, "search", "benches/python/search_peers.py")?;
    run.arg("--eval").arg(checkout.target.join("release/examples/eval"));
    run.arg("--cache").arg(checkout.work.join("teacher-bench")).args(arguments);
    finish(&mut run)
}

fn python(checkout: &Checkout, environment: &'static str, script: &str) -> Result<std::process::Command> {
    if let Err(missing) = toolchain::make(checkout, Part::Python(environment)) {
        bail!("the environment can't be set up: {}", missing.why);
    }
    let mut command = checkout.command(toolchain::python(checkout, environment));
    command.arg(Path::new(script));
    Ok(command)
}
