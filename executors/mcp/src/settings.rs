//! What the program that starts the host decides: paths and limits. Read from flags and files in `cli`, never here.

use std::{path::PathBuf, time::Duration};

use policy::Level;

/// How the executor is set up.
#[derive(Debug, Clone)]
pub struct McpSettings {
    /// Holds `upstream/<plugin>/`, the folders that package launchers may write.
    pub cache: PathBuf,
    /// The program that answers to `__sandbox`: ourselves.
    pub launcher: PathBuf,
    /// Where programs named without a folder are looked for.
    pub search_path: Vec<PathBuf>,
    /// Variables for package launchers (`npx`, `uvx`) alone: the user's package index, certificates and proxies.
    pub package_environment: Vec<(String, String)>,
    /// The level that this machine reaches, or the one that is forced: servers run at this level.
    pub level: Level,
    /// A server ends after this long without a call.
    pub idle: Duration,
    /// At most this many servers are kept warm.
    pub servers: usize,
    /// How long a start may take, from the process to the list of tools; package launchers download in this time.
    pub start_limit: Duration,
    /// Largest message of a server, in bytes.
    pub max_message: usize,
}

impl McpSettings {
    /// The defaults for a cache folder, a launcher and the level reached.
    #[must_use]
    pub fn new(cache: PathBuf, launcher: PathBuf, level: Level) -> Self {
        Self {
            cache,
            launcher,
            search_path: ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec(),
            package_environment: Vec::new(),
            level,
            idle: Duration::from_secs(300),
            servers: 64,
            start_limit: Duration::from_secs(60),
            max_message: 8 * 1024 * 1024,
        }
    }
}
