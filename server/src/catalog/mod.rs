//! What is served now: an immutable view of plugins, tools and the operator's side, swapped whole.
//!
//! Folders are read in `load.rs`, the view is put together in `build.rs`; the watching that leads to a new one is `refresh.rs`.

mod build;
mod load;
mod neighbours;
mod schema;
mod tool;
mod upstream;
mod vouched;

use std::{collections::BTreeMap, sync::Arc};

use manifest_schema::{Runtime, ServedName, ToolName};
use policy::{Allowed, Declared, Grant, Level, Missing, Plugin, SecretValue, Standing};
use registry::Lease;
use serde_json::{Map, Value};

pub(crate) use build::{Ingredients, Preparation, build};
pub use load::BrokenPlugin;
pub(crate) use load::Loader;
pub(crate) use schema::wrap_value;
pub use schema::{Misfit, Schema, SchemaProblem};
pub use tool::ServedTool;
pub use upstream::Quarantined;
pub(crate) use vouched::Vouchers;

use crate::{Operator, gate::Gate, mcp::Lists};

/// Whether a plugin's tools are served, and why not.
#[derive(Debug, Clone, PartialEq)]
pub enum Availability {
    /// They are.
    Served,
    /// Keys are missing; never empty.
    Withheld(Vec<Missing>),
    /// The manifest says `status: disabled`.
    Disabled,
    /// It asks for another version of Pegboard.
    Incompatible {
        /// What it asks for.
        wanted: String,
    },
    /// Its name is reserved, or looks like another plugin's.
    NameRefused {
        /// Which.
        reason: String,
    },
    /// No trusted key vouches for it, and somebody has to.
    Untrusted {
        /// What is missing.
        reason: String,
    },
    /// Plugins that it needs are not here; never empty.
    Lacking {
        /// Each need, with what is there instead.
        problems: Vec<String>,
    },
    /// Nothing here runs it yet.
    Unsupported {
        /// What it asks for.
        runtime: Runtime,
    },
}

/// One plugin of the catalog.
#[derive(Debug)]
pub struct PluginEntry {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// What it asks for.
    pub declared: Declared,
    /// The grant that fits it.
    pub grant: Option<Grant>,
    /// Whether its tools are served.
    pub availability: Availability,
    /// Its tools that have a schema, served or not.
    pub tools: Vec<Arc<ServedTool>>,
    /// Tools without a schema: listed once the sandbox has derived one.
    pub pending: Vec<ToolName>,
    /// Tools of its upstream server that are kept away: changed, new, or gone since they were approved.
    pub quarantined: Vec<Quarantined>,
    /// What the operator should know, such as plugins of the same name that it shadows.
    pub notes: Vec<String>,
    /// What went wrong when it was made ready.
    pub preparation: Option<String>,
    pub(crate) allowed: Option<Arc<Allowed>>,
    pub(crate) gate: Arc<Gate>,
    secrets: BTreeMap<String, SecretValue>,
    config: Map<String, Value>,
    config_problem: Option<String>,
    reached: Level,
}

impl PluginEntry {
    /// What its calls may use; nothing while a key is missing.
    #[must_use]
    pub fn allowed(&self) -> Option<&Arc<Allowed>> {
        self.allowed.as_ref()
    }

    /// Everything of the operator's side that a decision needs.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            grant: self.grant.as_ref(),
            secrets: &self.secrets,
            config: &self.config,
            config_problem: self.config_problem.as_deref(),
            reached: self.reached,
        }
    }

    /// The level that its calls run at on this machine.
    #[must_use]
    pub fn reached(&self) -> Level {
        self.reached
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.plugin.manifest.name.as_str()
    }
}

/// What is served now.
#[derive(Debug)]
pub struct Catalog {
    /// Counts the catalogs of this host, from 1.
    pub generation: u64,
    /// Every plugin that could be read, in the order of names.
    pub plugins: Vec<Arc<PluginEntry>>,
    /// Every plugin that could not.
    pub broken: Vec<BrokenPlugin>,
    /// What the operator gave when the catalog was made.
    pub operator: Arc<Operator>,
    /// Served tools, in the order of names.
    pub tools: Vec<Arc<ServedTool>>,
    /// Keeps the packages of its plugins in the store for as long as a call sees this catalog.
    pub(crate) lease: Option<Arc<Lease>>,
    /// Every known tool, served or not.
    known: BTreeMap<ServedName, Known>,
    pub(crate) lists: Lists,
}

#[derive(Debug, Clone)]
struct Known {
    plugin: Arc<PluginEntry>,
    tool: Option<Arc<ServedTool>>,
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A tool with a schema, served or withheld.
    Tool(Arc<PluginEntry>, Arc<ServedTool>),
    /// A tool whose schema is not known yet.
    Pending(Arc<PluginEntry>),
    Unknown,
}

impl Catalog {
    /// The plugin of a name.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<&Arc<PluginEntry>> {
        let at = self.plugins.binary_search_by(|entry| entry.name().cmp(name)).ok()?;
        self.plugins.get(at)
    }

    /// The served tool of a served name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Arc<ServedTool>> {
        let at = self.tools.binary_search_by(|tool| tool.name.as_str().cmp(name)).ok()?;
        self.tools.get(at)
    }

    /// The served name behind a name as a person types it: a served name, or a tool's own name where only one plugin has it.
    ///
    /// # Errors
    /// Every served name that fits: none, or several.
    pub fn served_name(&self, typed: &str) -> Result<ServedName, Vec<ServedName>> {
        if let Some((name, _)) = self.known.get_key_value(typed) {
            return Ok(name.clone());
        }
        let ends = |name: &&ServedName| name.as_str().split_once("__").is_some_and(|(_, tool)| tool == typed);
        let mut fitting: Vec<ServedName> = self.known.keys().filter(ends).cloned().collect();
        if fitting.len() == 1 { fitting.pop().ok_or_else(Vec::new) } else { Err(fitting) }
    }

    /// How long the list of a view is as JSON, for a caller who may see everything, in bytes.
    #[must_use]
    pub fn list_bytes(&self, view: crate::View) -> usize {
        self.lists.of(self, view, &crate::Caller::local()).bytes()
    }

    pub(crate) fn lookup(&self, name: &str) -> Lookup {
        match self.known.get(name) {
            Some(Known { plugin, tool: Some(tool) }) => Lookup::Tool(plugin.clone(), tool.clone()),
            Some(Known { plugin, tool: None }) => Lookup::Pending(plugin.clone()),
            None => Lookup::Unknown,
        }
    }

    /// Whether a tool of the name is known, served or not.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }
}
