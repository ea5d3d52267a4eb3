//! Tools and requests to measure with: a folder of anyone's, or what is installed, asked for with the examples of its manifests.

use std::path::Path;

use index::eval::{Dataset, EvalError, Judged};
use server::{Catalog, Described, PromptCost, prompt_cost, prompt_cost_of};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// What is measured.
pub(crate) struct Source {
    pub(crate) set: Dataset,
    /// What the lists of these tools cost a prompt.
    pub(crate) cost: PromptCost,
    /// The requests are examples that the tools' own texts hold: each must be searched without itself.
    pub(crate) examples: bool,
}

/// `tools.jsonl` and `queries.jsonl` of a folder.
pub(crate) fn of_folder(folder: &Path) -> Outcome<Source> {
    let set = Dataset::read(folder).map_err(|error| refused(&error))?;
    let described: Vec<Described<'_>> = set
        .tools
        .iter()
        .map(|tool| Described {
            name: &tool.name,
            plugin: &tool.plugin,
            category: tool.category.as_deref(),
            description: &tool.description,
            input_schema: tool.args_schema.as_ref(),
        })
        .collect();
    let cost = prompt_cost(&described);
    Ok(Source { set, cost, examples: false })
}

/// The served tools; each example of a manifest is a request whose answer is its tool.
pub(crate) fn installed(catalog: &Catalog) -> Outcome<Source> {
    let tools = server::documents(catalog);
    let mut queries: Vec<Judged> = Vec::new();
    for tool in &tools {
        for (at, example) in tool.examples.iter().enumerate() {
            // Tools that give the same example are all right answers to it.
            if let Some(known) = queries.iter_mut().find(|known| known.query == *example) {
                known.relevant.push(tool.id.clone());
                known.matching = index::eval::Matching::Any;
                continue;
            }
            let id = format!("{}/{at}", tool.id);
            queries.push(Judged { id, query: example.clone(), relevant: vec![tool.id.clone()], ..Judged::default() });
        }
    }
    if queries.is_empty() {
        return Err(Failure::not_found("eval.no_examples", format!("none of the {} served tools has an example", tools.len()))
            .hint("add `examples` to the tools in plugin.yaml, or give a folder with tools.jsonl and queries.jsonl"));
    }
    Ok(Source { set: Dataset { tools, queries }, cost: prompt_cost_of(catalog), examples: true })
}

/// A file that cannot be used.
pub(crate) fn refused(error: &EvalError) -> Failure {
    match error {
        EvalError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::not_found("eval.not_found", format!("{error}: {source}"))
                .hint("a folder holds tools.jsonl and queries.jsonl; docs/reference/eval.md says what is in them")
        }
        EvalError::Unreadable { source, .. } => Failure::new(Exit::Internal, "file", format!("{error}: {source}")),
        EvalError::TooLarge { .. } | EvalError::Line { .. } => {
            Failure::usage("eval.invalid", error.to_string()).hint("docs/reference/eval.md says what a line holds")
        }
    }
}
