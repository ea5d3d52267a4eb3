//! What plugins mean for each other: names that can't stand side by side, and needs that nothing here meets. Each concerns its plugin alone.

use std::{collections::HashMap, sync::Arc};

use manifest_schema::Status;
use policy::{Plugin, Source};
use registry::{
    dependencies::{self, Offer},
    names::{self, Standing},
};

use super::Availability;

/// Plugins that can't be served because of others, by name.
#[derive(Debug, Default)]
pub(super) struct Neighbours(HashMap<String, Availability>);

impl Neighbours {
    /// `is_away` says of which plugins nothing is served, whatever their neighbours are.
    pub(super) fn of(plugins: &[(Arc<Plugin>, Vec<String>)], is_away: impl Fn(&Plugin) -> bool) -> Self {
        let standing = |plugin: &Plugin| match plugin.source {
            Source::Bundled => Standing::FirstParty,
            Source::Folder(_) => Standing::Named,
            Source::Store => Standing::Installed,
        };
        let named = plugins.iter().map(|(plugin, _)| (plugin.manifest.name.as_str(), standing(plugin)));
        let refused = names::settle(named);
        let there = |plugin: &Plugin| {
            let manifest = &plugin.manifest;
            manifest.status != Status::Disabled && !refused.contains_key(manifest.name.as_str()) && !is_away(plugin)
        };
        let offers: Vec<Offer> =
            plugins.iter().filter(|(plugin, _)| there(plugin)).map(|(plugin, _)| Offer::of(&plugin.manifest)).collect();
        let needs = dependencies::unmet(&offers).into_iter().map(|(name, problems)| {
            let problems = problems.iter().map(ToString::to_string).collect();
            (name.to_string(), Availability::Lacking { problems })
        });
        let names =
            refused.iter().map(|(name, problem)| ((*name).to_owned(), Availability::NameRefused { reason: problem.to_string() }));
        Self(needs.chain(names).collect())
    }

    pub(super) fn availability(&self, plugin: &str) -> Option<Availability> {
        self.0.get(plugin).cloned()
    }
}
