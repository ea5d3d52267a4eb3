//! What the program that starts the host decides: paths and limits. Read from flags and files in `cli`, never here.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use policy::Level;

/// How the Python executor is set up.
#[derive(Debug, Clone)]
pub struct PythonSettings {
    /// Holds `venvs/`, `worker/` and `tools/`.
    pub cache: PathBuf,
    /// The program that answers to `__sandbox`: ourselves.
    pub launcher: PathBuf,
    /// This interpreter and no other.
    pub python: Option<PathBuf>,
    /// Folders to look for interpreters and `uv` in.
    pub search_path: Vec<PathBuf>,
    /// Variables handed to uv and pip: the user's package index, certificates and proxies.
    pub package_environment: Vec<(String, String)>,
    /// Use this level and no other.
    pub forced_level: Option<Level>,
    /// Children that wait for a call when a plugin is warm.
    pub pool: usize,
    /// At most this many children wait, however long the queue was.
    pub pool_limit: usize,
    /// A plugin's processes end after this long without a call.
    pub idle: Duration,
    /// At most this many plugins are warm.
    pub zygotes: usize,
    /// How long imports and `initialize` may take.
    pub start_limit: Duration,
    /// Largest result, in bytes.
    pub max_result: usize,
    /// Set when the host stops: programs of ours that still run are killed.
    pub(crate) stop: Arc<AtomicBool>,
}

impl PythonSettings {
    /// The defaults for a cache folder and a launcher.
    #[must_use]
    pub fn new(cache: PathBuf, launcher: PathBuf) -> Self {
        Self {
            cache,
            launcher,
            python: None,
            search_path: ["/usr/local/bin", "/usr/bin"].map(PathBuf::from).to_vec(),
            package_environment: Vec::new(),
            forced_level: None,
            pool: 2,
            pool_limit: 8,
            idle: Duration::from_secs(300),
            zygotes: 64,
            start_limit: Duration::from_secs(60),
            max_result: 8 * 1024 * 1024,
            stop: Arc::default(),
        }
    }

    /// Variables for our own programs: where they find others, and the user's package index.
    pub(crate) fn plain_environment(&self) -> Vec<(String, String)> {
        let path = std::env::join_paths(&self.search_path).unwrap_or_default().to_string_lossy().into_owned();
        let mut environment = vec![("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())];
        environment.extend(self.package_environment.iter().cloned());
        environment
    }
}
