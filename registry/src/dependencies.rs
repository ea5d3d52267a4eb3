//! Which plugins need which: what to install so that every need is met, why that can't be, and who needs a plugin that is to go.
//!
//! Pure: what can be had and what is there is passed in. Chosen by `pubgrub`, which explains in sentences why there is no solution. Packages of
//! other kinds (`source: pypi`) are the executors'.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use manifest_schema::{CoreVersionError, DependencySource, Manifest, PluginName};
use pubgrub::{
    DefaultStringReporter, Dependencies, DependencyProvider, PackageResolutionStatistics, PubGrubError, Ranges, Reporter as _,
};
use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

/// More plugins than this are not resolved at once.
pub const MAX_OFFERED: usize = 10_000;
/// Steps after which a search that finds no end is given up.
const MAX_STEPS: usize = 20_000;

/// One need of a plugin, or of whoever installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which plugin.
    pub name: PluginName,
    /// In which versions.
    pub wanted: VersionReq,
    /// It goes without.
    pub optional: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wanted == VersionReq::STAR { write!(f, "{}", self.name) } else { write!(f, "{} {}", self.name, self.wanted) }
    }
}

/// One version of a plugin: there already, or to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: Version,
    /// What it needs.
    pub needs: Vec<Need>,
    /// Oldest Pegboard that runs it.
    pub min_core: Option<Version>,
    /// Newest Pegboard that runs it.
    pub max_core: Option<Version>,
    /// Taken back by its author: only for whoever has it already.
    pub yanked: bool,
}

impl Offer {
    /// What a manifest says.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let plugins = manifest.dependencies.iter().filter(|dependency| dependency.source == DependencySource::Marketplace);
        // Both were parsed with the manifest, so nothing is passed over here.
        let needs = plugins.filter_map(|dependency| {
            let wanted = dependency.version.as_deref().map_or(Ok(VersionReq::STAR), VersionReq::parse).ok()?;
            Some(Need { name: PluginName::parse(&dependency.name).ok()?, wanted, optional: dependency.optional })
        });
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            needs: needs.collect(),
            min_core: manifest.min_core_version.clone(),
            max_core: manifest.max_core_version.clone(),
            yanked: false,
        }
    }

    fn core_fits(&self, core: &Version) -> Result<(), CoreVersionError> {
        if let Some(wanted) = self.min_core.as_ref().filter(|wanted| core < wanted) {
            return Err(CoreVersionError::TooOld { wanted: wanted.clone(), found: core.clone() });
        }
        if let Some(wanted) = self.max_core.as_ref().filter(|wanted| core > wanted) {
            return Err(CoreVersionError::TooNew { wanted: wanted.clone(), found: core.clone() });
        }
        Ok(())
    }
}

/// What there is to choose from.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Every version of every plugin that can be had, those that are there included.
    pub offers: Vec<Offer>,
    /// Versions that are there: kept where they fit, so that installing one plugin updates no other.
    pub kept: BTreeMap<PluginName, Version>,
}

/// What to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One version a plugin, each after those it needs.
    pub offers: Vec<Offer>,
    /// Optional needs that the plan does not meet, with whose they are and why.
    pub left_out: Vec<LeftOut>,
}

/// An optional need that a plan does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Whose need.
    pub by: PluginName,
    /// Which.
    pub need: Need,
    /// The version that the plan has instead; `None` when it has none.
    pub instead: Option<Version>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The needs contradict each other, or can't be met at all.
    #[error("{0}")]
    Conflict(String),
    /// Plugins that need each other: none could be installed first.
    #[error("plugins need each other in a circle: {}", circle(.0))]
    Cycle(Vec<PluginName>),
    /// More than is looked through.
    #[error("there are {found} versions to choose from, at most {MAX_OFFERED} are looked through")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// It took too long.
    #[error("no solution was found in {MAX_STEPS} steps")]
    TooLong,
}

fn circle(path: &[PluginName]) -> String {
    path.iter().map(PluginName::as_str).collect::<Vec<_>>().join(" → ")
}

