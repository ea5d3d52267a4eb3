//! What a plugin says about itself: the types of `plugin.yaml`, its parser with located diagnostics, and its JSON Schema.
//!
//! Pure: no file, clock, environment or task. What a manifest *may do* is decided in `policy`, never here.

mod args_schema;
mod diagnostic;
mod digest;
mod fields;
pub mod foreign;
mod keys;
mod manifest;
mod name;
mod packages;
mod parse;
mod permission;
mod powers;
mod render;
mod report;
mod rules;
mod runtime;
mod runtimes;
mod schema;
mod suggest;
mod tool;
mod tools;
mod tree;

pub use args_schema::{MAX_PATTERN, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, SchemaProblem, SchemaUse, Step, check_schema};
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS};
pub use digest::Digest;
pub use manifest::{
    CertificationLevel, Channel, CoreVersionError, Dependency, DependencySource, Filesystem, Isolation, MAX_MANIFEST_BYTES,
    Manifest, Network, ResourceLimits, Runtime, SecretSpec, Status,
};
pub use name::{NameError, PluginName, ServedName, ToolName};
pub use parse::{parse, parse_bytes};
pub use permission::Permission;
pub use rules::is_host_with_port;
pub use runtime::{Api, Container, ContainerPort, HealthCheck, Resources, Scale, UpstreamServer, Volume};
pub use schema::json_schema;
pub use tool::{Annotations, Entry, Example, ToolSpec};
