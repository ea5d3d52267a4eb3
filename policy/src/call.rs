//! The stages of a call that policy knows: resolved (the question) and permitted (the proof).

use std::{collections::BTreeMap, fmt, sync::Arc};

use manifest_schema::{Permission, ServedName, ToolSpec};
use serde_json::{Map, Value};

use crate::{Definition, Level, Plugin, Scope};

/// Ties a call to its log lines; the plugin sees it too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceId(pub Arc<str>);

/// A client's session, for `isolation: session`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub Arc<str>);

/// The value of a secret. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the request frame only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// A call whose tool is known and whose arguments fit its schema.
#[derive(Debug, Clone)]
pub struct ResolvedCall {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The tool; one of the plugin's.
    pub tool: Arc<ToolSpec>,
    /// Its served name.
    pub name: ServedName,
    /// Arguments, checked against the schema.
    pub args: Map<String, Value>,
    /// The definition that the operator approved, for a tool of an upstream MCP server; its `name` is what that server calls the tool.
    pub definition: Option<Arc<Definition>>,
    /// The client's session, if it has one.
    pub session: Option<SessionId>,
    /// Ties the call to its log lines.
    pub trace: TraceId,
}

/// What a permitted call may use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Allowed {
    /// Powers that are declared and granted, with their scope: folders as granted, hosts as granted or else as declared. No hosts with a
    /// network power means any host.
    pub powers: BTreeMap<Permission, Scope>,
    /// Secrets that are declared and set.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The operator's configuration.
    pub config: Map<String, Value>,
    /// The least level to run at.
    pub least_level: Option<Level>,
}

/// A call that may happen. Only [`crate::authorize`] makes one; executors take nothing else.
#[derive(Debug, Clone)]
pub struct PermittedCall {
    call: ResolvedCall,
    allowed: Arc<Allowed>,
}

impl PermittedCall {
    pub(crate) fn new(call: ResolvedCall, allowed: Arc<Allowed>) -> Self {
        Self { call, allowed }
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &ResolvedCall {
        &self.call
    }

    /// What it may use.
    #[must_use]
    pub fn allowed(&self) -> &Arc<Allowed> {
        &self.allowed
    }
}
