//! One connection to an engine: MCP as lines over its unix socket, any number of requests at once, from any number of threads.
//!
//! One thread reads, without the interpreter. A thread that waits has let go of the interpreter's lock and looks for signals now and then.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pyo3::{create_exception, exceptions::PyException, prelude::*, types::PyTuple};
use serde_json::{Value, json};

use crate::{
    codec,
    mailbox::Mailbox,
    pending::{Pending, Reply, Slot, Waiter, locked},
};

create_exception!(_core, Gone, PyException, "There is no connection any more; the request may or may not have been carried out.");
create_exception!(_core, Stranger, PyException, "What listens there belongs to another user, or takes this one for another.");
create_exception!(_core, TimedOut, PyException, "No answer within the time; the request was cancelled.");

/// The longest answer, in bytes: more than the engine lets a tool return.
const MAX_LINE: u64 = 256 << 20;
/// How often a waiting thread looks for signals such as Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);
/// How long opening a connection may take.
const OPENING: Duration = Duration::from_secs(30);
/// How long the end waits for threads that are told of it.
const ENDING: Duration = Duration::from_secs(2);
/// The protocol's revision that this client speaks.
const PROTOCOL: &str = "2025-11-25";

/// What the reading thread and the callers share.
struct Inner {
    writer: Mutex<UnixStream>,
    pending: Pending,
    next: AtomicU64,
    /// Counts the times that the list of tools changed.
    changes: AtomicU64,
    /// Threads inside a request, so that the end can wait for them.
    inside: Mutex<usize>,
    left: Condvar,
}

/// A connection.
#[pyclass(frozen)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
    /// A forked process has the descriptor but not the reading thread, and must not end what its parent uses.
    pid: u32,
}

#[pymethods]
impl Connection {
    /// Connects, says the opening line, and shakes hands.
    #[staticmethod]
    fn open(py: Python<'_>, path: String, opening: String) -> PyResult<Self> {
        let (stream, reader) = py.detach(|| connect(&path, &opening)).map_err(|error| match error {
            NotOpened::Gone(reason) => Gone::new_err(reason),
            NotOpened::Stranger(reason) => Stranger::new_err(reason),
        })?;
        let inner = Arc::new(Inner {
            writer: Mutex::new(stream),
            pending: Pending::default(),
            next: AtomicU64::new(1),
            changes: AtomicU64::new(0),
            inside: Mutex::new(0),
            left: Condvar::new(),
        });
        let reading = inner.clone();
        let thread = std::thread::Builder::new().name("pegboard-reader".to_owned());
        thread.spawn(move || reading.read(reader)).map_err(|error| Gone::new_err(error.to_string()))?;
        let connection = Self { inner, pid: std::process::id() };
        let client = json!({"name": "pegboard-python", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client});
        connection.inner.ask(py, "initialize", &params, Some(OPENING))?;
        connection.inner.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).map_err(Gone::new_err)?;
        Ok(connection)
    }

    /// Asks and waits: `("result", …)` or `("error", …)`.
    #[pyo3(signature = (method, params, timeout = None))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        params: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let params = codec::from_python(params)?;
        let timeout = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let reply = self.inner.ask(py, method, &params, timeout)?;
        outcome(py, reply)
    }

    /// Asks; the answer goes to the mailbox under the returned number.
    fn start(&self, py: Python<'_>, method: &str, params: &Bound<'_, PyAny>, mailbox: &Mailbox) -> PyResult<u64> {
        let params = codec::from_python(params)?;
        let waiter = Waiter::Loop(mailbox.post.clone());
        py.detach(|| self.inner.send(method, &params, waiter)).map_err(Gone::new_err)
    }

    /// Gives a request up: the engine ends the call, and no answer comes.
    fn cancel(&self, py: Python<'_>, id: u64) {
        py.detach(|| self.inner.cancel(id));
    }

    /// How often the list of tools has changed.
    #[getter]
    fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Acquire)
    }

    /// Why there is no connection any more; `None` while there is one.
    #[getter]
    fn gone(&self) -> Option<String> {
        self.inner.pending.gone()
    }

    /// Ends the connection, tells everybody who waits, and waits until those threads have left.
    fn close(&self, py: Python<'_>) {
        if self.pid == std::process::id() {
            py.detach(|| self.inner.close());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.inner.end("the connection was closed");
        }
    }
}

/// Why there is no connection.
enum NotOpened {
    Gone(String),
    Stranger(String),
}

