//! Plugins that need each other: what is chosen, why nothing can be, and who would be left without.

use manifest_schema::PluginName;
use registry::dependencies::{Choice, Need, Offer, Unmet, Unresolved, dependents, resolve, unmet};
use semver::{Version, VersionReq};

fn name(text: &str) -> PluginName {
    PluginName::parse(text).unwrap()
}

/// `a ^1.2`, `a`, or `a ^1.2?` where it is optional.
fn need(text: &str) -> Need {
    let (text, optional) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
    let (plugin, wanted) = text.split_once(' ').unwrap_or((text, "*"));
    Need { name: name(plugin), wanted: VersionReq::parse(wanted).unwrap(), optional }
}

/// `a 1.0.0` with what it needs.
fn offer(text: &str, needs: &[&str]) -> Offer {
    let (plugin, version) = text.split_once(' ').unwrap();
    Offer {
        name: name(plugin),
        version: Version::parse(version).unwrap(),
        needs: needs.iter().map(|text| need(text)).collect(),
        min_core: None,
        max_core: None,
        yanked: false,
    }
}

fn core() -> Version {
    Version::new(1, 0, 0)
}

#[track_caller]
fn chosen(wanted: &[&str], choice: &Choice) -> Vec<String> {
    let wanted: Vec<Need> = wanted.iter().map(|text| need(text)).collect();
    let plan = resolve(&wanted, choice, &core()).unwrap();
    plan.offers.iter().map(|offer| format!("{} {}", offer.name, offer.version)).collect()
}

fn choice(offers: Vec<Offer>) -> Choice {
    Choice { offers, kept: std::collections::BTreeMap::new() }
}

#[test]
fn the_newest_that_fits_is_chosen_and_what_is_needed_comes_first() {
    let shelf = choice(vec![
        offer("app 1.0.0", &["lib ^1.2", "tool"]),
        offer("lib 1.2.0", &[]),
        offer("lib 1.9.0", &["base >=0.3, <0.5"]),
        offer("lib 2.0.0", &[]),
        offer("lib 2.0.0-beta.1", &[]),
        offer("base 0.4.7", &[]),
        offer("base 0.5.0", &[]),
        offer("tool 3.0.0", &["lib"]),
    ]);
    assert_eq!(chosen(&["app"], &shelf), ["base 0.4.7", "lib 1.9.0", "tool 3.0.0", "app 1.0.0"]);
}

#[test]
fn an_older_one_is_taken_where_the_newest_leads_nowhere() {
    let shelf = choice(vec![
        offer("app 1.0.0", &["lib", "other"]),
        offer("lib 2.0.0", &["base ^2"]),
        offer("lib 1.0.0", &["base ^1"]),
        offer("other 1.0.0", &["base ^1"]),
        offer("base 1.0.0", &[]),
        offer("base 2.0.0", &[]),
    ]);
    assert_eq!(chosen(&["app"], &shelf), ["base 1.0.0", "lib 1.0.0", "other 1.0.0", "app 1.0.0"]);
}

#[test]
fn what_is_there_stays_where_it_fits() {
    let offers = vec![
        offer("app 1.0.0", &["lib ^1"]),
        offer("lib 1.0.0", &[]),
        offer("lib 1.5.0", &[]),
        offer("app 2.0.0", &["lib ^1.4"]),
    ];
    let mut shelf = choice(offers);
    shelf.kept.insert(name("lib"), Version::new(1, 0, 0));
    assert_eq!(chosen(&["app ^1"], &shelf), ["lib 1.0.0", "app 1.0.0"]);
    assert_eq!(chosen(&["app ^2"], &shelf), ["lib 1.5.0", "app 2.0.0"], "updated only where it must be");
}

#[test]
fn every_form_of_a_requirement_takes_what_semver_takes() {
    let versions = [
        "0.0.3", "0.0.4", "0.3.9", "0.4.0", "1.0.0", "1.1.9", "1.2.0", "1.2.3", "1.2.4", "1.3.0", "1.9.9", "2.0.0", "2.1.0",
        "3.0.0",
    ];
    let wanted = [
        "*",
        "1",
        "1.2",
        "1.2.3",
        "^1",
        "^1.2",
        "^1.2.3",
        "^0.3",
        "^0.0.3",
        "^0.0",
        "^0",
        "~1",
        "~1.2",
        "~1.2.3",
        "=1",
        "=1.2",
        "=1.2.3",
        ">1",
        ">1.2",
        ">1.2.3",
        ">=1",
        ">=1.2",
        ">=1.2.3",
        "<1",
        "<1.2",
        "<1.2.3",
        "<=1",
        "<=1.2",
        "<=1.2.3",
        "1.*",
        "1.2.*",
        ">=1.2.3, <2",
        ">1.2, <=2",
        "<0.0.1",
    ];
    for text in wanted {
        let request = VersionReq::parse(text).unwrap();
        let newest = versions.iter().rev().find(|version| request.matches(&Version::parse(version).unwrap()));
        let shelf = choice(versions.iter().map(|version| offer(&format!("lib {version}"), &[])).collect());
        let found = resolve(&[Need { name: name("lib"), wanted: request, optional: false }], &shelf, &core());
        assert_eq!(
            found.ok().map(|plan| plan.offers[0].version.to_string()),
            newest.map(|version| (*version).to_owned()),
            "{text}"
        );
    }
}

