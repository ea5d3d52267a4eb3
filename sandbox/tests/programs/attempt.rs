//! Tries things and says how each went: one line per argument, `ACT -> RESULT`. It runs inside a jail and, as the control,
//! outside.
//! For this crate's tests only; nothing of the product starts it.
#![allow(unsafe_code, reason = "raw system calls are what is being tried")]
#![allow(clippy::disallowed_methods, reason = "it tries what product code must not do")]
#![allow(clippy::print_stdout, reason = "its whole purpose is to report")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test program: a panic is a visible failure")]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

type Outcome = io::Result<String>;

fn main() {
    for act in std::env::args().skip(1) {
        let (name, rest) = act.split_once(':').unwrap_or((&act, ""));
        let result = match attempt(name, rest) {
            Ok(text) if text.is_empty() => "ok".to_owned(),
            Ok(text) => text,
            Err(error) => error_name(&error),
        };
        println!("{act} -> {result}");
    }
}

fn error_name(error: &io::Error) -> String {
    let number = error.raw_os_error().unwrap_or(0);
    let known = [
        (libc::EPERM, "EPERM"),
        (libc::EACCES, "EACCES"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EFAULT, "EFAULT"),
        (libc::EINVAL, "EINVAL"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::ESRCH, "ESRCH"),
        (libc::EBADF, "EBADF"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EXDEV, "EXDEV"),
    ];
    known
        .iter()
        .find(|(value, _)| *value == number)
        .map_or_else(|| format!("error {number} ({error})"), |(_, name)| (*name).to_owned())
}

