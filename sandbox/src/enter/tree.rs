//! The file tree of a confined process at L2: an empty, read-only root in memory into which the jail's folders are bound.
//!
//! What is not bound does not exist inside: neither its content nor its name can be learned. Landlock, entered later, says
//! the same
//! again for what does exist.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::paths::{self, Resolved, resolve_all};
use crate::error::{AtStep, Step, StepError};
use crate::jail::{Access, Jail};
use crate::sys;

const RDONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;
const NOSUID: u64 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64;
const NODEV: u64 = MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64;
const NOEXEC: u64 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64;

/// Device nodes that every program may expect; none of them gives access to anything.
pub(crate) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    // POSIX shared memory lives in the scratch room and counts against it.
    ("/dev/shm", "/tmp"),
];

/// What stands now.
pub(crate) struct Tree {
    /// What was bound, parents first.
    pub(crate) mounts: Vec<Resolved>,
    /// Why `/proc` is missing, when it is.
    pub(crate) proc_missing: Option<String>,
}

/// Builds the tree and makes it the root.
pub(crate) fn enter(jail: &Jail) -> Result<Tree, StepError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Step::Mounts, "make / private")?;
    // All sources are taken before anything is mounted over them.
    let mut mounts = resolve_all(&jail.mounts)?;
    let trees = mounts.iter().map(|mount| clone_tree(mount, jail.spawn_allowed)).collect::<Result<Vec<_>, _>>()?;
    let devices = DEVICES.iter().map(|path| clone_device(path)).collect::<Result<Vec<_>, _>>()?;

    let root = attach_root()?;
    for (at, to) in LINKS {
        link(&root, Path::new(at), Path::new(to))?;
    }
    for (path, device) in DEVICES.iter().zip(&devices) {
        attach(&root, Path::new(path), false, device)?;
    }
    attach(&root, Path::new("/tmp"), true, &scratch(jail)?)?;
    let proc_missing = attach_proc(&root)?;
    for (at, to) in mounts.iter().flat_map(|mount| &mount.links) {
        link(&root, at, to)?;
    }
    for (mount, tree) in mounts.iter_mut().zip(&trees) {
        attach(&root, &mount.path, mount.is_dir, tree)?;
    }
    pivot(&root)?;
    for mount in &mut mounts {
        mount.fd = paths::open_exact(&mount.path).at(Step::PivotRoot, &format!("`{}` inside", mount.path.display()))?;
    }
    Ok(Tree { mounts, proc_missing })
}

/// A private copy of a mount, and of those below it, with the flags it will have inside.
fn clone_tree(mount: &Resolved, spawn_allowed: bool) -> Result<OwnedFd, StepError> {
    let flags = match mount.access {
        Access::ReadOnly => RDONLY | NOSUID | NODEV,
        Access::ReadWrite if spawn_allowed => NOSUID | NODEV,
        // What a plugin writes, it does not start.
        Access::ReadWrite => NOSUID | NODEV | NOEXEC,
    };
    clone_with_flags(mount.fd.as_fd(), flags).at(Step::Mounts, &format!("bind `{}`", mount.path.display()))
}

fn clone_device(path: &str) -> Result<OwnedFd, StepError> {
    // Read-only concerns the node (its mode, its times), not what is written to the device.
    let open =
        || clone_with_flags(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd(), RDONLY | NOSUID | NOEXEC);
    open().at(Step::Mounts, &format!("bind `{path}`"))
}

fn clone_with_flags(source: BorrowedFd<'_>, flags: u64) -> std::io::Result<OwnedFd> {
    use OpenTreeFlags as F;
    let tree = open_tree(source, "", F::OPEN_TREE_CLONE | F::OPEN_TREE_CLOEXEC | F::AT_EMPTY_PATH | F::AT_RECURSIVE)?;
    sys::mount_setattr(tree.as_fd(), flags, true)?;
    Ok(tree)
}

