//! Which system calls the launcher refuses, and with which error. The mechanism is in `bpf.rs`.
//!
//! A list of refusals, not of permissions: an interpreter with native packages uses some 200 calls and grows new ones with every
//! C library. What is refused is what reaches beyond the process, gains power, or is a wide attack surface on the kernel
//! that no tool needs. `fork` and `execve` stay: the program that is started is an interpreter that needs both once.

use libc::c_long;

use crate::bpf::{Case, Filter, SockFilter, Test};

/// What decides the filter besides the fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FilterPlan {
    /// Internet sockets are allowed.
    pub(crate) network: bool,
    /// The program sees the host's file tree: L1.
    pub(crate) sees_host: bool,
    /// Besides, it shares its user with files and processes outside: L1 as ordinary user.
    pub(crate) shares_user: bool,
    /// Landlock keeps signals inside (ABI 6).
    pub(crate) signals_scoped: bool,
    /// Landlock governs truncation (ABI 3).
    pub(crate) truncate_governed: bool,
}

// Numbers that `libc` does not name for both machines. From 424 on they are the same everywhere.
const SYS_MEMFD_SECRET: c_long = 447;
const SYS_PROCESS_MRELEASE: c_long = 448;
const SYS_SET_MEMPOLICY_HOME_NODE: c_long = 450;
const SYS_CACHESTAT: c_long = 451;
const SYS_FCHMODAT2: c_long = 452;
const SYS_STATMOUNT: c_long = 457;
const SYS_LISTMOUNT: c_long = 458;
const SYS_LSM_GET_SELF_ATTR: c_long = 459;
const SYS_LSM_SET_SELF_ATTR: c_long = 460;
const SYS_LSM_LIST_MODULES: c_long = 461;
const SYS_SETXATTRAT: c_long = 463;
const SYS_REMOVEXATTRAT: c_long = 466;
const SYS_OPEN_TREE_ATTR: c_long = 467;
const SYS_FILE_SETATTR: c_long = 469;
const SYS_LISTNS: c_long = 470;

/// Refused always, with EPERM.
const FORBIDDEN: &[c_long] = &[
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    SYS_PROCESS_MRELEASE,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    SYS_SET_MEMPOLICY_HOME_NODE,
    // file trees
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_mount_setattr,
    SYS_STATMOUNT,
    SYS_LISTMOUNT,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_nfsservctl,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    SYS_FILE_SETATTR,
    SYS_CACHESTAT,
    // namespaces (unshare has a rule of its own)
    libc::SYS_setns,
    SYS_LISTNS,
    // wide kernel surface
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    libc::SYS_io_cancel,
    libc::SYS_io_getevents,
    libc::SYS_io_destroy,
    libc::SYS_vmsplice,
    libc::SYS_remap_file_pages,
    SYS_MEMFD_SECRET,
    libc::SYS_personality,
    libc::SYS_syslog,
    SYS_LSM_GET_SELF_ATTR,
    SYS_LSM_SET_SELF_ATTR,
    SYS_LSM_LIST_MODULES,
    // keys outlive a process and are shared by all of a user's
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // System V and POSIX objects outlive a process
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // the machine
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    libc::SYS_lookup_dcookie,
];

/// Refused with ENOSYS: the C library has an older call that the filter can look into, or the caller has another way.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3, libc::SYS_execveat];

/// What Landlock does not govern, refused where the program's user owns files outside: changing a file's mode, owner, times or
/// attributes by path. Through an open descriptor these stay possible, and opening is governed.
const METADATA_BY_PATH: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    SYS_SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SYS_REMOVEXATTRAT,
];

/// Watching files tells what others do with them, and Landlock does not govern it either.
const WATCHING: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
];

