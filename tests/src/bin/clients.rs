//! The client matrix: MCP clients that others wrote, against the built binary, over every transport they speak.
//!
//! Each script of tests/clients reports what its client saw; every verdict is here. A client that is not installed could not run: that is
//! never a pass. A step that a client has no way to take must be declared here, so that a step cannot quietly stop being taken.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "starts clients and reads its arguments; it is no part of the product")]

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pegboard_tests::processes::wait_until;
use pegboard_tests::report::{Checks, equal, holds};
use pegboard_tests::server::{Home, Server, binary, fixtures};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(240);
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// The one-pixel image of tests/plugins/probe.
const PIXEL: &str = "6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0";
const LISTED: &[&str] = &[
    "text_analysis__text_statistics",
    "probe__echo",
    "probe__picture",
    "probe__count",
    "probe__fail",
    "slow__wait",
    "slow__ready",
];

/// Who runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Modern,
    LangChain,
    Node,
}

/// One client over one transport.
struct Case {
    script: &'static str,
    runner: Runner,
    transport: &'static str,
    mode: &'static str,
    /// The version that must be negotiated; `None` where the client does not tell.
    protocol: Option<&'static str>,
    /// Steps that the client has no way to take.
    cannot: &'static [&'static str],
}

const fn case(
    script: &'static str,
    runner: Runner,
    transport: &'static str,
    mode: &'static str,
    protocol: Option<&'static str>,
) -> Case {
    Case { script, runner, transport, mode, protocol, cannot: &[] }
}

const fn langchain(transport: &'static str) -> Case {
    let cannot = &["unknown_tool", "cancel", "list_changed"];
    Case { script: "langchain_client.py", runner: Runner::LangChain, transport, mode: "", protocol: None, cannot }
}

const fn stateless_fastmcp(transport: &'static str) -> Case {
    // It opens no subscription in the stateless era.
    Case { cannot: &["list_changed"], ..case("fastmcp_client.py", Runner::Modern, transport, "auto", Some(MODERN)) }
}

const CASES: &[Case] = &[
    case("sdk_client.py", Runner::Modern, "stdio", "auto", Some(MODERN)),
    case("sdk_client.py", Runner::Modern, "stdio", "legacy", Some(LEGACY)),
    case("sdk_client.py", Runner::Modern, "http", "auto", Some(MODERN)),
    case("sdk_client.py", Runner::Modern, "http", "legacy", Some(LEGACY)),
    stateless_fastmcp("stdio"),
    stateless_fastmcp("http"),
    case("fastmcp_client.py", Runner::Modern, "stdio", "legacy", Some(LEGACY)),
    case("fastmcp_client.py", Runner::Modern, "http", "legacy", Some(LEGACY)),
    langchain("stdio"),
    langchain("http"),
    langchain("sse"),
    case("sdk_v1.mjs", Runner::Node, "stdio", "", None),
    case("sdk_v1.mjs", Runner::Node, "http", "", Some(LEGACY)),
    case("sdk_v1.mjs", Runner::Node, "sse", "", None),
    case("sdk_v2.mjs", Runner::Node, "stdio", "auto", Some(MODERN)),
    case("sdk_v2.mjs", Runner::Node, "stdio", "legacy", Some(LEGACY)),
    case("sdk_v2.mjs", Runner::Node, "http", "auto", Some(MODERN)),
    case("sdk_v2.mjs", Runner::Node, "http", "legacy", Some(LEGACY)),
];

/// Where the clients are.
struct Tools {
    scripts: PathBuf,
    modern: PathBuf,
    langchain: PathBuf,
    node: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<u8> {
    let mut flags: HashMap<String, String> = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        flags.insert(flag, value);
    }
    let path = |flag: &str| flags.get(flag).map(PathBuf::from).with_context(|| format!("`{flag}` is missing"));
    let tools =
        Tools { scripts: path("--scripts")?, modern: path("--modern")?, langchain: path("--langchain")?, node: path("--node")? };
    let only = flags.get("--only").map(String::as_str).unwrap_or_default();
    let mut checks = Checks::default();
    for case in CASES {
        let name = [case.script, case.transport, case.mode].join(" ").trim().to_owned();
        if name.contains(only) {
            run_case(&mut checks, &tools, case, &name);
        }
    }
    if "inspector".contains(only) {
        inspect(&mut checks, &tools);
    }
    Ok(checks.conclude())
}

