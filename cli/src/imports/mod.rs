//! Configurations of MCP clients: which servers they hold, and their replacement by ours. What becomes of a server is in `upstream`.

pub(crate) mod apply;
pub(crate) mod edit;
pub(crate) mod items;
pub(crate) mod jsonc;
pub(crate) mod read;
