//! The zygote's control socket: bounded messages, with descriptors and kernel-made credentials.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
    recvmsg, sendmsg, socketpair, sockopt,
};
use tokio::{io::Interest, net::UnixDatagram};

/// Descriptors that one message may bring.
const MAX_FDS: usize = 4;

/// One end of a control socket, registered with the runtime.
#[derive(Debug)]
pub(crate) struct Control {
    /// A SOCK_SEQPACKET socket: the type only moves messages, and both kinds of socket keep their borders.
    socket: UnixDatagram,
}

/// A message and what came with it.
#[derive(Debug)]
pub(crate) struct Message {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors.
    pub(crate) fds: Vec<OwnedFd>,
    /// The sender's process id, as the kernel attests it.
    pub(crate) pid: Option<i32>,
}

impl Control {
    /// A connected pair: ours, and the end that the confined program gets.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_passcred(&ours, true)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((Self { socket: UnixDatagram::from_std(ours.into())? }, theirs))
    }

    /// Sends one message.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, || {
                let mut none = SendAncillaryBuffer::default();
                Ok(sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL)?)
            })
            .await
            .map(drop)
    }

    /// Receives one message of at most `limit` bytes; `None` when the other end is closed.
    pub(crate) async fn receive(&self, limit: usize) -> io::Result<Option<Message>> {
        self.socket.async_io(Interest::READABLE, || receive_message(&self.socket, limit)).await
    }
}

/// One `recvmsg`: bytes, descriptors and credentials.
pub(crate) fn receive_message(socket: impl AsFd, limit: usize) -> io::Result<Option<Message>> {
    let mut bytes = vec![0u8; limit];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let (mut fds, mut pid) = (Vec::new(), None);
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(credentials) => pid = Some(credentials.pid.as_raw_nonzero().get()),
            _ => {}
        }
    }
    if got.bytes == 0 && fds.is_empty() {
        return Ok(None);
    }
    if got.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a control message is larger than its limit"));
    }
    bytes.truncate(got.bytes);
    Ok(Some(Message { bytes, fds, pid }))
}
