//! The lean client over HTTP: one connection that is kept, requests made before the clock runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pegboard_tests::http::{modern_body, modern_headers, read_response};
use pegboard_tests::processes::cpu_seconds;
use serde_json::{Value, json};

use crate::figures::Figures;

/// A server over HTTP and the connection to it.
pub(crate) struct Web {
    child: Child,
    stream: BufReader<TcpStream>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Web {
    /// Starts a program that writes its address on stderr.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("no stderr")?);
        let address = loop {
            let mut line = String::new();
            ensure!(log.read_line(&mut line)? > 0, "the server ended without telling its address");
            let rest = line.find("127.0.0.1:").map(|at| &line[at..]);
            let end = |rest: &str| rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
            if let Some(address) =
                rest.and_then(|rest| rest[..end(rest)].parse::<SocketAddr>().ok()).filter(|address| address.port() != 0)
            {
                break address;
            }
        };
        // A full pipe would stop a server that logs.
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { child, stream: BufReader::new(stream), address })
    }

    /// Sends the same request so many times, each when the one before is answered.
    pub(crate) fn repeat(&mut self, request: &[u8], calls: usize) -> Result<Figures> {
        let mut taken = Vec::with_capacity(calls);
        let (began, cpu) = (Instant::now(), cpu_seconds(self.child.id()));
        for _ in 0..calls {
            let start = Instant::now();
            self.stream.get_mut().write_all(request)?;
            let response = read_response(&mut self.stream)?;
            taken.push(start.elapsed());
            ensure!(response.status == 200 && response.body.contains("\"result\""), "{} {:.300}", response.status, response.body);
        }
        Ok(Figures::new(taken, began.elapsed(), cpu_seconds(self.child.id()) - cpu))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of a tool call in the stateless era.
pub(crate) fn call_request(address: SocketAddr, tool: &str, arguments: &Value) -> Vec<u8> {
    let body = modern_body(1, "tools/call", json!({"name": tool, "arguments": arguments}));
    let mut head = format!("POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in modern_headers("tools/call", Some(tool)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend(body);
    request
}
