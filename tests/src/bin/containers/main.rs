//! Container plugins through the built binary, on the engine of DOCKER_HOST: from `pegboard init` to a served call, and what the engine is left
//! with when a server is killed, or when the engine itself goes away and comes back.
//!
//! The engine must be one that `.ci/engines` started, because it is ended and started again. Walls and bad answers are tested beside the executor.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "reads its environment; it is no part of the product")]

mod deployed;
mod engine;
mod templates;

use std::fs;
use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pegboard_tests::http;
use pegboard_tests::processes::{Signal, send, wait_until};
use pegboard_tests::report::Checks;
use pegboard_tests::server::{Home, Server, binary, copy_folder};
use serde_json::{Value, json};

use engine::Engine;

type Test = fn() -> Result<()>;

const BASE: &str = "localhost/pegboard-base/python:1";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut checks = Checks::default();
    let tests: &[(&str, Test)] = &[
        ("from init to a served call", from_init_to_a_served_call),
        ("a static binary in an empty image", templates::a_static_binary_in_an_empty_image),
        ("what kill -9 leaves is swept", what_a_killed_server_leaves_is_swept),
        ("a manifest that does not parse is refused", a_manifest_that_does_not_parse_is_refused),
        ("the template in Go", templates::the_template_in_go),
        ("the template in Node", templates::the_template_in_node),
        ("python_box in its container", python_box_in_its_container),
        ("a user whom the engine is closed to", a_user_whom_the_engine_is_closed_to),
        ("Pegboard in a container of its own", deployed::pegboard_in_a_container_of_its_own),
        ("the compose file", deployed::the_compose_file),
        ("the engine dies in the midst of a build", the_engine_dies_in_the_midst_of_a_build),
        ("the engine goes away and comes back", the_engine_goes_away_and_comes_back),
    ];
    let named = std::env::args().nth(1).unwrap_or_default();
    // One more engine on a disk of its own is no trouble with Podman; a second Docker Engine would take the first one's bridge.
    let podman = Engine::of_the_environment().is_ok_and(|engine| engine.kind == "podman");
    let full_disk: (&str, Test) = ("a full disk", a_full_disk);
    for (name, test) in tests.iter().chain(podman.then_some(&full_disk)).filter(|(name, _)| name.contains(&named)) {
        let began = Instant::now();
        let ended = test();
        println!("{name}: {} ({:.1} s)", if ended.is_ok() { "ok" } else { "FAILED" }, began.elapsed().as_secs_f64());
        checks.check(*name, ended.map_err(|error| format!("{error:#}")));
    }
    ExitCode::from(checks.conclude())
}

fn pegboard(home: &Home, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command
        .args(arguments)
        .arg("--home")
        .arg(home.path())
        .env("PEGBOARD_PLUGINS", home.plugins())
        .env("PEGBOARD_NO_BUNDLED", "true");
    command.output().context("cannot start the binary")
}

