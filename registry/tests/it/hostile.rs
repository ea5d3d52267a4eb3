//! The table of hostile archives: each is refused with a message of its own, in bounded time and memory, and no byte lands anywhere.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use registry::{Archive, Error, FileDigest};

use crate::raw::{RawEnd, RawEntry, archive, archive_with};

const PLUGIN: &str = "name: plain\nversion: 1.0.0\ndescription: Says things back\nmcps:\n  - name: echo\n    description: Returns what it was \
                      given\n    module_path: main\n    class_name: Echo\n    args_schema: {type: object, properties: {}}\n";

/// The files of an honest package, with its inventory.
fn honest(files: &[(&str, &str)]) -> Vec<RawEntry> {
    let mut entries: Vec<RawEntry> = files.iter().map(|(path, text)| RawEntry::packed(path, text.as_bytes())).collect();
    entries.insert(0, RawEntry::packed("pegboard.inventory.json", inventory(files, "plain", "1.0.0").as_bytes()));
    entries
}

fn inventory(files: &[(&str, &str)], plugin: &str, version: &str) -> String {
    let mut files = files.to_vec();
    files.sort_unstable();
    let line = |(path, text): &(&str, &str)| serde_json::json!({"path": path, "size": text.len(), "mode": "644", "sha256": FileDigest::of(text.as_bytes()).to_string()});
    serde_json::json!({"format": 1, "plugin": plugin, "version": version, "files": files.iter().map(line).collect::<Vec<_>>()})
        .to_string()
}

fn files() -> Vec<(&'static str, &'static str)> {
    vec![("plugin.yaml", PLUGIN), ("main.py", "class Echo:\n    def _run(self):\n        return 'x'\n"), ("docs/a.txt", "text")]
}

/// An honest package with one more entry, first among the files.
fn plus(entry: RawEntry) -> Vec<u8> {
    let mut entries = honest(&files());
    entries.insert(1, entry);
    archive(&entries)
}

fn named(name: &str) -> Vec<u8> {
    plus(RawEntry::stored(name, b"x"))
}

fn changed(change: impl FnOnce(&mut RawEntry)) -> Vec<u8> {
    plus(RawEntry::packed("extra.txt", b"some text, some text, some text").with(change))
}

fn ended(end: &RawEnd) -> Vec<u8> {
    archive_with(&honest(&files()), end)
}

fn between(before: &[u8], middle: &[u8], after: &[u8]) -> Vec<u8> {
    [before, middle, after].concat()
}

/// An honest package whose inventory knows one more file: what is wrong with its data is found only while it unpacks.
fn known(entry: RawEntry) -> Vec<u8> {
    let name = String::from_utf8(entry.name.clone()).unwrap();
    let text = "x".repeat(entry.size as usize);
    let mut all = files();
    all.push((&name, &text));
    let mut entries = honest(&all);
    *entries.last_mut().unwrap() = entry;
    archive(&entries)
}

fn spoiled(change: impl FnOnce(&mut RawEntry)) -> Vec<u8> {
    known(RawEntry::packed("extra.txt", b"some text, some text, some text").with(change))
}

type Case = (&'static str, Vec<u8>, &'static str);

