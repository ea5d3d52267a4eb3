//! From the paths of a jail to open descriptors: which links are followed, which are refused, what is passed over.
//!
//! A path is resolved once; what is mounted or allowed later is the descriptor, not the name, so nothing can be swapped between.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat};
use rustix::io::Errno;

use crate::error::{AtStep, Step, StepError};
use crate::jail::{Access, Mount};

/// A mount's place on the host.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Path without symbolic links.
    pub(crate) path: PathBuf,
    /// Links that were followed on the way: where they stand, where they point.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// The file or folder itself (`O_PATH`).
    pub(crate) fd: OwnedFd,
    /// Whether it is a folder.
    pub(crate) is_dir: bool,
    /// What may be done with it.
    pub(crate) access: Access,
}

/// Resolves all mounts, parents before children, each place once.
pub(crate) fn resolve_all(mounts: &[Mount]) -> Result<Vec<Resolved>, StepError> {
    let mut found: Vec<Resolved> = Vec::new();
    for mount in mounts {
        let Some(mut resolved) = resolve(mount)? else { continue };
        match found.iter_mut().find(|other| other.path == resolved.path) {
            Some(other) if other.access != resolved.access => {
                return Err(StepError::new(
                    Step::Mounts,
                    format!("`{}` is mounted both read-only and read-write", resolved.path.display()),
                ));
            }
            Some(other) => other.links.append(&mut resolved.links),
            None => found.push(resolved),
        }
    }
    found.sort_by_key(|resolved| resolved.path.components().count());
    Ok(found)
}

fn resolve(mount: &Mount) -> Result<Option<Resolved>, StepError> {
    let outcome = if mount.follow_symlinks { follow(&mount.path) } else { Ok((mount.path.clone(), Vec::new())) };
    let opened = outcome.and_then(|(path, links)| Ok((open_exact(&path)?, path, links)));
    let (fd, path, links) = match opened {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR) if mount.optional => return Ok(None),
        Err(error) => return Err(error).at(Step::Mounts, &format!("open `{}`", mount.path.display())),
    };
    let stat = fstat(&fd).at(Step::Mounts, "fstat")?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(Some(Resolved { path, links, fd, is_dir, access: mount.access }))
}

/// Opens a path without following any link.
pub(crate) fn open_exact(path: &Path) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
}

/// Walks a path one name at a time and notes each link on the way.
fn follow(path: &Path) -> Result<(PathBuf, Vec<(PathBuf, PathBuf)>), Errno> {
    const MAX_LINKS: usize = 40;
    let mut pending: VecDeque<OsString> = names(path).collect();
    let mut here = PathBuf::from("/");
    let mut links = Vec::new();
    while let Some(name) = pending.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match readlinkat(CWD, &next, Vec::new()) {
            Ok(target) => {
                if links.len() == MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = PathBuf::from(OsString::from(target.to_string_lossy().into_owned()));
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    pending.push_front(name);
                }
                links.push((next, target));
            }
            Err(Errno::INVAL) => here = next,
            Err(error) => return Err(error),
        }
    }
    Ok((here, links))
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// A system error for a path problem found by us.
pub(crate) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_and_noted_for_system_mounts_and_refused_for_granted_ones() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real/inner")).unwrap();
        symlink("real", base.join("link")).unwrap();
        let through = base.join("link/inner");

        let found = resolve(&Mount::system(&through)).unwrap().unwrap();
        assert_eq!(found.path, base.join("real/inner"));
        assert_eq!(found.links, [(base.join("link"), PathBuf::from("real"))]);

        let refused = resolve(&Mount::granted(&through, Access::ReadOnly)).unwrap_err();
        assert_eq!(refused.errno, libc::ELOOP);
        let direct = resolve(&Mount::granted(base.join("real/inner"), Access::ReadOnly)).unwrap();
        assert!(direct.is_some());
    }

    #[test]
    fn a_circle_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(resolve(&Mount::system(dir.path().join("a"))).unwrap_err().errno, libc::ELOOP);
    }

    #[test]
    fn only_optional_mounts_may_be_missing() {
        assert!(resolve(&Mount::system_if_present("/no/such/thing")).unwrap().is_none());
        assert_eq!(resolve(&Mount::system("/no/such/thing")).unwrap_err().errno, libc::ENOENT);
    }

    #[test]
    fn one_place_has_one_access() {
        let mounts = [Mount::system("/usr"), Mount::granted("/usr", Access::ReadWrite)];
        assert!(resolve_all(&mounts).unwrap_err().what.contains("both read-only and read-write"));
        assert_eq!(resolve_all(&[Mount::system("/usr"), Mount::system("/usr")]).unwrap().len(), 1);
    }
}
