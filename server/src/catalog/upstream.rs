//! The tools of an upstream MCP server: from what was approved, never from a running server, to tools with names of ours.
//!
//! What a server says now matters for one thing only: a tool that it defines otherwise than approved is kept away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use manifest_schema::{Annotations, Digest, Manifest, ToolName, ToolSpec};
use policy::{Approval, Definition};
use serde_json::{Map, Value};

use crate::{clean::one_line, observed::Record};

/// A tool of an upstream server that is kept away from models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// What its server calls it.
    pub name: String,
    /// Why, for the operator.
    pub reason: &'static str,
}

/// What a plugin offers of its server.
#[derive(Debug, Default)]
pub(super) struct Offer {
    pub(super) tools: Vec<(ToolSpec, Arc<Definition>)>,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) notes: Vec<String>,
}

/// What of the approval may be served.
pub(super) fn offer(manifest: &Manifest, approval: &Approval, seen: Option<&Record>) -> Offer {
    let mut offer = Offer::default();
    let names = tool_names(approval.tools.iter().map(|tool| tool.name.as_str()));
    let review = seen.map(|seen| approval.review(&seen.tools));
    let mut taken = BTreeSet::new();
    for definition in &approval.tools {
        let Some(name) = names.get(definition.name.as_str()) else { continue };
        let entry = manifest.mcps.iter().find(|entry| is_for(entry, definition, name));
        if entry.is_none() && !manifest.mcps.is_empty() {
            continue;
        }
        let gone = review.as_ref().is_some_and(|review| review.gone.contains(&definition.name));
        let tripped = seen.is_some_and(|seen| seen.tripped.contains(&definition.name));
        if gone || tripped {
            let reason = if tripped { "its definition changed" } else { "its server does not offer it any more" };
            offer.quarantined.push(Quarantined { name: definition.name.clone(), reason });
            continue;
        }
        let spec = spec(definition, name, entry);
        if taken.insert(spec.name.clone()) {
            offer.tools.push((spec, Arc::new(definition.clone())));
        }
    }
    for new in review.into_iter().flat_map(|review| review.new) {
        offer.quarantined.push(Quarantined { name: new.name, reason: "it is new" });
    }
    if !offer.quarantined.is_empty() {
        let list: Vec<String> =
            offer.quarantined.iter().take(10).map(|tool| format!("`{}` ({})", one_line(&tool.name, 64), tool.reason)).collect();
        offer.notes.push(format!(
            "{} tools are quarantined: {}: pegboard approve {}",
            offer.quarantined.len(),
            list.join(", "),
            manifest.name
        ));
    }
    for entry in &manifest.mcps {
        let known = approval.tools.iter().any(|tool| names.get(tool.name.as_str()).is_some_and(|name| is_for(entry, tool, name)));
        if !known {
            let wanted = entry.upstream_name.as_deref().unwrap_or(entry.name.as_str());
            offer.notes.push(format!("`mcps` names the tool `{}`, which is not among the approved ones", one_line(wanted, 64)));
        }
    }
    offer
}

/// Whether an entry of `mcps` is about a definition: by the server's own name, or by the name that would be made of it.
fn is_for(entry: &ToolSpec, definition: &Definition, name: &ToolName) -> bool {
    match &entry.upstream_name {
        Some(upstream) => *upstream == definition.name,
        None => entry.name.as_str() == definition.name || entry.name == *name,
    }
}

/// What the server says of the tool, under our name, with what the manifest adds. The words before a model are the approved ones.
fn spec(definition: &Definition, name: &ToolName, entry: Option<&ToolSpec>) -> ToolSpec {
    let hints = definition.annotations.as_ref();
    let described = definition.description.clone().filter(|text| !text.trim().is_empty());
    let fallback = || entry.map_or_else(|| definition.name.clone(), |entry| entry.description.clone());
    ToolSpec {
        name: entry.map_or_else(|| name.clone(), |entry| entry.name.clone()),
        title: entry.and_then(|entry| entry.title.clone()).or_else(|| title(definition)),
        description: described.unwrap_or_else(fallback),
        module_path: None,
        class_name: None,
        function: None,
        script: None,
        upstream_name: Some(definition.name.clone()),
        args_schema: Some(definition.input_schema.clone()),
        output_schema: definition.output_schema.clone(),
        capabilities: entry.map(|entry| entry.capabilities.clone()).unwrap_or_default(),
        annotations: annotations(hints),
        examples: entry.map(|entry| entry.examples.clone()).unwrap_or_default(),
        langchain_compatible: entry.is_none_or(|entry| entry.langchain_compatible),
        sequential_thinking_enabled: false,
        complexity_threshold: 0,
    }
}

