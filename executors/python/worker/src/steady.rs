//! A zygote at rest: hears the host's orders, forks waiting children, reaps them. In Rust and not in Python because every page that the
//! zygote writes between two forks is a page that is copied again, and an interpreter writes a page with every object it looks at:
//! about 200 of them a fork, beside 10 here.
//!
//! What a child then does is `serve.py`'s; orders that are not to fork are handed back to `zygote.py`.

use std::{
    collections::HashMap,
    ffi::{CString, c_char, c_int},
    io, mem, ptr, str,
};

use pyo3::{exceptions::PyValueError, ffi, prelude::*, types::PyBytes};

use crate::{
    channel,
    walls::{self, Walls},
};

/// First byte of an order to fork; every other message is a JSON object. `message.rs` of the host writes it.
const FORK: u8 = 0;
/// Room for the scratch folder's path in the environment.
const PATH_ROOM: usize = 4096;
const TMPDIR: &[u8] = b"TMPDIR=";
/// Children of one order; the host's pools are far smaller.
const MAX_ORDER: usize = 4096;
/// Scratch folders made before the first call and used again after each: a call that fills the plugin's room would else keep every other
/// call from getting one.
const SPARE: usize = 64;

/// What the steady state needs, read from the attributes of `zygote.Zygote`.
#[derive(FromPyObject)]
struct Zygote<'py> {
    /// Control socket.
    control: c_int,
    /// Folder of the calls' scratch folders.
    scratch: String,
    /// `O_PATH` descriptors of what a call may see and change beside its scratch folder.
    readable: Vec<c_int>,
    writable: Vec<c_int>,
    may_spawn: bool,
    message_limit: usize,
    /// Called in the child with its socket and its scratch folder; does not return.
    serve_child: Bound<'py, PyAny>,
    /// Called with a scratch folder that is not empty; says whether it is now.
    empty_scratch: Bound<'py, PyAny>,
}

/// A child that was forked and not reaped.
struct Waiting {
    identity: u64,
    scratch: CString,
}

/// An order to fork.
struct Order {
    identities: Vec<u64>,
    limits: Vec<(u32, u64)>,
}

/// Serves orders to fork until the host closes the control socket (`None`) or sends an order of another kind, which is returned.
#[pyfunction]
pub(crate) fn serve_orders<'py>(py: Python<'py>, zygote: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let zygote: Zygote<'py> = zygote.extract()?;
    let signals = Signals::watch()?;
    let mut environment = Environment::install(&zygote.scratch)?;
    let mut folders = Folders::reserve(&zygote.scratch)?;
    let walls = Walls::new(zygote.readable.clone(), zygote.writable.clone(), zygote.may_spawn);
    let mut waiting = HashMap::new();
    loop {
        let (ordered, ended) = py.detach(|| wait(zygote.control, signals.descriptor))?;
        if ended {
            signals.drain();
            reap(&zygote, &mut folders, &mut waiting)?;
        }
        if !ordered {
            continue;
        }
        let Some(message) = receive(py, &zygote)? else { return Ok(None) };
        let bytes = message.as_bytes();
        if bytes.first() != Some(&FORK) {
            signals.restore()?;
            return Ok(Some(message));
        }
        let order = Order::parse(bytes).ok_or_else(|| PyValueError::new_err("an order to fork that can't be read"))?;
        for identity in &order.identities {
            let scratch = match folders.take() {
                Ok(scratch) => scratch,
                Err(error) => {
                    not_forked(&zygote, *identity, error.raw_os_error())?;
                    continue;
                }
            };
            environment.write(scratch.as_bytes())?;
            if let Some((pid, child)) = fork(&zygote, &walls, &signals, &mut folders, *identity, scratch, &order.limits)? {
                waiting.insert(pid, child);
            }
        }
    }
}

impl Order {
    /// `0`, then two little-endian counts, then identities (`u64`) and limits (`u32` resource, `u64` value).
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(1..)?;
        let (identities, limits) = (take::<4>(&mut rest)?, take::<4>(&mut rest)?);
        let (identities, limits) = (u32::from_le_bytes(identities) as usize, u32::from_le_bytes(limits) as usize);
        if identities > MAX_ORDER || rest.len() != identities * 8 + limits * 12 {
            return None;
        }
        let identities = (0..identities).map(|_| take(&mut rest).map(u64::from_le_bytes)).collect::<Option<_>>()?;
        let limits = (0..limits)
            .map(|_| Some((u32::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?))))
            .collect::<Option<_>>()?;
        Some(Self { identities, limits })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn receive<'py>(py: Python<'py>, zygote: &Zygote<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    match channel::receive_message(py, zygote.control, zygote.message_limit) {
        // The host closed its end with a message of ours unread.
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyConnectionError>(py) => Ok(None),
        received => received,
    }
}

