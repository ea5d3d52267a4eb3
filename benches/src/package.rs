//! The rows of the Python package. What it is measured beside is Python, too, so the script of python/package_rows.py measures both; here its
//! series become rows with their promises, and the sixteen threads stand beside sixteen calls of a client without an interpreter.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Bench;
use crate::catalogue::QUERIES;
use crate::figures::{Figures, Promise, Row};
use crate::lean::Lean;
use crate::rows::{call, ours, thousand};

/// Importing the package, over a bare interpreter.
pub(crate) fn import_row(bench: &Bench) -> Result<Row> {
    let measured = script(bench, "import")?;
    let bare = figures(&measured, "bare")?;
    let (ours, peer) = (figures(&measured, "ours")?, figures(&measured, "peer")?);
    let over = ours.p50() - bare.p50();
    let note = format!(
        "a whole interpreter each; one that imports nothing {:.1} ms, so {over:.1} ms over it beside {:.1} ms",
        bare.p50(),
        peer.p50() - bare.p50()
    );
    let promises = vec![Promise::at_most("at most 60 ms over a bare interpreter", over, 60.0)];
    Ok(Row { what: "py-import: `import pegboard`".into(), ours, peer: Some(("adapters", peer)), promises, note })
}

/// The search from Python.
pub(crate) fn search_row(bench: &Bench) -> Result<Row> {
    let measured = script(bench, "search")?;
    let (ours, peer) = (figures(&measured, "ours")?, figures(&measured, "peer")?);
    let note = format!(
        "{}; ours with the meaning of words, through the engine; the store that langgraph-bigtool searches has an encoder that costs nothing",
        text(&measured)
    );
    let promises = vec![Promise::at_most("p50 at most 2 ms", ours.p50(), 2.0)];
    Ok(Row { what: "py-search: `Toolbox.search`, 1,000 tools".into(), ours, peer: Some(("store", peer)), promises, note })
}

/// A call from Python.
pub(crate) fn call_row(bench: &Bench) -> Result<Row> {
    let measured = script(bench, "call")?;
    let (ours, peer, worker) = (figures(&measured, "ours")?, figures(&measured, "peer")?, figures(&measured, "worker")?);
    // The promise was made on a machine where the peer's own call takes about a millisecond.
    let promises = vec![
        Promise::at_most("p50 at most 0.9 ms", ours.p50(), 0.9),
        Promise::at_most("p50 at most 0.9 ms with `isolation: worker`, one after the other", worker.p50(), 0.9),
    ];
    Ok(Row {
        what: "py-call: `Toolbox.call` into a fresh sandboxed child, 100 a second arriving".into(),
        ours,
        peer: Some(("adapters", peer)),
        promises,
        note: text(&measured),
    })
}

/// Sixteen threads of one toolbox.
pub(crate) fn threads_row(bench: &Bench) -> Result<Row> {
    let measured = script(bench, "threads")?;
    let (threads, peer) = (figures(&measured, "ours")?, figures(&measured, "peer")?);
    let mut lean = ours(bench, "bench_call")?;
    let lean = lean.flat_out(&call("bench_call__echo"), 3000, 16)?;
    let share = threads.rate() / lean.rate();
    let rates = &measured["rates"];
    let note = format!(
        "sixteen in flight without an interpreter {:.0}/s; one thread {:.0}/s; sixteen threads with `isolation: worker` {:.0}/s",
        lean.rate(),
        rates["single"].as_f64().unwrap_or(f64::NAN),
        rates["worker"].as_f64().unwrap_or(f64::NAN)
    );
    let promises = vec![Promise::at_least("at least 0.8 of the rate without an interpreter", share, 0.8)];
    Ok(Row {
        what: "py-threads: sixteen threads, flat out".into(),
        ours: threads,
        peer: Some(("adapters", peer)),
        promises,
        note,
    })
}

/// From the wheel alone to the first list: an empty cache, then one that has it.
pub(crate) fn uvx_row(bench: &Bench) -> Result<Row> {
    let (uv, wheel) = (given(bench.uv.as_deref(), "--uv")?, given(bench.wheel.as_deref(), "--wheel")?);
    let start = |round: usize| -> Result<Figures> {
        let place = bench.work.join(format!("uvx-{round}"));
        let mut command = Command::new(uv);
        command
            .args(["tool", "run", "--quiet", "--from"])
            .arg(wheel)
            .args(["pegboard", "serve", "--home"])
            .arg(place.join("home"));
        command.env("UV_CACHE_DIR", place.join("cache")).env("UV_TOOL_DIR", place.join("tools"));
        let began = Instant::now();
        let mut lean = Lean::connect(&mut command)?;
        let list = lean.ask("tools/list", &json!({}))?;
        let took = began.elapsed();
        ensure!(list["tools"].as_array().is_some_and(|tools| tools.len() > 10), "the bundled tools are not listed");
        Ok(Figures::once(took))
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let place = bench.work.join(format!("uvx-{round}"));
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        cold.push(start(round)?);
        warm.push(start(round)?);
        fs::remove_dir_all(&place)?;
    }
    let size = fs::metadata(wheel)?.len() as f64 / f64::from(1 << 20);
    Ok(Row {
        what: "py-uvx: `uvx pegboard serve` from the wheel to the first list".into(),
        ours: Figures::joined(warm),
        peer: Some(("cold", Figures::joined(cold))),
        promises: Vec::new(),
        note: format!("cold: an empty cache of uv and an empty home; the wheel has {size:.1} MiB"),
    })
}

/// Runs one row of the script.
fn script(bench: &Bench, row: &str) -> Result<Value> {
    let (catalogue, _) = thousand(bench, 1000, 1)?;
    let queries = bench.work.join("queries.json");
    fs::write(&queries, serde_json::to_string(QUERIES)?)?;
    let mut command = Command::new(given(bench.package.as_deref(), "--package")?);
    command.arg("-B").arg(bench.peer.with_file_name("package_rows.py")).arg(row);
    for (flag, path) in [
        ("--plugins", &bench.plugins),
        ("--catalogue", &catalogue),
        ("--queries", &queries),
        ("--home", &bench.home),
        ("--fastmcp", &bench.python),
    ] {
        command.arg(flag).arg(path);
    }
    let output = command.stderr(Stdio::inherit()).env_remove("PEGBOARD_BIN").output().context("cannot start Python")?;
    ensure!(output.status.success(), "the script failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the script wrote no document")
}

fn given<'a>(path: Option<&'a Path>, flag: &str) -> Result<&'a Path> {
    path.with_context(|| format!("`{flag}` is missing: use `cargo xtask bench`"))
}

fn figures(measured: &Value, name: &str) -> Result<Figures> {
    let series = &measured[name];
    let taken = series["taken_ms"].as_array().with_context(|| format!("no series `{name}`"))?;
    let taken = taken.iter().filter_map(Value::as_f64).map(|taken| Duration::from_secs_f64(taken / 1000.0)).collect();
    let wall = Duration::from_secs_f64(series["wall"].as_f64().unwrap_or_default());
    Ok(Figures::new(taken, wall, series["cpu"].as_f64().unwrap_or_default()))
}

fn text(measured: &Value) -> String {
    measured["note"].as_str().unwrap_or_default().to_owned()
}
