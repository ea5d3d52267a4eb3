//! `pegboard engine`: the process that a user's clients share. Beginning and finding it is `crate::engine`, serving is `server::Engine`.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use serde_json::json;
use server::{EngineSettings, Shutdown, Want};

use super::host;
use crate::{
    args::{Global, Shelf},
    engine::{self, Place, Talk, What},
    exit::Exit,
    failure::{Failure, Outcome},
    operator,
    output::Output,
    settings::Settings,
};

/// Seconds without a connection after which an engine ends.
const IDLE: u64 = 600;
/// How long an engine that was told to stop may take, and how long the next one waits for it.
const ENDING: Duration = Duration::from_secs(30);
/// The longest log, in bytes; it begins anew then.
const MAX_LOG: u64 = 8 << 20;

/// Start, stop or look at the engine that all of this user's clients share
///
/// One process with one index and one interpreter a plugin, behind a socket that only this user can open. `serve --shared` and the Python package
/// join it and begin it by themselves; it ends when nobody has been connected for a while. Another --home, other plugins, another
/// pegboard.toml or another version of this program is another engine.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard engine status\n  \
                             pegboard engine start --plugins ./my-plugins --warm\n  \
                             pegboard engine stop")]
pub(crate) struct Engine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin it, unless it runs
    #[command(after_long_help = "Example:\n  pegboard engine start --json")]
    Start(Start),
    /// End the engines of this home, after running calls had their time
    #[command(after_long_help = "Example:\n  pegboard engine stop")]
    Stop,
    /// Show the engines of this home
    #[command(after_long_help = "Example:\n  pegboard engine status --json")]
    Status,
    /// Be the engine
    #[command(hide = true)]
    Run(Run),
}

/// What an engine serves.
#[derive(Debug, Args)]
struct Start {
    /// End after so many seconds without a connection
    ///
    /// Default: idle_seconds under [engine] in pegboard.toml, else 600.
    #[arg(long, value_name = "SECONDS", help_heading = "How")]
    idle: Option<u64>,
    /// Show this tool in the search view, too; repeatable
    #[arg(long, value_name = "TOOL", help_heading = "What")]
    pin: Vec<String>,
    /// Follow no change: grants, secrets and plugins stay as they are now
    #[arg(long, help_heading = "What")]
    frozen: bool,
    /// Get every plugin ready at once instead of at its first call
    #[arg(long, help_heading = "What")]
    warm: bool,
    #[command(flatten)]
    shelf: Shelf,
}

#[derive(Debug, Args)]
struct Run {
    /// Where to listen; without it a place of its own
    #[arg(long)]
    socket: Option<PathBuf>,
    /// End when standard input ends: with the process that holds its other end, however that dies
    #[arg(long)]
    owned: bool,
    #[command(flatten)]
    start: Start,
}

impl Engine {
    /// Whether this process is an engine.
    pub(crate) const fn serves(&self) -> bool {
        matches!(self.action, Action::Run(_))
    }

    pub(crate) fn run(&self, settings: &Settings, global: &Global, output: &Output) -> Outcome {
        match &self.action {
            Action::Start(start) => start.begin(settings, global, output),
            Action::Stop => stop(settings, output),
            Action::Status => status(settings, output),
            Action::Run(run) => run.serve(settings, output),
        }
    }
}

impl Start {
    fn what(&self, settings: &Settings) -> Outcome<What> {
        What::new(settings, &self.shelf, &self.pin, self.frozen, self.warm)
    }

    fn begin(&self, settings: &Settings, global: &Global, output: &Output) -> Outcome {
        let (place, answer, begun) = engine::begin(settings, global, &self.what(settings)?, self.idle)?;
        let document = json!({"socket": place.socket(), "begun": begun, "log": place.log(settings), "engine": answer.engine});
        output.show(&document, |_| {
            let state = if begun { "started" } else { "runs already" };
            format!("engine {} {state}, {} tools, at {}", answer.engine.pid, answer.engine.tools, place.socket().display())
        })
    }
}

