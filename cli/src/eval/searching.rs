//! Searching for every request of a set, as the server's index would, and by the clock.
//!
//! A request is never searched in an index that was told of it: with examples or lessons the set is cut into parts by the digests of the
//! requests' ids, and each part is asked of what the other parts taught.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use index::{
    Embedder, Indexer, Lesson, Lessons, Mode, Query, ToolDocument, ToolIndex, convincing,
    eval::{Judged, Matching, Rankings, fold, half_is_odd},
    learned::mean,
    vectors::Quantized,
};

use super::source::Source;
use crate::failure::{Failure, Outcome};

/// Tools of a ranking.
const DEPTH: usize = 100;
/// Tools of an answer, for its cost.
const ANSWER: usize = 5;

/// How to search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Accepted calls each tool learned from, of the other parts' requests.
    pub(crate) learn: usize,
    /// Requests of the other parts that each tool has as examples.
    pub(crate) examples: usize,
    /// Parts that the set is cut into, where something is taught.
    pub(crate) folds: u8,
    /// Ask only the odd half (or the even one), of what the other half taught.
    pub(crate) half: Option<bool>,
}

/// What came of it.
pub(crate) struct Searched {
    pub(crate) rankings: Rankings,
    /// One a request, in no order.
    pub(crate) durations: Vec<Duration>,
    /// From the tools to the first index.
    pub(crate) indexed: Duration,
    pub(crate) mode: Mode,
    /// Requests that the search would answer with nothing.
    pub(crate) silent: usize,
    /// Bytes of the first tools of an answer, in the mean.
    pub(crate) answer_bytes: f64,
}

/// Requests to ask, and requests to teach with before.
struct Part<'s> {
    asked: Vec<&'s Judged>,
    taught: Vec<&'s Judged>,
}

/// Searches for all that the plan asks.
pub(crate) fn search(source: &Source, plan: &Plan, embedder: Option<Arc<dyn Embedder>>, cache: &Path) -> Outcome<Searched> {
    let opened = match embedder {
        Some(embedder) => Indexer::hybrid(embedder, Some(cache)),
        None => Indexer::lexical(),
    };
    let mut indexer = opened.map_err(broken)?;
    let mut found = Searched {
        rankings: Rankings::default(),
        durations: Vec::new(),
        indexed: Duration::ZERO,
        mode: Mode::Lexical,
        silent: 0,
        answer_bytes: 0.0,
    };
    let sizes: HashMap<&str, usize> = source.set.tools.iter().map(|tool| (tool.id.as_str(), shown_bytes(tool))).collect();
    let mut bytes = 0;
    let mut vectors = Vectors::new();
    for part in parts(source, plan) {
        let started = Instant::now();
        let (index, stats) = indexer.update(&taught_documents(source, &part, plan.examples)).map_err(broken)?;
        if found.indexed.is_zero() {
            found.indexed = started.elapsed();
        }
        if stats.pending > 0 {
            let said = stats.warnings.first().map(ToString::to_string).unwrap_or_default();
            return Err(Failure::from(anyhow::anyhow!("{} texts have no vector: {said}", stats.pending)));
        }
        found.mode = index.mode();
        let lessons = lessons(&index, &part.taught, plan.learn, &mut vectors);
        for judged in &part.asked {
            let query = Query::new(judged.query.as_str()).limit(DEPTH);
            let started = Instant::now();
            let answer = index.answer_with(&query, &|_| true, &lessons);
            found.durations.push(started.elapsed());
            if let Some(error) = answer.degraded {
                return Err(Failure::from(anyhow::anyhow!("query `{}`: {error}", judged.id)));
            }
            found.silent += usize::from(!convincing(&answer.hits, index.len()));
            bytes += answer.hits.iter().take(ANSWER).filter_map(|hit| sizes.get(hit.id.as_str())).sum::<usize>();
            found.rankings.0.insert(judged.id.clone(), answer.hits.into_iter().map(|hit| hit.id).collect());
        }
    }
    found.answer_bytes = bytes as f64 / found.durations.len().max(1) as f64;
    Ok(found)
}