fn attempt(name: &str, rest: &str) -> Outcome {
    let parts: Vec<&str> = rest.split(':').collect();
    match name {
        "read" => fs::read(rest).map(|bytes| format!("{} bytes", bytes.len())),
        "cat" => fs::read_to_string(rest).map(|text| text.trim().to_owned()),
        "write" => File::create(rest)?.write_all(b"x").map(done),
        "append" => OpenOptions::new().append(true).open(rest)?.write_all(b"x").map(done),
        "stat" => fs::symlink_metadata(rest).map(|_| String::new()),
        "list" => list(rest),
        "mkdir" => fs::create_dir(rest).map(done),
        "unlink" => fs::remove_file(rest).map(done),
        "rename" => fs::rename(parts[0], parts[1]).map(done),
        "symlink" => std::os::unix::fs::symlink(parts[0], parts[1]).map(done),
        "chmod" => fs::set_permissions(rest, fs::Permissions::from_mode(0o600)).map(done),
        "fchmod" => OpenOptions::new().write(true).open(rest)?.set_permissions(fs::Permissions::from_mode(0o600)).map(done),
        "chown" => path_call(libc::SYS_fchownat, rest, &[libc::c_long::from(u32::MAX), libc::c_long::from(u32::MAX), 0]),
        "utime" => path_call(libc::SYS_utimensat, rest, &[0, 0]),
        "futime" => OpenOptions::new().write(true).open(rest)?.set_modified(std::time::SystemTime::UNIX_EPOCH).map(done),
        "truncate" => truncate(rest),
        "mknod" => path_call(libc::SYS_mknodat, rest, &[libc::c_long::from(libc::S_IFCHR | 0o600), 0x103]),
        "inotify" => inotify(rest),
        "exec" => Err(std::process::Command::new(rest).exec()),
        "run" => {
            std::process::Command::new(rest).output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        "copyrun" => copy_and_run(rest),
        "connect" => TcpStream::connect(rest).map(|_| String::new()),
        "bind" => TcpListener::bind(rest).map(|_| String::new()),
        "udp" => std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(b"x", rest).map(|_| String::new()),
        "resolve" => (rest, 80).to_socket_addrs().map(|found| format!("{} addresses", found.count().min(1))),
        "unix" => std::os::unix::net::UnixStream::connect(rest).map(|_| String::new()),
        "abstract" => send_abstract(rest),
        "sys" => raw(&parts),
        "int80" => int80(),
        "env" => Ok(std::env::vars_os().map(|(key, _)| key.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")),
        "fds" => Ok(open_fds()),
        "limit" => limit(rest),
        "ids" => ids(),
        "privileges" => privileges(),
        "spin" => spin(),
        "open" => open_many(rest.parse().expect("a number")),
        "exit" => std::process::exit(rest.parse().expect("a number")),
        "segv" => segv(),
        "alloc" => alloc(rest),
        "fill" => fill(parts[0], parts[1]),
        "files" => many_files(parts[0], parts[1]),
        "forks" => forks(rest.parse().expect("a number")),
        "bomb" => bomb(),
        "threads" => threads(rest.parse().expect("a number")),
        "single" => single_threaded(),
        "daemon" => daemon(),
        "ignore" => ignore_signals(),
        "stop" => stop_self(),
        "hang" => hang(),
        "say" => say(rest),
        "say_ids" => say(&ids()?),
        "say_env" => say(&std::env::vars_os().map(|(key, _)| key.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")),
        "no_exec" => sandbox::bpf::install(&sandbox::bpf::no_exec_filter()).map(done),
        "no_fork" => sandbox::bpf::install(&sandbox::bpf::no_fork_filter()).map(done),
        "groups" => groups(rest.parse().expect("a number")),
        "serve" => serve(&parts),
        "forbid" => forbid(rest.parse().expect("a number")),
        "try_spawn" => try_spawn(&parts),
        other => panic!("unknown act `{other}`"),
    }
}

fn done((): ()) -> String {
    String::new()
}

fn answer(result: libc::c_long) -> Outcome {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(String::new()) }
}

fn list(path: &str) -> Outcome {
    let mut names: Vec<String> =
        fs::read_dir(path)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names.join(","))
}

/// A call whose arguments are AT_FDCWD, a path, and some numbers.
fn path_call(call: libc::c_long, path: &str, numbers: &[libc::c_long]) -> Outcome {
    let path = CString::new(path).unwrap();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    // SAFETY: the path is NUL-terminated and lives until the call returns; the rest are integers or null pointers.
    answer(unsafe { libc::syscall(call, libc::AT_FDCWD, path.as_ptr(), number(0), number(1), number(2)) })
}

fn truncate(path: &str) -> Outcome {
    let path = CString::new(path).unwrap();
    // SAFETY: a NUL-terminated path.
    answer(libc::c_long::from(unsafe { libc::truncate(path.as_ptr(), 0) }))
}

fn inotify(path: &str) -> Outcome {
    let path = CString::new(path).unwrap();
    // SAFETY: integers and a NUL-terminated path.
    unsafe {
        let fd = libc::inotify_init1(0);
        answer(fd.into())?;
        answer(libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_ALL_EVENTS).into())
    }
}

/// Copies this very program somewhere and starts the copy.
fn copy_and_run(to: &str) -> Outcome {
    let own = std::env::args_os().next().unwrap();
    fs::copy(own, to)?;
    std::process::Command::new(to)
        .arg("say:hello")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Sends from descriptor 3, a datagram socket made outside, to an abstract name.
fn send_abstract(name: &str) -> Outcome {
    // SAFETY: an all-zero address is valid; the length covers family, the leading NUL and the name.
    unsafe {
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (slot, byte) in address.sun_path[1..].iter_mut().zip(name.bytes()) {
            *slot = byte as libc::c_char;
        }
        let length = size_of::<libc::sa_family_t>() + 1 + name.len();
        answer(libc::sendto(3, c"x".as_ptr().cast(), 1, 0, (&raw const address).cast(), length as libc::socklen_t) as libc::c_long)
    }
}

/// `sys:NUMBER:ARG…`, decimal or 0x; missing arguments are 0.
fn raw(parts: &[&str]) -> Outcome {
    let number = |at: usize| -> libc::c_long {
        let text = parts.get(at).copied().unwrap_or("0");
        let parsed =
            text.strip_prefix("0x").map_or_else(|| text.parse::<i64>(), |hex| u64::from_str_radix(hex, 16).map(|n| n as i64));
        parsed.unwrap_or_else(|error| panic!("`{text}`: {error}"))
    };
    let own = std::process::id();
    // SAFETY: whatever the call does is the point; this process does nothing else afterwards that could be harmed.
    let result = unsafe { libc::syscall(number(0), number(1), number(2), number(3), number(4), number(5), number(6)) };
    let error = io::Error::last_os_error();
    if std::process::id() != own {
        // SAFETY: the child that a clone call made ends at once.
        unsafe { libc::_exit(0) }
    }
    if result < 0 { Err(error) } else { Ok(String::new()) }
}

/// A 32-bit system call from a 64-bit program.
#[cfg(target_arch = "x86_64")]
fn int80() -> Outcome {
    let result: i32;
    // SAFETY: getpid of the 32-bit table; it clobbers what is declared.
    unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
    if result > 0 { Ok(String::new()) } else { Err(io::Error::from_raw_os_error(-result)) }
}

#[cfg(not(target_arch = "x86_64"))]
fn int80() -> Outcome {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Open descriptors, found without /proc.
fn open_fds() -> String {
    // SAFETY: F_GETFD reads a flag.
    let open = (0..20000).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0);
    open.map(|fd| fd.to_string()).collect::<Vec<_>>().join(",")
}

fn limit(name: &str) -> Outcome {
    let resource = match name {
        "core" => libc::RLIMIT_CORE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "fsize" => libc::RLIMIT_FSIZE,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "cpu" => libc::RLIMIT_CPU,
        other => panic!("unknown limit `{other}`"),
    };
    let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `value` is a live out pointer.
    answer(unsafe { libc::getrlimit(resource, &raw mut value) }.into())?;
    Ok(format!("{}/{}", value.rlim_cur, value.rlim_max))
}

/// Users, groups and supplementary groups, as the kernel says.
fn ids() -> Outcome {
    let mut ids = [0_u32; 6];
    let mut groups = [0_u32; 64];
    let [a, b, c, d, e, f] = &mut ids;
    // SAFETY: live out pointers; the group buffer has the length given.
    let count = unsafe {
        libc::getresuid(a, b, c);
        libc::getresgid(d, e, f);
        libc::getgroups(64, groups.as_mut_ptr())
    };
    Ok(format!("{ids:?} {:?}", &groups[..count.max(0) as usize]))
}

/// Capabilities held and bounding, and whether privileges can be gained.
fn privileges() -> Outcome {
    let held = rustix::thread::capabilities(None)?;
    // SAFETY: prctl with integers only.
    let (bounding, no_new_privs, seccomp) = unsafe {
        let bounding = (0..64).filter(|&cap| libc::prctl(libc::PR_CAPBSET_READ, cap, 0, 0, 0) == 1).count();
        (bounding, libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0))
    };
    let held = (held.effective | held.permitted | held.inheritable).bits();
    Ok(format!("held {held:x} bounding {bounding} no_new_privs {no_new_privs} seccomp {seccomp}"))
}

fn alloc(mb: &str) -> Outcome {
    let size = mb.parse::<usize>().unwrap() << 20;
    // SAFETY: an anonymous mapping at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for offset in (0..size).step_by(4096) {
        // SAFETY: inside the mapping.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
    Ok(String::new())
}

fn fill(path: &str, mb: &str) -> Outcome {
    let mut file = File::create(path)?;
    let block = vec![1_u8; 1 << 20];
    for _ in 0..mb.parse::<usize>().unwrap() {
        file.write_all(&block)?;
    }
    Ok(String::new())
}

fn many_files(folder: &str, count: &str) -> Outcome {
    for number in 0..count.parse::<usize>().unwrap() {
        File::create(Path::new(folder).join(format!("f{number}")))?;
    }
    Ok(String::new())
}

/// Makes children that wait, until a limit stops it: how many, and which error.
fn forks(most: usize) -> Outcome {
    let mut made = 0;
    let error = loop {
        if made == most {
            break None;
        }
        // SAFETY: this program has one thread; the child only waits.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => break Some(io::Error::last_os_error()),
            _ => made += 1,
        }
    };
    Ok(format!("{made} {}", error.map_or("all".to_owned(), |error| error_name(&error))))
}

/// Every process doubles, for ever. The limit of 200 is for the machine's sake, should the jail not hold.
fn bomb() -> Outcome {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: live pointers.
    unsafe {
        answer(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit).into())?;
        limit.rlim_cur = limit.rlim_max.min(200);
        answer(libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit).into())?;
    }
    say("bomb")?;
    loop {
        // SAFETY: this program has one thread, and the children do the same.
        unsafe { libc::fork() };
    }
}

