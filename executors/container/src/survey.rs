//! What is on the engine that belongs to this installation, whichever host of it runs: for the command line, and for what is left behind.

use std::{collections::HashMap, path::Path};

use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListVolumesOptions, LogsOptions, RemoveImageOptions, RemoveVolumeOptions,
};
use executor_api::{FailureKind, ToolFailure};
use futures::{StreamExt as _, future::join_all};
use serde::Serialize;

use crate::{
    Parts, engine, labels,
    metrics::{self, Usage},
    replica,
};

/// A container of this installation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The engine's identity of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// The image.
    pub image: String,
    /// `running`, `exited`, …
    pub state: String,
    /// For people.
    pub status: String,
    /// Whether the host that made it still lives.
    pub owned: bool,
    /// What it uses, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Containers of hosts that are dead.
    pub containers: usize,
    /// Volumes of those.
    pub volumes: usize,
    /// Images that no plugin would use now.
    pub images: usize,
}

/// Every container of this installation.
pub(crate) async fn containers(parts: &Parts, with_usage: bool) -> Result<Vec<Found>, ToolFailure> {
    let connected = parts.engine.get().await?;
    let filters = [("label".to_owned(), vec![format!("{}={}", labels::HOME, parts.instance.home)])].into_iter().collect();
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let listed = connected.docker.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| parts.engine.failed("listing the containers", &error))?;
    let home = home(parts);
    let mut found: Vec<Found> = listed
        .into_iter()
        .filter_map(|container| {
            let own = container.labels?;
            Some(Found {
                id: container.id?,
                name: container.names?.first()?.trim_start_matches('/').to_owned(),
                plugin: own.get(labels::PLUGIN)?.clone(),
                image: container.image.unwrap_or_default(),
                state: container.state.map(|state| state.to_string()).unwrap_or_default(),
                status: container.status.unwrap_or_default(),
                owned: own.get(labels::INSTANCE).is_some_and(|name| *name == parts.instance.name || labels::is_alive(home, name)),
                usage: None,
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.plugin, &a.name).cmp(&(&b.plugin, &b.name)));
    if with_usage {
        let used = join_all(found.iter().map(|container| metrics::usage(&connected, &container.id))).await;
        for (container, used) in found.iter_mut().zip(used) {
            container.usage = used.filter(|_| container.state == "running");
        }
    }
    Ok(found)
}

fn home(parts: &Parts) -> &Path {
    parts.instance.folder.parent().unwrap_or(Path::new("/"))
}

/// Removes what dead hosts of this installation left: after `kill -9` or a crash of the machine.
pub(crate) async fn sweep(parts: &Parts) -> Result<Pruned, ToolFailure> {
    let orphans: Vec<Found> = containers(parts, false).await?.into_iter().filter(|container| !container.owned).collect();
    join_all(orphans.iter().map(|orphan| replica::remove(parts, &orphan.id))).await;
    if !orphans.is_empty() {
        tracing::info!(containers = orphans.len(), "removed containers of a host that is dead");
    }
    let ours = |labels: &HashMap<String, String>| labels.get(labels::HOME) == Some(&parts.instance.home);
    Ok(Pruned { containers: orphans.len(), volumes: volumes(parts, ours).await?, images: 0 })
}

/// Removes what hosts of other homes left of which no lock is held any more, the home itself perhaps being gone. By the operator's word only: a
/// host in a container of its own has its home, and its lock, where this one may not see them.
pub(crate) async fn sweep_other_homes(parts: &Parts) -> Result<Pruned, ToolFailure> {
    let connected = parts.engine.get().await?;
    let filters = [("label".to_owned(), vec![labels::PLACE.to_owned()])].into_iter().collect();
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let listed = connected.docker.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| parts.engine.failed("listing the containers", &error))?;
    let others = |labels: &HashMap<String, String>| {
        labels.contains_key(labels::PLACE) && labels.get(labels::HOME) != Some(&parts.instance.home)
    };
    let dead: Vec<String> = listed
        .into_iter()
        .filter(|container| container.labels.as_ref().is_some_and(|labels| others(labels) && !lives(parts, labels)))
        .filter_map(|container| container.id)
        .collect();
    join_all(dead.iter().map(|id| replica::remove(parts, id))).await;
    Ok(Pruned { containers: dead.len(), volumes: volumes(parts, others).await?, images: 0 })
}

