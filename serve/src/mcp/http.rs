//! MCP over HTTP (Streamable HTTP), without sessions: each request is complete in itself.
//!
//! - A bearer token says who asks, as everywhere at the gateway; without one the answer says where it is told which (RFC
//!   9728). `Host` and `Origin` are checked before, for all of the gateway.
//! - Not here: the protocol (rmcp).

use super::message;
use super::server::{Server, Whose};
use crate::dispatcher::Gateway;
use crate::operation::Face;
use crate::problem::Kind;
use crate::rest::{guard, input, reply};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where it is.
const PATH: &str = "/mcp";

/// Where it is told who gives tokens for it (RFC 9728 §3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Its routes.
pub(crate) fn routes(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    config.cancellation_token = gateway.stop.child_token();
    config.max_request_body_bytes = gateway.config.body_bytes;
    // The gateway has checked both, by its own lists, before a request comes here.
    config.allowed_hosts = Vec::new();
    let serving = gateway.clone();
    let service = StreamableHttpService::new(
        move || Ok(Server::new(serving.clone(), Whose::Each)),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new()
        .route_service(PATH, service)
        .route_layer(from_fn_with_state(gateway.clone(), authenticate))
        .route(METADATA, get(metadata))
        .route(&format!("{METADATA}{PATH}"), get(metadata))
}

/// Finds out whose a request is.
async fn authenticate(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match guard::caller(&gateway, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            answered(&gateway, parts, body, next).await
        }
        Err(problem) => {
            let id = guard::id_of(&parts.headers);
            let mut ticket = gateway.ticket("mcp", None, Face::Mcp, &Value::Null, &id);
            ticket.fail(problem.kind.name());
            let mut answer = reply::problem(&problem, &id);
            let told = format!(
                "Bearer realm=\"dkc\", resource_metadata=\"{}{METADATA}{PATH}\"",
                base(&gateway, &parts.headers)
            );
            if problem.kind == Kind::Unauthorized
                && let Ok(told) = HeaderValue::from_str(&told)
            {
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, told);
            }
            answer
        }
    }
}

/// The answer to a request of whom is known. rmcp says of what is no message that its media type is wrong; that is answered as
/// over standard input, with an error of JSON-RPC (MCP 2026-07-28, Transports, §Sending Messages).
async fn answered(gateway: &Gateway, parts: Parts, body: Body, next: Next) -> Response {
    let body = match input::body_of(body, gateway.config.body_bytes).await {
        Ok(body) => body,
        Err(problem) => return reply::problem(&problem, &guard::id_of(&parts.headers)),
    };
    let is_json = input::is_json(&parts.headers);
    let answer = next.run(Request::from_parts(parts, body.clone().into())).await;
    if !is_json || answer.status() != StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return answer;
    }
    match message::read(&body) {
        Err(Some(refused)) => (StatusCode::BAD_REQUEST, axum::Json(refused)).into_response(),
        // A notification is never answered, but one that cannot be taken is an error of HTTP.
        Err(None) => StatusCode::BAD_REQUEST.into_response(),
        Ok(_) => answer,
    }
}

/// The address by which the client reached the gateway. `Host` was checked before.
fn base(gateway: &Gateway, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = headers
        .get("x-forwarded-proto")
        .and_then(|scheme| scheme.to_str().ok());
    let scheme = match gateway.config.tls.is_some() || scheme == Some("https") {
        true => "https",
        false => "http",
    };
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// Tells how to be let in: tokens are made by the owner, there is no server that gives them.
async fn metadata(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let base = base(&gateway, &headers);
    axum::Json(json!({
        "resource": format!("{base}{PATH}"),
        "resource_name": "Data Knowledge Center",
        "bearer_methods_supported": ["header"],
        "resource_documentation": format!("{base}/docs"),
    }))
    .into_response()
}