fn parts<'s>(source: &'s Source, plan: &Plan) -> Vec<Part<'s>> {
    let queries = &source.set.queries;
    let split = |asks: &dyn Fn(&Judged) -> bool| {
        let (asked, taught) = queries.iter().partition(|judged| asks(judged));
        Part { asked, taught }
    };
    if let Some(odd) = plan.half {
        return vec![split(&|judged| half_is_odd(&judged.id) == odd)];
    }
    if plan.learn == 0 && plan.examples == 0 && !source.examples {
        return vec![split(&|_| true)];
    }
    (0..plan.folds)
        .map(|number| split(&|judged| fold(&judged.id, plan.folds) == number))
        .filter(|part| !part.asked.is_empty())
        .collect()
}

/// The tools, without what is asked and with `examples` of what is taught.
fn taught_documents(source: &Source, part: &Part<'_>, examples: usize) -> Vec<ToolDocument> {
    let mut documents = source.set.tools.clone();
    if source.examples {
        let asked: HashSet<&str> = part.asked.iter().map(|judged| judged.query.as_str()).collect();
        for tool in &mut documents {
            tool.examples.retain(|example| !asked.contains(example.as_str()));
        }
    } else if examples > 0 {
        let taught = by_tool(&part.taught, examples);
        for tool in &mut documents {
            tool.examples.extend(taught.get(tool.id.as_str()).into_iter().flatten().map(|judged| judged.query.clone()));
        }
    }
    documents
}

/// At most `most` requests of each tool. Where one of many tools is an answer, none can be said to have been called.
fn by_tool<'s>(taught: &[&'s Judged], most: usize) -> BTreeMap<&'s str, Vec<&'s Judged>> {
    let mut tools: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for judged in taught.iter().filter(|judged| judged.matching == Matching::All) {
        for tool in &judged.relevant {
            let requests = tools.entry(tool).or_default();
            if requests.len() < most {
                requests.push(judged);
            }
        }
    }
    tools
}

/// Vectors of requests: each teaches in all parts but one.
type Vectors<'s> = HashMap<&'s str, Quantized>;

fn vector<'s>(index: &ToolIndex, judged: &'s Judged, known: &mut Vectors<'s>) -> Option<Quantized> {
    if let Some(vector) = known.get(judged.query.as_str()) {
        return Some(vector.clone());
    }
    let (_, vector) = index.request_vector(&judged.query)?;
    known.insert(&judged.query, vector.clone());
    Some(vector)
}

/// What the server would have learned from as many accepted calls.
fn lessons<'s>(index: &ToolIndex, taught: &[&'s Judged], most: usize, known: &mut Vectors<'s>) -> Lessons {
    let mut lesson = |requests: &[&'s Judged]| {
        let vectors: Vec<Quantized> = requests.iter().filter_map(|judged| vector(index, judged, known)).collect();
        let mean = mean(vectors.iter().map(|vector| (vector, 1.0)))?;
        Some(Arc::new(Lesson { mean, count: vectors.len() as f32 }))
    };
    let tools = by_tool(taught, most);
    let lessons = tools.iter().filter(|(_, requests)| !requests.is_empty());
    Lessons::of(index, lessons.filter_map(|(tool, requests)| Some((*tool, lesson(requests)?))))
}

/// About what a tool is in a full answer.
fn shown_bytes(tool: &ToolDocument) -> usize {
    let schema = tool.args_schema.as_ref().and_then(|schema| serde_json::to_vec(schema).ok());
    tool.name.len()
        + tool.description.len()
        + schema.map_or(0, |schema| schema.len())
        + r#"{"name":"","description":"","inputSchema":,"score":0.0000},"#.len()
}

fn broken(error: index::IndexError) -> Failure {
    Failure::from(anyhow::Error::new(error))
}
