//! What the tests share: plugins on disk, an executor that does as it is told, clients that speak raw JSON and raw HTTP.
//! No expectation lives here.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::server::{Dirs, Host, HttpServer, HttpSettings, PluginsFolder, PluginsSource, Settings, Shutdown, Tokens};
use executor_api::{CallIo, Content, Executor, FailureKind, PluginState, ToolFailure, ToolOutcome, ToolOutput};
use futures::future::BoxFuture;
use manifest_schema::ToolSpec;
use policy::{Allowed, Level, PermittedCall, Plugin, SessionId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf,
        WriteHalf,
    },
    net::TcpStream,
    task::JoinHandle,
};

/// Nothing that a test waits for may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

/// A home with a folder of plugins.
pub struct Home {
    pub folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["plugins", "config", "data", "cache"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { folder }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes by rename, as an editor or the command line would.
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        let beside = path.with_file_name(format!(".{}.new", path.file_name().expect("a name").to_string_lossy()));
        fs::write(&beside, text).expect("a file");
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(&beside, &path).expect("a rename");
    }

    pub fn mode(&self, relative: &str, mode: u32) {
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    pub fn plugin(&self, name: &str, yaml: &str) {
        self.write(&format!("plugins/{name}/plugin.yaml"), &manifest(name, yaml));
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(Dirs::under(self.folder.path()));
        settings.plugins = vec![PluginsFolder { path: self.path("plugins"), source: PluginsSource::Folder }];
        settings.debounce = Duration::from_millis(20);
        settings
    }
}

/// A manifest: the head is always the same, the rest is the test's.
pub fn manifest(name: &str, yaml: &str) -> String {
    format!("name: {name}\nversion: 1.0.0\ndescription: The {name} plugin\n{yaml}")
}

/// One tool of a manifest, with an argument `text`.
pub fn tool(name: &str, description: &str) -> String {
    format!(
        "  - name: {name}\n    description: {description}\n    class_name: Tool\n    args_schema: {{type: object, properties: {{text: {{type: string}}}}, required: [text], additionalProperties: false}}\n"
    )
}

/// Two tools: one that changes nothing, one that does.
pub fn text_plugin() -> String {
    format!(
        "category: text_processing\nkeywords: [words]\nmcps:\n{}    annotations: {{read_only: true, destructive: false}}\n    examples: [{{query: how long is this text, args: {{text: one two}}}}]\n{}",
        tool("count", "Count the words of a text"),
        tool("shout", "Turn a text into capital letters"),
    )
}

pub type Script = Arc<dyn Fn(PermittedCall, CallIo) -> BoxFuture<'static, ToolOutcome> + Send + Sync>;

/// What a plugin's preparation comes to.
pub type Prepared = Result<Vec<ToolSpec>, ToolFailure>;

/// Runs what a test says, and remembers what the host asked of it.
#[derive(Clone, Default)]
pub struct Bench {
    pub scripts: Arc<Mutex<HashMap<String, Script>>>,
    pub prepared: Arc<Mutex<HashMap<String, Prepared>>>,
    /// `retire NAME`, `end SESSION`, `shutdown`, in order.
    pub log: Arc<Mutex<Vec<String>>>,
    pub level: Option<Level>,
}

impl Bench {
    pub fn on<F, R>(self, tool: &str, script: F) -> Self
    where
        F: Fn(PermittedCall, CallIo) -> R + Send + Sync + 'static,
        R: Future<Output = ToolOutcome> + Send + 'static,
    {
        self.scripts.lock().expect("no panic").insert(tool.to_owned(), Arc::new(move |call, io| Box::pin(script(call, io))));
        self
    }

    /// Two tools that work.
    pub fn texts() -> Self {
        Self::default()
            .on("texts__count", |call, _| async move { structured(json!({"words": argument(&call).split_whitespace().count()})) })
            .on("texts__shout", |call, _| async move { text(&argument(&call).to_uppercase()) })
    }

    pub fn logged(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }
}

pub fn argument(call: &PermittedCall) -> String {
    call.call().args.get("text").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub fn text(text: &str) -> ToolOutcome {
    ToolOutcome::Completed(ToolOutput { content: vec![Content::Text { text: text.to_owned() }], structured: None })
}

pub fn structured(value: Value) -> ToolOutcome {
    ToolOutcome::Completed(ToolOutput { content: Vec::new(), structured: Some(value) })
}

impl Executor for Bench {
    fn run(&self, call: PermittedCall, io: CallIo) -> BoxFuture<'_, ToolOutcome> {
        let script = self.scripts.lock().expect("no panic").get(call.call().name.as_str()).cloned();
        match script {
            Some(script) => script(call, io),
            None => {
                Box::pin(async { ToolOutcome::Failed(ToolFailure::new(FailureKind::Unsupported, "no script for this tool")) })
            }
        }
    }

    fn prepare(&self, plugin: Arc<Plugin>, _: Arc<Allowed>) -> BoxFuture<'_, Result<Vec<ToolSpec>, ToolFailure>> {
        let known = self.prepared.lock().expect("no panic").get(plugin.manifest.name.as_str()).cloned();
        Box::pin(async move { known.unwrap_or_else(|| Ok(plugin.manifest.mcps.clone())) })
    }

