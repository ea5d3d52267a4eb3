//! Packages from folders: the same bytes everywhere, nothing that an install would refuse, and readable by others.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use registry::{Error, FileDigest, FileMode, Folder, Kind, Packed};

pub(crate) const PLUGIN: &str = "name: plain\nversion: 1.0.0\ndescription: Says things back\npermissions: [network_access, file_system_read]\n\
                                 requires_network: true\nrequires_filesystem: true\nmcps:\n  - name: echo\n    description: Returns what it was \
                                 given\n    module_path: main\n    class_name: Echo\n    args_schema: {type: object, properties: {}}\n";

/// Writes a plugin; `turn` changes order, times and masks, but no content.
pub(crate) fn plugin(root: &Path, turn: bool) -> PathBuf {
    let folder = root.join(if turn { "other place" } else { "plain" });
    let mut files: Vec<(&str, String)> = vec![
        ("plugin.yaml", PLUGIN.to_owned()),
        ("main.py", "class Echo:\n    def _run(self):\n        return 'x'\n".to_owned()),
        ("lib/inner/data.txt", "0123456789\n".repeat(2_000)),
        ("lib/zeros.bin", "\0".repeat(1 << 20)),
        ("données.txt", "é\n".to_owned()),
        ("run.sh", "#!/bin/sh\n".to_owned()),
        ("empty", String::new()),
    ];
    if turn {
        files.reverse();
    }
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let plain = if turn { 0o600 } else { 0o664 };
        let mode = if path.ends_with("run.sh") { plain | 0o100 } else { plain };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if turn {
            fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    }
    folder
}

pub(crate) fn pack(folder: &Path, to: &Path) -> Result<Packed, Error> {
    let out = fs::File::options().read(true).write(true).create_new(true).open(to).unwrap();
    Folder::read(folder)?.pack(out)
}

#[test]
fn the_same_files_are_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.zip"), folder.path().join("two.zip"));
    let packed = pack(&plugin(folder.path(), false), &one).unwrap();
    pack(&plugin(folder.path(), true), &two).unwrap();
    let bytes = fs::read(&one).unwrap();
    assert_eq!(bytes, fs::read(&two).unwrap());
    assert_eq!(packed.bytes, bytes.len() as u64);
    // On any machine and with any later version: a change here breaks what others have signed and mirrored.
    assert_eq!(FileDigest::of(&bytes).to_string(), "4098af6a5a5f7b1e626a2251f71cd85b848918733e19750650c7846a0f97ded6");
    assert_eq!(packed.bundle.digest().to_string(), "cd1b117e9a2b7d873e61c0fd118b8d08fb88300017ecb671515e582e0233b5b6");
    let inventory = packed.bundle.inventory();
    assert_eq!(
        inventory.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["données.txt", "empty", "lib/inner/data.txt", "lib/zeros.bin", "main.py", "plugin.yaml", "run.sh"]
    );
    assert_eq!(inventory.file("run.sh").unwrap().mode, FileMode::Executable);
    assert_eq!(inventory.file("main.py").unwrap().mode, FileMode::Plain);
}

#[test]
fn what_was_packed_comes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = plugin(folder.path(), false);
    let packed = pack(&source, &folder.path().join("one.zip")).unwrap();
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    packed.bundle.unpack_into(&staging).unwrap();
    for file in &packed.bundle.inventory().files {
        let bytes = fs::read(staging.join(&file.path)).unwrap();
        assert_eq!(bytes, fs::read(source.join(&file.path)).unwrap());
        assert_eq!(fs::metadata(staging.join(&file.path)).unwrap().permissions().mode() & 0o7777, file.mode.bits());
    }
    // And again the same package from what came out: its own papers are made anew.
    let again = pack(&staging, &folder.path().join("two.zip")).unwrap();
    assert_eq!(again.bundle.digest(), packed.bundle.digest());
}

#[test]
fn another_reader_sees_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack(&plugin(folder.path(), false), &folder.path().join("one.zip")).unwrap();
    let script = "import hashlib,json,sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print(json.dumps({i.filename: [hashlib.sha256(z.read(i)).hexdigest(), oct(i.external_attr >> 16)] for i in z.infolist()}))";
    let output = Command::new("python3").args(["-c", script]).arg(folder.path().join("one.zip")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen.as_object().unwrap().len(), packed.bundle.inventory().files.len() + 1);
    for file in &packed.bundle.inventory().files {
        assert_eq!(seen[&file.path][0], file.sha256.to_string());
        assert_eq!(seen[&file.path][1], format!("0o100{:o}", file.mode.bits()));
    }
}

#[test]
fn what_does_not_belong_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = plugin(folder.path(), false);
    for path in [".git/config", "lib/__pycache__/a.pyc", ".env", "notes.log", "keep.log", "build/x"] {
        fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
        fs::write(source.join(path), "x").unwrap();
    }
    // Even what a package can't hold may lie in a folder that stays out.
    symlink("/etc", source.join("build/link")).unwrap();
    fs::write(source.join(".pegboardignore"), "*.log\n!keep.log\n/build/\n").unwrap();
    let packed = pack(&source, &folder.path().join("one.zip")).unwrap();
    assert_eq!(packed.left_out, [".env", ".git/", ".pegboardignore", "build/", "lib/__pycache__/", "notes.log"]);
    assert!(packed.bundle.inventory().file("keep.log").is_some());
    assert_eq!(packed.bundle.inventory().files.len(), 8);
}

#[test]
fn a_folder_that_can_be_no_package_is_refused() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 11] = [
        ("no manifest", |root| fs::remove_file(root.join("plugin.yaml")).unwrap(), "holds no `plugin.yaml`"),
        (
            "bad manifest",
            |root| fs::write(root.join("plugin.yaml"), "name: Bad\n").unwrap(),
            "the manifest is not valid: plugin.yaml:",
        ),
        ("link", |root| symlink("main.py", root.join("other.py")).unwrap(), "`other.py` is a symbolic link"),
        ("link to a folder", |root| symlink("/etc", root.join("etc")).unwrap(), "`etc` is a symbolic link"),
        (
            "manifest by a link",
            |root| {
                fs::rename(root.join("plugin.yaml"), root.join("real.yaml")).unwrap();
                symlink("real.yaml", root.join("plugin.yaml")).unwrap();
            },
            "`plugin.yaml` is a symbolic link",
        ),
        ("case", |root| fs::write(root.join("MAIN.py"), "x").unwrap(), "the same as `"),
        ("reserved", |root| fs::write(root.join("aux.py"), "x").unwrap(), "reserved word `aux`"),
        (
            "pipe",
            |root| {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
            },
            "neither a file nor a folder",
        ),
        ("large", |root| fs::File::create(root.join("large")).unwrap().set_len((16 << 20) + 1).unwrap(), "has 16777217 bytes"),
        (
            "many",
            |root| (0..2_000).for_each(|number| fs::write(root.join(format!("f{number}")), "").unwrap()),
            "more than 2000 files",
        ),
        ("bad list", |root| fs::write(root.join(".pegboardignore"), "[z\n").unwrap(), "`.pegboardignore`: line 1: "),
    ];
    for (name, spoil, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let source = plugin(folder.path(), false);
        spoil(&source);
        let error = pack(&source, &folder.path().join("one.zip")).expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(error.kind(), Kind::Invalid, "{name}");
    }
}

#[test]
fn a_name_in_other_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = plugin(folder.path(), false);
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff.txt");
    fs::write(source.join(name), "x").unwrap();
    assert!(pack(&source, &folder.path().join("one.zip")).unwrap_err().to_string().contains("is not UTF-8"));
}
