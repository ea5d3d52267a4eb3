//! The metrics: golden values on a small set of our own, counted by hand, and files that are not what they should be.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pegboard_index::ToolDocument;
use pegboard_index::eval::{Dataset, EvalError, Judged, KEYS, Matching, Rankings, fold, half_is_odd, mean, percentiles, score};

fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/small")
}

#[test]
fn the_small_set_has_its_golden_values() {
    let set = Dataset::read(&small()).unwrap();
    let judged = Rankings::read(&small().join("run.json")).unwrap().judge(&set);
    let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
    // q1 first; q2 first, by its stand-in; q3 first and sixth, as an id that comes again takes no place; q4 second of any; q5 has none.
    let both = gain(1.0) + gain(2.0);
    let expected: HashMap<&str, f64> = HashMap::from([
        ("R@1", (1.0 + 1.0 + 0.5) / 5.0),
        ("R@3", (1.0 + 1.0 + 0.5 + 1.0) / 5.0),
        ("R@5", (1.0 + 1.0 + 0.5 + 1.0) / 5.0),
        ("R@10", 4.0 / 5.0),
        ("R@20", 4.0 / 5.0),
        ("C@5", 3.0 / 5.0),
        ("C@10", 4.0 / 5.0),
        ("H@1", 3.0 / 5.0),
        ("NDCG@5", (1.0 + 1.0 + gain(1.0) / both + gain(2.0)) / 5.0),
        ("NDCG@10", (1.0 + 1.0 + (gain(1.0) + gain(6.0)) / both + gain(2.0)) / 5.0),
        ("MRR", (1.0 + 1.0 + 1.0 + 0.5) / 5.0),
    ]);
    let found: HashMap<&str, f64> = KEYS.into_iter().zip(mean(&judged).values()).collect();
    assert_eq!(found.len(), expected.len());
    for (key, value) in expected {
        assert!((found[key] - value).abs() < 1e-12, "{key}: expected {value}, found {}", found[key]);
    }
}

#[test]
fn a_ranking_reads_the_same_in_both_forms() {
    let set = Dataset::read(&small()).unwrap();
    let whole = Rankings::read(&small().join("run.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    fs::write(&path, whole.to_lines(&set)).unwrap();
    assert_eq!(Rankings::read(&path).unwrap(), whole);
    // One line alone is a line, not an object of rankings.
    fs::write(&path, "{\"id\": \"q1\", \"ranked\": [\"clock__now\"]}\n").unwrap();
    assert_eq!(Rankings::read(&path).unwrap().0, HashMap::from([("q1".to_owned(), vec!["clock__now".to_owned()])]));
}

#[test]
fn any_asks_for_one_hit_and_all_for_every_one() {
    let ranked: Vec<String> = ["x", "b", "a"].map(str::to_owned).into();
    let judged = |matching| Judged { relevant: vec!["a".to_owned(), "b".to_owned()], matching, ..Judged::default() };
    let any = score(&judged(Matching::Any), &ranked);
    assert_eq!((any.recall, any.complete, any.mrr), ([0.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0], 0.5));
    let all = score(&judged(Matching::All), &ranked);
    assert_eq!((all.recall, all.complete, all.mrr), ([0.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0], 0.5));
    assert!(any.ndcg[0] < all.ndcg[0]);
    let half = score(&judged(Matching::All), &ranked[..2]);
    assert_eq!((half.recall[1], half.complete), (0.5, [0.0, 0.0]));
    assert_eq!(score(&judged(Matching::All), &[]), pegboard_index::eval::Metrics::default());
}

#[test]
fn a_line_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let problem = || Dataset::read(folder.path()).unwrap_err().to_string();
    assert!(matches!(Dataset::read(folder.path()), Err(EvalError::Unreadable { .. })));
    write("tools.jsonl", "{\"id\": \"a\", \"name\": \"a\"}\n\n{\"id\": \"b\"}\n");
    assert!(problem().contains("tools.jsonl:3: missing field `name`"), "{}", problem());
    write("tools.jsonl", "{\"id\": \"a\", \"name\": \"a\"}\n{\"id\": \"a\", \"name\": \"b\"}\n");
    assert!(problem().contains("tools.jsonl:2: tool `a` is given twice"), "{}", problem());
    write("tools.jsonl", "{\"id\": \"a\", \"name\": \"a\", \"args_schema\": null}\n");
    write("queries.jsonl", "{\"id\": \"q\", \"query\": \"x\", \"relevant\": []}\n");
    assert!(problem().contains("queries.jsonl:1: query `q` has no right answer"), "{}", problem());
    write("queries.jsonl", "{\"id\": \"q\", \"query\": \"x\", \"relevant\": [\"a\"], \"match\": \"some\"}\n");
    assert!(problem().contains("queries.jsonl:1: unknown variant `some`"), "{}", problem());
    write("queries.jsonl", "{\"id\": \"q\", \"query\": \"x\", \"relevant\": [\"a\"], \"match\": null, \"alt\": null}\n");
    let set = Dataset::read(folder.path()).unwrap();
    assert_eq!(set.tools, [ToolDocument { id: "a".into(), name: "a".into(), ..ToolDocument::default() }]);
    assert_eq!(set.queries[0].matching, Matching::All);
}

#[test]
fn parts_of_a_set_depend_on_the_id_alone() {
    let ids: Vec<String> = (0..1000).map(|number| format!("q{number}")).collect();
    let odd = ids.iter().filter(|id| half_is_odd(id)).count();
    assert!((400..600).contains(&odd), "{odd}");
    assert!(ids.iter().all(|id| fold(id, 10) < 10 && (fold(id, 2) == 1) == half_is_odd(id)));
    assert_eq!(fold("q1", 0), 0);
}

#[test]
fn percentiles_are_measured_values() {
    let all: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
    let found = percentiles(all).unwrap();
    assert_eq!([found.p50, found.p95, found.p99, found.max], [100, 190, 198, 200].map(Duration::from_millis));
    let one = percentiles(vec![Duration::from_secs(1)]).unwrap();
    assert_eq!((one.p50, one.max), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!(percentiles(Vec::new()), None);
}
