//! The table of the hub's models, and what a folder says of how its model is asked.

use std::collections::HashSet;
use std::fs;

use pegboard_index::{Encoding, Pooled, Unavailable, hub_models, pooled, unfit_models};
use serde_json::json;

/// A new fastembed may bring models: how they are asked is looked up before they are in this file.
#[test]
fn every_model_of_fastembed_is_asked_as_it_was_trained() {
    let told: Vec<String> = hub_models()
        .iter()
        .map(|model| {
            let encoding = &model.encoding;
            let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let (pooling, output) = (word(json!(encoding.pooling)), word(json!(encoding.output)));
            let dimension = encoding.dimension.unwrap().to_string();
            let (query, document, data) = (&encoding.query_prefix, &encoding.document_prefix, encoding.data.join(" "));
            [&model.name, &model.repository, &model.graph, &dimension, &pooling, query, document, &data, &output]
                .map(String::as_str)
                .join("|")
        })
        .collect();
    assert_eq!(told, include_str!("data/hub.txt").lines().collect::<Vec<_>>());
}

#[test]
fn names_are_unique_and_what_finds_no_tools_is_not_among_them() {
    let models = hub_models();
    let mut names =
        HashSet::from(["all-minilm-l6-v2".to_owned(), "onnxruntime".to_owned(), "static".to_owned(), "none".to_owned()]);
    for model in &models {
        assert!(names.insert(model.name.to_lowercase()), "{}", model.name);
        assert!(
            model.name.len() <= 80 && model.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
            "{}",
            model.name
        );
        assert_eq!(model.data.len(), model.encoding.data.len());
    }
    let unfit = unfit_models();
    assert!(unfit.iter().all(|unfit| models.iter().all(|model| model.repository != unfit.repository)));
    for part in ["splade", "rerank", "clip"] {
        assert!(unfit.iter().any(|model| model.repository.to_lowercase().contains(part)), "{part}: {unfit:?}");
    }
}

#[test]
fn a_receipt_wins_over_the_models_own_files_and_those_over_a_guess() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let guess = Encoding { query_prefix: "query: ".into(), document_prefix: "passage: ".into(), ..Encoding::default() };
    let read = || Encoding::of(folder.path(), &guess);
    assert_eq!(read().unwrap(), guess);
    write("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#);
    write("config_sentence_transformers.json", r#"{"prompts": {"query": "ask: ", "document": ""}}"#);
    write("model.onnx_data", "weights");
    let own = Encoding {
        pooling: Pooled::FirstToken,
        query_prefix: "ask: ".into(),
        data: vec!["model.onnx_data".into()],
        ..guess.clone()
    };
    assert_eq!(read().unwrap(), own, "an empty word says nothing");
    write("model.json", r#"{"source": "by hand", "files": {}}"#);
    assert_eq!(read().unwrap(), own, "a receipt of before says nothing of it");
    write("model.json", r#"{"source": "x", "encoding": {"pooling": "mean", "dimension": 4}}"#);
    assert_eq!(read().unwrap(), Encoding { dimension: Some(4), ..Encoding::default() });
    for bad in [
        "{",
        r#"{"encoding": {"pooling": "last"}}"#,
        r#"{"encoding": {"pooling": "mean", "query": "x"}}"#,
        r#"{"encoding": {"pooling": "mean", "data": ["../../secrets"]}}"#,
        &format!(r#"{{"encoding": {{"pooling": "mean", "query_prefix": "{}"}}}}"#, "x".repeat(600)),
    ] {
        write("model.json", bad);
        let refused = read().unwrap_err();
        assert!(matches!(&refused, Unavailable::ModelFile { path, .. } if path.ends_with("model.json")), "{bad}: {refused}");
    }
}

#[test]
fn pooling_that_is_not_known_is_refused() {
    let mean = json!({"word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true});
    assert_eq!(pooled(&mean), Ok(Pooled::Mean));
    assert_eq!(pooled(&json!({"pooling_mode": "cls"})), Ok(Pooled::FirstToken));
    assert_eq!(pooled(&json!({})), Ok(Pooled::Mean));
    for other in [
        json!({"pooling_mode_max_tokens": true}),
        json!({"pooling_mode_lasttoken": true}),
        json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}),
        json!({"pooling_mode": "weightedmean"}),
        json!([]),
    ] {
        assert!(pooled(&other).is_err(), "{other}");
    }
}
