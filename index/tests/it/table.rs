//! The shipped table: pinned, the same pieces as in its training, and sense in its distances.

use std::sync::Arc;
use std::time::Instant;

use pegboard_index::vectors::{Quantized, VectorTable};
use pegboard_index::{BadTable, Embedder, Indexer, Mode, StaticEmbedder};
use sha2::{Digest, Sha256};

use crate::fake::{catalog, find};

static SHIPPED: &[u8] = include_bytes!("../../model/static.table");
/// Changes only together with the numbers in `index/train/README.md`.
const DIGEST: &str = "d0eb43a658253a37683c844f6f9e2974348a45fc89e0a20a117bb542d2be4b2c";
const HEADER: usize = 8 + 32;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn vector(text: &str) -> Vec<f32> {
    StaticEmbedder::shipped().unwrap().embed_query(text).unwrap()
}

fn cosine(a: &str, b: &str) -> f32 {
    vector(a).iter().zip(vector(b)).map(|(a, b)| a * b).sum()
}

#[test]
fn the_shipped_table_is_the_pinned_one_and_small() {
    assert_eq!(hex(&Sha256::digest(&SHIPPED[HEADER..])), DIGEST);
    assert_eq!(hex(&SHIPPED[8..HEADER]), DIGEST, "the id comes from the header");
    assert!(SHIPPED.len() <= 12 << 20, "{}", SHIPPED.len());
    let embedder = StaticEmbedder::shipped().unwrap();
    assert_eq!(embedder.id(), format!("static@{}", &DIGEST[..16]));
    assert_eq!(embedder.dimension(), 256);
}

/// Beginnings of vectors as `train.py show` prints them: accents, capitals, signs and scripts are cut alike on both sides.
#[test]
fn python_and_rust_see_the_same_pieces() {
    let golden: [(&str, [f32; 3]); 6] = [
        ("Send an email to my boss!", [0.04718, 0.07581, 0.02291]),
        ("getHTTPStatus_code: Fetches the status (200, 404) of a URL", [0.0415, 0.07014, 0.063]),
        ("Café Zürich, naïve façade", [0.01807, -0.03481, -0.06889]),
        ("天気 forecast for 東京", [-0.03466, 0.04217, 0.07938]),
        ("Sea\u{ad}rch\tthe   web — “quoted” 20€", [-0.04036, 0.00351, 0.06412]),
        ("antidisestablishmentarianism xqzzy", [-0.01732, 0.04616, -0.03698]),
    ];
    for (text, expected) in golden {
        let found = vector(text);
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 2e-4);
        assert!(near, "{text}: {:?}, expected {expected:?}", &found[..3]);
    }
}

#[test]
fn what_means_the_same_is_nearer_than_what_does_not() {
    for (request, right, wrong) in [
        ("send an email to my boss", "mail: deliver a message to recipients", "weather forecast for a city"),
        ("how hot will it be tomorrow", "weather forecast for a city", "mail: deliver a message to recipients"),
        ("exchange dollars for euros", "convert currencies", "translate a text to another language"),
    ] {
        assert!(cosine(request, right) > cosine(request, wrong) + 0.1, "{request}");
    }
}

#[test]
fn texts_without_pieces_and_of_any_length_have_finite_vectors() {
    for text in ["", " ", "\u{0}\u{7f}", "\u{e000}", &"x".repeat(1 << 20), &"word ".repeat(1 << 18), "🦀🦀", "مرحبا بالعالم"]
    {
        let vector = vector(text);
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!(length == 0.0 || (length - 1.0).abs() < 1e-3, "{length}");
    }
    assert_eq!(vector(""), vec![0.0; 256]);
}

