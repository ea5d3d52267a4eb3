//! `package`, `keygen`, `sign`, `verify`, `trust`: from a folder to a package that others can trust, and every answer when they can't.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::run::{Home, mode};

/// A plugin's folder, a package of it and a pair of keys.
fn made() -> (Home, PathBuf, PathBuf) {
    let home = Home::with_plain();
    let (package, key) = (home.path().join("plain.zip"), home.path().join("ada.key"));
    home.run(&["package", "plugins/plain", "-o", "plain.zip"]).ends(0);
    home.run(&["keygen", "ada.key"]).ends(0);
    (home, package, key)
}

fn signed(more: &[&str]) -> (Home, PathBuf) {
    let (home, package, _) = made();
    home.run(&[&["sign", "plain.zip", "--key", "ada.key"], more].concat()).ends(0);
    (home, package)
}

fn trust(home: &Home, more: &[&str]) {
    home.run(&[&["trust", "add", "ada", "ada.key.pub"], more].concat()).ends(0);
}

#[test]
fn a_package_is_the_same_bytes_wherever_it_is_made() {
    let (home, package, _) = made();
    let document = home.run(&["package", "plugins/plain", "--json"]).ends(0).json();
    assert_eq!(document["package"], "plain-1.0.0.zip");
    assert_eq!((&document["plugin"], &document["version"], &document["files"]), (&"plain".into(), &"1.0.0".into(), &2.into()));
    assert_eq!(fs::read(&package).unwrap(), fs::read(home.path().join("plain-1.0.0.zip")).unwrap());
    assert_eq!(document["package_bytes"], fs::metadata(&package).unwrap().len());
}

#[test]
fn what_is_no_plugin_is_not_packaged() {
    let home = Home::with_plain();
    home.run(&["package", "nowhere"]).ends(5);
    let inside = home.run(&["package", "plugins/plain", "-o", "plugins/plain/me.zip", "--json"]).ends(2).json();
    assert_eq!(inside["error"]["code"], "package.inside");
    std::os::unix::fs::symlink("/etc", home.plugins().join("plain/etc")).unwrap();
    let link = home.run(&["package", "plugins/plain", "-o", "a.zip", "--json"]).ends(3).json();
    assert_eq!(link["error"]["code"], "package.invalid");
    assert!(link["error"]["message"].as_str().unwrap().contains("`etc` is a symbolic link"), "{link}");
    fs::remove_file(home.plugins().join("plain/etc")).unwrap();
    fs::remove_file(home.plugins().join("plain/main.py")).unwrap();
    let broken = home.run(&["package", "plugins/plain", "-o", "a.zip", "--json"]).ends(3).json();
    assert_eq!(broken["error"]["code"], "manifest.invalid");
    // Neither a package nor a part of one is left.
    let left: Vec<String> =
        fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with(".new-") && name != "a.zip"), "{left:?}");
}

#[test]
fn a_trusted_signature_is_taken() {
    let (home, _) = signed(&["--expires", "9999-12-31"]);
    trust(&home, &["--plugins", "pla*", "--expires", "9999-12-31"]);
    let document = home.run(&["verify", "plain.zip", "--json"]).ends(0).json();
    assert_eq!((&document["trusted"], &document["signed_by"][0]), (&true.into(), &"ada".into()));
    home.run(&["verify", "plain.zip", "--key", "ada.key.pub"]).ends(0);
    // Signing again needs a word, and changes nothing of the package itself.
    home.run(&["sign", "plain.zip", "--key", "ada.key"]).ends(2);
    let again = home.run(&["sign", "plain.zip", "--key", "ada.key", "--replace", "--json"]).ends(0).json();
    assert_eq!(again["digest"], document["digest"]);
}

#[test]
fn each_answer_has_its_exit_code() {
    let (home, package, _) = made();
    home.run(&["verify", "nowhere.zip"]).ends(5);
    fs::write(home.path().join("no.zip"), "no package").unwrap();
    assert_eq!(home.run(&["verify", "no.zip", "--json"]).ends(3).json()["error"]["code"], "package.invalid");
    assert_eq!(home.run(&["verify", "plain.zip", "--json"]).ends(7).json()["error"]["code"], "package.unsigned");
    home.run(&["sign", "plain.zip", "--key", "ada.key"]).ends(0);
    let unknown = home.run(&["verify", "plain.zip", "--json"]).ends(8).json();
    assert_eq!((&unknown["error"]["code"], &unknown["trusted"]), (&"package.unknown_key".into(), &false.into()));
    trust(&home, &["--plugins", "other_*"]);
    let scope = home.run(&["verify", "plain.zip"]).ends(8);
    assert!(scope.stderr.contains("not trusted for the plugin `plain`"), "{}", scope.stderr);
    home.run(&["trust", "remove", "ada"]).ends(0);
    trust(&home, &[]);
    home.run(&["verify", "plain.zip"]).ends(0);
    // Another manifest under the same signature.
    let bytes = fs::read(&package).unwrap();
    let at =
        bytes.windows(8).position(|eight| eight == b"PK\x03\x04\x14\0\0\0").unwrap() + 30 + "pegboard.inventory.json".len() + 20;
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    fs::write(&package, changed).unwrap();
    assert_eq!(home.run(&["verify", "plain.zip", "--json"]).ends(9).json()["error"]["code"], "package.tampered");
}

