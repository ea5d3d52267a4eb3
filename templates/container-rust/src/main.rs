//! Serves the tools of tool.rs by the container contract: HTTP/1.1 with kept connections, a thread each.
//!
//! Listens on the unix socket that PEGBOARD_SOCKET names, so that the container needs no network; without it on port PEGBOARD_PORT (8080).

mod tool;

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use serde_json::{Map, Value, json};

static CALLS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// One call: `{"inputs": {"p": {"value": …}}, "context": {…}}` to `{"success": true, "outputs": {…}}`.
fn execute(body: &[u8]) -> Value {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let outputs = serde_json::from_slice::<Value>(body).map_err(|error| error.to_string()).and_then(|call| {
        let values = call["inputs"].as_object().into_iter().flatten();
        let inputs: Map<String, Value> = values.map(|(name, item)| (name.clone(), item["value"].clone())).collect();
        tool::run(call["context"]["tool"].as_str().unwrap_or_default(), &inputs)
    });
    match outputs {
        Ok(outputs) => json!({"success": true, "outputs": outputs}),
        Err(error) => {
            FAILURES.fetch_add(1, Ordering::Relaxed);
            json!({"success": false, "error": error})
        }
    }
}

fn answer(method: &str, path: &str, body: &[u8]) -> (&'static str, Value) {
    match (method, path) {
        ("GET", "/health") => ("200 OK", json!({"status": "healthy"})),
        ("GET", "/metrics") => {
            let (calls, failures) = (CALLS.load(Ordering::Relaxed), FAILURES.load(Ordering::Relaxed));
            ("200 OK", json!({"calls": calls, "failures": failures}))
        }
        ("POST", "/execute") => ("200 OK", execute(body)),
        _ => ("404 Not Found", json!({"success": false, "error": "no such path"})),
    }
}

/// One connection, one request after the other.
fn serve(stream: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            match header.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap_or(0),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body)?;
        let (status, document) = answer(method, path, &body);
        let body = document.to_string();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all((head + &body).as_bytes())?;
    }
}

fn main() -> io::Result<()> {
    if let Ok(path) = env::var("PEGBOARD_SOCKET") {
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        println!("listening on {path}");
        for stream in listener.incoming() {
            let stream = stream?;
            thread::spawn(move || serve(stream.try_clone()?, stream));
        }
        return Ok(());
    }
    let port = env::var("PEGBOARD_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening on {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || serve(stream.try_clone()?, stream));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract() {
        let call = br#"{"inputs": {"text": {"value": "a b c", "args": {}}}, "context": {"tool": "count_words"}}"#;
        let request = format!("POST /execute HTTP/1.1\r\nContent-Length: {}\r\n\r\n", call.len());
        let mut answer = Vec::new();
        serve(&[request.as_bytes(), call].concat()[..], &mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"words\":3"), "{answer}");
        assert_eq!(execute(b"{}")["success"], json!(false));
    }
}
