//! `serve` over standard input and output: nothing but the protocol on stdout, exit 0 at the end of input, grants that take effect.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::run::{Home, Run};

/// A stdio client with just enough of the protocol.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    next: u64,
}

impl Client {
    fn start(home: &Home, args: &[&str]) -> Self {
        Self::of(home.run(&[&["serve"], args].concat()))
    }

    /// A client of this run of `serve`.
    pub(crate) fn of(run: Run) -> Self {
        let mut child = run.start();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut client = Self { child, input, lines: BufReader::new(output), next: 0 };
        let client_info = json!({"name": "test", "version": "1"});
        let answer =
            client.ask("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info}));
        assert_eq!(answer["result"]["serverInfo"]["name"], "pegboard", "{answer}");
        client.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn tell(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
    }

    /// Asks, and reads past notifications to the answer; every line must be a JSON-RPC message.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        self.tell(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the server went away");
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: not protocol: {line:?}"));
            assert_eq!(message["jsonrpc"], "2.0", "{line}");
            if message["id"] == self.next {
                return message;
            }
        }
    }

    /// The next line of the log; waits for it.
    pub(crate) fn log_line(&mut self) -> String {
        let mut line = String::new();
        let log = self.child.stderr.as_mut().unwrap();
        // Unbuffered, so that nothing is taken that `end` would read.
        let mut byte = [0];
        while !line.ends_with('\n') && std::io::Read::read(log, &mut byte).unwrap() == 1 {
            line.push(char::from(byte[0]));
        }
        line
    }

    fn tools(&mut self) -> Vec<String> {
        let answer = self.ask("tools/list", json!({}));
        answer["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Closes the input and expects a clean end with nothing more on stdout.
    pub(crate) fn end(mut self) -> String {
        drop(self.input);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        for line in rest.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "not protocol: {line:?}");
        }
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut log).unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

#[test]
fn only_the_protocol_is_on_stdout() {
    let home = Home::with_plain();
    let mut client = Client::start(&home, &["--log", "trace"]);
    let tools = client.tools();
    assert!(tools.contains(&"plain__echo".to_owned()), "{tools:?}");
    let answer = client.ask("tools/call", json!({"name": "plain__echo", "arguments": {"text": "hello"}}));
    assert_eq!(answer["result"]["structuredContent"]["text"], "hello", "{answer}");
    let log = client.end();
    assert!(log.contains("pegboard serves"), "{log}");
}

#[test]
fn a_refused_start_leaves_stdout_empty() {
    let home = Home::with_plain();
    for (args, code) in [
        (&["serve", "--no-such-flag"][..], 2),
        (&["serve", "--no-such-flag", "--json"], 2),
        (&["serve", "--plugins", "nowhere"], 5),
        (&["serve", "--plugins", "nowhere", "--json"], 5),
        (&["serve", "--http", "0.0.0.0:0"], 2),
        (&["serve", "--http", "not-an-address"], 2),
        (&["serve", "--http", "127.0.0.1:0", "--token-file", "nowhere.yaml"], 2),
        (&["serve", "--log", "a=b=c"], 2),
    ] {
        let ended = home.run(args).ends(code);
        assert_eq!(ended.stdout, "", "{args:?}");
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
    let ended = home.run(&["serve", "--plugins", "nowhere", "--json"]).ends(5);
    let document: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["code"], "plugins.not_found");
}

#[test]
fn a_broken_grants_file_refuses_the_start() {
    let home = Home::with_plain();
    home.configure("grants.yaml", "grants: nonsense\n");
    home.run(&["serve"]).ends(2);
    home.configure("grants.yaml", "grants: []\n");
    Client::start(&home, &[]).end();
}

#[test]
fn a_grant_takes_effect_without_a_restart() {
    let home = Home::with_needy();
    let data = home.data().display().to_string();
    let mut client = Client::start(&home, &[]);
    assert!(!client.tools().contains(&"needy__look".to_owned()));
    home.run(&["grant", "needy", "network_access", &format!("file_system_read={data}"), "--yes"]).ends(0);
    home.run(&["secret", "set", "needy", "API_KEY"]).stdin("value").ends(0);
    wait(|| client.tools().contains(&"needy__look".to_owned()));
    home.run(&["revoke", "needy", "network_access"]).ends(0);
    wait(|| !client.tools().contains(&"needy__look".to_owned()));
    client.end();
}

#[test]
fn frozen_follows_no_change() {
    let home = Home::with_needy();
    let mut client = Client::start(&home, &["--frozen"]);
    home.plugin("late", crate::run::PLAIN, crate::run::PLAIN_CODE);
    let before = client.tools();
    // Positive control: a server that is not frozen sees the new plugin, and then the frozen one still does not.
    let mut other = Client::start(&home, &[]);
    home.run(&["revoke", "needy"]).ends(5);
    wait(|| other.tools().contains(&"plain__echo".to_owned()));
    assert_eq!(client.tools(), before);
    other.end();
    client.end();
}

#[test]
fn the_search_view_shows_search_and_pins() {
    let home = Home::with_plain();
    let mut client = Client::start(&home, &["--view", "search", "--pin", "plain__echo"]);
    let tools = client.tools();
    assert!(tools.contains(&"search_tools".to_owned()) && tools.contains(&"plain__echo".to_owned()), "{tools:?}");
    assert!(!tools.contains(&"plain__fail".to_owned()), "{tools:?}");
    client.end();
}

/// Asks again until it is so; the deadline only ends a test that has failed.
#[track_caller]
fn wait(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn a_server_that_is_added_appears_without_a_restart_and_goes_when_it_is_removed() {
    let home = Home::new();
    let folder = home.server("notes", &crate::upstream::benign());
    let mut client = Client::start(&home, &[]);
    let listed = |client: &mut Client| client.tools().contains(&"notes__list_notes".to_owned());
    assert!(!listed(&mut client));
    home.add("notes", &[], &folder, &[]).ends(0);
    wait(|| listed(&mut client));
    let called = client.ask("tools/call", json!({"name": "notes__list_notes", "arguments": {}}));
    assert!(called.to_string().contains("list_notes") && called["result"]["isError"] != true, "{called}");
    home.run(&["remove", "notes"]).ends(0);
    wait(|| !listed(&mut client));
    client.end();
}
