//! The rows of section 8 that need a running server: what is started, what is asked, what was promised.
//!
//! Ours and the peer's take turns inside a row, so that a busy moment of the machine hits both.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pegboard_tests::processes::{resident_kib, tree};
use serde_json::{Value, json};

use crate::Bench;
use crate::catalogue::{QUERIES, generate, write_json, write_plugins};
use crate::figures::{Figures, Promise, Row};
use crate::lean::Lean;
use crate::web::{Web, call_request};

const ROUNDS: usize = 3;

/// A call of an echo.
pub(crate) fn call(tool: &str) -> Value {
    json!({"name": tool, "arguments": {"text": "a line of text that is echoed"}})
}

/// A server of ours with one of the plugins of this folder, warm.
pub(crate) fn ours(bench: &Bench, plugin: &str) -> Result<Lean> {
    let mut lean = Lean::connect(&mut bench.serve(&bench.plugins.join(plugin), &[]))?;
    let tool = format!("{plugin}__echo");
    for _ in 0..50 {
        lean.call(&tool, &json!({"text": "warm"}))?;
    }
    Ok(lean)
}

fn fastmcp(bench: &Bench) -> Result<Lean> {
    let mut lean = Lean::connect(&mut bench.fastmcp(&[]))?;
    for _ in 0..50 {
        lean.call("echo", &json!({"text": "warm"}))?;
    }
    Ok(lean)
}

/// A hundred calls a second, each into a fresh sandboxed process.
pub(crate) fn call_row(bench: &Bench) -> Result<Row> {
    let (mut ours, mut peer) = (ours(bench, "bench_call")?, fastmcp(bench)?);
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.one_by_one("tools/call", &[call("bench_call__echo")], 300, 100)?);
        peer_rounds.push(peer.one_by_one("tools/call", &[call("echo")], 300, 100)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![Promise::at_most("p50 at most 0.6 × FastMCP's bare in-process call", ours.p50() / peer.p50(), 0.6)];
    Ok(Row {
        what: "call: into a fresh sandboxed child, 100 a second arriving, stdio".into(),
        ours,
        peer: Some(("fastmcp", peer)),
        promises,
        note: String::new(),
    })
}

/// The same, as fast as it goes.
pub(crate) fn flat_row(bench: &Bench) -> Result<Row> {
    let (mut ours, mut peer) = (ours(bench, "bench_call")?, fastmcp(bench)?);
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.flat_out(&call("bench_call__echo"), 1500, 16)?);
        peer_rounds.push(peer.flat_out(&call("echo"), 1500, 16)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![
        Promise::at_least("at least 500 fresh-state calls a second", ours.rate(), 500.0),
        Promise::at_most("at most 3.5 ms CPU a call", ours.cpu_ms(), 3.5),
    ];
    Ok(Row {
        what: "flat: the same, flat out, 16 in flight".into(),
        ours,
        peer: Some(("fastmcp", peer)),
        promises,
        note: String::new(),
    })
}

/// One long-lived confined process.
pub(crate) fn worker_row(bench: &Bench) -> Result<Row> {
    let (mut ours, mut peer) = (ours(bench, "bench_worker")?, fastmcp(bench)?);
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.flat_out(&call("bench_worker__echo"), 3000, 16)?);
        peer_rounds.push(peer.flat_out(&call("echo"), 1500, 16)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![
        Promise::at_least("at least 4 × FastMCP's calls a second", ours.rate() / peer.rate(), 4.0),
        Promise::at_most("p50 at most 0.3 × FastMCP's", ours.p50() / peer.p50(), 0.3),
    ];
    Ok(Row {
        what: "worker: `isolation: worker`, flat out, 16 in flight".into(),
        ours,
        peer: Some(("fastmcp", peer)),
        promises,
        note: String::new(),
    })
}

/// A call that reaches no plugin: transport, decoding, catalog, validation, encoding.
pub(crate) fn host_stdio_row(bench: &Bench) -> Result<Row> {
    let mut ours = ours(bench, "bench_call")?;
    let mut peer = Lean::connect(&mut Command::new(&bench.echo))?;
    let details = json!({"name": "get_tool_details", "arguments": {"name": "bench_call__echo"}});
    ours.one_by_one("tools/call", std::slice::from_ref(&details), 500, 0)?;
    peer.one_by_one("tools/call", &[call("echo")], 500, 0)?;
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.one_by_one("tools/call", std::slice::from_ref(&details), 3000, 0)?);
        peer_rounds.push(peer.one_by_one("tools/call", &[call("echo")], 3000, 0)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![Promise::at_most("p50 at most 2 × a bare rmcp echo", ours.p50() / peer.p50(), 2.0)];
    let note = "measured as a call of `get_tool_details`: the whole pipeline, no executor".into();
    Ok(Row {
        what: "host-stdio: the host's own share of a call, stdio".into(),
        ours,
        peer: Some(("rmcp echo", peer)),
        promises,
        note,
    })
}

