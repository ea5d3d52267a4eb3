//! Servers at an address: made with the protocol library's server side, both eras, the old transport, hosts, headers and redirects.

use std::sync::Arc;

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse, routing::get};
use executor_api::FailureKind;
use libtest_mimic::Trial;
use manifest_schema::Permission;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
        ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::{StreamableHttpServerConfig, StreamableHttpService, streamable_http_server::session::local::LocalSessionManager},
};
use serde_json::json;

use crate::{
    trial,
    world::{Subject, World},
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_server_at_an_address_in_the_era_with_sessions", || streamable(false)),
        trial("a_server_at_an_address_in_the_stateless_era", || streamable(true)),
        trial("the_old_transport_is_found", old),
        trial("hosts_that_were_not_granted_are_not_reached", hosts),
        trial("headers_carry_secrets_and_redirects_elsewhere_are_refused", headers),
    ]
}

#[derive(Clone)]
struct Echo {
    modern_only: bool,
}

fn echo_tool() -> Tool {
    let serde_json::Value::Object(schema) = json!({"type": "object", "properties": {"text": {"type": "string"}}}) else {
        unreachable!()
    };
    Tool::new("echo", "Says it back", Arc::new(schema))
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        if self.modern_only { vec![ProtocolVersion::V_2026_07_28].into() } else { vec![ProtocolVersion::V_2025_11_25].into() }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![echo_tool()]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = request.arguments.and_then(|args| args.get("text")?.as_str().map(str::to_owned)).unwrap_or_default();
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

/// Serves on a port of its own; the address with the path.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn mcp(modern_only: bool) -> Router {
    let factory = move || Ok(Echo { modern_only });
    let service =
        StreamableHttpService::new(factory, Arc::new(LocalSessionManager::default()), StreamableHttpServerConfig::default());
    Router::new().nest_service("/mcp", service)
}

/// A plugin of an address, whose host is granted.
fn at(world: &World, url: &str, more: &str) -> Subject {
    let host = url.split('/').nth(2).unwrap();
    let declared = format!("permissions: [network_access]\nrequires_network: true\nnetwork: {{hosts: [\"{host}\"]}}\n");
    world.plugin("site", &format!("mcp:\n  url: {url}\n{more}{declared}")).grant(Permission::NetworkAccess, None)
}

async fn called(world: &World, server: &Subject, text: &str) -> crate::world::Came {
    let definition = serde_json::from_value(serde_json::to_value(echo_tool()).unwrap()).unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    world.call_within(server, &definition, json!({"text": text}), crate::world::PATIENCE, cancel, |_| {}).await
}

async fn streamable(modern_only: bool) {
    let world = World::new();
    let url = serve(mcp(modern_only)).await;
    let server = at(&world, &format!("{url}/mcp"), "");
    let inspection = world.inspect(&server).await.unwrap();
    assert_eq!(inspection.protocol, if modern_only { "2026-07-28" } else { "2025-11-25" });
    assert_eq!(inspection.tools.len(), 1);
    let calls = (0..50).map(|number| {
        let (world, server) = (&world, &server);
        async move { (called(world, server, &number.to_string()).await.text(), number.to_string()) }
    });
    for (found, expected) in futures::future::join_all(calls).await {
        assert_eq!(found, expected);
    }
    assert_eq!(world.state(&server).starts, 1);
}

/// The transport of 2024-11-05, as small as it gets: answers go to the stream that is open.
async fn old() {
    type Streams = Arc<tokio::sync::Mutex<Option<tokio::sync::mpsc::Sender<String>>>>;
    async fn stream(State(streams): State<Streams>) -> impl IntoResponse {
        let (sender, receiver) = tokio::sync::mpsc::channel::<String>(16);
        sender.send("event: endpoint\ndata: /messages?session=1\n\n".to_owned()).await.unwrap();
        *streams.lock().await = Some(sender);
        let body = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|text| (Ok::<_, std::convert::Infallible>(text), receiver))
        });
        ([("content-type", "text/event-stream")], axum::body::Body::from_stream(body))
    }
    async fn message(State(streams): State<Streams>, body: String) -> axum::http::StatusCode {
        let message: serde_json::Value = serde_json::from_str(&body).unwrap();
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"}})
            }
            "tools/list" => json!({"tools": [echo_tool()]}),
            "tools/call" => json!({"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}),
            _ => return axum::http::StatusCode::ACCEPTED,
        };
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let sender = streams.lock().await.clone().unwrap();
        sender.send(format!("event: message\ndata: {answer}\n\n")).await.unwrap();
        axum::http::StatusCode::ACCEPTED
    }
    let streams = Streams::default();
    let router = Router::new().route("/sse", get(stream)).route("/messages", axum::routing::post(message)).with_state(streams);
    let world = World::new();
    let url = serve(router).await;
    let server = at(&world, &format!("{url}/sse"), "");
    assert_eq!(world.inspect(&server).await.unwrap().protocol, "2024-11-05");
    assert_eq!(called(&world, &server, "old").await.text(), "old");
}

async fn hosts() {
    let world = World::new();
    let url = serve(mcp(false)).await;
    let granted = at(&world, &format!("{url}/mcp"), "");
    assert_eq!(called(&world, &granted, "a").await.text(), "a");
    let any_public = "permissions: [network_access]\nrequires_network: true\n";
    let public = world.plugin("public", &format!("mcp:\n  url: {url}/mcp\n{any_public}")).grant(Permission::NetworkAccess, None);
    called(&world, &public, "a").await.failed(FailureKind::LoadFailed, "no public host");
    let other = "permissions: [network_access]\nrequires_network: true\nnetwork: {hosts: [\"example.org:443\"]}\n";
    let other = world.plugin("other", &format!("mcp:\n  url: {url}/mcp\n{other}")).grant(Permission::NetworkAccess, None);
    called(&world, &other, "a").await.failed(FailureKind::LoadFailed, "not among the granted hosts");
    let without = world.plugin("without", &format!("mcp:\n  url: {url}/mcp\n"));
    called(&world, &without, "a").await.failed(FailureKind::LoadFailed, "holds no network power");
}

async fn headers() {
    let world = World::new();
    let elsewhere = serve(mcp(false)).await;
    let target = format!("{elsewhere}/mcp");
    let guard = |headers: HeaderMap, request: axum::extract::Request, next: axum::middleware::Next| async move {
        if headers.get("authorization").is_some_and(|value| value == "Bearer k3y") {
            next.run(request).await
        } else {
            axum::http::StatusCode::UNAUTHORIZED.into_response()
        }
    };
    let router = mcp(false).layer(axum::middleware::from_fn(guard));
    let away = axum::routing::any(move || async move { axum::response::Redirect::temporary(&target) });
    let url = serve(router.route("/away", away)).await;
    let more = "  headers: {Authorization: \"Bearer ${KEY}\"}\nsecrets: [{name: KEY, description: d, required: false}]\n";
    let wrong = at(&world, &format!("{url}/mcp"), more).secret("KEY", "wrong");
    called(&world, &wrong, "a").await.failed(FailureKind::Unavailable, "HTTP 401");
    let right = at(&world, &format!("{url}/mcp"), more).secret("KEY", "k3y");
    assert_eq!(called(&world, &right, "a").await.text(), "a");
    let away = at(&world, &format!("{url}/away"), more).secret("KEY", "k3y");
    let failure = called(&world, &away, "a").await;
    assert!(failure.failure().message.contains("redirects to another host"), "{:?}", failure.failure());
}
