//! Whether it lives, whether it can answer, how it fares.

use super::{guard, reply};
use crate::dispatcher::Gateway;
use crate::problem::{Kind, Problem};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use schemas::Role;
use std::sync::{Arc, LazyLock};

/// What was counted.
static METRICS: LazyLock<Option<PrometheusHandle>> = LazyLock::new(|| {
    let buckets = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
    ];
    PrometheusBuilder::new()
        .set_buckets(&buckets)
        .ok()?
        .install_recorder()
        .ok()
});

/// Begins to count.
pub(super) fn begin() {
    LazyLock::force(&METRICS);
}

/// It lives.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// It can answer, and what it answers is fresh. Whoever asks need not say who they are, so no name is told.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    let head = gateway.lake.head();
    let mut reasons = Vec::new();
    if head.failure.is_some() {
        reasons.push("the lake cannot be read".to_owned());
    }
    let pipelines = gateway.config.pipelines.iter();
    let failing = pipelines
        .filter(|pipeline| head.failing.contains(&pipeline.name))
        .count();
    if failing > 0 {
        reasons.push(format!(
            "{failing} of {} pipelines failed when they last ran",
            gateway.config.pipelines.len()
        ));
    }
    let status = if reasons.is_empty() { "ready" } else { "failing" };
    let code = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::json!({ "status": status, "reasons": reasons, "snapshot": head.snapshot });
    (code, axum::Json(body)).into_response()
}

/// What was counted, as Prometheus reads it.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let id = guard::id_of(&request.headers);
    let caller = match guard::caller(&gateway, &request).await {
        Ok(caller) => caller,
        Err(problem) => return reply::problem(&problem, &id),
    };
    if !matches!(caller.role, Role::Dev | Role::Automated) || caller.view.datasets.is_some() {
        let problem = Problem::new(
            Kind::Forbidden,
            "metrics are for the roles `dev` and `automated`, of all datasets",
        );
        return reply::problem(&problem, &id);
    }
    let head = gateway.lake.head();
    metrics::gauge!("dkc_lake_snapshot").set(head.snapshot as f64);
    metrics::gauge!("dkc_lake_readable").set(if head.failure.is_some() { 0.0 } else { 1.0 });
    for (name, holding) in head.holdings.iter() {
        metrics::gauge!("dkc_dataset_rows", "dataset" => name.clone()).set(holding.rows as f64);
        metrics::gauge!("dkc_dataset_bytes", "dataset" => name.clone()).set(holding.bytes as f64);
    }
    for (source, ended) in head.collected.iter() {
        metrics::gauge!("dkc_source_collected_timestamp_seconds", "source" => source.clone())
            .set(*ended as f64 / 1e6);
    }
    let text = METRICS.as_ref().map(PrometheusHandle::render).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