fn document(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("no JSON: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn listed(home: &Home) -> Result<Vec<Value>> {
    let document = document(&pegboard(home, &["container", "list", "--json"])?)?;
    document["containers"].as_array().cloned().with_context(|| document.to_string())
}

fn init(home: &Home, name: &str) -> Result<PathBuf> {
    let folder = home.plugins().join(name);
    let into = folder.display().to_string();
    let output = pegboard(home, &["init", name, "--template", "container-python", "--base-image", BASE, "--into", &into])?;
    ensure!(output.status.success(), "init: {}", String::from_utf8_lossy(&output.stderr));
    Ok(folder)
}

/// Lets a server end its containers.
fn end(mut server: Server) -> Result<()> {
    server.signal(Signal::Term)?;
    ensure!(server.wait(PATIENCE)?.success(), "a server ended badly: {}", server.log_end());
    Ok(())
}

fn count(said: &Value) -> Option<u64> {
    said["structuredContent"]["words"].as_u64()
}

fn from_init_to_a_served_call() -> Result<()> {
    let home = Home::with(&[])?;
    let folder = init(&home, "first")?;
    let tests = Command::new("python3").args(["-B", "-m", "unittest", "-q"]).current_dir(&folder).output()?;
    ensure!(tests.status.success(), "the template's own test: {}", String::from_utf8_lossy(&tests.stderr));
    let doctor = document(&pegboard(&home, &["doctor", "--json"])?)?;
    ensure!(doctor["container"]["state"] == "ready", "doctor: {}", doctor["container"]);
    let info = document(&pegboard(&home, &["info", "first", "--json"])?)?;
    ensure!(info["level"]["reached"] == "L3" && info["state"] == "served", "info: {info}");
    let called = document(&pegboard(&home, &["call", "count_words", "--arg", "text=two words", "--json"])?)?;
    ensure!(called.to_string().contains("\"words\":2"), "call: {called}");
    ensure!(listed(&home)?.is_empty(), "a single call leaves a container behind");

    let (server, address) = Server::http(&home, &[])?;
    let body = http::modern_body(1, "tools/call", json!({"name": "first__count_words", "arguments": {"text": "a b c"}}));
    let headers = http::modern_headers("tools/call", Some("first__count_words"));
    let answer = http::request(address, "POST", "/mcp", &headers, &body)?.message()?;
    ensure!(count(&answer["result"]) == Some(3), "{answer}\n{}", server.log_end());
    let metrics = http::request(address, "GET", "/metrics", &[], b"")?.body;
    for line in [
        "pegboard_plugin_calls{plugin=\"first\"",
        "pegboard_container_memory_bytes{plugin=\"first\"",
        "pegboard_executor_ready{plugin=\"first\"} 1",
    ] {
        ensure!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    let found = listed(&home)?;
    ensure!(found.len() == 1 && found[0]["owned"] == true && found[0]["plugin"] == "first", "{found:?}");
    let logs = || pegboard(&home, &["container", "logs", "first"]);
    let listening = "listening on /run/pegboard/plugin.sock";
    let wrote = || logs().is_ok_and(|logs| String::from_utf8_lossy(&logs.stdout).contains(listening));
    ensure!(wait_until(PATIENCE, wrote), "{:?}", logs()?);
    let stats = document(&pegboard(&home, &["container", "stats", "--json"])?)?;
    ensure!(stats["containers"][0]["usage"]["memory"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{stats}");
    ensure!(
        pegboard(&home, &["container", "stop", "first"])?.status.success() && listed(&home)?.is_empty(),
        "it was not stopped"
    );
    let answer = http::request(address, "POST", "/mcp", &headers, &body)?.message()?;
    ensure!(count(&answer["result"]) == Some(3), "after a stop: {answer}");
    ensure!(pegboard(&home, &["container", "rebuild", "first"])?.status.success(), "rebuild");
    ensure!(pegboard(&home, &["container", "logs", "nobody"])?.status.code() == Some(5), "logs of nobody");
    server.signal(Signal::Term)?;
    ensure!(
        wait_until(PATIENCE, || listed(&home).is_ok_and(|found| found.is_empty())),
        "a server that ended left its containers"
    );
    fs::remove_dir_all(folder)?;
    let pruned = document(&pegboard(&home, &["container", "prune", "--json"])?)?;
    ensure!(pruned["images"].as_u64().is_some_and(|images| images >= 1), "{pruned}");
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first-party plugin on another base image, as its README says.
fn python_box_in_its_container() -> Result<()> {
    let source = repository().join("plugins/python_box");
    // A plugin made of the template: one server, which is tested with the template.
    let (ours, template) = (
        fs::read_to_string(source.join("server.py"))?,
        fs::read_to_string(repository().join("templates/container-python/server.py"))?,
    );
    ensure!(
        ours == template.replace("the tools of tool.py", "the tools of box.py").replace("from tool import", "from box import"),
        "python_box's server.py is not the template's"
    );
    let home = Home::with(&[])?;
    let folder = home.plugins().join("python_box");
    copy_folder(&source, &folder)?;
    let dockerfile = fs::read_to_string(folder.join("Dockerfile"))?;
    fs::write(folder.join("Dockerfile"), dockerfile.replace("FROM docker.io/library/python:3.13-slim", &format!("FROM {BASE}")))?;
    let run = |code: &str, more: &[&str]| -> Result<Value> {
        let code = format!("code={code}");
        let mut arguments = vec!["call", "run_python", "--arg", &code, "--json"];
        arguments.extend_from_slice(more);
        document(&pegboard(&home, &arguments)?)
    };
    let said = run("import sys; print(6 * 7, sys.stdin.read().upper())", &["--arg", "stdin=loud"])?;
    ensure!(said.to_string().contains("42 LOUD"), "{said}");
    // The walls are the container's, for what a model wrote, too.
    let attack = "import os, socket\nprint(os.getuid(), [name for name in os.listdir('/sys/class/net') if name != 'lo'])\n\
                  for act in (lambda: open('/app/box.py', 'a'), lambda: os.setuid(0), lambda: socket.create_connection(('192.0.2.1', 80), 2)):\n    \
                  try:\n        act()\n        print('DONE')\n    except OSError as e:\n        print('refused')";
    let said = run(attack, &[])?.to_string();
    ensure!(said.contains("65534 []") && said.matches("refused").count() == 3 && !said.contains("DONE"), "{said}");
    let said = run("while True: pass", &["--arg", "seconds=0.5"])?.to_string();
    ensure!(said.contains("\"timed_out\":true"), "{said}");
    fs::remove_dir_all(folder)?;
    pegboard(&home, &["container", "prune"])?;
    Ok(())
}

/// As an ordinary user, from whom the engine's socket is closed: said so, not taken for an engine that is away.
fn a_user_whom_the_engine_is_closed_to() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("pegboard-user-").tempdir()?;
    let open = |path: &Path| -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        Ok(())
    };
    open(folder.path())?;
    let program = folder.path().join("pegboard");
    fs::copy(binary()?, &program)?;
    open(&program)?;
    // A socket that is there and closed, as a system's own is; and one in a folder that can't be looked into.
    let shut = folder.path().join("shut");
    fs::create_dir(&shut)?;
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700))?;
    for socket in [folder.path().join("engine.sock"), shut.join("engine.sock")] {
        let _listening = std::os::unix::net::UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        let home = folder.path().join("home");
        let run = |uid: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", uid, "--regid", uid, "--clear-groups"]).arg(&program);
            command
                .args(["container", "list", "--json", "--home"])
                .arg(&home)
                .env("DOCKER_HOST", format!("unix://{}", socket.display()));
            command.output().context("setpriv can't be started")
        };
        let refused = run("65534")?;
        let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
        ensure!(refused.status.code() == Some(6), "{:?} {said}", refused.status);
        ensure!(said.contains("may not use the container engine") && said.contains("permission denied"), "{said}");
    }
    Ok(())
}

