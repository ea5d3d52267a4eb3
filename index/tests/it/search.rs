//! What is found, in which order, for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pegboard_index::{Among, Indexer, Lessons, Mode, Query, ToolDocument, ToolIndex, ToolSet};
use serde_json::json;

use crate::fake::{Synonyms, catalog, find, ids, lexical, tool};

#[test]
fn words_find_the_tool_whose_name_or_description_has_them() {
    let index = lexical(&catalog());
    let table = [
        ("how many words are in this article", "text__text_statistics"),
        ("email a recipient", "mail__send_message"),
        ("file a bug on github", "git__createIssue"),
        ("create issue", "git__createIssue"),
        ("will it rain", "weather__forecast"),
        ("exchanging currency", "money__convert"),
    ];
    for (query, expected) in table {
        assert_eq!(find(&index, query).first().map(String::as_str), Some(expected), "{query}");
    }
    assert_eq!(index.mode(), Mode::Lexical);
    assert_eq!(index.len(), 6);
}

#[test]
fn every_text_of_a_tool_is_searched() {
    let schema = json!({"type": "object", "properties": {
        "departureAirport": {"type": "string", "description": "three letters by Lufthansa"},
        "cabin": {"enum": ["economy", "business"]},
        "stops": {"type": "array", "items": {"type": "object", "properties": {
            "hotel": {"type": "object", "properties": {"pillow": {"type": "object", "properties": {"beyond": {}}}}}}}},
    }});
    let full = ToolDocument {
        title: Some("Grand voyage".into()),
        category: Some("tourism".into()),
        keywords: vec!["holiday".into()],
        capabilities: vec!["booking_engine".into()],
        args_schema: schema.as_object().cloned(),
        examples: vec!["fly me to the moon".into()],
        ..tool("travel__plan", "Arrange a journey")
    };
    let index = lexical(&[full, tool("other__thing", "Something else")]);
    for word in [
        "voyage",
        "tourism",
        "holiday",
        "booking",
        "airport",
        "lufthansa",
        "economy",
        "hotel",
        "pillow",
        "moon",
        "travel",
        "plan",
        "journey",
    ] {
        assert_eq!(find(&index, word), ["travel__plan"], "{word}");
    }
    assert_eq!(find(&index, "beyond"), Vec::<String>::new(), "deeper than three levels");
}

#[test]
fn a_word_rare_in_names_but_common_elsewhere_is_common() {
    let mut tools: Vec<ToolDocument> = (0..100).map(|i| tool(&format!("p__t{i}"), "a list of things")).collect();
    tools.push(tool("x__list", "things"));
    let long = format!("invoice {}", (0..40).map(|i| format!("padding{i} ")).collect::<String>());
    tools.push(tool("y__ledger", &long));
    assert_eq!(find(&lexical(&tools), "list invoice")[0], "y__ledger");
    assert_eq!(find(&lexical(&tools), "list things").len(), 10, "the control: common words still find");
}

#[test]
fn only_the_first_twenty_enum_values_are_indexed() {
    let values: Vec<String> = (0..40).map(|i| format!("zone{i}x")).collect();
    let schema = json!({"properties": {"zone": {"enum": values}}});
    let index = lexical(&[ToolDocument { args_schema: schema.as_object().cloned(), ..tool("a__b", "c") }]);
    assert_eq!(find(&index, "zone19x"), ["a__b"]);
    assert_eq!(find(&index, "zone20x"), Vec::<String>::new());
}

#[test]
fn an_exact_name_comes_first() {
    let mut tools = catalog();
    // Says "forecast" in every breath, so that words alone would put it first.
    tools.push(tool("sales__forecast_forecast", "forecast forecast forecast forecast"));
    tools.push(tool("stocks__forecast", "prices"));
    let index = lexical(&tools);
    for query in ["weather__forecast", "`weather__forecast`", " WEATHER__Forecast. ", "\"weather__forecast\""] {
        let hits = index.search(&Query::new(query), &|_| true);
        assert_eq!(hits[0].id, "weather__forecast", "{query}");
        assert!(hits[0].exact && hits[0].score == 1.0);
        assert!(!hits[1].exact, "{query}");
    }
    let hits = index.search(&Query::new("use weather__current, then tell me"), &|_| true);
    assert_eq!((hits[0].id.as_str(), hits[0].exact), ("weather__current", true));
    // A short name that two plugins have: both before all others, in the order of their served names.
    assert_eq!(ids(&index.search(&Query::new("forecast").limit(2), &|_| true)), ["stocks__forecast", "weather__forecast"]);
    // A short name inside a sentence is only a word.
    assert!(index.search(&Query::new("sales forecast please"), &|_| true).iter().all(|hit| !hit.exact));
}

