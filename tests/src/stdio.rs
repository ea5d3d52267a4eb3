//! A minimal MCP client over a child's stdin and stdout: lines of JSON out, lines of JSON in, with a limit on every wait.
//!
//! Hand-written, so that it can also send what a good client never would. Answers are matched by id; notifications are kept.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// One connection.
pub struct Connection {
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
    /// Notifications, and answers to requests that nobody waits for, in the order they came.
    pub heard: Vec<Value>,
    /// The longest wait for an answer.
    pub limit: Duration,
}

impl Connection {
    /// Takes over the pipes of a child.
    #[must_use]
    pub fn new(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { stdin: Some(stdin), lines, next_id: 0, heard: Vec::new(), limit: Duration::from_secs(60) }
    }

    /// The handshake of the eras before 2026-07-28.
    pub fn initialize(&mut self, version: &str) -> Result<Value> {
        let client = json!({"name": "pegboard-tests", "version": "1"});
        let answer =
            self.request("initialize", &json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client}))?;
        self.notify("notifications/initialized", &json!({}))?;
        Ok(answer)
    }

    /// Sends a request and waits for its answer: the whole message, with `result` or `error`.
    pub fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        let id = self.start(method, params)?;
        self.answer(id)
    }

    /// Calls a tool; the `result` of the answer.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        answer.get("result").cloned().with_context(|| format!("`{tool}` gave no result: {answer}"))
    }

    /// Sends a request without waiting; the id of its answer.
    pub fn start(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.next_id += 1;
        let id = self.next_id;
        self.send_line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string())?;
        Ok(id)
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: &Value) -> Result<()> {
        self.send_line(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string())
    }

    /// Sends a line as it is.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the input was closed")?;
        stdin.write_all(line.as_bytes())?;
        stdin.write_all(b"\n")?;
        Ok(stdin.flush()?)
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, id: u64) -> Result<Value> {
        if let Some(index) = self.heard.iter().position(|message| message["id"] == id) {
            return Ok(self.heard.remove(index));
        }
        self.next_where(|message| message["id"] == id && message.get("method").is_none())
    }

    /// Waits for a notification with this method, unless one was heard already.
    pub fn notification(&mut self, method: &str) -> Result<Value> {
        if let Some(index) = self.heard.iter().position(|message| message["method"] == method) {
            return Ok(self.heard.remove(index));
        }
        self.next_where(|message| message["method"] == method)
    }

    fn next_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + self.limit;
        loop {
            let message = self.next(until.saturating_duration_since(Instant::now()))?;
            if wanted(&message) {
                return Ok(message);
            }
            self.heard.push(message);
        }
    }

    /// The next message, whatever it is.
    pub fn next(&mut self, limit: Duration) -> Result<Value> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("not JSON on stdout: {line:?}")),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {limit:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the server closed its output"),
        }
    }

    /// Closes the server's input: for stdio the end of the session.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }
}
