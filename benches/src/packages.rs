//! The most used packages of the Python Package Index, each imported by a plugin of its own: which ones take the zygote road.
//!
//! The list is benches/packages.txt. A package that can't be installed here is told apart from one that can't be forked.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Bench;
use crate::figures::Promise;
use crate::lean::Lean;

/// Installs, imports and calls each one; prints the table.
pub(crate) fn packages(bench: &Bench) -> Result<Value> {
    let list = fs::read_to_string(&bench.packages).with_context(|| format!("cannot read `{}`", bench.packages.display()))?;
    let (mut zygote, mut rows) = (0, Vec::new());
    println!("\npackages: imported by a plugin, which road its calls take");
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let Some((package, module)) = line.split_once(' ') else { continue };
        let folder = bench.work.join("packages").join(package);
        write_plugin(&folder, package, module)?;
        let began = Instant::now();
        let verdict = road(bench, &folder).unwrap_or_else(|error| format!("failed: {error:#}"));
        zygote += u32::from(verdict.starts_with("zygote"));
        println!("  {package:<20} {:>6.1} s  {verdict}", began.elapsed().as_secs_f64());
        rows.push(json!({"package": package, "verdict": verdict}));
    }
    let promise = Promise::at_least("at least 36 of 40 take the zygote road", f64::from(zygote), 36.0);
    println!("  {}  {} (measured {zygote} of {})", if promise.holds { "holds " } else { "SHORT " }, promise.words, rows.len());
    Ok(json!({"what": "packages", "zygote": zygote, "rows": rows}))
}

fn write_plugin(folder: &Path, package: &str, module: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let manifest = json!({
        "name": "road",
        "version": "1.0.0",
        "description": format!("Imports {package}"),
        "max_memory_mb": 1024,
        "mcps": [{"name": "used", "description": "Name the module", "function": "used", "args_schema": {"type": "object", "properties": {}}}],
        "dependencies": [{"name": package}],
    });
    fs::write(folder.join("plugin.yaml"), manifest.to_string())?;
    let code = format!(
        "import {module} as module\n\n\ndef used(inputs, context):\n    return {{\"success\": True, \"outputs\": {{\"module\": module.__name__}}}}\n"
    );
    Ok(fs::write(folder.join("main.py"), code)?)
}

/// Calls until the environment is made, then reads from the metrics which road the plugin takes.
fn road(bench: &Bench, folder: &Path) -> Result<String> {
    let mut lean = Lean::connect(&mut bench.serve(folder, &["--log", "debug"]))?;
    let began = Instant::now();
    loop {
        let result = lean.ask("tools/call", &json!({"name": "road__used", "arguments": {}}))?;
        if result["isError"] != true {
            break;
        }
        let text = result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        let preparing = text.contains("preparing") || text.contains("prepared");
        anyhow::ensure!(preparing && began.elapsed() < Duration::from_secs(240), "{text}");
        std::thread::sleep(Duration::from_millis(500));
    }
    // A forked child has the plugin's zygote for its parent; a spawned one does not outlive its call, so nothing waits for the next.
    let below = pegboard_tests::processes::descendants(lean.pid);
    Ok(if below.is_empty() { "spawn: one confined process a call".into() } else { format!("zygote ({} processes)", below.len()) })
}
