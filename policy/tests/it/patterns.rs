//! Patterns of tokens, against a second implementation that is slow and plain.

use policy::ToolPatterns;
use proptest::prelude::*;

/// The meaning, letter by letter.
fn plainly(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| plainly(rest, &name[skip..])),
        Some((letter, rest)) => name.split_first().is_some_and(|(first, others)| first == letter && plainly(rest, others)),
    }
}

#[test]
fn patterns_cover_what_they_say() {
    let table: &[(&[&str], &str, bool)] = &[
        (&[], "demo__run", false),
        (&["*"], "demo__run", true),
        (&["*"], "", true),
        (&["demo__run"], "demo__run", true),
        (&["demo__run"], "demo__run_all", false),
        (&["demo__*"], "demo__run", true),
        (&["demo__*"], "demo", false),
        (&["demo_*"], "demo__run", true),
        (&["*__run"], "demo__run", true),
        (&["*__run"], "demo__run2", false),
        (&["*o_*_r*"], "demo__run", true),
        (&["a*a"], "a", false),
        (&["a*a"], "aa", true),
        (&["*ab*ab"], "abab", true),
        (&["*ab*ab"], "aab", false),
        (&["other__*", "demo__r*"], "demo__run", true),
        (&["demo__***"], "demo__run", true),
    ];
    for (patterns, name, expected) in table {
        assert_eq!(ToolPatterns::parse(patterns).unwrap().allows(name), *expected, "{patterns:?} {name}");
    }
    assert_eq!(ToolPatterns::default(), ToolPatterns::parse::<&str>(&[]).unwrap());
}

#[test]
fn bad_patterns_are_refused_with_their_reason() {
    let long = "a".repeat(65);
    for (pattern, expected) in [
        ("", "a tool pattern is empty".to_owned()),
        ("Demo__*", "tool pattern `Demo__*` holds `D`, expected `[a-z0-9_-]` and `*`".to_owned()),
        ("demo__?", "tool pattern `demo__?` holds `?`, expected `[a-z0-9_-]` and `*`".to_owned()),
        ("a, b", "tool pattern `a, b` holds `,`, expected `[a-z0-9_-]` and `*`".to_owned()),
        (long.as_str(), format!("tool pattern `{long}` has 65 characters, at most 64 are allowed")),
    ] {
        assert_eq!(ToolPatterns::parse(&["*", pattern]).unwrap_err().to_string(), expected);
    }
    assert_eq!(ToolPatterns::parse(&["a"; 257]).unwrap_err().to_string(), "257 tool patterns, at most 256 are allowed");
    assert!(ToolPatterns::parse(&["a"; 256]).is_ok());
}

#[test]
fn they_are_kept_as_a_list_of_texts() {
    let patterns: ToolPatterns = serde_json::from_str(r#"["demo__*", "x"]"#).unwrap();
    assert_eq!(patterns.as_slice(), ["demo__*", "x"]);
    assert_eq!(serde_json::to_string(&patterns).unwrap(), r#"["demo__*","x"]"#);
    assert!(serde_json::from_str::<ToolPatterns>(r#"["DEMO"]"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn they_mean_the_same_as_the_plain_form(pattern in "[ab*_]{1,8}", name in "[ab_]{0,12}") {
        let patterns = ToolPatterns::parse(&[&pattern]).unwrap();
        prop_assert_eq!(patterns.allows(&name), plainly(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn any_text_is_read_or_refused(patterns in prop::collection::vec(".{0,70}", 0..4), name in ".{0,70}") {
        if let Ok(patterns) = ToolPatterns::parse(&patterns) {
            let _ = patterns.allows(&name);
        }
    }
}
