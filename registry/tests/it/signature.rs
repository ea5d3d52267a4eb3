//! Who vouches for a package: every answer there is, each with its own kind.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use registry::{Archive, Bundle, Day, Error, Kind, SIGNATURE, SecretKey, SignatureError, Terms, TrustStore, TrustedKey, sign};
use serde_json::Value;

use crate::package::{PLUGIN, pack, plugin};

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn today() -> Day {
    day("2026-11-21")
}

fn trusted(name: &str, key: &SecretKey) -> TrustedKey {
    TrustedKey { name: name.to_owned(), key: key.public().unwrap(), plugins: vec!["*".to_owned()], added: today(), expires: None }
}

fn store(keys: &[TrustedKey]) -> TrustStore {
    TrustStore { keys: keys.to_vec() }
}

struct Signed {
    folder: tempfile::TempDir,
    key: SecretKey,
    path: PathBuf,
}

fn new(path: &Path) -> fs::File {
    fs::File::options().read(true).write(true).create_new(true).open(path).unwrap()
}

impl Signed {
    fn new() -> Self {
        Self::until(None)
    }

    fn until(expires: Option<Day>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let packed = pack(&plugin(folder.path(), false), &folder.path().join("plain.zip")).unwrap();
        let key = SecretKey::generate().unwrap();
        let path = folder.path().join("signed.zip");
        let signed = sign(&packed.bundle, &key, Terms { signed: today(), expires }, new(&path)).unwrap();
        assert_eq!(signed.digest(), packed.bundle.digest());
        Self { folder, key, path }
    }

    fn bundle(&self) -> Bundle {
        Archive::open(&self.path).unwrap().verify().unwrap()
    }

    fn check(&self, keys: &[TrustedKey]) -> Result<Vec<String>, SignatureError> {
        store(keys).check(self.bundle(), today()).map(|trusted| trusted.by)
    }

    /// The same package with another envelope.
    fn with_envelope(&self, change: impl FnOnce(&mut Value)) -> Result<Vec<String>, SignatureError> {
        let mut envelope: Value = serde_json::from_slice(self.bundle().signature().unwrap()).unwrap();
        change(&mut envelope);
        self.with_paper(&serde_json::to_vec(&envelope).unwrap())
    }

    fn with_paper(&self, paper: &[u8]) -> Result<Vec<String>, SignatureError> {
        // Honest entries, packed anew by the raw writer, with this paper in place of the signature.
        let bundle = self.bundle();
        let mut entries = Vec::new();
        for entry in bundle.archive().entries() {
            let mut bytes = Vec::new();
            bundle
                .archive()
                .unpack(entry, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })
                .unwrap();
            let bytes = if entry.path().as_str() == SIGNATURE { paper } else { &bytes };
            let mode = if entry.executable() { 0o100_755 } else { 0o100_644 };
            entries.push(crate::raw::RawEntry::stored(entry.path().as_str(), bytes).with(|raw| raw.mode = mode));
        }
        let path = self.folder.path().join("other.zip");
        fs::write(&path, crate::raw::archive(&entries)).unwrap();
        let bundle = Archive::open(&path).unwrap().verify().unwrap();
        store(&[trusted("ada", &self.key)]).check(bundle, today()).map(|trusted| trusted.by)
    }
}

fn kind(error: SignatureError) -> Kind {
    Error::from(error).kind()
}

#[test]
fn a_trusted_key_vouches() {
    let signed = Signed::new();
    assert_eq!(signed.check(&[trusted("ada", &signed.key)]), Ok(vec!["ada".to_owned()]));
    // Packed anew, the envelope as it was: how an archive is packed is not signed.
    assert_eq!(signed.with_envelope(|_| {}), Ok(vec!["ada".to_owned()]));
    // Signing is deterministic, and takes the place of an earlier signature.
    let again = signed.folder.path().join("again.zip");
    sign(&signed.bundle(), &signed.key, Terms { signed: today(), expires: None }, new(&again)).unwrap();
    assert_eq!(fs::read(&again).unwrap(), fs::read(&signed.path).unwrap());
}

#[test]
fn no_signature_and_no_trusted_one_are_two_answers() {
    let signed = Signed::new();
    let plain = Archive::open(&signed.folder.path().join("plain.zip")).unwrap().verify().unwrap();
    let error = store(&[trusted("ada", &signed.key)]).check(plain, today()).unwrap_err();
    assert_eq!((kind(error.clone()), error), (Kind::Unsigned, SignatureError::Unsigned));
    let stranger = SecretKey::generate().unwrap();
    let id = signed.key.public().unwrap().id().to_string();
    let error = signed.check(&[trusted("eve", &stranger)]).unwrap_err();
    assert_eq!((kind(error.clone()), error), (Kind::UnknownKey, SignatureError::UnknownKey(vec![id])));
    assert_eq!(kind(signed.check(&[]).unwrap_err()), Kind::UnknownKey);
}

#[test]
fn a_key_is_trusted_for_its_plugins_only() {
    let signed = Signed::new();
    let scoped = |patterns: &[&str]| {
        let plugins = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        signed.check(&[TrustedKey { plugins, ..trusted("ada", &signed.key) }])
    };
    for patterns in [&["plain"][..], &["pla*"], &["other", "*"]] {
        assert!(scoped(patterns).is_ok(), "{patterns:?}");
    }
    for patterns in [&["plai"][..], &["plain_two", "other*"], &[]] {
        let error = scoped(patterns).unwrap_err();
        assert_eq!(kind(error.clone()), Kind::UnknownKey);
        assert!(error.to_string().contains("`ada`, which is not trusted for the plugin `plain`"), "{error}");
    }
}

