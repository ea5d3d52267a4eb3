//! Sockets: none without the grant; with it the internet families and nothing else.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use sandbox::{Level, spawn, system_mounts};

use crate::harness::{Cell, LEVELS, check, launcher, outside};

fn with_network(level: Level, acts: &[&str]) -> Vec<String> {
    let mut cell = Cell::new(level, acts);
    cell.jail.network = true;
    cell.jail.mounts.extend(system_mounts(true));
    cell.results()
}

#[test]
fn the_internet_needs_the_grant() {
    let (v4, v6) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").expect("this machine needs IPv6 loopback"));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let acts = [
        format!("connect:{}", v4.local_addr().unwrap()),
        format!("connect:{}", v6.local_addr().unwrap()),
        format!("udp:{}", udp.local_addr().unwrap()),
        "bind:127.0.0.1:0".to_owned(),
    ];
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    assert_eq!(outside(&acts), ["ok"; 4]);
    for level in LEVELS {
        check(level, &acts, &["EACCES"; 4]);
        assert_eq!(with_network(level, &acts), ["ok"; 4], "{level:?}");
    }
}

#[test]
fn names_are_resolved_with_the_grant_only() {
    for level in LEVELS {
        assert_eq!(with_network(level, &["resolve:localhost"]), ["1 addresses"], "{level:?}");
        let without = Cell::new(level, &["resolve:localhost"]).run();
        assert!(!without.stdout.contains("1 addresses"), "{without:?}");
    }
}

/// `socket(family, type, protocol)`.
fn socket(family: i32, sort: i32, protocol: i32) -> String {
    format!("sys:{}:{family}:{sort}:{protocol}", libc::SYS_socket)
}

#[test]
fn other_families_are_closed_with_and_without_the_grant() {
    let closed = [
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
        socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0),
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
    ];
    let closed: Vec<&str> = closed.iter().map(String::as_str).collect();
    let open = [
        socket(libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_TCP),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
    ];
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    for level in LEVELS {
        check(level, &closed, &["EACCES"; 9]);
        check(level, &open, &["EACCES"; 2]);
        assert_eq!(with_network(level, &closed), ["EACCES"; 9], "{level:?}");
        assert_eq!(with_network(level, &open), ["ok"; 2], "{level:?}");
    }
    assert_eq!(outside(&[closed[0], closed[1], open[0], open[1]]), ["ok"; 4]);
}

#[test]
fn pairs_are_for_streams() {
    // The out pointer is bad: past the filter the kernel says EFAULT.
    let pair = |family: i32, sort: i32| format!("sys:{}:{family}:{sort}:0:1", libc::SYS_socketpair);
    let acts = [
        pair(libc::AF_UNIX, libc::SOCK_STREAM),
        pair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC),
        pair(libc::AF_UNIX, libc::SOCK_DGRAM),
        pair(libc::AF_INET, libc::SOCK_STREAM),
    ];
    let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
    for level in LEVELS {
        check(level, &acts, &["EFAULT", "EFAULT", "EACCES", "EACCES"]);
    }
    assert_eq!(outside(&[acts[2]]), ["EFAULT"]);
}

#[test]
fn local_sockets_of_the_host_are_out_of_reach() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let path = cell.own_folder("granted").join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let act = format!("unix:{}", path.display());
        // Even in a granted folder: the container engine's socket may lie in one.
        cell.jail.mounts.push(sandbox::Mount::granted(path.parent().unwrap(), sandbox::Access::ReadWrite));
        cell.acts([act.as_str()]);
        assert_eq!(cell.results(), ["EACCES"], "{level:?}");
        assert_eq!(outside(&[&act]), ["ok"]);
    }
}

#[test]
fn abstract_names_cannot_be_reached_even_over_a_socket_made_outside() {
    let name = format!("pegboard-test-{}", std::process::id());
    let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
    let act = format!("abstract:{name}");
    for (level, network) in [(Level::L1, false), (Level::L2, false), (Level::L1, true), (Level::L2, true)] {
        let mut cell = Cell::new(level, &[&act]);
        cell.jail.network = network;
        let run = |jail: &sandbox::Jail| {
            let socket = UnixDatagram::unbound().unwrap();
            let mut confined = spawn(&launcher(), jail, OwnedFd::from(socket)).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::fs::File::from(confined.stdout.take().unwrap()), &mut text).unwrap();
            text
        };
        assert!(run(&cell.jail).contains("-> EPERM"), "{level:?} network {network}");
        // Control: the same program, socket and name without walls.
        cell.jail.level = Level::L0;
        assert!(run(&cell.jail).contains("-> ok"), "without walls");
    }
    drop(listener);
}
