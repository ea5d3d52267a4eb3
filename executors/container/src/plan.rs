//! What a manifest and its grants come to: limits as numbers, network or none, folders. Read once; the manifest was validated, and what still
//! does not parse is refused here, never replaced by a default.

use std::{path::PathBuf, time::Duration};

use executor_api::{FailureKind, ToolFailure};
use manifest_schema::{Permission, Volume};
use policy::{Allowed, Plugin};

/// The port that a container listens on when it names none and takes no socket.
const PORT: u16 = 8080;
/// What an engine takes at least.
const LEAST_MEMORY: u64 = 6 << 20;

/// Everything that a replica is made by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Bytes.
    pub(crate) memory: i64,
    /// Billionths of a core.
    pub(crate) nano_cpus: i64,
    /// MiB of temporary files, and of each volume.
    pub(crate) disk_mb: u32,
    /// Whether it gets a network.
    pub(crate) network: bool,
    /// The port inside.
    pub(crate) port: u16,
    /// The port on this machine's loopback that the author asks for; only with a network.
    pub(crate) host_port: Option<u16>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) folders: Vec<Folder>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) health: Health,
    pub(crate) api: Api,
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// Calls on every replica before there is one more.
    pub(crate) crowd: usize,
}

/// A granted folder of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) host: PathBuf,
    pub(crate) inside: String,
    pub(crate) writable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) path: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) endpoint: String,
    pub(crate) method: String,
    pub(crate) timeout: Option<Duration>,
}

impl Plan {
    /// Reads manifest and grants.
    ///
    /// # Errors
    /// A value that is none.
    pub(crate) fn of(plugin: &Plugin, allowed: &Allowed) -> Result<Self, ToolFailure> {
        let manifest = &plugin.manifest;
        let Some(container) = &manifest.container else {
            return Err(refused("container", "no section"));
        };
        let resources = container.resources.as_ref();
        let memory = match resources.and_then(|resources| resources.memory.as_deref()) {
            Some(text) => memory(text).ok_or_else(|| refused("container.resources.memory", text))?,
            None => u64::from(manifest.max_memory_mb) << 20,
        };
        let cores = match resources.and_then(|resources| resources.cpu.as_deref()) {
            Some(text) => nano_cpus(text).ok_or_else(|| refused("container.resources.cpu", text))?,
            None => i64::from(manifest.resource_limits.max_cpu_percent) * 10_000_000,
        };
        let scale = container.scale.as_ref();
        let most = scale.map_or(1, |scale| scale.max.max(1)) as usize;
        let port = container.ports.first();
        let network = allowed.powers.keys().any(|power| power.is_network());
        if let Some(volume) = container.volumes.iter().find(|volume| !mountable(&volume.path)) {
            return Err(refused("container.volumes", &volume.path));
        }
        let at_once = (manifest.resource_limits.max_concurrent_requests as usize).max(1);
        Ok(Self {
            memory: i64::try_from(memory.max(LEAST_MEMORY)).unwrap_or(i64::MAX),
            nano_cpus: cores,
            disk_mb: manifest.resource_limits.max_disk_mb.max(1),
            network,
            port: port.map_or(PORT, |port| port.container),
            host_port: port.map(|port| port.host).filter(|host| network && *host != 0),
            volumes: container.volumes.clone(),
            folders: folders(allowed)?,
            environment: container.environment.clone().into_iter().collect(),
            health: health(container.health_check.as_ref())?,
            api: Api {
                endpoint: manifest.api.as_ref().map_or_else(|| "/execute".to_owned(), |api| api.endpoint.clone()),
                method: manifest.api.as_ref().map_or_else(|| "POST".to_owned(), |api| api.method.clone()),
                timeout: manifest.api.as_ref().and_then(|api| api.timeout).map(Duration::from_millis),
            },
            least: scale.map_or(0, |scale| scale.min) as usize,
            most,
            crowd: at_once.div_ceil(most),
        })
    }
}

fn refused(key: &str, found: &str) -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, format!("`{key}` can't be used: found `{found}`"))
}

