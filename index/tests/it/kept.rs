//! The whole index on disk: read when it is this catalogue's and this model's, made anew and said so when not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pegboard_index::{CacheProblem, Indexer, Keep, Query, ToolDocument, ToolIndex, UpdateStats, Warning};
use sha2::{Digest as _, Sha256};

use crate::fake::{Synonyms, catalog, find, tool};

const QUERIES: [&str; 5] = ["dollars and euros", "umbrella", "text_statistics", "git__createIssue", "email to my aunt"];

fn open(folder: &Path, catalogue: &str, model: &'static str) -> (Indexer, Arc<Synonyms>) {
    let embedder = Arc::new(Synonyms::new(model));
    (Indexer::hybrid(embedder.clone(), None).unwrap().kept_in(folder, catalogue), embedder)
}

fn keep(indexer: &mut Indexer) -> Option<Warning> {
    indexer.keep().and_then(Keep::write)
}

fn answers(index: &ToolIndex) -> Vec<Vec<(String, f32)>> {
    let answer = |query: &&str| index.search(&Query::new(*query), &|_| true).into_iter().map(|hit| (hit.id, hit.score)).collect();
    QUERIES.iter().map(answer).collect()
}

/// Opens, brings up `tools`, keeps, and says how many texts were embedded.
fn start(folder: &Path, tools: &[ToolDocument]) -> (usize, UpdateStats, Arc<ToolIndex>) {
    let (mut indexer, embedder) = open(folder, "home", "synonyms");
    let (index, stats) = indexer.update(tools).unwrap();
    assert_eq!(keep(&mut indexer), None);
    (embedder.embedded(), stats, index)
}

fn file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "one file, and nothing left beside it: {files:?}");
    files[0].clone()
}

#[test]
fn a_second_start_does_nothing_and_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("not/yet/there");
    let (embedded, stats, first) = start(&below, &catalog());
    assert_eq!((embedded, stats.added), (6, 6));
    let (embedded, stats, second) = start(&below, &catalog());
    assert_eq!((embedded, stats.unchanged, stats.added, stats.warnings), (0, 6, 0, vec![]));
    assert_eq!(answers(&first), answers(&second));
}

#[test]
fn what_is_kept_answers_before_the_catalog_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, first) = start(folder.path(), &catalog());
    let (mut indexer, embedder) = open(folder.path(), "home", "synonyms");
    let index = indexer.as_kept().unwrap();
    assert_eq!((index.len(), embedder.embedded()), (6, 0));
    assert_eq!(answers(&first), answers(&index));
    let (_, stats) = indexer.update(&catalog()).unwrap();
    assert_eq!((stats.unchanged, stats.added, embedder.embedded()), (6, 0, 0), "and then the catalog is compared with it");
    assert!(open(folder.path(), "elsewhere", "synonyms").0.as_kept().is_none(), "nothing was kept there");
}

#[test]
fn a_catalog_that_changed_while_nobody_looked_costs_only_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), &catalog());
    let mut tools = catalog();
    tools.remove(1);
    tools[0].description = "Umbrella advice".into();
    tools.push(tool("new__tool", "a letter"));
    let (embedded, stats, index) = start(folder.path(), &tools);
    assert_eq!((embedded, stats.added, stats.changed, stats.removed, stats.unchanged), (2, 1, 1, 1, 4));
    assert!(!find(&index, "weather__current").contains(&"weather__current".to_owned()));
    assert_eq!(start(folder.path(), &tools).0, 0, "and is kept in turn");
}

#[test]
fn another_catalogue_and_another_model_have_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), &catalog());
    for (catalogue, model) in [("elsewhere", "synonyms"), ("home", "another model")] {
        let (mut indexer, embedder) = open(folder.path(), catalogue, model);
        let (_, stats) = indexer.update(&catalog()).unwrap();
        assert_eq!((embedder.embedded(), stats.added, keep(&mut indexer)), (6, 6, None), "{catalogue}, {model}");
    }
    let mut words = Indexer::lexical().unwrap().kept_in(folder.path(), "home");
    assert_eq!(words.update(&catalog()).unwrap().1.added, 6, "words alone are another index, too");
    assert_eq!(start(folder.path(), &catalog()).0, 0, "and none pushes out the first");
}

/// Both have read before either writes; the last one wins, wholly.
#[test]
fn two_processes_side_by_side_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, _) = open(folder.path(), "home", "synonyms");
    let (mut two, _) = open(folder.path(), "home", "synonyms");
    one.update(&catalog()).unwrap();
    two.update(&catalog()[..3]).unwrap();
    assert_eq!((keep(&mut one), keep(&mut two)), (None, None));
    let (_, stats, index) = start(folder.path(), &catalog());
    assert_eq!((stats.unchanged, stats.added, index.len()), (3, 3, 6));
}

