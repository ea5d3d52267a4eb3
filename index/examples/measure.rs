//! How fast? `cargo run -p pegboard-index --example measure -- DIR [--tools N] [--lexical | --table FILE | --model DIR --onnxruntime FILE]`
//! prints build time, search p50 and p95 over the folder's queries, and the time to change one tool. With `--keep DIR` the
//! index is left there; `measure --cold DIR …` then opens it in a process that has nothing else, and prints time and memory.
//!
//! Build with `--release` for figures worth quoting. Quality is in `eval`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod asked;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pegboard_index::eval::{Dataset, Judged};
use pegboard_index::vectors::{Quantized, VectorTable};
use pegboard_index::{Among, Embedder as _, Keep, Lessons, Query, StaticEmbedder, ToolDocument, ToolIndex};

const CATALOGUE: &str = "measure";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(folder) = asked::option(&arguments, "--cold") {
        return cold(Path::new(&folder), &arguments);
    }
    let folder = arguments
        .first()
        .context("usage: measure DIR [--tools N] [--lexical | --table FILE | --model DIR --onnxruntime FILE]")?;
    let Dataset { mut tools, queries } = Dataset::read(Path::new(folder))?;
    if let Some(count) = asked::option(&arguments, "--tools") {
        tools = grown(&tools, count.parse()?);
    }
    println!("table, one request: {}", embedding(&queries)?);
    println!("dot products, {} vectors: {}", tools.len(), scan(tools.len())?);
    let mut indexer = asked::indexer(&arguments)?;
    if let Some(folder) = asked::option(&arguments, "--keep") {
        indexer = indexer.kept_in(Path::new(&folder), CATALOGUE);
    }
    let start = Instant::now();
    let (mut index, stats) = indexer.update(&tools)?;
    println!("{} tools, {:?}: built in {:?}, {} embedded", tools.len(), index.mode(), start.elapsed(), stats.embedded);

    let mut changes = Vec::new();
    for round in 0..40 {
        let at = round * tools.len() / 40;
        if let Some(tool) = tools.get_mut(at) {
            tool.description.push_str(" changed");
        }
        let start = Instant::now();
        (index, _) = indexer.update(&tools)?;
        changes.push(start.elapsed());
    }
    println!("change one tool, the whole catalogue compared: {}", quantiles(&mut changes));
    changes.clear();
    for round in 0..40 {
        let at = round * tools.len() / 40;
        if let Some(tool) = tools.get_mut(at) {
            tool.description.push_str(" again");
            let start = Instant::now();
            (index, _) = indexer.change(std::slice::from_ref(tool), &[], usize::MAX)?;
            changes.push(start.elapsed());
        }
    }
    println!("change one tool, told which: {}", quantiles(&mut changes));
    let start = Instant::now();
    if let Some(warning) = indexer.keep().and_then(Keep::write) {
        println!("not kept: {warning}");
    }
    println!("kept in {:?}", start.elapsed());

    searches("search", &index, &queries, Among::Everything);
    let start = Instant::now();
    let half = index.set_of(tools.iter().step_by(2).map(|tool| tool.id.as_str()));
    println!("a set of half of the tools: {:?}", start.elapsed());
    searches("search in that set", &index, &queries, Among::Set(&half));
    searches("search, each tool asked about", &index, &queries, Among::Asked(&|_| true));
    Ok(())
}

fn searches(what: &str, index: &ToolIndex, queries: &[Judged], among: Among<'_>) {
    let mut times = Vec::new();
    let cpu = thread_cpu();
    for query in queries.iter().cycle().take(queries.len().max(2000)) {
        let query = Query::new(query.query.as_str());
        let start = Instant::now();
        std::hint::black_box(index.answer_among(&query, among, &Lessons::default()));
        times.push(start.elapsed());
    }
    println!("{what}: {}", quantiles(&mut times));
    if let (Some(before), Some(after)) = (cpu, thread_cpu()) {
        println!("{what}: {:?} CPU each on the asking thread", (after - before) / times.len() as u32);
    }
}

/// Opens a kept index: how long until it answers, and what it holds in memory.
fn cold(folder: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let before = resident();
    let start = Instant::now();
    let mut indexer = asked::indexer(arguments)?.kept_in(folder, CATALOGUE);
    let (index, stats) = indexer.change(&[], &[], 0)?;
    let opened = start.elapsed();
    let hits = index.search(&Query::new("send an email to my boss"), &|_| true);
    println!(
        "{} tools, {:?}: open in {opened:?}, first answer after {:?} ({} hits)",
        index.len(),
        index.mode(),
        start.elapsed(),
        hits.len()
    );
    println!("memory: {before:.1} MB before, {:.1} MB after; warnings: {:?}", resident(), stats.warnings);
    Ok(())
}

/// Resident memory of this process in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// The dense half alone: one dot product with each of `count` vectors as long as the table's.
fn scan(count: usize) -> anyhow::Result<String> {
    let embedder = StaticEmbedder::shipped()?;
    let vector = |text: &str| Quantized::new(&embedder.embed_query(text)?, embedder.dimension());
    let few: Vec<Arc<Quantized>> =
        (0..64).map(|at| vector(&format!("tool number {at}")).map(Arc::new)).collect::<Result<_, _>>()?;
    let rows = (0..).zip(few.iter().cycle().cloned()).take(count);
    let table = VectorTable::pack(embedder.dimension(), embedder.even(), rows);
    let query = vector("which tool fits these words")?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        std::hint::black_box(table.nearest(&[&query], 100, &mut |_| true));
        times.push(start.elapsed());
    }
    Ok(quantiles(&mut times))
}

/// One request by the shipped table.
fn embedding(queries: &[Judged]) -> anyhow::Result<String> {
    let embedder = StaticEmbedder::shipped()?;
    let mut times = Vec::new();
    for query in queries.iter().cycle().take(4000) {
        let start = Instant::now();
        std::hint::black_box(embedder.embed_query(&query.query)?);
        times.push(start.elapsed());
    }
    Ok(quantiles(&mut times))
}

/// The first `count` tools; where the folder has fewer, they come again under other names, each a little different.
fn grown(tools: &[ToolDocument], count: usize) -> Vec<ToolDocument> {
    let again = |(round, tool): (usize, &ToolDocument)| {
        let round = round / tools.len().max(1);
        let mut tool = tool.clone();
        if round > 0 {
            tool.id = format!("{}_{round}", tool.id);
            tool.description.push_str(&format!(" Variant {round}."));
        }
        tool
    };
    tools.iter().cycle().take(count).enumerate().map(again).collect()
}

/// Time this thread was running: what a busy machine cannot distort. The encoder's thread is not in it.
fn thread_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    format!("min {:?} p50 {:?} p95 {:?} p99 {:?} ({} times)", at(0.0), at(0.5), at(0.95), at(0.99), times.len())
}
