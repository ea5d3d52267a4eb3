//! Limits: of one process (rlimits), and of a whole plugin (control groups, the real ones of this machine).

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use sandbox::cgroup::{Backend, CgroupLimits, Cgroups, Slot};

use crate::harness::{Cell, LEVELS, check, needs_root, outside};

#[test]
fn limits_are_soft_and_hard() {
    for level in LEVELS {
        let mut cell = Cell::new(
            level,
            &["limit:core", "limit:memlock", "limit:msgqueue", "limit:nofile", "limit:fsize", "open:250", "open:300"],
        );
        cell.jail.limits.file_size_mb = Some(3);
        assert_eq!(cell.results(), ["1/1", "0/0", "0/0", "256/256", "3145728/3145728", "250", "EMFILE"], "{level:?}");
    }
    assert_eq!(outside(&["open:300"]), ["300"]);
}

#[test]
fn address_space_is_limited_on_demand() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &["alloc:50", "alloc:500"]);
        cell.jail.limits.address_space_mb = Some(256);
        assert_eq!(cell.results(), ["ok", "ENOMEM"], "{level:?}");
        check(level, &["alloc:300"], &["ok"]);
    }
}

#[test]
fn cpu_time_is_limited_on_demand() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &["spin"]);
        cell.jail.limits.cpu_seconds = Some(1);
        let ended = cell.run().ended;
        assert_eq!(ended.signal, Some(libc::SIGKILL), "{level:?}");
        assert!(ended.user.as_millis() + ended.system.as_millis() >= 500, "{ended:?}");
    }
}

#[test]
fn processes_of_an_own_user_are_limited() {
    if !needs_root("processes_of_an_own_user_are_limited") {
        return;
    }
    for level in LEVELS {
        let mut cell = Cell::new(level, &["forks:100"]);
        cell.jail.limits.processes = Some(10);
        assert_eq!(cell.results(), ["9 EAGAIN"], "{level:?}");
        check(level, &["forks:100"], &["100 all"]);
    }
}

/// The machine's groups. Root always has some; a machine without is told so, not passed over. All tests share one server's
/// groups,
/// which are removed after the last test that uses them.
fn groups() -> Arc<Groups> {
    static SHARED: Mutex<Weak<Groups>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    if let Some(groups) = shared.upgrade() {
        return groups;
    }
    let opened = Cgroups::open_here();
    assert!(
        !matches!(opened.backend(), Backend::None { .. }),
        "this machine has no usable control groups: {:?}",
        opened.backend()
    );
    let groups = Arc::new(Groups(opened));
    *shared = Arc::downgrade(&groups);
    groups
}

struct Groups(Cgroups);

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl std::ops::Deref for Groups {
    type Target = Cgroups;

    fn deref(&self) -> &Cgroups {
        &self.0
    }
}

/// Runs acts inside a group; returns what they printed, how it ended, and the group.
fn inside(
    groups: &Cgroups,
    name: &str,
    level: sandbox::Level,
    limits: CgroupLimits,
    acts: &[&str],
) -> (crate::harness::Finished, Slot) {
    let slot = groups.create(name, &limits).unwrap();
    let mut cell = Cell::new(level, acts);
    cell.jail.cgroups = slot.procs_files();
    (cell.run(), slot)
}

#[test]
fn a_group_limits_memory_and_counts_the_kill() {
    if !needs_root("a_group_limits_memory_and_counts_the_kill") {
        return;
    }
    let groups = groups();
    for level in LEVELS {
        let limits = CgroupLimits { memory_bytes: Some(64 << 20), ..CgroupLimits::default() };
        let (fits, slot) = inside(&groups, &format!("fits-{level:?}"), level, limits, &["alloc:20"]);
        assert!(slot.enforced().memory && !slot.enforced().pids);
        assert_eq!((fits.ended.code, slot.oom_kills()), (Some(0), 0), "{level:?}");
        assert!(slot.peak_memory().is_some_and(|peak| peak > 20 << 20 && peak <= 64 << 20), "{:?}", slot.peak_memory());
        assert!(slot.cpu_usage().is_some_and(|usage| !usage.is_zero()));
        slot.remove().unwrap();
        let (bursts, slot) = inside(&groups, &format!("bursts-{level:?}"), level, limits, &["alloc:200"]);
        assert_eq!((bursts.ended.signal, slot.oom_kills()), (Some(libc::SIGKILL), 1), "{level:?}");
        slot.remove().unwrap();
    }
    // What is written to the scratch room is memory too.
    let limits = CgroupLimits { memory_bytes: Some(16 << 20), ..CgroupLimits::default() };
    let slot = groups.create("scratch", &limits).unwrap();
    let mut cell = Cell::new(sandbox::Level::L2, &["fill:/tmp/a:40"]);
    cell.jail.scratch.size_mb = 64;
    cell.jail.cgroups = slot.procs_files();
    assert_eq!(cell.run().ended.signal, Some(libc::SIGKILL));
}

