//! The two opening lines of a connection to an engine, from the caller's side.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use server::{Answer, OPENING_VERSION, Opening, Want};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::ViewChoice,
};

/// An engine that does not answer within this long is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 10;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Talk {
    /// Nobody listens there, or whoever did is ending.
    Nobody,
    /// An engine that does not take this caller.
    Refused(String),
    /// It answered; what follows on the stream is what was wanted.
    Answered(Answer, BufReader<UnixStream>),
}

/// The first line.
pub(crate) fn opening(want: Want, view: Option<ViewChoice>) -> Opening {
    let view = view.map(|view| view.as_str().to_owned());
    Opening { pegboard: OPENING_VERSION, want, version: env!("CARGO_PKG_VERSION").to_owned(), view }
}

/// Connects and says what is wanted.
pub(crate) fn talk(socket: &Path, opening: &Opening) -> Outcome<Talk> {
    let failed = |error: &std::io::Error| Failure::file("connect to", socket, error);
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        // Refused: its engine was killed and left the socket behind.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(Talk::Nobody),
        Err(error) => return Err(failed(&error)),
    };
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|error| failed(&error.into()))?;
    if peer.uid != rustix::process::geteuid() {
        return Err(Failure::new(Exit::Denied, "engine.peer", format!("`{}` belongs to another user", socket.display())));
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| failed(&error))?;
    let mut line = serde_json::to_vec(opening).map_err(|error| anyhow::anyhow!("{error}"))?;
    line.push(b'\n');
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut answer = String::new();
    let answered = reader.get_mut().write_all(&line).and_then(|()| (&mut reader).take(MAX_ANSWER).read_line(&mut answer));
    match answered {
        // It was ending: whoever waited in its queue hears nothing.
        Ok(0) => return Ok(Talk::Nobody),
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return Ok(Talk::Nobody),
        Ok(_) => {}
        Err(error) => return Err(failed(&error)),
    }
    let answer: Answer = serde_json::from_str(&answer).map_err(|error| {
        Failure::new(Exit::Unavailable, "engine.unknown", format!("what listens at `{}` is no engine: {error}", socket.display()))
    })?;
    reader.get_ref().set_read_timeout(None).map_err(|error| failed(&error))?;
    match answer.refused.clone() {
        Some(_) if answer.engine.stopping => Ok(Talk::Nobody),
        Some(reason) => Ok(Talk::Refused(reason)),
        None => Ok(Talk::Answered(answer, reader)),
    }
}
