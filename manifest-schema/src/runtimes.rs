//! Reading the sections that belong to one runtime: `container`, `api` and `mcp`.

use std::collections::BTreeMap;

use crate::{
    Api, Container, ContainerPort, HealthCheck, Resources, Runtime, Scale, UpstreamServer, Volume,
    fields::{Field, Lines, Section},
    keys,
    report::Report,
    rules,
    tree::quote,
};

/// The sections of a manifest that belong to its runtime.
pub(crate) struct Sections {
    pub(crate) container: Option<Container>,
    pub(crate) api: Option<Api>,
    pub(crate) mcp: Option<UpstreamServer>,
}

pub(crate) fn read(report: &mut Report, root: &Section<'_>, runtime: Runtime) -> Sections {
    for (key, home) in [("container", Runtime::Container), ("api", Runtime::Container), ("mcp", Runtime::Mcp)] {
        let word = if home == Runtime::Mcp { "mcp" } else { "container" };
        match root.get(key) {
            Some(field) if runtime != home => {
                let hint = format!("add `runtime: {word}`, or remove `{key}`");
                field.conflict(report, format!("belongs to `runtime: {word}`"), "no such section", Some(&hint));
            }
            None if runtime == home && key != "api" => {
                report
                    .add("manifest.missing_key", root.place, &root.path.key(key), "is missing")
                    .expected(format!("the section of `runtime: {word}`"));
            }
            _ => {}
        }
    }
    Sections {
        container: root.get("container").and_then(|field| container(report, &field)),
        api: root.get("api").and_then(|field| api(report, &field)),
        mcp: root.get("mcp").and_then(|field| upstream(report, &field)),
    }
}

fn container(report: &mut Report, field: &Field<'_>) -> Option<Container> {
    let section = Section::open(report, field, keys::CONTAINER)?;
    if section.get("image").is_none() && section.get("dockerfile").is_none() {
        report
            .add("manifest.missing_key", section.place, &section.path, "names no image")
            .expected("`image`, or `dockerfile` to build one, or both");
    }
    Some(Container {
        dockerfile: section.ruled(report, "dockerfile", 200, rules::relative_file),
        build_context: section.ruled(report, "buildContext", 200, rules::relative_folder),
        image: section.ruled(report, "image", 255, rules::image),
        ports: section.items(report, "ports", 16).iter().filter_map(|field| port(report, field)).collect(),
        environment: section.get("environment").map(|field| environment(report, &field)).unwrap_or_default(),
        volumes: volumes(report, &section),
        resources: section.get("resources").and_then(|field| {
            let section = Section::open(report, &field, keys::RESOURCES)?;
            let memory = section.ruled(report, "memory", 20, rules::memory);
            Some(Resources { memory, cpu: section.ruled(report, "cpu", 20, rules::cores) })
        }),
        health_check: section.get("healthCheck").and_then(|field| health_check(report, &field)),
        scale: section.get("scale").and_then(|field| scale(report, &field)),
    })
}

fn port(report: &mut Report, field: &Field<'_>) -> Option<ContainerPort> {
    let section = Section::open(report, field, keys::PORT)?;
    let container =
        section.require(report, "container", "the port inside the container").and_then(|field| field.number(report, 1..=65_535));
    let host = section.number(report, "host", 0..=65_535, 0);
    Some(ContainerPort { container: u16::try_from(container?).ok()?, host: u16::try_from(host).ok()? })
}

fn environment(report: &mut Report, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for entry in field.entries(report).unwrap_or_default() {
        let path = field.path.key(&entry.key);
        if rules::identifier(&entry.key).is_err() {
            report
                .add("manifest.identifier", entry.place, &path, "is not the name of a variable")
                .expected("`[A-Za-z_][A-Za-z0-9_]*`");
            continue;
        }
        let value = Field { node: &entry.value, key: entry.place, path };
        if let Some(text) = value.text(report, 4000, Lines::Many) {
            environment.insert(entry.key.clone(), text);
        }
    }
    environment
}

fn volumes(report: &mut Report, section: &Section<'_>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for item in section.items(report, "volumes", 16) {
        let Some(section) = Section::open(report, &item, keys::VOLUME) else { continue };
        let name = section.require(report, "name", "the name of the volume");
        let path = section.require(report, "path", "an absolute path inside the container");
        let text = name.as_ref().and_then(|field| field.ruled(report, 64, rules::volume_name));
        let path = path.and_then(|field| field.ruled(report, 500, rules::mount_point));
        let read_only = section.flag(report, "read_only", false);
        let (Some(text), Some(path), Some(field)) = (text, path, name) else { continue };
        if volumes.iter().any(|volume| volume.name == text) {
            field.duplicate(report, &text);
        } else {
            volumes.push(Volume { name: text, path, read_only });
        }
    }
    volumes
}

