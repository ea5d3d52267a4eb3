//! Measuring how well tools are found: where tools and requests come from, and the searches. Metrics are `index::eval`'s; what is shown is
//! `commands/eval.rs`'s.

mod searching;
mod source;

pub(crate) use searching::{Plan, Searched, search};
pub(crate) use source::{Source, installed, of_folder, refused};
