//! What a plugin must not be able to do, or must not be able to hurt anyone else by. Numbers are those of docs/sandbox.md's list.

use std::{
    fs,
    io::Write,
    os::{linux::net::SocketAddrExt, unix::fs::PermissionsExt},
    path::Path,
};

use executor_api::{Executor, FailureKind};
use libtest_mimic::Trial;
use manifest_schema::Permission;
use policy::Level;
use serde_json::{Value, json};

use crate::{
    trial,
    world::{Subject, World, nix_is_root},
};

pub(crate) fn trials(level: Level) -> Vec<Trial> {
    let mut trials = vec![
        trial(level, "files_of_the_host_are_closed", files_of_the_host_are_closed),
        trial(level, "a_granted_folder_is_open_as_far_as_granted", a_granted_folder_is_open_as_far_as_granted),
        trial(level, "the_network_is_closed_unless_granted", the_network_is_closed_unless_granted),
        trial(level, "abstract_sockets_of_the_host_are_closed", abstract_sockets_of_the_host_are_closed),
        trial(level, "no_process_can_be_started", no_process_can_be_started),
        trial(level, "other_processes_are_out_of_reach", other_processes_are_out_of_reach),
        trial(level, "dangerous_system_calls_are_refused", dangerous_system_calls_are_refused),
        trial(level, "nothing_of_the_host_leaks_in", nothing_of_the_host_leaks_in),
        trial(level, "calls_do_not_see_each_other", calls_do_not_see_each_other),
        trial(level, "limits_hold", limits_hold),
        trial(level, "each_way_to_die_costs_that_call_alone", each_way_to_die_costs_that_call_alone),
        trial(level, "each_bad_result_costs_that_call_alone", each_bad_result_costs_that_call_alone),
        trial(level, "what_is_printed_is_log_and_never_protocol", what_is_printed_is_log_and_never_protocol),
        trial(level, "a_forged_protocol_is_a_failure", a_forged_protocol_is_a_failure),
    ];
    if level == Level::L2 {
        trials.push(trial(level, "hidden_files_do_not_even_exist", hidden_files_do_not_even_exist));
        trials.push(trial(level, "the_scratch_room_has_a_size", the_scratch_room_has_a_size));
        trials.push(trial(level, "a_full_scratch_room_costs_that_call_alone", a_full_scratch_room_costs_that_call_alone));
    }
    trials
}

/// Denied inside, done outside: the same act, the same target.
async fn denied(world: &World, subject: &Subject, act: &str, target: &str, error: &str) {
    let outside = subject.unconfined(act, target);
    assert_ne!(outside, Value::Null, "the positive control of `{act}`");
    world.act(subject, act, target).await.raised(error);
}

async fn files_of_the_host_are_closed(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let secret = world.folder.path().join("secret.txt");
    fs::write(&secret, "of the host").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    // At L2 the file is not there; at L1 it is, and closed.
    let error = if level == Level::L2 { "No such file" } else { "Permission denied" };
    denied(&world, &subject, "read_passwd", "", error).await;
    denied(&world, &subject, "read_file", secret.to_str().unwrap(), error).await;
    let anywhere = if level == Level::L2 { "Error" } else { "Permission denied" };
    denied(&world, &subject, "write_outside", "", anywhere).await;
    let own = subject.plugin.root.join("main.py");
    assert_eq!(world.act(&subject, "read_file", own.to_str().unwrap()).await.did(), fs::read_to_string(&own).unwrap());
    let failure = world.act(&subject, "write_file", own.to_str().unwrap()).await;
    assert!(
        failure.failure().message.contains("Permission denied") || failure.failure().message.contains("Read-only"),
        "{}",
        failure.failure()
    );
    world.executor.shutdown().await;
}

async fn hidden_files_do_not_even_exist(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    denied(&world, &subject, "stat_file", "/etc/passwd", "No such file").await;
    denied(&world, &subject, "stat_file", "/var/log", "No such file").await;
    denied(&world, &subject, "list_root", "", "Permission denied").await;
    world.executor.shutdown().await;
}

