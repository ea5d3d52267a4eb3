//! Only what changed is done again.

use std::sync::Arc;

use pegboard_index::{EmbedError, IndexError, Indexer, Mode, Query, ToolDocument, UpdateStats, Warning};

use crate::fake::{Synonyms, catalog, find, tool};

fn counts(stats: &UpdateStats) -> [usize; 6] {
    [stats.added, stats.changed, stats.removed, stats.unchanged, stats.embedded, stats.pending]
}

#[test]
fn only_changed_tools_are_embedded_again() {
    let embedder = Arc::new(Synonyms::new("synonyms"));
    let mut indexer = Indexer::hybrid(embedder.clone(), None).unwrap();
    let mut tools = catalog();
    assert_eq!(counts(&indexer.update(&tools).unwrap().1), [6, 0, 0, 0, 6, 0]);
    assert_eq!(counts(&indexer.update(&tools).unwrap().1), [0, 0, 0, 6, 0, 0]);

    tools[0].description = "Umbrella advice".into();
    let (index, stats) = indexer.update(&tools).unwrap();
    assert_eq!(counts(&stats), [0, 1, 0, 5, 1, 0]);
    assert!(embedder.seen.lock().unwrap().contains("weather forecast: Umbrella advice"));
    assert_eq!(find(&index, "advice")[0], "weather__forecast");

    // Keywords are searched by words alone: no vector is made for them.
    tools[1].keywords = vec!["barometer".into()];
    let (index, stats) = indexer.update(&tools).unwrap();
    assert_eq!(counts(&stats), [0, 1, 0, 5, 0, 0]);
    assert_eq!(find(&index, "barometer")[0], "weather__current");

    tools[2].examples = vec!["write to my aunt".into()];
    assert_eq!(counts(&indexer.update(&tools).unwrap().1), [0, 1, 0, 5, 1, 0]);

    tools.reverse();
    assert_eq!(counts(&indexer.update(&tools).unwrap().1), [0, 0, 0, 6, 0, 0], "order is not content");
    assert_eq!(embedder.embedded(), 8);
}

#[test]
fn a_removed_tool_is_gone_and_comes_back_without_work() {
    let embedder = Arc::new(Synonyms::new("synonyms"));
    let mut indexer = Indexer::hybrid(embedder.clone(), None).unwrap();
    let tools = catalog();
    let (before, _) = indexer.update(&tools).unwrap();
    let (after, stats) = indexer.update(&tools[1..]).unwrap();
    assert_eq!(counts(&stats), [0, 0, 1, 5, 0, 0]);
    for query in ["weather__forecast", "forecast", "predict rain in a city", "umbrella"] {
        assert!(find(&before, query).contains(&"weather__forecast".to_owned()), "the control: {query}");
        assert!(!find(&after, query).contains(&"weather__forecast".to_owned()), "{query}");
    }
    assert_eq!(after.len(), 5);
    let (again, stats) = indexer.update(&tools).unwrap();
    assert_eq!(counts(&stats), [1, 0, 0, 5, 0, 0]);
    assert_eq!(find(&again, "umbrella"), find(&before, "umbrella"));
    let (nothing, stats) = indexer.update(&[]).unwrap();
    assert_eq!(counts(&stats), [0, 0, 6, 0, 0, 0]);
    assert!(nothing.is_empty() && find(&nothing, "umbrella").is_empty() && nothing.mode() == Mode::Lexical);
}

#[test]
fn slots_are_reused_without_mixing_tools_up() {
    let mut indexer = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap();
    for round in 0..60 {
        let tools: Vec<ToolDocument> =
            (round..round + 30).map(|i| tool(&format!("p__t{i}"), &format!("unique{i}word email"))).collect();
        let (index, _) = indexer.update(&tools).unwrap();
        assert_eq!(index.len(), 30);
        for i in round..round + 30 {
            let hits = index.search(&Query::new(format!("unique{i}word")), &|_| true);
            assert_eq!(hits[0].id, format!("p__t{i}"), "round {round}");
            assert!(hits[0].lexical.is_some());
        }
        let gone = index.search(&Query::new(format!("unique{}word", round + 31)), &|_| true);
        assert!(gone.iter().all(|hit| hit.lexical.is_none()));
        let all = index.search(&Query::new("email").limit(100), &|_| true);
        assert_eq!(all.len(), 30, "each tool once");
    }
}

#[test]
fn an_index_grown_step_by_step_ranks_like_one_made_at_once() {
    let mut tools: Vec<ToolDocument> =
        (0..200).map(|i| tool(&format!("p__t{i}"), &format!("alpha{} beta{}", i % 7, i % 11))).collect();
    let mut indexer = Indexer::lexical().unwrap();
    indexer.update(&tools).unwrap();
    for i in 0..100 {
        tools[i].description = format!("gamma{} delta{} alpha{}", i % 5, i % 3, i % 7);
        indexer.update(&tools).unwrap();
    }
    let stepwise = indexer.update(&tools).unwrap().0;
    let at_once = crate::fake::lexical(&tools);
    for query in ["gamma1", "delta2 alpha3", "beta4 alpha5"] {
        let mut found = find(&stepwise, query);
        let mut expected = find(&at_once, query);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn lexical_search_serves_while_vectors_are_made() {
    let mut indexer = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap();
    let (index, stats) = indexer.prepare(&catalog()).unwrap();
    assert_eq!(counts(&stats), [6, 0, 0, 0, 0, 6]);
    assert_eq!((index.mode(), find(&index, "email")[0].as_str()), (Mode::Lexical, "mail__send_message"));
    let (index, stats) = indexer.embed_pending(2).unwrap();
    assert_eq!((stats.embedded, stats.pending, index.mode()), (2, 4, Mode::Lexical));
    let (index, stats) = indexer.embed_pending(2).unwrap();
    assert_eq!((stats.embedded, stats.pending, index.mode()), (2, 2, Mode::Hybrid { embedder: "synonyms".into() }));
    let (index, stats) = indexer.embed_pending(100).unwrap();
    assert_eq!((stats.embedded, stats.pending), (2, 0));
    assert_eq!(find(&index, "dollars")[0], "money__convert");
}

#[test]
fn an_embedder_that_stops_is_a_warning_and_a_lexical_index() {
    let embedder = Synonyms { fails_after: 0, ..Synonyms::new("synonyms") };
    let mut indexer = Indexer::hybrid(Arc::new(embedder), None).unwrap();
    let (index, stats) = indexer.update(&catalog()).unwrap();
    assert_eq!(stats.warnings, [Warning::NotEmbedded { pending: 6, error: EmbedError::Stopped }]);
    assert_eq!((index.mode(), find(&index, "email")[0].as_str()), (Mode::Lexical, "mail__send_message"));
}

#[test]
fn a_bad_catalog_changes_nothing() {
    let mut indexer = Indexer::lexical().unwrap();
    indexer.update(&catalog()).unwrap();
    let mut twice = catalog();
    twice.push(twice[0].clone());
    assert!(matches!(indexer.update(&twice), Err(IndexError::DuplicateTool { id }) if id == "weather__forecast"));
    for id in [String::new(), "x".repeat(513)] {
        assert!(matches!(indexer.update(&[tool(&id, "d")]), Err(IndexError::BadId { found, limit: 512 }) if found == id.len()));
    }
    let (index, stats) = indexer.update(&catalog()).unwrap();
    assert_eq!(counts(&stats), [0, 0, 0, 6, 0, 0]);
    assert_eq!(find(&index, "email")[0], "mail__send_message");
}