/// Names that lead elsewhere, hide or collide.
fn names() -> Vec<Case> {
    vec![
        ("absolute", named("/etc/passwd"), "`/etc/passwd`: the path is absolute"),
        ("climbs first", named("../x"), "`../x`: the path climbs"),
        ("climbs inside", named("lib/../../x"), "`lib/../../x`: the path climbs"),
        ("climbs last", named("lib/.."), "`lib/..`: the path climbs"),
        ("drive", named("C:/x"), "`C:/x`: the path names a drive"),
        ("drive without a slash", named("c:x"), "`c:x`: the path names a drive"),
        ("unc", named("\\\\host\\share"), "`\\\\\\\\host\\\\share`: the path has a backslash"),
        ("backslash climbs", named("..\\x"), "`..\\\\x`: the path has a backslash"),
        ("here", named("./x"), "`./x`: the path has a part `.`"),
        ("empty part", named("a//b"), "`a//b`: the path has an empty part"),
        ("empty", named(""), "entry 2: the path is empty"),
        ("folder", named("lib/"), "`lib/`: the path is a folder's"),
        ("nul", named("a\0.py"), "U+0000"),
        ("escape", named("a\u{1b}[2J"), "U+001B"),
        ("line break", named("a\nb"), "U+000A"),
        ("c1 control", named("a\u{9b}b"), "U+009B"),
        ("right to left", named("a\u{202e}yp.exe"), "U+202E"),
        ("zero width", named("ma\u{200b}in.py"), "U+200B"),
        ("tag", named("a\u{e0041}"), "U+E0041"),
        ("stream", named("a.txt:hidden"), "`a.txt:hidden`: the path has `:`"),
        ("star", named("a*"), "`a*`: the path has `*`"),
        ("device", named("lib/NUL.txt"), "reserved word `nul`"),
        ("device with a number", named("com1"), "reserved word `com1`"),
        ("device with a small number", named("lpt¹.txt"), "reserved word `lpt¹`"),
        ("dot at the end", named("main.py."), "`main.py.`: a part of the path begins or ends"),
        ("blank at the end", named("main.py "), "`main.py `: a part of the path begins or ends"),
        ("not normal", named("e\u{301}.txt"), "normal form C"),
        ("too deep", named(&("d/".repeat(16) + "x")), "17 parts"),
        ("too long", named(&"long/".repeat(49)), "245 bytes"),
        ("part too long", named(&"p".repeat(129)), "129 bytes"),
        ("no text", changed(|entry| entry.name = b"\xff\xfe".to_vec()), "entry 2: the path is not UTF-8"),
        ("code page", changed(|entry| entry.name = "é".into()), "not marked as UTF-8"),
        ("twice", named("main.py"), "`main.py`: the path is there twice"),
        ("inventory twice", named("pegboard.inventory.json"), "`pegboard.inventory.json`: the path is there twice"),
        ("case", named("MAIN.PY"), "`main.py`: the path is the same as `MAIN.PY`"),
        ("folder's case", named("Docs/b.txt"), "`docs/a.txt`: the path is the same as `Docs`"),
        ("compatible", plus_two("ﬁle", "file"), "the same as `ﬁle`"),
        ("sharp s", plus_two("straße", "STRASSE"), "the same as `straße`"),
        ("file and folder", plus_two("a/b", "a"), "`a` is a file and a folder at once"),
        ("folder and file", plus_two("b", "b/c"), "`b` is a file and a folder at once"),
    ]
}

fn plus_two(one: &str, two: &str) -> Vec<u8> {
    let mut entries = honest(&files());
    entries.extend([RawEntry::stored(one, b"1"), RawEntry::stored(two, b"2")]);
    archive(&entries)
}

/// Files that are none, flags and fields that no package has.
fn kinds() -> Vec<Case> {
    vec![
        (
            "link",
            plus(RawEntry::stored("link", b"/etc/passwd").with(|entry| entry.mode = 0o120_777)),
            "`link`: it is a symbolic link",
        ),
        (
            "link from elsewhere",
            plus(RawEntry::stored("alias", b"/etc").with(|entry| (entry.mode, entry.host) = (0o120_777, 0))),
            "`alias`: it is a symbolic link",
        ),
        ("pipe", changed(|entry| entry.mode = 0o010_644), "type 0o10000"),
        ("character device", changed(|entry| entry.mode = 0o020_644), "type 0o20000"),
        ("block device", changed(|entry| entry.mode = 0o060_644), "type 0o60000"),
        ("socket", changed(|entry| entry.mode = 0o140_644), "type 0o140000"),
        ("folder by its mode", changed(|entry| entry.mode = 0o040_755), "type 0o40000"),
        ("setuid", changed(|entry| entry.mode = 0o104_755), "special mode bits 4000"),
        ("setgid", changed(|entry| entry.mode = 0o102_755), "special mode bits 2000"),
        ("sticky", changed(|entry| entry.mode = 0o101_755), "special mode bits 1000"),
        ("encrypted", changed(|entry| entry.flags = 1), "`extra.txt`: it is encrypted"),
        (
            "strongly encrypted",
            plus(RawEntry::stored("aes.txt", b"x").with(|entry| entry.flags = 1 << 6)),
            "`aes.txt`: it is encrypted",
        ),
        ("sizes after the data", changed(|entry| entry.flags = 1 << 3), "its sizes follow its data"),
        ("patch data", changed(|entry| entry.flags = 1 << 5), "the flags 0x0020"),
        ("method bzip2", changed(|entry| entry.method = 12), "packed by method 12"),
        ("method zstd", changed(|entry| entry.method = 93), "packed by method 93"),
        ("version", changed(|entry| entry.needs = 63), "needs version 63"),
        ("extra field", changed(|entry| entry.extra = b"up\x05\0\x01abcd".to_vec()), "9 bytes of extra fields"),
        ("comment", changed(|entry| entry.comment = b"see here".to_vec()), "a comment of 8 bytes"),
        ("other disk", changed(|entry| entry.disk = 1), "begins in another part"),
    ]
}

