//! `pegboard approve`: what an upstream server defines now beside what was approved of it, and the operator's yes.

use std::sync::Arc;

use clap::Args;
use policy::{Approval, Definition, Plugin, Review, flags};
use serde_json::json;

use super::{
    asking::{self, Question},
    shelf::{self, Found},
};
use crate::{
    args::Shelf,
    failure::{Failure, Outcome, nearest},
    operator::{approved, grants, secrets},
    output::{Output, Tone},
    settings::Settings,
    upstream::{
        admit::{self, not_served},
        observed::{self, Observed},
        show,
    },
};

/// Approve the tools of an upstream MCP server as they are defined now
///
/// A tool whose definition changed, or that is new, is neither listed nor found nor called until it is approved. Shows each difference and what is
/// flagged in it, and asks. Compares with what a running Pegboard saw last; asks the server itself when there is nothing or with --refresh.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard approve files                 all that is new or changed\n  \
                             pegboard approve files write_file      one tool, by the server's name for it\n  \
                             pegboard approve files --refresh       asks the server first")]
pub(crate) struct Approve {
    /// Name of the plugin
    plugin: String,
    /// One tool, as the server calls it; without it, all
    tool: Option<String>,
    /// Ask the server what it offers now
    #[arg(long)]
    refresh: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    shelf: Shelf,
}

const QUESTION: Question = Question {
    ask: "Approve?",
    unconfirmed: "approve.unconfirmed",
    declined: "approve.declined",
    nothing: "nothing was approved",
};

impl Approve {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let found = shelf::load(settings, &self.shelf)?;
        let entry = found.entry(&self.plugin)?;
        let plugin = &entry.plugin;
        if plugin.manifest.mcp.is_none() {
            return Err(Failure::usage("approve.not_upstream", format!("plugin `{}` is no upstream MCP server", self.plugin))
                .hint("its tools are in its manifest; pegboard grant gives it what it asks for"));
        }
        let (now, beside) = self.observed(settings, &found, plugin)?;
        let approval = approved::of(&settings.places, plugin)?;
        let review = narrowed(approval.review(&now.tools), self.tool.as_deref(), &approval, &now.tools)?;
        let names = admit::other_tools(&found, plugin.manifest.name.as_str());
        let others: Vec<&str> = names.iter().map(String::as_str).collect();
        let restless: Vec<&String> = now.tripped.iter().filter(|name| review.unchanged.contains(name)).collect();
        let nothing = review.changed.is_empty() && review.new.is_empty() && review.gone.is_empty() && restless.is_empty();
        if !nothing {
            let back = "is as approved again, and was seen defined otherwise in between";
            let restless: String = restless.iter().map(|name| format!("  {} {back}\n", crate::clean::line(name))).collect();
            let text = format!("{}{restless}{beside}", render(&output.plain(), plugin, &review, &others));
            asking::confirm(output, self.yes, &text, &QUESTION)?;
            // Before the approval, which is what a running server hears of.
            observed::keep(&settings.places, &plugin.manifest.name, &now)?;
            approved::write(&settings.places, &after(approval, &review, &now.tools))?;
        }
        let mut document = show::review_document(&review, &others);
        if let Some(map) = document.as_object_mut() {
            map.insert("plugin".to_owned(), json!(plugin.manifest.name.as_str()));
            map.insert("refused".to_owned(), json!(now.refused));
            map.insert("approved".to_owned(), json!(review.changed.len() + review.new.len()));
        }
        output.show(&document, |_| match (nothing, review.changed.len() + review.new.len()) {
            (true, _) => format!("all {} tools of `{}` are as approved", review.unchanged.len(), plugin.manifest.name),
            (false, count) => format!("approved {count} of the tools of `{}`", plugin.manifest.name),
        })
    }

    /// What the server offers, and a line about what it offers beside tools.
    fn observed(&self, settings: &Settings, found: &Found, plugin: &Arc<Plugin>) -> Outcome<(Observed, String)> {
        let last = observed::last(&settings.places, plugin)?;
        let tripped = match last {
            Some(last) if !self.refresh => return Ok((last, String::new())),
            last => last.map(|last| last.tripped).unwrap_or_default(),
        };
        let values = secrets::values(&settings.places, &plugin.manifest)?;
        let allowed = observed::allowed(plugin, &grants::read(&settings.places)?, &values, found.reached)?;
        let inspection = observed::inspect(settings, found.reached, plugin, allowed)?;
        observed::remember(&settings.places, &plugin.manifest.name, &inspection)?;
        let beside = not_served(inspection.prompts.len(), inspection.resources.len());
        let server = Some(Approval::none(plugin).server);
        Ok((Observed { tools: inspection.tools, refused: inspection.refused, tripped, server }, beside))
    }
}

/// The review of one tool alone.
fn narrowed(mut review: Review, tool: Option<&str>, approval: &Approval, now: &[Definition]) -> Outcome<Review> {
    let Some(tool) = tool else { return Ok(review) };
    let known = approval.tools.iter().chain(now).map(|definition| definition.name.as_str());
    if !known.clone().any(|name| name == tool) {
        return Err(Failure::not_found("tool.not_found", format!("the server of `{}` has no tool `{tool}`", approval.plugin))
            .maybe_hint(nearest(tool, known)));
    }
    review.unchanged.retain(|name| name == tool);
    review.changed.retain(|change| change.now.name == tool);
    review.new.retain(|definition| definition.name == tool);
    review.gone.retain(|name| name == tool);
    Ok(review)
}

/// The approval with what the review holds taken over, in the server's order. What the review leaves out stays as it was approved.
fn after(approval: Approval, review: &Review, now: &[Definition]) -> Approval {
    let changed = |name: &str| review.changed.iter().find(|change| change.now.name == name).map(|change| &change.now);
    let mut tools: Vec<Definition> = approval
        .tools
        .iter()
        .filter(|tool| !review.gone.contains(&tool.name))
        .map(|tool| changed(&tool.name).unwrap_or(tool).clone())
        .chain(review.new.iter().cloned())
        .collect();
    let place = |tool: &Definition| now.iter().position(|other| other.name == tool.name).unwrap_or(usize::MAX);
    tools.sort_by_key(place);
    Approval { tools, ..approval }
}

fn render(output: &Output, plugin: &Plugin, review: &Review, others: &[&str]) -> String {
    let name = plugin.manifest.name.as_str();
    let mut text = format!(
        "{}: {} changed, {} new, {} gone, {} as approved\n",
        output.paint(Tone::Strong, name),
        review.changed.len(),
        review.new.len(),
        review.gone.len(),
        review.unchanged.len()
    );
    text.extend(review.changed.iter().map(|change| show::change(output, change, others)));
    text.extend(review.new.iter().map(|definition| format!("  new\n{}", show::tool(output, definition, others))));
    text.extend(review.gone.iter().map(|gone| format!("  {} is not offered any more\n", crate::clean::line(gone))));
    let shown = review.changed.iter().map(|change| &change.now).chain(&review.new);
    let count: usize = shown.map(|definition| flags(definition, others).len()).sum();
    if count > 0 {
        text.push_str(&show::about_flags(count));
    }
    text
}