fn title(definition: &Definition) -> Option<String> {
    let beside = definition.annotations.as_ref().and_then(|hints| hints.get("title")).and_then(Value::as_str);
    definition.title.as_deref().or(beside).map(str::to_owned)
}

/// Claims of the server; what it leaves out has the protocol's cautious default.
fn annotations(hints: Option<&Map<String, Value>>) -> Annotations {
    let hint = |key: &str, default: bool| hints.and_then(|hints| hints.get(key)).and_then(Value::as_bool).unwrap_or(default);
    let read_only = hint("readOnlyHint", false);
    Annotations {
        read_only,
        destructive: hint("destructiveHint", true) && !read_only,
        idempotent: hint("idempotentHint", false),
        open_world: hint("openWorldHint", true),
    }
}

/// A name of ours for each of a server's names. Depends on the names alone, not on their order: one that is a tool name already keeps it,
/// others are spelled in words, and where that is too long or taken, the end is a digest of the server's name.
fn tool_names<'a>(upstream: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, ToolName> {
    let upstream: BTreeSet<&str> = upstream.collect();
    let mut names = BTreeMap::new();
    let mut taken: BTreeSet<ToolName> = BTreeSet::new();
    for name in &upstream {
        if let Ok(own) = ToolName::parse(name) {
            taken.insert(own.clone());
            names.insert(*name, own);
        }
    }
    // Names that would be spelled alike all get a digest: which of them came first must not matter.
    let mut spelled: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in upstream.iter().filter(|name| ToolName::parse(name).is_err()) {
        spelled.entry(in_words(name)).or_default().push(name);
    }
    for (words, alike) in spelled {
        for name in &alike {
            let plain = ToolName::parse(&words).ok().filter(|own| alike.len() == 1 && !taken.contains(own));
            let own = plain.or_else(|| ToolName::parse(&with_digest(&words, name)).ok());
            if let Some(own) = own {
                taken.insert(own.clone());
                names.insert(*name, own);
            }
        }
    }
    names
}

/// `getUserByID.v2` becomes `get_user_by_id_v2`.
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let next_is_small = letters.peek().is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_alphanumeric() {
            let starts = letter.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && next_is_small));
            if starts && !words.ends_with('_') {
                words.push('_');
            }
            words.push(letter.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('_') {
            words.push('_');
        }
        before = letter;
    }
    let words = words.trim_matches('_');
    if words.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        words.to_owned()
    } else {
        format!("tool_{words}").trim_end_matches('_').to_owned()
    }
}

fn with_digest(words: &str, name: &str) -> String {
    const DIGITS: usize = 6;
    let digest = Digest::of([name.as_bytes()]);
    let end = digest.short().get(..DIGITS).unwrap_or_default().to_owned();
    let room = ToolName::LIMIT - DIGITS - 1;
    let head = words.get(..room.min(words.len())).unwrap_or_default().trim_end_matches(['_', '-']);
    format!("{head}_{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(upstream: &[&str]) -> Vec<String> {
        let names = tool_names(upstream.iter().copied());
        upstream.iter().map(|name| names.get(name).map_or_else(|| "(none)".to_owned(), ToString::to_string)).collect()
    }

    #[test]
    fn names_are_spelled_in_words_and_do_not_depend_on_their_order() {
        let pairs = [
            ("read_file", "read_file"),
            ("readTextFile", "read_text_file"),
            ("getUserByID.v2", "get_user_by_id_v2"),
            ("HTMLParser", "html_parser"),
            ("2fa", "tool_2fa"),
            ("a__b", "a_b"),
            ("browser/open-tab", "browser_open_tab"),
        ];
        let (upstream, expected): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        assert_eq!(named(&upstream), expected);
        let back: Vec<&str> = upstream.iter().rev().copied().collect();
        assert_eq!(named(&back), expected.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn every_name_gets_one_and_no_two_the_same() {
        let long = "a_name_of_a_tool_that_is_far_too_long_to_be_served_as_it_is";
        let upstream = ["getUser", "get_user", "GetUser", "get.user", long, "ärger", "工具", "…", ""];
        let names = named(&upstream);
        assert_eq!(names[1], "get_user");
        assert!(names[4].starts_with("a_name_of_a_tool_that_is_"), "{names:?}");
        let unique: BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| ToolName::parse(name).is_ok()), "{names:?}");
    }
}