/// What to have so that these needs and all that follow from them are met on this Pegboard.
///
/// The newest that fits, but for what is kept. Optional needs bring nothing along.
///
/// # Errors
/// Why there is no such set.
pub fn resolve(wanted: &[Need], choice: &Choice, core: &Version) -> Result<Plan, Unresolved> {
    if choice.offers.len() > MAX_OFFERED {
        return Err(Unresolved::TooMany { found: choice.offers.len() });
    }
    let shelf = Shelf::new(wanted, choice, core);
    let chosen = match pubgrub::resolve(&shelf, Package::Wish, Version::new(0, 0, 0)) {
        Ok(chosen) => chosen,
        Err(PubGrubError::NoSolution(mut tree)) => {
            tree.collapse_no_versions();
            let named: BTreeSet<&Package> = tree.packages().into_iter().collect();
            let report = plain(&DefaultStringReporter::report(&tree));
            return Err(Unresolved::Conflict(format!("{report}\n{}", shelf.there_is(&named))));
        }
        Err(_) => return Err(Unresolved::TooLong),
    };
    let offers: BTreeMap<&PluginName, &Offer> = chosen
        .iter()
        .filter_map(|(package, version)| match package {
            Package::Wish => None,
            Package::Plugin(name) => shelf.offer(name, version).map(|offer| (&offer.name, offer)),
        })
        .collect();
    let ordered = ordered(&offers)?;
    let left_out = left_out(&ordered, &offers);
    Ok(Plan { offers: ordered.into_iter().cloned().collect(), left_out })
}

/// Each after what it needs.
fn ordered<'a>(offers: &BTreeMap<&PluginName, &'a Offer>) -> Result<Vec<&'a Offer>, Unresolved> {
    let mut done = BTreeSet::new();
    let mut order = Vec::with_capacity(offers.len());
    for name in offers.keys() {
        visit(name, offers, &mut Vec::new(), &mut done, &mut order)?;
    }
    Ok(order)
}

/// As deep as the longest chain of needs, which [`MAX_OFFERED`] bounds; walked with a list of its own, not the stack.
fn visit<'a>(
    start: &PluginName,
    offers: &BTreeMap<&PluginName, &'a Offer>,
    path: &mut Vec<(&'a Offer, usize)>,
    done: &mut BTreeSet<&'a PluginName>,
    order: &mut Vec<&'a Offer>,
) -> Result<(), Unresolved> {
    let Some(first) = offers.get(start).filter(|offer| !done.contains(&offer.name)) else { return Ok(()) };
    path.push((first, 0));
    while let Some((offer, at)) = path.last_mut() {
        let required = offer.needs.iter().filter(|need| !need.optional).nth(*at);
        *at += 1;
        let Some(need) = required else {
            done.insert(&offer.name);
            order.push(offer);
            path.pop();
            continue;
        };
        if let Some(begin) = path.iter().position(|(offer, _)| offer.name == need.name) {
            let names = path.iter().skip(begin).map(|(offer, _)| offer.name.clone());
            return Err(Unresolved::Cycle(names.chain([need.name.clone()]).collect()));
        }
        if let Some(next) = offers.get(&need.name).filter(|next| !done.contains(&next.name)) {
            path.push((next, 0));
        }
    }
    Ok(())
}

fn left_out(ordered: &[&Offer], offers: &BTreeMap<&PluginName, &Offer>) -> Vec<LeftOut> {
    let unmet = |offer: &&Offer| {
        let needs = offer.needs.iter().filter(|need| need.optional);
        needs
            .filter_map(|need| {
                let instead = offers.get(&need.name).map(|other| other.version.clone());
                let met = instead.as_ref().is_some_and(|version| need.wanted.matches(version));
                (!met).then(|| LeftOut { by: offer.name.clone(), need: need.clone(), instead })
            })
            .collect::<Vec<_>>()
    };
    ordered.iter().flat_map(unmet).collect()
}

/// Who among these needs a plugin, with the need: whom its going would break.
#[must_use]
pub fn dependents<'a>(name: &PluginName, there: &'a [Offer]) -> Vec<(&'a Offer, &'a Need)> {
    let needs = |offer: &'a Offer| {
        offer.needs.iter().filter(move |need| need.name == *name && !need.optional).map(move |need| (offer, need))
    };
    there.iter().filter(|offer| offer.name != *name).flat_map(needs).collect()
}

/// A need that what is there does not meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// The plugin is not there.
    #[error("needs the plugin `{0}`, which is not there")]
    Missing(Need),
    /// Another version is there.
    #[error("needs the plugin `{need}`, and {found} is there")]
    Version {
        /// The need.
        need: Need,
        /// What is there.
        found: Version,
    },
    /// It needs itself, by way of others.
    #[error("plugins need each other in a circle: {}", circle(.0))]
    Cycle(Vec<PluginName>),
}