fn health(check: Option<&manifest_schema::HealthCheck>) -> Result<Health, ToolFailure> {
    let time = |key: &str, text: Option<&String>, otherwise: u64| match text {
        Some(text) => {
            duration(text).filter(|time| !time.is_zero()).ok_or_else(|| refused(&format!("container.healthCheck.{key}"), text))
        }
        None => Ok(Duration::from_secs(otherwise)),
    };
    Ok(Health {
        path: check.map_or_else(|| "/health".to_owned(), |check| check.path.clone()),
        interval: time("interval", check.and_then(|check| check.interval.as_ref()), 30)?,
        timeout: time("timeout", check.and_then(|check| check.timeout.as_ref()), 10)?,
        retries: check.and_then(|check| check.retries).unwrap_or(3).max(1),
    })
}

/// Whether an engine takes a path for nothing but a path: a colon, a comma or a quote ends it in the forms that they put mounts into.
fn mountable(path: &str) -> bool {
    path.starts_with('/') && !path.chars().any(|character| matches!(character, ':' | ',' | '"' | '\\') || character.is_control())
}

/// Granted folders stand under `/data`, by their own last name.
fn folders(allowed: &Allowed) -> Result<Vec<Folder>, ToolFailure> {
    let mut folders: Vec<Folder> = Vec::new();
    for (power, writable) in [(Permission::FileSystemWrite, true), (Permission::FileSystemRead, false)] {
        for host in allowed.powers.get(&power).iter().flat_map(|scope| &scope.folders) {
            if folders.iter().any(|folder| folder.host == *host) {
                continue;
            }
            if !host.to_str().is_some_and(mountable) {
                let found = host.display().to_string().escape_debug().to_string();
                let failure = ToolFailure::new(
                    FailureKind::LoadFailed,
                    format!(
                        "the granted folder `{found}` can't be mounted: its path has a colon, a comma, a quote or a control character"
                    ),
                );
                return Err(failure.with_hint("ask the operator to grant a folder with a plain path"));
            }
            let name = host.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let taken = |inside: &str| folders.iter().any(|folder| folder.inside == inside);
            let plain = format!("/data/{name}");
            let inside = if taken(&plain) { format!("{plain}-{}", folders.len()) } else { plain };
            folders.push(Folder { host: host.clone(), inside, writable });
        }
    }
    Ok(folders)
}

/// `256m` in bytes.
fn memory(text: &str) -> Option<u64> {
    let (number, shift) = [('b', 0), ('k', 10), ('m', 20), ('g', 30)]
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, shift)))?;
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

/// `0.5` cores in billionths.
#[expect(clippy::cast_possible_truncation, reason = "at most 64 cores")]
fn nano_cpus(text: &str) -> Option<i64> {
    let cores = text.parse::<f64>().ok().filter(|cores| cores.is_finite() && *cores > 0.0 && *cores <= 64.0)?;
    Some(((cores * 1e9) as i64).max(10_000_000))
}

/// `30s`, `200ms`, `1m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, millis) = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        .into_iter()
        .find_map(|(unit, millis)| text.strip_suffix(unit).map(|number| (number, millis)))?;
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_says_more_than_where_it_is_is_none() {
        assert!(mountable("/cache/a b") && mountable("/データ"));
        for path in ["/:/etc:rw", "/a:ro", "/a,readonly=false", "/a\nb", "/a\"b", "a", "/a\\b"] {
            assert!(!mountable(path), "{path:?}");
        }
    }

    #[test]
    fn amounts_are_read_or_refused() {
        assert_eq!(memory("256m"), Some(256 << 20));
        assert_eq!(memory("1g"), Some(1 << 30));
        assert_eq!((memory("256"), memory("0m"), memory("m"), memory("99999999999999g")), (None, None, None, None));
        assert_eq!(nano_cpus("0.5"), Some(500_000_000));
        assert_eq!((nano_cpus("0"), nano_cpus("x"), nano_cpus("NaN"), nano_cpus("1e3")), (None, None, None, None));
        assert_eq!(
            (duration("30s"), duration("200ms"), duration("2m")),
            (Some(Duration::from_secs(30)), Some(Duration::from_millis(200)), Some(Duration::from_secs(120)))
        );
        assert_eq!((duration("s"), duration("1d")), (None, None));
    }
}
