//! `pegboard serve`: the MCP server, over standard input and output or over HTTP. Nothing here writes to standard output.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use server::{Host, HttpSettings, ServeError, Tokens};

use super::host;
use crate::{
    args::{Global, Shelf},
    engine,
    exit::Exit,
    failure::{Failure, Outcome},
    operator,
    settings::{Settings, ViewChoice},
};

/// Where `--http` without an address listens.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7337);

/// Serve the tools to MCP clients
///
/// Over standard input and output, unless --http or --unix says otherwise: what an MCP client starts. Ends, with exit code 0, when the input ends
/// or on SIGTERM, after running calls had their time. Plugins, grants, secrets and configuration may change while it runs; --frozen stops that.
/// Over HTTP: /mcp (all tools), /mcp/search (search view), /sse for old clients, /healthz, /readyz, /metrics.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
                             pegboard serve\n  \
                             pegboard serve --plugins ./my-plugins --view search --pin text_analysis__text_statistics\n  \
                             pegboard serve --http                       on 127.0.0.1:7337\n  \
                             pegboard serve --http 0.0.0.0:7337 --token-file ~/.config/pegboard/tokens.yaml\n  \
                             pegboard serve --unix /run/user/1000/pegboard.sock\n  \
                             pegboard serve --shared                     through the engine that all of this user's clients share\n\n\
                             pegboard.toml, in the configuration folder (every key optional; a wrong one stops the start):\n  \
                             plugins = [\"/srv/plugins\"]       bundled = true            frozen = false\n  \
                             view = \"all\"                     pin = [\"a__b\"]            warm = false\n  \
                             token_file = \"tokens.yaml\"       log = \"info\"             page_size = 5000\n  \
                             python = \"/usr/bin/python3.12\"   level = \"L1\"             drain_seconds = 5\n  \
                             [http]      address = \"127.0.0.1:7337\"  allowed_origins = []  allowed_hosts = []\n  \
                             [engine]    idle_seconds = 600\n  \
                             [embedder]  kind = \"auto\"  model = \"…\"  onnxruntime = \"…\"  hub = \"https://…\"     (auto, none, static, fastembed)")]
pub(crate) struct Serve {
    /// Serve over HTTP, on this address
    ///
    /// ADDRESS:PORT, or a port of this machine. Without a value `address` under [http] in pegboard.toml, else 127.0.0.1:7337. Port 0 takes a free
    /// one; the log says which. An address that others can reach needs --token-file.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, value_parser = address, help_heading = "How")]
    http: Option<Option<SocketAddr>>,
    /// Serve over HTTP on a unix socket that only this user can open
    #[arg(long, value_name = "PATH", help_heading = "How")]
    unix: Option<PathBuf>,
    /// Hand the connection to this user's engine, which is started when there is none
    ///
    /// Over standard input and output only. All clients of one user with the same --home and plugins share one process, one index and one
    /// interpreter a plugin; see `pegboard engine`.
    #[arg(long, conflicts_with_all = ["http", "unix", "token_file"], help_heading = "How")]
    shared: bool,
    /// Ask HTTP callers for a token of this file
    ///
    /// Made by `pegboard token create`. Each token sees and calls the tools of its patterns only.
    #[arg(long, value_name = "FILE", env = "PEGBOARD_TOKEN_FILE", hide_env_values = true, help_heading = "How")]
    token_file: Option<PathBuf>,
    /// Which tools a client is shown
    ///
    /// all: every tool, and the search tools. search: the search tools, call_tool and pinned tools; a model finds the rest by describing what it
    /// wants, which costs the prompt the same for ten tools and for thousands.
    #[arg(long, env = "PEGBOARD_VIEW", hide_env_values = true, help_heading = "What")]
    view: Option<ViewChoice>,
    /// Show this tool in the search view, too; repeatable
    #[arg(long, value_name = "TOOL", help_heading = "What")]
    pin: Vec<String>,
    /// Follow no change: grants, secrets and plugins stay as they are now
    #[arg(long, help_heading = "What")]
    frozen: bool,
    /// Get every plugin ready at once instead of at its first call
    #[arg(long, help_heading = "What")]
    warm: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// An address, or a bare port of this machine.
pub(super) fn address(word: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = word.parse::<u16>() {
        return Ok(SocketAddr::new(DEFAULT_ADDRESS.ip(), port));
    }
    let word = word.strip_prefix("localhost:").map_or_else(|| word.to_owned(), |port| format!("127.0.0.1:{port}"));
    word.parse().map_err(|_| "expected an address such as 127.0.0.1:7337, or a port".to_owned())
}

impl Serve {
    pub(crate) fn run(&self, settings: &Settings, global: &Global) -> Outcome {
        if self.shared {
            return self.relay(settings, global);
        }
        // There before the first `pegboard add`, so that it is watched.
        operator::added::make_root(&settings.places)?;
        let mut told = host::settings(settings, &self.shelf)?;
        if let Some(view) = self.view {
            told.view = host::view(view);
        }
        if !self.pin.is_empty() {
            told.pinned.clone_from(&self.pin);
        }
        told.frozen |= self.frozen;
        told.warm |= self.warm;
        let http = self.http_settings(settings, told.frozen)?;
        let runners = host::runners(settings)?;
        let runtime = host::runtime()?;
        let host = host::assemble(&runtime, told, runners.executors)?;
        announce(&host, runners.level);
        let served = match http {
            Some(http) => runtime.block_on(server::serve_http(host, http)),
            None => runtime.block_on(server::serve_stdio(host)),
        };
        // A thread that still reads standard input must not keep the program alive.
        runtime.shutdown_background();
        served.map_err(|error| refused(&error))
    }

