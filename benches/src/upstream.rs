//! The rows of existing MCP servers: what standing between a client and its server costs, and a start with thirty of them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pegboard_tests::processes::tree;
use serde_json::json;

use crate::Bench;
use crate::figures::{Figures, Promise, Row};
use crate::lean::Lean;

const ROUNDS: usize = 3;

/// A home with so many servers added, each the bare echo under a name of its own.
fn home(bench: &Bench, servers: usize) -> Result<PathBuf> {
    let home = bench.work.join(format!("upstream-{servers}"));
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    // In a folder of its own, since the folder of a program is what its server is allowed to read.
    let program = home.join("program/rmcp-echo");
    fs::create_dir_all(program.parent().context("a folder")?)?;
    fs::copy(&bench.echo, &program)?;
    for number in 0..servers {
        let mut add = Command::new(&bench.pegboard);
        add.arg("--home").arg(&home).args(["add", &format!("echo_{number}"), "--yes", "--"]).arg(&program);
        let output = add.output()?;
        ensure!(output.status.success(), "`pegboard add` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(home)
}

fn serve(bench: &Bench, home: &PathBuf) -> Command {
    let mut command = Command::new(&bench.pegboard);
    command.arg("--home").arg(home).args(["serve", "--no-bundled"]);
    command
}

/// A call through us beside the same call of the same server directly.
pub(crate) fn call_row(bench: &Bench) -> Result<Row> {
    let home = home(bench, 1)?;
    let (mut ours, mut peer) = (Lean::connect(&mut serve(bench, &home))?, Lean::connect(&mut Command::new(&bench.echo))?);
    let call = |tool: &str| json!({"name": tool, "arguments": {"text": "a line of text that is echoed"}});
    ours.one_by_one("tools/call", &[call("echo_0__echo")], 500, 0)?;
    peer.one_by_one("tools/call", &[call("echo")], 500, 0)?;
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.one_by_one("tools/call", &[call("echo_0__echo")], 3000, 0)?);
        peer_rounds.push(peer.one_by_one("tools/call", &[call("echo")], 3000, 0)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![Promise::at_most("p50 at most 0.3 ms over the server called directly", ours.p50() - peer.p50(), 0.3)];
    let note = "the bare rmcp echo, in its walls through us and without any directly".into();
    Ok(Row {
        what: "upstream: a call of an existing MCP server, stdio".into(),
        ours,
        peer: Some(("direct", peer)),
        promises,
        note,
    })
}

/// From the start of the process to the first list, with thirty servers of which none is started.
pub(crate) fn start_row(bench: &Bench) -> Result<Row> {
    const SERVERS: usize = 30;
    let home = home(bench, SERVERS)?;
    let mut rounds = Vec::new();
    for _ in 0..6 {
        let began = Instant::now();
        let mut lean = Lean::connect(&mut serve(bench, &home))?;
        let list = lean.ask("tools/list", &json!({}))?;
        rounds.push(Figures::once(began.elapsed()));
        let count = list["tools"].as_array().map_or(0, Vec::len);
        ensure!(count >= SERVERS, "only {count} tools were listed");
        let processes = tree(lean.pid).len();
        ensure!(processes <= 1, "{processes} processes run, and a list needs no server");
    }
    // The first start fills the caches, as every later one finds them.
    let ours = Figures::joined(rounds.split_off(1));
    let promises = vec![Promise::at_most("cold start to the first list at most 300 ms", ours.p50(), 300.0)];
    Ok(Row {
        what: "upstream-start: to the first list, 30 servers".into(),
        ours,
        peer: None,
        promises,
        note: "none is started".into(),
    })
}
