//! `plugin.yaml` as types. Names and defaults are the reference that `pegboard schema` prints.

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Api, Container, Permission, PluginName, ServedName, ToolSpec, UpstreamServer};

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the plugin.
    pub name: PluginName,
    /// Semantic version.
    pub version: Version,
    /// One sentence on what the plugin is for; at most 2000 characters.
    #[schemars(length(min = 1, max = 2000))]
    pub description: String,
    /// Who wrote it, `A Person <a@example.org>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// SPDX expression, such as `Apache-2.0 OR MIT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Web page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Source repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What runs the tools.
    #[serde(default)]
    pub runtime: Runtime,

    /// The tools, at least one unless `runtime: mcp`; `tools` is another name of this key.
    #[serde(default, alias = "tools")]
    #[schemars(length(max = 256))]
    pub mcps: Vec<ToolSpec>,

    /// Packages that the plugin needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// PEP 440 specifier of the interpreter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python_requires: Option<String>,

    /// Asks for the network; without `network.hosts`, for any public host.
    #[serde(default)]
    pub requires_network: bool,
    /// Asks for folders.
    #[serde(default)]
    pub requires_filesystem: bool,
    /// Memory of one call, in MiB.
    #[schemars(range(min = 16, max = 65_536))]
    #[serde(default = "default_memory")]
    pub max_memory_mb: u32,
    /// Wall clock of one call, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    #[serde(default = "default_time")]
    pub max_execution_time: u32,
    /// Powers asked for; a power needs two keys, declared here and granted by the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// Hosts asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Folders asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// Further limits.
    #[serde(default)]
    pub resource_limits: ResourceLimits,
    /// How much state calls share.
    #[serde(default)]
    pub isolation: Isolation,
    /// Secrets that the operator sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSpec>,
    /// JSON Schema of the operator's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Map<String, Value>>,

    /// Oldest Pegboard that runs the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_core_version: Option<Version>,
    /// Newest Pegboard that runs the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_core_version: Option<Version>,
    /// Words for search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Release channel.
    #[serde(default)]
    pub channel: Channel,
    /// The author's claim; never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certification_level: Option<CertificationLevel>,
    /// Life of the plugin.
    #[serde(default)]
    pub status: Status,

    /// For `runtime: container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// For `runtime: container`: how it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// For `runtime: mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<UpstreamServer>,
}

/// Why this Pegboard does not run a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreVersionError {
    /// The plugin needs a newer Pegboard.
    #[error("plugin needs Pegboard `{wanted}` or newer, this is `{found}`")]
    TooOld {
        /// `min_core_version`.
        wanted: Version,
        /// The running version.
        found: Version,
    },
    /// The plugin needs an older Pegboard.
    #[error("plugin needs Pegboard `{wanted}` or older, this is `{found}`")]
    TooNew {
        /// `max_core_version`.
        wanted: Version,
        /// The running version.
        found: Version,
    },
}

impl Manifest {
    /// Whether a Pegboard of this version runs the plugin.
    ///
    /// # Errors
    /// [`CoreVersionError`] names the bound that is not kept.
    pub fn core_version_ok(&self, core: &Version) -> Result<(), CoreVersionError> {
        if let Some(wanted) = self.min_core_version.as_ref().filter(|wanted| core < wanted) {
            return Err(CoreVersionError::TooOld { wanted: wanted.clone(), found: core.clone() });
        }
        if let Some(wanted) = self.max_core_version.as_ref().filter(|wanted| core > wanted) {
            return Err(CoreVersionError::TooNew { wanted: wanted.clone(), found: core.clone() });
        }
        Ok(())
    }

    /// The tools with the names they are served under.
    pub fn served(&self) -> impl Iterator<Item = (ServedName, &ToolSpec)> {
        self.mcps.iter().map(|tool| (ServedName::new(&self.name, &tool.name), tool))
    }
}

const fn default_memory() -> u32 {
    256
}

const fn default_time() -> u32 {
    60
}

/// What runs a plugin's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The plugin's own interpreter, in the sandbox.
    #[default]
    Python,
    /// An existing MCP server.
    Mcp,
    /// A container.
    Container,
    /// QuickJS or Node.
    Javascript,
    /// An HTTP API described by an OpenAPI document.
    Openapi,
    /// A WebAssembly component.
    Wasm,
}

/// How much state the calls of a plugin share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Fresh state each call.
    #[default]
    Call,
    /// One process a client session.
    Session,
    /// One long-lived process for all.
    Worker,
}

/// A package that the plugin needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Name in its source.
    pub name: String,
    /// Version specifier of that source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it comes from.
    #[serde(default)]
    pub source: DependencySource,
    /// Works without it.
    #[serde(default)]
    pub optional: bool,
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DependencySource {
    /// The Python package index that the user has configured.
    #[default]
    Pypi,
    /// Another plugin.
    Marketplace,
    /// A git repository.
    Git,
    /// The npm registry that the user has configured.
    Npm,
}

/// Hosts asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// `host:port` or `*.host:port` entries.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Folders asked for; `$data` is what the operator grants, `$scratch` the call's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filesystem {
    /// Read.
    pub read: Vec<String>,
    /// Written.
    pub write: Vec<String>,
}

/// Limits beside memory and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceLimits {
    /// Per cent of one core.
    #[schemars(range(min = 1, max = 6_400))]
    pub max_cpu_percent: u32,
    /// MiB of scratch space.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_disk_mb: u32,
    /// MiB over the network; advisory until the egress proxy.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max_network_mb: u32,
    /// Calls at once.
    #[schemars(range(min = 1, max = 1_024))]
    pub max_concurrent_requests: u32,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self { max_cpu_percent: 100, max_disk_mb: 50, max_network_mb: 10, max_concurrent_requests: 16 }
    }
}

/// A secret that the operator sets with `pegboard secret set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// `^[A-Z][A-Z0-9_]*$`, at most 64 characters.
    #[schemars(regex(pattern = "^[A-Z][A-Z0-9_]*$"), length(max = 64))]
    pub name: String,
    /// What it is and where one gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The tools are not served without it.
    #[serde(default = "required_by_default")]
    pub required: bool,
}

const fn required_by_default() -> bool {
    true
}

/// Release channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// For everyone.
    #[default]
    Stable,
    /// For the curious.
    Beta,
    /// For the author.
    Dev,
}

/// A claim about evidence; never trusted, only compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificationLevel {
    /// Below 60.
    Uncertified,
    /// 60 and up.
    Basic,
    /// 70 and up.
    Standard,
    /// 80 and up.
    Premium,
    /// 90 and 90.
    Enterprise,
}

/// Life of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// In use.
    #[default]
    Active,
    /// Works, but has a successor.
    Deprecated,
    /// Not served.
    Disabled,
}
