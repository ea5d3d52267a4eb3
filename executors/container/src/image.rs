//! The image of a plugin: found by the digest of what it is built from, or by its name, or downloaded; and pushed. Which names an image gets is
//! decided here: no plugin can have an image of the operator's, or of another plugin, replaced.
//!
//! How one is built, and within which walls, is `build`'s.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bollard::{
    Docker,
    models::{BuildInfo, CreateImageInfo},
    query_parameters::{CreateImageOptions, PushImageOptions, TagImageOptions},
};
use executor_api::{FailureKind, ToolFailure};
use futures::{Stream, StreamExt as _};
use policy::Plugin;

use crate::{
    build,
    engine::{self, Connected, Engine},
    settings::ContainerSettings,
};

/// How the images that are built here are called. `localhost/` keeps every engine from looking for them in a registry.
pub(crate) const OURS: &str = "localhost/pegboard/";
/// Lines of a build that are kept for its failure.
const KEPT_LINES: usize = 25;
/// Bytes of one such line.
const LINE: usize = 400;
/// Bytes that a build or a download may say in all.
const MOST_SAID: usize = 16 << 20;

/// Told what a build or a download does, a line at a time.
pub(crate) type Told = Arc<dyn Fn(String) + Send + Sync>;

/// How an image is made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Making {
    /// What the engine has is not taken.
    pub(crate) again: bool,
    /// The steps of a build get a network: the plugin holds a network power, or the operator said so.
    pub(crate) network: bool,
}

/// An image that the engine has.
pub(crate) struct Known {
    pub(crate) id: String,
    labels: HashMap<String, String>,
}

impl Known {
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
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
    how: Making,
) -> Result<String, ToolFailure> {
    let connected = engine.get().await?;
    let making = async {
        match build::recipe(settings, plugin).await? {
            Some(recipe) => build::built(engine, &connected, home, plugin, recipe, how, told).await,
            None => found(engine, &connected, plugin, told, how.again).await,
        }
    };
    let limit = settings.image_limit;
    // Giving up closes the connection, and the engine ends a build that nobody listens to.
    tokio::time::timeout(limit, making).await.unwrap_or_else(|_| Err(too_long(limit)))
}

fn too_long(limit: Duration) -> ToolFailure {
    ToolFailure::new(FailureKind::LoadFailed, format!("the image was not ready within {} s", limit.as_secs_f64()))
}

/// The tag that the plugin's files would be built under now; `None` for a plugin that is not built.
pub(crate) async fn tag(settings: &ContainerSettings, plugin: &Plugin) -> Result<Option<String>, ToolFailure> {
    Ok(build::recipe(settings, plugin).await?.map(|recipe| recipe.tag))
}

async fn found(engine: &Engine, connected: &Connected, plugin: &Plugin, told: &Told, again: bool) -> Result<String, ToolFailure> {
    let docker = &connected.docker;
    let name = plugin.manifest.container.as_ref().and_then(|container| container.image.clone()).unwrap_or_default();
    if !again && let Some(image) = known(engine, docker, &name).await? {
        return Ok(image.id);
    }
    told(format!("downloading the image {name}"));
    let (repo, tag) = name_and_tag(&name);
    let options = match name.contains('@') {
        true => CreateImageOptions { from_image: Some(name.clone()), ..Default::default() },
        false => CreateImageOptions { from_image: Some(repo.to_owned()), tag: Some(tag.to_owned()), ..Default::default() },
    };
    let stream = docker.create_image(Some(options), None, None).map(|step| step.map(Line::from));
    let pulled = follow(engine, &format!("downloading the image `{name}`"), stream, told).await;
    if let (Err(failure), false) = (&pulled, again) {
        return Err(failure.clone().with_hint("ask the operator to load the image into the engine, or to reach its registry"));
    }
    if let Some(image) = known(engine, docker, &name).await? {
        return Ok(image.id);
    }
    pulled?;
    Err(ToolFailure::new(FailureKind::LoadFailed, format!("the engine has no image `{name}`")))
}

