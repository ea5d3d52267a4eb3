//! The groups of `cargo xtask test`, in the order they run: cheap and local first, what others wrote last.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::run::{self, Checkout, Outcome};
use crate::tidy;
use crate::toolchain::{self, Part};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Only these groups; empty: all.
    pub(crate) only: Vec<String>,
    /// Crashes of the soak.
    pub(crate) crashes: u32,
    /// Only print the groups.
    pub(crate) list: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: Vec::new(), crashes: 1_000, list: false }
    }
}

/// One group.
pub(crate) struct Group {
    /// Name for `--only`.
    pub(crate) name: &'static str,
    /// One line on what it does.
    pub(crate) what: &'static str,
    /// What must be set up before.
    pub(crate) needs: &'static [Part],
    /// Runs it.
    pub(crate) run: fn(&Checkout, &Options) -> Result<Outcome>,
}

const WORKER: &str = "executors/python/worker/Cargo.toml";
/// The Python package's workspace.
pub(crate) const PYTHON: &str = "python/Cargo.toml";
const MINUTE: u64 = 60;

/// Every group.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "fmt", what: "rustfmt, all three workspaces", needs: &[], run: fmt },
    Group {
        name: "tidy",
        what: "the invariants of ARCHITECTURE.md, licences, bans, sources; cargo-deny besides, where it is installed",
        needs: &[],
        run: tidy_group,
    },
    Group { name: "clippy", what: "clippy without a warning, all three workspaces", needs: &[], run: clippy },
    Group { name: "build", what: "the binary that the following groups use", needs: &[], run: build },
    Group {
        name: "rust",
        what: "every Rust test: crates, CLI, HTTP, signals, attacks on the sandbox",
        needs: &[Part::Python("plugins"), Part::OnnxRuntime],
        run: rust,
    },
    Group {
        name: "runtime",
        what: "the runtime inside the sandbox, alone (pytest)",
        needs: &[Part::Python("plugins")],
        run: runtime,
    },
    Group { name: "plugins", what: "the first-party plugins, alone (pytest)", needs: &[Part::Python("plugins")], run: plugins },
    Group {
        name: "clients",
        what: "MCP clients that others wrote: Python SDK, FastMCP, LangChain, TypeScript SDK v1 and v2, Inspector",
        needs: &[Part::Python("modern"), Part::Python("langchain"), Part::Node],
        run: clients,
    },
    Group {
        name: "servers",
        what: "MCP servers that others wrote, hung on the board: everything, filesystem, memory, sequential-thinking, time, git, fetch, FastMCP, TypeScript v2; fifty at once; npx and uvx",
        needs: &[Part::Python("modern"), Part::Python("servers"), Part::Node, Part::NodeServers],
        run: servers,
    },
    Group {
        name: "containers",
        what: "container plugins on real engines: life, walls, bad servers, engine restart; Podman and Docker where they are installed",
        needs: &[Part::Node],
        run: containers,
    },
    Group {
        name: "conformance",
        what: "the official conformance suite, both eras, strict baselines",
        needs: &[Part::Node],
        run: conformance,
    },
    Group {
        name: "python",
        what: "the Python package: its wheel in a fresh environment of each Python found among 3.10 to 3.13, LangChain's own suites, types",
        needs: &[Part::Python("package")],
        run: crate::python::group,
    },
    Group { name: "soak", what: "plugin crashes against a running server", needs: &[], run: soak },
];

fn fmt(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let commands = vec![
        checkout.cargo(&["fmt", "--all", "--check"]),
        checkout.cargo(&["fmt", "--manifest-path", WORKER, "--check"]),
        checkout.cargo(&["fmt", "--manifest-path", PYTHON, "--check"]),
    ];
    run::all(&checkout.log("fmt"), Duration::from_secs(5 * MINUTE), commands)
}

