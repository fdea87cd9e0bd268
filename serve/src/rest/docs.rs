//! Swagger UI, which shows the OpenAPI document and tries what is in it.
//!
//! - Its files are in this program: it works with no network. How it starts is ours: it fetches the document again once
//!   somebody has authorised.

use crate::dispatcher::Gateway;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::routing::get;
use std::sync::Arc;
use tower_http::set_header::SetResponseHeaderLayer;

/// How it starts.
const START: &str = include_str!("swagger.js");

/// What its pages may load: what comes from here. It styles elements one by one.
const POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Its routes.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    let start = || async { ([(header::CONTENT_TYPE, "text/javascript")], START) };
    Router::new()
        .route("/docs/swagger-initializer.js", get(start))
        .merge(utoipa_swagger_ui::SwaggerUi::new("/docs"))
        .layer(SetResponseHeaderLayer::overriding(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ))
}