fn run_case(checks: &mut Checks, tools: &Tools, case: &Case, name: &str) {
    let began = Instant::now();
    let Some(command) = client_command(tools, case) else {
        checks.could_not_run(name, "the client is not installed");
        return;
    };
    match report_of(case, command) {
        Ok(report) => judge(checks, case, name, &report),
        Err(error) => checks.check(name, Err(format!("{error:#}"))),
    }
    println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
}

fn client_command(tools: &Tools, case: &Case) -> Option<Command> {
    let (program, script) = match case.runner {
        Runner::Modern => (tools.modern.clone(), tools.scripts.join(case.script)),
        Runner::LangChain => (tools.langchain.clone(), tools.scripts.join(case.script)),
        Runner::Node => (PathBuf::from("node"), tools.node.join(case.script)),
    };
    let installed = script.exists() && (program.is_absolute() && program.exists() || case.runner == Runner::Node);
    let mut command = Command::new(program);
    if case.runner != Runner::Node {
        command.arg("-B");
    }
    command.arg(script);
    installed.then_some(command)
}

/// Starts what the case needs, runs the script, and reads its report.
fn report_of(case: &Case, mut command: Command) -> Result<Value> {
    let home = Home::with(&["probe", "slow", "text_analysis"])?;
    let mut order = json!({
        "transport": case.transport,
        "mode": case.mode,
        "grow_from": fixtures().join("late"),
        "grow_to": home.plugins().join("late"),
    });
    let mut running = None;
    if case.transport == "stdio" {
        let arguments: Vec<String> = std::iter::once("serve".to_owned()).chain(home.arguments()).collect();
        order["command"] = json!(binary()?);
        order["args"] = json!(arguments);
        order["env"] = json!({"PEGBOARD_LOG": "info"});
    } else {
        let (server, address) = Server::http(&home, &[])?;
        order["url"] = json!(format!("http://{address}/{}", if case.transport == "sse" { "sse" } else { "mcp" }));
        running = Some(server);
    }
    let (status, out, err) = output(command.arg(order.to_string()))?;
    let log = running.map(|server| server.log()).unwrap_or_default();
    if status != Some(0) {
        bail!("the script ended with {status:?}:\n{}\n{}", end_of(&err), end_of(&log));
    }
    serde_json::from_str(&out).with_context(|| format!("the script printed no report: {out:?}"))
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}

/// Exit code, stdout and stderr of a program that is stopped after the limit.
fn output(command: &mut Command) -> Result<(Option<i32>, String, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read(Box::new(child.stdout.take().context("no stdout")?));
    let err = read(Box::new(child.stderr.take().context("no stderr")?));
    let mut status = None;
    if !wait_until(LIMIT, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    }) {
        child.kill()?;
        status = Some(child.wait()?);
    }
    let texts = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    Ok((status.and_then(|status| status.code()), texts.0, texts.1))
}

/// Says whether what a client saw in one step is right.
type Verdict = fn(&Value) -> Result<(), String>;