fn tidy_group(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let results = tidy::run(&checkout.root)?;
    let rules = results.len();
    let findings: Vec<String> = results
        .into_iter()
        .flat_map(|(rule, findings)| findings.into_iter().map(move |finding| format!("    {rule}: {finding}")))
        .collect();
    if !findings.is_empty() {
        return Ok(Outcome::Failed(format!("{} findings\n{}", findings.len(), findings.join("\n"))));
    }
    // tidy reads the same deny.toml and checks the same three things: where cargo-deny is absent nothing is left unchecked.
    if checkout.cargo(&["deny", "--version"]).output().is_ok_and(|output| !output.status.success()) {
        return Ok(Outcome::Passed(format!("{rules} rules")));
    }
    let check = |manifest: &str| {
        checkout.cargo(&["deny", "--offline", "--manifest-path", manifest, "check", "licenses", "bans", "sources"])
    };
    run::all(&checkout.log("deny"), Duration::from_secs(5 * MINUTE), vec![check("Cargo.toml"), check(WORKER), check(PYTHON)])
}

fn clippy(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let commands = vec![
        checkout.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
        worker(checkout, checkout.cargo(&["clippy", "--manifest-path", WORKER, "--locked", "--", "-D", "warnings"])),
        crate::python::extension(
            checkout,
            checkout.cargo(&["clippy", "--manifest-path", PYTHON, "--locked", "--", "-D", "warnings"]),
        ),
    ];
    run::all(&checkout.log("clippy"), Duration::from_secs(40 * MINUTE), commands)
}

/// The worker crate is compiled as the build script of the executor compiles it: for any interpreter, linked to none.
fn worker(checkout: &Checkout, mut command: Command) -> Command {
    command
        .env("PYO3_BUILD_EXTENSION_MODULE", "1")
        .env("PYO3_NO_PYTHON", "1")
        .env("CARGO_TARGET_DIR", checkout.work.join("worker"));
    command
}

fn build(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    // The whole workspace, so that features are unified as in `cargo test --workspace` and nothing is compiled twice.
    let command = checkout.cargo(&["build", "--workspace", "--bins", "--locked"]);
    run::all(&checkout.log("build"), Duration::from_secs(40 * MINUTE), vec![command])
}

fn rust(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let mut command = checkout.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.env("PEGBOARD_BIN", binary(checkout)).env("PEGBOARD_TEST_PYTHON", toolchain::python(checkout, "plugins"));
    run::all(&checkout.log("rust"), Duration::from_secs(40 * MINUTE), vec![command])
}

fn runtime(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    run::all(&checkout.log("runtime"), Duration::from_secs(10 * MINUTE), vec![pytest(checkout, "executors/python/runtime/tests")])
}

fn plugins(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    run::all(&checkout.log("plugins"), Duration::from_secs(15 * MINUTE), vec![pytest(checkout, "plugins")])
}

/// pytest's caches stay out of the tree.
fn pytest(checkout: &Checkout, folder: &str) -> Command {
    let mut command = checkout.command(toolchain::python(checkout, "plugins"));
    command.args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]);
    command
}

/// One after the other: one of the tests starts fifty servers, and would starve its neighbours.
fn servers(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let mut command = checkout.cargo(&[
        "test",
        "--locked",
        "-p",
        "pegboard-executor-mcp",
        "--test",
        "it",
        "others_",
        "--",
        "--test-threads",
        "1",
    ]);
    command.env("PEGBOARD_SERVERS", &checkout.work);
    run::all(&checkout.log("servers"), Duration::from_secs(20 * MINUTE), vec![command])
}

/// The compiler of a template, and what runs the compose file.
fn missing_beside_engines(checkout: &Checkout) -> Vec<String> {
    ["go", "docker-compose"]
        .into_iter()
        .filter(|program| checkout.command(program).arg("version").output().is_err())
        .map(|program| format!("`{program}` is not installed"))
        .collect()
}

