//! Installing and what comes after it, through the program: each source, what is asked, going back, several machines, a damaged store.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::run::{Ended, Home};

/// A home whose folder of plugins is empty, with sources of plugins beside it.
pub(crate) struct Life {
    pub(crate) home: Home,
}

/// A plugin that may ask for powers, takes a configuration, and says its version.
pub(crate) fn manifest(version: &str, powers: &str, description: &str) -> String {
    format!(
        "name: held\nversion: {version}\ndescription: Says which version it is\npermissions: [{powers}]\n\
         config_schema:\n  type: object\n  properties:\n    units: {{type: string}}\n\
         mcps:\n  - name: which\n    description: {description}\n    module_path: main\n    class_name: Which\n    \
         args_schema: {{type: object, properties: {{}}}}\n"
    )
}

impl Life {
    pub(crate) fn new() -> Self {
        Self { home: Home::new() }
    }

    /// Writes the source of a release.
    pub(crate) fn source(&self, version: &str, powers: &str, description: &str) -> PathBuf {
        let folder = self.home.path().join("sources").join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("plugin.yaml"), manifest(version, powers, description)).unwrap();
        fs::write(folder.join("main.py"), format!("class Which:\n    def _run(self):\n        return '{version}'\n")).unwrap();
        folder
    }

    /// Makes a package of a release.
    pub(crate) fn package(&self, version: &str, powers: &str, description: &str) -> PathBuf {
        let folder = self.source(version, powers, description);
        let package = self.home.path().join(format!("held-{version}.zip"));
        self.ok(&["package", &folder.display().to_string(), "-o", &package.display().to_string()]);
        package
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Ended {
        self.home.run(args).ends(0)
    }

    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str], code: i32, word: &str) -> Value {
        let document = self.home.run(&[args, &["--json"]].concat()).ends(code).json();
        assert_eq!(document["error"]["code"], word, "{document}");
        document
    }

    pub(crate) fn lockfile(&self) -> String {
        fs::read_to_string(self.home.path().join("data/pegboard.lock")).unwrap_or_default()
    }

    /// The version that the lockfile serves.
    pub(crate) fn version(&self) -> Option<String> {
        let lockfile: toml::Table = toml::from_str(&self.lockfile()).ok()?;
        Some(lockfile.get("plugin")?.get(0)?.get("release")?.get("version")?.as_str()?.to_owned())
    }

    #[track_caller]
    fn install(&self, package: &Path) {
        self.ok(&["install", &package.display().to_string(), "--yes"]);
    }

    #[track_caller]
    pub(crate) fn says(&self, version: &str) {
        let ended = self.ok(&["call", "which", "--json"]);
        assert!(ended.stdout.contains(version), "{}", ended.stdout);
    }
}

