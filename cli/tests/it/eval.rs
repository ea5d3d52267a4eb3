//! `eval`: a folder of anyone's, a ranking of anyone's, and the installed tools with their own examples.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::run::{Home, PLAIN, PLAIN_CODE};

const KEYS: [&str; 11] = ["R@1", "R@3", "R@5", "R@10", "R@20", "C@5", "C@10", "H@1", "NDCG@5", "NDCG@10", "MRR"];

/// The small set of the index's tests.
fn small() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../index/tests/it/data/small")
}

#[test]
fn a_ranking_is_judged_without_a_search() {
    let home = Home::new();
    let (folder, run) = (small(), small().join("run.json"));
    let report = home.run(&["eval", &folder.display().to_string(), "--run", &run.display().to_string(), "--json"]).ends(0).json();
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).filter(|key| KEYS.contains(key)).collect();
    assert_eq!(keys, KEYS, "the names and their order are a promise");
    assert_eq!((&report["queries"], &report["H@1"], &report["C@10"]), (&json!(5), &json!(0.6), &json!(0.8)));
    let exact = (2.0 + 1.0 / (1.0 + 1.0 / 3f64.log2()) + 1.0 / 3f64.log2()) / 5.0;
    assert!((report["NDCG@5"].as_f64().unwrap() - exact).abs() < 1e-12, "unrounded: {report}");
    assert!(report.get("latency_ms").is_none(), "nothing was searched");
}

#[test]
fn a_search_can_be_kept_and_judged_again() {
    let home = Home::new();
    let folder = small().display().to_string();
    let searched = home.run(&["eval", &folder, "--save-run", "kept.jsonl", "--by-subset", "--json"]).ends(0).json();
    assert_eq!(searched["search"]["mode"], "hybrid");
    for time in ["p50", "p95", "p99", "max"] {
        assert!(searched["latency_ms"][time].as_f64().unwrap() > 0.0, "{searched}");
    }
    let cost = &searched["prompt_tokens"];
    assert!(cost["answer"].as_f64().unwrap() > 10.0 && cost["all"].as_u64().unwrap() > 100, "{cost}");
    assert!(cost["search"].as_u64().unwrap() < 1_500, "the search view's promise: {cost}");
    assert_eq!(searched["subsets"]["plans"]["queries"], 1);
    assert!(searched["H@1"].as_f64().unwrap() >= 0.8, "the set is easy: {searched}");
    let judged = home.run(&["eval", &folder, "--run", "kept.jsonl", "--json"]).ends(0).json();
    for key in KEYS {
        assert_eq!(searched[key], judged[key], "{key}");
    }
    let table = home.run(&["eval", &folder]).ends(0).stdout;
    for word in ["NDCG@10", "MRR", "p99", "unanswered", "search view"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

#[test]
fn other_requests_teach_and_none_is_asked_of_itself() {
    let home = Home::new();
    let folder = home.path().join("set");
    fs::create_dir(&folder).unwrap();
    let tools =
        ["alpha", "beta", "gamma"].map(|name| json!({"id": name, "name": name, "description": format!("The {name} tool")}));
    let asked = [
        ("alpha", "cook pasta", "boil spaghetti"),
        ("beta", "repair a bicycle", "mend a bike tyre"),
        ("gamma", "paint a wall", "colour the ceiling"),
    ];
    let queries = asked.iter().flat_map(|(tool, one, two)| {
        [(one, 1), (two, 2)].map(|(query, number)| json!({"id": format!("{tool}{number}"), "query": query, "relevant": [tool]}))
    });
    let lines = |values: Vec<Value>| values.iter().map(|value| format!("{value}\n")).collect::<String>();
    fs::write(folder.join("tools.jsonl"), lines(tools.into())).unwrap();
    fs::write(folder.join("queries.jsonl"), lines(queries.collect())).unwrap();
    let hits = |more: &[&str]| {
        let folder = folder.display().to_string();
        home.run(&[&["eval", &folder, "--json"], more].concat()).ends(0).json()["H@1"].as_f64().unwrap()
    };
    let (plain, taught, shown) =
        (hits(&[]), hits(&["--learn", "1", "--folds", "250"]), hits(&["--examples", "1", "--folds", "250"]));
    assert!(taught > plain && shown > plain, "{plain} {taught} {shown}");
}

#[test]
fn installed_tools_are_asked_for_with_their_examples_and_without_having_read_them() {
    let home = Home::new();
    let failed = home.run(&["eval", "--json"]).ends(5).json();
    assert_eq!(failed["error"]["code"], "eval.no_examples", "{failed}");
    let examples = "    examples:\n      - {query: say the same words back to me, args: {text: a}}\n      - {query: repeat after me, args: {text: a}}\n";
    let at = PLAIN.find("  - name: fail").unwrap();
    home.plugin("plain", &format!("{}{examples}{}", &PLAIN[..at], &PLAIN[at..]), PLAIN_CODE);
    let report = home.run(&["eval", "--json"]).ends(0).json();
    assert_eq!((&report["queries"], &report["tools"]), (&json!(2), &json!(2)), "{report}");
    assert!(report["prompt_tokens"]["search"].as_u64().unwrap() > 0);
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let home = Home::new();
    let missing = home.run(&["eval", "nowhere", "--json"]).ends(5).json();
    assert_eq!(missing["error"]["code"], "eval.not_found");
    fs::write(home.path().join("tools.jsonl"), "{\"id\": 1}\n").unwrap();
    let bad = home.run(&["eval", ".", "--json"]).ends(2).json();
    assert!(bad["error"]["message"].as_str().unwrap().contains("tools.jsonl:1:"), "{bad}");
    home.configure("pegboard.toml", "[embedder]\nkind = \"fastembed\"\n");
    let none = home.run(&["eval", &small().display().to_string(), "--json"]).ends(2).json();
    assert_eq!(none["error"]["code"], "embedder.missing", "a measurement does not fall back: {none}");
}
