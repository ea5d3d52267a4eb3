//! The HTTP server: routes, what guards them, and what they end in. Listening and connections are `listen.rs`.

mod body;
mod guard;
mod limits;
mod listen;
mod sessions;
mod sse;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use guard::{Guard, Rules};
pub use limits::HttpLimits;
use listen::Listeners;
pub(crate) use listen::bind_unix;
use sessions::{Owners, Sessions};
use sse::SseSessions;

use crate::{
    Host, ServeError, Shutdown, Tokens, View,
    mcp::{Channel, Endpoint},
};

/// How long connections may take to send what they have, once the calls are over.
const FLUSH: Duration = Duration::from_secs(1);

/// Where and for whom to listen.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// Address; port 0 takes a free one.
    pub addr: Option<SocketAddr>,
    /// Path of a unix socket.
    pub unix: Option<PathBuf>,
    /// Bearer tokens; needed for an address that is not loopback, and asked of everyone where they are given.
    pub tokens: Option<Tokens>,
    /// Origins of web pages beside those of this machine, such as `https://app.example.org`.
    pub allowed_origins: Vec<String>,
    /// Host names beside `localhost` and the address, such as `tools.example.org`.
    pub allowed_hosts: Vec<String>,
    /// Time, connections and sessions that clients may use up.
    pub limits: HttpLimits,
}

/// A server that listens, and does not serve yet.
pub struct HttpServer {
    host: Arc<Host>,
    listeners: Listeners,
    settings: HttpSettings,
}

/// Serves MCP over HTTP until a signal comes, then shuts the host down.
///
/// # Errors
/// [`ServeError`] when the address or the socket cannot be had, or is not safe to have.
pub async fn serve_http(host: Arc<Host>, settings: HttpSettings) -> Result<(), ServeError> {
    let server = HttpServer::bind(host, settings).await?;
    let shutdown = Shutdown::on_signals()?;
    server.run(shutdown).await
}

impl HttpServer {
    /// Takes the address and the socket.
    ///
    /// # Errors
    /// [`ServeError`]: both taken or neither given, an address beyond this machine without tokens, a bad list entry.
    pub async fn bind(host: Arc<Host>, settings: HttpSettings) -> Result<Self, ServeError> {
        if let Some(address) = settings.addr.filter(|address| !address.ip().is_loopback())
            && settings.tokens.as_ref().is_none_or(Tokens::is_empty)
        {
            return Err(ServeError::NoTokens { address });
        }
        let listeners = Listeners::bind(settings.addr, settings.unix.clone()).await?;
        // Checked before anything is announced.
        Rules::new(&listeners.addresses(), &settings.allowed_hosts, &settings.allowed_origins)?;
        Ok(Self { host, listeners, settings })
    }

    /// The address it has, with the port it got.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listeners.addresses().first().copied()
    }

    /// Serves until `shutdown` begins; then running calls drain, connections end, and the host is shut down.
    ///
    /// # Errors
    /// [`ServeError::AllowList`].
    pub async fn run(self, shutdown: Shutdown) -> Result<(), ServeError> {
        let Self { host, listeners, settings } = self;
        let ended = CancellationToken::new();
        let rules = Arc::new(Rules::new(&listeners.addresses(), &settings.allowed_hosts, &settings.allowed_origins)?);
        for address in listeners.addresses() {
            tracing::info!(%address, "listening");
        }
        let guard = Guard::new(host.clone(), rules, settings.tokens);
        let mut connections = listeners.serve(&router(&host, guard, &settings.limits, &ended), &settings.limits);
        shutdown.begun().await;
        connections.stop_accepting();
        host.drain(&shutdown).await;
        // Answers are on their way; streams that never end by themselves are cut after them.
        connections.finish(FLUSH).await;
        ended.cancel();
        connections.abort().await;
        host.shutdown().await;
        Ok(())
    }
}

fn router(host: &Arc<Host>, guard: Guard, limits: &HttpLimits, ended: &CancellationToken) -> Router {
    let sse = SseSessions::new(host.clone(), *limits, ended.clone());
    let legacy = Router::new().route("/sse", get(sse::open)).route("/messages", post(sse::message)).with_state(sse);
    let owners = Owners::default();
    let mcp = Router::new()
        .route_service("/mcp", streamable(host, host.settings.view, &owners, limits, ended))
        .route_service("/mcp/search", streamable(host, View::Search, &owners, limits, ended))
        .layer(from_fn_with_state((host.clone(), limits.body), body::bound))
        .layer(from_fn_with_state(owners, sessions::bind));
    let closed = Router::new().route("/metrics", get(metrics)).with_state(host.clone()).merge(mcp).merge(legacy);
    let open = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(host.clone());
    closed
        .layer(from_fn_with_state(guard.clone(), guard::check_token))
        .merge(open)
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found") })
        .layer(from_fn(hide))
        .layer(from_fn_with_state(guard, guard::check_source))
}

/// Nothing here is for a browser to guess at or to keep.
async fn hide(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}

fn streamable(
    host: &Arc<Host>,
    view: View,
    owners: &Owners,
    limits: &HttpLimits,
    ended: &CancellationToken,
) -> StreamableHttpService<Endpoint, Sessions> {
    // Host and Origin are checked by the guard, on these routes and on all others, by a stricter reading.
    let mut config = StreamableHttpServerConfig::default().disable_allowed_hosts().with_json_response(true);
    config.cancellation_token = ended.child_token();
    config.max_request_body_bytes = body::MAX_BODY;
    let endpoint = Endpoint::new(host.clone(), view, Channel::Http);
    let sessions = Sessions::new(host.clone(), owners.clone(), limits.sessions);
    StreamableHttpService::new(move || Ok(endpoint.clone()), Arc::new(sessions), config)
}

async fn metrics(State(host): State<Arc<Host>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], host.render_metrics().await).into_response()
}

async fn healthz(State(host): State<Arc<Host>>) -> Response {
    let catalog = host.catalog();
    axum::Json(json!({
        "status": if host.stopping.is_cancelled() { "stopping" } else { "ok" },
        "version": env!("CARGO_PKG_VERSION"),
        "generation": catalog.generation,
        "tools": catalog.tools.len(),
        "index": host.index_mode().as_str(),
    }))
    .into_response()
}

async fn readyz(State(host): State<Arc<Host>>) -> Response {
    let ready = host.is_ready() && !host.stopping.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({ "ready": ready }))).into_response()
}
