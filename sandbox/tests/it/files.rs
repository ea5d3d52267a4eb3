//! The file tree: what cannot be read, seen, written or filled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

use sandbox::{Access, Level, Mount, SpawnError, Step};

use crate::harness::{Cell, LEVELS, check, needs_root, outside};

#[test]
fn etc_passwd_is_out_of_reach() {
    assert!(outside(&["read:/etc/passwd"])[0].ends_with("bytes"));
    check(Level::L1, &["read:/etc/passwd"], &["EACCES"]);
    check(Level::L2, &["read:/etc/passwd"], &["ENOENT"]);
    // The same file, mounted.
    for level in LEVELS {
        let mut cell = Cell::new(level, &["read:/etc/passwd", "append:/etc/passwd"]);
        cell.jail.mounts.push(Mount::system("/etc/passwd"));
        let results = cell.results();
        assert!(results[0].ends_with("bytes"), "{results:?}");
        assert!(["EACCES", "EROFS"].contains(&results[1].as_str()), "{results:?}");
    }
}

#[test]
fn files_of_the_same_user_outside_are_out_of_reach() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let file = cell.folder.path().join("outside");
        cell.open_file(&file);
        let file = file.to_str().unwrap();
        let acts = [
            format!("read:{file}"),
            format!("write:{file}"),
            format!("append:{file}"),
            format!("truncate:{file}"),
            format!("unlink:{file}"),
        ];
        let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
        let denied = if level == Level::L1 { "EACCES" } else { "ENOENT" };
        let results = cell.acts(acts.iter().copied()).results();
        // At L2 a file can be "created" nowhere: the root is read-only.
        assert!(
            results.iter().all(|result| result == denied || result == "EACCES" || result == "EROFS"),
            "{results:?} at {level:?}"
        );
        assert_eq!(fs::read_to_string(file).unwrap(), "secret");
        assert_eq!(outside(&acts), ["6 bytes", "ok", "ok", "ok", "ok"]);
    }
}

#[test]
fn existence_is_hidden_at_l2_and_reported_as_visible_at_l1() {
    let paths = ["stat:/etc/passwd", "stat:/root", "stat:/home", "stat:/var", "stat:/sys", "stat:/proc/sys"];
    check(Level::L2, &paths, &["ENOENT"; 6]);
    let at_l1 = Cell::new(Level::L1, &paths[..1]).run();
    assert!(at_l1.stdout.contains("-> ok"));
    assert!(at_l1.entry.notes.iter().any(|note| note.contains("whether a path of the host exists")), "{:?}", at_l1.entry);
}

#[test]
fn the_root_is_read_only_and_cannot_be_listed() {
    check(Level::L2, &["write:/x", "mkdir:/dev/x", "mkdir:/usr/x", "list:/"], &["EROFS", "EROFS", "EROFS", "EACCES"]);
    check(Level::L1, &["list:/", "list:/proc", "list:/tmp"], &["EACCES", "EACCES", "EACCES"]);
}

#[test]
fn the_scratch_room_is_writable_and_nothing_beside_it() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let scratch = cell.scratch().display().to_string();
        let acts: Vec<String> =
            ["write:S/a", "mkdir:S/d", "rename:S/a:S/d/b", "symlink:/etc:S/link", "read:S/d/b", "unlink:S/d/b", "mknod:S/n"]
                .map(|act| act.replace('S', &scratch))
                .to_vec();
        cell.acts(acts.iter().map(String::as_str));
        let mut results = cell.results();
        let device = results.pop().unwrap();
        assert!(device == "EPERM" || device == "EACCES", "a device node: {device}");
        assert_eq!(results, ["ok", "ok", "ok", "ok", "1 bytes", "ok"], "{level:?}");
        let mut cell = Cell::new(level, &["write:../outside", "write:/var/tmp/outside"]);
        cell.jail.workdir = cell.scratch();
        let results = cell.results();
        assert!(
            results.iter().all(|result| ["EACCES", "ENOENT", "EROFS"].contains(&result.as_str())),
            "{results:?} at {level:?}"
        );
    }
}

