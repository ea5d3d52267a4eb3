//! The keys of each mapping of a manifest, in the order of the reference. One table for the reader, the suggestions and the tests.

/// The document.
pub(crate) const ROOT: &[&str] = &[
    "name",
    "version",
    "description",
    "author",
    "license",
    "homepage",
    "repository",
    "runtime",
    "mcps",
    "tools",
    "dependencies",
    "python_requires",
    "requires_network",
    "requires_filesystem",
    "max_memory_mb",
    "max_execution_time",
    "permissions",
    "network",
    "filesystem",
    "resource_limits",
    "isolation",
    "secrets",
    "config_schema",
    "min_core_version",
    "max_core_version",
    "keywords",
    "category",
    "channel",
    "certification_level",
    "status",
    "container",
    "api",
    "mcp",
];

/// An item of `mcps`.
pub(crate) const TOOL: &[&str] = &[
    "name",
    "title",
    "description",
    "module_path",
    "class_name",
    "function",
    "script",
    "upstream_name",
    "args_schema",
    "output_schema",
    "capabilities",
    "annotations",
    "examples",
    "langchain_compatible",
    "sequential_thinking_enabled",
    "complexity_threshold",
];

pub(crate) const ANNOTATIONS: &[&str] = &["read_only", "destructive", "idempotent", "open_world"];
pub(crate) const EXAMPLE: &[&str] = &["query", "args", "result"];
pub(crate) const DEPENDENCY: &[&str] = &["name", "version", "source", "optional"];
pub(crate) const NETWORK: &[&str] = &["hosts"];
pub(crate) const FILESYSTEM: &[&str] = &["read", "write"];
pub(crate) const RESOURCE_LIMITS: &[&str] = &["max_cpu_percent", "max_disk_mb", "max_network_mb", "max_concurrent_requests"];
pub(crate) const SECRET: &[&str] = &["name", "description", "required"];
pub(crate) const CONTAINER: &[&str] =
    &["dockerfile", "buildContext", "image", "ports", "environment", "volumes", "resources", "healthCheck", "scale"];
pub(crate) const PORT: &[&str] = &["container", "host"];
pub(crate) const VOLUME: &[&str] = &["name", "path", "read_only"];
pub(crate) const RESOURCES: &[&str] = &["memory", "cpu"];
pub(crate) const HEALTH_CHECK: &[&str] = &["path", "interval", "timeout", "retries"];
pub(crate) const SCALE: &[&str] = &["min", "max"];
pub(crate) const API: &[&str] = &["endpoint", "method", "timeout"];
pub(crate) const MCP: &[&str] = &["command", "url", "env", "headers"];

/// Where a key belongs that stands in the wrong mapping. Only keys that have one home.
pub(crate) fn home_of(key: &str) -> Option<&'static str> {
    const HOMES: &[(&str, &[&str])] = &[
        ("at the top of the document", ROOT),
        ("in an item of `mcps`", TOOL),
        ("in `annotations`", ANNOTATIONS),
        ("in an item of `examples`", EXAMPLE),
        ("in an item of `dependencies`", DEPENDENCY),
        ("in `network`", NETWORK),
        ("in `filesystem`", FILESYSTEM),
        ("in `resource_limits`", RESOURCE_LIMITS),
        ("in an item of `secrets`", SECRET),
        ("in `container`", CONTAINER),
        ("in an item of `container.ports`", PORT),
        ("in an item of `container.volumes`", VOLUME),
        ("in `container.resources`", RESOURCES),
        ("in `container.healthCheck`", HEALTH_CHECK),
        ("in `container.scale`", SCALE),
        ("in `api`", API),
        ("in `mcp`", MCP),
    ];
    let mut homes = HOMES.iter().filter(|(_, keys)| keys.contains(&key)).map(|(home, _)| *home);
    match (homes.next(), homes.next()) {
        (Some(home), None) => Some(home),
        _ => None,
    }
}