/// Runs on the engines of PEGBOARD_TEST_ENGINES, else on those that `.ci/engines` can start here; ends those it started.
fn containers(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let named = std::env::var("PEGBOARD_TEST_ENGINES").ok();
    let folder = checkout.work.join("engines");
    let script = || checkout.command(checkout.root.join(".ci/engines"));
    let engines = match &named {
        Some(named) => named.clone(),
        None => String::from_utf8_lossy(&script().arg(&folder).output()?.stdout).into_owned(),
    };
    let named_places = engines.split_whitespace().filter_map(|place| place.split_once('='));
    let (registries, engines): (Vec<_>, Vec<_>) = named_places.partition(|(name, _)| *name == "registry");
    if registries.is_empty() {
        return Ok(Outcome::CouldNotRun(vec![
            "no registry starts here (docker-registry installed; .ci/engines says why)".to_owned(),
        ]));
    }
    if engines.is_empty() {
        let why = "no container engine starts here (as root, with podman or docker.io installed; .ci/engines says why)";
        return Ok(Outcome::CouldNotRun(vec![why.to_owned()]));
    }
    let missing = missing_beside_engines(checkout);
    if !missing.is_empty() {
        return Ok(Outcome::CouldNotRun(missing));
    }
    let list: Vec<String> = engines.iter().chain(&registries).map(|(name, socket)| format!("{name}={socket}")).collect();
    let mut commands = Vec::new();
    for (_, socket) in &engines {
        let mut image = checkout.command("python3");
        image.arg(checkout.root.join("tests/containers/python_image.py")).arg(socket);
        commands.push(image);
    }
    let mut trials = checkout.cargo(&["test", "--locked", "-p", "pegboard-executor-container", "--test", "it"]);
    trials.args(["--", "--test-threads", "1"]).env("PEGBOARD_TEST_ENGINES", list.join(" "));
    commands.push(trials);
    for (_, socket) in &engines {
        let mut whole = ours(checkout, "containers");
        whole.env("DOCKER_HOST", socket).env("PATH", toolchain::node_path(checkout)?);
        commands.push(whole);
    }
    let outcome = run::all(&checkout.log("containers"), Duration::from_secs(20 * MINUTE), commands);
    if named.is_none() {
        script().arg("stop").arg(&folder).status()?;
    }
    outcome
}

fn clients(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let mut command = ours(checkout, "clients");
    command.arg("--scripts").arg(checkout.root.join("tests/clients/python"));
    command.arg("--modern").arg(toolchain::python(checkout, "modern"));
    command.arg("--langchain").arg(toolchain::python(checkout, "langchain"));
    command.arg("--node").arg(toolchain::node_packages(checkout));
    command.env("PATH", toolchain::node_path(checkout)?);
    run::all(&checkout.log("clients"), Duration::from_secs(20 * MINUTE), vec![command])
}

fn conformance(checkout: &Checkout, _: &Options) -> Result<Outcome> {
    let mut command = ours(checkout, "conformance");
    command.arg("--node").arg(toolchain::node_packages(checkout));
    command.arg("--baselines").arg(checkout.root.join("tests/conformance"));
    command.arg("--reports").arg(checkout.work.join("conformance"));
    command.env("PATH", toolchain::node_path(checkout)?);
    run::all(&checkout.log("conformance"), Duration::from_secs(20 * MINUTE), vec![command])
}

fn soak(checkout: &Checkout, options: &Options) -> Result<Outcome> {
    let mut command = ours(checkout, "soak");
    command.arg(options.crashes.to_string());
    run::all(&checkout.log("soak"), Duration::from_secs(60 * MINUTE), vec![command])
}

/// A program of the tests crate, built by the group `build`.
fn ours(checkout: &Checkout, name: &str) -> Command {
    let mut command = checkout.command("cargo");
    command.args(["run", "--quiet", "--locked", "--package", "pegboard-tests", "--bin", name, "--"]);
    command.env("PEGBOARD_BIN", binary(checkout));
    command
}

pub(crate) fn binary(checkout: &Checkout) -> OsString {
    checkout.target.join("debug/pegboard").into_os_string()
}
