//! Flag over environment over `pegboard.toml`: what the operator wants, resolved once. A file that does not parse stops the program.
//!
//! What each command does with it is in `commands`; the flags themselves are in `args`.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use policy::Level;
use serde::Deserialize;

use crate::{
    args::{Global, Shelf},
    failure::{Failure, Outcome},
};

/// The three folders of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// `pegboard.toml`, grants, secrets, configuration, tokens.
    pub(crate) config: PathBuf,
    /// The store and the models.
    pub(crate) data: PathBuf,
    /// Everything that can be made again.
    pub(crate) cache: PathBuf,
}

/// Which list of tools a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ViewChoice {
    /// Every tool, and the search tools.
    All,
    /// Only the search tools, `call_tool` and pinned tools.
    Search,
}

impl ViewChoice {
    /// The word used by flags and files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Search => "search",
        }
    }
}

/// `pegboard.toml`. Relative paths start at the file's folder; a leading `~/` is the home folder.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileSettings {
    /// Folders as with `--plugins`.
    pub(crate) plugins: Vec<PathBuf>,
    /// `false` is `--no-bundled`.
    pub(crate) bundled: Option<bool>,
    /// As `--view`.
    pub(crate) view: Option<ViewChoice>,
    /// As `--pin`.
    pub(crate) pin: Vec<String>,
    /// As `--frozen`.
    pub(crate) frozen: bool,
    /// As `--warm`.
    pub(crate) warm: bool,
    /// As `--token-file`.
    pub(crate) token_file: Option<PathBuf>,
    /// As `--log`.
    pub(crate) log: Option<String>,
    /// The interpreter that plugins run with, instead of the one that is found.
    pub(crate) python: Option<PathBuf>,
    /// Confine at this level at most, for machines where more does not work. Never raises it.
    pub(crate) level: Option<Level>,
    /// Tools on one page of `tools/list`.
    pub(crate) page_size: Option<usize>,
    /// Seconds that running calls get to end after SIGTERM.
    pub(crate) drain_seconds: Option<u64>,
    /// Install nothing that no trusted key signed.
    pub(crate) require_signature: bool,
    /// Where plugins are installed from by name: a folder or an http(s) address.
    pub(crate) index: Option<String>,
    /// For `serve --http`.
    pub(crate) http: HttpFileSettings,
    /// How tools are found by meaning.
    pub(crate) embedder: EmbedderFileSettings,
    /// For the shared engine.
    pub(crate) engine: EngineFileSettings,
}

/// `[engine]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EngineFileSettings {
    /// Seconds without a connection after which the engine ends.
    pub(crate) idle_seconds: Option<u64>,
}

/// `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpFileSettings {
    /// Where `--http` without an address listens.
    pub(crate) address: Option<SocketAddr>,
    /// Origins of browsers that may call, beside those of this machine.
    pub(crate) allowed_origins: Vec<String>,
    /// Host names that the server answers to, beside those of this machine.
    pub(crate) allowed_hosts: Vec<String>,
}

/// `[embedder]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmbedderFileSettings {
    /// `auto` (a model that is present, else the table inside the program), `none` (words only), `static` (the table), or
    /// `fastembed` (refuses to start without it).
    pub(crate) kind: EmbedderKind,
    /// Folder with the five files of a model.
    pub(crate) model: Option<PathBuf>,
    /// The ONNX runtime library.
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Address of the model hub that `models install` fetches from.
    pub(crate) hub: Option<String>,
}

/// Which embedder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmbedderKind {
    /// The best one that is present.
    #[default]
    Auto,
    /// None: lexical search alone.
    None,
    /// The table inside the program.
    Static,
    /// ONNX by fastembed.
    Fastembed,
}

/// What the operator wants.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where things lie.
    pub(crate) places: Places,
    /// The file, with paths made absolute.
    pub(crate) file: FileSettings,
}