/// Only the first pieces count, so a longer text costs no more than they do.
#[test]
fn a_text_is_read_to_its_hundred_and_twenty_eighth_piece() {
    let long = "book ".repeat(128);
    assert_eq!(vector(&long), vector(&format!("{long} weather in Paris")));
    assert_ne!(vector(&"book ".repeat(127)), vector(&format!("{} weather", "book ".repeat(127))));
    let start = Instant::now();
    vector(&"book ".repeat(1 << 20));
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

#[test]
fn damaged_and_foreign_tables_are_refused() {
    let read = |bytes: Vec<u8>| StaticEmbedder::read(bytes.leak()).map(|_| ());
    assert_eq!(read(SHIPPED.to_vec()), Ok(()), "the control");
    assert_eq!(read(b"PEGVEC01".to_vec()), Err(BadTable::Foreign));
    assert_eq!(read(SHIPPED[..30].to_vec()), Err(BadTable::Damaged("cut in its header")));
    assert_eq!(read(SHIPPED[..50_000].to_vec()), Err(BadTable::Damaged("another length than its header says")));
    let mut numbers = SHIPPED[..HEADER + 12].to_vec();
    numbers[HEADER..].fill(0xff);
    assert_eq!(read(numbers), Err(BadTable::Damaged("dimension or number of rows out of range")));
}

/// The ends of pieces are read as they are: wrong ones must find nothing rather than end the program.
#[test]
fn nonsense_inside_a_table_is_not_followed() {
    let mut bytes = SHIPPED.to_vec();
    bytes[HEADER + 12..HEADER + 12 + 100_000].fill(0xee);
    let table = StaticEmbedder::read(bytes.leak()).unwrap();
    assert_eq!(table.embed_query("book a flight").unwrap().len(), 256);
}

#[test]
fn an_index_with_it_is_hybrid_and_finds_by_meaning() {
    let table = std::sync::Arc::new(StaticEmbedder::shipped().unwrap());
    let index = Indexer::hybrid(table, None).unwrap().update(&catalog()).unwrap().0;
    assert!(matches!(index.mode(), Mode::Hybrid { embedder } if embedder.starts_with("static@")));
    assert_eq!(find(&index, "how hot will it be tomorrow")[0], "weather__forecast");
    assert_eq!(find(&index, "dollars to euros")[0], "money__convert");
}

/// In a catalog too large to compare every vector wholly, signs must bring up what whole vectors would.
#[test]
fn the_nearest_by_whole_vectors_are_on_the_shortlist() {
    let embedder = StaticEmbedder::shipped().unwrap();
    let verbs = ["send", "find", "create", "delete", "list", "convert", "translate", "book", "play", "count", "draw", "check"];
    let things = ["email", "flight", "hotel", "song", "invoice", "ticket", "photo", "map", "recipe", "file", "price", "poem"];
    let places = ["in Paris", "for a team", "by date", "as a table", "in German", "at night", "for children", "at work"];
    let ways = ["quickly", "with a picture", "twice", "on a phone", "for free", "in colour", "by voice", "offline", "safely"];
    let mut texts = Vec::new();
    for verb in verbs {
        for thing in things {
            texts.extend(places.iter().flat_map(|place| ways.iter().map(move |way| format!("{verb} {thing} {place} {way}"))));
        }
    }
    let rows: Vec<Arc<Quantized>> =
        embedder.embed_documents(&texts).unwrap().iter().map(|v| Arc::new(Quantized::new(v, 256).unwrap())).collect();
    let by_signs = VectorTable::pack(256, embedder.even(), (0..).zip(rows.iter().cloned()));
    let of_wholes = VectorTable::pack(256, false, (0..).zip(rows));
    assert!(texts.len() > 10_000 && embedder.even());
    let (mut found, mut wanted) = (0, 0);
    for query in ["mail my boss", "where can I stay tonight", "music", "how much is it", "make a drawing of a cat", "cook"] {
        let query = Quantized::new(&vector(query), 256).unwrap();
        let [near] = by_signs.nearest(&[&query], 100, &mut |_| true).try_into().unwrap();
        let [exact] = of_wholes.nearest(&[&query], 100, &mut |_| true).try_into().unwrap();
        assert_eq!(near[0], exact[0]);
        wanted += exact.len();
        found += exact.iter().filter(|hit| near.contains(hit)).count();
    }
    assert!(found * 100 >= wanted * 98, "{found} of {wanted}");
}

/// Words of no language and questions about nothing here: an empty answer says more than ten poor ones.
#[test]
fn nonsense_has_no_answer_and_a_real_request_without_a_shared_word_has() {
    let table = std::sync::Arc::new(StaticEmbedder::shipped().unwrap());
    let index = Indexer::hybrid(table, None).unwrap().update(&catalog()).unwrap().0;
    for nonsense in ["xyzzy plugh", "asdkjh qwpoei zmxnb", "florp the wug sideways", "???", "the of and", "مرحبا بالعالم", "🦀"]
    {
        assert_eq!(find(&index, nonsense), Vec::<String>::new(), "{nonsense}");
    }
    for (request, expected) in [("dollars", "money__convert"), ("will it be sunny tomorrow", "weather__forecast")] {
        assert_eq!(find(&index, request).first().map(String::as_str), Some(expected), "{request}");
    }
}
