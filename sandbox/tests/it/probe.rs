//! The probe says what is so, quickly; and a level that cannot be had is refused, never lowered.

use std::time::Instant;

use sandbox::{Level, LevelReport, probe};

use crate::harness::{Cell, is_root, jail_file, launcher, outside};

#[test]
fn the_probe_reaches_l2_and_survives_json() {
    let found = probe(&launcher());
    assert_eq!(found.level, Level::L2, "this machine cannot confine fully: {found:?}");
    assert!(matches!(found.l1, LevelReport::Entered(_)), "{found:?}");
    assert_eq!((found.as_root, found.userns), (is_root(), !is_root()));
    assert!(found.landlock_abi >= 1 && found.proc_mount, "{found:?}");
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<sandbox::Capability>(&json).unwrap(), found);
}

#[test]
fn the_probe_is_quick() {
    // The best of many: how quick it is, not how busy the machine.
    let timed = || {
        let start = Instant::now();
        let _ = probe(&launcher());
        start.elapsed()
    };
    let best = (0..20).map(|_| timed()).min().unwrap();
    assert!(best.as_millis() < 30, "{best:?}");
}

#[test]
fn what_cannot_be_entered_is_refused_at_its_step() {
    let check = |level: Level, call: libc::c_long, expected: &str| {
        let cell = Cell::new(level, &["hang"]);
        let jail = jail_file(&cell);
        let spawn = format!("try_spawn:{}:{}", launcher().display(), jail.path().display());
        // The control comes first: the same jail, before the system call is taken away.
        assert_eq!(
            outside(&[&spawn, &format!("forbid:{call}"), &spawn]),
            [format!("entered {level:?}"), "ok".into(), expected.into()]
        );
    };
    check(Level::L2, libc::SYS_unshare, "refused namespaces 1");
    check(Level::L2, libc::SYS_pivot_root, "refused pivot_root 1");
    check(Level::L2, libc::SYS_mount_setattr, "refused mounts 1");
    check(Level::L2, libc::SYS_landlock_restrict_self, "refused landlock 1");
    check(Level::L1, libc::SYS_seccomp, "refused seccomp 1");
}
