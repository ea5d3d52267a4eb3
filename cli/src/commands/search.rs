//! `pegboard search`: the server's own search, from the terminal.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use server::{Availability, Caller, Detail, Filters, Host, SearchRequest};

use super::host;
use crate::{
    args::Shelf,
    failure::{Failure, Outcome},
    output::{Cell, Output, Tone},
    settings::Settings,
};

/// How long a model may read before it is told why nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// Find tools by what they do
///
/// The same search that a model has through `search_tools`: words and, where an embedder is installed, meaning. Only served tools are found.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  pegboard search how many words are in this text\n  pegboard search 'currency' --limit 3 --json"
)]
pub(crate) struct Search {
    /// What you want to do, in your own words
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,
    /// The most tools to show, 1 to 50
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=50))]
    limit: u8,
    /// Only tools of this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Only tools of plugins of this category
    #[arg(long)]
    category: Option<String>,
    /// Only tools with this capability
    #[arg(long)]
    capability: Option<String>,
    /// Only tools of plugins that run by this, such as python or mcp
    #[arg(long)]
    runtime: Option<String>,
    /// Only tools that say they change nothing
    #[arg(long)]
    read_only: bool,
    /// Leave out what scores less, 0 to 1; relative to the best
    #[arg(long, value_name = "SCORE", default_value_t = 0.0, value_parser = score)]
    min_score: f32,
    #[command(flatten)]
    shelf: Shelf,
}

impl Search {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let query = self.query.join(" ");
        if query.trim().is_empty() {
            return Err(Failure::usage("search.empty", "the query is empty"));
        }
        let mut told = host::settings(settings, &self.shelf)?;
        told.frozen = true;
        told.warm = false;
        let executors = host::narrow(settings, |_| false)?.executors;
        let runtime = host::runtime()?;
        let host = host::assemble(&runtime, told, executors)?;
        // Nobody waits for the next search of this process: what a model does not know yet would be found by words alone.
        let request = SearchRequest {
            query: query.clone(),
            limit: usize::from(self.limit),
            detail: if output.json { Detail::Full } else { Detail::Brief },
            filters: Filters {
                plugin: self.plugin.clone(),
                category: self.category.clone(),
                capability: self.capability.clone(),
                runtime: self.runtime.clone(),
                read_only: self.read_only.then_some(true),
                ..Filters::default()
            },
            min_score: self.min_score,
            caller: Caller::local(),
        };
        let reply = runtime.block_on(async {
            if tokio::time::timeout(PATIENCE, host.embedded()).await.is_err() {
                output.note("the model reads the tools, once");
                host.embedded().await;
            }
            host.search(request).await
        });
        runtime.shutdown_background();
        let document = json!({"query": query, "mode": reply.mode.as_str(), "total": reply.total, "tools": reply.tools});
        output.show(&document, |output| {
            if reply.tools.is_empty() {
                let held = withheld(&host);
                let more =
                    if held == 0 { String::new() } else { format!("; {held} plugins are not served, pegboard list says why") };
                return format!("nothing fits among {} tools{more}", reply.total);
            }
            let row = |tool: &server::FoundTool| {
                let description = tool.description.as_deref().unwrap_or_default();
                vec![
                    Cell::toned(Tone::Strong, &tool.name),
                    Cell::toned(Tone::Dim, format!("{:.2}", tool.score)),
                    description.into(),
                ]
            };
            output.table(&["TOOL", "SCORE", "WHAT"], reply.tools.iter().map(row).collect())
        })
    }
}

fn score(word: &str) -> Result<f32, String> {
    let score = word.parse::<f32>().ok().filter(|score| (0.0..=1.0).contains(score));
    score.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn withheld(host: &Host) -> usize {
    let catalog = host.catalog();
    catalog.broken.len() + catalog.plugins.iter().filter(|entry| entry.availability != Availability::Served).count()
}
