//! What the operator gave, read from files: grants, secrets, configuration, tokens. Nothing here writes; `cli` does, under a lock.
//!
//! A file that does not parse is never taken for an empty one: at the start it refuses the start, later the old content stays.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use policy::{Approval, Grants, SecretValue, ToolPatterns};
use registry::TrustStore;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Caller, Dirs};

/// The largest operator file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How often grants that change while they are read are read again.
const MAX_READS: usize = 16;
/// The largest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// The largest file of approvals, in bytes: 2,000 tools of 64 KiB would be more, and no model could read them.
const MAX_APPROVAL_BYTES: u64 = 32 << 20;

/// Why a file of the operator was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// It exists and cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It does not parse.
    #[error("`{path}` is not valid: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        reason: String,
    },
    /// Others could read or change it.
    #[error("`{path}` may be read or changed by others, expected mode {expected}, found {found:04o}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// The mode to give it.
        expected: &'static str,
        /// The mode it has.
        found: u32,
    },
}

impl OperatorError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::Malformed { path, .. } | Self::Exposed { path, .. } => path,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exposed { path, expected, .. } => Some(format!("chmod {expected} {}", path.display())),
            _ => None,
        }
    }
}

/// Something wrong with one plugin's secrets or configuration: that plugin alone waits, the host runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The plugin.
    pub plugin: String,
    /// Which of its files.
    pub about: About,
    /// What is wrong.
    pub error: OperatorError,
}

/// Which of a plugin's files a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A secret, or their folder.
    Secret,
    /// The configuration.
    Config,
    /// What was approved of its upstream server.
    Approval,
}

/// Everything the operator gave, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operator {
    /// `grants.yaml`.
    pub grants: Grants,
    /// Secrets by plugin and name.
    pub secrets: BTreeMap<String, BTreeMap<String, SecretValue>>,
    /// Configuration by plugin.
    pub config: BTreeMap<String, Map<String, Value>>,
    /// What was approved of upstream servers, by plugin.
    pub approvals: BTreeMap<String, Approved>,
    /// `learning.yaml`: whether accepted calls teach the search.
    pub learning: LearningSettings,
    /// Secrets, configuration and approvals that were refused.
    pub problems: Vec<Problem>,
}

/// `learning.yaml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningSettings {
    /// Whether accepted calls teach the search, and the search uses what they taught.
    pub on: bool,
}

impl Operator {
    /// Reads the folder of configuration. What does not exist is empty.
    ///
    /// # Errors
    /// `grants.yaml` cannot be read, does not parse, or may be written by others. A bad secret or configuration is a
    /// [`Problem`] of its plugin.
    pub fn read(dirs: &Dirs) -> Result<Self, OperatorError> {
        let path = dirs.config.join("grants.yaml");
        let mut grants = read_grants(&path)?;
        for _ in 0..MAX_READS {
            let learning = read_yaml(&dirs.config.join("learning.yaml"))?.unwrap_or_default();
            let mut operator = Self { grants, learning, ..Self::default() };
            operator.read_secrets(&dirs.config.join("secrets"));
            operator.read_config(&dirs.config.join("config"));
            operator.read_approvals(&dirs.config.join("approved"));
            // A value changes hands in three writes: taken from the old holder, replaced, handed to the new one. Grants that are the same
            // before and after the values were read say whose values these are.
            grants = read_grants(&path)?;
            if grants == operator.grants {
                return Ok(operator);
            }
        }
        Err(OperatorError::Unreadable { path, reason: "it changes faster than it can be read".to_owned() })
    }

    /// Why a plugin's configuration was refused, if it was; for the operator, as it names the file and may quote it.
    #[must_use]
    pub fn config_problem(&self, plugin: &str) -> Option<String> {
        let refused = |problem: &&Problem| problem.plugin == plugin && problem.about == About::Config;
        self.problems.iter().find(refused).map(|problem| problem.error.to_string())
    }

