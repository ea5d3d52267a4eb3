//! The shared engine: one for fifty clients, begun once by fifty at the same moment, never of another version, gone when nobody needs it.
//!
//! An engine outlives its starter, so each test stops its own, also when it fails.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::run::{Home, mode};

/// A home whose engines end with it.
struct Board(Home);

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.0.run(&["engine", "stop"]).env("XDG_RUNTIME_DIR", &runtime(&self.0)).end();
    }
}

fn runtime(home: &Home) -> String {
    let folder = home.path().join("run");
    std::fs::create_dir_all(&folder).unwrap();
    folder.display().to_string()
}

impl Board {
    fn new() -> Self {
        Self(Home::with_plain())
    }

    fn run(&self, args: &[&str]) -> crate::run::Run {
        self.0.run(args).env("XDG_RUNTIME_DIR", &runtime(&self.0))
    }

    fn engines(&self) -> Vec<Value> {
        self.run(&["engine", "status", "--json"]).ends(0).json()["engines"].as_array().unwrap().clone()
    }

    fn socket(&self) -> String {
        self.run(&["engine", "start", "--json"]).ends(0).json()["socket"].as_str().unwrap().to_owned()
    }
}

/// A stdio client of `serve --shared`.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Client {
    fn start(board: &Board, extra: &[&str]) -> Self {
        let mut child = board.run(&[&["serve", "--shared"], extra].concat()).start();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, lines: BufReader::new(output) }
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let meta =
            json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
        let mut params = params.clone();
        params["_meta"] = meta;
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut log = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("{error}: {line:?}, {log}")
        })
    }

    fn echo(&mut self, text: &str) -> Value {
        let answer = self.ask("tools/call", &json!({"name": "plain__echo", "arguments": {"text": text}}));
        answer["result"]["structuredContent"]["text"].clone()
    }

    fn end(&mut self) -> i32 {
        self.input = None;
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn fifty_clients_at_once_begin_one_engine_and_share_it() {
    let board = Board::new();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::start(&board, &[])).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.echo(&format!("n{number}")), format!("n{number}"));
    }
    let engines = board.engines();
    assert_eq!(engines.len(), 1, "{engines:?}");
    assert_eq!(engines[0]["engine"]["connections"], 50, "{engines:?}");
    let pid = engines[0]["engine"]["pid"].as_u64().unwrap();
    // Nobody's child: a client that ends everything below itself must not end what the others use.
    let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: u32 = parent.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(clients.iter().all(|client| client.child.id() != parent), "{parent}");
    for client in &mut clients {
        assert_eq!(client.end(), 0);
    }
    until("no connection", || board.engines()[0]["engine"]["connections"] == 0);
    board.run(&["engine", "stop"]).ends(0);
    assert!(!Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid));
    assert!(board.engines().is_empty());
}

fn is_zombie(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.rsplit_once(')').unwrap().1.starts_with(" Z"))
}

#[test]
fn a_client_is_shown_the_view_it_asks_for() {
    let board = Board::new();
    let names = |extra: &[&str]| {
        let mut client = Client::start(&board, extra);
        let answer = client.ask("tools/list", &json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&[]).contains(&"plain__echo".to_owned()));
    let search = names(&["--view", "search"]);
    assert!(search.contains(&"call_tool".to_owned()) && !search.contains(&"plain__echo".to_owned()), "{search:?}");
    assert_eq!(board.engines().len(), 1);
}

#[test]
fn only_the_user_can_reach_the_socket() {
    let board = Board::new();
    let socket = board.socket();
    assert_eq!(mode(Path::new(&socket)), 0o600);
    assert_eq!(mode(Path::new(&socket).parent().unwrap()), 0o700);
    // A folder that others can enter is refused rather than mended: whose sockets are in it is unknown.
    let open = board.0.path().join("open");
    std::fs::create_dir_all(open.join("pegboard")).unwrap();
    let open_mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(open.join("pegboard"), open_mode).unwrap();
    let ended = board.0.run(&["engine", "start", "--json"]).env("XDG_RUNTIME_DIR", open.to_str().unwrap()).ends(4);
    assert_eq!(ended.json()["error"]["code"], "engine.folder");
}