/// The empty root. It is attached to the old tree only because `pivot_root` asks for that.
fn attach_root() -> Result<OwnedFd, StepError> {
    let root = tmpfs(&[("size", "256k"), ("nr_inodes", "8192"), ("mode", "0755")], MountAttrFlags::empty())
        .at(Step::Mounts, "tmpfs root")?;
    let staging = ["/tmp", "/run", "/dev"].iter().find(|path| Path::new(path).is_dir());
    let staging = *staging.ok_or_else(|| StepError::new(Step::Mounts, "none of `/tmp`, `/run` and `/dev` is a folder"))?;
    move_mount(&root, "", CWD, staging, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(Step::Mounts, "attach the root")?;
    Ok(root)
}

fn tmpfs(options: &[(&str, &str)], extra: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | extra;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// The scratch room: sized, owned by the program's user, closed to others.
fn scratch(jail: &Jail) -> Result<OwnedFd, StepError> {
    let (uid, gid) = jail.identity.map_or_else(
        || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        |identity| (identity.uid, identity.gid),
    );
    let options = [
        ("size", format!("{}m", jail.scratch.size_mb)),
        ("nr_inodes", jail.scratch.inodes.to_string()),
        ("mode", "0700".to_owned()),
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
    ];
    let options: Vec<(&str, &str)> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let extra = if jail.spawn_allowed { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NOEXEC };
    tmpfs(&options, extra).at(Step::Mounts, "scratch tmpfs")
}

/// `/proc` with nothing but processes, and of those only the ones the reader could trace. Some containers mask parts of their own
/// `/proc` and then forbid another one: the reason is returned, and the program runs without.
fn attach_proc(root: &OwnedFd) -> Result<Option<String>, StepError> {
    let make = || {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "subset", "pid")?;
        fsconfig_set_string(&context, "hidepid", "ptraceable")?;
        fsconfig_create(&context)?;
        use MountAttrFlags as F;
        let flags = F::MOUNT_ATTR_RDONLY | F::MOUNT_ATTR_NOSUID | F::MOUNT_ATTR_NODEV | F::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    };
    match make() {
        Ok(mount) => attach(root, Path::new("/proc"), true, &mount).map(|()| None),
        Err(error) => Ok(Some(format!("/proc cannot be mounted here: {error}"))),
    }
}

/// Hangs a mount at a path of the new root, making the folders and, for a file, the empty file it needs.
fn attach(root: &OwnedFd, path: &Path, is_dir: bool, tree: &OwnedFd) -> Result<(), StepError> {
    let place = || {
        let (folder, name) = parent(root, path)?;
        let target = if is_dir { open_or_make_dir(&folder, &name)? } else { open_or_make_file(&folder, &name)? };
        move_mount(tree, "", &target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)?;
        Ok(())
    };
    let placed: std::io::Result<()> = place();
    placed.at(Step::Mounts, &format!("mount `{}`", path.display()))
}

/// A symbolic link of the host, reproduced. What stands there already stays.
fn link(root: &OwnedFd, at: &Path, to: &Path) -> Result<(), StepError> {
    let place = || {
        let (folder, name) = parent(root, at)?;
        match symlinkat(to, &folder, &name) {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    let placed: std::io::Result<()> = place();
    placed.at(Step::Mounts, &format!("link `{}`", at.display()))
}

/// The open folder that holds `path`, made where missing, and the last name. No link is followed: the paths hold none, and
/// one that
/// appears in a writable folder meanwhile was put there by a plugin.
fn parent(root: &OwnedFd, path: &Path) -> std::io::Result<(OwnedFd, PathBuf)> {
    let inside = path.strip_prefix("/").map_err(|_| paths::invalid(format!("`{}` is not absolute", path.display())))?;
    let (Some(above), Some(name)) = (inside.parent(), inside.file_name()) else {
        return Err(paths::invalid(format!("`{}` has no name", path.display())));
    };
    let mut folder = root.try_clone()?;
    for part in above {
        folder = open_or_make_dir(&folder, Path::new(part))?;
    }
    Ok((folder, PathBuf::from(name)))
}

fn open_or_make_dir(folder: &OwnedFd, name: &Path) -> std::io::Result<OwnedFd> {
    let open = || open_below(folder, name, OFlags::PATH | OFlags::DIRECTORY);
    match open() {
        Err(Errno::NOENT) => {
            mkdirat(folder, name, Mode::from_raw_mode(0o755))?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

fn open_or_make_file(folder: &OwnedFd, name: &Path) -> std::io::Result<OwnedFd> {
    match open_below(folder, name, OFlags::PATH) {
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(openat(folder, name, flags, Mode::from_raw_mode(0o444))?);
            Ok(open_below(folder, name, OFlags::PATH)?)
        }
        other => Ok(other?),
    }
}

fn open_below(folder: &OwnedFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    openat2(folder, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The new root becomes the only one; the old tree is detached while it is the top of the pile.
fn pivot(root: &OwnedFd) -> Result<(), StepError> {
    fchdir(root).at(Step::PivotRoot, "fchdir")?;
    pivot_root(".", ".").at(Step::PivotRoot, "pivot_root")?;
    unmount(".", UnmountFlags::DETACH).at(Step::PivotRoot, "detach the old root")?;
    chdir("/").at(Step::PivotRoot, "chdir /")?;
    sys::mount_setattr(root.as_fd(), RDONLY, false).at(Step::PivotRoot, "make / read-only")
}
