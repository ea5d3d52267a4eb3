//! Which embedder: the settings and the environment as places to look at, and what was found there.

use std::{env, fs, path::PathBuf, sync::Arc, time::Duration};

use index::{Embedder, EmbedderUnavailable, FastEmbedder, Located, Places, StaticEmbedder, Unavailable};
use server::EmbedderChoice;

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    models,
    settings::{EmbedderKind, Settings},
};

/// Looks for a model and the ONNX runtime; loads neither.
pub(crate) fn locate(settings: &Settings) -> Result<Located, EmbedderUnavailable> {
    let (wanted, places) = (&settings.file.embedder, &settings.places);
    let models = places.data.join("models");
    let beside = env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let system = ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let libraries = [Some(models.clone()), Some(places.cache.join("tools")), beside].into_iter().flatten();
    let chosen = match models::chosen(places).ok().and_then(|chosen| chosen.name) {
        Some(name) if wanted.model.is_none() && !matches!(name.as_str(), "static" | "none") => Some(models.join(name)),
        _ => None,
    };
    index::locate(&Places {
        model: wanted.model.clone().or(chosen),
        onnxruntime: wanted
            .onnxruntime
            .clone()
            .or_else(|| env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)),
        models: vec![models, places.cache.join("models")],
        libraries: libraries.chain(system.map(PathBuf::from)).collect(),
        site_packages: site_packages(),
    })
}

/// Whether an ONNX runtime is in one of the places, whatever else is missing.
pub(crate) fn has_runtime(settings: &Settings) -> bool {
    !matches!(
        locate(settings),
        Err(EmbedderUnavailable { reason: Unavailable::NoLibrary { .. } | Unavailable::LibraryUnreadable { .. }, .. })
    )
}

/// The packages of the active Python environment; its `onnxruntime` carries the library.
fn site_packages() -> Vec<PathBuf> {
    let Some(environment) = env::var_os("VIRTUAL_ENV").map(PathBuf::from).filter(|path| path.is_absolute()) else {
        return Vec::new();
    };
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = versions.map(|version| version.join("site-packages")).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// How long one request may take to be measured. A server goes on without the vector after half a second; a measurement on a busy machine is
/// none of how busy it is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Loads what [`choose`] chose; `None` for words alone. Where a server would go on with less, this does not, and waits.
pub(crate) fn open(settings: &Settings) -> Outcome<Option<Arc<dyn Embedder>>> {
    Ok(Some(match choose(settings)? {
        EmbedderChoice::Lexical => return Ok(None),
        EmbedderChoice::Static => Arc::new(
            StaticEmbedder::shipped().map_err(|error| Failure::new(Exit::Internal, "embedder.table", error.to_string()))?,
        ),
        EmbedderChoice::Fastembed { model, onnxruntime } => Arc::new(
            FastEmbedder::open(&model, &onnxruntime)
                .map_err(|error| Failure::new(Exit::Unavailable, "embedder.missing", error.to_string()).hint(error.hint))?
                .patient(PATIENCE),
        ),
    }))
}

/// What the server is told. What was named and is not there stops the start; what was only looked for does not.
pub(crate) fn choose(settings: &Settings) -> Outcome<EmbedderChoice> {
    let wanted = &settings.file.embedder;
    let chosen = models::chosen(&settings.places)?.name;
    match (wanted.kind, chosen.as_deref()) {
        (EmbedderKind::None, _) => return Ok(EmbedderChoice::Lexical),
        (EmbedderKind::Static, _) => return Ok(EmbedderChoice::Static),
        (EmbedderKind::Auto, Some("none")) if wanted.model.is_none() => return Ok(EmbedderChoice::Lexical),
        (EmbedderKind::Auto, Some("static")) if wanted.model.is_none() => return Ok(EmbedderChoice::Static),
        (EmbedderKind::Auto | EmbedderKind::Fastembed, _) => {}
    }
    let named =
        wanted.kind == EmbedderKind::Fastembed || wanted.model.is_some() || wanted.onnxruntime.is_some() || chosen.is_some();
    match locate(settings) {
        Ok(Located { model, onnxruntime }) => Ok(EmbedderChoice::Fastembed { model, onnxruntime }),
        Err(_) if !named => Ok(EmbedderChoice::Static),
        Err(error) => Err(Failure::new(Exit::Usage, "embedder.missing", error.to_string()).hint(error.hint)),
    }
}
