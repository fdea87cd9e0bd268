//! The face over HTTP: routes, documents, and what stands before them.
//!
//! - In: a [`Gateway`]. Out: a router; [`listen`] serves it until it is told to stop.
//! - Reading order: `guard` says whom a request comes from, `input` what it asks, `reply` writes the answer, `etag` names
//!   it, `answers` keeps it, `coding` says whether it may be compressed, `openapi` describes all of it, `pulse` tells whether the database
//!   answers; `encryption` is what connections are accepted with.

mod answers;
mod coding;
mod docs;
mod encryption;
mod etag;
mod events;
mod format;
pub(crate) mod guard;
mod health;
pub(crate) mod input;
mod listen;
mod openapi;
mod pulse;
pub(crate) mod reply;

pub use encryption::{Encryption, EncryptionError};
pub use listen::listen;

use crate::dispatcher::Gateway;
use crate::operation::{Call, Face, Method, Operation, Output, Reply};
use crate::problem::{Kind, Problem};
use crate::registry;
use answers::Answers;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, Method as HttpMethod, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, get, on};
use etag::{Known, Tag};
use pulse::Pulse;
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate as _, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may believe that an origin is allowed.
const PREFLIGHT: std::time::Duration = std::time::Duration::from_secs(600);

/// All routes.
fn router(gateway: Arc<Gateway>, pulse: Pulse) -> Router {
    let mut routes: Router<Arc<Gateway>> = Router::new();
    let answers = Answers::new();
    for operation in registry::ALL.iter().copied() {
        routes = routes.route(operation.path, route(operation, &answers));
    }
    let routes = routes
        .route("/openapi.json", get(openapi::document))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(docs::routes())
        .merge(crate::mcp::routes(&gateway))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method);
    let origins: Vec<HeaderValue> = gateway
        .config
        .origins
        .iter()
        .filter_map(|origin| origin.parse().ok())
        .collect();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.clone()))
        .allow_methods([HttpMethod::GET, HttpMethod::POST, HttpMethod::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            guard::LAST_EVENT_ID,
            // What a client of MCP says of each request (MCP 2026-07-28, Transports).
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
        ])
        .expose_headers([header::ETAG, header::LINK, header::RETRY_AFTER, guard::REQUEST_ID])
        .max_age(PREFLIGHT);
    let passing = || from_fn_with_state((gateway.clone(), pulse.clone()), guard::pass);
    // Whoever asks whether it lives asks often: no layer is before the answer, which does itself what they would do.
    let alive: MethodRouter<Arc<Gateway>> = get(health::alive);
    let others: MethodRouter<Arc<Gateway>> = any(no_method);
    let (routes, alive, others) = match origins.is_empty() {
        true => (routes, alive, others),
        false => (
            routes.layer(cors.clone()),
            alive.layer(cors.clone()),
            others.layer(cors),
        ),
    };
    let others: MethodRouter<Arc<Gateway>> = others.layer(passing());
    let routes = routes
        .layer(CompressionLayer::new().compress_when(SizeAbove::default().and(coding::compresses)))
        .with_state(gateway.clone());
    // Around all of them, so that what axum adds to an answer by itself passes too.
    Router::new()
        .fallback_service(routes)
        .layer(passing())
        .route("/healthz", others.merge(alive))
        .with_state(gateway)
}

fn route(operation: &'static Operation, answers: &Answers) -> MethodRouter<Arc<Gateway>> {
    let answers = answers.clone();
    let method = match operation.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    };
    on(
        method,
        async move |State(gateway): State<Arc<Gateway>>,
                    path: Result<Path<Vec<(String, String)>>, PathRejection>,
                    RawQuery(query): RawQuery,
                    request: Request| {
            let id = guard::id_of(request.headers());
            match call(&gateway, operation, &answers, path, query, request, &id).await {
                Ok(answer) => answer,
                Err(problem) => reply::problem(&problem, &id),
            }
        },
    )
}