/// What each of these lacks among them; plugins that lack nothing are not named.
#[must_use]
pub fn unmet(there: &[Offer]) -> BTreeMap<PluginName, Vec<Unmet>> {
    let known: BTreeMap<&PluginName, &Offer> = there.iter().map(|offer| (&offer.name, offer)).collect();
    let mut problems: BTreeMap<PluginName, Vec<Unmet>> = BTreeMap::new();
    for offer in there {
        let lacks = offer.needs.iter().filter(|need| !need.optional).filter_map(|need| match known.get(&need.name) {
            None => Some(Unmet::Missing(need.clone())),
            Some(other) if !need.wanted.matches(&other.version) => {
                Some(Unmet::Version { need: need.clone(), found: other.version.clone() })
            }
            Some(_) => None,
        });
        let lacks: Vec<Unmet> = lacks.collect();
        if !lacks.is_empty() {
            problems.insert(offer.name.clone(), lacks);
        }
    }
    for offer in there {
        // Each by itself, so that every plugin of a circle is named and none beside it.
        if let Err(Unresolved::Cycle(path)) = visit(&offer.name, &known, &mut Vec::new(), &mut BTreeSet::new(), &mut Vec::new())
            && path.first() == Some(&offer.name)
        {
            problems.entry(offer.name.clone()).or_default().push(Unmet::Cycle(path));
        }
    }
    problems
}

/// What `pubgrub` chooses among.
struct Shelf<'a> {
    offers: BTreeMap<&'a PluginName, BTreeMap<&'a Version, &'a Offer>>,
    wanted: &'a [Need],
    kept: &'a BTreeMap<PluginName, Version>,
    core: &'a Version,
    steps: std::cell::Cell<usize>,
}

/// What is chosen: a version of each plugin, and the wish that starts it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Package {
    Wish,
    Plugin(PluginName),
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wish => f.write_str("what is wanted"),
            Self::Plugin(name) => name.fmt(f),
        }
    }
}

/// The search was given up.
#[derive(Debug, thiserror::Error)]
#[error("given up")]
struct GivenUp;

impl<'a> Shelf<'a> {
    fn new(wanted: &'a [Need], choice: &'a Choice, core: &'a Version) -> Self {
        let mut offers: BTreeMap<&PluginName, BTreeMap<&Version, &Offer>> = BTreeMap::new();
        for offer in &choice.offers {
            offers.entry(&offer.name).or_default().insert(&offer.version, offer);
        }
        Self { offers, wanted, kept: &choice.kept, core, steps: std::cell::Cell::new(0) }
    }