#[test]
fn keys_and_signatures_end_with_their_last_day() {
    let signed = Signed::new();
    let until = |text: &str| signed.check(&[TrustedKey { expires: Some(day(text)), ..trusted("ada", &signed.key) }]);
    assert!(until("2026-11-21").is_ok());
    let error = until("2026-11-20").unwrap_err();
    assert_eq!(
        (kind(error.clone()), error),
        (Kind::Expired, SignatureError::KeyExpired { key: "ada".to_owned(), until: day("2026-11-20") })
    );
    let short = Signed::until(Some(day("2026-12-31")));
    let on = |text: &str| store(&[trusted("ada", &short.key)]).check(short.bundle(), day(text)).map(|_| ());
    assert_eq!(on("2026-12-31"), Ok(()));
    let error = on("2027-01-01").unwrap_err();
    assert_eq!(
        (kind(error.clone()), error),
        (Kind::Expired, SignatureError::Expired { key: "ada".to_owned(), until: day("2026-12-31") })
    );
}

#[test]
fn a_changed_envelope_is_tampered_with() {
    let signed = Signed::new();
    let payload =
        |envelope: &Value| String::from_utf8(BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap();
    type Change = Box<dyn FnOnce(&mut Value)>;
    let edit = |from: &'static str, to: &'static str| -> Change {
        Box::new(move |envelope| {
            let text = payload(envelope);
            assert!(text.contains(from), "{from} is not in {text}");
            envelope["payload"] = BASE64_STANDARD.encode(text.replacen(from, to, 1)).into();
        })
    };
    let cases: Vec<(&str, Change)> = vec![
        ("a path renamed", edit("main.py", "mine.py")),
        ("permissions", edit("network_access", "system_info")),
        ("a later day", edit("2026-11-21", "2027-11-21")),
        ("white space", edit("{", "{ ")),
        ("another type", Box::new(|envelope| envelope["payloadType"] = "text/plain".into())),
        (
            "cut signature",
            Box::new(|envelope| {
                let cut = BASE64_STANDARD
                    .encode(&BASE64_STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap()[..63]);
                envelope["signatures"][0]["sig"] = cut.into();
            }),
        ),
        ("no signatures", Box::new(|envelope| envelope["signatures"] = Value::Array(Vec::new()))),
        ("unknown key", Box::new(|envelope| envelope["more"] = 1.into())),
        (
            "base64 with a space",
            Box::new(|envelope| envelope["payload"] = format!(" {}", envelope["payload"].as_str().unwrap()).into()),
        ),
        (
            "a second, broken one by the same key",
            Box::new(|envelope| {
                let mut second = envelope["signatures"][0].clone();
                second["sig"] = BASE64_STANDARD.encode([0; 64]).into();
                envelope["signatures"].as_array_mut().unwrap().push(second);
            }),
        ),
        (
            "malleable: S plus the group's order",
            Box::new(|envelope| {
                const ORDER: [u8; 32] = [
                    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
                ];
                let mut signature = BASE64_STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
                let mut carry = 0;
                for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(order) + carry;
                    (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
                }
                envelope["signatures"][0]["sig"] = BASE64_STANDARD.encode(signature).into();
            }),
        ),
    ];
    for (name, change) in cases {
        let error = signed.with_envelope(change).expect_err(name);
        assert_eq!(kind(error.clone()), Kind::Tampered, "{name}: {error}");
    }
    assert_eq!(kind(signed.with_paper(b"no document").unwrap_err()), Kind::Tampered);
    // A stranger's signature beside a good one takes nothing away and adds nothing.
    let stranger = signed.with_envelope(|envelope| {
        let other = serde_json::json!({"keyid": "00", "sig": BASE64_STANDARD.encode([0; 64])});
        envelope["signatures"].as_array_mut().unwrap().push(other);
    });
    assert_eq!(stranger, Ok(vec!["ada".to_owned()]));
}

/// The attack that a hash over contents alone lets through: other paths, same contents, signature kept.
#[test]
fn a_signature_does_not_move_to_another_package() {
    let signed = Signed::new();
    let paper = signed.bundle().signature().unwrap().to_vec();
    type Change = fn(&Path);
    let cases: [(&str, Change, &str); 5] = [
        ("renamed", |root| fs::rename(root.join("empty"), root.join("void")).unwrap(), "`empty` differs"),
        ("added", |root| fs::write(root.join("more.py"), "x").unwrap(), "`more.py` differs"),
        ("removed", |root| fs::remove_file(root.join("empty")).unwrap(), "`empty` differs"),
        ("changed", |root| fs::write(root.join("main.py"), "evil").unwrap(), "`main.py` differs"),
        (
            "another version",
            |root| fs::write(root.join("plugin.yaml"), PLUGIN.replace("1.0.0", "1.0.1")).unwrap(),
            "it is of `plain 1.0.0`",
        ),
    ];
    for (name, change, expected) in cases {
        let other = Signed::new();
        let source = other.folder.path().join("plain");
        change(&source);
        let packed = pack(&source, &other.folder.path().join("evil.zip")).unwrap();
        let path = other.folder.path().join("moved.zip");
        sign(&packed.bundle, &other.key, Terms { signed: today(), expires: None }, new(&path)).unwrap();
        let error = Signed { path, folder: other.folder, key: SecretKey::parse(&signed.key.pem()).unwrap() }
            .with_paper(&paper)
            .expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(kind(error), Kind::Tampered, "{name}");
    }
}