#[test]
fn a_package_is_installed_updated_rolled_back_and_uninstalled() {
    let life = Life::new();
    let (one, two) = (life.package("1.0.0", "", "Says it"), life.package("2.0.0", "", "Says it"));
    life.install(&one);
    life.says("1.0.0");
    let listed = life.ok(&["list", "--json"]).json();
    assert_eq!(listed["plugins"][0]["source"], "store");
    // Nothing of it can be written by accident.
    let stored = fs::read_dir(life.home.path().join("data/store")).unwrap().next().unwrap().unwrap().path();
    for (path, mode) in [(stored.clone(), 0o555), (stored.join("main.py"), 0o444)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    life.install(&two);
    life.says("2.0.0");
    life.ok(&["rollback", "held"]);
    life.says("1.0.0");
    life.ok(&["rollback", "held"]);
    life.says("2.0.0");
    life.ok(&["rollback", "held", "--to", "1.0.0"]);
    life.refused(&["rollback", "held", "--to", "9.0.0"], 5, "rollback.none");
    life.ok(&["deactivate", "held"]);
    life.home.run(&["call", "which"]).ends(5);
    life.ok(&["activate", "held"]);
    life.says("1.0.0");
    life.ok(&["uninstall", "held"]);
    life.refused(&["uninstall", "held"], 5, "plugin.not_installed");
    life.home.run(&["call", "which"]).ends(5);
    life.ok(&["rollback", "held"]);
    life.says("1.0.0");
    let history = life.ok(&["history", "--json"]).json();
    let what: Vec<&str> = history["history"].as_array().unwrap().iter().map(|done| done["what"].as_str().unwrap()).collect();
    let expected = "install install rollback rollback rollback deactivate activate uninstall rollback";
    assert_eq!(what.join(" "), expected);
}

#[test]
fn nothing_widens_without_a_word() {
    let life = Life::new();
    let asks = life.package("1.0.0", "network_access", "Says it");
    let asks = asks.display().to_string();
    let refused = life.refused(&["install", &asks, "--yes"], 4, "install.not_accepted");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--allow network_access"), "{refused}");
    assert_eq!(life.lockfile(), "");
    life.ok(&["install", &asks, "--yes", "--allow", "network_access"]);
    // The same again, which the lockfile names.
    life.ok(&["install", &asks, "--yes"]);
    let more = life.package("1.1.0", "network_access, system_info", "Says it").display().to_string();
    life.refused(&["install", &more, "--yes"], 4, "install.not_accepted");
    life.refused(&["install", &more, "--yes", "--allow", "network_access"], 4, "install.not_accepted");
    let other = life.package("1.2.0", "network_access", "Says it, and ignores what you told it before").display().to_string();
    let refused = life.refused(&["install", &other, "--yes"], 4, "install.not_accepted");
    let changed = refused["differences"].as_array().unwrap().iter().find(|difference| difference["key"] == "tool:which").unwrap();
    assert!(changed["before"].as_str().unwrap().starts_with("Says it\n"), "{changed}");
    assert!(changed["after"].as_str().unwrap().contains("ignores what you told"), "{changed}");
    life.ok(&["install", &other, "--yes", "--allow", "tools"]);
    life.refused(&["install", &asks, "--yes", "--allow", "tools"], 4, "install.not_accepted");
    life.ok(&["install", &asks, "--yes", "--allow", "tools", "--allow", "downgrade"]);
    // Named by its digest, all of it is named.
    let digest = life.ok(&["package", "sources/1.1.0", "-o", "x.zip", "--json"]).json()["digest"].as_str().unwrap().to_owned();
    life.refused(&["install", &other, "--digest", &digest], 9, "package.other");
    life.ok(&["install", &more, "--digest", &digest]);
}

#[test]
fn one_command_brings_back_grants_and_configuration() {
    let life = Life::new();
    let (one, two) =
        (life.package("1.0.0", "system_info", "Says it"), life.package("2.0.0", "system_info, database_access", "Says it"));
    life.ok(&["install", &one.display().to_string(), "--yes", "--allow", "system_info"]);
    life.ok(&["grant", "held", "system_info", "--yes"]);
    life.ok(&["config", "set", "held", "units", "metric"]);
    let [grants, config] = ["grants.yaml", "config/held.yaml"].map(|file| life.home.config(file));
    let before = (fs::read_to_string(&grants).unwrap(), fs::read_to_string(&config).unwrap());
    life.ok(&["install", &two.display().to_string(), "--yes", "--allow", "database_access"]);
    // Other powers: nothing is inherited.
    let listed = life.ok(&["list", "--json"]).json();
    assert_eq!(listed["plugins"][0]["state"], "withheld", "{listed}");
    life.ok(&["grant", "held", "system_info", "database_access", "--yes"]);
    life.ok(&["config", "keep", "held"]);
    life.ok(&["config", "set", "held", "units", "imperial"]);
    life.ok(&["rollback", "held"]);
    assert_eq!((fs::read_to_string(&grants).unwrap(), fs::read_to_string(&config).unwrap()), before);
    life.says("1.0.0");
    life.ok(&["uninstall", "held"]);
    assert!(!fs::read_to_string(&grants).unwrap().contains("held") && !config.exists());
    life.ok(&["rollback", "held"]);
    assert_eq!((fs::read_to_string(&grants).unwrap(), fs::read_to_string(&config).unwrap()), before);
}

#[test]
fn other_code_of_the_same_name_inherits_nothing() {
    let life = Life::new();
    let one = life.package("1.0.0", "system_info", "Says it").display().to_string();
    life.ok(&["keygen", "ada.key"]);
    life.ok(&["trust", "add", "ada", "ada.key.pub"]);
    let two = life.package("2.0.0", "system_info", "Says it").display().to_string();
    life.ok(&["sign", &one, "--key", "ada.key"]);
    life.ok(&["install", &one, "--yes", "--allow", "system_info"]);
    life.ok(&["grant", "held", "system_info", "--yes"]);
    let refused = life.refused(&["install", &two, "--yes"], 4, "install.not_accepted");
    assert!(refused["error"]["message"].as_str().unwrap().contains("signer"), "{refused}");
    life.ok(&["install", &two, "--yes", "--allow", "signer"]);
    assert_eq!(life.ok(&["list", "--json"]).json()["plugins"][0]["state"], "withheld");
    life.ok(&["rollback", "held"]);
    assert_eq!(life.ok(&["list", "--json"]).json()["plugins"][0]["state"], "served");
}

#[test]
fn a_policy_of_signatures_has_its_answers() {
    let life = Life::new();
    life.home.configure("pegboard.toml", "require_signature = true\n");
    let package = life.package("1.0.0", "", "Says it").display().to_string();
    life.refused(&["install", &package, "--yes"], 7, "package.unsigned");
    life.ok(&["keygen", "ada.key"]);
    life.ok(&["sign", &package, "--key", "ada.key"]);
    life.refused(&["install", &package, "--yes"], 8, "package.unknown_key");
    life.ok(&["trust", "add", "ada", "ada.key.pub"]);
    life.ok(&["install", &package, "--yes"]);
    assert!(life.lockfile().contains("signed_by = [\"ada\"]"), "{}", life.lockfile());
    let mut bytes = fs::read(&package).unwrap();
    let at = bytes.windows(5).position(|window| window == b"Which").unwrap_or(bytes.len() / 2);
    bytes[at] ^= 1;
    fs::write(&package, bytes).unwrap();
    let ended = life.home.run(&["install", &package, "--yes"]).end();
    assert!([3, 9].contains(&ended.code), "{ended:?}");
    life.says("1.0.0");
}

#[test]
fn what_nobody_vouches_for_any_longer_is_not_served() {
    let life = Life::new();
    let [one, two] = ["1.0.0", "2.0.0"].map(|version| life.package(version, "", "Says it").display().to_string());
    life.ok(&["keygen", "ada.key"]);
    life.ok(&["trust", "add", "ada", "ada.key.pub"]);
    life.ok(&["sign", &one, "--key", "ada.key"]);
    life.ok(&["install", &one, "--yes"]);
    life.home.configure("pegboard.toml", "require_signature = true\n");
    life.says("1.0.0");
    let untrusted = |words: &str| {
        let listed = life.ok(&["list", "--json"]).json();
        assert_eq!(listed["plugins"][0]["state"], "untrusted", "{listed}");
        assert!(listed["plugins"][0]["reasons"][0]["message"].as_str().unwrap().contains(words), "{listed}");
        let called = life.home.run(&["call", "which", "--json"]).end();
        assert!(called.code != 0 && called.stdout.contains("not signed by anyone whom the operator trusts"), "{called:?}");
    };
    life.ok(&["trust", "remove", "ada"]);
    untrusted("a key that is not trusted");
    life.ok(&["trust", "add", "ada", "ada.key.pub", "--expires", "9999-12-31"]);
    life.says("1.0.0");
    let trust = life.home.config("trust.yaml");
    let text = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, text.replace("9999-12-31", "2026-01-01")).unwrap();
    untrusted("until 2026-01-01");
    fs::write(&trust, text).unwrap();
    // A rollback leads to nothing that could not be served.
    life.home.configure("pegboard.toml", "");
    life.ok(&["install", &two, "--yes", "--allow", "signer"]);
    life.says("2.0.0");
    life.home.configure("pegboard.toml", "require_signature = true\n");
    untrusted("is not signed");
    life.ok(&["rollback", "held"]);
    life.says("1.0.0");
    life.refused(&["rollback", "held"], 7, "package.unsigned");
    life.says("1.0.0");
    // Signed meanwhile: the same bytes, which the store has already.
    life.ok(&["sign", &two, "--key", "ada.key"]);
    life.ok(&["install", &two, "--yes"]);
    life.says("2.0.0");
    life.ok(&["store", "verify"]);
}