/// A disk in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An engine whose disk has room for the base image and not for the plugin's.
fn a_full_disk() -> Result<()> {
    let engine = Engine::of_the_environment()?;
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk");
    fs::create_dir(&disk)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200m", "tmpfs"]).arg(&disk).status()?;
    ensure!(mounted.success(), "mount: {mounted}");
    let disk = SmallDisk(disk);
    let socket = folder.path().join("engine.sock");
    let url = format!("unix://{}", socket.display());
    let mut service = Command::new("podman");
    service.arg("--root").arg(disk.0.join("store")).arg("--runroot").arg(disk.0.join("run"));
    service.args(["system", "service", "--time=0", &url]).env("CONTAINERS_CONF", engine.folder.join("containers.conf"));
    let _engine = Ended(service.stderr(Stdio::null()).spawn().context("podman")?);
    ensure!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()), "the second engine does not start");
    let image = repository().join("tests/containers/python_image.py");
    let made = Command::new("python3").arg(image).arg(&socket).output()?;
    ensure!(made.status.success(), "the base image does not fit: {}", String::from_utf8_lossy(&made.stderr));
    let home = Home::with(&[])?;
    let plugin = init(&home, "heavy")?;
    let call = || -> Result<Value> {
        let mut command = Command::new(binary()?);
        command.args(["call", "count_words", "--arg", "text=a b", "--json", "--home"]).arg(home.path());
        command.env("PEGBOARD_PLUGINS", home.plugins()).env("PEGBOARD_NO_BUNDLED", "true").env("DOCKER_HOST", &url);
        document(&command.output()?)
    };
    let dockerfile = fs::read_to_string(plugin.join("Dockerfile"))?;
    fs::write(plugin.join("Dockerfile"), dockerfile.replace("COPY server.py tool.py /app/", "COPY . /app/"))?;
    fs::write(plugin.join("ballast"), vec![b'x'; 125 << 20])?;
    let said = call()?.to_string();
    ensure!(said.contains("no space left on device") && said.contains("the engine's disk is full"), "{said}");
    // The control: without the ballast the same plugin fits.
    fs::remove_file(plugin.join("ballast"))?;
    let said = call()?.to_string();
    ensure!(said.contains("\"words\":2"), "{said}");
    Ok(())
}

fn the_engine_dies_in_the_midst_of_a_build() -> Result<()> {
    let engine = Engine::of_the_environment()?;
    let home = Home::with(&[])?;
    let folder = init(&home, "halfway")?;
    let dockerfile = fs::read_to_string(folder.join("Dockerfile"))?;
    let mark = format!("halfway-{}", std::process::id());
    let step = format!("RUN [\"python3\", \"-c\", \"import time; mark = '{mark}'; time.sleep(20)\"]");
    fs::write(folder.join("Dockerfile"), dockerfile.replace("ENTRYPOINT", &format!("{step}\nENTRYPOINT")))?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    let call = std::thread::spawn(move || {
        let said = client.call("halfway__count_words", &json!({"text": "a"}));
        (said, client)
    });
    ensure!(wait_until(PATIENCE, || runs(&mark)), "the step does not run: {}", server.log_end());
    engine.end(Signal::Kill)?;
    let (said, mut client) = call.join().map_err(|_| anyhow::anyhow!("the call panicked"))?;
    let said = said?;
    ensure!(said["isError"] == true && said.to_string().contains("engine went away while building the image"), "{said}");
    let again = client.call("halfway__count_words", &json!({"text": "a"}))?;
    ensure!(again["isError"] == true && again.to_string().contains("engine"), "without an engine: {again}");
    engine.start()?;
    let comes = || client.call("halfway__count_words", &json!({"text": "a b"})).is_ok_and(|said| count(&said) == Some(2));
    ensure!(wait_until(PATIENCE, comes), "it does not come back:\n{}", server.log_end());
    end(server)
}

