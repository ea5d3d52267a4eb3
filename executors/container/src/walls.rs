//! The walls of a container, as the engine is asked for them. Deny is the default: what is not here was not granted.

use std::{collections::HashMap, path::Path};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use crate::plan::Plan;

/// Where the socket's folder is inside.
pub(crate) const SOCKET_FOLDER: &str = "/run/pegboard";
/// The socket in it.
pub(crate) const SOCKET: &str = "plugin.sock";
/// Processes and threads of one container.
const PIDS: i64 = 256;
/// Bytes of `/dev/shm`; they count as memory.
const SHARED: i64 = 16 << 20;

/// The user and group inside, by number: no image has a say in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `nobody` when we are root; else ourselves, so that both can use the socket.
    pub(crate) fn inside() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid.is_root() { Self { uid: 65_534, gid: 65_534 } } else { Self { uid: uid.as_raw(), gid: gid.as_raw() } }
    }
}

/// What is mounted into one replica, and how its engine takes it.
pub(crate) struct Room<'a> {
    pub(crate) socket_folder: &'a Path,
    /// The names of the plan's volumes on the engine.
    pub(crate) volumes: &'a [String],
    pub(crate) podman: bool,
}

impl Room<'_> {
    /// Typed, so that no path can say more than where it is. Podman loses a volume's `noexec` in a typed mount, and takes it in a string; names
    /// and paths of volumes are of a kind that has no colon (`plan::mountable`).
    fn mounts(&self, plan: &Plan) -> (Vec<Mount>, Vec<String>) {
        let mount = |typ, source: String, target: &str, read_only| Mount {
            typ: Some(typ),
            source: Some(source),
            target: Some(target.to_owned()),
            read_only: Some(read_only),
            ..Default::default()
        };
        let mut mounts = vec![mount(MountType::BIND, self.socket_folder.display().to_string(), SOCKET_FOLDER, false)];
        for folder in &plan.folders {
            mounts.push(mount(MountType::BIND, folder.host.display().to_string(), &folder.inside, !folder.writable));
        }
        let mut binds = Vec::new();
        for (volume, name) in plan.volumes.iter().zip(self.volumes) {
            if self.podman {
                binds.push(format!("{name}:{}:{},noexec,nosuid,nodev", volume.path, if volume.read_only { "ro" } else { "rw" }));
            } else {
                mounts.push(mount(MountType::VOLUME, name.clone(), &volume.path, volume.read_only));
            }
        }
        (mounts, binds)
    }
}

/// What is asked of the engine for one replica.
pub(crate) fn body(
    plan: &Plan,
    image: &str,
    labels: HashMap<String, String>,
    user: User,
    room: &Room<'_>,
    publish: bool,
) -> ContainerCreateBody {
    let (mounts, binds) = room.mounts(plan);
    let mut env = vec![
        format!("PEGBOARD_SOCKET={SOCKET_FOLDER}/{SOCKET}"),
        format!("PEGBOARD_PORT={}", plan.port),
        "HOME=/tmp".to_owned(),
        "TMPDIR=/tmp".to_owned(),
    ];
    env.extend(plan.environment.iter().map(|(key, value)| format!("{key}={value}")));
    let port = format!("{}/tcp", plan.port);
    let bindings = publish.then(|| {
        let host = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(plan.host_port.map_or_else(String::new, |port| port.to_string())),
        };
        [(port.clone(), Some(vec![host]))].into_iter().collect()
    });
    let tmpfs = format!("rw,nosuid,nodev,noexec,size={}m,mode=1777", plan.disk_mb);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some(format!("{}:{}", user.uid, user.gid)),
        env: Some(env),
        labels: Some(labels),
        exposed_ports: publish.then(|| vec![port]),
        host_config: Some(HostConfig {
            network_mode: Some(if plan.network { "bridge" } else { "none" }.to_owned()),
            port_bindings: bindings,
            mounts: Some(mounts),
            binds: Some(binds),
            memory: Some(plan.memory),
            // The same number: no swap besides.
            memory_swap: Some(plan.memory),
            nano_cpus: Some(plan.nano_cpus),
            pids_limit: Some(PIDS),
            shm_size: Some(SHARED.min(plan.memory)),
            readonly_rootfs: Some(true),
            tmpfs: Some([("/tmp".to_owned(), tmpfs)].into_iter().collect()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            // Reaps what the plugin leaves, and dies of the signals that a first process would ignore.
            init: Some(true),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some([("max-size".to_owned(), "1m".to_owned())].into_iter().collect()),
            }),
            // How it ended is asked first.
            auto_remove: Some(false),
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Options of a volume: the kernel holds it to its size. It lives as long as a container of the plugin has it.
pub(crate) fn volume_options(plan: &Plan, user: User) -> HashMap<String, String> {
    // In blocks: Podman takes `size` for a quota of its own, which most file systems lack.
    let blocks = (u64::from(plan.disk_mb) << 20) / page_size();
    let options = format!("nr_blocks={blocks},uid={},gid={},mode=0700,nosuid,nodev,noexec", user.uid, user.gid);
    [("type", "tmpfs"), ("device", "tmpfs"), ("o", &options)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Bytes of a page: in the auxiliary vector that the kernel gives every process, by its number 6. The largest there is where it can't be
/// read, which makes volumes smaller.
fn page_size() -> u64 {
    const PAGE_SIZE: u64 = 6;
    const LARGEST: u64 = 64 << 10;
    let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let numbers = vector.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_ne_bytes));
    let words: Vec<u64> = numbers.collect();
    words.chunks_exact(2).find(|pair| pair.first() == Some(&PAGE_SIZE)).and_then(|pair| pair.get(1).copied()).unwrap_or(LARGEST)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_is_a_power_of_two() {
        let size = super::page_size();
        assert!(size.is_power_of_two() && (4096..=65_536).contains(&size), "{size}");
    }
}
