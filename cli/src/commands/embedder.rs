//! Which embedder: the settings and the environment as places to look at, and what was found there.

use std::{env, fs, path::PathBuf};

use index::{EmbedderUnavailable, Located, Places};
use server::EmbedderChoice;

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    settings::{EmbedderKind, Settings},
};

/// Looks for a model and the ONNX runtime; loads neither.
pub(crate) fn locate(settings: &Settings) -> Result<Located, EmbedderUnavailable> {
    let (wanted, places) = (&settings.file.embedder, &settings.places);
    let models = places.data.join("models");
    let beside = env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let system = ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    let libraries = [Some(models.clone()), Some(places.cache.join("tools")), beside].into_iter().flatten();
    index::locate(&Places {
        model: wanted.model.clone(),
        onnxruntime: wanted
            .onnxruntime
            .clone()
            .or_else(|| env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)),
        models: vec![models, places.cache.join("models")],
        libraries: libraries.chain(system.map(PathBuf::from)).collect(),
        site_packages: site_packages(),
    })
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

/// What the server is told. What was named and is not there stops the start; what was only looked for does not.
pub(crate) fn choose(settings: &Settings) -> Outcome<EmbedderChoice> {
    let wanted = &settings.file.embedder;
    match wanted.kind {
        EmbedderKind::None => return Ok(EmbedderChoice::Lexical),
        EmbedderKind::Static => return Ok(EmbedderChoice::Static),
        EmbedderKind::Auto | EmbedderKind::Fastembed => {}
    }
    let named = wanted.kind == EmbedderKind::Fastembed || wanted.model.is_some() || wanted.onnxruntime.is_some();
    match locate(settings) {
        Ok(Located { model, onnxruntime }) => Ok(EmbedderChoice::Fastembed { model, onnxruntime }),
        Err(_) if !named => Ok(EmbedderChoice::Static),
        Err(error) => Err(Failure::new(Exit::Usage, "embedder.missing", error.to_string()).hint(error.hint)),
    }
}