/// Sizes: bombs and lies about them.
fn sizes() -> Vec<Case> {
    let zeros = vec![0; 4 << 20];
    let bomb = RawEntry::packed("bomb", &zeros);
    let many: Vec<RawEntry> = (0..2_001).map(|number| RawEntry::stored(&format!("f{number}"), b"")).collect();
    let heavy = |name: &str| {
        RawEntry::stored(name, b"").with(|entry| {
            entry.method = 8;
            (entry.packed, entry.size) = (200_000, 16 << 20);
            entry.data = vec![0; 200_000];
        })
    };
    let total: Vec<RawEntry> = ["1", "2", "3", "4", "5"].map(heavy).to_vec();
    // Says 1,000 bytes, unpacks to 4 MiB: caught while it unpacks.
    let quiet = bomb.clone().with(|entry| (entry.name, entry.size) = (b"quiet".to_vec(), 1_000));
    // The same bytes for two entries: each is small, together they are without bound.
    let mut overlap = honest(&files());
    overlap.push(RawEntry::stored("again", b"x").with(|entry| (entry.there, entry.offset) = (false, Some(0))));
    vec![
        ("bomb by ratio", plus(bomb), "more than 100 times"),
        ("bomb by one file", changed(|entry| entry.size = (16 << 20) + 1), "`extra.txt`: it unpacks to 16777217 bytes"),
        ("bomb by all files", archive(&total), "unpacks to 83886080 bytes"),
        ("bomb by number", archive(&many), "lists 2001 files"),
        ("bomb with a small size", known(quiet), "`quiet`: it unpacks to more than the 1000 bytes"),
        ("overlap", archive(&overlap), "`again`: it begins at byte 0"),
        ("nothing packed", changed(|entry| (entry.packed, entry.data) = (0, Vec::new())), "unpacks 0 bytes to 31"),
        ("two sizes stored", plus(RawEntry::stored("s", b"abc").with(|entry| entry.size = 2)), "3 bytes for 2"),
        ("shorter than listed", spoiled(|entry| entry.size = 40), "unpacks to 31 bytes, 40 are listed"),
        (
            "data after its end",
            spoiled(|entry| {
                entry.data.extend_from_slice(b"hidden");
                entry.packed += 6;
            }),
            "6 bytes follow the end of its data",
        ),
        (
            "cut data",
            spoiled(|entry| {
                entry.data.truncate(6);
                entry.packed = 6;
            }),
            "`extra.txt`: its data is damaged",
        ),
        (
            "no data",
            known(RawEntry::stored("noise", b"\xff\xff\xff\xff\xff\xff").with(|entry| entry.method = 8)),
            "`noise`: its data is damaged",
        ),
        ("wrong checksum", spoiled(|entry| entry.crc = 1), "00000001 is listed"),
    ]
}

/// Two truths: the list says one thing, the entry another.
fn lies() -> Vec<Case> {
    let length = u32::try_from(archive(&honest(&files())).len()).unwrap();
    vec![
        (
            "another path inside",
            changed(|entry| entry.local_name = Some(b"inner.txt".to_vec())),
            "its path is another one in front",
        ),
        ("another size inside", changed(|entry| entry.local_size = Some(30)), "its size is 31 in the list and 30"),
        ("another packed size inside", changed(|entry| entry.local_packed = Some(1)), "its packed size is"),
        ("another checksum inside", changed(|entry| entry.local_crc = Some(0)), "its checksum is"),
        ("another method inside", changed(|entry| entry.local_method = Some(0)), "its method is 8 in the list and 0"),
        ("other flags inside", changed(|entry| entry.local_flags = Some(1)), "its flags is 0 in the list and 1"),
        ("another time inside", changed(|entry| entry.local_time = Some(7)), "its time is 0 in the list and 7"),
        (
            "extra field inside",
            changed(|entry| entry.local_extra = Some(vec![0; 4])),
            "its length of extra fields is 0 in the list and 4",
        ),
        ("not listed", changed(|entry| entry.listed = false), "`plugin.yaml`: it begins at byte"),
        (
            "not there",
            plus(RawEntry::stored("ghost.txt", b"x").with(|entry| entry.there = false)),
            "its path is another one in front",
        ),
        ("between two entries", changed(|entry| entry.gap = vec![0; 5]), "but the entry before it ends at"),
        (
            "in the list",
            changed(|entry| {
                entry.packed = 90_000;
                entry.size = 90_000;
            }),
            "in the list of files at",
        ),
        (
            "beyond the list",
            {
                let mut entries = honest(&files());
                entries.insert(0, RawEntry::stored("far", b"x").with(|entry| entry.offset = Some(length * 2)));
                archive(&entries)
            },
            "bytes before its first file",
        ),
    ]
}