    fn read_secrets(&mut self, folder: &Path) {
        for plugin in entries(folder) {
            let Some(name) = file_name(&plugin) else { continue };
            if let Err(error) = check_private(&plugin, 0o077, "0700") {
                self.problems.push(Problem { plugin: name, about: About::Secret, error });
                continue;
            }
            for file in entries(&plugin) {
                let Some(secret) = file_name(&file) else { continue };
                match read_secret(&file) {
                    Ok(value) => {
                        self.secrets.entry(name.clone()).or_default().insert(secret, SecretValue::new(value));
                    }
                    Err(error) => self.problems.push(Problem { plugin: name.clone(), about: About::Secret, error }),
                }
            }
        }
    }

    fn read_approvals(&mut self, folder: &Path) {
        for file in entries(folder) {
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(plugin) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            match read_approval(&file) {
                Ok(approved) => {
                    self.approvals.insert(plugin, approved);
                }
                Err(error) => self.problems.push(Problem { plugin, about: About::Approval, error }),
            }
        }
    }

    fn read_config(&mut self, folder: &Path) {
        for file in entries(folder) {
            if file.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let Some(plugin) = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            match read_yaml::<Map<String, Value>>(&file) {
                Ok(config) => {
                    self.config.insert(plugin, config.unwrap_or_default());
                }
                Err(error) => self.problems.push(Problem { plugin, about: About::Config, error }),
            }
        }
    }
}

/// What was approved of one upstream server, and when: approving once more ends what was noted against it since.
#[derive(Debug, Clone, PartialEq)]
pub struct Approved {
    /// The definitions.
    pub approval: Approval,
    /// Tells this writing of the file from every other.
    pub stamp: String,
}

fn read_approval(path: &Path) -> Result<Approved, OperatorError> {
    // Who can write the file can put any words before a model.
    check_private(path, 0o022, "0600")?;
    let file = open_no_follow(path)?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    let text = read_bounded(file, path, MAX_APPROVAL_BYTES)?;
    let approval = serde_json::from_str(&text)
        .map_err(|error| OperatorError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Approved { approval, stamp: format!("{}-{}-{}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec()) })
}

/// The keys whose signatures count: `trust.yaml`. Read only where somebody has to vouch for what is installed.
pub(crate) fn read_trust(dirs: &Dirs) -> Result<TrustStore, OperatorError> {
    let path = dirs.config.join("trust.yaml");
    if path.exists() {
        // Who can write the file can let any package in.
        check_private(&path, 0o022, "0600")?;
    }
    read_yaml(&path).map(Option::unwrap_or_default)
}

fn read_grants(path: &Path) -> Result<Grants, OperatorError> {
    if path.exists() {
        // A grant is a key: who can write the file can open every door.
        check_private(path, 0o022, "0600")?;
    }
    read_yaml(path).map(Option::unwrap_or_default)
}

fn read_secret(path: &Path) -> Result<String, OperatorError> {
    let file = open_no_follow(path)?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    // Checked on the open file, so that nothing can be swapped in between.
    if metadata.mode() & 0o077 != 0 {
        return Err(OperatorError::Exposed { path: path.to_owned(), expected: "0600", found: metadata.mode() & 0o7777 });
    }
    let text = read_bounded(file, path, MAX_SECRET_BYTES)?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

/// `Ok(None)` when the file does not exist or holds nothing.
fn read_yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, OperatorError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let text = read_bounded(file, path, MAX_FILE_BYTES)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(None);
    }
    serde_saphyr::from_str(&text)
        .map(Some)
        .map_err(|error| OperatorError::Malformed { path: path.to_owned(), reason: error.to_string() })
}

fn read_bounded(file: fs::File, path: &Path, limit: u64) -> Result<String, OperatorError> {
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > limit {
        return Err(OperatorError::Malformed { path: path.to_owned(), reason: format!("is larger than {limit} bytes") });
    }
    Ok(text)
}

fn open_no_follow(path: &Path) -> Result<fs::File, OperatorError> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| unreadable(path, &error))
}

