//! `cargo xtask bench` and `cargo xtask soak`: release builds of the product and of the programs that measure it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::python;
use crate::run::Checkout;
use crate::toolchain::{self, Part};

/// Builds for release, sets the peers up, and runs the rows asked for (all without a name).
pub(crate) fn bench(checkout: &Checkout, rows: &[String]) -> Result<ExitCode> {
    for part in [Part::Python("modern")] {
        if let Err(missing) = toolchain::make(checkout, part) {
            bail!("a peer can't be set up: {}", missing.why);
        }
    }
    let mut build = checkout.cargo(&["build", "--release", "--locked", "-p", "pegboard", "-p", "pegboard-benches"]);
    if !build.status()?.success() {
        bail!("the release build failed");
    }
    let mut bench = checkout.command(checkout.target.join("release/pegboard-benches"));
    bench.arg("--pegboard").arg(checkout.target.join("release/pegboard"));
    bench.arg("--echo").arg(checkout.target.join("release/rmcp-echo"));
    bench.arg("--fastmcp").arg(toolchain::python(checkout, "modern"));
    bench.arg("--uv").arg(checkout.work.join("uv/bin/uv")).arg("--work").arg(checkout.work.join("bench"));
    if rows.is_empty() || rows.iter().any(|row| row.starts_with("py-")) {
        let (interpreter, wheel) = package(checkout)?;
        bench.arg("--package").arg(interpreter).arg("--wheel").arg(wheel);
    }
    finish(bench.args(rows))
}

/// The Python package as a user has it, with the program that was just built, beside its peers: the interpreter, and the wheel.
fn package(checkout: &Checkout) -> Result<(PathBuf, PathBuf)> {
    let wheel = python::release_wheel(checkout, Some(&checkout.target.join("release/pegboard")))?;
    if let Err(missing) = toolchain::make(checkout, Part::Python("adapters")) {
        bail!("the peers of the Python package can't be set up: {}", missing.why);
    }
    let interpreter = toolchain::python(checkout, "adapters");
    python::install(checkout, &wheel, &interpreter)?;
    Ok((interpreter, wheel))
}

/// Builds for release and runs the soak with this many crashes.
pub(crate) fn soak(checkout: &Checkout, crashes: &str) -> Result<ExitCode> {
    let mut build = checkout.cargo(&["build", "--release", "--locked", "-p", "pegboard", "-p", "pegboard-tests", "--bins"]);
    if !build.status()?.success() {
        bail!("the release build failed");
    }
    let mut soak = checkout.command(checkout.target.join("release/soak"));
    finish(soak.arg(crashes).env("PEGBOARD_BIN", checkout.target.join("release/pegboard")))
}

/// Runs it to its end and passes its exit code on.
pub(crate) fn finish(command: &mut std::process::Command) -> Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
