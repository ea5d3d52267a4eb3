//! From the text of `plugin.yaml` to a [`Manifest`], or to every problem with its place.
//!
//! The document is read once, top to bottom; rules that join several keys come after the keys themselves. The sections have files of their own.

use semver::Version;

use crate::{
    CertificationLevel, Channel, Diagnostics, Isolation, Manifest, PluginName, ResourceLimits, Runtime, SchemaUse, Status,
    fields::{Field, Lines, MAX_DESCRIPTION, Section},
    keys, packages, powers,
    report::{Path, Place, Report},
    rules, runtimes, tools,
    tree::{self, Kind, quote},
};

/// Parses and checks a manifest. `file` only names the source in diagnostics.
///
/// # Errors
/// The problems found, in the order of the document, at most [`crate::MAX_DIAGNOSTICS`]. Problems of the YAML itself come alone.
pub fn parse(file: &str, text: &str) -> Result<Manifest, Diagnostics> {
    let mut report = Report::new(file);
    let manifest = tree::load(text, &mut report).and_then(|root| read(&mut report, &Field::root(&root)));
    match manifest {
        Some(manifest) if report.is_empty() => Ok(manifest),
        _ => {
            if report.is_empty() {
                // A reader gave up without a word: still a refusal, never an empty list.
                report.add("manifest.invalid", Place::START, &Path::root(), "is not a manifest");
            }
            Err(report.finish())
        }
    }
}

/// Parses the bytes of a file, which may not be UTF-8.
///
/// # Errors
/// As [`parse`].
pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Manifest, Diagnostics> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = String::from_utf8_lossy(good.get(start..).unwrap_or_default()).chars().count() + 1;
            let place =
                Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) };
            let mut report = Report::new(file);
            let draft = report.add("manifest.encoding", place, &Path::root(), "is not UTF-8").expected("UTF-8 text");
            if let Some(byte) = bytes.get(error.valid_up_to()) {
                draft.found(format!("byte 0x{byte:02X}"));
            }
            Err(report.finish())
        }
    }
}

fn read(report: &mut Report, field: &Field<'_>) -> Option<Manifest> {
    let root = Section::open(report, field, keys::ROOT)?;
    let name = root.require(report, "name", "the name of the plugin").and_then(|field| plugin_name(report, &field));
    let version =
        root.require(report, "version", "a semantic version, such as `1.0.0`").and_then(|field| version(report, &field));
    let description = root
        .require(report, "description", "one sentence on what the plugin is for")
        .and_then(|field| field.text(report, MAX_DESCRIPTION, Lines::Many));
    let runtime = root.choice(report, "runtime", RUNTIMES).unwrap_or_default();
    let mcps = tools::read(report, &root, runtime);
    let (min_core_version, max_core_version) = core_versions(report, &root);
    let sections = runtimes::read(report, &root, runtime);
    let powers = powers::read(report, &root);
    Some(Manifest {
        author: root.text(report, "author", 200, Lines::One),
        license: root.ruled(report, "license", 200, rules::license),
        homepage: root.ruled(report, "homepage", 500, rules::web_address),
        repository: root.ruled(report, "repository", 500, rules::web_address),
        runtime,
        mcps,
        dependencies: powers::dependencies(report, &root),
        python_requires: root.ruled(report, "python_requires", 200, packages::python_specifier),
        requires_network: root.flag(report, "requires_network", false),
        requires_filesystem: root.flag(report, "requires_filesystem", false),
        max_memory_mb: root.number(report, "max_memory_mb", 16..=65_536, 256),
        max_execution_time: root.number(report, "max_execution_time", 1..=86_400, 60),
        permissions: powers.permissions,
        network: powers.network,
        filesystem: powers.filesystem,
        resource_limits: resource_limits(report, &root),
        isolation: root.choice(report, "isolation", ISOLATIONS).unwrap_or_default(),
        secrets: powers.secrets,
        config_schema: root.get("config_schema").and_then(|field| tools::schema(report, &field, SchemaUse::Config)),
        min_core_version,
        max_core_version,
        keywords: root.words(report, "keywords", 50, 64, rules::any),
        category: root.text(report, "category", 64, Lines::One),
        channel: root.choice(report, "channel", CHANNELS).unwrap_or_default(),
        certification_level: root.choice(report, "certification_level", CERTIFICATION_LEVELS),
        status: root.choice(report, "status", STATUSES).unwrap_or_default(),
        container: sections.container,
        api: sections.api,
        mcp: sections.mcp,
        // Last: what is missing here must not keep the rest from being looked at.
        name: name?,
        version: version?,
        description: description?,
    })
}