#[test]
fn what_was_changed_in_the_store_is_not_served_and_sync_mends_it() {
    let life = Life::new();
    let package = life.package("1.0.0", "", "Says it");
    life.install(&package);
    let stored = fs::read_dir(life.home.path().join("data/store")).unwrap().next().unwrap().unwrap().path();
    let code = stored.join("main.py");
    fs::set_permissions(&code, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&code, "class Which:\n    def _run(self):\n        return 'evil!'\n").unwrap();
    fs::set_permissions(&code, fs::Permissions::from_mode(0o444)).unwrap();
    let listed = life.ok(&["list", "--json"]).json();
    assert_eq!(listed["plugins"][0]["state"], "broken", "{listed}");
    life.home.run(&["call", "which"]).ends(5);
    life.refused(&["store", "verify"], 9, "store.damaged");
    life.ok(&["sync"]);
    life.ok(&["store", "verify"]);
    life.says("1.0.0");
    // A file beside the others, as Python would import it.
    fs::set_permissions(&stored, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stored.join("json.py"), "import os").unwrap();
    life.refused(&["store", "verify"], 9, "store.damaged");
    life.ok(&["sync"]);
    life.says("1.0.0");
}

#[test]
fn another_machine_becomes_equal_to_a_lockfile() {
    let (here, there) = (Life::new(), Life::new());
    let package = here.package("1.0.0", "system_info", "Says it");
    here.ok(&["install", &package.display().to_string(), "--yes", "--allow", "system_info"]);
    let lockfile = here.home.path().join("data/pegboard.lock").display().to_string();
    there.ok(&["sync", "--from", &lockfile]);
    assert_eq!(there.lockfile(), here.lockfile());
    there.ok(&["store", "verify"]);
    // A lockfile that names less than the package declares was edited.
    let edited = here.lockfile().replace("accepted = [\"power:system_info\"]\n", "");
    assert_ne!(edited, here.lockfile());
    let third = Life::new();
    let path = third.home.path().join("edited.lock");
    fs::write(&path, edited).unwrap();
    third.refused(&["sync", "--from", &path.display().to_string()], 9, "lockfile.other");
    assert_eq!(third.lockfile(), "");
    // Other bytes at the same place.
    let other = here.source("1.0.0", "system_info", "Says another thing");
    here.ok(&["package", &other.display().to_string(), "-o", &package.display().to_string()]);
    third.refused(&["sync", "--from", &lockfile], 9, "package.other");
}