#[test]
fn what_has_expired_is_said_to_have() {
    let (home, _) = signed(&[]);
    trust(&home, &["--expires", "9999-12-31"]);
    home.run(&["verify", "plain.zip"]).ends(0);
    let file = home.config("trust.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("9999-12-31"), "{text}");
    fs::write(&file, text.replace("9999-12-31", "2026-01-01")).unwrap();
    let ended = home.run(&["verify", "plain.zip", "--json"]).ends(10).json();
    assert_eq!(ended["error"]["code"], "package.expired");
    assert!(ended["error"]["message"].as_str().unwrap().contains("until 2026-01-01"), "{ended}");
    home.run(&["sign", "plain.zip", "--key", "ada.key", "--replace", "--expires", "2020-01-01"]).ends(2);
    home.run(&["sign", "plain.zip", "--key", "ada.key", "--replace", "--expires", "soon"]).ends(2);
}

#[test]
fn keys_are_made_once_and_kept_to_their_owner() {
    let (home, _, key) = made();
    assert_eq!(mode(&key), 0o600);
    let before = fs::read(&key).unwrap();
    home.run(&["keygen", "ada.key"]).ends(2);
    assert_eq!(fs::read(&key).unwrap(), before);
    fs::remove_file(&key).unwrap();
    home.run(&["keygen", "ada.key"]).ends(2);
    assert!(!key.exists(), "a public key without its secret one was overwritten");
    fs::write(&key, &before).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = home.run(&["sign", "plain.zip", "--key", "ada.key"]).ends(2);
    assert!(open.stderr.contains("mode 644") && open.stderr.contains("chmod 600"), "{}", open.stderr);
    home.run(&["sign", "plain.zip", "--key", "nowhere.key"]).ends(5);
    fs::set_permissions(home.path().join("ada.key.pub"), fs::Permissions::from_mode(0o600)).unwrap();
    home.run(&["sign", "plain.zip", "--key", "ada.key.pub"]).ends(3);
}

#[test]
fn the_list_of_trusted_keys() {
    let (home, _, _) = made();
    assert_eq!(home.run(&["trust", "list", "--json"]).ends(0).json()["keys"], serde_json::json!([]));
    trust(&home, &["--plugins", "plain", "--plugins", "text_*"]);
    assert_eq!(mode(&home.config("trust.yaml")), 0o600);
    let listed = home.run(&["trust", "list", "--json"]).ends(0).json();
    assert_eq!(listed["keys"][0]["plugins"], serde_json::json!(["plain", "text_*"]));
    home.run(&["trust", "add", "ada", "ada.key.pub"]).ends(2);
    let again = home.run(&["trust", "add", "eve", "ada.key.pub"]).ends(2);
    assert!(again.stderr.contains("as `ada`"), "{}", again.stderr);
    home.run(&["trust", "add", "e v e", "ada.key.pub"]).ends(2);
    home.run(&["trust", "add", "eve", "ada.key.pub", "--plugins", "*_x"]).ends(2);
    home.run(&["trust", "add", "eve", "ada.key"]).ends(3);
    // Zero is a point under which anyone can sign.
    let weak = home.run(&["trust", "add", "eve", "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]).ends(3);
    assert!(weak.stderr.contains("anyone could sign"), "{}", weak.stderr);
    let miss = home.run(&["trust", "remove", "adaa"]).ends(5);
    assert!(miss.stderr.contains("`ada`"), "{}", miss.stderr);
    home.run(&["trust", "remove", "ada"]).ends(0);
    // A list that can't be read never counts as an empty one, nor as one that trusts.
    home.configure("trust.yaml", "keys: [{name: ada}]\n");
    home.run(&["verify", "plain.zip"]).ends(2);
    home.run(&["trust", "list"]).ends(2);
}

/// The secret key is nowhere but in its file.
#[test]
fn the_secret_key_is_never_shown() {
    let (home, _, key) = made();
    let text = fs::read_to_string(&key).unwrap();
    let secret = text.lines().nth(1).unwrap().to_owned();
    let all = [
        home.run(&["sign", "plain.zip", "--key", "ada.key", "--json"]).ends(0),
        home.run(&["keygen", "eve.key", "--json"]).ends(0),
        home.run(&["verify", "plain.zip", "--key", "ada.key"]).ends(3),
    ];
    for ended in all {
        assert!(!ended.stdout.contains(&secret) && !ended.stderr.contains(&secret));
    }
    assert!(!contains(&home.path().join("plain.zip"), secret.as_bytes()));
}

fn contains(file: &Path, part: &[u8]) -> bool {
    fs::read(file).unwrap().windows(part.len()).any(|bytes| bytes == part)
}