fn check_private(path: &Path, forbidden: u32, expected: &'static str) -> Result<(), OperatorError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
    let mode = metadata.mode() & 0o7777;
    // A link's own mode says nothing; what it points at is checked when it is opened.
    if !metadata.is_symlink() && mode & forbidden != 0 {
        return Err(OperatorError::Exposed { path: path.to_owned(), expected, found: mode });
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> OperatorError {
    OperatorError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

/// The entries of a folder in order, hidden ones and unfinished writes left out; none when it does not exist.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = read.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| file_name(path).is_some_and(|name| !name.starts_with('.') && !name.ends_with(".lock")));
    paths.sort();
    paths
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
}

/// One bearer token as it is kept: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// Name for the log and for `revoke`.
    pub name: String,
    /// SHA-256 of the token, 64 hex digits, with or without `sha256:` before them.
    pub sha256: String,
    /// Patterns of served tool names.
    pub tools: Vec<String>,
    /// When it was made, as the operator's tool wrote it.
    #[serde(default)]
    pub created: Option<String>,
    /// Whether its successful calls may teach the search.
    #[serde(default)]
    pub learn: bool,
}

struct Known {
    digest: [u8; 32],
    caller: Caller,
}

/// The bearer tokens that open the HTTP server; read again when the file changes, so that a revoked token stops at the next request.
#[derive(Clone)]
pub struct Tokens {
    path: Arc<PathBuf>,
    frozen: bool,
    state: Arc<Mutex<TokenState>>,
}

struct TokenState {
    stamp: Option<Stamp>,
    known: Arc<Vec<Known>>,
}

/// Changes whenever the file is replaced or written.
type Stamp = (u64, u64, SystemTime);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads a list of [`TokenEntry`].
    ///
    /// # Errors
    /// The file is absent, does not parse, may be written by others, or an entry has a bad digest or pattern.
    pub fn open(path: &Path, frozen: bool) -> Result<Self, OperatorError> {
        let stamp = stamp(path);
        let known = read_tokens(path)?;
        let state = TokenState { stamp, known: Arc::new(known) };
        Ok(Self { path: Arc::new(path.to_owned()), frozen, state: Arc::new(Mutex::new(state)) })
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current().len()
    }

    /// Whether no token would open the door.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who presents this token. Every entry is compared in full, so that the time says nothing about the digests.
    #[must_use]
    pub fn caller(&self, presented: &str) -> Option<Caller> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = None;
        for known in self.current().iter() {
            let difference = known.digest.iter().zip(&digest).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(known.caller.clone());
            }
        }
        found
    }

    fn current(&self) -> Arc<Vec<Known>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.frozen {
            let now = stamp(&self.path);
            if now != state.stamp {
                state.stamp = now;
                match read_tokens(&self.path) {
                    Ok(known) => {
                        tracing::info!(path = %self.path.display(), tokens = known.len(), "tokens read again");
                        state.known = Arc::new(known);
                    }
                    Err(error) => tracing::error!(%error, "tokens could not be read again, the old ones stay"),
                }
            }
        }
        state.known.clone()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

fn read_tokens(path: &Path) -> Result<Vec<Known>, OperatorError> {
    check_private(path, 0o022, "0600")?;
    let malformed = |reason: String| OperatorError::Malformed { path: path.to_owned(), reason };
    let entries: Vec<TokenEntry> = read_yaml(path)?.unwrap_or_default();
    let mut known = Vec::with_capacity(entries.len());
    for entry in entries {
        let digest = parse_digest(&entry.sha256)
            .ok_or_else(|| malformed(format!("token `{}`: `sha256` must be 64 hex digits", entry.name)))?;
        let patterns =
            ToolPatterns::parse(&entry.tools).map_err(|error| malformed(format!("token `{}`: {error}", entry.name)))?;
        known.push(Known { digest, caller: Caller::token(&entry.name, patterns).teaching(entry.learn) });
    }
    Ok(known)
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}