/// Ends that lie, and bytes where none belong.
fn ends() -> Vec<Case> {
    let honest_bytes = || archive(&honest(&files()));
    let length = u32::try_from(honest_bytes().len()).unwrap();
    vec![
        ("before the list", ended(&RawEnd { hidden: vec![0; 11], ..RawEnd::default() }), "11 bytes between its last file"),
        ("after the list", ended(&RawEnd { rest: vec![0; 13], ..RawEnd::default() }), "13 bytes that belong to no entry"),
        ("something in front", between(&[b'#'; 17], &honest_bytes(), b""), "17 bytes before its first file"),
        (
            "something in front, offsets right",
            {
                let mut entries = honest(&files());
                entries[0].gap = vec![b'#'; 19];
                archive(&entries)
            },
            "19 bytes before its first file",
        ),
        ("something behind", between(b"", &honest_bytes(), &[0; 23]), "23 bytes after its end"),
        (
            "a second archive behind",
            {
                let other = archive(&[RawEntry::stored("other", b"x")]);
                between(b"", &honest_bytes(), &other)
            },
            "bytes before its first file",
        ),
        ("comment at the end", ended(&RawEnd { comment: vec![b'c'; 29], ..RawEnd::default() }), "29 bytes after its end"),
        ("fewer counted", ended(&RawEnd { count: Some(3), ..RawEnd::default() }), "bytes that belong to no entry"),
        ("more counted", ended(&RawEnd { count: Some(5), ..RawEnd::default() }), "broken at entry 5"),
        ("two counts", ended(&RawEnd { count_here: Some(1), ..RawEnd::default() }), "one part of several"),
        ("a part", ended(&RawEnd { disk: 1, ..RawEnd::default() }), "one part of several"),
        (
            "list elsewhere",
            ended(&RawEnd { start: Some(length), ..RawEnd::default() }),
            "its list of files is said to end at byte",
        ),
        ("list too large", ended(&RawEnd { size: Some(2_000_000), ..RawEnd::default() }), "its list of files has 2000000 bytes"),
        (
            "zip64 by its locator",
            ended(&RawEnd { locator: [b"PK\x06\x07".as_slice(), &[0; 16]].concat(), ..RawEnd::default() }),
            "zip64",
        ),
        ("zip64 by its numbers", ended(&RawEnd { start: Some(u32::MAX), ..RawEnd::default() }), "zip64"),
        ("no files", archive(&[]), "holds no file"),
        ("nothing", Vec::new(), "is no zip archive"),
        ("cut off", honest_bytes()[..honest_bytes().len() - 5].to_vec(), "after its end"),
        ("another format", b"\x1f\x8b\x08\0rest of a gzip file that is long enough".to_vec(), "is no zip archive"),
    ]
}

