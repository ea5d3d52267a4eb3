//! The store and its lockfile: what is written, what is refused, and who may write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use manifest_schema::{Channel, PluginName};
use registry::{
    Bundle, Consent, Entry, Error, FileDigest, Folder, Lockfile, LockfileError, MAX_PREVIOUS, Proposal, Release, Store,
    TrustStore, Vouched,
};

fn release(version: &str) -> Release {
    Release {
        version: version.parse().unwrap(),
        digest: FileDigest::of(version.as_bytes()),
        source: format!("file:/x/{version}.zip"),
        signed_by: Vec::new(),
        accepted: BTreeSet::new(),
        tools: BTreeMap::new(),
    }
}

fn entry(name: &str, version: &str) -> Entry {
    Entry {
        name: PluginName::parse(name).unwrap(),
        active: true,
        pinned: false,
        channel: Channel::Stable,
        release: release(version),
        previous: Vec::new(),
    }
}

fn bundle(folder: &Path, version: &str) -> Bundle {
    let source = folder.join(format!("source-{version}"));
    fs::create_dir_all(source.join("inner")).unwrap();
    let manifest = format!(
        "name: plain\nversion: {version}\ndescription: Nothing much\nmcps:\n  - name: echo\n    description: Says it\n    module_path: main\n    \
         class_name: Echo\n    args_schema: {{type: object}}\n"
    );
    fs::write(source.join("plugin.yaml"), manifest).unwrap();
    fs::write(source.join("main.py"), "class Echo: pass\n").unwrap();
    fs::write(source.join("inner/data.txt"), "data").unwrap();
    Folder::read(&source).unwrap().pack(tempfile::tempfile_in(folder).unwrap()).unwrap().bundle
}

/// A store with one package, and its digest.
fn stored() -> (tempfile::TempDir, Store, FileDigest) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("data"), folder.path().join("config"));
    let bundle = bundle(folder.path(), "1.0.0");
    store.write().unwrap().place(&bundle).unwrap();
    (folder, store, bundle.digest())
}

#[test]
fn a_lockfile_is_the_same_text_for_the_same_contents() {
    let mut lockfile = Lockfile::default();
    for name in ["zeta", "alpha"] {
        lockfile.put(entry(name, "1.0.0"));
    }
    let mut middle = entry("middle", "1.0.0");
    middle.advance(release("1.1.0"));
    middle.pinned = true;
    middle.release.accepted = ["power:network_access", "host:*"].map(str::to_owned).into();
    middle.release.tools.insert("echo".to_owned(), "sha256:00".to_owned());
    lockfile.put(middle);
    let text = lockfile.text().unwrap();
    let again = Lockfile::parse(text.as_bytes()).unwrap();
    assert_eq!(again, lockfile);
    assert_eq!(again.text().unwrap(), text);
    let names: Vec<&str> = text.lines().filter(|line| line.starts_with("name = ")).collect();
    assert_eq!(names, ["name = \"alpha\"", "name = \"middle\"", "name = \"zeta\""]);
    assert!(text.starts_with("# What is installed."), "{text}");
}

#[test]
fn a_lockfile_that_could_mean_two_things_is_refused() {
    let mut lockfile = Lockfile::default();
    lockfile.put(entry("alpha", "1.0.0"));
    let good = lockfile.text().unwrap();
    let twice = good.clone() + good.split_once("format = 1\n").unwrap().1;
    assert_eq!(Lockfile::parse(twice.as_bytes()), Err(LockfileError::Twice("alpha".to_owned())));
    assert_eq!(Lockfile::parse(b"format = 7\n"), Err(LockfileError::Format(7)));
    for (what, bad) in [
        ("no format", String::new()),
        ("not UTF-8", "format = 1 # \u{fffd}".replace('\u{fffd}', "\u{0}")),
        ("an unknown key", good.replace("active = true", "active = true\nother = 1")),
        ("a bare digest", good.replace("sha256:", "")),
        ("a short digest", good.replace("sha256:", "sha256:00")),
        ("a name that is none", good.replace("alpha", "../alpha")),
        ("a version that is none", good.replace("version = \"1.0.0\"", "version = \"1\"")),
        ("an unknown channel", good.replace("stable", "nightly")),
    ] {
        assert!(matches!(Lockfile::parse(bad.as_bytes()), Err(LockfileError::Shape(_))), "{what}: {bad}");
    }
}

