//! How tools of an upstream server, what is flagged in them and what changed is shown: to people as text, to machines as JSON.

use policy::{Change, Definition, Flag, Review, flag_rule, flags};
use serde_json::{Value, json};

use crate::{
    clean,
    output::{Output, Tone},
};

/// The most characters of a value of a difference that people are shown.
const MOST_SHOWN: usize = 400;

/// About what a definition costs a model in a list: four characters a token, with what surrounds it there.
pub(crate) fn tokens(definitions: &[Definition]) -> usize {
    let length = |definition: &Definition| serde_json::to_string(definition).map_or(0, |text| text.chars().count());
    definitions.iter().map(length).sum::<usize>() / 4
}

/// A number with its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A tool as it is offered for approval.
pub(crate) fn tool(output: &Output, definition: &Definition, others: &[&str]) -> String {
    let description = clean::line(definition.description.as_deref().unwrap_or_default());
    let short: String = description.chars().take(160).collect();
    let dots = if short.len() < description.len() { "…" } else { "" };
    let name = output.paint(Tone::Strong, &clean::line(&definition.name));
    format!("  {name}  {short}{dots}\n{}", flag_lines(output, &flags(definition, others)))
}

fn flag_lines(output: &Output, found: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let id = output.paint(Tone::Care, flag.id);
        format!("    {id} {} {}: {}\n", flag_rule(flag.id), clean::line(&flag.place), clean::line(&flag.excerpt))
    };
    found.iter().map(line).collect()
}

/// What is under a list with flags, so that nobody takes their absence for a proof.
pub(crate) fn about_flags(count: usize) -> String {
    let flags = counted(count, "flag");
    format!("{flags}; flags inform, they are no proof: a text can steer a model in words that no rule knows\n")
}

/// A tool for machines.
pub(crate) fn tool_document(definition: &Definition, others: &[&str]) -> Value {
    json!({"name": definition.name, "description": definition.description, "digest": definition.digest().as_str(), "flags": flags(definition, others)})
}

/// A changed tool for people: each place, before and after.
pub(crate) fn change(output: &Output, change: &Change, others: &[&str]) -> String {
    let mut text = format!("  {} changed\n", output.paint(Tone::Strong, &clean::line(&change.was.name)));
    for difference in change.differences() {
        text.push_str(&format!("    {}\n", clean::line(&difference.path)));
        for (mark, tone, value) in [("-", Tone::Bad, &difference.was), ("+", Tone::Good, &difference.now)] {
            if let Some(value) = value {
                text.push_str(&format!("      {}\n", output.paint(tone, &format!("{mark} {}", shortened(value)))));
            }
        }
    }
    text + &flag_lines(output, &flags(&change.now, others))
}

/// One line of a value; text without its quotes.
fn shortened(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = clean::line(&text);
    let short: String = line.chars().take(MOST_SHOWN).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}

/// A review for machines.
pub(crate) fn review_document(review: &Review, others: &[&str]) -> Value {
    json!({
        "unchanged": review.unchanged,
        "changed": review.changed.iter().map(|change| json!({
            "name": change.was.name, "differences": change.differences(), "flags": flags(&change.now, others),
        })).collect::<Vec<_>>(),
        "new": review.new.iter().map(|definition| tool_document(definition, others)).collect::<Vec<_>>(),
        "gone": review.gone,
    })
}
