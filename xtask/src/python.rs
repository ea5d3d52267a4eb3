//! The Python package: its wheel, with the program inside, and its tests in a fresh environment of every Python that is found.
//!
//! What is tested is the wheel as a user gets it, never the source tree. maturin has a target folder of its own: in the shared one, other
//! features would be built over and over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::groups::{Options, PYTHON, binary};
use crate::run::{self, Checkout, Outcome};
use crate::toolchain;

const VERSIONS: [&str; 4] = ["3.10", "3.11", "3.12", "3.13"];
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The group `python`.
pub(crate) fn group(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let wheel = wheel(checkout, Path::new(&binary(checkout)), &[])?;
    let found: Vec<(&str, PathBuf)> =
        VERSIONS.iter().filter_map(|version| Some((*version, interpreter(checkout, version)?))).collect();
    let Some((newest, _)) = found.last() else {
        return Ok(Outcome::CouldNotRun(vec!["needs one of Python 3.10 to 3.13".to_owned()]));
    };
    let mut commands = Vec::new();
    for (version, interpreter) in &found {
        let home = toolchain::package_environment(checkout, interpreter, version)?;
        commands.push(installation(checkout, &wheel, &home.join("bin/python")));
        commands.push(in_environment(checkout, &home, &["-m", "pytest", "-q", "-p", "no:cacheprovider", "."]));
        if version == newest {
            commands.push(types(checkout, &home)?);
        }
    }
    let versions: Vec<&str> = found.iter().map(|(version, _)| *version).collect();
    match run::all(&checkout.log("python"), LIMIT, commands)? {
        Outcome::Passed(_) => Ok(Outcome::Passed(format!("Python {}", versions.join(", ")))),
        other => Ok(other),
    }
}

/// The wheel of a release, in target/wheels: with this program, else with one that is built for it.
pub(crate) fn release_wheel(checkout: &Checkout, program: Option<&Path>) -> Result<PathBuf> {
    toolchain::make(checkout, toolchain::Part::Python("package")).map_err(|missing| anyhow::anyhow!(missing.why))?;
    let built = checkout.target.join("release/pegboard");
    if program.is_none() {
        let build = checkout.cargo(&["build", "--release", "--locked", "--package", "pegboard"]);
        finished(checkout, "wheel-program", build)?;
    }
    let made = wheel(checkout, program.unwrap_or(&built), &["--release"])?;
    let folder = checkout.target.join("wheels");
    fs::create_dir_all(&folder)?;
    let kept = folder.join(made.file_name().context("a wheel without a name")?);
    fs::copy(&made, &kept)?;
    Ok(kept)
}

/// Installs a wheel, and nothing that it needs, into an environment.
pub(crate) fn install(checkout: &Checkout, wheel: &Path, interpreter: &Path) -> Result<()> {
    finished(checkout, "wheel-install", installation(checkout, wheel, interpreter))
}

fn installation(checkout: &Checkout, wheel: &Path, interpreter: &Path) -> Command {
    let mut install = toolchain::uv(checkout);
    // As pip does it, and uv does not unless it is told.
    install
        .args(["pip", "install", "--quiet", "--no-deps", "--reinstall", "--compile-bytecode", "--python"])
        .arg(interpreter)
        .arg(wheel);
    install
}

/// Compiled for any interpreter, linked to none.
pub(crate) fn extension(checkout: &Checkout, mut command: Command) -> Command {
    command
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        .env("PYO3_NO_PYTHON", "1")
        .env("CARGO_TARGET_DIR", checkout.work.join("wheel"));
    command
}

fn wheel(checkout: &Checkout, program: &Path, flags: &[&str]) -> Result<PathBuf> {
    // Where pyproject.toml looks, wherever cargo builds.
    let scripts = checkout.root.join("target/wheel-data/scripts");
    fs::create_dir_all(&scripts)?;
    let carried = scripts.join("pegboard");
    fs::copy(program, &carried).with_context(|| format!("`{}` is not built", program.display()))?;
    // Debug information is nine tenths of a debug build. Where there is no `strip`, the wheel is only larger.
    let _ = checkout.command("strip").arg(&carried).status();
    let out = checkout.work.join("wheel/dist");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let python = toolchain::python(checkout, "package");
    let mut build = extension(checkout, checkout.command(&python));
    build.args(["-m", "maturin", "build", "--quiet", "--locked", "--manifest-path", PYTHON, "--compatibility", "linux", "--out"]);
    build.arg(&out).args(flags);
    finished(checkout, "wheel", build)?;
    let made =
        fs::read_dir(&out)?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "whl"));
    made.context("maturin made no wheel")
}

fn finished(checkout: &Checkout, name: &str, command: Command) -> Result<()> {
    match run::all(&checkout.log(name), LIMIT, vec![command])? {
        Outcome::Failed(why) => bail!(why),
        Outcome::Passed(_) | Outcome::CouldNotRun(_) => Ok(()),
    }
}

/// In the folder of the tests, so that the source tree is not what is imported.
fn in_environment(checkout: &Checkout, home: &Path, arguments: &[&str]) -> Command {
    let mut command = checkout.command(home.join("bin/python"));
    command.arg("-B").args(arguments).current_dir(checkout.root.join("python/tests")).env_remove("PEGBOARD_BIN");
    command
}

/// Whether the types of all that is public are known. pyright looks for the environment on the path, and does not follow links on the way.
fn types(checkout: &Checkout, home: &Path) -> Result<Command> {
    let home = home.canonicalize()?;
    let mut path = home.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = checkout.command(home.join("bin/pyright"));
    command.args(["--verifytypes", "pegboard", "--ignoreexternal"]).current_dir(&checkout.work);
    command.env("PATH", path).env("VIRTUAL_ENV", &home);
    Ok(command)
}

/// An interpreter of a version that starts: on the path, or where pyenv keeps those that are not chosen now.
fn interpreter(checkout: &Checkout, version: &str) -> Option<PathBuf> {
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let kept = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok()).into_iter().flatten().flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{version}.")));
    let mut places = vec![PathBuf::from(format!("python{version}")), PathBuf::from("python3")];
    places.extend(kept.map(|entry| entry.path().join("bin/python")));
    let script = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)";
    places.into_iter().find_map(|place| {
        let output = checkout.command(place).args(["-c", script]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (found, path) = text.trim().split_once(' ')?;
        (output.status.success() && found == version).then(|| PathBuf::from(path))
    })
}
