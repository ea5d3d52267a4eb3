//! Words and meaning in one ranking.

use std::sync::Arc;

use pegboard_index::fusion::{dense_weight, fuse};
use pegboard_index::vectors::{Quantized, VectorTable};
use pegboard_index::{EmbedError, Indexer, Mode, Query, ToolDocument};

use crate::fake::{Synonyms, catalog, find, lexical, tool};

#[test]
fn meaning_finds_what_words_do_not() {
    let index = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&catalog()).unwrap().0;
    assert_eq!(index.mode(), Mode::Hybrid { embedder: "synonyms".into() });
    for (query, expected) in
        [("dollars", "money__convert"), ("a letter", "mail__send_message"), ("open a ticket", "git__createIssue")]
    {
        assert_eq!(find(&index, query)[0], expected, "{query}");
    }
    assert_eq!(find(&lexical(&catalog()), "dollars"), Vec::<String>::new(), "the control: words alone find nothing");
}

#[test]
fn both_sides_count() {
    let index = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&catalog()).unwrap().0;
    let hits = index.search(&Query::new("temperature right now"), &|_| true);
    assert_eq!(hits[0].id, "weather__current");
    assert!(
        hits[0].lexical.is_some_and(|score| score > 0.0) && hits[0].dense.is_some_and(|cosine| cosine > 0.5),
        "{:?}",
        hits[0]
    );
    assert!(hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)), "{hits:?}");
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
}

#[test]
fn an_example_is_a_vector_of_its_own() {
    let mut tools = catalog();
    tools.push(ToolDocument { examples: vec!["how many euros is that".into()], ..tool("odd__thing", "No telling") });
    let index = Indexer::hybrid(Arc::new(Synonyms::new("synonyms")), None).unwrap().update(&tools).unwrap().0;
    let found = find(&index, "dollars");
    assert!(found.iter().take(2).any(|id| id == "odd__thing"), "{found:?}");
}

#[test]
fn a_silent_embedder_leaves_words_and_says_so() {
    let embedder = Synonyms { deaf: true, ..Synonyms::new("synonyms") };
    let index = Indexer::hybrid(Arc::new(embedder), None).unwrap().update(&catalog()).unwrap().0;
    let answer = index.answer(&Query::new("email somebody and then convert currencies"), &|_| true);
    assert_eq!(answer.mode, Mode::Lexical);
    assert_eq!(answer.degraded, Some(EmbedError::TimedOut { milliseconds: 500 }));
    assert_eq!(answer.hits, lexical(&catalog()).search(&Query::new("email somebody and then convert currencies"), &|_| true));
    assert!(!answer.hits.is_empty());
}

#[test]
fn dense_weight_falls_with_size() {
    let weights: Vec<f32> = [1, 250, 500, 1_000, 2_000, 100_000].into_iter().map(dense_weight).collect();
    assert!((weights[0] - 0.6).abs() < 1e-6 && (weights[1] - 0.6).abs() < 1e-6, "{weights:?}");
    assert!((weights[4] - 0.45).abs() < 1e-6 && (weights[5] - 0.45).abs() < 1e-6, "{weights:?}");
    assert!(weights.is_sorted_by(|a, b| a >= b) && weights[2] < weights[1] && weights[3] < weights[2], "{weights:?}");
}

#[test]
fn fusion_by_hand() {
    // Fifty places, all others 0: mean .3, mean square 2.5, so one spread is the root of 2.41.
    let lexical = vec![(0, 10.0), (1, 5.0)];
    let by_words = |score: f32| score / 2.41f32.sqrt();
    // Mean .6, spread the root of .08 / 3, end of the list .4.
    let dense = vec![(1, 0.8), (2, 0.6), (3, 0.4)];
    let by_meaning = |score: f32| (score - 0.4) / (0.08f32 / 3.0).sqrt();
    let fused = fuse(&lexical, &dense, 0.25, f32::NEG_INFINITY, |slot| slot != 0);
    let expected = [by_words(10.0), 0.75 * by_words(5.0) + 0.25 * by_meaning(0.8), 0.25 * by_meaning(0.6), 0.0];
    for (slot, expected) in (0..).zip(expected) {
        let score = fused.candidates[&slot].score;
        assert!((score - expected).abs() < 1e-4, "{slot}: {score}, expected {expected}");
    }
    assert!((fused.top - by_words(10.0)).abs() < 1e-4, "no vector yet: its words decide alone, and are the most there is");
    assert_eq!((fused.candidates[&1].lexical, fused.candidates[&1].dense), (Some(5.0), Some(0.8)));
}