/// Whether the host that made something lives, by the lock in the place that it named.
fn lives(parts: &Parts, own: &HashMap<String, String>) -> bool {
    let instance = own.get(labels::INSTANCE).map_or("", String::as_str);
    let place = own.get(labels::PLACE).map_or(home(parts), |place| Path::new(place.as_str()));
    instance == parts.instance.name || labels::is_alive(place, instance)
}

async fn volumes(parts: &Parts, concerned: impl Fn(&HashMap<String, String>) -> bool) -> Result<usize, ToolFailure> {
    let connected = parts.engine.get().await?;
    let filters = [("label".to_owned(), vec![labels::HOME.to_owned()])].into_iter().collect();
    let listed = connected.docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await;
    let listed = listed.map_err(|error| parts.engine.failed("listing the volumes", &error))?;
    let mut removed = 0;
    for volume in listed.volumes.unwrap_or_default() {
        if !concerned(&volume.labels) || lives(parts, &volume.labels) {
            continue;
        }
        removed += usize::from(connected.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await.is_ok());
    }
    Ok(removed)
}

/// Removes the volumes that this host made; at its end.
pub(crate) async fn own_volumes(parts: &Parts) {
    let Ok(connected) = parts.engine.get().await else { return };
    let filters = [("label".to_owned(), vec![format!("{}={}", labels::INSTANCE, parts.instance.name)])].into_iter().collect();
    let listed = connected.docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await;
    for volume in listed.ok().and_then(|listed| listed.volumes).unwrap_or_default() {
        // Still in use by what could not be removed: swept later.
        drop(connected.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await);
    }
}

/// Removes images that were built for this installation and are none of `current`.
pub(crate) async fn images(parts: &Parts, current: &[String]) -> Result<usize, ToolFailure> {
    let connected = parts.engine.get().await?;
    let filters = [("label".to_owned(), vec![format!("{}={}", labels::HOME, parts.instance.home)])].into_iter().collect();
    let listed = connected.docker.list_images(Some(ListImagesOptions { filters: Some(filters), ..Default::default() })).await;
    let listed = listed.map_err(|error| parts.engine.failed("listing the images", &error))?;
    let mut removed = 0;
    for image in listed {
        if image.repo_tags.iter().any(|tag| current.contains(tag)) {
            continue;
        }
        for name in image.repo_tags.iter().filter(|tag| tag.starts_with("localhost/pegboard/")).chain(std::iter::once(&image.id))
        {
            // In use, or gone with its last name.
            if connected.docker.remove_image(name, None::<RemoveImageOptions>, None).await.is_ok() {
                removed += 1;
                break;
            }
        }
    }
    Ok(removed)
}

/// The last lines that a container wrote, its two streams as they came.
pub(crate) async fn logs(parts: &Parts, id: &str, lines: u32, mut each: impl FnMut(&[u8])) -> Result<(), ToolFailure> {
    let connected = parts.engine.get().await?;
    let options = LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..Default::default() };
    let mut stream = connected.docker.logs(id, Some(options));
    while let Some(line) = stream.next().await {
        match line {
            Ok(line) => each(line.as_ref()),
            Err(error) if engine::is_absent(&error) => {
                return Err(ToolFailure::new(FailureKind::Unavailable, "the container is gone"));
            }
            Err(error) => return Err(parts.engine.failed("reading what the container wrote", &error)),
        }
    }
    Ok(())
}
