//! System calls: what the filter refuses, with which error, and that the filter is what refuses.

use libc::c_long;
use sandbox::{Level, Mount};

use crate::harness::{Cell, LEVELS, check, is_root, needs_root, outside};

fn act(call: c_long, arguments: &[i64]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|argument| format!(":{argument}")).collect();
    format!("sys:{call}{}", arguments.concat())
}

/// Inside the call gives `error` at both levels; outside, with the same arguments, it does not.
fn refused(error: &str, calls: &[(c_long, &[i64])]) {
    let acts: Vec<String> = calls.iter().map(|(call, arguments)| act(*call, arguments)).collect();
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    for level in LEVELS {
        let results = Cell::new(level, &acts).results();
        for (act, result) in acts.iter().zip(&results) {
            assert_eq!(result, error, "{act} at {level:?}");
        }
    }
    for act in &acts {
        assert_ne!(outside(&[act])[0], error, "{act} outside");
    }
}

const NOBODY: i64 = i32::MAX as i64;

#[test]
fn calls_that_any_user_may_make_outside() {
    refused(
        "EPERM",
        &[
            (libc::SYS_ptrace, &[16, NOBODY]),
            (libc::SYS_process_vm_readv, &[NOBODY]),
            (libc::SYS_process_vm_writev, &[NOBODY]),
            (libc::SYS_process_madvise, &[-1]),
            (libc::SYS_kcmp, &[NOBODY, NOBODY]),
            (libc::SYS_pidfd_getfd, &[-1]),
            (libc::SYS_setpriority, &[9]),
            (libc::SYS_sched_setscheduler, &[-1]),
            (libc::SYS_set_mempolicy, &[99]),
            (libc::SYS_keyctl, &[99]),
            (libc::SYS_add_key, &[]),
            (libc::SYS_request_key, &[]),
            (libc::SYS_userfaultfd, &[0xFFFF]),
            (libc::SYS_io_uring_setup, &[]),
            (libc::SYS_io_uring_enter, &[-1]),
            (libc::SYS_io_uring_register, &[-1]),
            (libc::SYS_io_setup, &[]),
            (libc::SYS_personality, &[0xFFFF_FFFF]),
            (libc::SYS_msgget, &[0x7EAD_BEEF]),
            (libc::SYS_semget, &[0x7EAD_BEEF, 1]),
            (libc::SYS_shmget, &[0x7EAD_BEEF, 1]),
            (libc::SYS_mq_open, &[]),
            (libc::SYS_name_to_handle_at, &[-1]),
            (libc::SYS_setns, &[-1]),
            (libc::SYS_perf_event_open, &[]),
            (libc::SYS_remap_file_pages, &[]),
        ],
    );
}

#[test]
fn calls_that_root_may_make_outside() {
    if !needs_root("calls_that_root_may_make_outside") {
        return;
    }
    refused(
        "EPERM",
        &[
            (libc::SYS_mount, &[]),
            (libc::SYS_umount2, &[]),
            (libc::SYS_pivot_root, &[]),
            (libc::SYS_chroot, &[]),
            (libc::SYS_fsopen, &[]),
            (libc::SYS_fsmount, &[-1]),
            (libc::SYS_move_mount, &[]),
            (libc::SYS_open_tree, &[-1]),
            (libc::SYS_mount_setattr, &[-1]),
            (libc::SYS_open_by_handle_at, &[-1]),
            (libc::SYS_bpf, &[99]),
            (libc::SYS_reboot, &[]),
            (libc::SYS_kexec_load, &[0, 99]),
            (libc::SYS_swapon, &[]),
            (libc::SYS_swapoff, &[]),
            (libc::SYS_acct, &[1]),
            (libc::SYS_sethostname, &[0, 5]),
            (libc::SYS_setdomainname, &[0, 5]),
            (libc::SYS_settimeofday, &[1]),
            (libc::SYS_clock_settime, &[99]),
            (libc::SYS_adjtimex, &[1]),
            (libc::SYS_syslog, &[99]),
            (libc::SYS_fanotify_init, &[0xFFFF_FFFF]),
            (libc::SYS_unshare, &[libc::CLONE_NEWUTS as i64]),
        ],
    );
}

#[test]
fn new_namespaces_cannot_be_made() {
    let child = i64::from(libc::SIGCHLD);
    refused(
        "EPERM",
        &[
            (libc::SYS_clone, &[child | i64::from(libc::CLONE_NEWUSER)]),
            (libc::SYS_clone, &[child | i64::from(libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNET)]),
            (libc::SYS_clone, &[child | i64::from(libc::CLONE_PARENT)]),
            (libc::SYS_unshare, &[libc::CLONE_NEWUSER as i64]),
        ],
    );
    // Control: a plain fork is the zygote's trade.
    for level in LEVELS {
        check(level, &[&act(libc::SYS_clone, &[child]), "forks:3"], &["ok", "3 all"]);
    }
}

#[test]
fn calls_with_an_older_form_do_not_exist() {
    refused("ENOSYS", &[(libc::SYS_clone3, &[]), (libc::SYS_execveat, &[-1])]);
}