    /// What there is of the plugins that an explanation names, the newest first.
    fn there_is(&self, named: &BTreeSet<&Package>) -> String {
        const SHOWN: usize = 5;
        let plugins = named.iter().filter_map(|package| match package {
            Package::Wish => None,
            Package::Plugin(name) => Some(name),
        });
        let lines = plugins.map(|name| match self.offers.get(name) {
            None => format!("there is no plugin `{name}`"),
            Some(versions) => {
                let shown: Vec<String> = versions.keys().rev().take(SHOWN).map(ToString::to_string).collect();
                let more = if versions.len() > SHOWN { " and older ones" } else { "" };
                format!("there is `{name}` {}{more}", shown.join(", "))
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn offer(&self, name: &PluginName, version: &Version) -> Option<&'a Offer> {
        self.offers.get(name)?.get(version).copied()
    }
}

impl DependencyProvider for Shelf<'_> {
    type P = Package;
    type V = Version;
    type VS = Ranges<Version>;
    type M = String;
    type Priority = (u32, std::cmp::Reverse<usize>);
    type Err = GivenUp;

    fn prioritize(&self, package: &Package, range: &Ranges<Version>, statistics: &PackageResolutionStatistics) -> Self::Priority {
        let count = match package {
            Package::Wish => 0,
            Package::Plugin(name) => {
                self.offers.get(name).map_or(0, |versions| versions.keys().filter(|version| range.contains(version)).count())
            }
        };
        // What conflicted most, then what leaves the least choice.
        (statistics.conflict_count(), std::cmp::Reverse(count))
    }

    fn choose_version(&self, package: &Package, range: &Ranges<Version>) -> Result<Option<Version>, GivenUp> {
        let Package::Plugin(name) = package else { return Ok(Some(Version::new(0, 0, 0))) };
        let Some(versions) = self.offers.get(name) else { return Ok(None) };
        let kept = self.kept.get(name).filter(|version| range.contains(version) && versions.contains_key(version));
        let newest = || {
            let fitting = || versions.iter().rev().filter(|(version, _)| range.contains(version));
            // What can't be had is chosen last, and then says why.
            fitting().find(|(_, offer)| !offer.yanked && offer.core_fits(self.core).is_ok()).or_else(|| fitting().next())
        };
        Ok(kept.cloned().or_else(|| newest().map(|(version, _)| (*version).clone())))
    }

    fn get_dependencies(
        &self,
        package: &Package,
        version: &Version,
    ) -> Result<Dependencies<Package, Ranges<Version>, String>, GivenUp> {
        let needs = match package {
            Package::Wish => self.wanted,
            Package::Plugin(name) => {
                let Some(offer) = self.offer(name, version) else {
                    return Ok(Dependencies::Unavailable("it is not there".to_owned()));
                };
                if let Err(problem) = offer.core_fits(self.core) {
                    return Ok(Dependencies::Unavailable(problem.to_string()));
                }
                if offer.yanked && self.kept.get(name) != Some(version) {
                    return Ok(Dependencies::Unavailable("its author took it back".to_owned()));
                }
                &offer.needs
            }
        };
        let mut constraints: BTreeMap<Package, Ranges<Version>> = BTreeMap::new();
        for need in needs.iter().filter(|need| !need.optional) {
            let range = ranges(&need.wanted);
            constraints
                .entry(Package::Plugin(need.name.clone()))
                .and_modify(|known| *known = known.intersection(&range))
                .or_insert(range);
        }
        Ok(Dependencies::Available(constraints.into_iter().collect()))
    }

    fn should_cancel(&self) -> Result<(), GivenUp> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS { Err(GivenUp) } else { Ok(()) }
    }
}

/// The versions that a requirement takes, as ranges. An upper end lies before the first pre-release of what it names, as in semver.
fn ranges(wanted: &VersionReq) -> Ranges<Version> {
    wanted.comparators.iter().map(range).fold(Ranges::full(), |all, one| all.intersection(&one))
}

fn range(comparator: &Comparator) -> Ranges<Version> {
    let Comparator { op, major, minor, patch, pre } = comparator;
    let low = Version {
        major: *major,
        minor: minor.unwrap_or(0),
        patch: patch.unwrap_or(0),
        pre: pre.clone(),
        build: BuildMetadata::EMPTY,
    };
    // One past the last number that is given: `1`, `1.2` and `1.2.3` stand for all that begin so.
    let next_given = match (minor, patch) {
        (None, _) => before(major + 1, 0, 0),
        (Some(minor), None) => before(*major, minor + 1, 0),
        (Some(minor), Some(patch)) => before(*major, *minor, patch + 1),
    };
    let whole = minor.is_some() && patch.is_some();
    match op {
        Op::Exact if whole => Ranges::singleton(low),
        Op::Greater if whole => Ranges::strictly_higher_than(low),
        Op::Greater => Ranges::higher_than(next_given),
        Op::GreaterEq => Ranges::higher_than(low),
        Op::Less if whole => Ranges::strictly_lower_than(low),
        Op::Less => Ranges::strictly_lower_than(before(low.major, low.minor, low.patch)),
        Op::LessEq if whole => Ranges::lower_than(low),
        Op::LessEq => Ranges::strictly_lower_than(next_given),
        Op::Tilde if whole => Ranges::between(low.clone(), before(low.major, low.minor + 1, 0)),
        Op::Caret => caret(&low, *minor, *patch),
        // `1.*`, `~1.2` and `=1.2`.
        _ => Ranges::between(low, next_given),
    }
}

/// Up to the next version that may break: the first number that is not zero counts.
fn caret(low: &Version, minor: Option<u64>, patch: Option<u64>) -> Ranges<Version> {
    let high = match (low.major, minor, patch) {
        (0, Some(0), Some(patch)) => before(0, 0, patch + 1),
        (0, Some(minor), _) if minor > 0 || patch.is_none() => before(0, minor + 1, 0),
        (major, ..) => before(major + 1, 0, 0),
    };
    Ranges::between(low.clone(), high)
}

/// Just before a version and its pre-releases.
fn before(major: u64, minor: u64, patch: u64) -> Version {
    let pre = Prerelease::new("0").unwrap_or(Prerelease::EMPTY);
    Version { major, minor, patch, pre, build: BuildMetadata::EMPTY }
}

/// The explanation as a person would say it: without the version of the wish, and without the end of an upper bound.
fn plain(report: &str) -> String {
    let mut text = report.replace("what is wanted ==0.0.0", "what is wanted").replace("what is wanted 0.0.0", "what is wanted");
    for end in [" ", ",", ".", "\n"] {
        text = text.replace(&format!("-0{end}"), end);
    }
    text.strip_suffix("-0").unwrap_or(&text).to_owned()
}
