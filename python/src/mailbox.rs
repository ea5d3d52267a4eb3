//! Answers for an event loop: a descriptor that is readable while there are some, so that our thread wakes the loop without the interpreter.

use std::{
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    sync::Mutex,
};

use pyo3::{prelude::*, types::PyList};

use crate::{
    connection::outcome,
    pending::{Reply, locked},
};

/// The part that the reading thread has.
#[derive(Debug)]
pub(crate) struct Post {
    answers: Mutex<Vec<(u64, Reply)>>,
    bell: UnixStream,
}

impl Post {
    pub(crate) fn put(&self, id: u64, reply: Reply) {
        locked(&self.answers).push((id, reply));
        // A full buffer rings already.
        let _ = (&self.bell).write(&[1]);
    }
}

/// Answers of one event loop.
#[pyclass(frozen)]
pub(crate) struct Mailbox {
    pub(crate) post: std::sync::Arc<Post>,
    ear: UnixStream,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Self> {
        let (ear, bell) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok(Self { post: std::sync::Arc::new(Post { answers: Mutex::default(), bell }), ear })
    }

    /// What the loop waits for to be readable.
    fn fileno(&self) -> i32 {
        self.ear.as_raw_fd()
    }

    /// Takes the answers that are there: `(id, outcome)` each.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut rung = [0_u8; 256];
        while (&self.ear).read(&mut rung).is_ok_and(|read| read == rung.len()) {}
        let answers = std::mem::take(&mut *locked(&self.post.answers));
        let list = PyList::empty(py);
        for (id, reply) in answers {
            list.append((id, outcome(py, reply)?))?;
        }
        Ok(list)
    }
}