    fn retire(&self, plugin: &str) -> BoxFuture<'_, ()> {
        self.log.lock().expect("no panic").push(format!("retire {plugin}"));
        Box::pin(async {})
    }

    fn end_session(&self, session: &SessionId) -> BoxFuture<'_, ()> {
        self.log.lock().expect("no panic").push(format!("end {}", session.0));
        Box::pin(async {})
    }

    fn level(&self) -> Level {
        self.level.unwrap_or(Level::L2)
    }

    fn states(&self) -> Vec<PluginState> {
        Vec::new()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.log.lock().expect("no panic").push("shutdown".to_owned());
        Box::pin(async {})
    }
}

pub async fn host(settings: Settings, bench: &Bench) -> Arc<Host> {
    let host = Host::assemble(settings, Arc::new(bench.clone())).expect("a host");
    within("getting ready", host.ready()).await;
    host
}

/// A host with the two tools of [`text_plugin`].
pub async fn texts() -> (Home, Arc<Host>, Bench) {
    let home = Home::new();
    home.plugin("texts", &text_plugin());
    let bench = Bench::texts();
    let host = host(home.settings(), &bench).await;
    (home, host, bench)
}

/// A client that speaks lines.
pub struct Lines<R = ReadHalf<DuplexStream>, W = WriteHalf<DuplexStream>> {
    reader: BufReader<R>,
    writer: Option<W>,
    next: i64,
    /// What came while something else was waited for.
    pub heard: Vec<Value>,
}

/// The `_meta` that every request of the stateless era carries.
pub fn stateless() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"}
    })
}

/// Connects a client to a host over lines.
pub fn connect(host: &Arc<Host>) -> (Lines, JoinHandle<Result<(), crate::server::ServeError>>, Shutdown) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(theirs);
    let shutdown = Shutdown::manual();
    let serving = tokio::spawn(crate::server::serve_lines(host.clone(), reader, writer, shutdown.clone()));
    let (reader, writer) = tokio::io::split(ours);
    (Lines::new(reader, writer), serving, shutdown)
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Lines<R, W> {
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader: BufReader::new(reader), writer: Some(writer), next: 1, heard: Vec::new() }
    }

    pub async fn raw(&mut self, line: &[u8]) {
        let writer = self.writer.as_mut().expect("open");
        writer.write_all(line).await.expect("written");
        writer.write_all(b"\n").await.expect("written");
        writer.flush().await.expect("written");
    }

    pub async fn send(&mut self, message: &Value) {
        self.raw(message.to_string().as_bytes()).await;
    }

    /// The next message, whatever it is; `None` at the end.
    pub async fn message(&mut self) -> Option<Value> {
        let mut line = String::new();
        within("a message", self.reader.read_line(&mut line)).await.expect("a line");
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    /// The next line as it is.
    pub async fn raw_line(&mut self) -> String {
        let mut line = String::new();
        within("a line", self.reader.read_line(&mut line)).await.expect("a line");
        line
    }

    /// Waits for the answer to a request, keeping what comes before it.
    pub async fn answer(&mut self, id: i64) -> Value {
        loop {
            let message = self.message().await.expect("an answer before the end");
            if message["id"] == json!(id) {
                return message;
            }
            self.heard.push(message);
        }
    }

    pub async fn begin(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        id
    }

    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    pub async fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    /// The older handshake.
    pub async fn initialize(&mut self, version: &str) -> Value {
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
        let answer = self.request("initialize", params).await;
        self.notify("notifications/initialized", json!({})).await;
        answer
    }

    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    pub async fn names(&mut self) -> Vec<String> {
        tool_names(&self.request("tools/list", json!({})).await)
    }

    /// Waits for a notification of a method.
    pub async fn hear(&mut self, method: &str) -> Value {
        if let Some(at) = self.heard.iter().position(|message| message["method"] == method) {
            return self.heard.remove(at);
        }
        loop {
            let message = self.message().await.expect("a notification before the end");
            if message["method"] == method {
                return message;
            }
            self.heard.push(message);
        }
    }

    /// Ends the input.
    pub async fn close(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            writer.shutdown().await.expect("closed");
        }
    }
}