#[test]
fn a_conflict_is_explained() {
    let shelf = choice(vec![
        offer("app 1.0.0", &["mail ^1", "chat ^1"]),
        offer("mail 1.0.0", &["people ^1"]),
        offer("chat 1.0.0", &["people ^2"]),
        offer("people 1.0.0", &[]),
        offer("people 2.0.0", &[]),
    ]);
    let Err(Unresolved::Conflict(text)) = resolve(&[need("app")], &shelf, &core()) else { panic!("it can't be resolved") };
    for words in ["mail", "chat", "people", "depends on", ">=1.0.0, <2.0.0", ">=2.0.0, <3.0.0"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.ends_with("there is `people` 2.0.0, 1.0.0"), "{text}");
    assert!(!text.contains("-0") && !text.contains("0.0.0"), "nothing of ours in it: {text}");
}

#[test]
fn what_can_not_be_had_says_why() {
    let mut new = offer("lib 2.0.0", &[]);
    new.min_core = Some(Version::new(9, 0, 0));
    let mut old = offer("lib 1.0.0", &[]);
    old.max_core = Some(Version::new(0, 9, 0));
    let mut back = offer("gone 1.0.0", &[]);
    back.yanked = true;
    let shelf = choice(vec![new.clone(), old.clone(), back.clone(), offer("lib 1.5.0", &[])]);
    assert_eq!(chosen(&["lib"], &shelf), ["lib 1.5.0"], "the one that runs here");
    let explain = |wanted: &str, offers: Vec<Offer>| match resolve(&[need(wanted)], &choice(offers), &core()) {
        Err(Unresolved::Conflict(text)) => text,
        other => panic!("{wanted}: {other:?}"),
    };
    assert!(explain("lib", vec![new]).contains("needs Pegboard `9.0.0` or newer, this is `1.0.0`"));
    assert!(explain("lib", vec![old]).contains("needs Pegboard `0.9.0` or older"));
    assert!(explain("gone", vec![back.clone()]).contains("its author took it back"));
    let none = explain("nowhere ^1", vec![]);
    assert!(none.ends_with("there is no plugin `nowhere`"), "{none}");
    let mut kept = choice(vec![back]);
    kept.kept.insert(name("gone"), Version::new(1, 0, 0));
    assert_eq!(chosen(&["gone"], &kept), ["gone 1.0.0"], "whoever has it keeps it");
}

#[test]
fn a_circle_is_an_error_with_its_path() {
    let shelf = choice(vec![offer("a 1.0.0", &["b"]), offer("b 1.0.0", &["c"]), offer("c 1.0.0", &["b ^1"])]);
    let error = resolve(&[need("a")], &shelf, &core()).unwrap_err();
    assert_eq!(error.to_string(), "plugins need each other in a circle: b → c → b");
    let problems = unmet(&shelf.offers);
    assert!(!problems.contains_key(&name("a")) && ["b", "c"].iter().all(|at| matches!(problems[&name(at)][0], Unmet::Cycle(_))));
    let own = choice(vec![offer("a 1.0.0", &["a"])]);
    assert_eq!(resolve(&[need("a")], &own, &core()).unwrap_err().to_string(), "plugins need each other in a circle: a → a");
}

#[test]
fn optional_needs_bring_nothing_along_and_are_named() {
    let shelf =
        choice(vec![offer("app 1.0.0", &["lib", "extra ^1?", "lib ^3?"]), offer("lib 1.0.0", &[]), offer("extra 1.0.0", &[])]);
    assert_eq!(chosen(&["app"], &shelf), ["lib 1.0.0", "app 1.0.0"]);
    let plan = resolve(&[need("app")], &shelf, &core()).unwrap();
    let left: Vec<_> =
        plan.left_out.iter().map(|left| (left.need.to_string(), left.instead.as_ref().map(ToString::to_string))).collect();
    assert_eq!(left, [("extra ^1".to_owned(), None), ("lib ^3".to_owned(), Some("1.0.0".to_owned()))]);
    assert!(
        resolve(&[need("app"), need("extra")], &shelf, &core())
            .unwrap()
            .left_out
            .iter()
            .all(|left| left.need.name != name("extra"))
    );
}

#[test]
fn whoever_would_be_left_without_is_named() {
    let there = [offer("app 1.0.0", &["lib ^1"]), offer("other 1.0.0", &["lib ^1?"]), offer("lib 1.0.0", &[])];
    let found: Vec<_> =
        dependents(&name("lib"), &there).iter().map(|(offer, need)| format!("{} needs {need}", offer.name)).collect();
    assert_eq!(found, ["app needs lib ^1"]);
    assert!(dependents(&name("app"), &there).is_empty());
    let problems = unmet(&[offer("app 1.0.0", &["lib ^1", "gone"]), offer("lib 2.0.0", &[])]);
    let said: Vec<_> = problems[&name("app")].iter().map(ToString::to_string).collect();
    assert_eq!(said, ["needs the plugin `lib ^1`, and 2.0.0 is there", "needs the plugin `gone`, which is not there"]);
}

#[test]
fn a_thousand_plugins_are_resolved_in_no_time() {
    let mut offers = Vec::new();
    for number in 0..1_000 {
        let next = format!("p{} ^1", number + 1);
        for minor in 0..3 {
            let needs: &[&str] = if number < 999 { &[&next] } else { &[] };
            offers.push(offer(&format!("p{number} 1.{minor}.0"), needs));
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(chosen(&["p0"], &choice(offers)).len(), 1_000);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
