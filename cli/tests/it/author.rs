//! `init`, `test`, `dev`: from nothing to a plugin of one's own, checked, tested and live.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::run::{BINARY, Home, PLAIN, PLAIN_CODE};

#[test]
fn what_init_writes_validates_and_tests_green_as_it_stands() {
    let home = Home::new();
    let written = home.run(&["init", "word_tools", "--author", "Ada: <ada@example.org>", "--json"]).ends(0).json();
    assert_eq!(written["files"], json!([".pegboardignore", "README.md", "main.py", "plugin.yaml", "tests/test_main.py"]));
    home.run(&["validate", "word_tools"]).ends(0);
    let tested = home.run(&["test", "word_tools", "--junit", "report.xml", "--json"]).packages().ends(0).json();
    assert_eq!(tested["counts"], json!({"passed": 5, "failed": 0, "error": 0, "denied": 0, "skipped": 0}), "{tested}");
    let kinds: Vec<&str> = tested["tests"].as_array().unwrap().iter().map(|test| test["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["example", "code", "code", "code", "code"]);
    let xml = fs::read_to_string(home.path().join("report.xml")).unwrap();
    assert!(xml.contains("<testsuite name=\"word_tools.example\" tests=\"1\" failures=\"0\""), "{xml}");
    assert!(xml.contains("name=\"tests/test_main.py::test_words["), "{xml}");
    let called =
        home.run(&["call", "count_words", "--arg", "text=two words", "--json", "--plugins", "word_tools"]).ends(0).json();
    assert_eq!(called["structured"], json!({"words": 2, "lines": 1, "characters": 9}));
    // Nothing was left in the folder: a cache in it would make another plugin of it.
    let mut left: Vec<_> =
        fs::read_dir(home.path().join("word_tools")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".pegboardignore", "README.md", "main.py", "plugin.yaml", "tests"]);
    let packed = home.run(&["package", "word_tools", "--json"]).ends(0).json();
    assert_eq!(packed["left_out"], json!([".pegboardignore", "tests/"]));
}

#[test]
fn names_that_can_not_be_had_are_refused_by_init() {
    let home = Home::new();
    for (name, code, words) in [
        ("Word Tools", "plugin.name", "word_tools"),
        ("pegboard", "name.refused", "reserved"),
        ("pegb0ard_extra", "name.refused", "reserved"),
        ("tables", "name.taken", "part of Pegboard"),
        ("tab1es", "name.refused", "looks like `tables`"),
        ("time-tools", "name.refused", "looks like `time_tools`"),
    ] {
        let refused = home.run(&["init", name, "--json"]).ends(2).json();
        assert_eq!(refused["error"]["code"], code, "{refused}");
        assert!(refused["error"].to_string().contains(words), "{words}: {refused}");
        assert!(!home.path().join(name).exists());
    }
    home.run(&["init", "mine", "--base-image", "x"]).ends(2);
    home.run(&["init", "mine", "--author", "two\nlines"]).ends(2);
    home.run(&["init", "mine"]).ends(0);
    assert_eq!(home.run(&["init", "mine", "--json"]).ends(2).json()["error"]["code"], "init.not_empty");
}

/// Echo with examples of every kind.
fn examples(list: &str) -> String {
    PLAIN.replace("    annotations: {read_only", &format!("    examples: [{list}]\n    annotations: {{read_only"))
}

#[test]
fn an_example_that_does_not_hold_fails_with_the_place() {
    let home = Home::new();
    let list = "{query: right, args: {text: a}, result: {text: a, tags: []}}, {query: wrong, args: {text: a, times: 2}, result: {text: a, tags: []}}, {query: only words}";
    home.plugin("plain", &examples(list), PLAIN_CODE);
    let ended = home.run(&["test", "plugins/plain", "--json"]).ends(1).json();
    assert_eq!(ended["counts"], json!({"passed": 1, "failed": 1, "error": 0, "denied": 0, "skipped": 1}));
    assert_eq!(ended["tests"][1]["message"], "result.text: expected \"a\", found \"aa\"");
    assert_eq!(ended["error"]["code"], "test.failed");
    let table = home.run(&["test", "plugins/plain"]).ends(1).stdout;
    assert!(
        table.contains("failed") && table.contains("echo: wrong") && table.contains("1 passed, 1 failed, 1 skipped"),
        "{table}"
    );
    // What is left out is not tested, and nothing to test is no success.
    assert_eq!(home.run(&["test", "plugins/plain", "--only", "code", "--json"]).ends(5).json()["error"]["code"], "test.nothing");
    let broken = home.plugin("plain", &PLAIN.replace("description: Always", "descripton: Always"), PLAIN_CODE);
    assert_eq!(home.run(&["test", &broken.display().to_string(), "--json"]).ends(3).json()["error"]["code"], "manifest.invalid");
}

#[test]
fn examples_of_a_plugin_without_its_keys_are_denied() {
    let home = Home::with_needy();
    let manifest = format!("{}    examples: [{{query: look, args: {{}}}}]\n", crate::run::NEEDY);
    home.plugin("needy", &manifest, crate::run::NEEDY_CODE);
    let denied = home.run(&["test", "plugins/needy", "--json"]).ends(4).json();
    assert_eq!((&denied["error"]["code"], &denied["counts"]["denied"]), (&json!("test.denied"), &json!(1)), "{denied}");
}

/// Tests that try what a plugin may not: each passes when it is refused. The last is the control.
const ATTACKS: &str = r#"
import os
import socket
import subprocess
from pathlib import Path

import pytest

SECRET = Path("@SECRET@")


def test_a_file_of_the_host_is_out_of_reach():
    with pytest.raises(OSError):
        SECRET.read_text()


def test_the_network_is_out_of_reach():
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", @PORT@), timeout=2)


def test_no_program_is_started():
    with pytest.raises(OSError):
        subprocess.run(["/bin/sh", "-c", "true"], check=True)


def test_the_folder_is_not_written():
    with pytest.raises(OSError):
        (Path(__file__).parent / "written").write_text("x")


def test_the_environment_is_empty():
    assert "PEGBOARD_HOME" not in os.environ and "CANARY" not in os.environ


def test_its_own_room_is_there(tmp_path):
    (tmp_path / "a").write_text("x")
    assert (tmp_path / "a").read_text() == "x"
    assert Path(__file__).with_name("test_attacks.py").is_file()
"#;

#[test]
fn the_plugins_own_tests_run_behind_its_walls() {
    let home = Home::new();
    let folder = home.plugin("plain", PLAIN, PLAIN_CODE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The control: outside of the walls all of it can be done.
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let secret = home.path().join("secret.txt");
    fs::write(&secret, "s3cret").unwrap();
    let tests = ATTACKS.replace("@SECRET@", &secret.display().to_string()).replace("@PORT@", &port.to_string());
    fs::create_dir(folder.join("tests")).unwrap();
    fs::write(folder.join("tests/test_attacks.py"), tests).unwrap();
    let ended = home.run(&["test", "plugins/plain", "--json"]).packages().env("CANARY", "x").ends(0).json();
    assert_eq!(ended["counts"]["passed"], 6, "{ended}");
    let mixed = "import main\n\ndef test_fails():\n    print('said')\n    assert main.Echo()._run('a')['text'] == 'b'\n\ndef test_errs(nothing):\n    pass\n";
    fs::write(folder.join("tests/test_attacks.py"), mixed).unwrap();
    fs::write(folder.join("tests/test_broken.py"), "import nowhere_to_be_found\n").unwrap();
    let ended = home.run(&["test", "plugins/plain", "--json"]).packages().ends(1).json();
    assert_eq!(
        ended["counts"]["error"].as_u64().unwrap() + ended["counts"]["failed"].as_u64().unwrap(),
        1,
        "not collected: {ended}"
    );
    assert!(ended["tests"][0]["detail"].as_str().unwrap().contains("nowhere_to_be_found"), "{ended}");
    fs::remove_file(folder.join("tests/test_broken.py")).unwrap();
    let ended = home.run(&["test", "plugins/plain", "--json"]).packages().ends(1).json();
    assert_eq!((&ended["counts"]["failed"], &ended["counts"]["error"]), (&json!(1), &json!(1)), "{ended}");
    let failed = &ended["tests"][0];
    assert!(
        failed["detail"].as_str().unwrap().contains("test_attacks.py:5") && failed["detail"].as_str().unwrap().contains("said"),
        "{failed}"
    );
    let chosen = home.run(&["test", "plugins/plain", "--json", "--", "-k", "nothing_is_called_so"]).packages().ends(5).json();
    assert_eq!(chosen["error"]["code"], "test.nothing");
    fs::write(folder.join("tests/test_attacks.py"), "import time\n\ndef test_slow():\n    time.sleep(600)\n").unwrap();
    let slow = home.run(&["test", "plugins/plain", "--timeout", "2", "--json"]).packages().ends(6).json();
    assert!(slow["error"]["message"].as_str().unwrap().contains("longer than 2 s"), "{slow}");
}

/// `pegboard dev`, with its events as they come.
struct Dev {
    child: Child,
    events: std::sync::mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Dev {
    fn start(home: &Home, folder: &str) -> Self {
        let mut child = home.run(&["dev", folder, "--http", "127.0.0.1:0", "--json"]).start();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, events, seen: Vec::new() }
    }

    /// The next event that fits; those before it are gone.
    #[track_caller]
    fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|_| panic!("{what}: {:?}", self.seen));
            self.seen.push(event.clone());
            if fits(&event) {
                return event;
            }
        }
    }

    #[track_caller]
    fn event(&mut self, name: &str) -> Value {
        self.wait(name, |event| event["event"] == name)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request of the stateless era.
fn post(url: &str, tool: &str, args: &Value) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": args, "_meta": meta}})
            .to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn dev_shows_each_change_and_each_call_as_it_happens() {
    let home = Home::new();
    home.run(&["init", "word_tools"]).ends(0);
    let folder = home.path().join("word_tools");
    let mut dev = Dev::start(&home, "word_tools");
    assert_eq!(dev.event("checked")["valid"], true);
    let url = dev.event("listening")["url"].as_str().unwrap().to_owned();
    dev.event("loaded");
    let answer = post(&url, "word_tools__count_words", &json!({"text": "a b c"}));
    assert!(answer.contains("\"words\":3"), "{answer}");
    assert_eq!(dev.event("call")["args"], json!({"text": "a b c"}));
    assert_eq!(dev.event("ended")["structured"]["words"], 3);
    // Code: live at once, with its log.
    let code = fs::read_to_string(folder.join("main.py")).unwrap();
    fs::write(folder.join("main.py"), code.replace("        return {", "        print('counting')\n        return {")).unwrap();
    dev.event("loaded");
    post(&url, "word_tools__count_words", &json!({"text": "x"}));
    assert_eq!(dev.event("log")["message"], "counting");
    assert_eq!(dev.event("ended")["outcome"], "completed");
    // A mistake in the code is seen when it is saved, with its line.
    fs::write(folder.join("main.py"), code.replace("class CountWords:", "import nowhere_to_be_found\n\n\nclass CountWords:"))
        .unwrap();
    let failed = dev.event("not_loaded");
    assert!(
        failed["detail"].as_str().unwrap().contains("main.py") && failed.to_string().contains("nowhere_to_be_found"),
        "{failed}"
    );
    fs::write(folder.join("main.py"), &code).unwrap();
    dev.event("loaded");
    // A mistake in the manifest: its place at once, and no tool is served until it is mended.
    let manifest = fs::read_to_string(folder.join("plugin.yaml")).unwrap();
    fs::write(folder.join("plugin.yaml"), manifest.replace("class_name: CountWords", "clas_name: CountWords")).unwrap();
    let checked = dev.wait("the mistake", |event| event["event"] == "checked" && event["valid"] == false);
    let line = manifest.lines().position(|line| line.contains("class_name: CountWords")).unwrap() + 1;
    let unknown = checked["errors"].as_array().unwrap().iter().find(|error| error["code"] == "manifest.unknown_key").unwrap();
    assert_eq!(unknown["line"], line, "{checked}");
    assert!(checked["elapsed_ms"].as_f64().unwrap() < 250.0, "{checked}");
    dev.wait("not served", |event| event["event"] == "live" && event["state"] == "broken");
    fs::write(folder.join("plugin.yaml"), manifest.replace("name: count_words", "name: tally")).unwrap();
    let live = dev.wait("the new name", |event| event["event"] == "live" && event["state"] == "served");
    assert_eq!(live["tools"], json!(["word_tools__tally"]));
    let answer = post(&url, "word_tools__tally", &json!({"text": 7}));
    assert!(answer.contains("expected"), "{answer}");
    assert_eq!(dev.event("ended")["outcome"], "bad_arguments");
    // For people, without colours where there is no terminal.
    let mut people = std::process::Command::new(BINARY);
    people.args(["dev", "word_tools", "--stdio", "--home"]).arg(home.path()).current_dir(home.path());
    let mut child = people.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdin.take());
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(told.contains("ok word_tools 0.1.0, 1 tool") && !told.contains('\u{1b}'), "{told}");
    assert_eq!(home.run(&["dev", "nowhere", "--json"]).ends(5).json()["error"]["code"], "manifest.not_found");
}