#[test]
fn earlier_releases_are_kept_each_once_and_not_for_ever() {
    let mut plugin = entry("alpha", "1.0.0");
    for minor in 1..20 {
        plugin.advance(release(&format!("1.{minor}.0")));
    }
    assert_eq!(plugin.previous.len(), MAX_PREVIOUS);
    assert_eq!(plugin.previous[0].version.to_string(), "1.18.0");
    assert!(plugin.return_to(release("1.15.0").digest));
    assert_eq!((plugin.release.version.to_string(), plugin.previous[0].version.to_string()), ("1.15.0".into(), "1.19.0".into()));
    assert!(!plugin.previous.iter().any(|earlier| earlier.version == plugin.release.version));
    assert!(!plugin.return_to(release("1.0.0").digest), "it was given up");
}

#[test]
fn what_is_not_what_its_name_says_is_found() {
    let (_folder, store, digest) = stored();
    let root = store.root(digest);
    assert_eq!(store.check(digest).unwrap().plugin, "plain");
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let spoils: [(&str, &dyn Fn()); 7] = [
        ("a changed byte", &|| fs::write(root.join("main.py"), "class Echo: p4ss\n").unwrap()),
        ("a longer file", &|| fs::write(root.join("main.py"), "class Echo: pass\n#").unwrap()),
        ("a mode", &|| open(&root.join("main.py"), 0o755)),
        ("a file more", &|| fs::write(root.join("inner/__init__.py"), "").unwrap()),
        ("a hidden file more", &|| fs::write(root.join(".pth"), "").unwrap()),
        ("a file less", &|| fs::remove_file(root.join("inner/data.txt")).unwrap()),
        ("a link", &|| {
            fs::remove_file(root.join("inner/data.txt")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", root.join("inner/data.txt")).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        open(&root, 0o755);
        open(&root.join("inner"), 0o755);
        open(&root.join("main.py"), 0o644);
        spoil();
        assert!(store.check(digest).is_err(), "{what}");
        // Placed again, it is whole again.
        let bundle = bundle(_folder.path(), "1.0.0");
        store.write().unwrap().place(&bundle).unwrap();
        store.check(digest).unwrap();
    }
    assert!(matches!(store.check(FileDigest::of(b"x")), Err(Error::NotStored(_))));
}

#[test]
fn a_folder_that_others_may_write_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Store::at(&data, folder.path().join("config")).write().unwrap_err();
    assert!(refused.to_string().contains("others may write it"), "{refused}");
}

#[test]
fn there_is_one_writer_at_a_time() {
    let (_folder, store, _) = stored();
    let writer = store.write().unwrap();
    let other = store.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let writer = other.write().unwrap();
        sender.send(writer.lockfile().entries().count()).unwrap();
    });
    let mut lockfile = Lockfile::default();
    lockfile.put(entry("alpha", "1.0.0"));
    assert!(receiver.try_recv().is_err());
    writer.commit(&lockfile, "{}", Vec::new()).unwrap();
    // It sees what was committed before it got the lock.
    assert_eq!(receiver.recv().unwrap(), 1);
    waiting.join().unwrap();
}

#[test]
fn nothing_is_approved_that_nobody_named() {
    let (folder, store, _) = stored();
    let vouched = |version| Vouched::of(bundle(folder.path(), version), &TrustStore::default(), today(), false).unwrap();
    let named = BTreeSet::new();
    let first = Proposal::new(vouched("1.0.0"), "file:/x".to_owned(), &store, None);
    let approved = first.approve(Consent::Named(&named)).unwrap();
    let lockfile = approved.enter(&Lockfile::default(), None);
    store.write().unwrap().install(&[approved], &lockfile, "{}", Vec::new()).unwrap();
    let installed = lockfile.get("plain");
    let elsewhere = Proposal::new(vouched("1.1.0"), "https://example.org/x".to_owned(), &store, installed);
    let keys: Vec<&str> = elsewhere.differences().iter().map(|difference| difference.key.as_str()).collect();
    assert_eq!(keys, ["source"]);
    assert_eq!(elsewhere.approve(Consent::Named(&named)).unwrap_err().len(), 1);
    let same = Proposal::new(vouched("1.1.0"), "file:/y".to_owned(), &store, installed);
    assert!(same.differences().is_empty());
    assert!(Vouched::of(bundle(folder.path(), "1.0.0"), &TrustStore::default(), today(), true).is_err());
}

fn today() -> registry::Day {
    registry::Day::parse("2026-11-22").unwrap()
}
