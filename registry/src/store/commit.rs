//! One change of several files, whole or not at all, whenever the process is ended or the disk is full.
//!
//! 1. every new file is written beside its place and flushed;
//! 2. the journal, which names the places, is written, flushed and renamed into place: **here the change is decided**;
//! 3. each file takes its place by rename; what goes is removed;
//! 4. the journal is removed.
//!
//! Ended before 2, the change never was: what lies beside the places is swept. Ended after it, whoever looks next carries out what is left,
//! be it a writer or a reader. Each step of 3 is done when the file beside the place is gone, so carrying it out twice is harmless. The
//! lockfile is the last: nothing is served before what it needs is there.
//!
//! From 2 to 4 a writer holds [`Turn::Carrying`], and a reader holds [`Turn::Reading`] while it reads several of the files: so it never sees some
//! as they were and others as they are to become, and a journal that a reader finds is one whose writer was ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{HISTORY, LOCKFILE, Lockfile, Store, Writer, flush, read_bounded};
use crate::Error;

/// The list of what is decided.
pub(super) const JOURNAL: &str = ".commit";
/// Before the name of a file that waits beside its place. Hidden: nobody else takes it for a file of theirs.
pub(super) const BESIDE: &str = ".commit-";
/// What those who read and those who carry out lock.
const TURNS: &str = ".commit.lock";
const MAX_JOURNAL_BYTES: u64 = 1 << 20;
/// How many lines of history are kept.
const MAX_HISTORY: usize = 1_000;

/// The folder that a changed file lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The folder of data.
    Data,
    /// The folder of configuration.
    Config,
}

/// A file that changes together with the lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its folder.
    pub place: Place,
    /// Its path in there.
    pub path: String,
    /// What it holds from now on; none: it is removed.
    pub bytes: Option<Vec<u8>>,
}

/// One step of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    place: Place,
    path: String,
    /// The file is removed, and what waits beside its place only says that this is still to be done.
    remove: bool,
}

impl Writer {
    /// Makes a new lockfile the truth, with lines of history and what else changes with it.
    ///
    /// # Errors
    /// When something can't be written: then nothing changed. [`Error::Unfinished`] alone says that the change is decided, and that
    /// whoever looks next carries it out.
    pub fn commit(self, lockfile: &Lockfile, done: &str, files: Vec<FileChange>) -> Result<(), Error> {
        let mut history = self.store.history()?;
        history.extend(done.lines().map(str::to_owned));
        let kept = history.len().saturating_sub(MAX_HISTORY);
        let text = history.drain(kept..).fold(String::new(), |text, line| text + &line + "\n");
        let data = |path: &str, bytes: Vec<u8>| FileChange { place: Place::Data, path: path.to_owned(), bytes: Some(bytes) };
        let mut files = files;
        files.push(data(HISTORY, text.into_bytes()));
        files.push(data(LOCKFILE, lockfile.text()?.into_bytes()));
        apply(&self.store, &files)
    }
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing is carried out meanwhile.
    Reading,
    /// Nothing is read or carried out by others meanwhile.
    Carrying,
}

/// While it is held, what belongs together is as it was or as it became, and stays so.
#[derive(Debug)]
pub struct Steady {
    /// Held open: the kernel's lock ends with the descriptor. None where there is nothing, or nobody may write.
    _lock: Option<File>,
}

impl Store {
    /// Waits until no change is being carried out, and carries out what an ended writer had decided. For readers of more than one file.
    ///
    /// # Errors
    /// [`Error::Unfinished`] when a decided change can't be carried out, such as where nothing can be written: then neither the old state nor
    /// the new one can be read.
    pub fn steady(&self) -> Result<Steady, Error> {
        loop {
            let lock = self.turn(Turn::Reading)?;
            if !self.is_unfinished() {
                return Ok(Steady { _lock: lock });
            }
            drop(lock);
            let _lock = self.turn(Turn::Carrying)?;
            carry_out_all(self)?;
        }
    }

    /// Waits for a turn. None where nobody could have written: no folder of data, or one that can't be written.
    fn turn(&self, turn: Turn) -> Result<Option<File>, Error> {
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
        let path = self.data.join(TURNS);
        let made = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let opened = match made {
            Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => File::open(&path),
            made => made,
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) && turn == Turn::Reading => return Ok(None),
            Err(error) => return Err(Error::file("open", path, error)),
        };
        let locked = if turn == Turn::Reading { file.lock_shared() } else { file.lock() };
        locked.map_err(|error| Error::file("lock", path, error))?;
        Ok(Some(file))
    }

    fn folder(&self, place: Place) -> &Path {
        match place {
            Place::Data => &self.data,
            Place::Config => &self.config,
        }
    }
}

impl Step {
    fn target(&self, store: &Store) -> PathBuf {
        store.folder(self.place).join(&self.path)
    }

