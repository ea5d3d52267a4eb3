//! Loads the plugin that is developed as soon as it changes, so that a mistake in its code is seen before the first call.

use std::{path::PathBuf, sync::Arc};

use executor_api::Executor;
use executor_python::PythonExecutor;
use policy::{Allowed, Plugin};

use super::console::Console;
use crate::commands::readying::{Readied, Readies, Readying};

/// Where the plugin is the folder's, it is started before its executor makes it ready.
struct Eager {
    python: PythonExecutor,
    folder: PathBuf,
    console: Arc<Console>,
}

/// The executor of Python plugins, eager for the plugin of a folder.
pub(super) fn executor(python: PythonExecutor, folder: PathBuf, console: Arc<Console>) -> Arc<dyn Executor> {
    Arc::new(Readying { executor: Arc::new(python.clone()), way: Eager { python, folder, console } })
}

impl Readies for Eager {
    fn ready<'a>(&'a self, executor: &'a dyn Executor, plugin: Arc<Plugin>, allowed: Arc<Allowed>) -> Readied<'a> {
        Box::pin(async move {
            if plugin.root != self.folder {
                return executor.prepare(plugin, allowed).await;
            }
            let begun = std::time::Instant::now();
            match self.python.load(plugin.clone(), allowed.clone()).await {
                Ok(faults) if faults.is_empty() => self.console.loaded(&plugin, begun.elapsed()),
                Ok(faults) => faults.iter().for_each(|(tool, failure)| self.console.not_loaded(tool, failure)),
                Err(failure) => {
                    self.console.not_loaded(plugin.manifest.name.as_str(), &failure);
                    return Err(failure);
                }
            }
            executor.prepare(plugin, allowed).await
        })
    }
}
