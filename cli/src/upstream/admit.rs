//! From a proposal to a plugin that is served: started once within what it would be allowed, shown, approved, and only then written.

use std::fs;

use executor_mcp::Inspection;
use policy::{Approval, Definition, Grants, Level, flags};
use serde_json::{Value, json};

use super::{observed, shape::Proposal, show};
use crate::{
    commands::{grant, shelf::Found},
    failure::{Failure, Outcome},
    operator::{added, approved, grants, secrets},
    output::Output,
    settings::{Places, Settings},
};

/// What a server turned out to be.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) proposal: Proposal,
    pub(crate) inspection: Inspection,
}

/// Names of the tools that other plugins have: what a hostile text may speak of.
pub(crate) fn other_tools(found: &Found, plugin: &str) -> Vec<String> {
    let others = found.catalog.plugins.iter().filter(|entry| entry.name() != plugin);
    let tools = others.flat_map(|entry| &entry.tools);
    let mut names: Vec<String> =
        tools.flat_map(|tool| [tool.name.as_str().to_owned(), tool.spec.name.as_str().to_owned()]).collect();
    names.sort();
    names.dedup();
    names
}

/// What the plugin will be allowed, in words.
pub(crate) fn consequences(proposal: &Proposal, reached: Level) -> Outcome<String> {
    let preview = preview(proposal)?;
    let mut text = match &proposal.plugin.manifest.mcp {
        Some(server) => match (&server.command, &server.url) {
            (Some(words), _) => format!("runs {}\n", words.join(" ")),
            (_, Some(url)) => format!("speaks to {url}\n"),
            _ => String::new(),
        },
        None => String::new(),
    };
    if !proposal.secrets.is_empty() {
        let names: Vec<&str> = proposal.secrets.keys().map(String::as_str).collect();
        text.push_str(&format!("is handed {} from the secret store\n", names.join(", ")));
    }
    let held = preview.grants.first();
    let empty;
    let held = match held {
        Some(held) => held,
        None => {
            let mut grants = Grants::default();
            empty = grants.set_level(&proposal.plugin, proposal.level.unwrap_or(Level::L1)).clone();
            &empty
        }
    };
    text.push_str(&grant::consequences(&proposal.plugin, held, reached));
    text.extend(proposal.notes.iter().map(|note| format!("note: {note}\n")));
    Ok(text)
}

/// The grants of this plugin alone, as they will be.
fn preview(proposal: &Proposal) -> Outcome<Grants> {
    let mut preview = Grants::default();
    proposal.grant(&mut preview).map_err(|error| Failure::usage("grant.refused", error.to_string()))?;
    for name in proposal.secrets.keys() {
        preview.hand_secret(&proposal.plugin, name).map_err(|error| Failure::usage("secret.not_declared", error.to_string()))?;
    }
    Ok(preview)
}

/// Starts the server once with what it will be allowed, and leaves nothing behind.
pub(crate) fn inspect(settings: &Settings, reached: Level, proposal: Proposal) -> Outcome<Candidate> {
    let allowed = observed::allowed(&proposal.plugin, &preview(&proposal)?, &proposal.secrets, reached)?;
    // The server's own folder is part of its view of the machine, so it must be there; without a manifest it is no plugin.
    let root = &proposal.plugin.root;
    added::make(&settings.places, &proposal.plugin.manifest.name)?;
    let inspection = observed::inspect(settings, reached, &proposal.plugin, allowed);
    // Not empty only when a plugin of the name was written meanwhile.
    let _ = fs::remove_dir(root);
    Ok(Candidate { inspection: inspection?, proposal })
}

impl Candidate {
    /// The tools, what is flagged, and what is not served.
    pub(crate) fn render(&self, output: &Output, others: &[&str]) -> String {
        let Inspection { server, tools, refused, prompts, resources, .. } = &self.inspection;
        let mut text = format!(
            "{} {} offers {}, about {} tokens as a list\n",
            crate::clean::line(&server.name),
            crate::clean::line(&server.version),
            show::counted(tools.len(), "tool"),
            show::tokens(tools)
        );
        text.extend(tools.iter().map(|tool| show::tool(output, tool, others)));
        text.extend(refused.iter().map(|refused| format!("  left out: {}\n", crate::clean::line(refused))));
        text.push_str(&not_served(prompts.len(), resources.len()));
        let count: usize = tools.iter().map(|tool| flags(tool, others).len()).sum();
        if count > 0 {
            text.push_str(&show::about_flags(count));
        }
        text
    }

    /// For machines.
    pub(crate) fn document(&self, others: &[&str]) -> Value {
        let manifest = &self.proposal.plugin.manifest;
        let Inspection { server, protocol, tools, refused, prompts, resources, .. } = &self.inspection;
        json!({
            "plugin": manifest.name.as_str(),
            "server": server,
            "protocol": protocol,
            "mcp": manifest.mcp,
            "powers": self.proposal.powers.iter().map(|(power, scope)| json!({"power": power.as_str(), "scope": scope})).collect::<Vec<_>>(),
            "secrets": self.proposal.secrets.keys().collect::<Vec<_>>(),
            "tools": tools.iter().map(|tool| show::tool_document(tool, others)).collect::<Vec<_>>(),
            "tokens": show::tokens(tools),
            "refused": refused,
            "not_served": {"prompts": prompts.len(), "resources": resources.len()},
            "notes": self.proposal.notes,
        })
    }

    /// Writes everything, the manifest last: a running server finds the plugin whole.
    pub(crate) fn write(&self, places: &Places) -> Outcome {
        let proposal = &self.proposal;
        let plugin = &proposal.plugin;
        approve(places, plugin, self.inspection.tools.clone())?;
        grants::change(places, |grants| {
            proposal.grant(grants).map_err(|error| Failure::usage("grant.refused", error.to_string()))
        })?;
        for (name, value) in &proposal.secrets {
            secrets::set(places, plugin, &secrets::SecretName::parse(name)?, value)?;
        }
        observed::remember(places, &plugin.manifest.name, &self.inspection)?;
        added::write(places, &plugin.manifest.name, &self.versioned())
    }

    /// The manifest with the version that the server says it has, where that is one. Its word goes into a file that says what it may do, so
    /// it is held to the characters of a version first.
    fn versioned(&self) -> String {
        let proposed = &self.proposal.text;
        let said = self.inspection.server.version.trim().trim_start_matches('v');
        let plain = said.len() <= 64 && said.chars().all(|letter| letter.is_ascii_alphanumeric() || ".+-".contains(letter));
        let line = |line: &str| if line.starts_with("version:") { format!("version: \"{said}\"\n") } else { format!("{line}\n") };
        let text: String = proposed.lines().map(line).collect();
        if plain && manifest_schema::parse("plugin.yaml", &text).is_ok() { text } else { proposed.clone() }
    }
}

/// Keeps these definitions as approved.
pub(crate) fn approve(places: &Places, plugin: &policy::Plugin, tools: Vec<Definition>) -> Outcome {
    approved::write(places, &Approval { tools, ..Approval::none(plugin) })
}

/// What the server offers beside tools.
pub(crate) fn not_served(prompts: usize, resources: usize) -> String {
    let parts: Vec<String> = [(prompts, "prompt"), (resources, "resource")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| show::counted(count, what))
        .collect();
    if parts.is_empty() { String::new() } else { format!("  not served yet: {}\n", parts.join(", ")) }
}