const SIGNALS: &[c_long] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The launcher's filter.
pub(crate) fn launcher_filter(plan: FilterPlan) -> Vec<SockFilter> {
    let typing = |request: libc::Ioctl| Test::Is { argument: 1, value: request as u32 };
    let mut filter = sockets(Filter::new(), plan.network)
        // Typing into the terminal a process came from.
        .refuse_when(libc::SYS_ioctl, libc::EPERM, &[&[typing(libc::TIOCSTI)], &[typing(libc::TIOCLINUX)]])
        // A namespace is a way to new capabilities; CLONE_PARENT would make a child of the monitor.
        .refuse_when(
            libc::SYS_clone,
            libc::EPERM,
            &[&[Test::AnyBit { argument: 0, bits: NEW_NAMESPACES | libc::CLONE_PARENT as u32 }]],
        )
        // `unshare(CLONE_THREAD)` changes nothing and fails in a process with several threads: the one way to count
        // them without /proc.
        .refuse_unless(libc::SYS_unshare, libc::EPERM, &[&[Test::Is { argument: 0, value: libc::CLONE_THREAD as u32 }]])
        // Limits and processors of other processes of the same user.
        .refuse_unless(
            libc::SYS_prlimit64,
            libc::EPERM,
            &[&[Test::Is { argument: 0, value: 0 }], &[Test::IsNull { argument: 2 }]],
        )
        .refuse(libc::EPERM, FORBIDDEN)
        .refuse(libc::ENOSYS, UNKNOWN);
    if plan.sees_host {
        filter = filter.refuse(libc::EPERM, WATCHING);
    }
    if plan.shares_user {
        filter = filter
            .refuse_unless(libc::SYS_sched_setaffinity, libc::EPERM, &[&[Test::Is { argument: 0, value: 0 }]])
            .refuse_unless(libc::SYS_utimensat, libc::EPERM, &[&[Test::IsNull { argument: 1 }]])
            .refuse(libc::EPERM, METADATA_BY_PATH);
        if !plan.signals_scoped {
            filter = filter.refuse(libc::EPERM, SIGNALS);
        }
        if !plan.truncate_governed {
            filter = filter.refuse(libc::EPERM, &[libc::SYS_truncate]);
        }
    }
    filter.build()
}