async fn a_granted_folder_is_open_as_far_as_granted(level: Level) {
    let world = World::at(level);
    let text = include_str!("../plugins/attacker/plugin.yaml").replace(
        "max_execution_time: 5",
        "max_execution_time: 5\npermissions: [file_system_read, file_system_write]\nfilesystem: {read: [$data], write: [$data]}",
    );
    let subject = world.plugin(&[("plugin.yaml", &text), ("main.py", include_str!("../plugins/attacker/main.py"))]);
    let [readable, writable, other] = ["readable", "writable", "other"].map(|name| {
        let folder = fs::canonicalize(world.folder.path()).unwrap().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), name).unwrap();
        if nix_is_root() {
            // A folder of an ordinary user, as on a server that hosts for one.
            for path in [folder.clone(), folder.join("file")] {
                std::os::unix::fs::chown(path, Some(12_345), Some(12_345)).unwrap();
            }
        }
        folder
    });
    let scope = |folder: &Path| folder.to_str().unwrap().to_owned();
    let subject = subject
        .grant(Permission::FileSystemRead, Some(&scope(&readable)))
        .grant(Permission::FileSystemWrite, Some(&scope(&writable)));
    let file = |folder: &Path, name: &str| folder.join(name).to_str().unwrap().to_owned();
    assert_eq!(world.act(&subject, "read_file", &file(&readable, "file")).await.did(), "readable");
    assert_eq!(world.act(&subject, "write_file", &file(&writable, "new")).await.did(), true);
    assert_eq!(fs::read_to_string(writable.join("new")).unwrap(), "written");
    let refused = world.act(&subject, "write_file", &file(&readable, "new")).await;
    assert!(
        ["Read-only file system", "Permission denied"].iter().any(|error| refused.failure().message.contains(error)),
        "{}",
        refused.failure()
    );
    assert!(!readable.join("new").exists());
    world.act(&subject, "read_file", &file(&other, "file")).await.raised("Error");
    // A link out of a writable folder leads nowhere.
    std::os::unix::fs::symlink(other.join("file"), writable.join("link")).unwrap();
    world.act(&subject, "read_file", &file(&writable, "link")).await.raised("Error");
    world.executor.shutdown().await;
}

async fn the_network_is_closed_unless_granted(level: Level) {
    let world = World::at(level);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.unwrap().write_all(b"welcome").unwrap();
        }
    });
    let closed = world.attacker();
    denied(&world, &closed, "connect_tcp", &address, "PermissionError").await;
    denied(&world, &closed, "inet_socket", "", "Permission denied").await;
    denied(&world, &closed, "netlink_socket", "", "Permission denied").await;
    let text = include_str!("../plugins/attacker/plugin.yaml")
        .replace("name: attacker", "name: networker\npermissions: [network_access]");
    let open = world.plugin(&[("plugin.yaml", &text), ("main.py", include_str!("../plugins/attacker/main.py"))]);
    let open = open.grant(Permission::NetworkAccess, None);
    assert_eq!(world.act(&open, "connect_tcp", &address).await.did(), "welcome");
    world.executor.shutdown().await;
}

async fn abstract_sockets_of_the_host_are_closed(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let name = format!("pegboard-test-{}-{level}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.unwrap().write_all(b"welcome").unwrap();
        }
    });
    denied(&world, &subject, "abstract_socket", &name, "Error").await;
    world.executor.shutdown().await;
}

async fn no_process_can_be_started(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    denied(&world, &subject, "fork", "", "Operation not permitted").await;
    denied(&world, &subject, "execute", "", "Error").await;
    // Threads are the way to do two things at once.
    assert_eq!(world.act(&subject, "thread", "").await.did(), true);
    world.executor.shutdown().await;
}

