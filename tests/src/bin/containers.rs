//! Container plugins through the built binary, on the engine of DOCKER_HOST: from `pegboard init` to a served call, and what the engine is left
//! with when a server is killed, or when the engine itself goes away and comes back.
//!
//! The engine must be one that `.ci/engines` started, because it is ended and started again. Walls and bad answers are tested beside the executor.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "reads its environment; it is no part of the product")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pegboard_tests::http;
use pegboard_tests::processes::{Signal, send, wait_until};
use pegboard_tests::report::Checks;
use pegboard_tests::server::{Home, Server, binary};
use serde_json::{Value, json};

type Test = fn() -> Result<()>;

const BASE: &str = "localhost/pegboard-base/python:1";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut checks = Checks::default();
    let tests: &[(&str, Test)] = &[
        ("from init to a served call", from_init_to_a_served_call),
        ("a static binary in an empty image", a_static_binary_in_an_empty_image),
        ("what kill -9 leaves is swept", what_a_killed_server_leaves_is_swept),
        ("a manifest that does not parse is refused", a_manifest_that_does_not_parse_is_refused),
        ("the engine goes away and comes back", the_engine_goes_away_and_comes_back),
    ];
    let named = std::env::args().nth(1).unwrap_or_default();
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(&named)) {
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

/// The template in Rust, built here and run in an image that holds nothing else.
fn a_static_binary_in_an_empty_image() -> Result<()> {
    let home = Home::with(&[])?;
    let folder = home.plugins().join("bare");
    let into = folder.display().to_string();
    ensure!(pegboard(&home, &["init", "bare", "--template", "container-rust", "--into", &into])?.status.success(), "init");
    let target = std::env::temp_dir().join("pegboard-test-template-rust");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--target", &host()?]).current_dir(&folder);
    let built = build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", &target).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::copy(target.join(host()?).join("release/server"), folder.join("server"))?;
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY server /server\nENTRYPOINT [\"/server\"]\n")?;
    let called = document(&pegboard(&home, &["call", "count_words", "--arg", "text=one two three", "--json"])?)?;
    ensure!(called.to_string().contains("\"words\":3"), "{called}");
    fs::remove_dir_all(folder)?;
    pegboard(&home, &["container", "prune"])?;
    Ok(())
}

fn host() -> Result<String> {
    let said = String::from_utf8(Command::new("rustc").arg("-vV").output()?.stdout)?;
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not say its host")
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
    let socket = std::env::var("DOCKER_HOST").context("DOCKER_HOST is not set")?;
    let folder = Path::new(socket.trim_start_matches("unix://")).parent().context("no folder")?.to_owned();
    let kind = folder.file_name().context("no name")?.to_string_lossy().into_owned();
    let pid: u32 = fs::read_to_string(folder.join("pid")).context("not an engine of .ci/engines")?.trim().parse()?;
    let home = Home::with(&[])?;
    init(&home, "steady")?;
    let (server, mut client) = Server::stdio(&home, &[])?;
    ensure!(count(&client.call("steady__count_words", &json!({"text": "a"}))?) == Some(1), "before");
    send(pid, Signal::Term)?;
    ensure!(wait_until(PATIENCE, || !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid)), "the engine does not end");
    // Podman's containers live on without their engine, and so do their calls; Docker's end with it.
    let during = client.call("steady__count_words", &json!({"text": "a b"}))?;
    let refused = during["isError"] == true && during.to_string().contains("engine");
    ensure!(count(&during) == Some(2) || (kind == "docker" && refused), "without an engine: {during}");
    ensure!(pegboard(&home, &["container", "list"])?.status.code() == Some(6), "exit code 6 without an engine");
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/engines");
    let started = Command::new(engines).arg(folder.parent().context("no folder")?).output()?;
    if !String::from_utf8_lossy(&started.stdout).contains(&kind) {
        bail!("the engine did not start again: {}", String::from_utf8_lossy(&started.stderr));
    }
    let again = || client.call("steady__count_words", &json!({"text": "a b c"})).is_ok_and(|said| count(&said) == Some(3));
    ensure!(wait_until(PATIENCE, again), "it does not come back:\n{}", server.log_end());
    ensure!(listed(&home)?.iter().any(|container| container["owned"] == true), "its container is known again");
    end(server)
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
