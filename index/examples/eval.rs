//! How well does the index find? `cargo run -p pegboard-index --example eval -- DIR… [--lexical | --table FILE |
//! --model DIR --onnxruntime FILE] [--cache DIR] [--half even|odd] [--keywords] [--rrf] [--out RUN.jsonl]` prints recall, completeness, NDCG and
//! MRR over each folder's queries, and the time of a search, with the shipped table where nothing else is said.
//!
//! `--keywords` asks for the keyword form of each request: its n longest words that are no stop words, in their order, where n
//! is 2 to 6 by the digest of the request's id; requests of a single such word are left out. `--rrf` ranks by reciprocal ranks
//! (k = 60) of the two lists instead, for comparison.
//!
//! `--nothing FILE` counts instead: the folder's requests that get no answer at all, and the lines of the file, requests for nothing, that get one.
//!
//! `--half` keeps half of the queries, by the digest of their id: one half to choose by, the other to report. It stops when
//! the mode is not the one asked for, so it also shows that an encoder really loads. How long the rest takes is in `measure`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod asked;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use pegboard_index::analysis::STOP_WORDS;
use pegboard_index::eval::{Dataset, Judged, KEYS, Metrics, half_is_odd, mean, score};
use pegboard_index::{Hit, Mode, Query, convincing};
use sha2::{Digest as _, Sha256};

const DEPTH: usize = 100;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folders: Vec<&String> = arguments.iter().take_while(|argument| !argument.starts_with("--")).collect();
    ensure!(
        !folders.is_empty(),
        "usage: eval DIR… [--lexical | --table FILE | --model DIR --onnxruntime FILE] [--half even|odd]"
    );
    if let Some(file) = asked::option(&arguments, "--nothing") {
        let nothing = std::fs::read_to_string(file)?;
        let nothing: Vec<&str> = nothing.lines().filter(|line| !line.is_empty()).collect();
        return folders.iter().try_for_each(|folder| noise(Path::new(folder.as_str()), &arguments, &nothing));
    }
    let mut means = Vec::new();
    for folder in &folders {
        let (scores, median) = evaluate(Path::new(folder.as_str()), &arguments)?;
        let name = Path::new(folder.as_str()).file_name().unwrap_or_default().to_string_lossy();
        println!("{name:18} {} p50 {:.3} ms", shown(&mean(&scores)), median.as_secs_f64() * 1e3);
        means.push(mean(&scores));
    }
    println!("{:18} {}", "mean of sets", shown(&mean(&means)));
    Ok(())
}

/// Which requests are answered at all.
fn noise(folder: &Path, arguments: &[String], nothing: &[&str]) -> anyhow::Result<()> {
    let set = Dataset::read(folder)?;
    let (index, stats) = asked::indexer(arguments)?.update(&set.tools)?;
    ensure!(stats.pending == 0, "not everything was embedded: {:?}", stats.warnings);
    let hits = |request: &str| index.answer(&Query::new(request).limit(20), &|_| true).hits;
    let asked: Vec<Vec<Hit>> = set.queries.iter().map(|judged| hits(&judged.query)).collect();
    let silenced = asked.iter().filter(|hits| !convincing(hits, index.len())).count();
    let idle: Vec<Vec<Hit>> = nothing.iter().map(|request| hits(request)).collect();
    let before = idle.iter().filter(|hits| !hits.is_empty()).count();
    let answered = idle.iter().filter(|hits| convincing(hits, index.len())).count();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    println!("{name:18} silenced {silenced} of {}, answered {before} before and {answered} of {}", asked.len(), idle.len());
    Ok(())
}

/// The metrics of each request, and the time of one search.
fn evaluate(folder: &Path, arguments: &[String]) -> anyhow::Result<(Vec<Metrics>, Duration)> {
    let set = Dataset::read(folder)?;
    let hybrid = !arguments.iter().any(|argument| argument == "--lexical");
    let (index, stats) = asked::indexer(arguments)?.update(&set.tools)?;
    ensure!(stats.pending == 0, "not everything was embedded: {:?}", stats.warnings);
    ensure!(hybrid == matches!(index.mode(), Mode::Hybrid { .. }), "unexpected mode {:?}", index.mode());
    let half = asked::option(arguments, "--half");
    let keywords = arguments.iter().any(|argument| argument == "--keywords");
    let by_rank = arguments.iter().any(|argument| argument == "--rrf");
    let mut scores = Vec::new();
    let mut run = String::new();
    let mut times = Vec::new();
    for judged in &set.queries {
        if half.as_deref().is_some_and(|half| (half == "odd") != half_is_odd(&judged.id)) {
            continue;
        }
        let words = if keywords { keyword_form(judged) } else { Some(judged.query.clone()) };
        let Some(words) = words else { continue };
        let start = Instant::now();
        let mut answer = index.answer(&Query::new(words).limit(if by_rank { 2 * DEPTH } else { DEPTH }), &|_| true);
        times.push(start.elapsed());
        if by_rank {
            rank_again(&mut answer.hits);
        }
        ensure!(answer.degraded.is_none(), "query {}: {:?}", judged.id, answer.degraded);
        let raw: Vec<(Option<f32>, Option<f32>)> = answer.hits.iter().map(|hit| (hit.lexical, hit.dense)).collect();
        let ranked: Vec<String> = answer.hits.into_iter().map(|hit| hit.id).collect();
        scores.push(score(judged, &ranked));
        writeln!(run, "{}", serde_json::json!({"id": judged.id, "ranked": ranked, "raw": raw}))?;
    }
    times.sort();
    if let Some(out) = asked::option(arguments, "--out") {
        std::fs::write(out, run)?;
    }
    Ok((scores, times.get(times.len() / 2).copied().unwrap_or_default()))
}

/// What a hurried person would type instead of the sentence.
fn keyword_form(query: &Judged) -> Option<String> {
    let count = 2 + usize::from(*Sha256::digest(query.id.as_bytes()).get(1)?) % 5;
    let mut words: Vec<(usize, &str)> = Vec::new();
    for word in query.query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let stop = STOP_WORDS.iter().any(|stop| stop.eq_ignore_ascii_case(word));
        if !stop && words.iter().all(|(_, known)| !known.eq_ignore_ascii_case(word)) {
            words.push((words.len(), word));
        }
    }
    words.sort_by_key(|(at, word)| (std::cmp::Reverse(word.chars().count()), *at));
    words.truncate(count);
    words.sort_unstable();
    let words: Vec<&str> = words.into_iter().map(|(_, word)| word).collect();
    (words.len() > 1).then(|| words.join(" "))
}

/// Plain reciprocal ranks of the raw lists of the whole request, each to its hundredth.
fn rank_again(hits: &mut [Hit]) {
    let mut total: HashMap<String, f64> = HashMap::new();
    for raw in [|hit: &Hit| hit.lexical, |hit: &Hit| hit.dense] {
        let mut list: Vec<(&String, f32)> = hits.iter().filter_map(|hit| Some((&hit.id, raw(hit)?))).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        for (rank, (id, _)) in list.into_iter().take(DEPTH).enumerate() {
            *total.entry(id.clone()).or_default() += 1.0 / (61.0 + rank as f64);
        }
    }
    let of = |hit: &Hit| total.get(&hit.id).copied().unwrap_or_default();
    hits.sort_by(|a, b| of(b).total_cmp(&of(a)).then_with(|| a.id.cmp(&b.id)));
}

fn shown(metrics: &Metrics) -> String {
    let pairs = KEYS.iter().zip(metrics.values());
    pairs.map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join(" ")
}
