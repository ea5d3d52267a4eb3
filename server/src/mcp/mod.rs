//! MCP: one handler for both protocol eras, its lists, its meta tools, and the line transport of stdio.
//!
//! The only place, beside `http/`, that knows JSON-RPC and rmcp. What a call does is `call.rs`.

mod asking;
mod handler;
mod held;
mod lines;
mod lists;
mod meta_tools;
mod stdio;
mod subscribers;
mod wire;

pub(crate) use handler::{Channel, Endpoint};
pub(crate) use held::HeldCalls;
pub use lines::LineTransport;
pub(crate) use lines::{Incoming, Opening, decode, encode, reply};
pub(crate) use lists::{Lists, Splices};
pub(crate) use meta_tools::{Behind, definitions};
pub(crate) use stdio::serve_lines_in;
pub use stdio::{serve_lines, serve_stdio};
pub(crate) use subscribers::Subscribers;