/// Honest archives that are no package, or not the one they were.
fn papers() -> Vec<Case> {
    let with = |text: &str| {
        let mut entries = honest(&files());
        entries[0] = RawEntry::packed("pegboard.inventory.json", text.as_bytes());
        archive(&entries)
    };
    let listed = inventory(&files(), "plain", "1.0.0");
    let replaced = |path: &str, text: &str| {
        let mut entries = honest(&files());
        let at = entries.iter().position(|entry| entry.name == path.as_bytes()).unwrap();
        entries[at] = RawEntry::packed(path, text.as_bytes());
        archive(&entries)
    };
    let removed = honest(&files()).into_iter().filter(|entry| entry.name != b"docs/a.txt").collect::<Vec<_>>();
    let other = [("plugin.yaml", "name: Plain\n")];
    vec![
        ("no inventory", archive(&honest(&files())[1..]), "holds no `pegboard.inventory.json`"),
        ("no manifest", archive(&honest(&[("main.py", "x")])), "holds no `plugin.yaml`"),
        ("bad manifest", archive(&honest(&other)), "the manifest in the package is not valid"),
        ("inventory of nothing", with("[]"), "is not an inventory"),
        ("unknown key", with(&listed.replace("\"format\"", "\"a\":1,\"format\"")), "unknown field `a`"),
        ("key twice", with(&listed.replace("\"format\":1", "\"format\":1,\"format\":1")), "duplicate field `format`"),
        ("later format", with(&listed.replace("\"format\":1", "\"format\":2")), "has format 2"),
        ("other name", with(&listed.replace("\"plain\"", "\"plane\"")), "is of `plane 1.0.0`"),
        ("out of order", with(&listed.replace("docs/a.txt", "zzz/a.txt")), "each once, at `main.py`"),
        ("path in the inventory", with(&listed.replace("docs/a.txt", "../a.txt")), "`../a.txt`: the path climbs with `..`"),
        ("mode in the inventory", with(&listed.replacen("\"644\"", "\"4755\"", 1)), "unknown variant `4755`"),
        ("digest in the inventory", with(&listed.replacen("\"sha256\":\"", "\"sha256\":\"X", 1)), "64 lower-case hex digits"),
        ("added", plus(RawEntry::stored("added.py", b"x")), "`added.py` is not in `pegboard.inventory.json`"),
        ("removed", archive(&removed), "`docs/a.txt` is in `pegboard.inventory.json` but not in the package"),
        ("changed", replaced("docs/a.txt", "Text"), "`docs/a.txt` has another digest"),
        ("longer", replaced("docs/a.txt", "text."), "`docs/a.txt` has another size"),
        (
            "executable",
            {
                let mut entries = honest(&files());
                entries[3].mode = 0o100_755;
                archive(&entries)
            },
            "`docs/a.txt` has another mode",
        ),
        ("deep inventory", deep(), "is not an inventory: "),
    ]
}

/// An inventory that is no document, nested deeper than a stack; stored, as it would pack too well.
fn deep() -> Vec<u8> {
    let mut entries = honest(&files());
    entries[0] = RawEntry::stored("pegboard.inventory.json", "[".repeat(200_000).as_bytes());
    archive(&entries)
}

fn open(path: &Path) -> Result<registry::Bundle, Error> {
    Archive::open(path).map_err(Error::from).and_then(Archive::verify)
}

/// The most memory that this process ever had, in KiB, since it was last reset.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_honest_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("honest.zip");
    fs::write(&path, archive(&honest(&files()))).unwrap();
    let bundle = open(&path).unwrap();
    assert_eq!(bundle.manifest().name.as_str(), "plain");
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    bundle.unpack_into(&staging).unwrap();
    assert_eq!(fs::read_to_string(staging.join("docs/a.txt")).unwrap(), "text");
    assert!(bundle.unpack_into(&staging).is_err(), "a folder that is not empty");
}

#[test]
fn each_hostile_archive_is_refused_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    let path = folder.path().join("case.zip");
    let cases: Vec<Case> = [names(), kinds(), sizes(), lies(), ends(), papers()].concat();
    assert!(cases.len() >= 100, "{}", cases.len());
    // Two ways to the same end of a record that says too little to tell them apart.
    const SHARED: [&str; 3] = ["one part of several", "zip64", "no zip archive"];
    let (mut messages, mut wrong): (HashMap<String, &str>, Vec<String>) = (HashMap::new(), Vec::new());
    // Resets the peak: what the table itself took does not count.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    for (name, bytes, expected) in &cases {
        fs::write(&path, bytes).unwrap();
        let started = Instant::now();
        let result = open(&path).and_then(|bundle| bundle.unpack_into(&staging));
        let took = started.elapsed();
        let message = result.expect_err(name).to_string();
        if !message.contains(expected) || message.chars().any(char::is_control) || message.len() >= 500 {
            wrong.push(format!("{name}: expected `{expected}`, found {message:?}"));
        }
        assert!(took < Duration::from_secs(2), "{name} took {took:?}");
        if let Some(other) = messages.insert(message.clone(), name)
            && !SHARED.iter().any(|shared| message.contains(shared))
        {
            wrong.push(format!("{name} and {other} both say {message:?}"));
        }
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{name} left {left:?}");
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0, "{name} wrote into the staging folder");
    }
    assert_eq!(wrong, Vec::<String>::new());
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 * 1024, "memory grew by {grown} KiB");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Archive::open(folder.path()).unwrap_err().to_string().contains("expected a regular file"));
    let large = folder.path().join("large.zip");
    fs::File::create(&large).unwrap().set_len(64 * 1024 * 1024 + 1).unwrap();
    assert!(Archive::open(&large).unwrap_err().to_string().contains("67108865 bytes"));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(Archive::open(&pipe).unwrap_err().to_string().contains("expected a regular file"));
}

