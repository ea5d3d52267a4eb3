//! Both layouts against made-up trees: what is detected, why not, and what is written. The real v1 tree is used in `tests/it`.

use std::fs;

use tempfile::TempDir;

use super::*;

const SERVER: u32 = 4242;

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn read(root: &TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const ALL: CgroupLimits = CgroupLimits { memory_bytes: Some(64 << 20), pids: Some(32), cpu_percent: Some(50) };

/// A v2 tree as a delegated unit sees it.
fn delegated(procs: &str, enabled: &str) -> TempDir {
    tree(&[
        ("cgroup.controllers", "cpuset cpu io memory pids"),
        ("app/cgroup.controllers", "cpu memory pids"),
        ("app/cgroup.subtree_control", enabled),
        ("app/cgroup.type", "domain"),
        ("app/cgroup.procs", procs),
    ])
}

#[test]
fn v2_moves_the_server_to_a_leaf_and_hands_resources_on() {
    let root = delegated("4242\n", "");
    let groups = Cgroups::open(root.path(), "0::/app\n", SERVER);
    assert!(matches!(groups.backend(), Backend::V2(tree) if tree.must_move), "{:?}", groups.backend());
    assert_eq!(read(&root, "app/pegboard-leaf/cgroup.procs"), "4242");
    assert_eq!(read(&root, "app/cgroup.subtree_control"), "+cpu +memory +pids");

    let slot = groups.create("weather", &ALL).unwrap();
    assert_eq!(slot.enforced(), Enforced { memory: true, pids: true, cpu: true });
    let at = |file: &str| read(&root, &format!("app/pegboard-4242/weather/{file}"));
    assert_eq!(read(&root, "app/pegboard-4242/cgroup.subtree_control"), "+cpu +memory +pids");
    assert_eq!(at("memory.max"), "67108864");
    assert_eq!(at("memory.swap.max"), "0");
    assert_eq!(at("memory.oom.group"), "1");
    assert_eq!(at("pids.max"), "32");
    assert_eq!(at("cpu.max"), "50000 100000");
    assert_eq!(slot.procs_files(), [root.path().join("app/pegboard-4242/weather/cgroup.procs")]);
}

#[test]
fn v2_reads_kills_peak_and_cpu() {
    let root = delegated("4242\n", "memory pids cpu");
    let groups = Cgroups::open(root.path(), "0::/app\n", SERVER);
    assert!(matches!(groups.backend(), Backend::V2(tree) if !tree.must_move));
    assert!(!root.path().join("app/pegboard-leaf").exists());
    let slot = groups.create("x", &ALL).unwrap();
    let put = |file: &str, text: &str| fs::write(root.path().join("app/pegboard-4242/x").join(file), text).unwrap();
    assert_eq!((slot.oom_kills(), slot.peak_memory(), slot.cpu_usage()), (0, None, None));
    put("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n");
    put("memory.peak", "1048576\n");
    put("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
    assert_eq!((slot.oom_kills(), slot.peak_memory(), slot.cpu_usage()), (2, Some(1_048_576), Some(Duration::from_micros(1500))));
    put("cgroup.kill", "");
    put("cgroup.procs", "");
    slot.kill_all().unwrap();
    assert_eq!(read(&root, "app/pegboard-4242/x/cgroup.kill"), "1");
}

#[test]
fn v2_that_is_shared_or_without_resources_is_not_used_and_says_why() {
    let check = |root: &TempDir, expected: &str| match Cgroups::detect(root.path(), "0::/app\n", SERVER).backend() {
        Backend::None { reason } => assert!(reason.contains(expected), "expected `{expected}` in `{reason}`"),
        other => panic!("expected a refusal, found {other:?}"),
    };
    check(&delegated("4242\n77\n78\n", ""), "shared with 2 other processes");
    let poor = delegated("4242\n", "");
    fs::write(poor.path().join("app/cgroup.controllers"), "cpu").unwrap();
    check(&poor, "neither memory nor processes");
    let missing = delegated("4242\n", "");
    fs::remove_file(missing.path().join("app/cgroup.subtree_control")).unwrap();
    check(&missing, "not delegated");
}

#[test]
fn v2_strangers_do_not_matter_where_resources_are_handed_on_already() {
    let root = delegated("4242\n77\n", "memory pids cpu");
    assert!(matches!(Cgroups::detect(root.path(), "0::/app\n", SERVER).backend(), Backend::V2(_)));
}

#[test]
fn v2_restarted_in_its_leaf_uses_the_same_base() {
    let root = delegated("", "memory pids cpu");
    fs::create_dir_all(root.path().join("app/pegboard-leaf")).unwrap();
    fs::write(root.path().join("app/pegboard-leaf/cgroup.procs"), "4242").unwrap();
    let groups = Cgroups::detect(root.path(), "0::/app/pegboard-leaf\n", SERVER);
    assert!(matches!(groups.backend(), Backend::V2(tree) if tree.base == root.path().join("app")), "{:?}", groups.backend());
}

const V1_SELF: &str = "8:pids:/\n4:memory:/outer/me\n2:cpu,cpuacct:/\n0::/\n";

fn v1_tree() -> TempDir {
    tree(&[
        ("memory/cgroup.procs", ""),
        ("memory/outer/me/cgroup.procs", ""),
        ("pids/cgroup.procs", ""),
        ("cpu/cgroup.procs", ""),
        ("cpuacct/cgroup.procs", ""),
        ("unified/cgroup.controllers", "hugetlb"),
    ])
}

#[test]
fn v1_makes_a_group_in_each_tree() {
    let root = v1_tree();
    let groups = Cgroups::open(root.path(), V1_SELF, SERVER);
    let slot = groups.create("weather", &ALL).unwrap();
    assert_eq!(slot.enforced(), Enforced { memory: true, pids: true, cpu: true });
    assert_eq!(read(&root, "memory/outer/me/pegboard-4242/weather/memory.limit_in_bytes"), "67108864");
    assert_eq!(read(&root, "memory/outer/me/pegboard-4242/weather/memory.memsw.limit_in_bytes"), "67108864");
    assert_eq!(read(&root, "pids/pegboard-4242/weather/pids.max"), "32");
    assert_eq!(read(&root, "cpu/pegboard-4242/weather/cpu.cfs_quota_us"), "50000");
    assert_eq!(slot.procs_files().len(), 4);
    fs::write(root.path().join("memory/outer/me/pegboard-4242/weather/memory.oom_control"), "under_oom 0\noom_kill 7\n").unwrap();
    assert_eq!(slot.oom_kills(), 7);
}

#[test]
fn v1_without_memory_still_limits_processes_and_says_so() {
    let root = v1_tree();
    fs::remove_dir_all(root.path().join("memory")).unwrap();
    let groups = Cgroups::detect(root.path(), V1_SELF, SERVER);
    assert_eq!(groups.enforced(), Enforced { memory: false, pids: true, cpu: true });
    assert!(!groups.create("x", &ALL).unwrap().enforced().memory);
}

#[test]
fn nothing_mounted_is_a_reason_and_no_group() {
    let root = tree(&[("readme", "")]);
    let groups = Cgroups::open(root.path(), V1_SELF, SERVER);
    assert!(matches!(groups.backend(), Backend::None { reason } if reason.contains("none is mounted")));
    assert!(matches!(groups.create("x", &ALL), Err(CgroupError::Unavailable(_))));
}

#[test]
fn only_plain_names_become_groups() {
    let root = v1_tree();
    let groups = Cgroups::open(root.path(), V1_SELF, SERVER);
    for name in ["", "..", "a/b", "a b", "ä"] {
        assert!(matches!(groups.create(name, &ALL), Err(CgroupError::Name(_))), "{name}");
    }
    assert!(groups.create("a_b-1", &ALL).is_ok());
}

#[test]
fn groups_of_dead_servers_go_and_those_of_living_ones_stay() {
    let root = v1_tree();
    let alive = std::process::id();
    let folder = |name: String| root.path().join("pids").join(name);
    fs::create_dir_all(folder(format!("pegboard-{alive}/x"))).unwrap();
    // Above the kernel's largest process id.
    fs::create_dir_all(folder("pegboard-4194999/x".into())).unwrap();
    fs::create_dir_all(folder("other".into())).unwrap();
    let _ = Cgroups::open(root.path(), V1_SELF, SERVER);
    assert!(folder(format!("pegboard-{alive}/x")).exists());
    assert!(folder("other".into()).exists());
    assert!(!folder("pegboard-4194999".into()).exists());
}
