//! The official MCP conformance suite against the built binary, for both eras, with strict baselines: an unlisted failure fails, and so does
//! a listed one that passes. The suite itself compares; this program starts the server and reads what the suite says.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(clippy::disallowed_methods, reason = "starts the suite and reads its arguments; it is no part of the product")]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use pegboard_tests::report::{Checks, holds};
use pegboard_tests::server::{Home, Server};

const ERAS: &[&str] = &["2025-11-25", "2026-07-28"];

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
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).with_context(|| format!("`{flag}` is missing"))?;
        arguments.get(at + 1).map(PathBuf::from).with_context(|| format!("`{flag}` has no value"))
    };
    let (node, baselines, reports) = (value("--node")?, value("--baselines")?, value("--reports")?);
    let suite = node.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let mut checks = Checks::default();
    if !suite.exists() {
        checks.could_not_run("conformance", "the suite is not installed");
        return Ok(checks.conclude());
    }
    for era in ERAS {
        let home = Home::with(&["probe"])?;
        let (server, address) = Server::http(&home, &[])?;
        let mut command = Command::new("node");
        command.arg(&suite).args(["server", "--url", &format!("http://{address}/mcp"), "--requirements", era]);
        command.arg("--expected-failures").arg(baselines.join(format!("{era}.yml")));
        command.arg("-o").arg(reports.join(era)).stdin(Stdio::null());
        let output = command.output().context("cannot start the suite")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let summary = out.find("=== SUMMARY").map_or("no summary", |at| &out[at..]);
        println!("--- {era}\n{summary}\n{err}");
        // A suite that ran nothing would be content with anything.
        let ran = out.lines().any(|line| line.contains("tools-list"));
        checks.check(
            format!("conformance {era}"),
            holds(output.status.success() && ran, format!("{}; its server's log:\n{}", output.status, server.log_end())),
        );
    }
    Ok(checks.conclude())
}