/// Sockets. Without network none can be made: a local socket reaches the user's session (D-Bus, agents, container engines), which
/// Landlock did not govern before ABI 9. Connected stream pairs stay; datagram pairs do not, they can be sent anywhere.
fn sockets(filter: Filter, network: bool) -> Filter {
    const TYPE_BITS: u32 = 0xF;
    let family = |value: i32| Test::Is { argument: 0, value: value as u32 };
    let kind = |value: i32| Test::MaskedIs { argument: 1, mask: TYPE_BITS, value: value as u32 };
    let protocol = |value: i32| Test::Is { argument: 2, value: value as u32 };
    let filter = filter.refuse_unless(
        libc::SYS_socketpair,
        libc::EACCES,
        &[&[family(libc::AF_UNIX), kind(libc::SOCK_STREAM)], &[family(libc::AF_UNIX), kind(libc::SOCK_SEQPACKET)]],
    );
    if !network {
        return filter.refuse(libc::EACCES, &[libc::SYS_socket]);
    }
    let mut allowed: Vec<Vec<Test>> = Vec::new();
    for inet in [libc::AF_INET, libc::AF_INET6] {
        for (sort, transport) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            allowed.push(vec![family(inet), kind(sort), protocol(0)]);
            allowed.push(vec![family(inet), kind(sort), protocol(transport)]);
        }
    }
    // The C library asks for the machine's addresses to order what a name resolves to.
    allowed.push(vec![family(libc::AF_NETLINK), protocol(libc::NETLINK_ROUTE)]);
    let cases: Vec<Case<'_>> = allowed.iter().map(Vec::as_slice).collect();
    filter.refuse_unless(libc::SYS_socket, libc::EACCES, &cases)
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code, reason = "a filter can be tried only on a process, and taken off only by its end")]

    use super::*;
    use crate::bpf::install;

    const OPEN: FilterPlan =
        FilterPlan { network: false, sees_host: false, shares_user: false, signals_scoped: true, truncate_governed: true };

    /// What a call answers in a process of its own under a filter: 0 or an error number.
    fn under(filter: &[SockFilter], call: c_long, arguments: [c_long; 3]) -> i32 {
        // SAFETY: the child only makes system calls and ends; it takes no lock and allocates nothing.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                if install(filter).is_err() {
                    libc::_exit(255);
                }
                let result = libc::syscall(call, arguments[0], arguments[1], arguments[2], 0, 0, 0);
                libc::_exit(if result < 0 { *libc::__errno_location() } else { 0 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(libc::WIFEXITED(status), "call {call} ended its process: status {status}");
            libc::WEXITSTATUS(status)
        }
    }

    /// With arguments that no call accepts, so that nothing happens even when it is let through.
    const BAD: [c_long; 3] = [-1, -1, -1];

    #[test]
    fn every_call_of_the_lists_is_refused_with_its_error() {
        let filter = launcher_filter(OPEN);
        for &call in FORBIDDEN {
            assert_eq!(under(&filter, call, BAD), libc::EPERM, "call {call}");
        }
        for &call in UNKNOWN {
            assert_eq!(under(&filter, call, BAD), libc::ENOSYS, "call {call}");
        }
        // Control: neighbours that are not in the lists.
        for call in [libc::SYS_getpid, libc::SYS_getuid, libc::SYS_gettid] {
            assert_eq!(under(&filter, call, BAD), 0, "call {call}");
        }
    }

    #[test]
    fn without_a_scope_for_signals_none_can_be_sent() {
        let own = FilterPlan { sees_host: true, shares_user: true, ..OPEN };
        let to_nobody = [c_long::from(i32::MAX), 0, 0];
        for &call in SIGNALS {
            assert_eq!(
                under(&launcher_filter(FilterPlan { signals_scoped: false, ..own }), call, to_nobody),
                libc::EPERM,
                "call {call}"
            );
            assert_ne!(under(&launcher_filter(own), call, to_nobody), libc::EPERM, "call {call}");
        }
    }

    #[test]
    fn what_landlock_leaves_open_is_refused_only_where_it_matters() {
        let own = FilterPlan { sees_host: true, shares_user: true, ..OPEN };
        for (call, plan, other) in [
            (libc::SYS_truncate, FilterPlan { truncate_governed: false, ..own }, own),
            (libc::SYS_fchmodat, own, OPEN),
            (SYS_FCHMODAT2, own, OPEN),
            (libc::SYS_fchownat, own, OPEN),
            (libc::SYS_setxattr, own, OPEN),
            (libc::SYS_inotify_init1, FilterPlan { sees_host: true, ..OPEN }, OPEN),
        ] {
            assert_eq!(under(&launcher_filter(plan), call, BAD), libc::EPERM, "call {call}");
            assert_ne!(under(&launcher_filter(other), call, BAD), libc::EPERM, "call {call}");
        }
        let by_path = [c_long::from(libc::AT_FDCWD), c"/".as_ptr() as c_long, 0];
        let by_descriptor = [-1, 0, 0];
        assert_eq!(under(&launcher_filter(own), libc::SYS_utimensat, by_path), libc::EPERM);
        assert_ne!(under(&launcher_filter(own), libc::SYS_utimensat, by_descriptor), libc::EPERM);
    }

    #[test]
    fn limits_of_other_processes_cannot_be_set_and_own_ones_can() {
        let filter = launcher_filter(OPEN);
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        let (pid, core, new) = (c_long::from(std::process::id()), libc::RLIMIT_CORE as c_long, &raw const limit as c_long);
        assert_eq!(under(&filter, libc::SYS_prlimit64, [pid, core, new]), libc::EPERM);
        assert_eq!(under(&filter, libc::SYS_prlimit64, [pid, core, 0]), 0);
        assert_ne!(under(&filter, libc::SYS_prlimit64, [0, core, new]), libc::EPERM);
    }

    #[test]
    fn every_plan_makes_a_filter() {
        for bits in 0_u8..32 {
            let bit = |at: u8| bits & (1 << at) != 0;
            let plan = FilterPlan {
                network: bit(0),
                sees_host: bit(1),
                shares_user: bit(2),
                signals_scoped: bit(3),
                truncate_governed: bit(4),
            };
            assert_eq!(under(&launcher_filter(plan), libc::SYS_getpid, BAD), 0, "{plan:?}");
            assert_eq!(under(&launcher_filter(plan), libc::SYS_mount, BAD), libc::EPERM, "{plan:?}");
        }
    }

    #[test]
    fn the_filter_is_short() {
        // The kernel's limit is 4096; each instruction costs at every refused or argument-checked call.
        assert!(
            launcher_filter(FilterPlan {
                network: true,
                sees_host: true,
                shares_user: true,
                signals_scoped: false,
                truncate_governed: false
            })
            .len()
                < 300
        );
    }
}
