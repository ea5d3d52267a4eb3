//! What the host is told at its start. Values only: flags, environment and files are read by `cli`.

use std::{path::PathBuf, time::Duration};

use crate::{EmbedderChoice, Reconsider, Witness};

/// The three folders of Pegboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// `grants.yaml`, `secrets/`, `config/`, `tokens.yaml`.
    pub config: PathBuf,
    /// `store/`, `models/`.
    pub data: PathBuf,
    /// `venvs/`, `index/` and whatever can be made again.
    pub cache: PathBuf,
}

impl Dirs {
    /// All three under one folder, as `--home` puts them.
    #[must_use]
    pub fn under(home: &std::path::Path) -> Self {
        Self { config: home.join("config"), data: home.join("data"), cache: home.join("cache") }
    }
}

/// Where a folder of plugins comes from; decides precedence (`Folder` over `Store` over `Bundled`) and the grants that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginsSource {
    /// Shipped inside the program.
    Bundled,
    /// Installed in the store.
    Store,
    /// Given with `--plugins`.
    Folder,
}

/// A folder that is one plugin (it has a `plugin.yaml`) or holds plugins (each sub-folder with one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsFolder {
    /// The folder.
    pub path: PathBuf,
    /// Where it comes from.
    pub source: PluginsSource,
}

/// Which tools `tools/list` shows. Static: never switched by what a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// Every tool, and the search tools.
    All,
    /// The search tools and the pinned tools.
    Search,
}

/// What the host is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where things lie.
    pub dirs: Dirs,
    /// Folders of plugins. Of two with the same source the earlier wins.
    pub plugins: Vec<PluginsFolder>,
    /// The view of stdio, of `/mcp` and of `/sse`.
    pub view: View,
    /// Served names that the search view lists beside the search tools.
    pub pinned: Vec<String>,
    /// Watch no file; grants stay as they were read.
    pub frozen: bool,
    /// Serve nothing of the store that no trusted key vouches for.
    pub require_signature: bool,
    /// Get every plugin ready at once instead of at its first call.
    pub warm: bool,
    /// How the meaning of words is measured.
    pub embedder: EmbedderChoice,
    /// Asked again when the operator's files change; the index follows in the background.
    pub reconsider: Option<Reconsider>,
    /// Sees every call; none but where a plugin is developed.
    pub witness: Option<Witness>,
    /// The most tools of one `tools/list` page.
    pub page_size: usize,
    /// How long running calls may take to end at shutdown.
    pub drain: Duration,
    /// The most bytes of one result, all blocks together.
    pub max_output_bytes: usize,
    /// Calls that may wait for a plugin that is busy; one more is refused as overloaded.
    pub queue_per_plugin: usize,
    /// How long a change of files is left to settle before the catalog is built again.
    pub debounce: Duration,
}

impl Settings {
    /// The defaults: no plugins, the view of all tools, one page for a catalog of 5,000.
    #[must_use]
    pub fn new(dirs: Dirs) -> Self {
        Self {
            dirs,
            plugins: Vec::new(),
            view: View::All,
            pinned: Vec::new(),
            frozen: false,
            require_signature: false,
            warm: false,
            embedder: EmbedderChoice::default(),
            reconsider: None,
            witness: None,
            page_size: 5_000,
            drain: Duration::from_secs(5),
            max_output_bytes: 8 << 20,
            queue_per_plugin: 256,
            debounce: Duration::from_millis(100),
        }
    }
}