async fn other_processes_are_out_of_reach(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let server = std::process::id().to_string();
    denied(&world, &subject, "kill_process", &server, "Error").await;
    // Not even the children of the same plugin that wait for their calls.
    let everyone = world.act(&subject, "signalable", "").await.did();
    assert_eq!(everyone, json!([]), "only itself");
    assert!(!subject.unconfined("signalable", "")["did"].as_array().unwrap().is_empty());
    denied(&world, &subject, "ptrace", "", "Operation not permitted").await;
    world.executor.shutdown().await;
}

async fn dangerous_system_calls_are_refused(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let calls = [
        "unshare",
        "mount",
        "bpf",
        "keyctl",
        "userfaultfd",
        "io_uring_setup",
        "perf_event_open",
        "process_vm_readv",
        "open_by_handle_at",
        "pidfd_getfd",
        "setns",
    ];
    for call in calls {
        if nix_is_root() {
            denied(&world, &subject, "raw", call, "Operation not permitted").await;
        } else {
            world.act(&subject, "raw", call).await.raised("Operation not permitted");
        }
    }
    // The same road with a harmless call is open.
    assert!(world.act(&subject, "raw", "memfd_create").await.did().is_string());
    if cfg!(target_arch = "x86_64") {
        let x32 = world.act(&subject, "x32", "").await;
        assert!(x32.failure().message.contains("Errno") || x32.failure().kind == FailureKind::Crashed, "{}", x32.failure());
    }
    world.act(&subject, "tiocsti", "").await.raised("Error");
    world.executor.shutdown().await;
}

async fn nothing_of_the_host_leaks_in(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let environment = world.act(&subject, "environment", "").await.did();
    let known = ["HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR", "TOKENIZERS_PARALLELISM"];
    for name in environment.as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(known.contains(&name) || name.ends_with("_THREADS"), "the variable {name} came through");
    }
    assert!(environment.as_array().unwrap().contains(&json!("TMPDIR")));
    // The call's socket, and O_PATH descriptors of what it sees anyway.
    let descriptors = world.act(&subject, "descriptors", "").await.did();
    assert!(descriptors.as_array().unwrap().len() < 40, "{descriptors}");
    let identity = world.act(&subject, "identity", "").await.did();
    if nix_is_root() {
        assert!(identity["uid"].as_u64().unwrap() >= 200_000, "{identity}");
    }
    if let Some(caps) = identity["caps"].as_object() {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(caps[set], "0000000000000000", "{set}");
        }
    }
    world.executor.shutdown().await;
}

async fn calls_do_not_see_each_other(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let left = world.act(&subject, "leave_file", "").await.did();
    assert_eq!(left["n"], 1);
    // Nothing in memory, nothing on disk.
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    world.act(&subject, "read_file", left["path"].as_str().unwrap()).await.raised("Error");
    world.act(&subject, "scratch_of_others", "").await.raised("Error");
    world.executor.shutdown().await;
}

async fn limits_hold(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let memory = world.act(&subject, "eat_memory", "").await;
    assert_eq!(memory.failure().kind, FailureKind::OutOfMemory, "{}", memory.failure());
    assert_eq!(world.act(&subject, "eat_memory_gently", "").await.did(), 32 << 20);
    world.act(&subject, "open_many", "").await.raised("Too many open files");
    world.act(&subject, "raise_limits", "").await.raised("Error");
    assert_eq!(world.act(&subject, "core_limit", "").await.did(), 0);
    if nix_is_root() {
        // As an ordinary user the number of threads is advisory: docs/security-model.md.
        world.act(&subject, "thread_bomb", "").await.raised("can't start new thread");
    }
    world.executor.shutdown().await;
}

async fn the_scratch_room_has_a_size(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    world.act(&subject, "fill_disk", "").await.raised("No space left on device");
    // It is empty again for the next call.
    let path = "leave_file";
    assert_eq!(world.act(&subject, path, "").await.did()["n"], 1);
    let outside = world.folder.path().join("fill");
    fs::create_dir(&outside).unwrap();
    assert_eq!(subject.unconfined("fill_disk", outside.to_str().unwrap())["did"], 256);
    world.executor.shutdown().await;
}

