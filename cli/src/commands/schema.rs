//! `pegboard schema`: the JSON Schema of plugin.yaml, for editors.

use clap::Args;

use crate::{failure::Outcome, output::Output};

/// Print the JSON Schema of plugin.yaml
///
/// Editors complete and check manifests with it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard schema > plugin.schema.json\n\n  \
                             Then, as the first line of a plugin.yaml:\n  # yaml-language-server: $schema=../plugin.schema.json")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(&self, output: &Output) -> Outcome {
        output.document(&manifest_schema::json_schema())
    }
}