#[test]
fn gc_removes_what_nobody_needs() {
    let life = Life::new();
    let (one, two) = (life.package("1.0.0", "", "Says it"), life.package("2.0.0", "", "Says it"));
    life.install(&one);
    life.install(&two);
    assert_eq!(life.ok(&["store", "gc", "--all", "--json"]).json()["removed"].as_array().unwrap().len(), 0);
    life.ok(&["uninstall", "held"]);
    assert_eq!(life.ok(&["store", "gc", "--json"]).json()["removed"].as_array().unwrap().len(), 0, "a rollback needs them");
    let looked = life.ok(&["store", "gc", "--all", "--dry-run", "--json"]).json();
    assert_eq!(looked["removed"].as_array().unwrap().len(), 2);
    assert_eq!(life.ok(&["store", "gc", "--all", "--json"]).json()["removed"], looked["removed"]);
    assert_eq!(fs::read_dir(life.home.path().join("data/store")).unwrap().count(), 0);
    life.refused(&["rollback", "held"], 5, "package.not_stored");
}

#[test]
fn a_name_comes_from_an_index_by_channel() {
    let life = Life::new();
    let shelf = life.home.path().join("shelf").display().to_string();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        let package = life.package(version, "", "Says it").display().to_string();
        life.ok(&["publish", &package, "--index", &shelf]);
    }
    let beta = life.source("2.0.0-beta.1", "", "Says it");
    let text = fs::read_to_string(beta.join("plugin.yaml")).unwrap() + "channel: beta\n";
    fs::write(beta.join("plugin.yaml"), text).unwrap();
    life.ok(&["package", &beta.display().to_string(), "-o", "beta.zip"]);
    life.ok(&["publish", "beta.zip", "--index", &shelf, "--security", "closes a hole"]);
    life.refused(&["publish", "beta.zip", "--index", &shelf], 2, "publish.exists");
    life.refused(&["install", "held", "--yes"], 2, "index.none");
    life.refused(&["install", "nobody", "--yes", "--index", &shelf], 5, "plugin.not_found");
    life.refused(&["install", "held@^3", "--yes", "--index", &shelf], 5, "install.no_release");
    life.ok(&["install", "marketplace://held@1.0.0", "--yes", "--index", &shelf]);
    assert_eq!(life.version().as_deref(), Some("1.0.0"));
    life.ok(&["publish", "held@1.2.0", "--index", &shelf, "--yank", "loses a line"]);
    life.refused(&["install", "held@1.2.0", "--yes", "--index", &shelf], 4, "install.yanked");
    let check = life.ok(&["update", "--check", "--json"]).json();
    assert_eq!(check["plugins"][0]["newer"], "1.1.0", "{check}");
    life.ok(&["pin", "held"]);
    life.ok(&["update", "--yes"]);
    assert_eq!(life.version().as_deref(), Some("1.0.0"));
    life.ok(&["pin", "held", "--off"]);
    life.ok(&["update", "--yes"]);
    assert_eq!(life.version().as_deref(), Some("1.1.0"));
    life.ok(&["publish", "held@1.1.0", "--index", &shelf, "--yank", "counts wrong"]);
    let check = life.ok(&["update", "--check", "--json"]).json();
    assert_eq!(check["plugins"][0]["remarks"][0], "1.1.0 was yanked: counts wrong", "{check}");
    let check = life.ok(&["update", "--check", "--channel", "beta", "--json"]).json();
    assert_eq!(check["plugins"][0]["newer"], "2.0.0-beta.1", "{check}");
    assert!(check["plugins"][0]["remarks"][1].as_str().unwrap().contains("closes a hole"), "{check}");
    life.ok(&["update", "--yes", "--channel", "beta"]);
    assert_eq!(life.version().as_deref(), Some("2.0.0-beta.1"));
    // An index that lies about what it holds.
    fs::copy(life.home.path().join("held-1.0.0.zip"), Path::new(&shelf).join("held/held-1.1.0.zip")).unwrap();
    life.refused(
        &["install", "held@1.1.0", "--yes", "--allow", "downgrade", "--allow", "yanked", "--index", &shelf],
        9,
        "package.other",
    );
}

