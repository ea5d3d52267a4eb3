//! Vectors on disk: used when sound, ignored loudly when not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pegboard_index::{CacheProblem, Indexer, UpdateStats, VectorCache, Warning};

use crate::fake::{Synonyms, catalog, find, tool};

fn start(folder: &Path, model: &'static str) -> (usize, UpdateStats, Vec<String>) {
    let embedder = Arc::new(Synonyms::new(model));
    let (index, stats) = Indexer::hybrid(embedder.clone(), Some(folder)).unwrap().update(&catalog()).unwrap();
    (embedder.embedded(), stats, find(&index, "dollars and euros"))
}

#[test]
fn a_second_start_embeds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("not/yet/there");
    let (embedded, stats, first) = start(&below, "synonyms");
    assert_eq!((embedded, stats.warnings.as_slice()), (6, [].as_slice()));
    let (embedded, stats, second) = start(&below, "synonyms");
    assert_eq!((embedded, stats.embedded, stats.pending, stats.warnings), (0, 0, 0, vec![]));
    assert_eq!(first, second);
    assert_eq!(start(&below, "another model").0, 6, "vectors of another model are not used");
    assert_eq!(start(&below, "synonyms").0, 0, "and do not push out the first one's");
}

#[test]
fn two_processes_add_to_one_cache() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), Some(folder.path())).unwrap();
    // Both have read the empty cache before either writes.
    let (mut one, mut two) = (open(), open());
    one.update(&[tool("a__one", "email")]).unwrap();
    two.update(&[tool("b__two", "rain")]).unwrap();
    let (_, stats) = open().update(&[tool("a__one", "email"), tool("b__two", "rain")]).unwrap();
    assert_eq!(stats.embedded, 0);
}

#[test]
fn a_damaged_or_foreign_cache_is_ignored_with_a_warning_and_rebuilt() {
    type Damage = fn(&mut Vec<u8>);
    type Expected = fn(&CacheProblem) -> bool;
    let damages: [(&str, Damage, Expected); 9] = [
        ("empty", |b| b.clear(), |p| *p == CacheProblem::Foreign),
        ("foreign", |b| *b = b"SQLite format 3".to_vec(), |p| *p == CacheProblem::Foreign),
        ("another version", |b| b[7] = b'9', |p| *p == CacheProblem::Foreign),
        ("cut in the header", |b| b.truncate(10), |p| matches!(p, CacheProblem::Damaged(_))),
        ("cut", |b| b.truncate(b.len() - 1), |p| matches!(p, CacheProblem::Damaged(_))),
        ("grown", |b| b.push(0), |p| matches!(p, CacheProblem::Damaged(_))),
        (
            "one bit",
            |b| {
                let at = b.len() / 2;
                b[at] ^= 1;
            },
            |p| *p == CacheProblem::Damaged("wrong checksum"),
        ),
        ("endless model name", |b| b[8..12].fill(0xff), |p| matches!(p, CacheProblem::Damaged(_))),
        ("another model", |b| b[12] = b'X', |p| matches!(p, CacheProblem::OtherModel { .. })),
    ];
    for (what, damage, expected) in damages {
        let folder = tempfile::tempdir().unwrap();
        let (_, _, sound) = start(folder.path(), "synonyms");
        let path = VectorCache::new(folder.path(), "synonyms", 5).path().to_owned();
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();

        let (embedded, stats, found) = start(folder.path(), "synonyms");
        assert_eq!((embedded, &found), (6, &sound), "{what}");
        let [Warning::CacheIgnored { path: named, problem }] = stats.warnings.as_slice() else { panic!("{what}: {stats:?}") };
        assert!(*named == path && expected(problem), "{what}: {problem:?}");
        assert_eq!(start(folder.path(), "synonyms").0, 0, "{what}: rebuilt");
    }
}

#[test]
fn a_huge_cache_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = VectorCache::new(folder.path(), "synonyms", 5).path().to_owned();
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let (embedded, stats, _) = start(folder.path(), "synonyms");
    assert_eq!(embedded, 6);
    assert!(
        matches!(stats.warnings.as_slice(), [Warning::CacheIgnored { problem: CacheProblem::TooLarge { .. }, .. }]),
        "{stats:?}"
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "in the way").unwrap();
    let (embedded, stats, found) = start(&file, "synonyms");
    assert_eq!((embedded, found[0].as_str()), (6, "money__convert"));
    let written = |warning: &Warning| matches!(warning, Warning::CacheNotWritten { .. });
    assert!(stats.warnings.iter().any(written), "{stats:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing left behind");
}
