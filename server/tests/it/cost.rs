//! What a list of a thousand tools costs: ours, and rmcp's way of making it. A measurement, run by hand:
//! `cargo test --release -p pegboard-server -- --ignored cost --nocapture`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rmcp::model::{ListToolsResult, Tool};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Bench, Home, connect, host, modern, tool, web};

const TOOLS: usize = 1_000;
const ROUNDS: usize = 40;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_cost_of_a_long_list() {
    let home = Home::new();
    for number in 0..TOOLS / 4 {
        let tools: String = (0..4)
            .map(|n| {
                tool(
                    &format!("tool{n}"),
                    &format!(
                        "Does thing {n} of plugin {number}, which is described in a sentence of usual length, and takes a text"
                    ),
                )
            })
            .collect();
        home.plugin(
            &format!("plugin{number}"),
            &format!("category: shelf{}\nkeywords: [some, words, for, searching]\nmcps:\n{tools}", number % 9),
        );
    }
    let started = Instant::now();
    let host = host(home.settings(), &Bench::default()).await;
    let assembled = started.elapsed();
    let (mut client, ..) = connect(&host);
    client.initialize("2025-11-25").await;
    let mut lines = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let id = client.begin("tools/list", json!({})).await;
        let answer = client.raw_line().await;
        lines.push(started.elapsed());
        bytes = answer.len();
        assert!(answer.contains(&format!("\"id\":{id}")));
    }
    let web = web(&host, |_| {}).await;
    let (headers, body) = modern("tools/list", json!({}));
    let mut all = vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let request =
        String::from_utf8(web.head("POST", "/mcp", &all, body.len())).unwrap().replace("connection: close\r\n", "") + &body;
    let mut stream = tokio::net::TcpStream::connect(web.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut https = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_response(&mut stream).await;
        https.push(started.elapsed());
    }
    let listed: Value = client.request("tools/list", json!({})).await;
    let tools: Vec<Tool> = serde_json::from_value(listed["result"]["tools"].clone()).unwrap();
    let tools = Arc::new(tools);
    let rmcp: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            let result = ListToolsResult::with_all_items(tools.to_vec());
            assert!(serde_json::to_vec(&result).unwrap().len() > 100_000);
            drop(result);
            started.elapsed()
        })
        .collect();
    eprintln!(
        "{TOOLS} tools, {bytes} bytes: ready after {assembled:?}; tools/list over lines {:?}, over HTTP {:?}; rmcp's cloning and serialising alone {:?}",
        median(lines),
        median(https),
        median(rmcp)
    );
    web.end().await;
}

async fn read_response(stream: &mut tokio::net::TcpStream) {
    let mut bytes = Vec::with_capacity(1 << 20);
    let mut needed = usize::MAX;
    while bytes.len() < needed {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        if needed == usize::MAX
            && let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            needed = end + 4 + length;
        }
    }
}
