//! What the server and its launcher say to each other: the jail in (with two descriptors), short reports out.
//!
//! In: over the lifeline socket, a little-endian `u32` length and the jail as JSON, with the control socket and the status pipe
//! attached. Out: JSON lines on the status pipe until the program has replaced the launcher, which closes the pipe; and one last
//! line on the lifeline when all is over. Nothing a plugin says travels here.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};

use crate::error::StepError;
use crate::jail::{Jail, Level};
use crate::sys::Usage;

/// Largest jail, in bytes of JSON. It fits the socket's buffer, so sending never waits for the launcher.
pub(crate) const JAIL_MAX: usize = 128 * 1024;

/// One line on the status pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// The process to be confined, as the host numbers it.
    Child {
        /// Its id.
        pid: i32,
    },
    /// Everything was entered; the program is next.
    Entered(Entry),
    /// A step failed.
    Failed(StepError),
}

/// What was entered, as the launcher found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The level, which is the one that was asked for.
    pub level: Level,
    /// Landlock's version on this kernel, 0 without Landlock.
    pub landlock_abi: i32,
    /// Whether a user namespace was made (ordinary users at L2).
    pub user_namespace: bool,
    /// Whether `/proc` could be mounted inside (L2).
    pub proc_mounted: bool,
    /// Whether the kernel keeps the program's signals inside: an own pid namespace, an own user, or Landlock ABI 6.
    pub signals_confined: bool,
    /// What could not be enforced here, in words.
    pub notes: Vec<String>,
}

/// The monitor's last line.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// The program's exit code, when it exited.
    pub(crate) code: Option<i32>,
    /// The signal that ended it, when one did.
    pub(crate) signal: Option<i32>,
    /// What it and the processes it waited for used.
    pub(crate) usage: Usage,
}

/// Sends the jail and the two descriptors.
pub(crate) fn send_jail(
    lifeline: BorrowedFd<'_>,
    jail: &Jail,
    control: BorrowedFd<'_>,
    status: BorrowedFd<'_>,
) -> io::Result<()> {
    let body = serde_json::to_vec(jail).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    if body.len() > JAIL_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the jail takes {} bytes, at most {JAIL_MAX} are allowed", body.len()),
        ));
    }
    let mut message = (body.len() as u32).to_le_bytes().to_vec();
    message.extend_from_slice(&body);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [control, status];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let mut sent = rustix::net::sendmsg(lifeline, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    while let Some(rest) = message.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += rustix::net::send(lifeline, rest, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives what [`send_jail`] sent: the jail, the control socket, the status pipe.
pub(crate) fn receive_jail(lifeline: BorrowedFd<'_>) -> io::Result<(Jail, OwnedFd, OwnedFd)> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut head = [0_u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        lifeline,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )?;
    if received.bytes != head.len() {
        return Err(invalid(format!("{} bytes of length, expected 4", received.bytes)));
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let (Some(status), Some(control), true) = (fds.pop(), fds.pop(), fds.is_empty()) else {
        return Err(invalid("expected two descriptors with the jail".into()));
    };
    let length = u32::from_le_bytes(head) as usize;
    if length > JAIL_MAX {
        return Err(invalid(format!("jail of {length} bytes, at most {JAIL_MAX} are allowed")));
    }
    let mut body = vec![0_u8; length];
    let mut filled = 0;
    while let Some(rest) = body.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(lifeline, rest)? {
            0 => return Err(invalid(format!("the jail ends after {filled} bytes, expected {length}"))),
            count => filled += count,
        }
    }
    let jail = serde_json::from_slice(&body).map_err(|e| invalid(e.to_string()))?;
    Ok((jail, control, status))
}

/// Writes one line; a reader that is gone is no concern of the writer.
pub(crate) fn write_line(fd: impl AsFd, word: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(word) {
        line.push(b'\n');
        let _ = FdWriter(fd.as_fd()).write_all(&line);
    }
}

struct FdWriter<'a>(BorrowedFd<'a>);

impl Write for FdWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