/// Pushes the plugin's image to the registry of its name. `built` is the image that was built for it; it gets the name only here, because an
/// operator asks for it, and takes it from no other image unless `replace` says so.
///
/// # Errors
/// No name to push to, a name that is another image's, or what the registry said.
pub(crate) async fn push(
    engine: &Engine,
    plugin: &Plugin,
    built: Option<&str>,
    replace: bool,
    told: &Told,
) -> Result<String, ToolFailure> {
    let name =
        plugin.manifest.container.as_ref().and_then(|container| container.image.clone()).filter(|name| !name.contains('@'));
    let Some(name) = name else {
        let failure = ToolFailure::new(FailureKind::LoadFailed, "the manifest names no image to push");
        return Err(failure.with_hint("`container.image: registry.example.org/name:1.0.0`"));
    };
    if name.starts_with(OURS) {
        let failure = ToolFailure::new(
            FailureKind::LoadFailed,
            format!("`{name}` is no name for a registry: what is built here is called so"),
        );
        return Err(failure.with_hint("`container.image: registry.example.org/name:1.0.0`"));
    }
    let connected = engine.get().await?;
    let (repo, tag) = name_and_tag(&name);
    if let Some(built) = built {
        match known(engine, &connected.docker, &name).await? {
            Some(image) if image.id == built => {}
            Some(_) if !replace => {
                let failure =
                    ToolFailure::new(FailureKind::LoadFailed, format!("the engine has another image that is called `{name}`"));
                return Err(failure.with_hint("`--replace` gives its name to the plugin's image"));
            }
            _ => {
                let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
                let named = connected.docker.tag_image(built, Some(options)).await;
                named.map_err(|error| engine.failed("naming the image", &error))?;
            }
        }
    }
    let options = PushImageOptions { tag: Some(tag.to_owned()), ..Default::default() };
    let stream = connected.docker.push_image(repo, Some(options), None).map(|step| {
        step.map(|info| Line {
            text: info.status.unwrap_or_default(),
            problem: info.error_detail.map(|detail| detail.message.unwrap_or_default()),
        })
    });
    follow(engine, &format!("pushing `{name}`"), stream, told).await.map(|()| name)
}

/// The image that the engine has under that name, if any.
pub(crate) async fn known(engine: &Engine, docker: &Docker, name: &str) -> Result<Option<Known>, ToolFailure> {
    match docker.inspect_image(name).await {
        Ok(image) => {
            let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
            Ok(image.id.map(|id| Known { id, labels }))
        }
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
pub(crate) struct Line {
    text: String,
    problem: Option<String>,
}

impl From<BuildInfo> for Line {
    fn from(info: BuildInfo) -> Self {
        let problem = info.error_detail.map(|detail| detail.message.unwrap_or_default());
        Self { text: info.stream.or(info.status).unwrap_or_default(), problem }
    }
}

impl From<CreateImageInfo> for Line {
    fn from(info: CreateImageInfo) -> Self {
        let problem = info.error_detail.map(|detail| detail.message.unwrap_or_default());
        let layer = info.id.map(|id| format!("{id}: ")).unwrap_or_default();
        Self { text: format!("{layer}{}", info.status.unwrap_or_default()), problem }
    }
}

/// Tells every line, and keeps the last ones for the failure. What says too much is given up.
pub(crate) async fn follow(
    engine: &Engine,
    doing: &str,
    stream: impl Stream<Item = Result<Line, bollard::errors::Error>>,
    told: &Told,
) -> Result<(), ToolFailure> {
    tokio::pin!(stream);
    let mut last: VecDeque<String> = VecDeque::with_capacity(KEPT_LINES);
    let (mut failed, mut said) = (None, 0_usize);
    while let Some(step) = stream.next().await {
        match step {
            Ok(line) => {
                said = said.saturating_add(line.text.len());
                if said > MOST_SAID {
                    failed = Some(ToolFailure::new(
                        FailureKind::LoadFailed,
                        format!("{doing} failed: it said more than {MOST_SAID} bytes"),
                    ));
                    break;
                }
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
