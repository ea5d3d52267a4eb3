//! `pegboard dev`: one plugin, live. Each change is checked and served at once, each call is shown with its log. What is shown is put into words
//! in `console`.

mod console;
mod eager;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use clap::Args;
use notify::{EventKind, RecursiveMode, Watcher};
use server::{HttpServer, HttpSettings, PluginsFolder, PluginsSource, Shutdown, Witness};

use self::console::Console;
use super::{host, serve, validate};
use crate::{
    args::Shelf,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// A change is looked at when nothing was written for this long: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(15);
/// How long the server leaves a change to settle; nobody else's files are watched here.
const SETTLE: Duration = Duration::from_millis(40);

/// Develop a plugin, live
///
/// Serves the plugin of a folder, over HTTP or standard input and output, and watches the folder: each change is checked within milliseconds and
/// shown with file, line and column, the plugin is loaded anew, and clients see the new tools at once. Each call is shown with its arguments, its
/// log, its result and what went wrong in your code. The sandbox, limits and grants are the real ones. Ends with Ctrl-C.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard dev ./text_stats                       a client connects to the address it shows\n  \
                             pegboard dev ./text_stats --http 127.0.0.1:0    on a free port\n  \
                             pegboard dev ./text_stats --stdio               a client starts it; it shows its work on standard error\n  \
                             pegboard dev ./text_stats --json                one JSON document a line, for editors")]
pub(crate) struct Dev {
    /// The plugin's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where to serve: ADDRESS:PORT of this machine, or a port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7337", value_parser = serve::address)]
    http: SocketAddr,
    /// Serve on standard input and output instead, for a client that starts this
    #[arg(long, conflicts_with = "http")]
    stdio: bool,
}

impl Dev {
    pub(crate) const fn takes_stdout(&self) -> bool {
        self.stdio
    }

    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let folder = self.folder.canonicalize().ok().filter(|folder| folder.join(registry::MANIFEST).is_file());
        let folder = folder.ok_or_else(|| {
            Failure::not_found("manifest.not_found", format!("`{}` is no plugin: it holds no plugin.yaml", self.folder.display()))
                .hint("pegboard init NAME writes one")
        })?;
        let console = Arc::new(Console::new(if self.stdio { output.aside() } else { *output }, &folder));
        let watching = watch(&folder, &console)?;
        check(&folder, &console)?;
        let runtime = host::runtime()?;
        let host =
            host::assemble(&runtime, self.told(settings, &folder, &console)?, self.executors(settings, &folder, &console)?)?;
        let served = if self.stdio {
            runtime.block_on(server::serve_stdio(host))
        } else {
            runtime.block_on(async {
                let server = HttpServer::bind(host, http(self.http)).await?;
                let shutdown = Shutdown::on_signals()?;
                if let Some(address) = server.address() {
                    console.listening(address);
                }
                server.run(shutdown).await
            })
        };
        drop(watching);
        runtime.shutdown_background();
        served.map_err(|error| serve::refused(&error))
    }

    /// The plugin, what is installed since it may need it, and nothing else.
    fn told(&self, settings: &Settings, folder: &Path, console: &Arc<Console>) -> Outcome<server::Settings> {
        let shelf = Shelf { plugins: vec![folder.to_owned()], no_bundled: true };
        let mut told = host::settings(settings, &shelf)?;
        told.plugins.retain(|known| known.source == PluginsSource::Store);
        told.plugins.insert(0, PluginsFolder { path: folder.to_owned(), source: PluginsSource::Folder });
        told.frozen = false;
        told.warm = true;
        told.debounce = SETTLE;
        let console = Arc::clone(console);
        told.witness = Some(Witness(Arc::new(move |seen| console.see(seen))));
        Ok(told)
    }

    fn executors(&self, settings: &Settings, folder: &Path, console: &Arc<Console>) -> Outcome<server::Executors> {
        let python = host::python_executor(settings)?;
        let mcp = host::mcp_executor(settings, executor_api::Executor::level(&python))?;
        let python = eager::executor(python, folder.to_owned(), Arc::clone(console));
        let mut executors = server::Executors::new(python).with_mcp(Arc::new(mcp));
        if let Some(container) = host::container_executor(settings) {
            executors = executors.with_container(Arc::new(container));
        }
        Ok(executors)
    }
}

fn http(addr: SocketAddr) -> HttpSettings {
    HttpSettings {
        addr: Some(addr),
        unix: None,
        tokens: None,
        allowed_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        limits: server::HttpLimits::default(),
    }
}

/// Checks the folder and shows what is wrong.
fn check(folder: &Path, console: &Console) -> Outcome {
    let begun = Instant::now();
    let report = validate::check(&folder.join(registry::MANIFEST))?;
    console.checked(&report, begun.elapsed());
    Ok(())
}

/// Checks again after every change, for as long as what is returned lives.
fn watch(folder: &Path, console: &Arc<Console>) -> Outcome<notify::RecommendedWatcher> {
    let (changed, changes) = mpsc::channel::<PathBuf>();
    let failed = |error: &notify::Error| Failure::from(anyhow::anyhow!("the folder can't be watched: {error}"));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        for path in event.paths.into_iter().filter(|path| matters(path)) {
            // The thread that reads ends after the watcher.
            let _ = changed.send(path);
        }
    })
    .map_err(|error| failed(&error))?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(|error| failed(&error))?;
    let (folder, console) = (folder.to_owned(), Arc::clone(console));
    std::thread::spawn(move || {
        while let Ok(first) = changes.recv() {
            let mut paths = std::collections::BTreeSet::from([first]);
            while let Ok(more) = changes.recv_timeout(QUIET) {
                paths.insert(more);
            }
            let names: Vec<String> =
                paths.iter().filter_map(|path| path.strip_prefix(&folder).ok()).map(|path| path.display().to_string()).collect();
            console.changed(&names);
            if let Err(failure) = check(&folder, &console) {
                console.failed(&failure);
            }
        }
    });
    Ok(watcher)
}

/// Whether a path is the author's: not an editor's, and not what running makes.
fn matters(path: &Path) -> bool {
    let noise = |part: &str| part == "__pycache__" || part.starts_with('.') || part.ends_with('~') || part.ends_with(".swp");
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    !noise(&name)
        && name != "4913"
        && !path.components().any(|part| part.as_os_str() == "__pycache__" || part.as_os_str() == ".git")
}
