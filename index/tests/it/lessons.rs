//! What accepted calls teach: a tool is found by the words of those who used it, within bounds; the file keeps vectors only.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pegboard_index::learned::{MAX_LIFT, mean};
use pegboard_index::vectors::Quantized;
use pegboard_index::{
    Accepted, Counted, Indexer, Lesson, LessonError, LessonStore, Lessons, Query, StaticEmbedder, ToolDocument, ToolIndex,
    clear_lessons, convincing, lessons_in,
};

fn index() -> Arc<ToolIndex> {
    let tool = |id: &str, description: &str| ToolDocument {
        id: format!("shop__{id}"),
        name: id.to_owned(),
        description: description.to_owned(),
        ..ToolDocument::default()
    };
    let tools = [
        tool("quote", "Price of a share on the stock exchange"),
        tool("rate", "Exchange rate of two currencies"),
        tool("sum", "Add numbers"),
        tool("mail", "Send a letter by electronic mail"),
    ];
    Indexer::hybrid(Arc::new(StaticEmbedder::shipped().unwrap()), None).unwrap().update(&tools).unwrap().0
}

fn vector(index: &ToolIndex, text: &str) -> Quantized {
    index.request_vector(text).unwrap().1
}

fn lesson(index: &ToolIndex, texts: &[&str]) -> Arc<Lesson> {
    let vectors: Vec<Quantized> = texts.iter().map(|text| vector(index, text)).collect();
    let mean = mean(vectors.iter().map(|vector| (vector, 1.0))).unwrap();
    Arc::new(Lesson { mean, count: vectors.len() as f32 })
}

fn cosine(index: &ToolIndex, lessons: &Lessons, query: &str, id: &str) -> f32 {
    let answer = index.answer_with(&Query::new(query), &|_| true, lessons);
    answer.hits.iter().find(|hit| hit.id == id).and_then(|hit| hit.dense).unwrap_or_default()
}

#[test]
fn a_tool_is_found_by_the_requests_that_led_to_it() {
    let index = index();
    let query = "how is my portfolio doing today";
    let taught = ["what is my portfolio worth", "how did my portfolio do this week"];
    let lessons = Lessons::of(&index, [("shop__quote", lesson(&index, &taught)), ("gone__tool", lesson(&index, &taught))]);
    assert_eq!(lessons.len(), 1, "a lesson of a tool that is not there is left out");
    let before = cosine(&index, &Lessons::default(), query, "shop__quote");
    let after = cosine(&index, &lessons, query, "shop__quote");
    assert!(after > before + 0.05, "{before} {after}");
    assert_eq!(index.answer_with(&Query::new(query), &|_| true, &lessons).hits[0].id, "shop__quote");
}

#[test]
fn a_lesson_lifts_by_a_bound_and_lowers_nothing() {
    let index = index();
    // Someone teaches that the mail tool is the answer to every question about shares.
    let query = "price of a share on the stock exchange";
    let lessons = Lessons::of(&index, [("shop__mail", lesson(&index, &[query; 8]))]);
    let before = cosine(&index, &Lessons::default(), query, "shop__mail");
    let after = cosine(&index, &lessons, query, "shop__mail");
    assert!(after > before && after <= before + MAX_LIFT + 1e-3, "{before} {after}");
    let hits = index.answer_with(&Query::new(query), &|_| true, &lessons).hits;
    assert_eq!(hits[0].id, "shop__quote", "what is much nearer by its own words stays first");
    for other in ["send a letter by electronic mail", "add numbers", "exchange rate"] {
        let hits = |lessons| index.answer_with(&Query::new(other), &|_| true, lessons).hits[0].id.clone();
        assert_eq!(hits(&lessons), hits(&Lessons::default()), "{other}");
    }
}

fn store(folder: &Path) -> LessonStore {
    LessonStore::new(folder, "model@1", 3)
}

fn unit(x: f32, y: f32) -> Quantized {
    Quantized::new(&[x, y, 0.0], 3).unwrap()
}

fn record(store: &LessonStore, tool: &str, request: &Quantized, day: u32) -> Counted {
    store.record(&Accepted { tool, definition: [7; 32], request }, day).unwrap()
}