#[test]
fn a_link_in_the_scratch_room_leads_nowhere_new() {
    check(Level::L2, &["symlink:/etc/passwd:/tmp/l", "read:/tmp/l"], &["ok", "ENOENT"]);
    let mut cell = Cell::new(Level::L1, &[]);
    let link = cell.scratch().join("l").display().to_string();
    cell.acts([format!("symlink:/etc/passwd:{link}").as_str(), format!("read:{link}").as_str()]);
    assert_eq!(cell.results(), ["ok", "EACCES"]);
}

#[test]
fn a_granted_folder_is_what_the_grant_says() {
    for level in LEVELS {
        for (access, expected) in
            [(Access::ReadOnly, ["6 bytes", "f", "denied", "denied"]), (Access::ReadWrite, ["6 bytes", "f", "ok", "ok"])]
        {
            let mut cell = Cell::new(level, &[]);
            let folder = cell.own_folder("granted");
            cell.open_file(&folder.join("f"));
            cell.jail.mounts.push(Mount::granted(&folder, access));
            let folder = folder.display().to_string();
            let acts = ["read:F/f", "list:F", "write:F/new", "unlink:F/f"].map(|act| act.replace('F', &folder));
            cell.acts(acts.iter().map(String::as_str));
            let results: Vec<String> =
                cell.results().into_iter().map(|r| if r == "EACCES" || r == "EROFS" { "denied".to_owned() } else { r }).collect();
            assert_eq!(results, expected, "{access:?} at {level:?}");
        }
    }
}

#[test]
fn a_grant_through_a_link_is_refused() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &["list:/"]);
        let real = cell.own_folder("real");
        fs::create_dir(real.join("below")).unwrap();
        symlink(&real, cell.folder.path().join("link")).unwrap();
        let through = cell.folder.path().join("link/below");
        cell.jail.mounts.push(Mount::granted(&through, Access::ReadOnly));
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = sandbox::spawn(&crate::harness::launcher(), &cell.jail, theirs.into()).unwrap_err();
        assert!(matches!(&error, SpawnError::Refused { step: Step::Mounts, errno: libc::ELOOP, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("real path")));
        cell.jail.mounts.pop();
        cell.jail.mounts.push(Mount::granted(real.join("below"), Access::ReadOnly));
        assert_eq!(cell.results(), ["EACCES"]);
    }
}

#[test]
fn read_only_inside_read_write_holds_at_l2_and_is_refused_at_l1() {
    let cell = |level| {
        let mut cell = Cell::new(level, &[]);
        let folder = cell.own_folder("granted");
        fs::create_dir(folder.join("fixed")).unwrap();
        fs::set_permissions(folder.join("fixed"), fs::Permissions::from_mode(0o777)).unwrap();
        cell.jail.mounts.push(Mount::granted(&folder, Access::ReadWrite));
        cell.jail.mounts.push(Mount::granted(folder.join("fixed"), Access::ReadOnly));
        let acts = [format!("write:{}/a", folder.display()), format!("write:{}/fixed/a", folder.display())];
        cell.acts(acts.iter().map(String::as_str));
        cell
    };
    assert_eq!(cell(Level::L2).results(), ["ok", "EROFS"]);
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = sandbox::spawn(&crate::harness::launcher(), &cell(Level::L1).jail, theirs.into()).unwrap_err();
    assert!(matches!(&error, SpawnError::Refused { step: Step::Landlock, .. }), "{error}");
}

#[test]
fn what_is_written_is_not_started_unless_spawning_is_granted() {
    for level in LEVELS {
        for (allowed, expected) in [(false, "EACCES"), (true, "say:hello -> ok")] {
            let mut cell = Cell::new(level, &[]);
            cell.jail.spawn_allowed = allowed;
            let act = format!("copyrun:{}/program", cell.scratch().display());
            cell.acts([act.as_str()]);
            let finished = cell.run();
            assert!(finished.stdout.contains(&format!("-> {expected}")), "{finished:?} at {level:?}");
        }
    }
}