#[test]
fn typing_into_a_terminal_is_refused() {
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        refused("EPERM", &[(libc::SYS_ioctl, &[0, request as i64])]);
        // The kernel looks at the low half of the number only.
        refused("EPERM", &[(libc::SYS_ioctl, &[0, request as i64 | 1 << 32])]);
    }
    // Control: another request reaches the (missing) terminal.
    for level in LEVELS {
        check(level, &[&act(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ as i64])], &["ENOTTY"]);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_call_tables_are_closed() {
    let x32 = act(libc::SYS_getpid | 0x4000_0000, &[]);
    let plain = act(libc::SYS_getpid, &[]);
    for level in LEVELS {
        check(level, &[&x32, &plain], &["EPERM", "ok"]);
        let killed = Cell::new(level, &["int80"]).run().ended;
        assert_eq!(killed.signal, Some(libc::SIGSYS), "a 32-bit call at {level:?}: {killed:?}");
    }
    assert_ne!(outside(&[&x32])[0], "EPERM");
    // The control shows that this kernel has 32-bit calls at all, so that the kill is the filter's.
    assert_eq!(outside(&["int80"]), ["ok"]);
}

#[test]
fn threads_can_be_counted_without_proc() {
    for level in LEVELS {
        check(level, &["single", "threads:1", "single"], &["ok", "1", "EINVAL"]);
    }
}

#[test]
fn programs_can_be_started_until_the_zygote_gives_it_up() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &["run:/usr/bin/whoami", "no_exec", "run:/usr/bin/whoami", "forks:1"]);
        cell.jail.mounts.push(Mount::system("/usr/bin"));
        let results = cell.results();
        // The program starts; whether it knows the user's name is another matter.
        assert_eq!(
            (results[0].as_str(), &results[1..]),
            ("ok", &["ok".to_owned(), "EPERM".to_owned(), "1 all".to_owned()][..]),
            "{level:?}"
        );
    }
}

#[test]
fn processes_can_be_made_until_the_worker_gives_it_up_and_threads_stay() {
    for level in LEVELS {
        check(level, &["forks:1", "no_fork", "forks:1", "threads:2"], &["1 all", "ok", "0 EPERM", "2"]);
    }
}

#[test]
fn nothing_is_left_of_privilege() {
    for level in LEVELS {
        let cell = Cell::new(level, &["ids", "privileges"]);
        let results = cell
            .jail
            .identity
            .map(|id| id.uid)
            .map_or_else(|| Cell::new(level, &["ids", "privileges"]).results(), |_| cell.results());
        if let Some(identity) = cell.jail.identity {
            let (uid, gid) = (identity.uid, identity.gid);
            assert_eq!(results[0], format!("[{uid}, {uid}, {uid}, {gid}, {gid}, {gid}] []"), "{level:?}");
        } else {
            assert!(results[0].starts_with("[65534, 65534, 65534, 65534, 65534, 65534]") || !is_root(), "{results:?}");
        }
        assert!(
            results[1].starts_with("held 0 ") && results[1].ends_with("no_new_privs 1 seccomp 2"),
            "{results:?} at {level:?}"
        );
        if is_root() || level == Level::L2 {
            assert!(results[1].contains(" bounding 0 "), "{results:?} at {level:?}");
        }
    }
    if is_root() {
        assert!(!outside(&["privileges"])[0].starts_with("held 0 "));
    }
}

#[test]
fn the_server_cannot_be_signalled_or_read() {
    let own = i64::from(std::process::id());
    let acts = [act(libc::SYS_kill, &[own, 0]), format!("read:/proc/{own}/environ"), format!("read:/proc/{own}/status")];
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    check(Level::L1, &acts, &["EPERM", "EACCES", "EACCES"]);
    check(Level::L2, &acts, &["ESRCH", "ENOENT", "ENOENT"]);
    let control = outside(&acts);
    assert!(control[0] == "ok" && control[1].ends_with("bytes"), "{control:?}");
}

#[test]
fn limits_of_another_process_cannot_be_set() {
    // Only a process of the same user is in question, so the parent is one: the program's own child.
    let set = |pid: i64| act(libc::SYS_prlimit64, &[pid, libc::RLIMIT_CORE as i64, 1]);
    for level in LEVELS {
        // A bad pointer: past the filter the kernel says EFAULT.
        check(level, &[&set(1), &set(0)], &["EPERM", "EFAULT"]);
    }
}

#[test]
fn namespaces_are_its_own() {
    let differing = |level: Level, network: bool| {
        let mut cell = Cell::new(level, &["say:ready", "hang"]);
        cell.jail.network = network;
        let mut running = cell.start();
        assert_eq!(running.line(), "ready");
        let link = |who: &str, name: &str| std::fs::read_link(format!("/proc/{who}/ns/{name}")).unwrap();
        let child = running.confined.child_pid.to_string();
        let names = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"];
        names.into_iter().filter(|name| link(&child, name) != link("self", name)).collect::<Vec<_>>().join(" ")
    };
    let user = if is_root() { "" } else { " user" };
    assert_eq!(differing(Level::L2, false), format!("mnt pid net ipc uts cgroup{user}"));
    assert_eq!(differing(Level::L2, true), format!("mnt pid ipc uts cgroup{user}"));
    assert_eq!(differing(Level::L1, false), "");
}

#[test]
fn proc_shows_nothing_but_the_program() {
    check(
        Level::L2,
        &["list:/proc", "cat:/proc/self/comm", "append:/proc/self/comm"],
        &["1,self,thread-self", "attempt", "EROFS"],
    );
    assert!(outside(&["list:/proc"])[0].contains("cpuinfo"));
}

#[test]
fn signals_have_their_defaults() {
    // The Rust runtime, and with it the launcher, ignores SIGPIPE; a shell pipeline inside would never end.
    let mut cell = Cell::new(Level::L2, &[]);
    cell.jail.mounts.push(Mount::system("/usr/bin"));
    cell.jail.argv = ["/usr/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"].map(str::to_owned).to_vec();
    let text = cell.run().stdout;
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["SigBlk:", "0000000000000000", "SigIgn:", "0000000000000000"]);
}
