//! What of the server reaches the program: descriptors, environment, working folder.

use std::os::unix::net::UnixStream;

use sandbox::{Level, SpawnError};

use crate::harness::{ALL_LEVELS, Cell, LEVELS, Server, launcher, needs_root, outside, read_line};

#[test]
fn no_descriptor_of_the_server_is_inherited() {
    // Inheritable copies, as a careless library would leave them.
    let leaked: Vec<i32> = {
        let null = std::fs::File::open("/dev/null").unwrap();
        (0..50)
            .map(|_| {
                use std::os::fd::{AsFd, IntoRawFd};
                let copy = null.as_fd().try_clone_to_owned().unwrap();
                rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
                copy.into_raw_fd()
            })
            .collect()
    };
    let control = &outside(&["fds"])[0];
    assert!(leaked.iter().all(|fd| control.split(',').any(|seen| seen == fd.to_string())), "{control}");
    for level in LEVELS {
        assert_eq!(Cell::new(level, &["fds"]).results(), ["0,1,2,3"], "{level:?}");
    }
}

#[test]
fn no_variable_of_the_server_is_inherited() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &["say_env"]);
        cell.jail.env.insert("GIVEN".into(), "value".into());
        let mut server = Server::start(&cell, (0..200).map(|number| (format!("CANARY_{number}"), "secret".to_owned())), &[]);
        assert_eq!(read_line(&mut server.control), "GIVEN", "{level:?}");
    }
    assert!(!outside(&["env"])[0].is_empty());
}

#[test]
fn a_jail_that_is_too_large_is_refused_on_our_side() {
    let mut cell = Cell::new(Level::L2, &["fds"]);
    cell.jail.env.insert("BIG".into(), "x".repeat(200_000));
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let error = sandbox::spawn(&launcher(), &cell.jail, theirs.into()).unwrap_err();
    assert!(matches!(&error, SpawnError::Launch { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput), "{error}");
}

#[test]
fn no_group_of_the_server_is_inherited() {
    if !needs_root("no_group_of_the_server_is_inherited") {
        return;
    }
    for level in ALL_LEVELS {
        let cell = Cell::new(level, &["say_ids"]);
        let mut server = Server::start(&cell, [], &["groups:4321"]);
        assert!(read_line(&mut server.control).ends_with(" []"), "{level:?}");
    }
    // Control: without an identity to take, the groups stay.
    let mut cell = Cell::new(Level::L0, &["say_ids"]);
    cell.jail.identity = None;
    let mut server = Server::start(&cell, [], &["groups:4321"]);
    assert!(read_line(&mut server.control).ends_with(" [4321]"));
}