/// A wheel of one module, as small as one can be.
const WHEEL: &str = r#"
import base64, hashlib, sys, zipfile
target = sys.argv[1] + "/tiny_wheel-1.0-py3-none-any.whl"
files = {"tiny_wheel.py": "VALUE = 41\n",
         "tiny_wheel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n",
         "tiny_wheel-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
record = "".join(f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
                 for name, text in files.items())
files["tiny_wheel-1.0.dist-info/RECORD"] = record + "tiny_wheel-1.0.dist-info/RECORD,,\n"
with zipfile.ZipFile(target, "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
print(hashlib.sha256(open(target, "rb").read()).hexdigest())
"#;

/// Runs the program in a namespace without an interface, in a home that never saw an index; what it says, on both streams.
fn cut_off(fresh: &tempfile::TempDir, uv: Option<&Path>, args: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new("unshare");
    // As root the walls need the users that root has; anybody else makes a namespace of their own.
    let as_root = std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let namespaces: &[&str] = if as_root { &["--net"] } else { &["--user", "--map-current-user", "--net"] };
    command.args(namespaces).arg(BINARY).args(args).arg("--home").arg(fresh.path()).env_clear();
    let path = std::env::var_os("PATH").unwrap();
    let without = std::env::split_paths(&path).filter(|folder| !folder.join("uv").exists());
    let path = std::env::join_paths(uv.map(Path::to_owned).into_iter().chain(without)).unwrap();
    command.env("PATH", path).env("HOME", fresh.path()).env("PEGBOARD_NO_BUNDLED", "true");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_vendored_package_installs_with_the_network_cut() {
    let home = Home::new();
    let index = home.path().join("index");
    fs::create_dir(&index).unwrap();
    let made = std::process::Command::new("python3").args(["-c", WHEEL]).arg(&index).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let hash = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let manifest = format!("{PLAIN}dependencies: [{{name: tiny-wheel, version: \"==1.0\"}}]\n");
    let code = "import tiny_wheel\n\n\nclass Echo:\n    def _run(self, text, times=1, tags=None):\n        return {'text': text, 'value': tiny_wheel.VALUE + 1}\n\n\nclass Fail(Echo):\n    pass\n";
    let folder = home.plugin("plain", &manifest, code);
    fs::write(folder.join("requirements.lock"), format!("tiny-wheel==1.0 --hash=sha256:{hash}\n")).unwrap();
    let links = index.display().to_string();
    let pack = |args: &[&str]| home.run(args).env("PIP_FIND_LINKS", &links).env("PIP_NO_INDEX", "1");
    let packed = pack(&["package", "plugins/plain", "--vendor", "-o", "whole.zip", "--json"]).ends(0).json();
    assert_eq!(packed["wheels"], json!(["tiny_wheel-1.0-py3-none-any.whl"]), "{packed}");
    let plain = pack(&["package", "plugins/plain", "-o", "plain.zip", "--json"]).ends(0).json();
    assert_eq!(plain["wheels"], Value::Null);
    assert!(!folder.join("wheels").exists(), "the author's folder is as it was");
    // Its own tests keep to the wheel of the lock, and bring uv into this home.
    fs::create_dir(folder.join("tests")).unwrap();
    fs::write(
        folder.join("tests/test_main.py"),
        "import main\n\ndef test_value():\n    assert main.Echo()._run('a')['value'] == 42\n",
    )
    .unwrap();
    let test = || home.run(&["test", "plugins/plain", "--only", "code", "--json"]).packages().env("UV_FIND_LINKS", &links);
    assert_eq!(test().ends(0).json()["counts"]["passed"], 1);
    let lock = fs::read_to_string(folder.join("requirements.lock")).unwrap();
    fs::write(folder.join("requirements.lock"), lock.replace(&hash, &"0".repeat(64))).unwrap();
    let refused = test().ends(6).json();
    assert!(refused["error"]["message"].as_str().unwrap().to_lowercase().contains("hash"), "{refused}");
    fs::write(folder.join("requirements.lock"), lock).unwrap();
    let uv = fs::read_dir(home.path().join("cache/tools")).unwrap().map(|entry| entry.unwrap().path().join("bin"));
    let uv = uv.into_iter().find(|folder| folder.join("uv").is_file()).unwrap();
    // Installed and called where no package can be had, by uv where it is at hand and by pip where it is not.
    for road in [Some(uv.as_path()), None] {
        let fresh = tempfile::tempdir().unwrap();
        let installed = cut_off(&fresh, road, &["install", &home.path().join("whole.zip").display().to_string(), "--yes"]);
        assert_eq!(installed.0, Some(0), "{road:?}: {}", installed.1);
        let (code, said) = cut_off(&fresh, road, &["call", "plain__echo", "--arg", "text=hi", "--json"]);
        assert_eq!(code, Some(0), "{road:?}: {said}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["structured"]["value"], 42);
        assert_eq!(fresh.path().join("cache/uv").exists(), road.is_some(), "by which road it was made");
        // The control: without the wheels inside there is no way to them.
        let fresh = tempfile::tempdir().unwrap();
        let installed = cut_off(&fresh, road, &["install", &home.path().join("plain.zip").display().to_string(), "--yes"]);
        assert_eq!(installed.0, Some(0), "{road:?}: {}", installed.1);
        let (code, said) = cut_off(&fresh, road, &["call", "plain__echo", "--arg", "text=hi", "--json"]);
        assert_ne!(code, Some(0), "{road:?}: {said}");
        assert!(said.contains("dependencies") || said.contains("uv"), "{said}");
    }
    // A wheel that is not the one of the lock is not put inside.
    fs::write(folder.join("requirements.lock"), format!("tiny-wheel==1.0 --hash=sha256:{}\n", "0".repeat(64))).unwrap();
    let refused = pack(&["package", "plugins/plain", "--vendor", "-o", "other.zip", "--json"]).ends(6).json();
    assert_eq!(refused["error"]["code"], "vendor.failed", "{refused}");
    assert!(!home.path().join("other.zip").exists());
}