/// Whether a Python of any container has that word among its arguments.
fn runs(word: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').next().is_some_and(|program| program.ends_with("python3")) && line.contains(word)
        })
    })
}

fn what_a_killed_server_leaves_is_swept() -> Result<()> {
    let home = Home::with(&[])?;
    init(&home, "orphan")?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    let said = client.call("orphan__count_words", &json!({"text": "a"}))?;
    ensure!(count(&said) == Some(1), "{said}\n{}", server.log_end());
    let other = Home::with(&[])?;
    init(&other, "bystander")?;
    let (other_server, mut other_client) = Server::stdio(&other, &[])?;
    ensure!(count(&other_client.call("bystander__count_words", &json!({"text": "a"}))?) == Some(1), "the other server");
    send(server.pid, Signal::Kill)?;
    drop(server);
    ensure!(
        wait_until(PATIENCE, || listed(&home).is_ok_and(|found| found.len() == 1 && found[0]["owned"] == false)),
        "{:?}",
        listed(&home)?
    );
    let (server, mut client) = Server::stdio(&home, &[])?;
    ensure!(count(&client.call("orphan__count_words", &json!({"text": "a b"}))?) == Some(2), "{}", server.log_end());
    let swept = || listed(&home).is_ok_and(|found| found.len() == 1 && found[0]["owned"] == true);
    ensure!(wait_until(PATIENCE, swept), "not swept: {:?}", listed(&home)?);
    let said = other_client.call("bystander__count_words", &json!({"text": "a b"}))?;
    ensure!(count(&said) == Some(2) && listed(&other)?.len() == 1, "another installation's container was touched: {said}");
    end(server)?;
    end(other_server)
}

fn a_manifest_that_does_not_parse_is_refused() -> Result<()> {
    let home = Home::with(&[])?;
    let folder = init(&home, "wrong")?;
    let file = folder.join("plugin.yaml");
    let good = fs::read_to_string(&file)?;
    ensure!(pegboard(&home, &["validate", &folder.display().to_string()])?.status.success(), "the good one");
    for (old, new, words) in [
        ("memory: 128m", "memory: lots", "is not an amount of memory"),
        ("memory: 128m", "memory: 128", "has the wrong type"),
        ("cpu: \"1\"", "cpu: \"0\"", "is not a number of cores"),
        ("interval: 30s", "interval: sometimes", "is not a time"),
        ("scale: {min: 0, max: 2}", "scale: {min: 3, max: 2}", "is below `min`"),
        ("dockerfile: Dockerfile", "dockerfile: ../Dockerfile", "Dockerfile"),
    ] {
        ensure!(good.contains(old), "the template has no `{old}`");
        fs::write(&file, good.replace(old, new))?;
        let output = pegboard(&home, &["validate", &folder.display().to_string()])?;
        let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
        ensure!(output.status.code() == Some(3) && said.contains(words), "{new}: {:?} {said}", output.status);
    }
    Ok(())
}

fn the_engine_goes_away_and_comes_back() -> Result<()> {
    let engine = Engine::of_the_environment()?;
    let home = Home::with(&[])?;
    init(&home, "steady")?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    ensure!(count(&client.call("steady__count_words", &json!({"text": "a"}))?) == Some(1), "before");
    engine.end(Signal::Term)?;
    // Podman's containers live on without their engine, and so do their calls; Docker's end with it.
    let during = client.call("steady__count_words", &json!({"text": "a b"}))?;
    let refused = during["isError"] == true && during.to_string().contains("engine");
    ensure!(count(&during) == Some(2) || (engine.kind == "docker" && refused), "without an engine: {during}");
    ensure!(pegboard(&home, &["container", "list"])?.status.code() == Some(6), "exit code 6 without an engine");
    engine.start()?;
    let again = || client.call("steady__count_words", &json!({"text": "a b c"})).is_ok_and(|said| count(&said) == Some(3));
    ensure!(wait_until(PATIENCE, again), "it does not come back:\n{}", server.log_end());
    ensure!(listed(&home)?.iter().any(|container| container["owned"] == true), "its container is known again");
    end(server)
}
