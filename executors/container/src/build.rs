//! The image of a plugin built from its folder: what it is built from, and the walls of the build. `RUN` steps are the author's code, as root in
//! a container of the engine's, before anybody called anything: they get no network and bounded memory and CPU.
//!
//! Under which names images are found, downloaded and pushed is `image`'s.

use bollard::{Docker, body_full, query_parameters::BuildImageOptions};
use executor_api::{FailureKind, ToolFailure};
use futures::StreamExt as _;
use hyper::Uri;
use manifest_schema::Digest;
use policy::Plugin;

use crate::{
    context, dockerfile,
    engine::{Connected, Engine, EngineKind},
    image::{self, Line, Making, Told},
    labels,
    settings::ContainerSettings,
};

/// Bytes of memory of one step, swap included.
const MEMORY: i32 = 2_000_000_000;
/// Microseconds of CPU in each period: two cores.
const CPU_QUOTA: i32 = 200_000;
const CPU_PERIOD: i32 = 100_000;

/// What an image is built from.
pub(crate) struct Recipe {
    tar: Vec<u8>,
    dockerfile: String,
    /// What the Dockerfile says.
    text: String,
    pub(crate) tag: String,
    digest: Digest,
}

/// What the plugin's image would be built from now; `None` for a plugin that is not built.
///
/// # Errors
/// The folder can't be packed.
pub(crate) async fn recipe(settings: &ContainerSettings, plugin: &Plugin) -> Result<Option<Recipe>, ToolFailure> {
    let Some(container) = &plugin.manifest.container else {
        return Err(ToolFailure::new(FailureKind::Internal, "the plugin has no `container` section"));
    };
    let Some(dockerfile) = container.dockerfile.clone() else { return Ok(None) };
    let folder = plugin.root.join(container.build_context.as_deref().unwrap_or("."));
    let (root, name, limit) = (plugin.root.clone(), dockerfile.clone(), settings.max_context);
    let packed = tokio::task::spawn_blocking(move || {
        // A link as build context would carry files of the operator's into an image.
        let folder = std::fs::canonicalize(&folder).map_err(|error| format!("`{}` can't be read: {error}", folder.display()))?;
        if !folder.starts_with(&root) {
            return Err("the build context lies outside of the plugin".to_owned());
        }
        context::pack(&folder, &name, limit).map_err(|error| error.to_string())
    });
    let packed = packed.await.map_err(|error| refused(&error.to_string()))?.map_err(|problem| refused(&problem))?;
    let digest = Digest::of([dockerfile.as_bytes(), &packed.tar]);
    let tag = format!("{}{}:{}", image::OURS, plugin.manifest.name, digest.short());
    Ok(Some(Recipe { tar: packed.tar, dockerfile, text: packed.dockerfile, tag, digest }))
}

fn refused(problem: &str) -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, format!("the image can't be built: {problem}"))
}

/// The image built of `recipe`, unless the engine has it; its identity.
///
/// It gets the name that its digest makes and no other: a name of the manifest's could be another's, and stays free until an operator pushes.
///
/// # Errors
/// The last lines of a build that failed are its detail.
pub(crate) async fn built(
    engine: &Engine,
    connected: &Connected,
    home: &str,
    plugin: &Plugin,
    recipe: Recipe,
    making: Making,
    told: &Told,
) -> Result<String, ToolFailure> {
    let docker = &connected.docker;
    let is_of_this = |image: &image::Known| image.label(labels::CONTEXT) == Some(recipe.digest.as_str());
    if !making.again
        && let Some(image) = image::known(engine, docker, &recipe.tag).await?.filter(is_of_this)
    {
        return Ok(image.id);
    }
    dockerfile::check(&recipe.text, making.network).map_err(|problem| without_network(refused(&problem.to_string()), making))?;
    let name = plugin.manifest.name.as_str();
    told(format!("building the image of {name}{}", if making.network { ", with a network" } else { "" }));
    let labels = [(labels::HOME, home), (labels::PLUGIN, name), (labels::CONTEXT, recipe.digest.as_str())];
    let podman = connected.facts.kind == EngineKind::Podman;
    let options = BuildImageOptions {
        dockerfile: recipe.dockerfile,
        t: Some(recipe.tag.clone()),
        // Podman's cache would answer with a step that had no network.
        nocache: making.again || making.network,
        rm: true,
        forcerm: true,
        memory: Some(MEMORY),
        memswap: Some(MEMORY),
        cpuperiod: Some(CPU_PERIOD),
        cpuquota: Some(CPU_QUOTA),
        networkmode: network_mode(podman, making.network),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        ..Default::default()
    };
    let builder = if podman { apart_from_the_host(docker.clone()) } else { docker.clone() };
    let stream = builder.build_image(options, None, Some(body_full(recipe.tar.into()))).map(|step| step.map(Line::from));
    if let Err(failure) = image::follow(engine, "building the image", stream, told).await {
        if !making.network && failure.kind == FailureKind::LoadFailed {
            tracing::warn!(
                plugin = name,
                "the build had no network; where it needs one: pegboard container rebuild {name} --network"
            );
        }
        return Err(without_network(failure, making));
    }
    let missing = || ToolFailure::new(FailureKind::LoadFailed, "the engine says that it built the image, and has none");
    Ok(image::known(engine, docker, &recipe.tag).await?.ok_or_else(missing)?.id)
}

/// What a model may be told of the way out; the operator's command stands in the log.
fn without_network(failure: ToolFailure, making: Making) -> ToolFailure {
    if making.network || failure.kind != FailureKind::LoadFailed || failure.hint.is_some() {
        return failure;
    }
    failure.with_hint("builds have no network; if this one needs it, ask the operator to build the image once with a network")
}

/// Docker's word for it; Podman takes none of those words and the number of its own policy: 1 is disabled, 2 enabled.
fn network_mode(podman: bool, network: bool) -> Option<String> {
    let word = match (podman, network) {
        (false, false) => "none",
        (false, true) => "default",
        (true, false) => "1",
        (true, true) => "2",
    };
    Some(word.to_owned())
}

/// Podman's service runs the steps of a build in the host's own network unless it is told to make a namespace for them, whatever
/// `networkmode` says; and that option is not one of Docker's.
fn apart_from_the_host(docker: Docker) -> Docker {
    const OWN_NETWORK: &str = "nsoptions=%5B%7B%22Name%22%3A%22network%22%2C%22Host%22%3Afalse%7D%5D";
    docker.with_request_modifier(|mut request| {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = parts.path_and_query.map(|path| {
            let join = if path.query().is_some() { '&' } else { '?' };
            format!("{path}{join}{OWN_NETWORK}").try_into().unwrap_or(path)
        });
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        request
    })
}
