//! Pegboard itself in a container: what `deploy/Dockerfile` makes, run by hand and by `deploy/compose.yaml`, under the engine's default seccomp profile.
//!
//! The Dockerfile's first stage compiles on an image of a registry; here it is the binary of this build, and the last stage is run as it stands.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use pegboard_tests::{http, processes::wait_until, server::binary};
use serde_json::{Value, json};

use crate::{BASE, PATIENCE, document, repository};

/// The image, and the folder it was made from, with a plugin in `plugins`; both go with it.
struct Whole {
    folder: tempfile::TempDir,
    image: String,
}

impl Whole {
    /// The last stage of `deploy/Dockerfile` with the binary of this build, on a base that was made here.
    fn build() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let context = folder.path();
        let text = fs::read_to_string(repository().join("deploy/Dockerfile"))?;
        let (_, last) =
            text.split_once("\nFROM docker.io/library/python:3.13-slim-bookworm\n").context("the last stage starts otherwise")?;
        let first = "FROM scratch AS build\nCOPY pegboard /src/target/release/pegboard\nCOPY home /home-of-pegboard\n";
        // The libraries that the base lacks: it was made for its Python alone.
        fs::write(context.join("Dockerfile"), format!("{first}FROM {BASE}\nCOPY lib /lib/x86_64-linux-gnu/\n{last}"))?;
        for name in ["lib", "home", "plugins"] {
            fs::create_dir(context.join(name))?;
        }
        add_binary(context)?;
        add_plugin(&context.join("plugins/inside"))?;
        let image = format!("localhost/pegboard-test/whole:{}", std::process::id());
        let built = docker(context, &["build", "-q", "-t", &image, "."])?;
        ensure!(built.status.success(), "{}", said(&built));
        Ok(Self { folder, image })
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        drop(docker(self.folder.path(), &["rmi", "--force", &self.image]));
    }
}

/// The binary of this build and the libraries it is linked with.
fn add_binary(context: &Path) -> Result<()> {
    let stripped = Command::new("strip").arg("-o").arg(context.join("pegboard")).arg(binary()?).status().context("strip")?;
    ensure!(stripped.success(), "strip: {stripped}");
    add_libraries(Path::new(&binary()?), &context.join("lib"))?;
    // The base has its own loader.
    fs::remove_file(context.join("lib/ld-linux-x86-64.so.2"))?;
    Ok(())
}

/// What a program is linked with, the loader included.
pub(crate) fn add_libraries(program: &Path, to: &Path) -> Result<()> {
    let needed = String::from_utf8(Command::new("ldd").arg(program).output()?.stdout)?;
    for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = Path::new(library).file_name().context("no name")?;
        fs::copy(library, to.join(name))?;
    }
    Ok(())
}

fn add_plugin(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join("plugin.yaml"), INSIDE_MANIFEST)?;
    fs::write(folder.join("main.py"), INSIDE_CODE)?;
    Ok(())
}

pub(crate) fn docker(folder: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new("docker").args(arguments).current_dir(folder).output().context("the docker client")
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the plugin saw: the user of the image, and walls around it.
fn check_seen(answer: &Value) -> Result<()> {
    let seen = answer.to_string();
    let walled = seen.contains("\"uid\":10001") && seen.contains("\"etc\":\"refused\"") && seen.contains("\"net\":\"refused\"");
    ensure!(walled, "{answer}");
    Ok(())
}

/// A Python plugin runs at L1, and `doctor` says so.
pub(crate) fn pegboard_in_a_container_of_its_own() -> Result<()> {
    let whole = Whole::build()?;
    let context = whole.folder.path();
    let mount = format!("{}:/plugins:ro", context.join("plugins").display());
    let inside = |more: &[&str]| {
        let mut arguments = vec!["run", "--rm", "--network", "none", "-v", &mount, &whole.image];
        arguments.extend_from_slice(more);
        docker(context, &arguments)
    };
    check_seen(&document(&inside(&["call", "look", "--plugins", "/plugins", "--no-bundled", "--json"])?)?)?;
    let doctor = document(&inside(&["doctor", "--json"])?)?;
    ensure!(doctor.to_string().contains("L1"), "{doctor}");
    Ok(())
}

/// A service of `deploy/compose.yaml` as it stands; its containers, network and volume go with it.
struct Composed<'a> {
    whole: &'a Whole,
    project: String,
}

impl Composed<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("docker-compose");
        command.arg("--project-name").arg(&self.project).arg("--file").arg(repository().join("deploy/compose.yaml"));
        command.args(arguments).env("PEGBOARD_IMAGE", &self.whole.image).env("PEGBOARD_PORT", "0");
        command.env("PEGBOARD_PLUGINS", self.whole.folder.path().join("plugins"));
        let output = command.output().context("docker-compose")?;
        ensure!(output.status.success(), "docker-compose {arguments:?}: {}", said(&output));
        Ok(output)
    }

    /// Where the service listens on this machine.
    fn address(&self) -> Result<SocketAddr> {
        let shown = String::from_utf8(self.run(&["port", "pegboard", "7337"])?.stdout)?;
        shown.trim().parse().with_context(|| format!("no address: {shown}"))
    }
}

impl Drop for Composed<'_> {
    fn drop(&mut self) {
        drop(self.run(&["down", "--volumes", "--timeout", "5"]));
    }
}

/// The two commands that the compose file names: a token is made, the service starts, and serves who has the token alone.
pub(crate) fn the_compose_file() -> Result<()> {
    let whole = Whole::build()?;
    let composed = Composed { whole: &whole, project: format!("pegboard-test-{}", std::process::id()) };
    let made = composed.run(&["run", "--rm", "-T", "pegboard", "token", "create", "laptop", "--tools", "*"])?;
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    let token = printed.split_whitespace().find(|word| word.starts_with("pgb_")).with_context(|| said(&made))?.to_owned();
    composed.run(&["up", "--detach", "--no-build", "pegboard"])?;
    let address = composed.address()?;
    let ready = || http::request(address, "GET", "/readyz", &[], b"").is_ok_and(|answer| answer.status == 200);
    ensure!(wait_until(PATIENCE, ready), "{}", said(&composed.run(&["logs", "pegboard"])?));
    let body = http::modern_body(1, "tools/call", json!({"name": "inside__look", "arguments": {}}));
    let mut headers = http::modern_headers("tools/call", Some("inside__look"));
    let refused = http::request(address, "POST", "/mcp", &headers, &body)?;
    ensure!(refused.status == 401, "without a token: {} {}", refused.status, refused.body);
    let bearer = format!("Bearer {token}");
    headers.push(("authorization", &bearer));
    let answer = http::request(address, "POST", "/mcp", &headers, &body)?.message()?;
    check_seen(&answer["result"]["structuredContent"])
}

const INSIDE_MANIFEST: &str = "name: inside\nversion: 1.0.0\ndescription: Looks around\nauthor: T <t@example.org>\nlicense: MIT\n\
    mcps:\n  - {name: look, description: Looks around, module_path: main, class_name: Look, args_schema: {type: object, properties: {}}}\n";
const INSIDE_CODE: &str = "import os, socket\n\n\ndef refused(act):\n    try:\n        act()\n        return 'done'\n    except OSError:\n        return 'refused'\n\n\n\
    class Look:\n    def _run(self):\n        return {\n            'uid': os.getuid(),\n            'etc': refused(lambda: open('/etc/passwd')),\n            \
    'net': refused(lambda: socket.create_connection(('127.0.0.1', 1), 1)),\n        }\n";
