//! Which names a plugin may not have: reserved ones, and ones that the eye takes for another plugin's. Pure; what follows is the caller's.
//!
//! The rule of a name leaves ASCII alone (`manifest_schema::PluginName`), so the confusables are a handful and stand here; the tables of UTS #39
//! would add thousands of characters that no name can hold, and miss `rn` for `m` in this direction.

use std::collections::BTreeMap;

/// Words that would be believed: what bears one looks like a part of the host. With a second word after it, `pegboard` is reserved, too.
const RESERVED: [(&str, &str); 16] = [
    ("pegboard", OURS),
    ("builtin", OURS),
    ("bundled", OURS),
    ("core", OURS),
    ("first_party", OURS),
    ("host", OURS),
    ("official", OURS),
    ("system", OURS),
    ("mcp", "it is the protocol's name"),
    ("search_tools", META),
    ("get_tool_details", META),
    ("call_tool", META),
    ("call_read_only_tool", META),
    ("con", DEVICE),
    ("nul", DEVICE),
    ("aux", DEVICE),
];
const OURS: &str = "it would be taken for a part of Pegboard";
const META: &str = "it is a tool of Pegboard's own";
const DEVICE: &str = "it is a device on other systems";

/// Why a plugin can't have its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Nobody may have it.
    #[error("the name `{name}` is reserved: {why}")]
    Reserved {
        /// The name.
        name: String,
        /// Why nobody has it.
        why: &'static str,
    },
    /// It looks like one that is there.
    #[error("the name `{name}` looks like `{other}`, which is there already")]
    LookAlike {
        /// The name.
        name: String,
        /// The one it is taken for.
        other: String,
    },
}

/// What is left of a name when all that the eye confuses is one: names with one skeleton are taken for each other.
///
/// `-` and `_`; `0` and `o`; `1`, `i` and `l`; `5` and `s`; `rn` and `m`; `vv` and `w`; `cl` and `d`.
#[must_use]
pub fn skeleton(name: &str) -> String {
    let single: String = name
        .chars()
        .map(|character| match character {
            '-' => '_',
            '0' => 'o',
            '1' | 'i' => 'l',
            '5' => 's',
            other => other,
        })
        .collect();
    // In this order no replacement makes another pair.
    single.replace("rn", "m").replace("vv", "w").replace("cl", "d")
}

/// Why nobody may have a name; `None` when it is free to have.
#[must_use]
pub fn reserved(name: &str) -> Option<&'static str> {
    let (mine, ours) = (skeleton(name), skeleton("pegboard"));
    if mine.strip_prefix(&ours).is_some_and(|rest| rest.starts_with('_')) {
        return Some(OURS);
    }
    RESERVED.into_iter().find(|(word, _)| skeleton(word) == mine).map(|(_, why)| why)
}

/// Whether a plugin of another source than the program itself may have this name beside the others.
///
/// The very same name is no problem here: it is another version of that plugin, or a question of precedence.
///
/// # Errors
/// The name is reserved, or is taken for one of the others.
pub fn judge<'a>(name: &str, others: impl IntoIterator<Item = &'a str>) -> Result<(), NameProblem> {
    if let Some(why) = reserved(name) {
        return Err(NameProblem::Reserved { name: name.to_owned(), why });
    }
    let mine = skeleton(name);
    let other = others.into_iter().find(|other| *other != name && skeleton(other) == mine);
    other.map_or(Ok(()), |other| Err(NameProblem::LookAlike { name: name.to_owned(), other: other.to_owned() }))
}

/// How much a name's place says about it, for [`settle`]: the greatest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Installed, from whoever.
    Installed,
    /// In a folder that the operator named.
    Named,
    /// Part of the program.
    FirstParty,
}

/// Among names that stand side by side, the ones that can't. Of two that look alike the one with the better standing stays; then the one with
/// fewer digits, since it is the digit that poses as a letter; then the first. The same answer every time, whatever came first.
#[must_use]
pub fn settle<'a>(names: impl IntoIterator<Item = (&'a str, Standing)>) -> BTreeMap<&'a str, NameProblem> {
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).count();
    let mut ordered: Vec<(&str, Standing)> = names.into_iter().collect();
    ordered.sort_by_key(|(name, standing)| (std::cmp::Reverse(*standing), digits(name), *name));
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for (name, standing) in ordered {
        let why = reserved(name).filter(|_| standing != Standing::FirstParty);
        if let Some(why) = why {
            refused.insert(name, NameProblem::Reserved { name: name.to_owned(), why });
            continue;
        }
        match taken.get(&skeleton(name)) {
            Some(other) if *other != name => {
                refused.insert(name, NameProblem::LookAlike { name: name.to_owned(), other: (*other).to_owned() });
            }
            _ => drop(taken.insert(skeleton(name), name)),
        }
    }
    refused
}