fn judge(checks: &mut Checks, case: &Case, name: &str, report: &Value) {
    if let Some(protocol) = case.protocol {
        checks.check(format!("{name}: protocol"), equal(&report["protocol"], &json!(protocol)));
    }
    let steps: &[(&str, Verdict)] = &[
        ("tools", judge_tools),
        ("statistics", judge_statistics),
        ("echo", judge_echo),
        ("unknown_tool", judge_unknown_tool),
        ("bad_argument", judge_bad_argument),
        ("failure", judge_failure),
        ("image", judge_image),
        ("progress", judge_progress),
        ("cancel", judge_cancel),
        ("list_changed", judge_list_changed),
    ];
    for (step, verdict) in steps {
        let seen = &report[step];
        let can = seen.get("cannot").is_none();
        let label = format!("{name}: {step}");
        match (can, case.cannot.contains(step)) {
            (true, false) => checks.check(label, verdict(seen)),
            (false, true) => {}
            (true, true) => checks.check(label, Err("the client takes a step that is declared impossible".into())),
            (false, false) => checks.check(label, Err(format!("a step that is not declared impossible was not taken: {seen}"))),
        }
    }
    if case.script == "langchain_client.py" {
        checks.check(format!("{name}: held session"), equal(&report["held_session"], &json!({"lengths": [3, 6, 9]})));
    }
    if case.script == "fastmcp_client.py" {
        checks.check(format!("{name}: typed data"), judge_data(&report["data"]));
    }
}

fn judge_tools(seen: &Value) -> Result<(), String> {
    let names: Vec<&str> = seen.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let absent: Vec<&&str> = LISTED.iter().chain(&["search_tools"]).filter(|wanted| !names.contains(wanted)).collect();
    holds(absent.is_empty() && !names.contains(&"late__here"), format!("missing {absent:?} in {seen}"))
}

/// 17 words and 3 sentences: counted by hand in the text of tests/clients.
fn judge_statistics(seen: &Value) -> Result<(), String> {
    holds(
        seen["is_error"] == false && seen["structured"]["words"] == 17 && seen["structured"]["sentences"] == 3,
        seen.to_string(),
    )
}

fn judge_echo(seen: &Value) -> Result<(), String> {
    let expected = json!({"echo": "pegpeg", "length": 6});
    equal(&seen["structured"], &expected)?;
    // The same value as text, for clients that know no structured content.
    let text: Value =
        serde_json::from_str(seen["text"].as_str().unwrap_or_default()).map_err(|error| format!("text is not JSON: {error}"))?;
    equal(&text, &expected)?;
    equal(&seen["is_error"], &json!(false))
}

fn judge_data(seen: &Value) -> Result<(), String> {
    equal(seen, &json!({"echo": "pegpeg", "length": 6}))
}

fn judge_unknown_tool(seen: &Value) -> Result<(), String> {
    holds(seen["code"] == -32602 && seen["message"].as_str().is_some_and(|text| text.contains("no_such_tool")), seen.to_string())
}

fn judge_bad_argument(seen: &Value) -> Result<(), String> {
    let text = seen["text"].as_str().unwrap_or_default();
    let says = text.contains("text") && text.contains("string") && text.contains('5');
    holds(
        seen["is_error"] == true && seen["structured"].is_null() && says,
        format!("where, expected and found are not all told: {seen}"),
    )
}

fn judge_failure(seen: &Value) -> Result<(), String> {
    let says = seen["text"].as_str().is_some_and(|text| text.contains("the shelf is empty"));
    holds(seen["is_error"] == true && seen["structured"].is_null() && says, seen.to_string())
}

fn judge_image(seen: &Value) -> Result<(), String> {
    equal(&seen["images"], &json!([{"mime": "image/png", "bytes": 70, "sha256": PIXEL, "png": true}]))
}

fn judge_progress(seen: &Value) -> Result<(), String> {
    let steps: Vec<(f64, f64, &str)> = seen["seen"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            (step[0].as_f64().unwrap_or_default(), step[1].as_f64().unwrap_or_default(), step[2].as_str().unwrap_or_default())
        })
        .collect();
    equal(&steps, &vec![(1.0, 3.0, "step 1"), (2.0, 3.0, "step 2"), (3.0, 3.0, "step 3")])?;
    equal(&seen["result"]["structured"], &json!({"counted": 3}))
}