#[test]
fn counts_are_bounded_a_day_and_fade() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let counted: Vec<Counted> = (0..9).map(|_| record(&store, "a", &unit(1.0, 0.0), 100)).collect();
    assert_eq!(counted.iter().filter(|counted| **counted == Counted::Yes).count(), 8);
    assert_eq!(counted[8], Counted::ToolFull);
    assert_eq!(record(&store, "a", &unit(0.0, 1.0), 101), Counted::Yes, "another day");
    let kept = &store.read(101).unwrap()["a"];
    assert!(kept.lesson.count > 8.0 && kept.lesson.mean.steps[0] > 100, "{kept:?}");
    let later = store.read(131).unwrap()["a"].lesson.count;
    assert!((later - kept.lesson.count / 2.0).abs() < 0.01, "half after thirty days: {later}");
    assert!(store.read(500).unwrap().is_empty(), "what counts nothing is forgotten");
    let mut total = 9;
    for tool in 0..1000 {
        total += u32::from(record(&store, &format!("t{tool}"), &unit(1.0, 0.0), 102) == Counted::Yes);
    }
    assert_eq!(total, 9 + 400, "so many a day");
}

#[test]
fn another_definition_learns_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    record(&store, "a", &unit(1.0, 0.0), 1);
    store.record(&Accepted { tool: "a", definition: [8; 32], request: &unit(0.0, 1.0) }, 1).unwrap();
    let kept = &store.read(1).unwrap()["a"];
    assert_eq!((kept.definition, kept.lesson.count), ([8; 32], 1.0));
    assert_eq!(&*kept.lesson.mean.steps, [0, 127, 0]);
}

#[test]
fn several_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = store(folder.path());
            scope.spawn(move || {
                (0..5)
                    .for_each(|call| assert_eq!(record(&store, &format!("w{writer}-{call}"), &unit(1.0, 0.0), 1), Counted::Yes));
            });
        }
    });
    assert_eq!(store(folder.path()).read(1).unwrap().len(), 20);
    let found = lessons_in(folder.path(), 1).unwrap();
    assert_eq!((found.len(), found[0].model.as_str(), found[0].tools.len()), (1, "model@1", 20));
    assert_eq!(clear_lessons(folder.path()).unwrap(), 1);
    assert!(lessons_in(folder.path(), 1).unwrap().is_empty() && store(folder.path()).read(1).unwrap().is_empty());
}

#[test]
fn a_damaged_or_foreign_file_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    record(&store, "a", &unit(1.0, 0.0), 1);
    let good = fs::read_to_string(store.path()).unwrap();
    let damages = [
        String::new(),
        good[..good.len() / 2].to_owned(),
        good.replace("model@1", "model@2"),
        good.replace("\"dimension\":3", "\"dimension\":4"),
        good.replace("\"version\":1", "\"version\":2"),
        good.replace("7f", "zz"),
    ];
    for damage in damages {
        fs::write(store.path(), &damage).unwrap();
        assert!(matches!(store.read(1), Err(LessonError::Damaged { .. })), "{damage}");
        let recorded = store.record(&Accepted { tool: "a", definition: [7; 32], request: &unit(1.0, 0.0) }, 1);
        assert!(recorded.is_err() && fs::read_to_string(store.path()).unwrap() == damage, "{damage}");
    }
    fs::write(store.path(), good).unwrap();
    assert_eq!(store.read(1).unwrap().len(), 1, "the same file undamaged");
}

#[test]
fn nonsense_convinces_nobody_and_a_request_does() {
    let index = index();
    let convinces = |query: &str| convincing(&index.search(&Query::new(query), &|_| true), index.len());
    for nonsense in ["qzxv wvutq", "asdkjh aslkdj qwe", "lorem ipsum dolor sit amet", "!!!", "", "florbnix quandle"] {
        assert!(!convinces(nonsense), "{nonsense}");
    }
    for request in ["send a letter", "shop__mail", "dollars in euros", "add 3 and 4", "stock price"] {
        assert!(convinces(request), "{request}");
    }
    let lexical = Indexer::lexical()
        .unwrap()
        .update(&[ToolDocument { id: "a".into(), name: "mail".into(), ..ToolDocument::default() }])
        .unwrap()
        .0;
    assert!(
        convincing(&lexical.search(&Query::new("mail it"), &|_| true), 1),
        "words alone convince where nothing else is known"
    );
}