/// The same over HTTP on one connection that is kept.
pub(crate) fn host_http_row(bench: &Bench) -> Result<Row> {
    let mut ours = Web::start(&mut bench.serve(&bench.plugins.join("bench_call"), &["--http", "127.0.0.1:0"]))?;
    let mut peer = Web::start(Command::new(&bench.echo).arg("127.0.0.1:0"))?;
    let details = call_request(ours.address, "get_tool_details", &json!({"name": "bench_call__echo"}));
    let echo = call_request(peer.address, "echo", &json!({"text": "a line of text that is echoed"}));
    ours.repeat(&details, 500)?;
    peer.repeat(&echo, 500)?;
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_rounds.push(ours.repeat(&details, 3000)?);
        peer_rounds.push(peer.repeat(&echo, 3000)?);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let promises = vec![Promise::at_most("p50 at most 2 × a bare rmcp echo", ours.p50() / peer.p50(), 2.0)];
    let note = "2026-07-28, one kept connection; `get_tool_details` beside the echo".into();
    Ok(Row {
        what: "host-http: the host's own share of a call, HTTP".into(),
        ours,
        peer: Some(("rmcp echo", peer)),
        promises,
        note,
    })
}

/// The first call of a plugin whose zygote does not run yet, with its virtual environment made.
pub(crate) fn first_call_row(bench: &Bench) -> Result<Row> {
    let plugin = bench.plugins.join("bench_import");
    let mut made = Lean::connect(&mut bench.serve(&plugin, &[]))?;
    let began = Instant::now();
    while made.call("bench_import__versions", &json!({})).is_err() {
        ensure!(began.elapsed() < Duration::from_secs(300), "its virtual environment is not made after five minutes");
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(made);
    let python = bench.venv_python()?;
    let (mut first, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut idle = Lean::connect(&mut bench.serve(&plugin, &[]))?;
        idle.ask("tools/list", &json!({}))?;
        let start = Instant::now();
        idle.call("bench_import__versions", &json!({}))?;
        first.push(Figures::once(start.elapsed()));
        // The interpreter's own start is in both: the plugin needs one, too.
        let start = Instant::now();
        let status = Command::new(&python).args(["-I", "-c", "import bs4, pydantic, requests"]).status()?;
        ensure!(status.success(), "the bare import failed");
        bare.push(Figures::once(start.elapsed()));
    }
    let (ours, peer) = (Figures::joined(first), Figures::joined(bare));
    let bound = 1.3 * peer.p50() + 100.0;
    let promises =
        vec![Promise::at_most(format!("at most 1.3 × its bare import time + 100 ms ({bound:.0} ms)"), ours.p50(), bound)];
    let note = "requests, beautifulsoup4 and pydantic; the peer is `python -I -c 'import …'` in the same environment".into();
    Ok(Row { what: "first-call: of an idle plugin with dependencies".into(), ours, peer: Some(("import", peer)), promises, note })
}

/// From the start of the process to the first list, with a thousand plugins; and what it takes to stay.
pub(crate) fn cold_start_row(bench: &Bench) -> Result<Row> {
    let (plugins, catalogue) = thousand(bench, 1000, 1)?;
    let start = |command: &mut Command| -> Result<(Lean, Duration)> {
        let began = Instant::now();
        let mut lean = Lean::connect(command)?;
        let list = lean.ask("tools/list", &json!({}))?;
        let took = began.elapsed();
        let count = list["tools"].as_array().map_or(0, Vec::len);
        ensure!(count >= 1000, "only {count} tools were listed");
        Ok((lean, took))
    };
    // The first start fills the caches, as an install would.
    start(&mut bench.serve(&plugins, &[]))?;
    let (mut our_rounds, mut peer_rounds, mut memory) = (Vec::new(), Vec::new(), (0, 0));
    for _ in 0..5 {
        let (lean, took) = start(&mut bench.serve(&plugins, &[]))?;
        our_rounds.push(Figures::once(took));
        std::thread::sleep(Duration::from_secs(1));
        memory.0 = tree(lean.pid).iter().map(|process| resident_kib(process.pid)).sum();
        drop(lean);
        let (lean, took) = start(&mut bench.fastmcp(&[&catalogue]))?;
        peer_rounds.push(Figures::once(took));
        memory.1 = resident_kib(lean.pid);
    }
    let (ours, peer) = (Figures::joined(our_rounds), Figures::joined(peer_rounds));
    let ours_mb = memory.0 as f64 / 1024.0;
    let promises = vec![
        Promise::at_most("cold start to the first list at most 300 ms", ours.p50(), 300.0),
        Promise::at_most("idle memory at most 60 MB", ours_mb, 60.0),
    ];
    let note = format!("memory {ours_mb:.0} MB beside {:.0} MB", memory.1 as f64 / 1024.0);
    Ok(Row { what: "cold-start: to the first list, 1,000 plugins".into(), ours, peer: Some(("fastmcp", peer)), promises, note })
}

/// The list of a thousand tools.
pub(crate) fn list_row(bench: &Bench) -> Result<Row> {
    let (plugins, catalogue) = thousand(bench, 1000, 1)?;
    let mut ours = Lean::connect(&mut bench.serve(&plugins, &[]))?;
    let mut peer = Lean::connect(&mut bench.fastmcp(&[&catalogue]))?;
    let (ours, peer) =
        (ours.one_by_one("tools/list", &[json!({})], 100, 0)?, peer.one_by_one("tools/list", &[json!({})], 20, 0)?);
    let promises = vec![Promise::at_most("at most 5 ms", ours.p50(), 5.0)];
    Ok(Row {
        what: "list: `tools/list` of 1,000 tools".into(),
        ours,
        peer: Some(("fastmcp", peer)),
        promises,
        note: String::new(),
    })
}

/// The search among so many tools, with the default embedder; with a filter, each tool must be known to pass it.
pub(crate) fn search_row(bench: &Bench, plugins: usize, each: usize, filters: &Value, bound: f64) -> Result<Row> {
    let tools = plugins * each;
    let (folder, catalogue) = thousand(bench, plugins, each)?;
    let asked = |query: &&str| {
        // The peer's search takes no filters, not even none.
        let arguments = if *filters == json!({}) { json!({"query": query}) } else { json!({"query": query, "filters": filters}) };
        json!({"name": "search_tools", "arguments": arguments})
    };
    let queries: Vec<Value> = QUERIES.iter().map(asked).collect();
    let mut ours = Lean::connect(&mut bench.serve(&folder, &[]))?;
    ours.one_by_one("tools/call", &queries, 50, 0)?;
    let ours = ours.one_by_one("tools/call", &queries, 800, 0)?;
    let filtered = if *filters == json!({}) { "" } else { ", filtered" };
    let peer = if tools <= 1000 {
        let mut peer = Lean::connect(&mut bench.fastmcp(&[&catalogue, "--search"]))?;
        peer.one_by_one("tools/call", &queries, 3, 0)?;
        Some(("fastmcp", peer.one_by_one("tools/call", &queries, 48, 0)?))
    } else {
        None
    };
    let promises = vec![Promise::at_most(format!("p50 at most {bound} ms"), ours.p50(), bound)];
    let note = "words and meaning, by the table inside the program".into();
    Ok(Row { what: format!("search: `search_tools` among {tools} tools{filtered}"), ours, peer, promises, note })
}

/// What the list of the search view costs a prompt.
pub(crate) fn prompt_row(bench: &Bench) -> Result<Row> {
    let (plugins, _) = thousand(bench, 1000, 1)?;
    let cost = |extra: &[&str]| -> Result<(f64, Duration)> {
        let mut lean = Lean::connect(&mut bench.serve(&plugins, extra))?;
        let start = Instant::now();
        let list = lean.ask("tools/list", &json!({}))?;
        // Four characters a token is the usual estimate for JSON in English.
        Ok((list["tools"].to_string().len() as f64 / 4.0, start.elapsed()))
    };
    let ((all, _), (search, took)) = (cost(&[])?, cost(&["--view", "search"])?);
    let promises = vec![Promise::at_most("the list of the search view at most 1,500 tokens", search, 1500.0)];
    let note = format!("about {search:.0} tokens beside {all:.0} of the whole list (characters / 4)");
    Ok(Row { what: "prompt: what the list costs, 1,000 tools".into(), ours: Figures::once(took), peer: None, promises, note })
}

/// A generated catalogue: the folder for us and the file for the peer.
pub(crate) fn thousand(bench: &Bench, plugins: usize, each: usize) -> Result<(std::path::PathBuf, String)> {
    let home = bench.work.join(format!("catalogue-{plugins}x{each}"));
    let (folder, file) = (home.join("plugins"), home.join("catalogue.json"));
    if !file.exists() {
        let tools = generate(plugins, each);
        fs::create_dir_all(&folder)?;
        write_plugins(&tools, &folder)?;
        write_json(&tools, &file)?;
    }
    Ok((folder, file.to_str().context("the path is not UTF-8")?.to_owned()))
}
