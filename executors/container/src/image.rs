//! The image of a plugin: built from its folder under a tag that is the digest of what it is built from, or found, or downloaded.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use bollard::{
    Docker, body_full,
    models::{BuildInfo, CreateImageInfo},
    query_parameters::{BuildImageOptions, CreateImageOptions, PushImageOptions, TagImageOptions},
};
use executor_api::{FailureKind, ToolFailure};
use futures::{Stream, StreamExt as _};
use manifest_schema::Digest;
use policy::Plugin;

use crate::{
    context,
    engine::{self, Connected, Engine},
    labels,
    settings::ContainerSettings,
};

/// Lines of a build that are kept for its failure.
const KEPT_LINES: usize = 25;
/// Bytes of one such line.
const LINE: usize = 400;

/// Told what a build or a download does, a line at a time.
pub(crate) type Told = Arc<dyn Fn(String) + Send + Sync>;

/// An image that is to be built.
struct Recipe {
    tar: Vec<u8>,
    dockerfile: String,
    tag: String,
    digest: Digest,
}

/// The image of the plugin, made ready; its identity on the engine.
///
/// # Errors
/// What the caller of a tool is told: the last lines of a build that failed are its detail.
pub(crate) async fn ready(
    engine: &Engine,
    settings: &ContainerSettings,
    home: &str,
    plugin: &Plugin,
    told: &Told,
    again: bool,
) -> Result<String, ToolFailure> {
    let connected = engine.get().await?;
    let making = async {
        match recipe(settings, plugin).await? {
            Some(recipe) => built(engine, &connected, home, plugin, recipe, told, again).await,
            None => found(engine, &connected, plugin, told, again).await,
        }
    };
    let limit = settings.image_limit;
    tokio::time::timeout(limit, making).await.unwrap_or_else(|_| Err(too_long(limit)))
}

fn too_long(limit: Duration) -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, format!("the image was not ready within {} s", limit.as_secs()))
}

/// The tag that the plugin's files would be built under now; `None` for a plugin that is not built.
pub(crate) async fn tag(settings: &ContainerSettings, plugin: &Plugin) -> Result<Option<String>, ToolFailure> {
    Ok(recipe(settings, plugin).await?.map(|recipe| recipe.tag))
}

async fn recipe(settings: &ContainerSettings, plugin: &Plugin) -> Result<Option<Recipe>, ToolFailure> {
    let Some(container) = &plugin.manifest.container else {
        return Err(ToolFailure::new(FailureKind::Internal, "the plugin has no `container` section"));
    };
    let Some(dockerfile) = container.dockerfile.clone() else { return Ok(None) };
    let folder = plugin.root.join(container.build_context.as_deref().unwrap_or("."));
    let (root, limit) = (plugin.root.clone(), settings.max_context);
    let packed = tokio::task::spawn_blocking(move || {
        // A link as build context would carry files of the operator's into an image.
        let folder = std::fs::canonicalize(&folder).map_err(|error| format!("`{}` can't be read: {error}", folder.display()))?;
        if !folder.starts_with(&root) {
            return Err("the build context lies outside of the plugin".to_owned());
        }
        context::pack(&folder, limit).map_err(|error| error.to_string())
    });
    let refused = |problem: String| ToolFailure::new(FailureKind::LoadFailed, format!("the image can't be built: {problem}"));
    let tar = packed.await.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
    let digest = Digest::of([dockerfile.as_bytes(), &tar]);
    let tag = format!("{}:{}", repository(plugin), digest.short());
    Ok(Some(Recipe { tar, dockerfile, tag, digest }))
}

/// `localhost/` keeps every engine from looking for it in a registry.
pub(crate) fn repository(plugin: &Plugin) -> String {
    format!("localhost/pegboard/{}", plugin.manifest.name)
}

async fn built(
    engine: &Engine,
    connected: &Connected,
    home: &str,
    plugin: &Plugin,
    recipe: Recipe,
    told: &Told,
    again: bool,
) -> Result<String, ToolFailure> {
    let docker = &connected.docker;
    if !again && let Some(id) = identity(engine, docker, &recipe.tag).await? {
        return Ok(id);
    }
    told(format!("building the image of {}", plugin.manifest.name));
    let labels =
        [(labels::HOME, home), (labels::PLUGIN, plugin.manifest.name.as_str()), (labels::CONTEXT, recipe.digest.as_str())];
    let options = BuildImageOptions {
        dockerfile: recipe.dockerfile,
        t: Some(recipe.tag.clone()),
        nocache: again,
        rm: true,
        forcerm: true,
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        ..Default::default()
    };
    let stream = docker.build_image(options, None, Some(body_full(recipe.tar.into())));
    let stream = stream.map(|step| step.map(BuildLine::from));
    follow(engine, "building the image", stream, told).await?;
    if let Some(name) =
        plugin.manifest.container.as_ref().and_then(|container| container.image.as_deref()).filter(|name| !name.contains('@'))
    {
        let (repo, tag) = name_and_tag(name);
        let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        docker.tag_image(&recipe.tag, Some(options)).await.map_err(|error| engine.failed("naming the image", &error))?;
    }
    let missing = || ToolFailure::new(FailureKind::LoadFailed, "the engine says that it built the image, and has none");
    identity(engine, docker, &recipe.tag).await?.ok_or_else(missing)
}

