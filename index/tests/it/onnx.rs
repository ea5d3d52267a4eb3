//! Weights made into a graph: the same bytes each time, and errors that name the tensor. That the graph computes what it should is shown with
//! the runtime and the real weights, see docs/retrieval.md.

use pegboard_index::onnx::{ConvertError, bert_to_onnx};
use serde_json::{Map, json};

const CONFIG: &str = r#"{"model_type": "bert", "hidden_act": "gelu", "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 6, "type_vocab_size": 2, "vocab_size": 5, "layer_norm_eps": 1e-12}"#;

/// A `safetensors` file of ramps: header, then the numbers of each tensor.
fn weights(change: impl Fn(&mut Vec<(String, Vec<usize>)>)) -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>)> = [("word", 5), ("position", 6), ("token_type", 2)]
        .map(|(name, rows)| (format!("embeddings.{name}_embeddings.weight"), vec![rows, 4]))
        .into();
    let mut layer = |name: &str, shape: &[usize]| {
        tensors.push((format!("{name}.weight"), shape.to_vec()));
        tensors.push((format!("{name}.bias"), vec![shape[0]]));
    };
    layer("embeddings.LayerNorm", &[4]);
    for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
        layer(&format!("encoder.layer.0.{name}"), &[4, 4]);
    }
    layer("encoder.layer.0.attention.output.LayerNorm", &[4]);
    layer("encoder.layer.0.intermediate.dense", &[8, 4]);
    layer("encoder.layer.0.output.dense", &[4, 8]);
    layer("encoder.layer.0.output.LayerNorm", &[4]);
    change(&mut tensors);
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        let count: usize = shape.iter().product();
        data.extend((0..count).flat_map(|number| (number as f32 / count as f32 - 0.4).to_le_bytes()));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
}

#[test]
fn the_same_weights_give_the_same_graph() {
    let onnx = bert_to_onnx(CONFIG.as_bytes(), &weights(|_| {})).unwrap();
    assert_eq!(onnx, bert_to_onnx(CONFIG.as_bytes(), &weights(|_| {})).unwrap());
    let prefixed = weights(|tensors| tensors.iter_mut().for_each(|(name, _)| *name = format!("bert.{name}")));
    assert_eq!(onnx, bert_to_onnx(CONFIG.as_bytes(), &prefixed).unwrap(), "as some exporters name them");
    let has = |text: &str| onnx.windows(text.len()).any(|window| window == text.as_bytes());
    for name in ["input_ids", "attention_mask", "token_type_ids", "last_hidden_state", "MatMulInteger", "DynamicQuantizeLinear"] {
        assert!(has(name), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |config: &str, weights: &[u8]| bert_to_onnx(config.as_bytes(), weights).unwrap_err();
    let good = weights(|_| {});
    let gone = weights(|tensors| tensors.retain(|(name, _)| name != "encoder.layer.0.output.dense.weight"));
    assert_eq!(refused(CONFIG, &gone), ConvertError::Missing { name: "encoder.layer.0.output.dense.weight".to_owned() });
    let turned = weights(|tensors| tensors[0].1.reverse());
    assert!(matches!(refused(CONFIG, &turned), ConvertError::Shape { name, .. } if name == "embeddings.word_embeddings.weight"));
    let huge = CONFIG.replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1000000");
    for (from, to) in
        [("\"bert\"", "\"gpt2\""), ("\"gelu\"", "\"relu\""), ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3")]
    {
        assert!(matches!(refused(&CONFIG.replace(from, to), &good), ConvertError::Config(_)), "{to}");
    }
    assert!(matches!(refused(&huge, &good), ConvertError::Config(_)));
    let sized = |name: &str, size: &str| {
        let mut config: Map<String, serde_json::Value> = serde_json::from_str(CONFIG).unwrap();
        config.insert(name.to_owned(), serde_json::from_str(size).unwrap());
        refused(&serde_json::to_string(&config).unwrap(), &good)
    };
    for (name, size) in
        [("hidden_size", "0"), ("hidden_size", "1000000000"), ("intermediate_size", "1000000000"), ("vocab_size", "-1")]
    {
        assert!(matches!(sized(name, size), ConvertError::Config(_)), "{name} {size}");
    }
    // What the config promises is compared with the file before any memory is asked for.
    for name in ["vocab_size", "max_position_embeddings", "type_vocab_size"] {
        assert!(matches!(sized(name, "18446744073709551615"), ConvertError::Shape { .. }), "{name}");
    }
    let mut no_number = good.clone();
    let end = no_number.len();
    no_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(refused(CONFIG, &no_number), ConvertError::Weights(problem) if problem.contains("output.LayerNorm.bias")));
    for damaged in [&b""[..], &[255; 64], &good[..good.len() - 4]] {
        assert!(matches!(refused(CONFIG, damaged), ConvertError::Weights(_)));
    }
}
