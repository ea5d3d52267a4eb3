//! The index as its users see it: tools in, hits out. No model and no network; encoders here are fakes that count.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod absence;
mod analysis;
mod cache;
mod eval;
mod fake;
mod fusion;
mod hostile;
mod hub;
mod incremental;
mod kept;
mod lessons;
mod onnx;
mod search;
mod table;
