//! Bodies of the MCP routes: bounded in size and time on the way in, lists spliced in on the way out.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use serde_json::Value;

use crate::{
    Code, Host,
    mcp::{Incoming, decode, reply},
};

/// The largest request body, in bytes.
pub(crate) const MAX_BODY: usize = 4 << 20;
/// Frames longer than this hold no stand-in.
const SHORT: usize = 8 << 10;

/// Reads the body of a POST whole, within bounds, and answers what is no message as the specification says.
pub(crate) async fn bound(State((host, patience)): State<(Arc<Host>, Duration)>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return splice(&host, next.run(request).await).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = match read(body, patience).await {
        Ok(bytes) => bytes,
        Err(response) => return response,
    };
    let json = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
    let response = next.run(Request::from_parts(parts, Body::from(bytes.clone()))).await;
    if json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // rmcp calls a body that it cannot read a wrong media type, and says so in plain text.
        return match decode(&bytes) {
            Incoming::Reply(reply) => json_response(StatusCode::BAD_REQUEST, reply),
            Incoming::Nothing if !bytes.trim_ascii().is_empty() => StatusCode::ACCEPTED.into_response(),
            Incoming::Nothing | Incoming::Message(_) => response,
        };
    }
    splice(&host, response).await
}

pub(crate) async fn read(body: Body, patience: Duration) -> Result<Bytes, Response> {
    match tokio::time::timeout(patience, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // The only other cause, a client that went, hears no answer anyway.
        Ok(Err(_)) => {
            let message = format!("the body has more than {MAX_BODY} bytes");
            Err(json_response(StatusCode::PAYLOAD_TOO_LARGE, reply(&Value::Null, Code::TooLarge, &message)))
        }
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")], "the body came too slowly").into_response()),
    }
}

pub(crate) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn splice(host: &Host, response: Response) -> Response {
    let splices = host.catalog().lists.splices.clone();
    let (mut parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    if kind.starts_with(b"text/event-stream") {
        let stream = body.into_data_stream().map(move |frame| {
            frame.map(|bytes| match (bytes.len() < SHORT).then(|| splices.split(&bytes)).flatten() {
                Some(spliced) => spliced.join(),
                _ => bytes,
            })
        });
        return Response::from_parts(parts, Body::from_stream(stream));
    }
    if kind.starts_with(b"application/json") {
        // rmcp's JSON answers are whole already, so this copies nothing.
        return match to_bytes(body, usize::MAX).await {
            Ok(bytes) => match (bytes.len() < SHORT).then(|| splices.split(&bytes)).flatten() {
                Some(spliced) => {
                    parts.headers.remove(header::CONTENT_LENGTH);
                    Response::from_parts(parts, Body::from(spliced.join()))
                }
                _ => Response::from_parts(parts, Body::from(bytes)),
            },
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
    }
    Response::from_parts(parts, body)
}