/// The plugin takes one call at a time: the next call answers soon only when the cancelled one was killed (it would have waited 40 s).
fn judge_cancel(seen: &Value) -> Result<(), String> {
    let soon = seen["next_seconds"].as_f64().is_some_and(|seconds| seconds < 10.0);
    holds(seen["gave_up"] == true && seen["next"]["structured"] == json!({"ready": true}) && soon, seen.to_string())
}

fn judge_list_changed(seen: &Value) -> Result<(), String> {
    holds(seen["tools"].as_array().is_some_and(|tools| tools.contains(&json!("late__here"))), seen.to_string())
}

/// The Inspector's command line: schemas checked with `--strict`, and a call, over each transport and era.
fn inspect(checks: &mut Checks, tools: &Tools) {
    let launcher = tools.node.join("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    if !launcher.exists() {
        checks.could_not_run("inspector", "the client is not installed");
        return;
    }
    for (transport, era) in [("stdio", "legacy"), ("stdio", "modern"), ("http", "legacy"), ("http", "modern"), ("sse", "legacy")]
    {
        let name = format!("inspector {transport} {era}");
        let began = Instant::now();
        if let Err(error) = inspect_one(checks, &launcher, transport, era, &name) {
            checks.check(&name, Err(format!("{error:#}")));
        }
        println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

fn inspect_one(checks: &mut Checks, launcher: &PathBuf, transport: &str, era: &str, name: &str) -> Result<()> {
    let home = Home::with(&["probe", "text_analysis"])?;
    let running = if transport == "stdio" { None } else { Some(Server::http(&home, &[])?) };
    let mut target: Vec<String> = Vec::new();
    match &running {
        None => {
            target.extend([binary()?.display().to_string(), "serve".into()]);
            target.extend(home.arguments());
            // What follows is the Inspector's own.
            target.extend(["--transport".into(), "stdio".into()]);
        }
        Some((_, address)) => {
            let path = if transport == "sse" { "sse" } else { "mcp" };
            target.extend([format!("http://{address}/{path}"), "--transport".into(), transport.into()]);
        }
    }
    if era == "modern" {
        target.extend(["--protocol-era".into(), "modern".into()]);
    }
    let ask = |question: &[&str]| {
        let mut command = Command::new("node");
        output(command.arg(launcher).arg("--cli").args(&target).args(question).args(["--format", "json"]))
    };
    let (status, out, err) = ask(&["--method", "initialize"])?;
    let version: Value = serde_json::from_str(&out).unwrap_or_default();
    let expected = json!(if era == "modern" { MODERN } else { LEGACY });
    checks.check(
        format!("{name}: protocol"),
        equal(&version["result"]["protocolVersion"], &expected).map_err(|why| format!("{why} {status:?} {}", end_of(&err))),
    );

    let (status, out, err) = ask(&["--method", "tools/list", "--strict"])?;
    let listed = LISTED.iter().filter(|tool| !tool.starts_with("slow")).all(|tool| out.contains(&format!("\"{tool}\"")));
    checks.check(
        format!("{name}: strict schemas"),
        holds(status == Some(0) && listed, format!("exit {status:?}, listed {listed}: {}", end_of(&err))),
    );

    let (status, out, err) = ask(&["--method", "tools/call", "--tool-name", "probe__echo", "--tool-arg", "text=peg", "times=2"])?;
    let result: Value = serde_json::from_str(&out).unwrap_or_default();
    let expected = json!({"echo": "pegpeg", "length": 6});
    checks.check(
        format!("{name}: call"),
        equal(&result["result"]["structuredContent"], &expected).map_err(|why| format!("{why} {status:?} {}", end_of(&err))),
    );

    // Exit code 5: an error result. The tool is there, its arguments are not.
    let (status, _, err) = ask(&["--method", "tools/call", "--tool-name", "probe__echo", "--tool-arg", "times=2"])?;
    checks.check(format!("{name}: bad argument"), equal(&status, &Some(5)).map_err(|why| format!("{why}: {}", end_of(&err))));
    Ok(())
}
