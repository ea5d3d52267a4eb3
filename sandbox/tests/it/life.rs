//! Life and death: nothing outlives the jail, whoever dies first and however.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{ALL_LEVELS, Cell, LEVELS, PATIENCE, Server, attempt_program, is_at_end, launcher, read_line};

#[test]
fn the_end_is_told_as_it_was() {
    for level in ALL_LEVELS {
        let ended = |act: &str| Cell::new(level, &[act]).run().ended;
        assert_eq!((ended("exit:7").code, ended("exit:0").code), (Some(7), Some(0)), "{level:?}");
        // 139 is also what a shell says of signal 11: the two must not be mixed up.
        assert_eq!((ended("exit:139").code, ended("exit:139").signal), (Some(139), None), "{level:?}");
        assert_eq!((ended("segv").code, ended("segv").signal), (None, Some(libc::SIGSEGV)), "{level:?}");
        assert!(ended("alloc:30").peak_kb > 30_000, "{level:?}");
    }
}

#[test]
fn a_daemon_dies_with_the_program() {
    for level in ALL_LEVELS {
        let mut running = Cell::new(level, &["daemon"]).start();
        assert!(running.line().parse::<i32>().is_ok());
        assert!(running.all_dead(), "{level:?}");
        assert_eq!(running.finish().ended.code, Some(0));
    }
    // Control: outside it lives on.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let script = format!("exec 3<&0 </dev/null; exec {} daemon", attempt_program());
    Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let daemon = Pid::from_raw(read_line(&mut ours).parse().unwrap()).unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(!is_at_end(&mut ours));
    kill_process(daemon, Signal::KILL).unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(is_at_end(&mut ours));
}

#[test]
fn dropping_kills_what_ignores_every_signal() {
    for level in ALL_LEVELS {
        let mut running = Cell::new(level, &["ignore", "daemon", "say:ready", "hang"]).start();
        assert!(running.line().parse::<i32>().is_ok());
        assert_eq!(running.line(), "ready");
        let (confined, mut control) = (running.confined, running.control);
        drop(confined);
        assert!(is_at_end(&mut control), "{level:?}");
    }
}

#[test]
fn killing_leaves_the_value_to_wait_on() {
    for level in ALL_LEVELS {
        let mut running = Cell::new(level, &["say:ready", "hang"]).start();
        assert_eq!(running.line(), "ready");
        assert!(running.confined.try_wait().unwrap().is_none());
        running.confined.kill();
        assert_eq!(running.confined.wait().unwrap().signal, Some(libc::SIGKILL), "{level:?}");
        assert!(running.all_dead());
    }
}

#[test]
fn a_stopped_program_dies_too() {
    for level in ALL_LEVELS {
        let mut running = Cell::new(level, &["say:ready", "stop", "hang"]).start();
        assert_eq!(running.line(), "ready");
        // Stopped from outside as well: at L2 the program is its namespace's init and cannot stop itself.
        let child = Pid::from_raw(running.confined.child_pid).unwrap();
        kill_process(child, Signal::STOP).unwrap();
        running.confined.kill();
        assert_eq!(running.confined.wait().unwrap().signal, Some(libc::SIGKILL), "{level:?}");
    }
}

#[test]
fn a_fork_bomb_dies_whole() {
    for level in ALL_LEVELS {
        let mut cell = Cell::new(level, &["bomb"]);
        cell.jail.limits.processes = Some(100);
        let mut running = cell.start();
        assert_eq!(running.line(), "bomb");
        running.confined.kill();
        assert!(running.all_dead(), "{level:?}");
        assert_eq!(running.confined.wait().unwrap().signal, Some(libc::SIGKILL), "{level:?}");
    }
}

#[test]
fn a_killed_server_leaves_no_orphan() {
    for level in ALL_LEVELS {
        let cell = Cell::new(level, &["ignore", "daemon", "say:ready", "hang"]);
        let mut server = Server::start(&cell, [], &[]);
        let mut child = String::new();
        BufReader::new(server.process.stdout.take().unwrap()).read_line(&mut child).unwrap();
        assert!(read_line(&mut server.control).parse::<i32>().is_ok());
        assert_eq!(read_line(&mut server.control), "ready");
        // Control: it is alive before.
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        assert!(std::path::Path::new(&format!("/proc/{}", child.as_raw_nonzero())).exists());
        server.kill();
        assert!(is_at_end(&mut server.control), "{level:?}");
    }
}

#[test]
fn a_killed_monitor_takes_the_program_along() {
    for level in ALL_LEVELS {
        let mut running = Cell::new(level, &["say:ready", "hang"]).start();
        assert_eq!(running.line(), "ready");
        kill_process(Pid::from_raw(running.confined.pid().unwrap() as i32).unwrap(), Signal::KILL).unwrap();
        assert!(running.all_dead(), "{level:?}");
        assert_eq!(running.confined.wait().unwrap().signal, Some(libc::SIGKILL));
    }
}

#[test]
fn many_jails_leave_no_process_and_no_descriptor() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let _ = Cell::new(LEVELS[0], &["exit:0"]).run();
    let before = count();
    for level in LEVELS {
        for _ in 0..20 {
            drop(Cell::new(level, &["exit:0"]).run());
        }
    }
    // Other tests open descriptors meanwhile; forty leaked jails would show as two hundred.
    assert!(count() < before + 100, "{} descriptors, {before} before", count());
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_its_step() {
    for level in ALL_LEVELS {
        let mut cell = Cell::new(level, &[]);
        cell.jail.argv[0] = "/usr/bin/no-such-program".into();
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let error = sandbox::spawn(&launcher(), &cell.jail, theirs.into()).unwrap_err();
        assert!(matches!(error, sandbox::SpawnError::Refused { step: sandbox::Step::Exec, .. }), "{error} at {level:?}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_launcher_that_is_none_is_an_error() {
    let cell = Cell::new(LEVELS[0], &[]);
    let try_with = |program: &str| {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        sandbox::spawn(program.as_ref(), &cell.jail, theirs.into()).unwrap_err()
    };
    assert!(matches!(try_with("/no/such/launcher"), sandbox::SpawnError::Launch { .. }));
    // It ends without a word: either it is gone before the jail is sent, or it says nothing.
    let silent = try_with("/bin/true");
    assert!(matches!(silent, sandbox::SpawnError::Died(_) | sandbox::SpawnError::Launch { .. }), "{silent}");
}
