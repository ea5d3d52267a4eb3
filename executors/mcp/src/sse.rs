//! The link to an address by the old HTTP+SSE transport: one long stream of events in, one POST a message out.

use std::{sync::Arc, time::Duration};

use executor_api::{FailureKind, ToolFailure};
use futures::future::BoxFuture;
use reqwest::{Url, header::CONTENT_TYPE};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    events::Events,
    http::refused,
    peer::{Heard, Link, Outgoing},
    web::{Site, broken},
};

const POST_LIMIT: Duration = Duration::from_secs(30);

/// A server that speaks the transport of 2024-11-05.
pub(crate) struct Sse {
    site: Site,
    endpoint: Arc<Url>,
    heard: mpsc::Sender<Heard>,
    closed: CancellationToken,
}

impl Sse {
    /// Opens the stream and waits for the address that messages go to.
    ///
    /// # Errors
    /// There is no such stream, or it names an address elsewhere.
    pub(crate) async fn connect(site: Site, heard: mpsc::Sender<Heard>) -> Result<Self, ToolFailure> {
        let request = site.client.get(site.url.clone()).headers(site.headers.clone()).header("accept", "text/event-stream");
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        if !response.status().is_success() {
            return Err(refused(response.status()));
        }
        let mut events = Events::new(site.max_message);
        let bad = |problem: &str| ToolFailure::new(FailureKind::BadOutput, problem.to_owned());
        let (endpoint, early) = loop {
            let chunk = response.chunk().await.map_err(|error| broken(&error))?;
            let chunk = chunk.ok_or_else(|| bad("the stream of events ended before it named an address"))?;
            let mut found = events.push(&chunk).map_err(|_| site.too_large())?.into_iter();
            if let Some(event) = found.next() {
                if event.name != "endpoint" {
                    return Err(bad("the stream of events does not begin with an address"));
                }
                break (event.data, found.collect::<Vec<_>>());
            }
        };
        let endpoint = site.url.join(&endpoint).map_err(|_| bad("the stream of events names a malformed address"))?;
        // Everything that is sent, secrets too, would go there.
        if endpoint.origin() != site.url.origin() {
            return Err(bad("the stream of events names an address on another host"));
        }
        let closed = CancellationToken::new();
        let (limit, sender, end) = (site.too_large(), heard.clone(), closed.clone());
        drop(tokio::spawn(async move {
            let reading = async {
                let mut pending = early;
                loop {
                    for event in pending.drain(..) {
                        if matches!(event.name.as_str(), "" | "message") {
                            drop(sender.send(Heard::Message { bytes: event.data.into_bytes(), via: None }).await);
                        }
                    }
                    match response.chunk().await {
                        Ok(Some(chunk)) => match events.push(&chunk) {
                            Ok(events) => pending = events,
                            Err(_) => return limit,
                        },
                        _ => return ToolFailure::new(FailureKind::Crashed, "the server ended its stream of events"),
                    }
                }
            };
            tokio::select! {
                failure = reading => drop(sender.send(Heard::Ended(failure)).await),
                () = end.cancelled() => {}
            }
        }));
        Ok(Self { site, endpoint: Arc::new(endpoint), heard, closed })
    }
}

impl Link for Sse {
    fn send(&self, message: Outgoing) -> BoxFuture<'_, Result<(), ToolFailure>> {
        let request = self
            .site
            .client
            .post((*self.endpoint).clone())
            .headers(self.site.headers.clone())
            .timeout(POST_LIMIT)
            .header(CONTENT_TYPE, "application/json")
            .body(message.body.to_string());
        let heard = self.heard.clone();
        let posting = async move {
            let outcome = match request.send().await {
                Ok(response) if response.status().is_success() => return,
                Ok(response) => refused(response.status()),
                Err(error) => broken(&error),
            };
            if let Some(id) = message.id {
                drop(heard.send(Heard::Failed { id, failure: outcome }).await);
            }
        };
        if message.method == "notifications/initialized" {
            return Box::pin(async move {
                posting.await;
                Ok(())
            });
        }
        drop(tokio::spawn(posting));
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) {
        self.closed.cancel();
    }
}