#[test]
fn another_version_is_not_joined() {
    let board = Board::new();
    let socket = board.socket();
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // In one piece: it may close after the first line.
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        reader.read_line(&mut answer).unwrap();
        let mut rest = String::new();
        if serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer["refused"].is_string()) {
            reader.read_to_string(&mut rest).unwrap();
        }
        (serde_json::from_str::<Value>(&answer).unwrap_or_default(), rest)
    };
    let version = env!("CARGO_PKG_VERSION");
    let (refused, rest) = ask(r#"{"pegboard": 1, "want": "join", "version": "0.0.9"}"#);
    assert!(refused["refused"].as_str().unwrap().contains("0.0.9"), "{refused}");
    assert_eq!(rest, "");
    let (joined, _) = ask(&json!({"pegboard": 1, "want": "join", "version": version}).to_string());
    assert!(joined["refused"].is_null() && joined["engine"]["version"] == version, "{joined}");
    let (nothing, _) = ask("GET / HTTP/1.1\r\n\r\n");
    assert!(nothing.is_null(), "{nothing}");
    // It survived that.
    assert_eq!(ask(&json!({"pegboard": 1, "want": "join", "version": version}).to_string()).0["engine"]["version"], version);
}

#[test]
fn another_configuration_is_another_engine() {
    let board = Board::new();
    let first = board.socket();
    assert_eq!(board.socket(), first);
    board.0.configure("pegboard.toml", "view = \"search\"\n");
    assert_ne!(board.socket(), first);
    assert_eq!(board.engines().len(), 2);
    board.run(&["engine", "stop"]).ends(0);
    assert!(board.engines().is_empty());
}

#[test]
fn it_ends_when_nobody_needs_it_and_not_before() {
    let board = Board::new();
    board.0.configure("pegboard.toml", "[engine]\nidle_seconds = 1\n");
    let mut client = Client::start(&board, &[]);
    assert_eq!(client.echo("a"), "a");
    let engine = board.engines()[0].clone();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.echo("b"), "b", "it is used");
    assert_eq!(client.end(), 0);
    let pid = engine["engine"]["pid"].as_u64().unwrap();
    until("the engine's end", || !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid));
    assert!(!Path::new(engine["socket"].as_str().unwrap()).exists());
    assert_eq!(Client::start(&board, &[]).echo("c"), "c", "the next client begins another");
}

#[test]
fn a_killed_engine_is_told_to_its_clients_and_replaced() {
    let board = Board::new();
    let mut client = Client::start(&board, &[]);
    assert_eq!(client.echo("a"), "a");
    let pid = board.engines()[0]["engine"]["pid"].to_string();
    assert!(std::process::Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status().unwrap().success());
    let status = client.child.wait().unwrap();
    assert_eq!(status.code(), Some(11));
    let mut log = String::new();
    client.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("the engine ended while this client was connected"), "{log}");
    assert_eq!(Client::start(&board, &[]).echo("b"), "b");
}

#[test]
fn what_stops_an_engine_is_told_to_the_client() {
    let board = Board::new();
    board.0.configure("grants.yaml", "grants: [[[\n");
    let mut client = Client::start(&board, &[]);
    assert_eq!(client.end(), 6);
    let mut log = String::new();
    client.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("grants.yaml"), "{log}");
}

#[test]
fn an_owned_engine_dies_with_its_owner() {
    let board = Board::new();
    let mut child = board.run(&["engine", "run", "--owned"]).start();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let socket = ready["socket"].as_str().unwrap().to_owned();
    assert!(UnixStream::connect(&socket).is_ok());
    assert!(board.engines().is_empty(), "nobody else joins it");
    // The kernel closes the pipe of a killed owner; closing it is the same event.
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_runtime_folder_that_is_too_deep_for_a_socket_is_not_used() {
    let board = Board::new();
    let deep = board.0.path().join("a".repeat(80));
    std::fs::create_dir_all(&deep).unwrap();
    let started = board.0.run(&["engine", "start", "--json"]).env("XDG_RUNTIME_DIR", deep.to_str().unwrap()).ends(0);
    let socket = started.json()["socket"].as_str().unwrap().to_owned();
    assert!(!socket.starts_with(deep.to_str().unwrap()) && socket.len() < 108, "{socket}");
    board.0.run(&["engine", "stop"]).env("XDG_RUNTIME_DIR", deep.to_str().unwrap()).ends(0);
}