async fn found(engine: &Engine, connected: &Connected, plugin: &Plugin, told: &Told, again: bool) -> Result<String, ToolFailure> {
    let docker = &connected.docker;
    let name = plugin.manifest.container.as_ref().and_then(|container| container.image.clone()).unwrap_or_default();
    if !again && let Some(id) = identity(engine, docker, &name).await? {
        return Ok(id);
    }
    told(format!("downloading the image {name}"));
    let (repo, tag) = name_and_tag(&name);
    let options = match name.contains('@') {
        true => CreateImageOptions { from_image: Some(name.clone()), ..Default::default() },
        false => CreateImageOptions { from_image: Some(repo.to_owned()), tag: Some(tag.to_owned()), ..Default::default() },
    };
    let stream = docker.create_image(Some(options), None, None).map(|step| step.map(BuildLine::from));
    let pulled = follow(engine, &format!("downloading the image `{name}`"), stream, told).await;
    if let (Err(failure), false) = (&pulled, again) {
        return Err(failure.clone().with_hint("ask the operator to load the image into the engine, or to reach its registry"));
    }
    if let Some(id) = identity(engine, docker, &name).await? {
        return Ok(id);
    }
    pulled?;
    Err(ToolFailure::new(FailureKind::LoadFailed, format!("the engine has no image `{name}`")))
}

/// Pushes the plugin's image to the registry of its name.
///
/// # Errors
/// No name to push to, or what the registry said.
pub(crate) async fn push(engine: &Engine, plugin: &Plugin, told: &Told) -> Result<String, ToolFailure> {
    let name =
        plugin.manifest.container.as_ref().and_then(|container| container.image.clone()).filter(|name| !name.contains('@'));
    let Some(name) = name else {
        let failure = ToolFailure::new(FailureKind::LoadFailed, "the manifest names no image to push");
        return Err(failure.with_hint("`container.image: registry.example.org/name:1.0.0`"));
    };
    let connected = engine.get().await?;
    let (repo, tag) = name_and_tag(&name);
    let options = PushImageOptions { tag: Some(tag.to_owned()), ..Default::default() };
    let stream = connected.docker.push_image(repo, Some(options), None).map(|step| {
        step.map(|info| BuildLine {
            text: info.status.unwrap_or_default(),
            problem: info.error_detail.map(|detail| detail.message.unwrap_or_default()),
        })
    });
    follow(engine, &format!("pushing `{name}`"), stream, told).await.map(|()| name)
}

/// What the engine calls an image of that name; `None` when it has none.
async fn identity(engine: &Engine, docker: &Docker, name: &str) -> Result<Option<String>, ToolFailure> {
    match docker.inspect_image(name).await {
        Ok(image) => Ok(image.id),
        Err(error) if engine::is_absent(&error) => Ok(None),
        Err(error) => Err(engine.failed("looking for the image", &error)),
    }
}

/// `name:tag`, where a port of a registry is no tag.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// One step of whatever streams.
struct BuildLine {
    text: String,
    problem: Option<String>,
}

impl From<BuildInfo> for BuildLine {
    fn from(info: BuildInfo) -> Self {
        let problem = info.error_detail.map(|detail| detail.message.unwrap_or_default());
        Self { text: info.stream.or(info.status).unwrap_or_default(), problem }
    }
}

impl From<CreateImageInfo> for BuildLine {
    fn from(info: CreateImageInfo) -> Self {
        let problem = info.error_detail.map(|detail| detail.message.unwrap_or_default());
        let layer = info.id.map(|id| format!("{id}: ")).unwrap_or_default();
        Self { text: format!("{layer}{}", info.status.unwrap_or_default()), problem }
    }
}

/// Tells every line, and keeps the last ones for the failure.
async fn follow(
    engine: &Engine,
    doing: &str,
    stream: impl Stream<Item = Result<BuildLine, bollard::errors::Error>>,
    told: &Told,
) -> Result<(), ToolFailure> {
    tokio::pin!(stream);
    let mut last: VecDeque<String> = VecDeque::with_capacity(KEPT_LINES);
    let mut failed = None;
    while let Some(step) = stream.next().await {
        match step {
            Ok(line) => {
                for text in line.text.lines().map(str::trim_end).filter(|text| !text.is_empty()) {
                    let text: String = text.chars().take(LINE).collect();
                    told(text.clone());
                    if last.len() == KEPT_LINES {
                        last.pop_front();
                    }
                    last.push_back(text);
                }
                if let Some(problem) = line.problem {
                    failed = Some(ToolFailure::new(FailureKind::LoadFailed, format!("{doing} failed: {problem}")));
                }
            }
            Err(error) => failed = Some(engine.failed(doing, &error)),
        }
    }
    match failed {
        None => Ok(()),
        Some(failure) if last.is_empty() => Err(failure),
        Some(failure) => Err(failure.with_detail(Vec::from(last).join("\n"))),
    }
}

/// Whether a plugin's Dockerfile is there, for a message before anything is sent.
pub(crate) fn has_dockerfile(plugin: &Plugin) -> bool {
    let Some(container) = &plugin.manifest.container else { return false };
    let folder = plugin.root.join(container.build_context.as_deref().unwrap_or("."));
    container.dockerfile.as_ref().is_none_or(|file| Path::new(&folder).join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::name_and_tag;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(name_and_tag("a/b:1"), ("a/b", "1"));
        assert_eq!(name_and_tag("localhost:5000/a"), ("localhost:5000/a", "latest"));
        assert_eq!(name_and_tag("localhost:5000/a:2"), ("localhost:5000/a", "2"));
    }
}