impl Settings {
    /// Finds the folders and reads `pegboard.toml`, if there is one.
    pub(crate) fn read(global: &Global) -> Outcome<Self> {
        let places = Places::find(global.home.as_deref())?;
        let path = places.config.join("pegboard.toml");
        let file = match fs::read_to_string(&path) {
            Ok(text) => FileSettings::parse(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileSettings::default(),
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        Ok(Self { places, file })
    }

    /// Folders of plugins: those of the flags, else of the environment, else of the file; absolute.
    pub(crate) fn plugin_folders(&self, shelf: &Shelf) -> Outcome<Vec<PathBuf>> {
        let listed = if !shelf.plugins.is_empty() {
            shelf.plugins.clone()
        } else if let Some(value) = env::var_os("PEGBOARD_PLUGINS").filter(|value| !value.is_empty()) {
            env::split_paths(&value).collect()
        } else {
            self.file.plugins.clone()
        };
        listed.iter().map(|folder| existing_folder(folder)).collect()
    }

    /// Whether the bundled plugins are served.
    pub(crate) fn bundled(&self, shelf: &Shelf) -> bool {
        !shelf.no_bundled && self.file.bundled.unwrap_or(true)
    }
}

/// A grant names a folder by its absolute path, so links are resolved here, once, the same way for every command.
fn existing_folder(folder: &Path) -> Outcome<PathBuf> {
    let absolute = fs::canonicalize(folder).map_err(|error| {
        Failure::not_found("plugins.not_found", format!("could not open plugins folder `{}`: {error}", folder.display()))
    })?;
    if absolute.is_dir() {
        return Ok(absolute);
    }
    Err(Failure::usage("plugins.not_a_folder", format!("expected a folder, found the file `{}`", folder.display()))
        .hint("give the folder that holds plugin.yaml, or a folder of such folders"))
}

impl Places {
    /// `--home` puts all under one folder; else the XDG folders.
    fn find(home: Option<&Path>) -> Outcome<Self> {
        if let Some(home) = home {
            let home = std::path::absolute(home).map_err(|error| Failure::file("resolve", home, &error))?;
            return Ok(Self { config: home.join("config"), data: home.join("data"), cache: home.join("cache") });
        }
        let under = |variable: &str, rest: &str| {
            // The XDG specification: a relative path in one of its variables is to be ignored.
            let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            set.or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(rest)))
                .map(|path| path.join("pegboard"))
        };
        match (under("XDG_CONFIG_HOME", ".config"), under("XDG_DATA_HOME", ".local/share"), under("XDG_CACHE_HOME", ".cache")) {
            (Some(config), Some(data), Some(cache)) => Ok(Self { config, data, cache }),
            _ => Err(Failure::usage("home.unknown", "there is no home folder: `HOME` is not set")
                .hint("give a folder with --home DIR")),
        }
    }
}

impl FileSettings {
    fn parse(path: &Path, text: &str) -> Outcome<Self> {
        let mut file: Self = toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', ", ");
            Failure::usage("settings.invalid", format!("{}:{line}:{column}: {message}", path.display()))
                .hint("nothing was started: mend the file, or give another folder with --home")
        })?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let rebase = |path: &mut PathBuf| *path = rebased(folder, path);
        file.plugins.iter_mut().for_each(rebase);
        [&mut file.token_file, &mut file.python, &mut file.embedder.model, &mut file.embedder.onnxruntime]
            .into_iter()
            .flatten()
            .for_each(rebase);
        Ok(file)
    }
}

fn rebased(folder: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.join(path),
    }
}

/// One-based line and column, in characters, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{FileSettings, ViewChoice};

    fn parse(text: &str) -> Result<FileSettings, String> {
        FileSettings::parse(Path::new("/etc/x/pegboard.toml"), text).map_err(|failure| failure.message)
    }

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        let file = parse("plugins = [\"mine\", \"/abs\"]\nview = \"search\"\n[embedder]\nmodel = \"m\"\n").unwrap();
        assert_eq!(file.plugins, [PathBuf::from("/etc/x/mine"), PathBuf::from("/abs")]);
        assert_eq!(file.view, Some(ViewChoice::Search));
        assert_eq!(file.embedder.model, Some(PathBuf::from("/etc/x/m")));
    }

    #[test]
    fn a_bad_file_names_its_line() {
        let unknown = parse("view = \"all\"\nplugin = [\"x\"]\n").unwrap_err();
        assert!(unknown.starts_with("/etc/x/pegboard.toml:2:1: unknown field `plugin`"), "{unknown}");
        let wrong = parse("page_size = \"many\"\n").unwrap_err();
        assert!(wrong.starts_with("/etc/x/pegboard.toml:1:13: invalid type: string"), "{wrong}");
    }
}