fn threads(count: usize) -> Outcome {
    let made = (0..count)
        .map(|_| {
            std::thread::Builder::new().spawn(|| {
                loop {
                    std::thread::park();
                }
            })
        })
        .filter(Result::is_ok)
        .count();
    Ok(format!("{made}"))
}

/// `unshare(CLONE_THREAD)`: nothing happens, except EINVAL in a process with several threads.
fn single_threaded() -> Outcome {
    // SAFETY: integers only.
    answer(unsafe { libc::unshare(libc::CLONE_THREAD) }.into())
}

/// A grandchild in a session of its own, which its parents leave behind once it has said its number.
fn daemon() -> Outcome {
    let (reader, writer) = rustix::pipe::pipe()?;
    // SAFETY: one thread; the children only wait.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                say(&libc::getpid().to_string()).unwrap();
                drop(writer);
                loop {
                    libc::pause();
                }
            }
            libc::_exit(0);
        }
        answer(child.into())?;
    }
    drop(writer);
    // Ends when the last copy is closed, which is the grandchild's.
    rustix::io::read(&reader, &mut [0_u8; 1])?;
    Ok(String::new())
}

fn ignore_signals() -> Outcome {
    for signal in 1..32 {
        // SAFETY: SIG_IGN is a valid action; what cannot be ignored is refused.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(String::new())
}

fn spin() -> Outcome {
    loop {
        std::hint::spin_loop();
    }
}

/// A fault of the program's own making.
fn segv() -> Outcome {
    // SAFETY: it is not; that is the point, and nothing comes after it.
    unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
    Ok(String::new())
}

fn open_many(count: usize) -> Outcome {
    let files = (0..count).map(|_| File::open("/dev/null")).collect::<Result<Vec<_>, _>>()?;
    Ok(files.len().to_string())
}

fn stop_self() -> Outcome {
    // SAFETY: integers only.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
    Ok(String::new())
}

fn hang() -> Outcome {
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

/// Writes a line to the control socket.
fn say(text: &str) -> Outcome {
    let line = format!("{text}\n");
    // SAFETY: pointer and length are those of a live string.
    answer(unsafe { libc::write(3, line.as_ptr().cast(), line.len()) } as libc::c_long)
}

/// Outside: this process and all it starts lose a system call, as on a kernel or in a container that lacks it.
fn forbid(call: libc::c_long) -> Outcome {
    sandbox::bpf::install(&sandbox::bpf::Filter::new().refuse(libc::EPERM, &[call]).build()).map(done)
}

/// Outside, as root: one supplementary group.
fn groups(group: libc::gid_t) -> Outcome {
    // SAFETY: one group is read from a live place.
    answer(unsafe { libc::setgroups(1, &raw const group) }.into())
}

/// Outside: starts a jail (LAUNCHER, JAIL file) and says what came of it.
fn try_spawn(parts: &[&str]) -> Outcome {
    let jail = serde_json::from_slice(&fs::read(parts[1])?)?;
    let (control, _ours) = std::os::unix::net::UnixStream::pair()?;
    Ok(match sandbox::spawn(Path::new(parts[0]), &jail, control.into()) {
        Ok(confined) => format!("entered {:?}", confined.entry.level),
        Err(sandbox::SpawnError::Refused { step, errno, .. }) => format!("refused {} {errno}", sandbox::step_name(step)),
        Err(other) => other.to_string(),
    })
}

/// Outside: a server that starts a jail (LAUNCHER, JAIL file) with its standard input as control socket, and waits to be killed.
fn serve(parts: &[&str]) -> Outcome {
    let jail = serde_json::from_slice(&fs::read(parts[1])?)?;
    let control: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let confined = sandbox::spawn(Path::new(std::ffi::OsStr::from_bytes(parts[0].as_bytes())), &jail, control).expect("spawn");
    // The only copy left is the confined program's.
    // SAFETY: standard input is not used again.
    unsafe { libc::close(0) };
    println!("{}", confined.child_pid);
    hang()
}