#[test]
fn a_damaged_or_foreign_file_is_ignored_with_a_warning_and_replaced() {
    type Damage = fn(&mut Vec<u8>);
    type Expected = fn(&CacheProblem) -> bool;
    let damaged: Expected = |problem| matches!(problem, CacheProblem::Damaged(_));
    let foreign: Expected = |problem| *problem == CacheProblem::Foreign;
    let damages: [(&str, Damage, Expected); 8] = [
        ("empty", |b| b.clear(), foreign),
        ("foreign", |b| *b = b"SQLite format 3".to_vec(), foreign),
        ("another version", |b| b[7] = b'9', foreign),
        ("another release", |b| b[12] = b'9', foreign),
        ("cut", |b| b.truncate(b.len() - 1), damaged),
        ("cut in half", |b| b.truncate(b.len() / 2), damaged),
        ("grown", |b| b.push(0), damaged),
        ("endless text", |b| b[8..12].fill(0xff), damaged),
    ];
    for (what, damage, expected) in damages {
        let folder = tempfile::tempdir().unwrap();
        let (_, _, sound) = start(folder.path(), &catalog());
        let path = file(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let (embedded, stats, index) = start(folder.path(), &catalog());
        let [Warning::CacheIgnored { path: named, problem }] = stats.warnings.as_slice() else { panic!("{what}: {stats:?}") };
        assert!(*named == path && expected(problem), "{what}: {problem:?}");
        assert_eq!((embedded, answers(&index)), (6, answers(&sound)), "{what}");
        assert_eq!(start(folder.path(), &catalog()).0, 0, "{what}: replaced");
    }
}

/// Wherever a bit flips, it is noticed: a name, a slot, a vector, a number of things to come.
#[test]
fn one_bit_anywhere_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), &catalog()[..2]);
    let path = file(folder.path());
    let sound = fs::read(&path).unwrap();
    for at in (0..sound.len()).step_by(7) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        let (_, stats) = open(folder.path(), "home", "synonyms").0.change(&[], &[], 0).unwrap();
        assert!(matches!(stats.warnings.as_slice(), [Warning::CacheIgnored { .. }]), "byte {at}: {stats:?}");
        assert_eq!(stats.unchanged, 0, "byte {at}");
    }
}

/// Whoever can write a file can sum it up, too: a whole file may still not ask for memory without bound.
#[test]
fn a_slot_out_of_range_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), &[tool("p__t", "d")]);
    let path = file(folder.path());
    let sound = fs::read(&path).unwrap();
    let key = Sha256::digest(b"p t: d");
    let row = sound.windows(32).rposition(|window| window == key.as_slice()).unwrap() - 4;
    let entry = sound.windows(4).position(|window| window == b"p__t").unwrap() - 8;
    for (place, slot) in [(row, u32::MAX), (row, 1_000_000), (entry, u32::MAX), (row, 0)] {
        let mut bytes = sound.clone();
        bytes[place..place + 4].copy_from_slice(&slot.to_le_bytes());
        let end = bytes.len() - 4;
        let sum = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let (_, stats) = open(folder.path(), "home", "synonyms").0.change(&[], &[], 0).unwrap();
        let problems: Vec<_> = stats.warnings.iter().map(ToString::to_string).collect();
        let refused = problems.iter().any(|problem| problem.contains("a slot is out of range"));
        assert_eq!((refused, stats.unchanged), (slot != 0, usize::from(slot == 0)), "{place} {slot}: {problems:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_or_read_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("a-file");
    fs::write(&in_the_way, "in the way").unwrap();
    let (mut indexer, _) = open(&in_the_way, "home", "synonyms");
    indexer.update(&catalog()).unwrap();
    assert!(matches!(keep(&mut indexer), Some(Warning::CacheNotWritten { .. })));

    start(folder.path(), &catalog());
    let path = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).find(|p| *p != in_the_way).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let (_, stats) = open(folder.path(), "home", "synonyms").0.update(&catalog()).unwrap();
    assert!(matches!(stats.warnings.as_slice(), [Warning::CacheIgnored { .. }]), "{stats:?}");
    assert_eq!(stats.added, 6);
}

/// Being told what changed gives the index that comparing everything gives.
#[test]
fn a_told_change_is_the_same_as_a_found_one() {
    let mut tools: Vec<ToolDocument> = (0..40).map(|i| tool(&format!("p__t{i}"), &format!("email alpha{}", i % 7))).collect();
    let mut told = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap();
    told.update(&tools).unwrap();
    tools[3].description = "rain alpha3".into();
    tools.push(tool("p__new", "dollars"));
    let gone = tools.remove(10);
    let put = [tools[3].clone(), tools.last().unwrap().clone(), tools[0].clone()];
    let (index, stats) = told.change(&put, &[&gone.id, "never__there"], usize::MAX).unwrap();
    assert_eq!((stats.added, stats.changed, stats.removed, stats.unchanged, stats.embedded), (1, 1, 1, 38, 2));
    assert_eq!(index.len(), 40);
    let whole = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&tools).unwrap().0;
    for query in ["rain", "dollars", "alpha3", &gone.name] {
        let (mut a, mut b) = (find(&index, query), find(&whole, query));
        a.sort();
        b.sort();
        assert_eq!(a, b, "{query}");
    }
    assert_eq!(told.update(&tools).unwrap().1.unchanged, 40, "nothing is left to find");
}