/// From a request to its answer.
async fn call(
    gateway: &Arc<Gateway>,
    operation: &'static Operation,
    answers: &Answers,
    path: Result<Path<Vec<(String, String)>>, PathRejection>,
    query: Option<String>,
    request: Request,
    id: &str,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let pulse = Pulse::of(&parts.extensions);
    let caller = guard::caller(gateway, &parts).await;
    let asked = match (&caller, path) {
        (Ok(_), Ok(Path(path))) => {
            input::of(
                operation,
                path,
                query,
                &parts.headers,
                body,
                gateway.config.body_bytes,
            )
            .await
        }
        (Ok(_), Err(_)) => Err(Problem::new(
            Kind::BadRequest,
            "the path is not UTF-8 where it is decoded",
        )),
        // Whoever may not ask does not learn what can be asked.
        (Err(_), _) => Ok(input::Asked::default()),
    };
    let (caller, asked) = match (caller, asked) {
        (Ok(caller), Ok(asked)) => (caller, asked),
        (caller, asked) => {
            let problem = match (&caller, asked) {
                (Ok(_), Err(problem)) => problem,
                (_, Ok(_)) | (Err(_), Err(_)) => Problem::new(Kind::Unauthorized, String::new()),
            };
            let input = Value::Null;
            match caller {
                // It is counted and in the log, as any other call.
                Ok(caller) => {
                    let mut ticket = gateway
                        .admit(operation, Ok(&caller), Face::Rest, &input, id)
                        .await?;
                    ticket.fail(problem.kind.name());
                    return Err(problem);
                }
                Err(denied) => {
                    let admitted = gateway
                        .admit(operation, Err(denied), Face::Rest, &input, id)
                        .await;
                    return Err(admitted.err().unwrap_or(problem));
                }
            }
        }
    };
    let mut ticket = gateway
        .admit(operation, Ok(&caller), Face::Rest, &asked.input, id)
        .await?;
    if events::is_wanted(operation, &parts.headers) {
        let begun = events::stream(gateway.clone(), caller, asked.input, &parts.headers, ticket);
        return pulse.beside(begun).await;
    }
    let form = format::negotiate(operation, asked.format.as_deref(), &parts.headers)
        .inspect_err(|problem| ticket.fail(problem.kind.name()))?;
    let known = Known::of(&parts.headers);
    let foretold = (operation.is_cacheable && !matches!(operation.output, Output::Bytes))
        .then(|| Tag::of_asked(gateway, &caller, operation, &asked.input, form));
    let cancel = CancellationToken::new();
    // Whoever left does not wait for what was begun.
    let _left = cancel.clone().drop_guard();
    let call = Call {
        face: Face::Rest,
        gateway,
        caller: &caller,
        progress: None,
        cancel: &cancel,
    };
    let is_had = |tag: &&Tag| known.has(tag);
    // Of what there is not nobody has anything: with `*` it is asked for first.
    if !known.is_any()
        && let Some(tag) = foretold.as_ref().filter(is_had)
    {
        ticket.fail("not-modified");
        return Ok(reply::not_modified(tag));
    }
    if let Some(tag) = &foretold
        && let Some(written) = answers.get(tag)
    {
        if known.is_any() {
            ticket.fail("not-modified");
            return Ok(reply::not_modified(tag));
        }
        let noted = gateway.note_given(operation, &call).await;
        noted.inspect_err(|problem| ticket.fail(problem.kind.name()))?;
        return Ok(written.answer(form, Some(tag), ticket));
    }
    let performed = gateway.perform(operation, call, asked.input, &mut ticket);
    let performed = match operation.plan {
        // What is done outside goes on without the database, and its end is waited for.
        Some(_) => performed.await,
        None => pulse.beside(performed).await,
    };
    let answer = performed.inspect_err(|problem| ticket.fail(problem.kind.name()))?;
    let tag = match &answer {
        // Bytes are named by their digest once they are there.
        Reply::Bytes(original) => Some(Tag::of_bytes(original)),
        _ => foretold,
    };
    if let Some(tag) = tag.as_ref().filter(is_had) {
        ticket.fail("not-modified");
        return Ok(reply::not_modified(tag));
    }
    let written = reply::write(answer, operation, form, tag, answers, ticket).await;
    written.map_err(|problem| pulse.blame(problem))
}

async fn no_route(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let id = guard::id_of(&parts.headers);
    let path = parts.uri.path();
    let caller = match guard::caller_of_no_route(&gateway, &parts).await {
        Ok(caller) => caller,
        Err(problem) => return reply::problem(&problem, &id),
    };
    // Whoever may not ask does not learn what can be asked.
    let offered = |operation: &&Operation| {
        caller
            .as_ref()
            .is_some_and(|caller| gateway.offers(operation, caller))
    };
    let paths = registry::ALL
        .iter()
        .copied()
        .filter(offered)
        .map(|operation| operation.path);
    reply::problem(
        &Problem::not_found("path", path, paths.filter(|known| !known.contains('{'))),
        &id,
    )
}

async fn no_method(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let id = guard::id_of(&parts.headers);
    if let Err(problem) = guard::caller_of_no_route(&gateway, &parts).await {
        return reply::problem(&problem, &id);
    }
    let allowed = allowed_at(parts.uri.path());
    let problem = Problem::new(
        Kind::MethodNotAllowed,
        format!("use {allowed}; /openapi.json lists what there is"),
    );
    let mut answer = reply::problem(&problem, &id);
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

/// The methods of a path that there is.
fn allowed_at(path: &str) -> String {
    let fits = |pattern: &str| {
        let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(wanted), Some(part)) if wanted == part || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let mut methods: Vec<&str> = registry::ALL
        .iter()
        .filter(|operation| fits(operation.path))
        .map(|operation| match operation.method {
            Method::Get => "GET, HEAD",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        })
        .collect();
    if methods.is_empty() {
        methods.push("GET, HEAD");
    }
    methods.join(", ")
}