    fn beside(&self, store: &Store) -> PathBuf {
        let target = self.target(store);
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        target.with_file_name(format!("{BESIDE}{name}"))
    }

    /// Whether the path stays in its folder: a journal is read back from the disk.
    fn is_inside(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..")
    }
}

fn apply(store: &Store, files: &[FileChange]) -> Result<(), Error> {
    let steps: Vec<Step> =
        files.iter().map(|file| Step { place: file.place, path: file.path.clone(), remove: file.bytes.is_none() }).collect();
    let prepared = prepare(store, files, &steps).and_then(|()| store.turn(Turn::Carrying));
    let _turn = prepared.inspect_err(|_| abandon(store, &steps))?;
    if let Err(error) = decide(store, &steps) {
        abandon(store, &steps);
        // The decision may have reached the disk although the system reported a failure: then it stands.
        return if store.is_unfinished() { Err(unfinished(error)) } else { Err(error) };
    }
    for step in &steps {
        carry_out(store, step).map_err(unfinished)?;
    }
    conclude(store).map_err(unfinished)
}

fn unfinished(error: Error) -> Error {
    Error::Unfinished(Box::new(error))
}

fn prepare(store: &Store, files: &[FileChange], steps: &[Step]) -> Result<(), Error> {
    for (file, step) in files.iter().zip(steps) {
        let beside = step.beside(store);
        let write = || -> io::Result<()> {
            if let Some(folder) = beside.parent() {
                make_folders(folder)?;
            }
            // Left by a writer that was ended: never written through, whatever it is.
            remove_if_there(&beside)?;
            let mode = if file.place == Place::Data && file.path == LOCKFILE { 0o644 } else { 0o600 };
            let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
            new.set_permissions(fs::Permissions::from_mode(mode))?;
            new.write_all(file.bytes.as_deref().unwrap_or_default())?;
            new.sync_all()
        };
        write().map_err(|error| Error::file("write", &beside, error))?;
    }
    let mut folders: Vec<PathBuf> = steps.iter().filter_map(|step| step.beside(store).parent().map(Path::to_owned)).collect();
    folders.sort();
    folders.dedup();
    folders.iter().try_for_each(|folder| flush(folder).map_err(|error| Error::file("flush", folder, error)))
}

fn make_folders(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    folder.parent().map_or(Ok(()), flush)
}

fn decide(store: &Store, steps: &[Step]) -> Result<(), Error> {
    let (journal, new) = (store.data.join(JOURNAL), store.data.join(format!("{BESIDE}journal")));
    let bytes = serde_json::to_vec(steps).map_err(|error| Error::Internal(error.to_string()))?;
    let write = || -> io::Result<()> {
        remove_if_there(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &journal)?;
        flush(&store.data)
    };
    write().map_err(|error| Error::file("write", &journal, error))
}

/// Takes back what was prepared, the decision first.
fn abandon(store: &Store, steps: &[Step]) {
    if remove_if_there(&store.data.join(JOURNAL)).and_then(|()| flush(&store.data)).is_err() && store.is_unfinished() {
        return;
    }
    for path in steps.iter().map(|step| step.beside(store)).chain([store.data.join(format!("{BESIDE}journal"))]) {
        // What stays is swept by the next writer.
        let _ = remove_if_there(&path);
    }
}

fn carry_out(store: &Store, step: &Step) -> Result<(), Error> {
    let (beside, target) = (step.beside(store), step.target(store));
    let folder = target.parent().unwrap_or(Path::new("/")).to_owned();
    let act = || -> io::Result<()> {
        if !beside.try_exists()? {
            return Ok(());
        }
        if step.remove {
            remove_if_there(&target)?;
            flush(&folder)?;
            fs::remove_file(&beside)?;
        } else {
            fs::rename(&beside, &target)?;
        }
        flush(&folder)
    };
    act().map_err(|error| Error::file("replace", &target, error))
}

fn conclude(store: &Store) -> Result<(), Error> {
    let journal = store.data.join(JOURNAL);
    let end = || remove_if_there(&journal).and_then(|()| flush(&store.data));
    end().map_err(|error| Error::file("remove", &journal, error))
}

/// Carries out what an ended writer had decided, or sweeps what it had only prepared. Only under the store's lock.
pub(super) fn finish(store: &Store) -> Result<(), Error> {
    let _turn = store.turn(Turn::Carrying)?;
    if store.is_unfinished() {
        return carry_out_all(store);
    }
    sweep(store);
    Ok(())
}