#[test]
fn a_link_in_the_staging_folder_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("honest.zip");
    fs::write(&path, archive(&honest(&files()))).unwrap();
    let bundle = open(&path).unwrap();
    let (staging, outside) = (folder.path().join("staging"), folder.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    // Whoever wins the race against the writer has put a link where a folder belongs.
    // The bound only ends a test that tests nothing.
    let mut refused = 0;
    for _ in 0..20_000 {
        if refused >= 20 {
            break;
        }
        fs::create_dir(&staging).unwrap();
        std::thread::scope(|scope| {
            let racer = scope.spawn(|| {
                while std::os::unix::fs::symlink(&outside, staging.join("docs")).is_err() && !staging.join("docs").exists() {}
            });
            refused += usize::from(bundle.unpack_into(&staging).is_err());
            // Ends the racer, when the folder is not there either.
            let _ = fs::create_dir(staging.join("docs"));
            racer.join().unwrap();
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        fs::remove_dir_all(&staging).unwrap();
    }
    assert!(refused > 0, "the race was never won: nothing was tested");
}

/// Every byte of a package is either needed or harmless: changing one never yields other contents.
#[test]
fn no_changed_byte_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.zip");
    let honest = archive(&honest(&files()));
    fs::write(&path, &honest).unwrap();
    let digest = open(&path).unwrap().digest();
    let mut taken = 0;
    for at in 0..honest.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = honest.clone();
            bytes[at] ^= flip;
            fs::write(&path, &bytes).unwrap();
            if let Ok(bundle) = open(&path) {
                // Fields that mean nothing to the files, such as who wrote the archive.
                assert_eq!(bundle.digest(), digest, "byte {at}");
                taken += 1;
            }
        }
    }
    assert!(taken < honest.len() / 8, "{taken} of {} changes were taken", honest.len() * 2);
}

#[test]
fn bundles_of_other_hosts_keep_the_same_rules() {
    // Forms that common programs write, and that say nothing about paths, kinds or places.
    const TAKEN: [&str; 3] = ["sizes after the data", "extra field", "extra field inside"];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.mcpb");
    let mut taken = Vec::new();
    for (name, bytes, expected) in [names(), kinds(), sizes(), lies(), ends()].concat() {
        // Of size alone: their limits are larger.
        if expected.contains("at most") || name == "bomb by number" {
            continue;
        }
        fs::write(&path, &bytes).unwrap();
        let staging = tempfile::tempdir_in(folder.path()).unwrap();
        let result = Archive::open_foreign(&path).map_err(Error::from).and_then(|archive| archive.unpack_into(staging.path()));
        let message = result.err().map(|error| error.to_string());
        if message.is_none() {
            taken.push(name);
        }
        assert!(message.is_none_or(|message| message.len() < 500 && !message.chars().any(char::is_control)), "{name}");
        let outside = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(outside, 2, "{name} wrote beside the staging folder");
    }
    assert_eq!(taken, TAKEN);
}

#[test]
fn a_signature_behind_a_bundle_is_passed_over_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signed.mcpb");
    let bytes = archive(&[RawEntry::packed("manifest.json", b"{}")]);
    let signed = [bytes.as_slice(), b"MCPB_SIG_V1", &[7; 40], b"MCPB_SIG_END"].concat();
    fs::write(&path, &signed).unwrap();
    assert_eq!(Archive::open_foreign(&path).unwrap().entries().len(), 1);
    assert!(Archive::open(&path).is_err(), "no package has one");
    for behind in [&b"MCPB_SIG_END"[..], b"xMCPB_SIG_V1xMCPB_SIG_ENDx", b"anything"] {
        fs::write(&path, [bytes.as_slice(), behind].concat()).unwrap();
        let error = Archive::open_foreign(&path).expect_err("refused").to_string();
        assert!(error.contains("bytes after its end"), "{error}");
    }
}