const RUNTIMES: &[(&str, Runtime)] = &[
    ("python", Runtime::Python),
    ("mcp", Runtime::Mcp),
    ("container", Runtime::Container),
    ("javascript", Runtime::Javascript),
    ("openapi", Runtime::Openapi),
    ("wasm", Runtime::Wasm),
];
const ISOLATIONS: &[(&str, Isolation)] =
    &[("call", Isolation::Call), ("session", Isolation::Session), ("worker", Isolation::Worker)];
const CHANNELS: &[(&str, Channel)] = &[("stable", Channel::Stable), ("beta", Channel::Beta), ("dev", Channel::Dev)];
const CERTIFICATION_LEVELS: &[(&str, CertificationLevel)] = &[
    ("uncertified", CertificationLevel::Uncertified),
    ("basic", CertificationLevel::Basic),
    ("standard", CertificationLevel::Standard),
    ("premium", CertificationLevel::Premium),
    ("enterprise", CertificationLevel::Enterprise),
];
const STATUSES: &[(&str, Status)] =
    &[("active", Status::Active), ("deprecated", Status::Deprecated), ("disabled", Status::Disabled)];

fn plugin_name(report: &mut Report, field: &Field<'_>) -> Option<PluginName> {
    let text = field.text(report, MAX_DESCRIPTION, Lines::One)?;
    match PluginName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            field.fault(
                report,
                rules::name_fault(&text, &error, "a plugin", PluginName::LIMIT, |text| PluginName::parse(text).is_ok()),
            );
            None
        }
    }
}

fn version(report: &mut Report, field: &Field<'_>) -> Option<Version> {
    let text = match &field.node.kind {
        // YAML reads 1.0 as a number, and 1.10 as the same number as 1.1: the text decides, not the number.
        Kind::Number(_, text) => text.clone(),
        _ => field.text(report, 100, Lines::One)?,
    };
    let Err(error) = Version::parse(&text) else { return Version::parse(&text).ok() };
    let parts = text.strip_prefix(['v', 'V']).unwrap_or(&text);
    let padded = match parts.split('.').count() {
        1 => format!("{parts}.0.0"),
        2 => format!("{parts}.0"),
        _ => parts.to_owned(),
    };
    let (message, hint) = match (Version::parse(&padded), &field.node.kind) {
        (Ok(_), Kind::Number(..)) => {
            (None, Some(format!("write `{padded}`: a version is a string, and YAML reads `{text}` as a number")))
        }
        (Ok(_), _) => (None, Some(format!("write `{padded}`"))),
        (Err(_), _) => (Some(format!("is not a semantic version: {error}")), None),
    };
    let draft = report
        .add("manifest.version", field.node.place, &field.path, message.unwrap_or_else(|| "is not a semantic version".to_owned()))
        .expected("a semantic version, such as `1.0.0`")
        .found(field.node.describe());
    if let Some(hint) = hint {
        draft.hint(hint);
    }
    None
}

fn core_versions(report: &mut Report, root: &Section<'_>) -> (Option<Version>, Option<Version>) {
    let read = |report: &mut Report, key| root.get(key).and_then(|field| version(report, &field));
    let (min, max) = (read(report, "min_core_version"), read(report, "max_core_version"));
    if let (Some(min), Some(max), Some(field)) = (&min, &max, root.get("max_core_version"))
        && min > max
    {
        report
            .add("manifest.range", field.node.place, &field.path, "is below `min_core_version`")
            .expected(format!("at least `{min}`"))
            .found(quote(&max.to_string()));
    }
    (min, max)
}

fn resource_limits(report: &mut Report, root: &Section<'_>) -> ResourceLimits {
    let default = ResourceLimits::default();
    let Some(section) = root.get("resource_limits").and_then(|field| Section::open(report, &field, keys::RESOURCE_LIMITS)) else {
        return default;
    };
    ResourceLimits {
        max_cpu_percent: section.number(report, "max_cpu_percent", 1..=6_400, default.max_cpu_percent),
        max_disk_mb: section.number(report, "max_disk_mb", 1..=1_048_576, default.max_disk_mb),
        max_network_mb: section.number(report, "max_network_mb", 1..=1_048_576, default.max_network_mb),
        max_concurrent_requests: section.number(report, "max_concurrent_requests", 1..=1_024, default.max_concurrent_requests),
    }
}
