//! Whose a container is: labels that tell installation, running host and plugin, and the lock that says whether that host still lives.
//!
//! A host removes what a dead host of the same installation left behind, and touches nothing else on the engine.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use manifest_schema::Digest;

/// Installation: a digest of the folder that its sockets lie in.
pub(crate) const HOME: &str = "pegboard.home";
/// That folder itself, for an operator who looks after homes that are gone.
pub(crate) const PLACE: &str = "pegboard.place";
/// Running host.
pub(crate) const INSTANCE: &str = "pegboard.instance";
/// Plugin.
pub(crate) const PLUGIN: &str = "pegboard.plugin";
/// Digest of the build context that an image was made of.
pub(crate) const CONTEXT: &str = "pegboard.context";

/// The name of an installation on an engine.
pub(crate) fn home_label(home: &Path) -> String {
    Digest::of([home.as_os_str().as_encoded_bytes()]).short().to_owned()
}

/// This host, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Folder of its plugins' sockets.
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) home: String,
    /// Held to the end; the kernel lets go of it however the host ends.
    _lock: File,
}

impl Instance {
    /// A new one under `home`.
    pub(crate) fn begin(home: &Path) -> io::Result<Self> {
        fs::create_dir_all(home)?;
        // Other users of the machine must not reach the sockets in it.
        fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
        let home = fs::canonicalize(home)?;
        loop {
            let mut random = [0_u8; 6];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            let path = home.join(format!("{name}.lock"));
            let lock = File::create_new(&path)?;
            if lock.try_lock().is_err() || fs::metadata(&path).map(|now| now.ino()).ok() != Some(lock.metadata()?.ino()) {
                // Somebody who sweeps took it for a dead one's.
                continue;
            }
            let folder = home.join(&name);
            fs::create_dir(&folder)?;
            return Ok(Self { folder, name, home: home_label(&home), _lock: lock });
        }
    }

    /// Labels of what belongs to a plugin of this host.
    pub(crate) fn labels(&self, plugin: &str) -> HashMap<String, String> {
        let place = self.folder.parent().unwrap_or(Path::new("/")).to_string_lossy();
        [(HOME, &*self.home), (PLACE, &*place), (INSTANCE, &*self.name), (PLUGIN, plugin)]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // What can't be removed is swept by the next host.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(self.folder.with_extension("lock"));
    }
}

/// Whether the host of that name lives. Cleans up after one that does not.
pub(crate) fn is_alive(home: &Path, instance: &str) -> bool {
    if instance.is_empty() || !instance.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let path = home.join(format!("{instance}.lock"));
    let Ok(lock) = File::open(&path) else { return false };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => true,
        Ok(()) => {
            let _ = fs::remove_dir_all(home.join(instance));
            let _ = fs::remove_file(path);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_lives_as_long_as_its_lock_is_held() {
        let home = tempfile::tempdir().unwrap();
        let one = Instance::begin(home.path()).unwrap();
        let two = Instance::begin(home.path()).unwrap();
        assert_ne!(one.name, two.name);
        assert_eq!(one.home, two.home);
        assert!(is_alive(home.path(), &one.name) && is_alive(home.path(), &two.name));
        // As after kill -9: the lock is free, the files are there.
        let (name, folder) = (one.name.clone(), one.folder.clone());
        let stray = folder.with_extension("lock");
        drop(one);
        fs::create_dir(&folder).unwrap();
        fs::write(&stray, "").unwrap();
        assert!(!is_alive(home.path(), &name));
        assert!(!folder.exists() && !stray.exists() && two.folder.exists());
        for strange in ["", "../x", "none"] {
            assert!(!is_alive(home.path(), strange));
        }
    }
}
