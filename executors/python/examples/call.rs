//! Calls one tool of a plugin folder through the executor, N times: `call FOLDER TOOL JSON [N]`. For measuring, not for use.

use executor_api::{CallIo, Executor};
use policy::*;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("__sandbox") {
        sandbox::launcher_main();
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(run());
}

async fn run() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let a: Vec<String> = std::env::args().collect();
    let root = std::fs::canonicalize(&a[1]).unwrap();
    let manifest = manifest_schema::parse("plugin.yaml", &std::fs::read_to_string(root.join("plugin.yaml")).unwrap()).unwrap();
    let tool = Arc::new(manifest.mcps.iter().find(|t| t.name.as_str() == a[2]).unwrap().clone());
    let name = manifest_schema::ServedName::new(&manifest.name, &tool.name);
    let plugin =
        Arc::new(Plugin { manifest, root, source: Source::Store, content: manifest_schema::Digest::of([b"x".as_slice()]) });
    let mut settings =
        pegboard_executor_python::PythonSettings::new(PathBuf::from("/tmp/zt/cache"), std::env::current_exe().unwrap());
    settings.search_path = std::env::var("PATH").unwrap().split(':').map(PathBuf::from).collect();
    let ex = pegboard_executor_python::PythonExecutor::new(settings).unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::channel(1000);
    tokio::spawn(async move {
        while let Some(f) = rx.recv().await {
            tracing::debug!("{f:?}");
        }
    });
    let n: usize = a.get(4).map_or(1, |n| n.parse().unwrap());
    let gap: u64 = a.get(5).map_or(10, |n| n.parse().unwrap());
    let mut lat = vec![];
    let secrets = Default::default();
    let config = Default::default();
    let mut last = None;
    for i in 0..n {
        let call = ResolvedCall {
            plugin: plugin.clone(),
            tool: tool.clone(),
            name: name.clone(),
            args: serde_json::from_str(&a[3]).unwrap(),
            session: None,
            trace: TraceId("t".into()),
        };
        let permitted = authorize(
            call,
            &Standing { grant: None, secrets: &secrets, config: &config, config_problem: None, reached: Level::L2 },
        )
        .unwrap();
        let t = Instant::now();
        let out = ex
            .run(
                permitted,
                CallIo {
                    cancel: CancellationToken::new(),
                    deadline: Instant::now() + Duration::from_secs(30),
                    frames: tx.clone(),
                },
            )
            .await;
        lat.push(t.elapsed().as_micros());
        if i == 0 {
            eprintln!("first {} us", lat[0]);
        }
        last = Some(out);
        tokio::time::sleep(Duration::from_millis(gap)).await;
    }
    println!("{:?}", last.unwrap());
    println!("{:?}", ex.states());
    lat.sort();
    println!("p50 {} us p95 {} us", lat[lat.len() / 2], lat[lat.len() * 95 / 100]);
    ex.shutdown().await;
}
