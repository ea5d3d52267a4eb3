//! What is kept away of an upstream server's tools, with what differs: for `list` and `info`. The decision is the server's catalog's.

use policy::{Change, Review};
use serde_json::{Value, json};
use server::PluginEntry;

use super::{observed, show};
use crate::{failure::Outcome, operator::approved, output::Output, settings::Places};

/// The tools that are kept away, compared with what was approved.
pub(crate) struct Quarantine<'e> {
    entry: &'e PluginEntry,
    review: Review,
}

/// Looks at one plugin; `None` where nothing is kept away.
pub(crate) fn of<'e>(places: &Places, entry: &'e PluginEntry) -> Outcome<Option<Quarantine<'e>>> {
    if entry.quarantined.is_empty() {
        return Ok(None);
    }
    let now = observed::last(places, &entry.plugin)?.unwrap_or_default();
    let review = approved::of(places, &entry.plugin)?.review(&now.tools);
    Ok(Some(Quarantine { entry, review }))
}

impl Quarantine<'_> {
    fn change(&self, name: &str) -> Option<&Change> {
        self.review.changed.iter().find(|change| change.was.name == name)
    }

    /// For machines.
    pub(crate) fn document(&self) -> Value {
        let tools = self.entry.quarantined.iter().map(|tool| {
            let differences = self.change(&tool.name).map(Change::differences).unwrap_or_default();
            let new = self.review.new.iter().find(|new| new.name == tool.name);
            json!({"name": tool.name, "reason": tool.reason, "differences": differences, "definition": new})
        });
        Value::Array(tools.collect())
    }

    /// For people: each changed tool with its differences, each new one with what it says.
    pub(crate) fn render(&self, output: &Output) -> String {
        let mut text = String::new();
        for tool in &self.entry.quarantined {
            if let Some(change) = self.change(&tool.name) {
                text.push_str(&show::change(output, change, &[]));
            } else if let Some(new) = self.review.new.iter().find(|new| new.name == tool.name) {
                text.push_str(&show::tool(output, new, &[]));
            } else {
                text.push_str(&format!("  {}: {}\n", crate::clean::line(&tool.name), tool.reason));
            }
        }
        format!("{text}    pegboard approve {}\n", self.entry.name())
    }
}