pub fn tool_names(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// The text of an error result; panics when it is anything else.
pub fn error_text(answer: &Value) -> String {
    let result = &answer["result"];
    assert_eq!(result["isError"], json!(true), "{answer}");
    assert!(result.get("structuredContent").is_none(), "error results are text only: {answer}");
    result["content"][0]["text"].as_str().expect("text").to_owned()
}

/// A server over HTTP.
pub struct Web {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub serving: JoinHandle<Result<(), crate::server::ServeError>>,
}

pub async fn web(host: &Arc<Host>, change: impl FnOnce(&mut HttpSettings)) -> Web {
    let mut settings = HttpSettings { addr: Some("127.0.0.1:0".parse().expect("an address")), ..HttpSettings::default() };
    change(&mut settings);
    let server = HttpServer::bind(host.clone(), settings).await.expect("bound");
    let address = server.address().expect("an address");
    let shutdown = Shutdown::manual();
    Web { address, serving: tokio::spawn(server.run(shutdown.clone())), shutdown }
}

/// Tokens by name with their patterns; the token of `alice` is `alice-token`.
pub fn tokens(home: &Home, entries: &[(&str, &[&str])]) -> Tokens {
    home.write("config/tokens.yaml", &tokens_yaml(entries));
    Tokens::open(&home.path("config/tokens.yaml"), false).expect("tokens")
}

pub fn tokens_yaml(entries: &[(&str, &[&str])]) -> String {
    use sha2::Digest as _;
    let list: Vec<Value> = entries
        .iter()
        .map(|(name, tools)| {
            let digest: String = sha2::Sha256::digest(format!("{name}-token")).iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"name": name, "sha256": digest, "tools": tools})
        })
        .collect();
    serde_json::to_string(&list).expect("json is yaml")
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The message, from JSON or from the last event of a stream.
    pub fn json(&self) -> Value {
        let text = self.text();
        let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| !data.is_empty());
        serde_json::from_str(last.unwrap_or(&text)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request of the stateless era, with the headers it needs.
pub fn modern(method: &str, mut params: Value) -> (Vec<(String, String)>, String) {
    let mut headers =
        vec![("mcp-protocol-version".to_owned(), "2026-07-28".to_owned()), ("mcp-method".to_owned(), method.to_owned())];
    if method == "tools/call" {
        headers.push(("mcp-name".to_owned(), params["name"].as_str().unwrap_or_default().to_owned()));
    }
    let mut meta = stateless();
    if let Some(given) = params.get("_meta").and_then(Value::as_object) {
        for (key, value) in given {
            meta[key] = value.clone();
        }
    }
    params["_meta"] = meta;
    (headers, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
}

impl Web {
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        all.extend_from_slice(headers);
        self.request("POST", path, &all, body.as_bytes()).await
    }

    pub async fn modern(&self, path: &str, method: &str, params: Value, extra: &[(&str, &str)]) -> Answer {
        let (headers, body) = modern(method, params);
        let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.extend_from_slice(extra);
        self.post(path, &all, &body).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, b"").await
    }

    /// One request on a connection of its own, read to its end. `Host` is ours unless the headers name one.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(&self.head(method, path, headers, body.len())).await.expect("sent");
        // A server that refuses before the body may have closed already.
        let _ = stream.write_all(body).await;
        read_answer(stream).await
    }

    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        head.into_bytes()
    }

    /// An open stream of events.
    pub async fn stream(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Events<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(&self.head(method, path, headers, body.len())).await.expect("sent");
        stream.write_all(body.as_bytes()).await.expect("sent");
        Events { reader: BufReader::new(stream) }
    }

    pub async fn end(self) {
        self.shutdown.begin();
        within("the end of the server", self.serving).await.expect("no panic").expect("no error");
    }
}

/// Server-sent events of a response that stays open.
pub struct Events<S> {
    reader: BufReader<S>,
}

impl<S: AsyncRead + Unpin> Events<S> {
    /// The data of the next event that has any; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if within("an event", self.reader.read_line(&mut line)).await.ok()? == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                let data = data.trim_end();
                if !data.is_empty() {
                    return Some(data.to_owned());
                }
            }
        }
    }

    /// The next event that is a message of this method, or an answer when `method` is empty.
    pub async fn message(&mut self, method: &str) -> Value {
        loop {
            let data = self.next().await.expect("an event before the end");
            if let Ok(value) = serde_json::from_str::<Value>(&data)
                && value["method"].as_str().unwrap_or_default() == method
            {
                return value;
            }
        }
    }
}

pub async fn read_answer(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    // A reset after the answer is how a refused body ends.
    let _ = within("an answer", stream.read_to_end(&mut bytes)).await;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).expect("a status");
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        body = unchunk(&body);
    }
    Answer { status, headers, body }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).expect("a size"), 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    body
}

/// Waits until something holds, by trying again; the only clock is the patience.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}
