//! Names that can't be had: what the eye confuses, what is reserved, and who stays when two meet.

use registry::names::{NameProblem, Standing, judge, reserved, settle, skeleton};

#[test]
fn names_that_the_eye_confuses_have_one_skeleton() {
    for (one, other) in [
        ("text-stats", "text_stats"),
        ("mail", "mai1"),
        ("mail", "mall"),
        ("tools", "t0ols"),
        ("modern", "modem"),
        ("corner", "comer"),
        ("windows", "vvindows"),
        ("doud", "cloud"),
        ("base5", "bases"),
        ("c1oud", "cloud"),
        ("rnai1-t0ols", "mail_tools"),
    ] {
        assert_eq!(skeleton(one), skeleton(other), "{one} and {other}");
        assert!(matches!(judge(one, [other]), Err(NameProblem::LookAlike { .. })), "{one} beside {other}");
    }
}

#[test]
fn names_that_differ_to_the_eye_stand_side_by_side() {
    let names =
        ["weather", "whether", "text_stats", "textstats", "plugin_1", "plugin_11", "plugin_1_1", "units", "unit", "m", "nn"];
    for name in names {
        assert_eq!(judge(name, names), Ok(()), "{name}");
    }
    // Numbers stay apart, however many.
    let numbered: Vec<String> = (0..2_000).map(|number| format!("tool_{number}")).collect();
    assert!(settle(numbered.iter().map(|name| (name.as_str(), Standing::Installed))).is_empty());
}

#[test]
fn reserved_words_are_reserved_in_every_spelling() {
    for name in [
        "pegboard",
        "pegb0ard",
        "pegboard_tools",
        "pegboard-official",
        "mcp",
        "rncp",
        "search-tools",
        "call_t00l",
        "system",
        "nul",
        "first-party",
    ] {
        assert!(reserved(name).is_some(), "{name}");
        assert!(matches!(judge(name, []), Err(NameProblem::Reserved { .. })), "{name}");
    }
    for name in ["pegboards", "my_pegboard", "mcp_files", "systems", "search", "host_names", "console"] {
        assert_eq!(reserved(name), None, "{name}");
    }
}

#[test]
fn the_same_name_is_no_look_alike() {
    assert_eq!(judge("weather", ["weather", "units"]), Ok(()));
}

#[test]
fn of_two_that_look_alike_the_better_standing_stays_whatever_the_order() {
    use Standing::{FirstParty, Installed, Named};
    type Case = (&'static [(&'static str, Standing)], &'static [&'static str]);
    let cases: [Case; 6] = [
        (&[("tab1es", Named), ("tables", FirstParty)], &["tab1es"]),
        (&[("mail", Installed), ("mai1", Named)], &["mail"]),
        (&[("mai1", Installed), ("mail", Installed)], &["mai1"]),
        (&[("text-stats", Named), ("text_stats", Named)], &["text_stats"]),
        (&[("pegboard", Installed), ("core", FirstParty)], &["pegboard"]),
        (&[("mail", Installed), ("mai1", Installed), ("mall", Installed)], &["mai1", "mall"]),
    ];
    for (names, refused) in cases {
        let mut names = names.to_vec();
        for _ in 0..names.len() {
            assert_eq!(settle(names.iter().copied()).into_keys().collect::<Vec<_>>(), refused, "{names:?}");
            names.rotate_left(1);
        }
    }
}
