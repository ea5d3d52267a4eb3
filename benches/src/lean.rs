//! A client with as little of its own as possible: one thread, blocking reads, no parsing while the clock runs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pegboard_tests::processes::cpu_seconds;
use serde_json::{Value, json};

use crate::figures::Figures;

/// A server over stdio.
pub(crate) struct Lean {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
    line: String,
    /// Its process id.
    pub(crate) pid: u32,
}

impl Lean {
    /// Starts a program; its stderr is dropped.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the program")?;
        let (stdin, stdout) = (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
        let pid = child.id();
        Ok(Self { child, stdin, stdout: BufReader::with_capacity(1 << 20, stdout), next_id: 0, line: String::new(), pid })
    }

    /// Past the handshake.
    pub(crate) fn connect(command: &mut Command) -> Result<Self> {
        let mut lean = Self::start(command)?;
        lean.initialize()?;
        Ok(lean)
    }

    /// The handshake of 2025-11-25.
    pub(crate) fn initialize(&mut self) -> Result<()> {
        let client = json!({"name": "bench", "version": "1"});
        self.ask("initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}))?;
        writeln!(self.stdin, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(())
    }

    /// Sends a request and reads its answer; the line as it came.
    fn ask_raw(&mut self, method: &str, params: &Value) -> Result<&str> {
        let id = self.send(method, params)?;
        while self.read()? != Some(id) {}
        Ok(&self.line)
    }

    /// Sends a request and reads its `result`.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        let answer: Value = serde_json::from_str(self.ask_raw(method, params)?)?;
        answer.get("result").cloned().with_context(|| format!("`{method}` gave no result: {answer}"))
    }

    /// Calls a tool; its result must be no error.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value> {
        let result = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        ensure!(result["isError"] != true, "`{tool}` failed: {result}");
        Ok(result)
    }

    fn send(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.next_id += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params});
        // One write: a client that sends a message in pieces would measure the pipe.
        let bytes = format!("{message}\n");
        self.stdin.write_all(bytes.as_bytes())?;
        Ok(self.next_id)
    }

    /// Reads one line; the id of the answer in it, `None` for a notification.
    fn read(&mut self) -> Result<Option<u64>> {
        self.line.clear();
        ensure!(self.stdout.read_line(&mut self.line)? > 0, "the program closed its output");
        Ok(id_in(&self.line))
    }

    /// Calls one after the other, `a_second` of them arriving each second (0: each as soon as the one before is answered).
    pub(crate) fn one_by_one(&mut self, method: &str, params: &[Value], calls: usize, a_second: u32) -> Result<Figures> {
        let mut taken = Vec::with_capacity(calls);
        let (began, cpu) = (Instant::now(), cpu_seconds(self.pid));
        for number in 0..calls {
            let mut start = Instant::now();
            if let Some(gap) = Duration::from_secs(1).checked_div(a_second) {
                let due = began + gap * u32::try_from(number)?;
                std::thread::sleep(due.saturating_duration_since(start));
                // What a late answer delays counts as its time, too.
                start = due.max(start);
            }
            self.ask_raw(method, &params[number % params.len()])?;
            taken.push(start.elapsed());
        }
        let wall = began.elapsed();
        self.good()?;
        Ok(Figures::new(taken, wall, cpu_seconds(self.pid) - cpu))
    }

    /// Calls with so many on their way at once, each sent as soon as another is answered.
    pub(crate) fn flat_out(&mut self, params: &Value, calls: usize, in_flight: usize) -> Result<Figures> {
        let mut taken = Vec::with_capacity(calls);
        let mut sent: HashMap<u64, Instant> = HashMap::new();
        let (began, cpu, mut started) = (Instant::now(), cpu_seconds(self.pid), 0);
        while taken.len() < calls {
            while started < calls && sent.len() < in_flight {
                let now = Instant::now();
                sent.insert(self.send("tools/call", params)?, now);
                started += 1;
            }
            if let Some(start) = self.read()?.and_then(|id| sent.remove(&id)) {
                taken.push(start.elapsed());
                self.good()?;
            }
        }
        Ok(Figures::new(taken, began.elapsed(), cpu_seconds(self.pid) - cpu))
    }

    /// The last answer must not be an error: a refusal is quick, and would look like speed.
    fn good(&self) -> Result<()> {
        ensure!(
            self.line.contains("\"result\"") && !self.line.contains("\"isError\":true"),
            "an answer was an error: {:.300}",
            self.line
        );
        Ok(())
    }
}

impl Drop for Lean {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The id of an answer, found without parsing the whole line: it stands at its beginning or at its end.
fn id_in(line: &str) -> Option<u64> {
    if line.get(..200).unwrap_or(line).contains("\"method\":") {
        return None;
    }
    let at = line.get(..100).unwrap_or(line).find("\"id\":").or_else(|| line.rfind("\"id\":"))?;
    let digits: String = line.get(at + 5..)?.chars().skip_while(|c| *c == ' ').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
