//! How well does the index find? `cargo run -p pegboard-index --example eval -- DIR… [--lexical | --table FILE |
//! --model DIR --onnxruntime FILE] [--cache DIR] [--half even|odd] [--keywords] [--rrf] [--out RUN.jsonl]` prints recall, completeness, NDCG and
//! MRR over each folder's queries, and the time of a search, with the shipped table where nothing else is said.
//!
//! `--keywords` asks for the keyword form of each request: its n longest words that are no stop words, in their order, where n
//! is 2 to 6 by the digest of the request's id; requests of a single such word are left out. `--rrf` ranks by reciprocal ranks
//! (k = 60) of the two lists instead, for comparison.
//!
//! `--half` keeps half of the queries, by the digest of their id: one half to choose by, the other to report. It stops when
//! the mode is not the one asked for, so it also shows that an encoder really loads. How long the rest takes is in `measure`.
#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod dataset;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use dataset::QueryLine;
use pegboard_index::analysis::STOP_WORDS;
use pegboard_index::{Hit, Mode, Query};
use sha2::{Digest as _, Sha256};

const DEPTH: usize = 100;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folders: Vec<&String> = arguments.iter().take_while(|argument| !argument.starts_with("--")).collect();
    ensure!(
        !folders.is_empty(),
        "usage: eval DIR… [--lexical | --table FILE | --model DIR --onnxruntime FILE] [--half even|odd]"
    );
    let mut total = Scores::default();
    for folder in &folders {
        let scores = evaluate(Path::new(folder.as_str()), &arguments)?;
        println!("{:18} {scores}", Path::new(folder.as_str()).file_name().unwrap_or_default().to_string_lossy());
        total.add(&scores.mean());
    }
    println!("{:18} {total}", "mean of sets");
    Ok(())
}

fn evaluate(folder: &Path, arguments: &[String]) -> anyhow::Result<Scores> {
    let hybrid = !arguments.iter().any(|argument| argument == "--lexical");
    let (index, stats) = dataset::indexer(arguments)?.update(&dataset::tools(folder)?)?;
    ensure!(stats.pending == 0, "not everything was embedded: {:?}", stats.warnings);
    ensure!(hybrid == matches!(index.mode(), Mode::Hybrid { .. }), "unexpected mode {:?}", index.mode());
    let half = dataset::option(arguments, "--half");
    let keywords = arguments.iter().any(|argument| argument == "--keywords");
    let by_rank = arguments.iter().any(|argument| argument == "--rrf");
    let mut scores = Scores::default();
    let mut run = String::new();
    let mut times = Vec::new();
    for query in dataset::queries(folder)? {
        if half.as_deref().is_some_and(|half| (half == "odd") != odd(&query.id)) {
            continue;
        }
        let words = if keywords { keyword_form(&query) } else { Some(query.query.clone()) };
        let Some(words) = words else { continue };
        let start = Instant::now();
        let mut answer = index.answer(&Query::new(words).limit(if by_rank { 2 * DEPTH } else { DEPTH }), &|_| true);
        times.push(start.elapsed());
        if by_rank {
            rank_again(&mut answer.hits);
        }
        ensure!(answer.degraded.is_none(), "query {}: {:?}", query.id, answer.degraded);
        let raw: Vec<(Option<f32>, Option<f32>)> = answer.hits.iter().map(|hit| (hit.lexical, hit.dense)).collect();
        let ranked: Vec<String> = answer.hits.into_iter().map(|hit| hit.id).collect();
        scores.add(&score(&query, &ranked));
        writeln!(run, "{}", serde_json::json!({"id": query.id, "ranked": ranked, "raw": raw}))?;
    }
    times.sort();
    scores.median = times.get(times.len() / 2).copied().unwrap_or_default();
    if let Some(out) = dataset::option(arguments, "--out") {
        std::fs::write(out, run)?;
    }
    Ok(scores)
}

/// What a hurried person would type instead of the sentence.
fn keyword_form(query: &QueryLine) -> Option<String> {
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

/// Which half a query belongs to.
fn odd(id: &str) -> bool {
    Sha256::digest(id.as_bytes()).first().is_some_and(|byte| byte % 2 == 1)
}

const METRICS: [&str; 8] = ["R@1", "R@5", "R@10", "C@5", "C@10", "NDCG@10", "MRR", "H@1"];

#[derive(Default)]
struct Scores {
    sums: [f64; METRICS.len()],
    count: f64,
    /// Time of one search.
    median: Duration,
}

impl Scores {
    fn add(&mut self, one: &[f64; METRICS.len()]) {
        self.sums.iter_mut().zip(one).for_each(|(sum, value)| *sum += value);
        self.count += 1.0;
    }

    fn mean(&self) -> [f64; METRICS.len()] {
        self.sums.map(|sum| sum / self.count.max(1.0))
    }
}

impl std::fmt::Display for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        METRICS.iter().zip(self.mean()).try_for_each(|(name, value)| write!(f, " {name} {value:.4}"))?;
        if self.median.is_zero() { Ok(()) } else { write!(f, " p50 {:.3} ms", self.median.as_secs_f64() * 1e3) }
    }
}

fn score(query: &QueryLine, ranked: &[String]) -> [f64; METRICS.len()] {
    let mut seen = Vec::new();
    for id in ranked {
        let id = query.alt.get(id).unwrap_or(id);
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    let any = query.r#match.as_deref() == Some("any");
    let relevant = if any { 1 } else { query.relevant.len() };
    let mut hits: Vec<usize> =
        seen.iter().enumerate().filter(|(_, id)| query.relevant.contains(id)).map(|(rank, _)| rank).collect();
    if any {
        hits.truncate(1);
    }
    let within = |k: usize| hits.iter().filter(|rank| **rank < k).count();
    let recall = |k: usize| within(k) as f64 / relevant.max(1) as f64;
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ideal: f64 = (0..relevant.min(10)).map(gain).sum();
    let ndcg = hits.iter().filter(|rank| **rank < 10).map(|rank| gain(*rank)).sum::<f64>() / ideal.max(f64::MIN_POSITIVE);
    let first = hits.first().map_or(0.0, |rank| 1.0 / (*rank as f64 + 1.0));
    let complete = |k: usize| f64::from(u8::from(within(k) == relevant));
    [recall(1), recall(5), recall(10), complete(5), complete(10), ndcg, first, f64::from(u8::from(hits.first() == Some(&0)))]
}
