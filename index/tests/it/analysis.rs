//! Text to terms.

use pegboard_index::analysis::{STOP_WORDS, split_name, terms};

#[test]
fn splits_lowers_stems_and_drops_stop_words() {
    let table: &[(&str, &[&str])] = &[
        ("create_issue", &["creat", "issu"]),
        ("listPullRequests", &["list", "pull", "request", "listpullrequest"]),
        ("parseHTTPHeader", &["pars", "http", "header", "parsehttphead"]),
        ("getV2Status", &["get", "v2", "status", "getv2status"]),
        ("GET /movie/{movie_id}/credits", &["get", "movi", "movi", "id", "credit"]),
        ("text-analysis.word.count", &["text", "analysi", "word", "count"]),
        ("running runner runs", &["run", "runner", "run"]),
        ("Can you please tell me what I need?", &["tell"]),
        ("I'm sure they've paid, don't ask us", &["sure", "paid", "don", "ask"]),
        ("Café RÉSUMÉ", &["cafe", "resum"]),
        ("GitHub", &["git", "hub", "github"]),
        ("天気予報", &["天", "気", "予", "報"]),
        ("", &[]),
        ("  \u{0}\u{7}\n--- ***", &[]),
        ("a1B2", &["a1", "b2", "a1b2"]),
    ];
    for (text, expected) in table {
        assert_eq!(terms(text), *expected, "{text:?}");
    }
}

#[test]
fn every_stop_word_is_dropped_in_any_case() {
    for word in STOP_WORDS {
        assert_eq!(terms(word), Vec::<String>::new(), "{word}");
        assert_eq!(terms(&word.to_uppercase()), Vec::<String>::new(), "{word}");
    }
    assert_eq!(terms("weather"), ["weather"]);
}

#[test]
fn endless_words_are_dropped_and_their_neighbours_kept() {
    let text = format!("before {} after", "x".repeat(100_000));
    assert_eq!(terms(&text), ["befor", "after"]);
}

#[test]
fn names_become_words_for_encoders() {
    assert_eq!(split_name("getHTTPStatus_code"), "get HTTP Status code");
    assert_eq!(split_name("GET /movie/{movie_id}"), "GET movie movie id");
    assert_eq!(split_name("__"), "");
}