/// The same places in both lists, but one list is sure of its first.
#[test]
fn a_list_whose_first_stands_out_weighs_more() {
    let flat: Vec<(u32, f32)> = (0..100).map(|i| (i, 0.6 - i as f32 * 0.001)).collect();
    let sure = |first: u32| -> Vec<(u32, f32)> {
        let others = flat.iter().filter(|(slot, _)| *slot != first).map(|(slot, score)| (*slot, score - 0.1));
        std::iter::once((first, 0.9)).chain(others).collect()
    };
    let best = |lexical: &Vec<(u32, f32)>, dense: &Vec<(u32, f32)>| {
        let fused = fuse(lexical, dense, 0.5, f32::NEG_INFINITY, |_| true).candidates;
        fused.into_iter().max_by(|a, b| a.1.score.total_cmp(&b.1.score)).unwrap().0
    };
    assert_eq!((best(&sure(40), &flat), best(&flat, &sure(40))), (40, 40));
    assert_eq!(best(&flat, &flat), 0, "the control");
}

#[test]
fn equal_scores_and_lists_of_one_are_as_good_as_the_first() {
    let one = fuse(&vec![], &vec![(7, 0.4)], 0.5, 0.1, |_| true);
    assert!(one.candidates[&7].score > 0.0 && one.candidates[&7].score == one.top, "{one:?}");
    let same = fuse(&vec![], &vec![(1, 0.4), (2, 0.4)], 0.5, 0.1, |_| true);
    assert!(same.candidates.values().all(|found| found.score == same.top && found.score > 0.0), "{same:?}");
    assert_eq!(fuse(&vec![], &vec![], 0.5, 0.1, |_| true).top, 0.0);
}

#[test]
fn what_is_near_to_nothing_is_no_answer_unless_a_word_says_so() {
    let (lexical, dense) = (vec![(0, 10.0)], vec![(1, 0.8), (2, 0.3), (0, 0.1)]);
    let tools = |floor: f32| {
        let fused = fuse(&lexical, &dense, 0.5, floor, |_| true);
        let mut tools: Vec<(u32, f32)> = fused.candidates.iter().map(|(slot, found)| (*slot, found.score)).collect();
        tools.sort_by_key(|(slot, _)| *slot);
        tools
    };
    let all = tools(f32::NEG_INFINITY);
    assert_eq!(all.len(), 3, "the control");
    assert_eq!(tools(0.5), all[..2], "scores do not shift when one is left out");
    assert_eq!(tools(0.9), all[..1]);
}

#[test]
fn eight_bits_keep_the_cosine() {
    // A fixed pseudo-random sequence: two runs compare the same numbers.
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    for dimension in [1, 31, 32, 33, 384] {
        let vectors: Vec<Vec<f32>> = (0..20).map(|_| (0..dimension).map(|_| next()).collect()).collect();
        let packed: Vec<Arc<Quantized>> = vectors.iter().map(|v| Arc::new(Quantized::new(v, dimension).unwrap())).collect();
        let table = VectorTable::pack(dimension, false, (0..).zip(packed.iter().cloned()));
        let nearest = |queries: &[&Quantized]| table.nearest(queries, 21, &mut |_| true);
        let together = nearest(&[&packed[0], &packed[1]]);
        assert_eq!(together[1], nearest(&[&packed[1]])[0], "each query is scored as if it were alone");
        assert_eq!(together[0].len(), 20);
        for (slot, cosine) in &together[0] {
            let vector = &vectors[*slot as usize];
            let dot: f32 = vectors[0].iter().zip(vector).map(|(a, b)| a * b).sum();
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let expected = dot / norm(&vectors[0]) / norm(vector);
            assert!((expected - cosine).abs() < 0.02, "{dimension}: {expected} {cosine}");
        }
        let refused = table.nearest(&[&packed[0]], 3, &mut |slot| slot != 0);
        let others: Vec<(u32, f32)> = together[0].iter().copied().filter(|(slot, _)| *slot != 0).take(3).collect();
        assert_eq!(refused[0], others, "a refused slot takes no place");
    }
}

#[test]
fn unusable_vectors_are_refused() {
    for vector in [vec![], vec![1.0], vec![1.0, f32::NAN], vec![f32::INFINITY, 1.0], vec![1.0; 3]] {
        assert!(matches!(Quantized::new(&vector, 2), Err(EmbedError::BadVector { expected: 2, .. })), "{vector:?}");
    }
    assert!(Quantized::new(&[1.0, 0.0], 2).is_ok());
}
