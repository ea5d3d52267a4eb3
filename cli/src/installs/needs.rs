//! What a plugin needs of other plugins: what an index has to bring along, what is lacking, and whom an uninstall would break.
//!
//! The choosing itself, and the sentences that explain why there is nothing to choose, are in `registry::dependencies`.

use std::collections::{BTreeMap, BTreeSet};

use manifest_schema::{Manifest, PluginName};
use registry::{
    Lockfile, Store,
    dependencies::{self, Choice as Offers, Need, Offer},
};
use semver::{Version, VersionReq};

use super::{
    fetch::Choice,
    index::{Index, Offered},
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// More plugins than this are not asked for while one is installed.
const MAX_NAMES: usize = 200;

/// What is installed and served, as far as other plugins may need it.
pub(crate) fn installed(store: &Store, lockfile: &Lockfile) -> Vec<Offer> {
    let manifest = |entry: &registry::Entry| {
        let bytes = std::fs::read(store.root(entry.release.digest).join(registry::MANIFEST)).ok()?;
        manifest_schema::parse_bytes(registry::MANIFEST, &bytes).ok()
    };
    lockfile.entries().filter_map(manifest).map(|manifest| Offer::of(&manifest)).collect()
}

/// What a plugin would lack beside those.
pub(crate) fn lacking(manifest: &Manifest, there: &[Offer]) -> Vec<String> {
    let others = there.iter().filter(|offer| offer.name != manifest.name).cloned();
    let all: Vec<Offer> = others.chain([Offer::of(manifest)]).collect();
    let unmet = dependencies::unmet(&all).remove(&manifest.name).unwrap_or_default();
    unmet.iter().map(|unmet| format!("{} {unmet}; it is not served until that is mended", manifest.name)).collect()
}

/// Who has what it needs now and would not beside this release.
pub(crate) fn broken_by(manifest: &Manifest, there: &[Offer]) -> Vec<String> {
    let before = dependencies::unmet(there);
    let others = there.iter().filter(|offer| offer.name != manifest.name).cloned();
    let all: Vec<Offer> = others.chain([Offer::of(manifest)]).collect();
    let mut after = dependencies::unmet(&all);
    after.retain(|name, _| *name != manifest.name && !before.contains_key(name));
    let lines = after.iter().flat_map(|(name, unmet)| unmet.iter().map(move |unmet| format!("{name} {unmet}")));
    lines.map(|line| format!("{line}; it is not served until that is mended")).collect()
}

/// Whom the going of a plugin would break, with what they need.
pub(crate) fn dependents(name: &PluginName, there: &[Offer]) -> Vec<String> {
    dependencies::dependents(name, there).into_iter().map(|(offer, need)| format!("{} (needs {need})", offer.name)).collect()
}

/// In which versions those who are there need a plugin, and who they are.
pub(crate) fn asked_of(name: &PluginName, there: &[Offer]) -> (VersionReq, Vec<String>) {
    let needs = dependencies::dependents(name, there);
    let comparators = needs.iter().flat_map(|(_, need)| need.wanted.comparators.clone()).collect();
    (VersionReq { comparators }, needs.into_iter().map(|(offer, need)| format!("{} needs {need}", offer.name)).collect())
}

/// Plugins that are there, have what they need, and need one of those that may come along in another version: none of them is to lose it.
fn touched(name: &PluginName, there: &[Offer], asked: &BTreeSet<PluginName>, ours: &Version) -> Vec<Need> {
    let unmet = dependencies::unmet(there);
    let runs = |offer: &Offer| {
        offer.min_core.as_ref().is_none_or(|least| least <= ours) && offer.max_core.as_ref().is_none_or(|most| most >= ours)
    };
    let fits = |offer: &&Offer| {
        offer.name != *name
            && !unmet.contains_key(&offer.name)
            && runs(offer)
            && offer.needs.iter().any(|need| !need.optional && asked.contains(&need.name))
    };
    let need = |offer: &Offer| Need { name: offer.name.clone(), wanted: VersionReq::STAR, optional: false };
    there.iter().filter(fits).map(need).collect()
}

/// Releases by name and version.
type Known = BTreeMap<(PluginName, Version), Offered>;

/// The releases that a release needs and that are not there yet, each after those that it needs itself.
pub(crate) fn plan(
    index: &Index,
    release: (&PluginName, &Offered),
    choice: &Choice,
    there: Vec<Offer>,
) -> Outcome<Vec<(PluginName, Offered)>> {
    let (name, offered) = release;
    let (mut known, asked) = gather(index, release, choice)?;
    let ours = Version::parse(env!("CARGO_PKG_VERSION")).map_err(|error| anyhow::anyhow!("{error}"))?;
    let wanted = VersionReq::parse(&format!("={}", offered.version)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut wishes = vec![Need { name: name.clone(), wanted, optional: false }];
    wishes.extend(touched(name, &there, &asked, &ours));
    let kept: BTreeMap<PluginName, Version> =
        there.iter().filter(|offer| offer.name != *name).map(|offer| (offer.name.clone(), offer.version.clone())).collect();
    let mut offers: Vec<Offer> = known.iter().map(|((name, _), offered)| offered.offer(name)).collect();
    let beside = there.into_iter().filter(|offer| !known.contains_key(&(offer.name.clone(), offer.version.clone())));
    offers.extend(beside.filter(|offer| offer.name != *name));
    // Who needs the plugin itself in another version is told of, and is no reason not to have what was asked for by name.
    for offer in offers.iter_mut().filter(|offer| kept.contains_key(&offer.name)) {
        offer.needs.retain(|need| need.name != *name || need.wanted.matches(&offered.version));
    }
    let plan = dependencies::resolve(&wishes, &Offers { offers, kept: kept.clone() }, &ours).map_err(|error| {
        Failure::new(Exit::NotFound, "install.needs", format!("what {name} {} needs can't be had: {error}", offered.version))
            .hint("nothing was installed")
    })?;
    let fresh = plan.offers.into_iter().filter(|offer| kept.get(&offer.name) != Some(&offer.version));
    Ok(fresh.filter_map(|offer| Some((offer.name.clone(), known.remove(&(offer.name, offer.version))?))).collect())
}

/// Every release of every plugin that may come along, and their names.
fn gather(index: &Index, (name, offered): (&PluginName, &Offered), choice: &Choice) -> Outcome<(Known, BTreeSet<PluginName>)> {
    let mut known = Known::new();
    let mut asked = BTreeSet::from([name.clone()]);
    let mut queue: Vec<PluginName> = Vec::new();
    let note = |offered: &Offered, queue: &mut Vec<PluginName>, asked: &mut BTreeSet<PluginName>| {
        let names = offered.needs.iter().filter(|need| !need.optional).filter_map(|need| PluginName::parse(&need.name).ok());
        queue.extend(names.filter(|name| asked.insert(name.clone())));
    };
    note(offered, &mut queue, &mut asked);
    known.insert((name.clone(), offered.version.clone()), offered.clone());
    while let Some(next) = queue.pop() {
        if asked.len() > MAX_NAMES {
            return Err(super::invalid("install.needs", format!("{name} needs more than {MAX_NAMES} plugins")));
        }
        // One that the index lacks may be there already; if it is not, the explanation says so.
        let Ok(releases) = index.releases(&next) else { continue };
        for offered in releases.offered(choice.channel) {
            note(offered, &mut queue, &mut asked);
            known.insert((next.clone(), offered.version.clone()), offered.clone());
        }
    }
    Ok((known, asked))
}
