//! Thousands of plugin crashes against one running server: it must not restart, and its processes, descriptors and memory must stay flat.
//!
//! `soak N`: N crashes, sixteen at a time, over stdio, in every way of tests/plugins/crash. Slow ways (a hang is over
//! only when its time is) are rare, so that ten thousand end in minutes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "reads its arguments; it is no part of the product")]

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pegboard_tests::processes::{cpu_seconds, descendants, descriptors, is_alive, read, resident_kib, wait_until};
use pegboard_tests::report::{Checks, equal, holds};
use pegboard_tests::server::{Home, Server};
use pegboard_tests::stdio::Connection;
use serde_json::{Value, json};

const IN_FLIGHT: usize = 16;
const QUICK: &[&str] = &["segfault", "kill", "exit", "half_written", "abort", "garbage", "raise", "system_exit"];
/// One call in fifty is one of these: each costs its whole second of wall clock, or a plugin's whole memory.
const SLOW: &[&str] = &["hang", "closed", "memory", "flood"];
const DRIFT_KIB: u64 = 10 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// What must stay flat.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    processes: usize,
    zombies: usize,
    descriptors: usize,
    resident_kib: u64,
}

fn footprint(pid: u32) -> Footprint {
    let below = descendants(pid);
    Footprint {
        processes: below.len(),
        zombies: below.iter().filter(|process| process.state == 'Z').count(),
        descriptors: descriptors(pid),
        resident_kib: resident_kib(pid),
    }
}

fn way(number: u32) -> &'static str {
    let number = number as usize;
    if number % 50 == 49 { SLOW[number / 50 % SLOW.len()] } else { QUICK[number % QUICK.len()] }
}

fn run() -> Result<u8> {
    let crashes: u32 = std::env::args().nth(1).unwrap_or_else(|| "500".into()).parse().context("usage: soak N")?;
    let (server, mut client) = Server::stdio(&Home::with(&["crash"])?, &[])?;
    let identity = read(server.pid).context("the server is gone")?;
    fine(&mut client)?;
    // The first crashes grow pools and heaps; what counts is what comes after.
    let warm_up = (crashes / 10).clamp(50, 500);
    crash(&mut client, &server, warm_up, &mut BTreeMap::new())?;
    settle(server.pid);
    let before = footprint(server.pid);
    println!("after {warm_up} to warm up: {before:?}");

    let mut told = BTreeMap::new();
    let (began, cpu) = (Instant::now(), cpu_seconds(server.pid));
    let wrong = crash(&mut client, &server, crashes, &mut told)?;
    let (took, cpu) = (began.elapsed(), cpu_seconds(server.pid) - cpu);
    fine(&mut client)?;
    settle(server.pid);
    let after = footprint(server.pid);
    println!("after {crashes} crashes: {after:?}");
    println!(
        "{:.1} s, {:.0} crashes/s, {:.2} ms CPU a crash",
        took.as_secs_f64(),
        f64::from(crashes) / took.as_secs_f64(),
        cpu * 1000.0 / f64::from(crashes)
    );
    println!("told as: {told:?}");

    let mut checks = Checks::default();
    checks.check("every crash is told as a failure", equal(&wrong, &0));
    checks.check("the server was never restarted", holds(is_alive(&identity), "its process is another one"));
    checks.check("no zombie", equal(&after.zombies, &0));
    checks.check(
        "processes are flat",
        holds(after.processes <= before.processes + 4, format!("{} → {}", before.processes, after.processes)),
    );
    checks.check(
        "descriptors are flat",
        holds(after.descriptors <= before.descriptors + 16, format!("{} → {}", before.descriptors, after.descriptors)),
    );
    let drift = after.resident_kib.saturating_sub(before.resident_kib);
    checks.check("memory drifts less than 10 MB", holds(drift < DRIFT_KIB, format!("{drift} KiB more")));
    Ok(checks.conclude())
}

fn fine(client: &mut Connection) -> Result<()> {
    let result = client.call("crash__fine", &json!({}))?;
    anyhow::ensure!(result["structuredContent"]["fine"] == true, "a good call fails: {result}");
    Ok(())
}

/// Waits until the pools have settled: the same number of processes for a while.
fn settle(pid: u32) {
    let (mut last, mut since) = (0, Instant::now());
    wait_until(Duration::from_secs(15), || {
        let now = descendants(pid).len();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    });
}

/// Crashes `number` calls; how many were not told as a failure. Counts the first words of what was told.
fn crash(client: &mut Connection, server: &Server, number: u32, told: &mut BTreeMap<String, u32>) -> Result<u32> {
    let (mut started, mut ended, mut wrong) = (0, 0, 0);
    let mut ways: HashMap<u64, &'static str> = HashMap::new();
    while ended < number {
        while started < number && ways.len() < IN_FLIGHT {
            let mode = way(started);
            ways.insert(client.start("tools/call", &json!({"name": "crash__now", "arguments": {"mode": mode}}))?, mode);
            started += 1;
        }
        let answer = client
            .next(Duration::from_secs(120))
            .with_context(|| format!("after {ended} crashes; its log:\n{}", server.log()))?;
        let Some(mode) = answer["id"].as_u64().and_then(|id| ways.remove(&id)) else { continue };
        ended += 1;
        if answer["result"]["isError"] != true {
            wrong += 1;
            println!("{mode} was told as: {answer}");
        }
        *told.entry(format!("{mode}: {}", kind(&answer))).or_default() += 1;
        if ended % 1000 == 0 {
            println!("{ended}: {:?}", footprint(server.pid));
        }
    }
    Ok(wrong)
}

/// The first words of what a caller is told.
fn kind(answer: &Value) -> String {
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or("no text");
    text.lines().next().unwrap_or_default().chars().take(48).collect()
}