#[test]
fn the_scratch_room_has_a_size_at_l2() {
    let mut cell = Cell::new(Level::L2, &["fill:/tmp/a:4", "fill:/tmp/b:12", "fill:/dev/shm/c:1"]);
    cell.jail.scratch.size_mb = 8;
    assert_eq!(cell.results(), ["ok", "ENOSPC", "ENOSPC"]);
    let mut cell = Cell::new(Level::L2, &["files:/tmp:50", "files:/tmp:500"]);
    cell.jail.scratch.inodes = 100;
    assert_eq!(cell.results(), ["ok", "ENOSPC"]);
}

#[test]
fn one_file_has_a_size_at_both_levels() {
    for level in LEVELS {
        let run = |mb: u64| {
            let mut cell = Cell::new(level, &[]);
            cell.jail.limits.file_size_mb = Some(4);
            let act = format!("fill:{}/a:{mb}", cell.scratch().display());
            cell.acts([act.as_str()]);
            cell.run()
        };
        assert!(run(3).stdout.contains("-> ok"));
        // The signal's default is death, except for the init of a pid namespace, to which the call then fails.
        let over = run(5);
        if level == Level::L2 {
            assert!(over.stdout.contains(&format!("-> error {}", libc::EFBIG)), "{over:?}");
        } else {
            assert_eq!(over.ended.signal, Some(libc::SIGXFSZ));
        }
    }
}

#[test]
fn metadata_of_own_files_outside_is_out_of_reach() {
    // At L1 Landlock lets it pass: the filter refuses it where the user owns files outside; root's plugins have users that
    // own none.
    let acts = ["chmod", "chown", "utime", "inotify"];
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let file = cell.folder.path().join("outside");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let acts = acts.map(|act| format!("{act}:{}", file.display()));
        let acts: Vec<&str> = acts.iter().map(String::as_str).collect();
        let results = cell.acts(acts.iter().copied()).results();
        let denied = |result: &String| ["EPERM", "EACCES", "ENOENT"].contains(&result.as_str());
        // Changing a file's owner to what it is already is no change, and not forbidden to anybody but by the filter.
        let checked =
            if crate::harness::is_root() { vec![&results[0], &results[2], &results[3]] } else { results.iter().collect() };
        assert!(checked.into_iter().all(denied), "{results:?} at {level:?}");
        assert_eq!(outside(&acts), ["ok"; 4]);
    }
}

#[test]
fn metadata_of_an_open_file_can_be_changed() {
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let acts = ["write:S/f", "fchmod:S/f", "futime:S/f"].map(|act| act.replace('S', &cell.scratch().display().to_string()));
        cell.acts(acts.iter().map(String::as_str));
        assert_eq!(cell.results(), ["ok"; 3], "{level:?}");
    }
}

#[test]
fn another_users_files_in_a_granted_folder_stay_closed() {
    if !needs_root("another_users_files_in_a_granted_folder_stay_closed") {
        return;
    }
    for level in LEVELS {
        let mut cell = Cell::new(level, &[]);
        let folder = cell.own_folder("granted");
        fs::write(folder.join("roots"), "secret").unwrap();
        fs::set_permissions(folder.join("roots"), fs::Permissions::from_mode(0o600)).unwrap();
        cell.open_file(&folder.join("own"));
        cell.jail.mounts.push(Mount::granted(&folder, Access::ReadOnly));
        let acts = ["roots", "own"].map(|name| format!("read:{}/{name}", folder.display()));
        cell.acts(acts.iter().map(String::as_str));
        assert_eq!(cell.results(), ["EACCES", "6 bytes"], "{level:?}");
    }
}
