//! Requests and tools that mean harm.

use std::sync::Arc;

use pegboard_index::{Indexer, Query, ToolDocument};
use serde_json::{Map, Value, json};

use crate::fake::{Synonyms, catalog, find, lexical, tool};

#[test]
fn no_request_breaks_a_search() {
    let hybrid = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&catalog()).unwrap().0;
    let requests = [
        String::new(),
        " ".repeat(1 << 20),
        "email ".repeat(1 << 20),
        "x".repeat(8 << 20),
        (0..200_000).map(|i| format!("word{i} ")).collect(),
        "and then email ".repeat(100_000),
        "\u{0}\u{1}\u{1b}[31m\u{7f}\u{202e}\u{feff}".repeat(1000),
        "é".repeat(5000),
        format!("{}é", "x".repeat(4095)),
        "👩‍👩‍👧‍👦".repeat(3000),
        "the of and to a in is".to_owned(),
        "body:(email OR rain)^9 AND NOT name:\"x\"~3 [a TO z] /re.*gex/ *:* +-&&||!(){}^\"~?:\\".to_owned(),
        "\"unbalanced".to_owned(),
        "__ ____ a__ __b".to_owned(),
        "../../etc/passwd\u{0}".to_owned(),
        "'; DROP TABLE tools; --".to_owned(),
    ];
    for index in [lexical(&catalog()), hybrid] {
        for request in &requests {
            let hits = index.search(&Query::new(request.as_str()), &|_| true);
            assert!(hits.len() <= 6, "{request:.40?}");
            assert!(hits.iter().all(|hit| hit.score.is_finite()), "{request:.40?}: {hits:?}");
        }
        assert_eq!(find(&index, "email")[0], "mail__send_message", "the control");
    }
}

#[test]
fn query_syntax_is_only_words() {
    let index = lexical(&catalog());
    assert_eq!(find(&index, "body:(email) AND NOT recipients"), find(&index, "body email recipients"));
    assert_eq!(find(&index, "-email"), find(&index, "email"));
    assert_eq!(find(&index, "emai*"), Vec::<String>::new());
    assert_eq!(find(&index, "*:*"), Vec::<String>::new());
}

#[test]
fn stop_words_alone_find_nothing_by_words() {
    let index = lexical(&catalog());
    assert_eq!(find(&index, "can you please do this for me"), Vec::<String>::new());
    assert_eq!(find(&index, "can you please email this for me"), ["mail__send_message"]);
}

#[test]
fn what_lies_beyond_the_bound_is_not_read() {
    let index = lexical(&catalog());
    let padding = "zzz ".repeat(1024);
    assert_eq!(find(&index, &format!("{padding}email")), Vec::<String>::new());
    assert_eq!(find(&index, &format!("email {padding}")), ["mail__send_message"]);
}

#[test]
fn a_monstrous_tool_costs_only_itself() {
    let mut nested = json!({"type": "string"});
    for _ in 0..100 {
        nested = json!({"type": "object", "properties": {"deeper": nested}, "items": {"enum": [1, null, "x"]}});
    }
    let many: Map<String, Value> = (0..50_000)
        .map(|i| (format!("parameter{i}"), json!({"description": "email ".repeat(20), "enum": "not a list"})))
        .collect();
    let odd = json!({"properties": ["not", "an", "object"], "items": true, "enum": {"a": 1}});
    let mut tools = catalog();
    for (id, schema) in [("bad__nested", nested), ("bad__many", json!({"properties": many})), ("bad__odd", odd)] {
        tools.push(ToolDocument { args_schema: schema.as_object().cloned(), ..tool(id, "monster") });
    }
    tools.push(tool("bad__long", &"email monster é".repeat(500_000)));
    tools.push(ToolDocument { examples: vec!["monster".repeat(1000); 1000], ..tool("bad__examples", "\u{0}\u{1}") });
    let embedder = Arc::new(Synonyms::new("synonyms"));
    let (index, stats) = Indexer::hybrid(embedder.clone(), None).unwrap().update(&tools).unwrap();
    assert_eq!((stats.added, stats.pending), (11, 0));
    assert!(embedder.seen.lock().unwrap().iter().all(|text| text.len() <= 1500), "texts for the encoder are bounded");
    assert_eq!(find(&index, "mail__send_message")[0], "mail__send_message");
    assert!(find(&index, "monster").contains(&"bad__odd".to_owned()));
}