impl Run {
    fn serve(&self, settings: &Settings, output: &Output) -> Outcome {
        // Away from the starter's terminal and its signals. Fails where this process leads a group already, and then nothing is to do.
        let _ = rustix::process::setsid();
        let place = match &self.socket {
            Some(socket) => {
                Place::at(socket).ok_or_else(|| Failure::usage("engine.socket", "expected a path that ends in .sock"))?
            }
            None => engine::place_of_owner()?,
        };
        // One that is ending may still be there; the file stays locked until this process ends.
        let _life = if self.owned { None } else { Some(alone(&place)?) };
        operator::added::make_root(&settings.places)?;
        let start = &self.start;
        let mut told = host::settings(settings, &start.shelf)?;
        if !start.pin.is_empty() {
            told.pinned.clone_from(&start.pin);
        }
        told.frozen |= start.frozen;
        told.warm |= start.warm;
        let runners = host::runners(settings)?;
        let runtime = host::runtime()?;
        let host = host::assemble(&runtime, told, runners.executors)?;
        let idle = start.idle.or(settings.file.engine.idle_seconds).unwrap_or(IDLE);
        let idle = (!self.owned).then_some(Duration::from_secs(idle));
        let served = runtime.block_on(async {
            let listening = server::Engine::bind(EngineSettings { socket: place.socket(), idle }).await;
            let listening = listening.map_err(|error| Failure::new(Exit::Internal, "engine.socket", error.to_string()))?;
            let shutdown = Shutdown::on_signals().map_err(|error| Failure::new(Exit::Internal, "engine", error.to_string()))?;
            if self.owned {
                end_with_owner(shutdown.clone());
            } else {
                tokio::spawn(bound_log(place.log(settings)));
            }
            output.text(&format!("{}\n", engine::begun(&place)))?;
            listening.run(host, shutdown).await;
            Ok(())
        });
        runtime.shutdown_background();
        served
    }
}

fn alone(place: &Place) -> Outcome<fs::File> {
    let life = place.living()?;
    let until = Instant::now() + ENDING;
    while life.try_lock().is_err() {
        if Instant::now() > until {
            return Err(Failure::new(Exit::Unavailable, "engine.busy", "the engine before this one has not ended"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(life)
}

/// The other end of standard input is held by the owner alone: the kernel closes it however the owner ends.
fn end_with_owner(shutdown: Shutdown) {
    std::thread::spawn(move || {
        let mut ignored = [0_u8; 64];
        let mut input = std::io::stdin().lock();
        while !matches!(input.read(&mut ignored), Ok(0) | Err(_)) {}
        shutdown.begin();
    });
}

/// Nobody empties the log of a process that nobody sees.
async fn bound_log(path: PathBuf) {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG) {
            let _ = fs::OpenOptions::new().write(true).truncate(true).open(&path);
        }
    }
}

fn stop(settings: &Settings, output: &Output) -> Outcome {
    let mut stopped = Vec::new();
    for place in Place::all(settings)? {
        if let Talk::Answered(answer, _) = engine::talk(&place.socket(), &engine::opening(Want::Stop, None))? {
            // Held by the engine for as long as it lives.
            let life = place.living()?;
            let until = Instant::now() + ENDING;
            while life.try_lock().is_err() {
                if Instant::now() > until {
                    let pid = answer.engine.pid;
                    return Err(Failure::new(Exit::Internal, "engine.stuck", format!("engine {pid} did not end in time")));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            stopped.push(answer.engine.pid);
        }
    }
    output.show(&json!({"stopped": stopped}), |_| match stopped.as_slice() {
        [] => "no engine runs".to_owned(),
        pids => format!("stopped {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    })
}

fn status(settings: &Settings, output: &Output) -> Outcome {
    let mut engines = Vec::new();
    let mut lines = Vec::new();
    for place in Place::all(settings)? {
        if let Talk::Answered(answer, _) = engine::talk(&place.socket(), &engine::opening(Want::Status, None))? {
            let engine = &answer.engine;
            lines.push(format!(
                "engine {} version {}: {} connected, {} running, {} tools of {} plugins, {} s old, log {}",
                engine.pid,
                crate::clean::line(&engine.version),
                engine.connections,
                engine.running,
                engine.tools,
                engine.plugins,
                engine.seconds,
                place.log(settings).display()
            ));
            engines.push(json!({"socket": place.socket(), "log": place.log(settings), "engine": engine}));
        }
    }
    output.show(&json!({"engines": engines}), |_| if lines.is_empty() { "no engine runs".to_owned() } else { lines.join("\n") })
}