#[test]
fn a_refused_tool_neither_appears_nor_takes_a_place() {
    let mut tools: Vec<ToolDocument> =
        (0..300).map(|i| tool(&format!("secret__weather{i}"), "weather weather rain temperature")).collect();
    tools.push(tool("open__diary", "Notes about work, travel, food, and once about the weather"));
    let embedder = Arc::new(Synonyms::new("synonyms"));
    let hybrid = Indexer::hybrid(embedder, None).unwrap().update(&tools).unwrap().0;
    for index in [lexical(&tools), hybrid] {
        let everyone = index.search(&Query::new("weather temperature").limit(5), &|_| true);
        assert_eq!(everyone.len(), 5);
        assert!(everyone.iter().all(|hit| hit.id.starts_with("secret__")), "the control: unfiltered, the others are better");
        let allowed = index.search(&Query::new("weather temperature").limit(5), &|id| id.starts_with("open__"));
        assert_eq!(ids(&allowed), ["open__diary"]);
        assert!(index.search(&Query::new("weather"), &|_| false).is_empty());
        assert!(index.search(&Query::new("secret__weather7"), &|id| id.starts_with("open__")).iter().all(|hit| !hit.exact));
        assert!(index.search(&Query::new("secret__weather7"), &|_| true)[0].exact, "the control");
    }
}

fn among(index: &ToolIndex, text: &str, set: &ToolSet) -> Vec<String> {
    let answer = index.answer_among(&Query::new(text), Among::Set(set), &Lessons::default());
    answer.hits.into_iter().map(|hit| hit.id).collect()
}

#[test]
fn a_set_lets_through_what_the_same_question_would() {
    let mut tools = catalog();
    tools.extend((0..200).map(|i| tool(&format!("secret__weather{i}"), "weather weather rain temperature")));
    for index in [lexical(&tools), Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&tools).unwrap().0]
    {
        let names = tools.iter().map(|tool| tool.id.as_str());
        let set = index.set_of(names.filter(|name| !name.starts_with("secret__")).chain(["not__there", "mail__send_message"]));
        assert_eq!(set.len(), 6, "a name that is not there is no tool, one that comes again is one");
        for text in ["rain and temperature", "secret__weather7", "weather__current", "open a ticket, then send an email"] {
            let asked = index.search(&Query::new(text), &|name| !name.starts_with("secret__"));
            assert_eq!(among(&index, text, &set), ids(&asked), "{text}");
            assert!(!asked.is_empty() || text.starts_with("secret"), "{text}");
        }
        let all = index.answer_among(&Query::new("rain and temperature"), Among::Everything, &Lessons::default());
        assert_eq!(all, index.answer(&Query::new("rain and temperature"), &|_| true));
        assert!(all.hits[0].id.starts_with("secret__"), "the control");
        assert_eq!(among(&index, "rain", &index.set_of([])), Vec::<String>::new());
    }
}

/// Slots are given to other tools when the catalog changes: an old set must let nothing through, not the wrong things.
#[test]
fn a_set_of_another_index_lets_nothing_through() {
    let mut indexer = Indexer::lexical().unwrap();
    let (before, _) = indexer.update(&[tool("open__rain", "rain"), tool("secret__rain", "rain")]).unwrap();
    let set = before.set_of(["open__rain"]);
    assert_eq!(among(&before, "rain", &set), ["open__rain"], "the control");
    let (after, _) = indexer.update(&[tool("secret__rain", "rain")]).unwrap();
    let (again, _) = indexer.update(&[tool("secret__rain", "rain"), tool("secret__snow", "rain")]).unwrap();
    for newer in [&after, &again, &lexical(&[tool("secret__rain", "rain")])] {
        assert!(!newer.made(&set));
        assert_eq!(among(newer, "rain", &set), Vec::<String>::new());
        assert_eq!(among(newer, "secret__rain", &set), Vec::<String>::new());
    }
}