    fn relay(&self, settings: &Settings, global: &Global) -> Outcome {
        let what = engine::What::new(settings, &self.shelf, &self.pin, self.frozen, self.warm)?;
        let view = self.view.or(settings.file.view);
        let stream = engine::join(settings, global, &what, view)?;
        engine::relay(stream)
    }

    /// `None` for standard input and output.
    fn http_settings(&self, settings: &Settings, frozen: bool) -> Outcome<Option<HttpSettings>> {
        let file = &settings.file;
        if self.http.is_none() && self.unix.is_none() {
            if self.token_file.is_some() {
                tracing::warn!("tokens are for callers over HTTP; over standard input and output none is asked for");
            }
            return Ok(None);
        }
        let token_file = self.token_file.as_ref().or(file.token_file.as_ref());
        let tokens = token_file.map(|path| Tokens::open(path, frozen)).transpose().map_err(|error| {
            let hint = error.hint().unwrap_or_else(|| "pegboard token create NAME --tools PATTERN".to_owned());
            Failure::usage("tokens.invalid", error.to_string()).hint(hint)
        })?;
        if tokens.as_ref().is_some_and(Tokens::is_empty) {
            tracing::warn!("the token file holds no token: nobody can call");
        }
        Ok(Some(HttpSettings {
            addr: self.http.map(|address| address.or(file.http.address).unwrap_or(DEFAULT_ADDRESS)),
            unix: self.unix.clone(),
            tokens,
            allowed_origins: file.http.allowed_origins.clone(),
            allowed_hosts: file.http.allowed_hosts.clone(),
            limits: server::HttpLimits::default(),
        }))
    }
}

fn announce(host: &Host, level: policy::Level) {
    let catalog = host.catalog();
    let view = match host.settings().view {
        server::View::All => "all",
        server::View::Search => "search",
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), plugins = catalog.plugins.len(), tools = catalog.tools.len(), view, %level, "pegboard serves");
}

pub(super) fn refused(error: &ServeError) -> Failure {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    let (exit, code) = match error {
        ServeError::NoTokens { .. } => (Exit::Usage, "http.no_tokens"),
        ServeError::Bind { .. } | ServeError::Unix { .. } | ServeError::Nowhere | ServeError::AllowList { .. } => {
            (Exit::Usage, "http.address")
        }
        ServeError::Connection(_) | ServeError::Signals(_) => (Exit::Internal, "serve"),
    };
    Failure::new(exit, code, format!("{error}{source}")).maybe_hint(error.hint())
}