/// Carries out what is left of a decided change. Only in the turn for it.
fn carry_out_all(store: &Store) -> Result<(), Error> {
    let journal = store.data.join(JOURNAL);
    let bytes = match read_bounded(&journal, MAX_JOURNAL_BYTES) {
        Ok(bytes) => bytes,
        // Somebody else was here before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("read", journal, error)),
    };
    let broken = |what: String| Error::file("read", &journal, io::Error::new(io::ErrorKind::InvalidData, what));
    let steps: Vec<Step> = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    if let Some(step) = steps.iter().find(|step| !step.is_inside()) {
        return Err(broken(format!("`{}` leaves its folder", step.path)));
    }
    for step in &steps {
        carry_out(store, step).map_err(unfinished)?;
    }
    conclude(store).map_err(unfinished)
}

/// Removes what was prepared and never decided.
fn sweep(store: &Store) {
    for folder in [store.data.clone(), store.data.join("kept"), store.config.clone(), store.config.join("config")] {
        let left = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(BESIDE)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BESIDE, JOURNAL, Place, Step, Store};
    use crate::{Error, LOCKFILE};

    const OLD: &str = "# old\nformat = 1\n";
    const NEW: &str = "# new\nformat = 1\n";

    /// A home whose writer was ended right after its decision: the lockfile and one more file are still what they were.
    fn decided() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let (data, config) = (folder.path().join("data"), folder.path().join("config"));
        let store = Store::at(&data, &config);
        drop(store.write().unwrap());
        fs::create_dir(&config).unwrap();
        let steps = [(Place::Config, "grants.yaml"), (Place::Data, LOCKFILE)];
        for (place, path) in steps {
            fs::write(store.folder(place).join(path), OLD).unwrap();
            fs::write(store.folder(place).join(format!("{BESIDE}{path}")), NEW).unwrap();
        }
        let steps = steps.map(|(place, path)| Step { place, path: path.to_owned(), remove: false });
        fs::write(data.join(JOURNAL), serde_json::to_vec(&steps).unwrap()).unwrap();
        (folder, store)
    }

    fn read(store: &Store) -> [String; 2] {
        [store.config.join("grants.yaml"), store.lockfile_path()].map(|path| fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_reader_carries_out_what_was_decided() {
        let (_folder, store) = decided();
        assert_eq!(read(&store), [OLD, OLD]);
        let steady = store.steady().unwrap();
        assert_eq!((read(&store), store.is_unfinished()), ([NEW.to_owned(), NEW.to_owned()], false));
        // Others read meanwhile, too.
        drop(store.steady().unwrap());
        drop(steady);
        // What is only prepared may be a living writer's: a reader leaves it.
        let waiting = store.data.join(format!("{BESIDE}{LOCKFILE}"));
        fs::write(&waiting, "later").unwrap();
        drop(store.steady().unwrap());
        assert!(waiting.exists());
        drop(store.write().unwrap());
        assert!(!waiting.exists());
    }

    #[test]
    fn nothing_is_carried_out_while_somebody_reads() {
        let (_folder, store) = decided();
        let steady = store.steady().unwrap();
        let journal = serde_json::to_vec(&[Step { place: Place::Data, path: LOCKFILE.to_owned(), remove: true }]).unwrap();
        fs::write(store.data.join(format!("{BESIDE}{LOCKFILE}")), "").unwrap();
        fs::write(store.data.join(JOURNAL), journal).unwrap();
        let (other, (sender, receiver)) = (store.clone(), std::sync::mpsc::channel());
        let waiting = std::thread::spawn(move || {
            sender.send(()).unwrap();
            drop(other.steady().unwrap());
        });
        receiver.recv().unwrap();
        assert_eq!(read(&store)[1], NEW);
        drop(steady);
        waiting.join().unwrap();
        assert!(!store.lockfile_path().exists());
    }

    #[test]
    fn a_decided_change_that_cannot_be_carried_out_is_not_read_past() {
        let (_folder, store) = decided();
        // Nobody can put a file in the place of a folder that is not empty.
        fs::remove_file(store.lockfile_path()).unwrap();
        fs::create_dir_all(store.lockfile_path().join("full")).unwrap();
        assert!(matches!(store.steady(), Err(Error::Unfinished(_))));
        fs::remove_dir_all(store.lockfile_path()).unwrap();
        drop(store.steady().unwrap());
        assert_eq!(read(&store), [NEW, NEW]);
    }

    #[test]
    fn a_home_without_anything_is_steady() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("data"), folder.path().join("config"));
        drop(store.steady().unwrap());
        assert!(!folder.path().join("data").exists());
    }

    #[test]
    fn a_journal_that_leaves_its_folder_is_refused() {
        for path in ["../x", "/etc/x", "a//b", "a/../../b", ""] {
            let data = tempfile::tempdir().unwrap();
            let store = Store::at(data.path().join("data"), data.path().join("config"));
            drop(store.write().unwrap());
            let journal = serde_json::json!([{"place": "data", "path": path, "remove": true}]).to_string();
            fs::write(data.path().join("data").join(JOURNAL), journal).unwrap();
            assert!(matches!(store.write(), Err(Error::File { .. })), "{path}");
        }
    }
}
