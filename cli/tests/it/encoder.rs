//! A sentence encoder of a few words, small enough for a test and whole enough for the real runtime. Words without a meaning of their own count
//! for nothing, so what a text is near to is known beforehand.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Length of its vectors: what the small models of the hub have.
pub(crate) const WIDTH: usize = 384;
const POSITIONS: usize = 160;
const INNER: usize = 8;

/// The library of the set-up.
pub(crate) fn onnxruntime() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/xtask/onnxruntime/onnxruntime/capi");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let library = files.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("libonnxruntime.so"));
    library.expect("the ONNX runtime is there after `cargo xtask setup`").canonicalize().unwrap()
}

/// The files that every model has beside its graph.
pub(crate) fn configs(words: &[&[&str]]) -> BTreeMap<&'static str, Vec<u8>> {
    let vocabulary: serde_json::Map<String, Value> =
        vocabulary(words).into_iter().enumerate().map(|(at, (word, _))| (word, json!(at))).collect();
    let special = |id: usize, word: &str| json!({"id": id, "special": true, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let token = |word: &str, id: usize| json!({"id": word, "ids": [id], "tokens": [word]});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    let config = config(words);
    let bytes = |value: Value| serde_json::to_vec(&value).unwrap();
    BTreeMap::from([
        ("tokenizer.json", bytes(tokenizer)),
        ("config.json", bytes(config)),
        (
            "special_tokens_map.json",
            bytes(json!({"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"})),
        ),
        (
            "tokenizer_config.json",
            bytes(json!({"model_max_length": 128, "pad_token": "[PAD]", "tokenizer_class": "BertTokenizer"})),
        ),
    ])
}

/// Its graph. Words of one group mean the same, and nothing that another group means.
pub(crate) fn graph(words: &[&[&str]]) -> Vec<u8> {
    index::onnx::bert_to_onnx(config(words).to_string().as_bytes(), &weights(words)).unwrap()
}

/// Writes a folder that `models install --from` takes.
pub(crate) fn write(folder: &Path, words: &[&[&str]]) {
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in configs(words) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    fs::write(folder.join("model.onnx"), graph(words)).unwrap();
}

fn config(words: &[&[&str]]) -> Value {
    json!({"model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 1,
        "num_attention_heads": 1, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "vocab_size": vocabulary(words).len(),
        "layer_norm_eps": 1e-12, "pad_token_id": 0})
}

/// Each word with its group.
fn vocabulary(words: &[&[&str]]) -> Vec<(String, Option<usize>)> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(|word| (word.to_owned(), None));
    let grouped =
        words.iter().enumerate().flat_map(|(group, words)| words.iter().map(move |word| ((*word).to_owned(), Some(group))));
    special.into_iter().chain(grouped).collect()
}

/// Every token looks at all others alike, so that each knows the mean of the text: the first one and the mean of all say the same.
pub(crate) fn weights(words: &[&[&str]]) -> Vec<u8> {
    let zeros = |count: usize| vec![0_f32; count];
    let identity = || (0..WIDTH * WIDTH).map(|at| f32::from(u8::from(at / WIDTH == at % WIDTH))).collect::<Vec<_>>();
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let embedded = vocabulary(words).into_iter().flat_map(|(_, group)| {
        let mut row = zeros(WIDTH);
        if let Some(group) = group {
            row[group] = 1.0;
        }
        row
    });
    tensors.push(("embeddings.word_embeddings.weight".into(), vec![vocabulary(words).len(), WIDTH], embedded.collect()));
    tensors.push(("embeddings.position_embeddings.weight".into(), vec![POSITIONS, WIDTH], zeros(POSITIONS * WIDTH)));
    tensors.push(("embeddings.token_type_embeddings.weight".into(), vec![2, WIDTH], zeros(2 * WIDTH)));
    for norm in ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"] {
        tensors.push((format!("{norm}.LayerNorm.weight"), vec![WIDTH], vec![1.0; WIDTH]));
        tensors.push((format!("{norm}.LayerNorm.bias"), vec![WIDTH], zeros(WIDTH)));
    }
    let layer = |part: &str| format!("encoder.layer.0.{part}");
    for (name, out, input, matrix) in [
        (layer("attention.self.query"), WIDTH, WIDTH, zeros(WIDTH * WIDTH)),
        (layer("attention.self.key"), WIDTH, WIDTH, zeros(WIDTH * WIDTH)),
        (layer("attention.self.value"), WIDTH, WIDTH, identity()),
        (layer("attention.output.dense"), WIDTH, WIDTH, identity()),
        (layer("intermediate.dense"), INNER, WIDTH, zeros(INNER * WIDTH)),
        (layer("output.dense"), WIDTH, INNER, zeros(INNER * WIDTH)),
    ] {
        tensors.push((format!("{name}.weight"), vec![out, input], matrix));
        tensors.push((format!("{name}.bias"), vec![out], zeros(out)));
    }
    safetensors(&tensors)
}

fn safetensors(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let (mut head, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, numbers) in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        head.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let head = serde_json::to_vec(&head).unwrap();
    [(head.len() as u64).to_le_bytes().to_vec(), head, data].concat()
}
