//! The first words of a conversation, in the era that the server speaks.
//!
//! What is asked of it afterwards is `server`.

use std::{sync::Arc, time::Instant};

use executor_api::{FailureKind, ToolFailure};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    ServerIdentity,
    peer::{self, Ask, Era, Fault, Peer},
    wire,
};

/// What a server said of itself.
pub(crate) struct Hello {
    pub(crate) identity: ServerIdentity,
    pub(crate) protocol: String,
    pub(crate) instructions: Option<String>,
    pub(crate) capabilities: Value,
}

impl Hello {
    /// Stands for a server that was not understood.
    pub(crate) fn nobody() -> Self {
        Self { identity: ServerIdentity::default(), protocol: String::new(), instructions: None, capabilities: Value::Null }
    }

    fn read(mut result: Value, protocol: &str, identity: Option<Value>) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(|text| wire::cut(text, 200));
        let info = identity.unwrap_or_else(|| result.get_mut("serverInfo").map(Value::take).unwrap_or_default());
        Self {
            identity: ServerIdentity {
                name: text(&info, "name").unwrap_or_default(),
                title: text(&info, "title"),
                version: text(&info, "version").unwrap_or_default(),
            },
            protocol: protocol.to_owned(),
            instructions: result.get("instructions").and_then(Value::as_str).map(|text| wire::cut(text, 8 << 10)),
            capabilities: result.get_mut("capabilities").map(Value::take).unwrap_or_default(),
        }
    }
}

/// `initialize` first: every server of the older era knows it, many that know both prefer it, and some of the older ones never answer what
/// they do not know. A server of the stateless era alone refuses it at once.
pub(crate) async fn handshake(peer: &Arc<Peer>, deadline: Instant) -> Result<Hello, Fault> {
    let never = CancellationToken::new();
    let ask = |method: &'static str, params: Value, headers: Vec<(String, String)>| {
        peer.ask(Ask { method, params, headers, frames: None, deadline, cancel: &never })
    };
    let params = json!({ "protocolVersion": wire::LEGACY, "capabilities": peer::capabilities(), "clientInfo": peer::client() });
    let refusal = match ask("initialize", params, Vec::new()).await {
        Ok(result) => {
            let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
            if !wire::LEGACY_VERSIONS.contains(&version.as_str()) {
                let found = wire::cut(&version, 40);
                let expected = wire::LEGACY_VERSIONS.join(", ");
                let problem = format!("the server chose protocol version `{found}`, expected one of {expected}");
                return Err(Fault::Broken(ToolFailure::new(FailureKind::Unsupported, problem)));
            }
            peer.agree(Era::Legacy, &version);
            peer.told("notifications/initialized", json!({})).await.map_err(Fault::Broken)?;
            return Ok(Hello::read(result, &version, None));
        }
        Err(Fault::Rpc(error)) => error,
        Err(fault) => return Err(fault),
    };
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": wire::MODERN,
        "io.modelcontextprotocol/clientInfo": peer::client(),
        "io.modelcontextprotocol/clientCapabilities": peer::capabilities(),
    });
    let headers = [("mcp-protocol-version", wire::MODERN), ("mcp-method", "server/discover")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let result = match ask("server/discover", json!({ "_meta": meta }), headers).await {
        Ok(result) => result,
        // What it said to the first question says more.
        Err(Fault::Rpc(_)) => return Err(Fault::Rpc(refusal)),
        Err(fault) => return Err(fault),
    };
    let versions = result.get("supportedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
    if !versions.iter().any(|version| version == wire::MODERN) {
        let found = wire::cut(&Value::Array(versions).to_string(), 120);
        let problem = format!(
            "the server speaks the protocol versions {found}, expected {} or one that begins with `initialize`",
            wire::MODERN
        );
        return Err(Fault::Broken(ToolFailure::new(FailureKind::Unsupported, problem)));
    }
    peer.agree(Era::Modern, wire::MODERN);
    let identity = result.pointer("/_meta/io.modelcontextprotocol~1serverInfo").cloned();
    Ok(Hello::read(result, wire::MODERN, identity))
}