fn connect(path: &str, opening: &str) -> Result<(UnixStream, BufReader<UnixStream>), NotOpened> {
    let failed = |error: std::io::Error| {
        let reason = format!("could not connect to `{path}`: {error}");
        if error.kind() == ErrorKind::PermissionDenied { NotOpened::Stranger(reason) } else { NotOpened::Gone(reason) }
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    // Both sides ask the kernel: a name in a folder that others can write to may be anybody's.
    let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|error| failed(error.into()))?;
    if peer.uid != rustix::process::geteuid() {
        return Err(NotOpened::Stranger(format!("the engine at `{path}` belongs to another user")));
    }
    let reading = stream.try_clone().map_err(failed)?;
    reading.set_read_timeout(Some(OPENING)).map_err(failed)?;
    stream.write_all(format!("{opening}\n").as_bytes()).map_err(failed)?;
    let mut reader = BufReader::with_capacity(64 << 10, reading);
    let mut answer = String::new();
    (&mut reader).take(16 << 10).read_line(&mut answer).map_err(failed)?;
    let answer: Value =
        serde_json::from_str(&answer).map_err(|_| NotOpened::Gone(format!("the engine at `{path}` is ending, or is none")))?;
    if let Some(reason) = answer.get("refused").and_then(Value::as_str) {
        return Err(NotOpened::Gone(format!("the engine refused: {reason}")));
    }
    reader.get_ref().set_read_timeout(None).map_err(failed)?;
    Ok((stream, reader))
}

impl Inner {
    fn ask(&self, py: Python<'_>, method: &str, params: &Value, timeout: Option<Duration>) -> PyResult<Reply> {
        let _inside = Inside::enter(self);
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let slot = Arc::new(Slot::default());
        let id = py.detach(|| self.send(method, params, Waiter::Thread(slot.clone()))).map_err(Gone::new_err)?;
        loop {
            let left = until.map_or(LOOK, |until| until.saturating_duration_since(Instant::now()).min(LOOK));
            if let Some(reply) = py.detach(|| slot.wait(left)) {
                return match reply {
                    Reply::Gone(reason) => Err(Gone::new_err(reason)),
                    reply => Ok(reply),
                };
            }
            if let Err(interrupt) = py.check_signals() {
                py.detach(|| self.cancel(id));
                return Err(interrupt);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                py.detach(|| self.cancel(id));
                return Err(TimedOut::new_err("no answer in time"));
            }
        }
    }

    fn send(&self, method: &str, params: &Value, waiter: Waiter) -> Result<u64, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Before it is written: the answer may be quicker than this thread.
        self.pending.add(id, waiter)?;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).inspect_err(|_| {
            self.pending.forget(id);
        })?;
        Ok(id)
    }

    fn write(&self, message: &Value) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let written = locked(&self.writer).write_all(&line);
        written.map_err(|error| self.pending.gone().unwrap_or_else(|| format!("the engine is gone: {error}")))
    }

    fn cancel(&self, id: u64) {
        if self.pending.forget(id) {
            let params = json!({"requestId": id, "reason": "the caller gave up"});
            let _ = self.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
        }
    }

    fn read(&self, mut reader: BufReader<UnixStream>) {
        let mut line = Vec::new();
        let reason = loop {
            line.clear();
            match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => break "the engine is gone".to_owned(),
                Ok(_) => {}
                Err(error) => break format!("the engine is gone: {error}"),
            }
            let Ok(message) = serde_json::from_slice::<Value>(&line) else {
                break "the engine sent what is no message".to_owned();
            };
            self.take(message);
        };
        self.end(&reason);
    }

    fn take(&self, mut message: Value) {
        let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
        match (method.as_deref(), message.get("id").cloned()) {
            (Some("ping"), Some(id)) => drop(self.write(&json!({"jsonrpc": "2.0", "id": id, "result": {}}))),
            (Some(_), Some(id)) => {
                let error = json!({"code": -32601, "message": "this client takes no such request"});
                let _ = self.write(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
            (Some("notifications/tools/list_changed"), None) => {
                self.changes.fetch_add(1, Ordering::AcqRel);
            }
            (None, Some(id)) => {
                let Some(id) = id.as_u64() else { return };
                let reply = match (message.get("result").is_some(), message.get_mut("error")) {
                    (true, _) => Reply::Result(message.get_mut("result").map(Value::take).unwrap_or_default()),
                    (false, Some(error)) => Reply::Error(error.take()),
                    (false, None) => Reply::Gone("the engine sent an answer without a result".to_owned()),
                };
                self.pending.answer(id, reply);
            }
            _ => {}
        }
    }

    fn end(&self, reason: &str) {
        self.pending.end(reason);
        let _ = locked(&self.writer).shutdown(Shutdown::Both);
    }

    fn close(&self) {
        self.end("the connection was closed");
        let inside = locked(&self.inside);
        let waited = self.left.wait_timeout_while(inside, ENDING, |inside| *inside > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A thread inside a request.
struct Inside<'a>(&'a Inner);

impl<'a> Inside<'a> {
    fn enter(inner: &'a Inner) -> Self {
        *locked(&inner.inside) += 1;
        Self(inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut inside = locked(&self.0.inside);
        *inside = inside.saturating_sub(1);
        self.0.left.notify_all();
    }
}

/// What Python sees of a reply.
pub(crate) fn outcome<'py>(py: Python<'py>, reply: Reply) -> PyResult<Bound<'py, PyTuple>> {
    let (kind, value) = match reply {
        Reply::Result(value) => ("result", value),
        Reply::Error(value) => ("error", value),
        Reply::Gone(reason) => ("gone", Value::String(reason)),
    };
    (kind, codec::to_python(py, &value)?).into_pyobject(py)
}
