//! `pegboard eval`: how well requests find their tools, how fast, and what the lists cost a prompt.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use index::{
    Mode,
    eval::{Dataset, KEYS, Metrics, Percentiles, Rankings, half_is_odd, mean, percentiles},
};
use serde_json::{Map, Value, json};

use super::{embedder, shelf};
use crate::{
    args::Shelf,
    eval::{Plan, Searched, Source, installed, of_folder, refused, search},
    failure::{Failure, Outcome},
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// Measure how well tools are found
///
/// With a folder: its tools.jsonl and queries.jsonl, searched as the server would. Without one: the served tools, asked for with the examples of
/// their manifests, each searched in an index that was not told of it. Recall, completeness, hit rate, NDCG and MRR, the time a search takes, and
/// what the list of tools costs a prompt in each view.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard eval\n  \
                             pegboard eval ./my-benchmark --save-run run.jsonl\n  \
                             pegboard eval ./my-benchmark --run others.jsonl --json\n  \
                             pegboard eval ./my-benchmark --learn 5")]
pub(crate) struct Eval {
    /// Folder with tools.jsonl and queries.jsonl
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Judge this ranking instead of searching
    ///
    /// A JSON object {query id: [tool ids]}, or a line a query: {"id": …, "ranked": […]}. A query that is not in it has found nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["learn", "examples"])]
    run: Option<PathBuf>,
    /// Write the ranking, a line a query
    #[arg(long, value_name = "FILE")]
    save_run: Option<PathBuf>,
    /// Only the requests of one half, by the digest of their ids
    #[arg(long, value_name = "HALF")]
    half: Option<Half>,
    /// Let each tool learn from up to N accepted calls of other requests before it is asked for
    #[arg(long, value_name = "N", default_value_t = 0)]
    learn: u8,
    /// Give each tool up to N other requests as examples before it is asked for
    #[arg(long, value_name = "N", default_value_t = 0)]
    examples: u8,
    /// Parts that the requests are cut into, so that none is asked of what it taught
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(2..=250))]
    folds: u8,
    /// Show each `subset` of the requests by itself, too
    #[arg(long)]
    by_subset: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// A half of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Half {
    /// To choose settings by.
    Even,
    /// To report.
    Odd,
}

impl Eval {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let mut source = match &self.folder {
            Some(folder) => of_folder(folder)?,
            None => installed(&shelf::load(settings, &self.shelf)?.catalog)?,
        };
        let (rankings, searched) = match &self.run {
            Some(run) => (Rankings::read(run).map_err(|error| refused(&error))?, None),
            None => {
                let (rankings, searched) = self.search(settings, &source)?;
                (rankings, Some(searched))
            }
        };
        if let Some(half) = self.half {
            source.set.queries.retain(|judged| half_is_odd(&judged.id) == (half == Half::Odd));
        }
        if source.set.queries.is_empty() {
            return Err(Failure::usage("eval.empty", "there is no query to judge"));
        }
        if let Some(path) = &self.save_run {
            fs::write(path, rankings.to_lines(&source.set)).map_err(|error| Failure::file("write", path, &error))?;
        }
        warn(&source.set, &rankings, output);
        let judged = rankings.judge(&source.set);
        let report = self.report(&source, &judged, searched.as_ref());
        output.show(&report, |output| people(&report, output))
    }

    fn search(&self, settings: &Settings, source: &Source) -> Outcome<(Rankings, Searched)> {
        let plan = Plan {
            learn: usize::from(self.learn),
            examples: usize::from(self.examples),
            folds: self.folds,
            half: self.half.map(|half| half == Half::Odd),
        };
        let embedder = embedder::open(settings)?;
        let mut searched = search(source, &plan, embedder, &settings.places.cache.join("index"))?;
        Ok((std::mem::take(&mut searched.rankings), searched))
    }

    fn report(&self, source: &Source, judged: &[Metrics], searched: Option<&Searched>) -> Value {
        let mut report = Map::new();
        report.insert("queries".to_owned(), json!(judged.len()));
        report.extend(numbers(&mean(judged)));
        report.insert("tools".to_owned(), json!(source.set.tools.len()));
        let mut cost = json!({"all": source.cost.all, "search": source.cost.search});
        if let Some(searched) = searched {
            let mode = match &searched.mode {
                Mode::Lexical => json!({"mode": "lexical"}),
                Mode::Hybrid { embedder } => json!({"mode": "hybrid", "embedder": embedder}),
            };
            report.insert("search".to_owned(), mode);
            report.insert("latency_ms".to_owned(), percentiles(searched.durations.clone()).map_or(Value::Null, milliseconds));
            report.insert("index_ms".to_owned(), ms(searched.indexed));
            report.insert("unanswered".to_owned(), json!(searched.silent));
            if let Some(cost) = cost.as_object_mut() {
                cost.insert("answer".to_owned(), json!((searched.answer_bytes / 4.0).ceil()));
            }
        }
        report.insert("prompt_tokens".to_owned(), cost);
        if self.by_subset {
            report.insert("subsets".to_owned(), Value::Object(subsets(&source.set, judged)));
        }
        Value::Object(report)
    }
}

