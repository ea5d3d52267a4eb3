//! What a stdio client of a shared engine is: bytes from standard input to the engine, bytes from the engine to standard output.
//!
//! No message is read here, so that a client costs two threads that sleep in the kernel.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    net::Shutdown,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Relays until the engine closes the connection, which it does when the input has ended and everything is answered.
pub(crate) fn relay(engine: BufReader<UnixStream>) -> Outcome {
    let failed = |error: io::Error| Failure::from(anyhow::anyhow!("the relay to the engine could not start: {error}"));
    // Files of their own: the standard handles collect lines.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    let already = engine.buffer().to_vec();
    let mut from = engine.into_inner();
    let mut to = from.try_clone().map_err(failed)?;
    let input_ended = Arc::new(AtomicBool::new(false));
    let ended = input_ended.clone();
    std::thread::spawn(move || {
        let _ = pass_on(&mut input, &mut to);
        ended.store(true, Ordering::Release);
        // The engine answers what it has read, then closes.
        let _ = to.shutdown(Shutdown::Write);
    });
    let copied = output.write_all(&already).and_then(|()| pass_on(&mut from, &mut output));
    match copied {
        // The client reads no more: it is gone.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        _ if input_ended.load(Ordering::Acquire) => Ok(()),
        _ => Err(Failure::new(Exit::Internal, "engine.gone", "the engine ended while this client was connected")
            .hint("start the client's server again: it begins a new engine")),
    }
}

/// Read and write by hand: `io::copy` splices, and a splice from a pipe that is being written piece by piece was seen to hold a message back.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0_u8; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
