//! Serving one connection of lines: standard input and output, or any reader and writer.

use std::sync::Arc;

use rmcp::service::{ServerInitializeError, serve_server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Channel, Endpoint, LineTransport};
use crate::{Caller, Host, ServeError, Shutdown, View};

/// Serves MCP on standard input and output until the input ends or a signal comes, then shuts the host down.
///
/// # Errors
/// [`ServeError`] when the connection cannot be served at all; a client that goes is no error.
pub async fn serve_stdio(host: Arc<Host>) -> Result<(), ServeError> {
    let shutdown = Shutdown::on_signals()?;
    let (reader, writer) = rmcp::transport::stdio_pipes();
    let served = serve_lines(host.clone(), reader, writer, shutdown.clone()).await;
    host.drain(&shutdown).await;
    host.shutdown().await;
    served
}

/// Serves one connection until its input ends or `shutdown` begins; open requests are answered first, as long as the drain lasts.
///
/// # Errors
/// [`ServeError::Connection`] when the handshake fails.
pub async fn serve_lines<R, W>(host: Arc<Host>, reader: R, writer: W, shutdown: Shutdown) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let view = host.settings.view;
    serve_lines_in(host, view, reader, writer, shutdown).await
}

/// The same in a view of the caller's choice.
pub(crate) async fn serve_lines_in<R, W>(
    host: Arc<Host>,
    view: View,
    reader: R,
    writer: W,
    shutdown: Shutdown,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let closing = CancellationToken::new();
    let _closed = closing.clone().drop_guard();
    let session = host.sessions.begin().map_err(|error| ServeError::Connection(error.to_string()))?;
    let ended = CancellationToken::new();
    let transport = LineTransport::new(&host, reader, writer, closing.clone(), ended.clone());
    let channel = Channel::Connection { session: session.clone(), caller: Caller::local(), ended };
    let endpoint = Endpoint::new(host.clone(), view, channel);
    let serving = async {
        match serve_server(endpoint, transport).await {
            Ok(service) => service.waiting().await.map(drop).map_err(|error| ServeError::Connection(error.to_string())),
            // The input ended before a client said anything: nothing went wrong.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(ServeError::Connection(crate::clean::one_line(&error.to_string(), 300))),
        }
    };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown.begun() => {
            closing.cancel();
            tokio::select! {
                served = &mut serving => served,
                () = shutdown.hurried() => Ok(()),
            }
        }
    };
    host.end_session(&session).await;
    served
}
