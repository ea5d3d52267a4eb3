//! What the examples have in common: options, and the indexer that they ask for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pegboard_index::{FastEmbedder, Indexer, StaticEmbedder};

/// The shipped table; `--model DIR --onnxruntime FILE [--cache DIR]` takes an ONNX model, `--table FILE` another table,
/// `--lexical` words alone.
pub(crate) fn indexer(arguments: &[String]) -> anyhow::Result<Indexer> {
    if arguments.iter().any(|argument| argument == "--lexical") {
        return Ok(Indexer::lexical()?);
    }
    let path = |name: &str| option(arguments, name).map(PathBuf::from);
    if let (Some(model), Some(runtime)) = (path("--model"), path("--onnxruntime")) {
        let embedder = FastEmbedder::open(&model, &runtime).map_err(|error| anyhow::anyhow!("{error}\nhint: {}", error.hint))?;
        let embedder = embedder.patient(Duration::from_mins(1));
        return Ok(Indexer::hybrid(Arc::new(embedder), path("--cache").as_deref())?);
    }
    let embedder = match path("--table") {
        // It is needed until the program ends.
        Some(table) => StaticEmbedder::read(Box::leak(std::fs::read(table)?.into_boxed_slice()))?,
        None => StaticEmbedder::shipped()?,
    };
    Ok(Indexer::hybrid(Arc::new(embedder), None)?)
}

/// `--name VALUE` from the command line.
pub(crate) fn option(arguments: &[String], name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}
