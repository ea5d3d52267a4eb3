//! Existing MCP servers as plugins, on the operator's side: what to write for one, what to allow it, what it offers, and what was approved.
//!
//! The commands `add`, `approve`, `remove` and `import-config` share it. Servers are started by `executors/mcp` alone.

pub(crate) mod admit;
pub(crate) mod observed;
pub(crate) mod quarantine;
pub(crate) mod secretive;
pub(crate) mod shape;
pub(crate) mod show;