/// Whether there is an order, and whether a child has ended.
fn wait(control: c_int, signals: c_int) -> io::Result<(bool, bool)> {
    let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut watched = [watch(control), watch(signals)];
    // SAFETY: the array outlives the call and its length is given.
    let found = channel::retry(|| unsafe { libc::poll(watched.as_mut_ptr(), 2, -1) } as isize);
    if found < 0 { Err(io::Error::last_os_error()) } else { Ok((watched[0].revents != 0, watched[1].revents != 0)) }
}

/// The signals of a zygote, read from a descriptor instead of handled: SIGCHLD to reap, SIGTERM to be left alone.
struct Signals {
    descriptor: c_int,
    before: libc::sigset_t,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        // SAFETY: all-zero sets are valid to be written into, and every pointer outlives its call.
        unsafe {
            let (mut set, mut before): (libc::sigset_t, libc::sigset_t) = (mem::zeroed(), mem::zeroed());
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGCHLD);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before) != 0 {
                return Err(io::Error::last_os_error());
            }
            let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if descriptor < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { descriptor, before }) }
        }
    }

    fn drain(&self) {
        let mut space = [0u8; mem::size_of::<libc::signalfd_siginfo>()];
        // SAFETY: the space is writable for its length.
        while unsafe { libc::read(self.descriptor, space.as_mut_ptr().cast(), space.len()) } > 0 {}
    }

    /// Gives the process its signals back. Async-signal-safe, so that a child may call it first.
    fn restore(&self) -> io::Result<()> {
        // SAFETY: the set is initialised; the descriptor is ours and not used again.
        let done = unsafe {
            libc::close(self.descriptor);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// `TMPDIR` of the C library's environment, in a buffer of our own that is written before each fork, so that no child has to.
struct Environment {
    entry: &'static mut [u8],
}

impl Environment {
    fn install(scratch: &str) -> io::Result<Self> {
        let entry: &'static mut [u8] = vec![0; PATH_ROOM].leak();
        let mut environment = Self { entry };
        environment.write(scratch.as_bytes())?;
        // SAFETY: the entry is terminated by a zero byte and is never freed.
        if unsafe { libc::putenv(environment.entry.as_mut_ptr().cast::<c_char>()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(environment)
    }

    fn write(&mut self, path: &[u8]) -> io::Result<()> {
        let end = TMPDIR.len() + path.len();
        let room = self.entry.get_mut(..=end).ok_or_else(|| io::Error::other("the scratch folder's path is too long"))?;
        room[..TMPDIR.len()].copy_from_slice(TMPDIR);
        room[TMPDIR.len()..end].copy_from_slice(path);
        room[end] = 0;
        Ok(())
    }
}

/// The scratch folders of a plugin's calls.
struct Folders {
    root: String,
    spare: Vec<CString>,
    made: u64,
}

impl Folders {
    fn reserve(root: &str) -> io::Result<Self> {
        let mut folders = Self { root: root.to_owned(), spare: Vec::with_capacity(2 * SPARE), made: 0 };
        for _ in 0..SPARE {
            let folder = folders.make()?;
            folders.spare.push(folder);
        }
        Ok(folders)
    }

    fn take(&mut self) -> io::Result<CString> {
        self.spare.pop().map_or_else(|| self.make(), Ok)
    }

    fn make(&mut self) -> io::Result<CString> {
        self.made += 1;
        // SAFETY: takes nothing.
        let path = CString::new(format!("{}/{}-{}", self.root, unsafe { libc::getpid() }, self.made))?;
        // SAFETY: the path is terminated and outlives the call.
        walls::check(unsafe { libc::mkdir(path.as_ptr(), 0o700) }.into())?;
        Ok(path)
    }

    /// Empties a folder for the next call. One that can't be emptied is not used again.
    fn give_back(&mut self, zygote: &Zygote<'_>, folder: CString) -> PyResult<()> {
        // SAFETY: the path is terminated. The call may have taken its own rights to it.
        unsafe { libc::chmod(folder.as_ptr(), 0o700) };
        let path = str::from_utf8(folder.as_bytes()).unwrap_or_default();
        if is_empty(&folder) || zygote.empty_scratch.call1((path,))?.is_truthy()? {
            self.spare.push(folder);
        }
        Ok(())
    }
}

/// Whether a folder holds nothing. Most do, and asking so writes no page of the interpreter.
fn is_empty(folder: &CString) -> bool {
    let mut space = [0u64; 64];
    // SAFETY: the path is terminated, the space is aligned as the records are and writable for the length that is given.
    let got = unsafe {
        let descriptor = libc::open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC);
        if descriptor < 0 {
            return false;
        }
        let got = libc::syscall(libc::SYS_getdents64, descriptor, space.as_mut_ptr(), mem::size_of_val(&space));
        libc::close(descriptor);
        got
    };
    // `.` and `..`, each a record of 24 bytes: three words.
    got == 48
}

/// Forks one child: its end of a socket pair, its own log pipe, its own scratch folder. Returns in the zygote only.
fn fork(
    zygote: &Zygote<'_>,
    walls: &Walls,
    signals: &Signals,
    folders: &mut Folders,
    identity: u64,
    scratch: CString,
    limits: &[(u32, u64)],
) -> PyResult<Option<(libc::pid_t, Waiting)>> {
    let (ours, theirs) = channel::open_pair()?;
    let (log, log_in) = open_pipe()?;
    let said = channel::send(zygote.control, format!("{{\"t\":\"child\",\"id\":{identity}}}").as_bytes(), &[theirs, log]);
    close(&[theirs, log]);
    said?;
    // SAFETY: takes nothing.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the interpreter lock is held, as it is in `os.fork`, which does the same three steps.
    let pid = unsafe {
        ffi::PyOS_BeforeFork();
        libc::fork()
    };
    if pid == 0 {
        let entered = enter_child(zygote.control, walls, signals, &scratch, log_in, limits, parent);
        // Only now: at-fork hooks of the plugin run here, behind the walls of the call.
        // SAFETY: this is the child, and nothing of Python ran since the fork.
        unsafe { ffi::PyOS_AfterFork_Child() };
        if entered.is_ok() {
            let path = str::from_utf8(scratch.as_bytes()).unwrap_or_default();
            // It ends the process itself; what comes back is a fault of ours.
            let _ = zygote.serve_child.call1((ours, path));
        }
        // SAFETY: ends this process without running anything of the zygote's.
        unsafe { libc::_exit(70) }
    }
    let errno = io::Error::last_os_error().raw_os_error();
    // SAFETY: this is the parent, whether the fork succeeded or not.
    unsafe { ffi::PyOS_AfterFork_Parent() };
    close(&[ours, log_in]);
    let child = Waiting { identity, scratch };
    if pid > 0 {
        return Ok(Some((pid, child)));
    }
    folders.give_back(zygote, child.scratch)?;
    not_forked(zygote, identity, errno)?;
    Ok(None)
}

fn not_forked(zygote: &Zygote<'_>, identity: u64, errno: Option<i32>) -> io::Result<()> {
    let errno = errno.map_or_else(|| "null".to_owned(), |errno| errno.to_string());
    let message = format!("{{\"t\":\"not_forked\",\"id\":{identity},\"errno\":{errno}}}");
    channel::send(zygote.control, message.as_bytes(), &[])
}

/// From the fork to the walls, without Python.
fn enter_child(
    control: c_int,
    walls: &Walls,
    signals: &Signals,
    scratch: &CString,
    log: c_int,
    limits: &[(u32, u64)],
    parent: libc::pid_t,
) -> io::Result<()> {
    signals.restore()?;
    // SAFETY: plain integers and a terminated path; the descriptors are the child's own copies.
    let own = unsafe {
        libc::close(control);
        walls::check(libc::dup2(log, 1).into())?;
        walls::check(libc::dup2(log, 2).into())?;
        libc::close(log);
        // A signal to the process group must not reach the zygote.
        walls::check(libc::setsid().into())?;
        walls::check(libc::open(scratch.as_ptr(), libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY).into())?
    };
    walls.enter(limits, Some(own as c_int), parent)?;
    // SAFETY: the path is terminated.
    walls::check(unsafe { libc::chdir(scratch.as_ptr()) }.into())?;
    Ok(())
}

/// Reaps every process that has ended, and tells the host of those that it ordered.
fn reap(zygote: &Zygote<'_>, folders: &mut Folders, waiting: &mut HashMap<libc::pid_t, Waiting>) -> PyResult<()> {
    loop {
        let mut status: c_int = 0;
        // SAFETY: an all-zero rusage is valid, and the call only writes into it.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: both are valid to write into.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid <= 0 {
            return Ok(());
        }
        // One that is not ours is a process that plugin code left behind and that came to us as the init of its namespace.
        let Some(child) = waiting.remove(&pid) else { continue };
        let cpu = walls::micros(usage.ru_utime) + walls::micros(usage.ru_stime);
        let message = format!("{{\"t\":\"exited\",\"id\":{},\"status\":{status},\"cpu_us\":{cpu}}}", child.identity);
        channel::send(zygote.control, message.as_bytes(), &[])?;
        folders.give_back(zygote, child.scratch)?;
    }
}

fn open_pipe() -> io::Result<(c_int, c_int)> {
    let mut ends = [0 as c_int; 2];
    // SAFETY: `ends` holds the two descriptors that the call writes.
    walls::check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((ends[0], ends[1]))
}

fn close(descriptors: &[c_int]) {
    for descriptor in descriptors {
        // SAFETY: the descriptors are ours and not used again.
        unsafe { libc::close(*descriptor) };
    }
}