fn numbers(metrics: &Metrics) -> impl Iterator<Item = (String, Value)> + use<> {
    KEYS.into_iter().zip(metrics.values()).map(|(key, value)| (key.to_owned(), json!(value)))
}

fn subsets(set: &Dataset, judged: &[Metrics]) -> Map<String, Value> {
    let mut parts: std::collections::BTreeMap<&str, Vec<Metrics>> = std::collections::BTreeMap::new();
    for (query, metrics) in set.queries.iter().zip(judged) {
        parts.entry(query.subset.as_deref().unwrap_or("-")).or_default().push(*metrics);
    }
    let part = |(name, metrics): (&str, Vec<Metrics>)| {
        let mut document = Map::new();
        document.insert("queries".to_owned(), json!(metrics.len()));
        document.extend(numbers(&mean(&metrics)));
        (name.to_owned(), Value::Object(document))
    };
    parts.into_iter().map(part).collect()
}

fn warn(set: &Dataset, rankings: &Rankings, output: &Output) {
    let tools: std::collections::HashSet<&str> = set.tools.iter().map(|tool| tool.id.as_str()).collect();
    let foreign = rankings.0.values().flatten().filter(|id| !tools.contains(id.as_str())).count();
    if foreign > 0 {
        output.note(&format!("{foreign} places of the ranking hold ids that are no tool's"));
    }
    let missing = set.queries.iter().filter(|judged| !rankings.0.contains_key(&judged.id)).count();
    if missing > 0 {
        output.note(&format!("{missing} queries are not in the ranking and count as nothing found"));
    }
}

fn milliseconds(times: Percentiles) -> Value {
    json!({"p50": ms(times.p50), "p95": ms(times.p95), "p99": ms(times.p99), "max": ms(times.max)})
}

fn ms(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1e6).round() / 1e3)
}

/// The same numbers as a table: what was found, then what it took.
fn people(report: &Value, output: &Output) -> String {
    let number = |value: &Value| value.as_f64().map(|value| format!("{value:.3}")).unwrap_or_default();
    let cell = |document: &Value, key: &str| Cell::from(document.get(key).map(number).unwrap_or_default());
    let mut rows = vec![("all", report)];
    if let Some(Value::Object(parts)) = report.get("subsets") {
        rows.extend(parts.iter().map(|(name, part)| (name.as_str(), part)));
    }
    let header: Vec<&str> = ["SET", "QUERIES"].into_iter().chain(KEYS).collect();
    let rows = rows.into_iter().map(|(name, part)| {
        let count = part.get("queries").and_then(Value::as_u64).unwrap_or_default().to_string();
        let head = [Cell::toned(Tone::Strong, name), Cell::from(count)];
        head.into_iter().chain(KEYS.iter().map(|key| cell(part, key))).collect()
    });
    let mut text = output.table(&header, rows.collect());
    let at = |path: &str| report.pointer(path).map(plain).unwrap_or_default();
    text.push('\n');
    if report.get("search").is_some() {
        text.push_str(&format!("search     {} {}\n", at("/search/mode"), at("/search/embedder")));
        let times = ["p50", "p95", "p99", "max"].map(|key| format!("{key} {} ms", at(&format!("/latency_ms/{key}"))));
        text.push_str(&format!("a search   {}; the index {} ms\n", times.join(", "), at("/index_ms")));
        text.push_str(&format!("unanswered {} of {}, as nothing found was believable\n", at("/unanswered"), at("/queries")));
    }
    let answer = report.pointer("/prompt_tokens/answer").map(|tokens| format!(", an answer of 5 tools {}", plain(tokens)));
    text.push_str(&format!(
        "a prompt   {} tools: {} tokens in the view of all, {} in the search view{}\n",
        at("/tools"),
        at("/prompt_tokens/all"),
        at("/prompt_tokens/search"),
        answer.unwrap_or_default()
    ));
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