/// Words of three fields with one idf: everything (weight 1), the name (1), the description (.3).
#[test]
fn scores_of_words_by_hand() {
    let tools = [tool("a__red", "red fish"), tool("a__blue", "big blue fish fish"), tool("a__green", "")];
    let hits = lexical(&tools).search(&Query::new("red"), &|_| true);
    // "a" is a stop word, so the first says red, red, fish; three tools say 3, 5 and 1 words, 1 word each in their names, and 2, 4
    // and 0 in their descriptions.
    let bm25 = |count: f32, length: f32, mean: f32| 2.2 * count / (count + 1.2 * (0.25 + 0.75 * length / mean));
    let idf = (1.0f32 + (3.0 - 1.0 + 0.5) / 1.5).ln();
    let expected = idf * (bm25(2.0, 3.0, 3.0) + bm25(1.0, 1.0, 1.0) + 0.3 * bm25(1.0, 2.0, 2.0));
    assert_eq!(ids(&hits), ["a__red"]);
    assert!((hits[0].lexical.unwrap() - expected).abs() < 1e-4, "{:?}, expected {expected}", hits[0]);
    let both = lexical(&tools).search(&Query::new("red red RED nothing"), &|_| true);
    assert_eq!(both[0].lexical, hits[0].lexical, "a word counts once, an unknown one not at all");
}

#[test]
fn the_filter_is_asked_at_most_once_a_tool() {
    let index = lexical(&catalog());
    let asked = AtomicUsize::new(0);
    let query = Query::new("find the temperature and then send an email about the temperature. Also count words");
    index.search(&query, &|_| {
        asked.fetch_add(1, Ordering::Relaxed);
        true
    });
    assert!((1..=6).contains(&asked.load(Ordering::Relaxed)), "{asked:?}");
}

#[test]
fn a_request_for_two_things_finds_both() {
    let mut tools = catalog();
    tools.extend((0..20).map(|i| tool(&format!("rainy__temperature{i}"), "rain, temperature, city, days, coming")));
    let found = find(
        &lexical(&tools),
        "What will the temperature and rain be in the city in the coming days, and then convert my currencies",
    );
    assert!(found.iter().position(|id| id == "money__convert").is_some_and(|rank| rank < 3), "{found:?}");
}

#[test]
fn clauses_are_taken_apart_only_where_there_are_several() {
    use pegboard_index::clauses::clauses;
    assert_eq!(clauses("what is the weather in Paris"), Vec::<String>::new());
    assert_eq!(clauses("fish and chips near the station"), Vec::<String>::new());
    assert_eq!(
        clauses("Find a flight to Rome and then book me a hotel. Also send the plan to Bob"),
        ["Find a flight to Rome", "book me a hotel.", "send the plan to Bob"]
    );
    assert_eq!(clauses("convert 1,000 euros and show me the rate"), ["convert 1,000 euros", "show me the rate"]);
    assert_eq!(clauses(&"do this one thing. ".repeat(500)).len(), pegboard_index::clauses::MAX_CLAUSES);
}

#[test]
fn limits_hold() {
    let tools: Vec<ToolDocument> = (0..250).map(|i| tool(&format!("p__t{i}"), "same words everywhere")).collect();
    let index = lexical(&tools);
    for limit in [0, 1, 7, 100, 200] {
        assert_eq!(index.search(&Query::new("words").limit(limit), &|_| true).len(), limit);
    }
    assert_eq!(index.search(&Query::new("words").limit(usize::MAX), &|_| true).len(), 250);
}

#[test]
fn the_same_catalog_and_request_give_the_same_answer() {
    let embedder = || Arc::new(Synonyms::new("synonyms"));
    let one = Indexer::hybrid(embedder(), None).unwrap().update(&catalog()).unwrap().0;
    let two = Indexer::hybrid(embedder(), None).unwrap().update(&catalog()).unwrap().0;
    for text in ["umbrella", "send email and then convert dollars", "git__createIssue", "nothing of the kind"] {
        let answer = one.answer(&Query::new(text), &|_| true);
        assert_eq!(answer, two.answer(&Query::new(text), &|_| true));
        assert_eq!(answer, one.answer(&Query::new(text), &|_| true));
    }
    // Ties are settled by name.
    let tools: Vec<ToolDocument> = ["b", "a", "c"].iter().map(|name| tool(&format!("p__{name}"), "equal")).collect();
    assert_eq!(find(&lexical(&tools), "equal"), ["p__a", "p__b", "p__c"]);
}

#[test]
fn one_snapshot_serves_many_threads_while_another_is_made() {
    let mut indexer = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap();
    let (index, _) = indexer.update(&catalog()).unwrap();
    let expected = index.answer(&Query::new("umbrella for the city"), &|_| true);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..200).all(|_| index.answer(&Query::new("umbrella for the city"), &|_| true) == expected)))
            .collect();
        for round in 0..20 {
            let mut tools = catalog();
            tools.push(tool(&format!("new__rain{round}"), "umbrella umbrella city city"));
            let (newer, _) = indexer.update(&tools).unwrap();
            assert_eq!(find(&newer, "umbrella for the city")[0], format!("new__rain{round}"));
        }
        for reader in readers {
            assert!(reader.join().unwrap());
        }
    });
}