/// Serves files of a folder, one request a connection, until the test ends.
fn served(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0_u8; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = text.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let answer = match (path.as_str(), fs::read(folder.join(&path))) {
                ("away", _) => b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/x.zip\r\nContent-Length: 0\r\n\r\n".to_vec(),
                ("endless", _) => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                    let piece = vec![b'x'; 1 << 20];
                    while stream.write_all(&piece).is_ok() {}
                    continue;
                }
                (_, Ok(bytes)) => {
                    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes(), bytes].concat()
                }
                _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            };
            let _ = stream.write_all(&answer);
        }
    });
    address
}

#[test]
fn a_package_and_an_index_come_over_http() {
    let life = Life::new();
    let shelf = life.home.path().join("shelf");
    for version in ["1.0.0", "1.1.0"] {
        let package = life.package(version, "", "Says it").display().to_string();
        life.ok(&["publish", &package, "--index", &shelf.display().to_string()]);
    }
    let address = served(shelf);
    life.ok(&["install", &format!("{address}/held/held-1.0.0.zip"), "--yes"]);
    assert_eq!(life.version().as_deref(), Some("1.0.0"));
    life.refused(&["install", &format!("{address}/none.zip"), "--yes"], 5, "fetch.not_found");
    life.refused(&["install", &format!("{address}/away"), "--yes"], 6, "fetch.redirect");
    life.refused(&["install", &format!("{address}/endless"), "--yes"], 3, "fetch.too_large");
    life.refused(&["install", "http://192.0.2.1/x.zip", "--yes"], 2, "fetch.address");
    life.ok(&["install", "held@^1.1", "--index", &address, "--yes", "--allow", "source"]);
    assert_eq!(life.version().as_deref(), Some("1.1.0"));
    // The store is lost: the lockfile says where all of it is.
    let store = life.home.path().join("data/store");
    assert!(Command::new("rm").arg("-rf").arg(&store).status().unwrap().success());
    life.ok(&["sync"]);
    life.says("1.1.0");
}

#[test]
fn a_lockfile_that_is_none_stops_everything_and_serves_nothing_by_guess() {
    let life = Life::new();
    let package = life.package("1.0.0", "", "Says it");
    life.install(&package);
    let path = life.home.path().join("data/pegboard.lock");
    let good = life.lockfile();
    for (bad, what) in [
        ("format = 2\n", "format"),
        ("format = 1\nother = 1\n", "unknown"),
        ("{", "none"),
        (&good.replace("sha256:", "md5:"), "digest"),
        (&good.replace("[[plugin]]", "[[plugin]]\nfuture = 1"), "field"),
    ] {
        fs::write(&path, bad).unwrap();
        for args in [&["list"][..], &["store", "verify"], &["uninstall", "held"], &["sync"]] {
            let ended = life.home.run(args).end();
            assert_eq!(ended.code, 3, "{what} {args:?}: {ended:?}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), bad);
    }
    fs::write(&path, &good).unwrap();
    life.says("1.0.0");
}
