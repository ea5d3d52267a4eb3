//! Bytes and descriptors between a confined process and the host.
//!
//! Two shapes: *messages* on the zygote's SOCK_SEQPACKET control socket (small, may carry descriptors), and *frames* on a call's
//! SOCK_STREAM socket: a little-endian `u32` length, then that many bytes. Both are bounded before anything is allocated.

use std::{ffi::c_int, io, mem, ptr};

use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

/// Descriptors one message may carry.
const MAX_FDS: usize = 4;

fn failed<T>() -> PyResult<T> {
    Err(io::Error::last_os_error().into())
}

/// A connected stream pair; both ends attach the sender's credentials, so that the host learns the process id from the kernel
/// and not from the plugin. Returns `(ours, host's)`.
#[pyfunction]
pub(crate) fn open_pair() -> io::Result<(c_int, c_int)> {
    let mut ends = [0 as c_int; 2];
    // SAFETY: `ends` holds the two descriptors that the call writes.
    if unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let on: c_int = 1;
    for end in ends {
        // SAFETY: `on` outlives the call and its size is given.
        let set = unsafe {
            libc::setsockopt(end, libc::SOL_SOCKET, libc::SO_PASSCRED, ptr::from_ref(&on).cast(), mem::size_of::<c_int>() as u32)
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((ends[0], ends[1]))
}

/// Sends one message with descriptors on the control socket. Blocks.
#[pyfunction]
pub(crate) fn send_message(py: Python<'_>, socket: c_int, message: &[u8], fds: Vec<c_int>) -> PyResult<()> {
    if fds.len() > MAX_FDS {
        return Err(PyValueError::new_err("too many descriptors for one message"));
    }
    Ok(py.detach(|| send(socket, message, &fds))?)
}

/// As [`send_message`], for at most [`MAX_FDS`] descriptors.
pub(crate) fn send(socket: c_int, message: &[u8], fds: &[c_int]) -> io::Result<()> {
    // Room for MAX_FDS descriptors and the header, aligned as a header.
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let fds = &fds[..fds.len().min(MAX_FDS)];
        let bytes = mem::size_of_val(fds) as u32;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE only computes.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as usize;
        // SAFETY: the control buffer is aligned and large enough for MAX_FDS descriptors, and msg_controllen says so.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(bytes) as usize;
            ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(first).cast(), fds.len());
        }
    }
    // SAFETY: every pointer in the header outlives the call.
    let sent = retry(|| unsafe { libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL) });
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one message from the control socket; `None` when the host has closed it. Blocks.
#[pyfunction]
pub(crate) fn receive_message<'py>(py: Python<'py>, socket: c_int, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
    // Its length first: a buffer of the largest size would be 48 pages written for a message of a hundred bytes.
    // SAFETY: nothing is written into an empty buffer.
    let length = py.detach(|| retry(|| unsafe { libc::recv(socket, ptr::null_mut(), 0, libc::MSG_PEEK | libc::MSG_TRUNC) }));
    let length = match length {
        ..0 => return failed(),
        0 => return Ok(None),
        length => length as usize,
    };
    if length > limit {
        return Err(PyValueError::new_err("a control message is larger than its limit"));
    }
    let bytes = PyBytes::new_with(py, length, |space| {
        // SAFETY: the space is writable for its length.
        match retry(|| unsafe { libc::recv(socket, space.as_mut_ptr().cast(), space.len(), libc::MSG_TRUNC) }) {
            got if got == length as isize => Ok(()),
            ..0 => failed(),
            _ => Err(PyValueError::new_err("a control message changed while it was read")),
        }
    })?;
    Ok(Some(bytes))
}

/// Reads one frame; `None` at the end of the stream. Blocks.
#[pyfunction]
pub(crate) fn read_frame<'py>(py: Python<'py>, socket: c_int, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let mut header = [0u8; 4];
    match py.detach(|| read_full(socket, &mut header)) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > limit {
        return Err(PyValueError::new_err("a frame is larger than its limit"));
    }
    let bytes = PyBytes::new_with(py, length, |space| match py.detach(|| read_full(socket, space)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(PyValueError::new_err("the stream ended inside a frame")),
        Err(error) => Err(error.into()),
    })?;
    Ok(Some(bytes))
}

/// Writes one frame. Blocks.
#[pyfunction]
pub(crate) fn write_frame(py: Python<'_>, socket: c_int, payload: &[u8]) -> PyResult<()> {
    let length = u32::try_from(payload.len()).map_err(|_| PyValueError::new_err("a frame is larger than 4 GiB"))?;
    let header = length.to_le_bytes();
    let sent = py.detach(|| {
        let mut skip = 0usize;
        while skip < header.len() + payload.len() {
            let from_header = &header[skip.min(header.len())..];
            let from_payload = &payload[skip.saturating_sub(header.len())..];
            let parts = [
                libc::iovec { iov_base: from_header.as_ptr().cast_mut().cast(), iov_len: from_header.len() },
                libc::iovec { iov_base: from_payload.as_ptr().cast_mut().cast(), iov_len: from_payload.len() },
            ];
            // SAFETY: both parts point into slices that outlive the call.
            let sent = retry(|| unsafe { libc::writev(socket, parts.as_ptr(), 2) });
            if sent < 0 {
                return Err(io::Error::last_os_error());
            }
            skip += sent as usize;
        }
        Ok(())
    });
    sent.map_err(PyErr::from)
}

/// Fills the buffer; `Ok(false)` when the stream ends before its first byte.
fn read_full(socket: c_int, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: `rest` is writable for its length.
        let got = retry(|| unsafe { libc::read(socket, rest.as_mut_ptr().cast(), rest.len()) });
        match got {
            ..0 => return Err(io::Error::last_os_error()),
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => filled += got as usize,
        }
    }
    Ok(true)
}

pub(crate) fn retry(mut call: impl FnMut() -> isize) -> isize {
    loop {
        let result = call();
        if result >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return result;
        }
    }
}
