//! Beginning an engine: once, however many want it at the same moment, and as nobody's child.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::DirBuilderExt as _, net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use server::{Answer, Want};

use super::{
    place::{Place, What},
    talk::{Talk, opening, talk},
};
use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, Outcome},
    settings::{Settings, ViewChoice},
};

/// How long it may take until an engine listens, environments apart (those are made later).
const PATIENCE: Duration = Duration::from_secs(60);

/// Joins the engine of these settings, and begins it where there is none.
pub(crate) fn join(
    settings: &Settings,
    global: &Global,
    what: &What,
    view: Option<ViewChoice>,
) -> Outcome<BufReader<UnixStream>> {
    let place = Place::of(settings, what)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match talk(&place.socket(), &opening(Want::Join, view))? {
            Talk::Answered(_, stream) => return Ok(stream),
            Talk::Refused(reason) => return Err(refused(&place, &reason)),
            Talk::Nobody if Instant::now() > until => return Err(late(&place)),
            // In a process between: an engine that were this one's child would die with a client that ends everything below itself.
            Talk::Nobody => start_apart(global, what)?,
        }
    }
}

/// Begins the engine unless it runs; what it says of itself either way, and whether it was begun here.
pub(crate) fn begin(settings: &Settings, global: &Global, what: &What, idle: Option<u64>) -> Outcome<(Place, Answer, bool)> {
    let place = Place::of(settings, what)?;
    let until = Instant::now() + PATIENCE;
    let starting = place.starting()?;
    let mut begun = false;
    if let Some(answer) = runs(&place)? {
        return Ok((place, answer, begun));
    }
    // The others wait here for the one that begins it, who in turn waits for a limited time.
    starting.lock().map_err(|error| Failure::file("lock", &place.socket(), &error))?;
    loop {
        if let Some(answer) = runs(&place)? {
            return Ok((place, answer, begun));
        }
        if Instant::now() > until {
            return Err(late(&place));
        }
        spawn(settings, global, what, &place, idle)?;
        begun = true;
    }
}

fn runs(place: &Place) -> Outcome<Option<Answer>> {
    match talk(&place.socket(), &opening(Want::Status, None))? {
        Talk::Answered(answer, _) if !answer.engine.stopping => Ok(Some(answer)),
        Talk::Refused(reason) => Err(refused(place, &reason)),
        _ => Ok(None),
    }
}

/// The engine's part: says where it listens, with the document that its starter waits for.
pub(crate) fn begun(place: &Place) -> serde_json::Value {
    serde_json::json!({"socket": place.socket(), "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION")})
}

fn start_apart(global: &Global, what: &What) -> Outcome {
    let output = program()?
        .args(["engine", "start", "--json"])
        .args(everywhere(global))
        .args(what.flags())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| anyhow::anyhow!("could not start the engine: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(told(&String::from_utf8_lossy(&output.stdout))) }
}

fn spawn(settings: &Settings, global: &Global, what: &What, place: &Place, idle: Option<u64>) -> Outcome {
    let path = place.log(settings);
    let log = open_log(&path).map_err(|error| Failure::file("open", &path, &error))?;
    let mut command = program()?;
    command.args(["engine", "run", "--json", "--socket"]).arg(place.socket()).args(everywhere(global)).args(what.flags());
    if let Some(seconds) = idle {
        command.args(["--idle", &seconds.to_string()]);
    }
    // Not in the starter's folder, which could never be unmounted otherwise.
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(|error| anyhow::anyhow!("could not start the engine: {error}"))?;
    let Some(stdout) = child.stdout.take() else { return Ok(()) };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // One line when it listens; else the document of its failure, to its end.
        let (mut said, mut reader) = (String::new(), BufReader::new(stdout.take(64 << 10)));
        while !said.contains("\"socket\"") && reader.read_line(&mut said).is_ok_and(|read| read > 0) {}
        let _ = sender.send(said);
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(line) if line.contains("\"socket\"") => Ok(()),
        Ok(line) => {
            let _ = child.wait();
            Err(told(&line))
        }
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(late(place))
        }
    }
}

/// This very program. Not through `sandbox`: it is our own, with all that its user may do, and outlives its starter.
fn program() -> Outcome<Command> {
    let path = std::env::current_exe().map_err(|error| anyhow::anyhow!("could not find this program's own path: {error}"))?;
    Ok(Command::new(path))
}

fn everywhere(global: &Global) -> Vec<OsString> {
    let home = global.home.as_ref().and_then(|home| std::path::absolute(home).ok());
    let flags = [("--home", home.map(PathBuf::into_os_string)), ("--log", global.log.clone().map(OsString::from))];
    flags.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?])).flatten().collect()
}

fn open_log(path: &PathBuf) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Each engine begins its log anew; appending, so that emptying it while it is written leaves no hole.
    drop(File::create(path)?);
    fs::OpenOptions::new().append(true).open(path)
}

/// What the process between, or the engine itself, printed before it ended.
fn told(document: &str) -> Failure {
    let document: serde_json::Value = serde_json::from_str(document.trim()).unwrap_or_default();
    let error = document.get("error");
    let text = |key: &str| error.and_then(|error| error.get(key)).and_then(serde_json::Value::as_str).map(str::to_owned);
    let message = text("message").unwrap_or_else(|| "it ended before it listened".to_owned());
    Failure::new(Exit::Unavailable, "engine.start", format!("the engine did not start: {message}"))
        .hint(text("hint").unwrap_or_else(|| "pegboard serve, without --shared, says more".to_owned()))
}

fn refused(place: &Place, reason: &str) -> Failure {
    Failure::new(Exit::Unavailable, "engine.refused", format!("the engine at `{}` refused: {reason}", place.socket().display()))
        .hint("pegboard engine stop, then again")
}

fn late(place: &Place) -> Failure {
    Failure::new(Exit::Unavailable, "engine.late", format!("no engine listened at `{}` in time", place.socket().display()))
        .hint("pegboard engine status says where its log is")
}
