//! Pegboard's server: MCP over stdio, Streamable HTTP, HTTP+SSE and a unix socket; the call pipeline; the catalog.
//!
//! [`Host::assemble`] is the only place where the parts meet. The environment, the terminal and the exit code belong to `cli`;
//! grants, secrets and configuration are read here and never written.

mod call;
mod catalog;
mod clean;
mod cost;
mod engine;
mod error;
mod gate;
mod host;
mod http;
mod learning;
mod mcp;
mod metrics;
mod observed;
mod operator;
mod refresh;
mod retrieval;
mod search;
mod selection;
mod session;
mod settings;
mod shutdown;
mod witness;

pub use call::{ArgumentProblem, CallOutcome, CallReply, CallRequest, CallUpdate, Caller};
pub use catalog::{Availability, BrokenPlugin, Catalog, PluginEntry, Quarantined, Schema, SchemaProblem, ServedTool};
pub use cost::{Described, PromptCost, prompt_cost, prompt_cost_of};
pub use engine::{Answer, Engine, EngineSettings, EngineStatus, OPENING_VERSION, Opening, Want};
pub use error::{Code, ServeError, StartError, errors_page};
pub use host::{Executors, Host};
pub use http::{HttpLimits, HttpServer, HttpSettings, serve_http};
pub use mcp::{LineTransport, serve_lines, serve_stdio};
pub use operator::{About, Approved, LearningSettings, Operator, OperatorError, Problem, TokenEntry, Tokens};
pub use retrieval::{EmbedderChoice, IndexMode, Reconsider, documents};
pub use search::{Detail, Filters, FoundTool, SearchReply, SearchRequest};
pub use session::SessionKeys;
pub use settings::{Dirs, PluginsFolder, PluginsSource, Settings, View};
pub use shutdown::Shutdown;
pub use witness::{Seen, Witness};