async fn a_full_scratch_room_costs_that_call_alone(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    assert_eq!(world.act(&subject, "sleep", "0.1").await.did(), "slept");
    let before = world.state(&subject).starts;
    let filler = world.act(&subject, "fill_inodes", "2.0");
    let others = async {
        // More calls, one after the other, than there are processes waiting when the room becomes full.
        let mut came = Vec::new();
        for _ in 0..24 {
            came.push(world.act(&subject, "sleep", "0.05").await);
        }
        came
    };
    let (filled, others) = tokio::join!(filler, others);
    assert!(filled.did().as_str().unwrap().contains("No space left"), "the room was not full: {}", filled.value());
    for other in &others {
        assert_eq!(other.did(), "slept");
    }
    assert_eq!(world.state(&subject).starts, before, "the plugin was started again");
    world.executor.shutdown().await;
}

async fn each_way_to_die_costs_that_call_alone(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    assert_eq!(world.act(&subject, "count", "").await.did(), 1);
    let ways = [
        ("segfault", FailureKind::Crashed, "SIGSEGV"),
        ("abort", FailureKind::Crashed, "SIGABRT"),
        ("exit_hard", FailureKind::Crashed, "exit code 3"),
        ("kill_self", FailureKind::Crashed, "SIGKILL"),
        ("half_frame", FailureKind::Crashed, ""),
        ("exit_soft", FailureKind::Raised, "SystemExit"),
        ("raise_error", FailureKind::Raised, "ValueError: wrong on purpose"),
    ];
    for (act, kind, words) in ways {
        let came = world.act(&subject, act, "").await;
        assert_eq!(came.failure().kind, kind, "{act}: {}", came.failure());
        assert!(came.failure().message.contains(words), "{act}: {}", came.failure());
        assert_eq!(world.act(&subject, "count", "").await.did(), 1, "after {act}");
    }
    assert_eq!(world.state(&subject).starts, 1, "the zygote was never started again");
    world.executor.shutdown().await;
}

async fn each_bad_result_costs_that_call_alone(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let results = [
        ("big_result", FailureKind::OutputTooLarge),
        ("deep_result", FailureKind::BadOutput),
        ("nan", FailureKind::BadOutput),
        ("cycle", FailureKind::BadOutput),
    ];
    for (act, kind) in results {
        let came = world.act(&subject, act, "").await;
        assert_eq!(came.failure().kind, kind, "{act}: {}", came.failure());
        assert_eq!(world.act(&subject, "count", "").await.did(), 1, "after {act}");
    }
    world.executor.shutdown().await;
}

async fn what_is_printed_is_log_and_never_protocol(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    let came = world.act(&subject, "print_protocol", "").await;
    assert_eq!(came.did(), "printed");
    assert!(came.log().contains("forged"), "{}", came.log());
    let came = world.act(&subject, "flood", "").await;
    assert_eq!(came.failure().kind, FailureKind::OutputTooLarge, "{}", came.failure());
    assert!(came.log().len() < 128 * 1024, "{} bytes of log are kept", came.log().len());
    world.executor.shutdown().await;
}

async fn a_forged_protocol_is_a_failure(level: Level) {
    let world = World::at(level);
    let subject = world.attacker();
    for (act, kind) in [
        ("forged_length", FailureKind::OutputTooLarge),
        ("garbage", FailureKind::BadOutput),
        ("close_descriptors", FailureKind::Crashed),
    ] {
        let came = world.act(&subject, act, "").await;
        assert_eq!(came.failure().kind, kind, "{act}: {}", came.failure());
        assert_eq!(world.act(&subject, "count", "").await.did(), 1, "after {act}");
    }
    world.executor.shutdown().await;
}
