//! What the program that starts the host decides: where an engine may listen, paths and limits. Read from flags and files in `cli`, never here.

use std::{path::PathBuf, time::Duration};

/// How the executor is set up.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// Sockets at which an engine may listen, the preferred one first.
    pub sockets: Vec<PathBuf>,
    /// Holds the sockets of plugins, a folder an instance; what is in it when nothing runs may be deleted.
    pub home: PathBuf,
    /// Containers of a plugin end after this long without a call, down to `scale.min`.
    pub idle: Duration,
    /// How often that is looked for; a plugin that rested for as long lets replicas go that are more than one, or `scale.min`.
    pub sweep: Duration,
    /// At most this many plugins have containers at once.
    pub plugins: usize,
    /// How long a container may take from its start to its first healthy answer.
    pub start_limit: Duration,
    /// How long the build or the download of an image may take.
    pub image_limit: Duration,
    /// Largest answer of a plugin, in bytes.
    pub max_answer: usize,
    /// Largest build context, in bytes.
    pub max_context: usize,
}

impl ContainerSettings {
    /// The defaults for the places where engines may listen and a cache folder.
    #[must_use]
    pub fn new(sockets: Vec<PathBuf>, cache: &std::path::Path) -> Self {
        Self {
            sockets,
            home: cache.join("containers"),
            idle: Duration::from_secs(300),
            sweep: Duration::from_secs(10),
            plugins: 32,
            start_limit: Duration::from_secs(60),
            image_limit: Duration::from_secs(1800),
            max_answer: 8 << 20,
            max_context: 128 << 20,
        }
    }
}