fn health_check(report: &mut Report, field: &Field<'_>) -> Option<HealthCheck> {
    let section = Section::open(report, field, keys::HEALTH_CHECK)?;
    let path =
        section.require(report, "path", "the path of the request").and_then(|field| field.ruled(report, 500, rules::http_path));
    let interval = section.ruled(report, "interval", 20, rules::duration);
    let timeout = section.ruled(report, "timeout", 20, rules::duration);
    let retries = section.get("retries").and_then(|field| field.number(report, 1..=100));
    Some(HealthCheck { path: path?, interval, timeout, retries })
}

fn scale(report: &mut Report, field: &Field<'_>) -> Option<Scale> {
    let section = Section::open(report, field, keys::SCALE)?;
    let min = section.number(report, "min", 0..=64, 0);
    let max_field = section.require(report, "max", "the most replicas");
    let max = max_field.as_ref().and_then(|field| field.number(report, 1..=64))?;
    if min > max {
        let field = max_field?;
        report
            .add("manifest.range", field.node.place, &field.path, "is below `min`")
            .expected(format!("at least `{min}`"))
            .found(quote(&max.to_string()));
    }
    Some(Scale { min, max })
}

const METHODS: &[(&str, &str)] = &[("GET", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH"), ("DELETE", "DELETE")];

fn api(report: &mut Report, field: &Field<'_>) -> Option<Api> {
    let section = Section::open(report, field, keys::API)?;
    let endpoint = section.ruled(report, "endpoint", 500, rules::http_path);
    let method = section.choice(report, "method", METHODS);
    let timeout = section.get("timeout").and_then(|field| field.number(report, 1..=86_400_000));
    Some(Api {
        endpoint: endpoint.unwrap_or_else(|| "/execute".to_owned()),
        method: method.unwrap_or("POST").to_owned(),
        timeout: timeout.map(u64::from),
    })
}

fn upstream(report: &mut Report, field: &Field<'_>) -> Option<UpstreamServer> {
    const ONE: &str = "exactly one of `command`, `url`";
    let section = Section::open(report, field, keys::MCP)?;
    match (section.get("command"), section.get("url")) {
        (Some(_), Some(url)) => url.conflict(report, "is a second way to reach the server", ONE, None),
        (None, None) => {
            report.add("manifest.missing_key", section.place, &section.path, "names no server").expected(ONE);
        }
        _ => {}
    }
    let command = section.get("command").and_then(|field| command(report, &field));
    let url = section.ruled(report, "url", 1000, rules::web_address);
    let env = section.get("env").map(|field| environment(report, &field)).unwrap_or_default();
    let headers = section.get("headers").map(|field| headers(report, &field)).unwrap_or_default();
    for (key, other, fits) in [("env", "url", command.is_some()), ("headers", "command", url.is_some())] {
        if let Some(field) = section.get(key).filter(|_| !fits && section.get(other).is_some()) {
            field.conflict(report, "belongs to the other kind of server", "`env` beside `command`, `headers` beside `url`", None);
        }
    }
    Some(UpstreamServer { command, url, env, headers })
}

/// Header names are tokens of RFC 9110; those that the protocol itself needs are not for a manifest.
fn headers(report: &mut Report, field: &Field<'_>) -> BTreeMap<String, String> {
    const OURS: [&str; 5] = ["host", "content-type", "content-length", "accept", "transfer-encoding"];
    let mut headers = BTreeMap::new();
    for entry in field.entries(report).unwrap_or_default() {
        let path = field.path.key(&entry.key);
        let lower = entry.key.to_ascii_lowercase();
        let token =
            !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if !token || OURS.contains(&lower.as_str()) || lower.starts_with("mcp-") {
            report
                .add("manifest.header", entry.place, &path, "is not a header that a manifest may set")
                .expected("a header name such as `Authorization`; not one of the protocol's own");
            continue;
        }
        let value = Field { node: &entry.value, key: entry.place, path };
        if let Some(text) = value.text(report, 4000, Lines::One) {
            headers.insert(entry.key.clone(), text);
        }
    }
    headers
}

fn command(report: &mut Report, field: &Field<'_>) -> Option<Vec<String>> {
    let items = field.items(report, 64)?;
    if items.is_empty() {
        report.add("manifest.blank", field.node.place, &field.path, "is empty").expected("a program and its arguments");
        return None;
    }
    let words: Vec<Option<String>> = items.iter().map(|item| item.text(report, 4000, Lines::Many)).collect();
    if let (Some(Some(program)), Some(item)) = (words.first(), items.first())
        && program.starts_with('-')
    {
        report
            .add("manifest.command", item.node.place, &item.path, "is not a program")
            .expected("the name or the path of a program")
            .found(item.node.describe());
    }
    words.into_iter().collect()
}