#[test]
fn a_group_limits_processes_and_threads() {
    if !needs_root("a_group_limits_processes_and_threads") {
        return;
    }
    let groups = groups();
    for level in LEVELS {
        let limits = |pids| CgroupLimits { pids: Some(pids), ..CgroupLimits::default() };
        let (few, _slot) = inside(&groups, &format!("few-{level:?}"), level, limits(8), &["forks:50"]);
        assert!(few.stdout.contains("7 EAGAIN"), "{few:?}");
        let (threads, _slot) = inside(&groups, &format!("threads-{level:?}"), level, limits(8), &["threads:50"]);
        assert!(threads.stdout.contains("-> 7"), "{threads:?}");
        let (many, _slot) = inside(&groups, &format!("many-{level:?}"), level, limits(80), &["forks:50"]);
        assert!(many.stdout.contains("50 all"), "{many:?}");
    }
}

#[test]
fn a_group_kills_all_that_is_in_it() {
    if !needs_root("a_group_kills_all_that_is_in_it") {
        return;
    }
    let groups = groups();
    for level in LEVELS {
        let slot =
            groups.create(&format!("kill-{level:?}"), &CgroupLimits { pids: Some(64), ..CgroupLimits::default() }).unwrap();
        let mut cell = Cell::new(level, &["ignore", "daemon", "bomb"]);
        cell.jail.cgroups = slot.procs_files();
        let mut running = cell.start();
        assert!(running.line().parse::<i32>().is_ok());
        assert_eq!(running.line(), "bomb");
        slot.kill_all().unwrap();
        assert!(running.all_dead(), "{level:?}");
        assert_eq!(running.confined.wait().unwrap().signal, Some(libc::SIGKILL));
        slot.remove().unwrap();
    }
}

#[test]
fn a_group_dropped_too_early_goes_with_the_next_one() {
    if !needs_root("a_group_dropped_too_early_goes_with_the_next_one") {
        return;
    }
    let groups = groups();
    let limits = CgroupLimits { pids: Some(8), ..CgroupLimits::default() };
    let slot = groups.create("early", &limits).unwrap();
    let folders: Vec<_> = slot.procs_files().iter().map(|file| file.parent().unwrap().to_owned()).collect();
    let mut cell = Cell::new(sandbox::Level::L2, &["say:ready", "hang"]);
    cell.jail.cgroups = slot.procs_files();
    let mut running = cell.start();
    assert_eq!(running.line(), "ready");
    drop(slot);
    assert!(folders.iter().all(|folder| folder.exists()), "in use");
    running.confined.kill();
    running.confined.wait().unwrap();
    drop(groups.create("next", &limits).unwrap());
    assert!(folders.iter().all(|folder| !folder.exists()), "{folders:?}");
}

#[test]
fn groups_are_gone_when_the_server_closes() {
    if !needs_root("groups_are_gone_when_the_server_closes") {
        return;
    }
    // Another server, inside a group of this one, so that no other test's clean-up comes near it.
    let outer = groups();
    let limits = CgroupLimits { pids: Some(64), ..CgroupLimits::default() };
    let around = outer.create("around", &limits).unwrap();
    let inside = |resource: &str| {
        let found = around.procs_files().into_iter().find(|file| file.starts_with(Path::new("/sys/fs/cgroup").join(resource)))?;
        let path = found.parent()?.strip_prefix("/sys/fs/cgroup").ok()?.strip_prefix(resource).ok()?.to_owned();
        Some(format!("1:{resource}:/{}\n", path.display()))
    };
    let own: String = ["memory", "pids", "cpu"].into_iter().filter_map(inside).collect();
    let own = if own.is_empty() { format!("0::/{}\n", v2_path(&around)) } else { own };
    let groups = Cgroups::open(Path::new("/sys/fs/cgroup"), &own, std::process::id());
    let slot = groups.create("x", &limits).unwrap();
    let folders: Vec<_> = slot.procs_files().iter().map(|file| file.parent().unwrap().parent().unwrap().to_owned()).collect();
    assert!(
        folders.iter().all(|folder| folder.exists() && folder.to_str().is_some_and(|path| path.contains("/around/pegboard-")))
    );
    drop(slot);
    groups.close();
    assert!(folders.iter().all(|folder| !folder.exists()), "{folders:?}");
}

fn v2_path(slot: &Slot) -> String {
    let file = &slot.procs_files()[0];
    file.parent().unwrap().strip_prefix("/sys/fs/cgroup").unwrap().display().to_string()
}
