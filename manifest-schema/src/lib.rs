//! What a plugin says about itself: the types of `plugin.yaml`, its parser with located diagnostics, and its JSON Schema.
//!
//! Pure: no file, clock, environment or task. What a manifest *may do* is decided in `policy`, never here.

mod diagnostic;
mod digest;
mod manifest;
mod name;
mod parse;
mod permission;
mod runtime;
mod schema;
mod tool;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use digest::Digest;
pub use manifest::{
    CertificationLevel, Channel, Dependency, DependencySource, Filesystem, Isolation, MAX_MANIFEST_BYTES, Manifest, Network,
    ResourceLimits, Runtime, SecretSpec, Status,
};
pub use name::{NameError, PluginName, ServedName, ToolName};
pub use parse::parse;
pub use permission::Permission;
pub use runtime::{Api, Container, ContainerPort, HealthCheck, Resources, Scale, UpstreamServer, Volume};
pub use schema::json_schema;
pub use tool::{Annotations, Entry, Example, ToolSpec};
