//! What the program that starts the host decides: paths and limits. Read from flags and files in `cli`, never here.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use policy::{Definition, Level, Plugin};

/// What a server was seen to offer; whoever hosts the executor writes it down and swaps the catalog.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The plugin whose server it is.
    pub plugin: Arc<Plugin>,
    /// All its tools, in its order.
    pub tools: Vec<Definition>,
    /// What was left out, and why.
    pub refused: Vec<String>,
}

/// Told of every list that a server gave.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// How the executor is set up.
#[derive(Clone)]
pub struct McpSettings {
    /// Holds `upstream/<plugin>/`, the folders that package launchers may write.
    pub cache: PathBuf,
    /// The program that answers to `__sandbox`: ourselves.
    pub launcher: PathBuf,
    /// Where programs named without a folder are looked for.
    pub search_path: Vec<PathBuf>,
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
    /// Told what servers offer.
    pub observer: Option<Observer>,
}

impl McpSettings {
    /// The defaults for a cache folder, a launcher and the level reached.
    #[must_use]
    pub fn new(cache: PathBuf, launcher: PathBuf, level: Level) -> Self {
        Self {
            cache,
            launcher,
            search_path: ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec(),
            level,
            idle: Duration::from_secs(300),
            servers: 64,
            start_limit: Duration::from_secs(60),
            max_message: 8 * 1024 * 1024,
            observer: None,
        }
    }
}

impl fmt::Debug for McpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, launcher, search_path, level, idle, servers, start_limit, max_message, observer: _ } = self;
        f.debug_struct("McpSettings")
            .field("cache", cache)
            .field("launcher", launcher)
            .field("search_path", search_path)
            .field("level", level)
            .field("idle", idle)
            .field("servers", servers)
            .field("start_limit", start_limit)
            .field("max_message", max_message)
            .finish_non_exhaustive()
    }
}
