//! Whom a request comes from, and whether it was meant for this gateway.
//!
//! - A page of another site can send requests to this machine through its user's browser; their `Host` or `Origin` tells.
//! - Not here: what a caller may do (`dispatcher`).

use super::encryption::is_certified;
use super::pulse::Pulse;
use super::reply;
use crate::caller::Caller;
use crate::config::Proxy;
use crate::dispatcher::Gateway;
use crate::problem::{Kind, Problem};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;
use schemas::Role;
use secrecy::ExposeSecret as _;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use uuid::Uuid;

/// The request's id, in its answer, the log and the audit record.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What all routes begin with that are for whoever says who they are.
const API: &str = "/api/";

/// The event that a client heard last, where it comes back (WHATWG HTML §9.2.4).
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a proxy proves itself with, where others share its address.
const PROXY_SECRET: HeaderName = HeaderName::from_static("x-dkc-proxy-secret");

/// Says which pages may use an answer that they do not read, as a script or a picture (Fetch §3.7).
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What every answer says of itself, unless it says otherwise.
static HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    ),
    // A page of another site could have its reader's browser fetch a script, and run it, where a proxy's cookie lets it in.
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// What all requests pass: one layer, as each makes all within it be copied for every request. It gives a request an id of
/// its own; what a client sends is not taken, as it could be another's. It refuses what another site's page sent. A panic
/// is a mistake of ours: the log has it, the client learns that there was one.
pub(super) async fn pass(
    State((gateway, pulse)): State<(Arc<Gateway>, Pulse)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (id, header) = new_id();
    request.headers_mut().insert(REQUEST_ID, header.clone());
    request.extensions_mut().insert(pulse);
    let mut answer = match refused(&gateway, &request) {
        Some(problem) => reply::problem(&problem, &id),
        None => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answered.unwrap_or_else(|panic| {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                tracing::error!(
                    panic = words.unwrap_or("without words"),
                    request = id,
                    "a request panicked"
                );
                let detail = "it is not the request's fault; the log says more under this request's id";
                reply::problem(&Problem::new(Kind::Internal, detail), &id)
            })
        }
    };
    // axum tells by which methods a route may be asked, also whom there is nothing to be told.
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().remove(header::ALLOW);
    }
    dress(&mut answer);
    answer.headers_mut().insert(REQUEST_ID, header);
    answer
}

/// An id for a request, and the header that tells it.
pub(super) fn new_id() -> (String, HeaderValue) {
    let id = Uuid::now_v7().simple().to_string();
    let header = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"));
    (id, header)
}

/// Adds what every answer says of itself.
pub(super) fn dress(answer: &mut Response) {
    for (name, value) in &HEADERS {
        answer.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
}

/// The id of a request.
pub(crate) fn id_of(headers: &HeaderMap) -> String {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    id.unwrap_or("-").to_owned()
}

/// Why a request is refused before it is read: another site's page sent it.
pub(super) fn refused(gateway: &Gateway, request: &Request) -> Option<Problem> {
    let detail = foreign(gateway, request.headers(), request.uri())?;
    Some(Problem::new(Kind::Forbidden, detail))
}

/// Why a request is not for this gateway.
fn foreign(gateway: &Gateway, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let config = &gateway.config;
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        (first, values.next().is_some())
    };
    let (host, twice) = only(header::HOST);
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| host.and_then(|host| host.to_str().ok()));
    let is_ours = |authority: &str| {
        let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else {
            return false;
        };
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.as_str().contains('@') || (has_port && authority.port_u16().is_none()) {
            return false;
        }
        let name = authority.host().trim_matches(['[', ']']);
        let ip: Option<IpAddr> = name.parse().ok();
        let is_local = name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback());
        let is_named = config.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
        // Bound to an address, it may be called by it.
        let is_bound = ip.is_some_and(|ip| ip == config.listen.ip());
        is_local || is_named || is_bound
    };
    if twice || !host.is_some_and(is_ours) {
        return Some(
            "the request is for another host; name it under `hosts` of [serve] if it is meant for this one"
                .to_owned(),
        );
    }
    let (origin, twice) = only(header::ORIGIN);
    let origin = origin?.to_str().unwrap_or("null");
    let is_allowed = config.origins.iter().any(|known| known == origin);
    let is_own = host.is_some_and(|host| {
        ["http://", "https://"].iter().any(|scheme| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
        })
    });
    match !twice && (is_allowed || is_own) {
        true => None,
        false => Some(
            "the request comes from a page of another site; name it under `origins` of [serve] if it may ask"
                .to_owned(),
        ),
    }
}

/// Who sent a request: by its token, or by what a trusted proxy says.
///
/// # Errors
/// [`Kind::Unauthorized`]; [`Kind::Unavailable`] while the database is away.
pub(crate) async fn caller(gateway: &Gateway, request: &Parts) -> Result<Caller, Problem> {
    let pulse = Pulse::of(&request.extensions);
    pulse.beside(of_request(gateway, request)).await
}

/// Who sent a request that no route answers; nobody in particular, where they do not say.
///
/// # Errors
/// Those of [`caller`], beneath [`API`]: whether there is something, and by which methods, is not to be found out there.
pub(super) async fn caller_of_no_route(
    gateway: &Gateway,
    request: &Parts,
) -> Result<Option<Caller>, Problem> {
    match caller(gateway, request).await {
        Err(problem) if request.uri.path().starts_with(API) => Err(problem),
        known => Ok(known.ok()),
    }
}

async fn of_request(gateway: &Gateway, request: &Parts) -> Result<Caller, Problem> {
    let headers = &request.headers;
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let text = authorization.to_str().unwrap_or_default();
        let token = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let more = headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some();
        return match token.filter(|_| !more) {
            Some((_, token)) => {
                let caller = gateway.callers.of_token(token.trim()).await?;
                check_certificate(gateway, &caller, request)?;
                Ok(caller)
            }
            None => Err(Problem::new(
                Kind::Unauthorized,
                "`Authorization` must be `Bearer TOKEN`",
            )),
        };
    }
    let peer = request
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    if let (Some(proxy), Some(peer)) = (&gateway.config.proxy, peer)
        && let Some((user, role)) = of_proxy(proxy, peer, headers)
    {
        let caller = gateway.callers.of_proxy(user, role);
        check_certificate(gateway, &caller, request)?;
        return Ok(caller);
    }
    Err(Problem::new(
        Kind::Unauthorized,
        "send `Authorization: Bearer TOKEN`; `dkc token create NAME` makes one",
    ))
}

/// Refuses programs that come without a certificate where they need one beside what they say of themselves.
fn check_certificate(gateway: &Gateway, caller: &Caller, request: &Parts) -> Result<(), Problem> {
    let tls = gateway.config.tls.as_ref();
    let is_needed = caller.role == Role::Automated && tls.is_some_and(|tls| tls.clients.is_some());
    if !is_needed || is_certified(&request.extensions) {
        return Ok(());
    }
    tracing::warn!(who = %caller.who, "a program came without a certificate");
    Err(Problem::new(
        Kind::Unauthorized,
        "the role `automated` needs a certificate here too, signed by an authority that `clients` of [serve.tls] names",
    ))
}

/// Who a trusted proxy says somebody is, and their role.
fn of_proxy<'a>(proxy: &Proxy, peer: IpAddr, headers: &'a HeaderMap) -> Option<(&'a str, Role)> {
    // A listener for both kinds of addresses tells IPv4's as IPv6's (RFC 4291 §2.5.5.2).
    let peer = peer.to_canonical();
    if !proxy
        .addresses
        .iter()
        .any(|address| address.to_canonical() == peer)
    {
        return None;
    }
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        // A client could have sent the first, and the proxy have added another.
        values.next().is_none().then_some(first)
    };
    if let Some(secret) = &proxy.secret {
        let sent = headers.get(PROXY_SECRET)?.as_bytes();
        // In constant time: blake3's hashes are compared so.
        if blake3::hash(sent) != blake3::hash(secret.expose_secret().as_bytes()) {
            return None;
        }
    }
    let user = only(&proxy.user_header).filter(|user| !user.is_empty())?;
    let groups = only(&proxy.groups_header)?;
    let roles = groups
        .split(',')
        .filter_map(|group| proxy.roles.get(group.trim()));
    let power = |role: &&Role| match role {
        Role::Public => 0,
        Role::Automated => 1,
        Role::User => 2,
        Role::Dev => 3,
    };
    let role = roles.max_by_key(power)?;
    Some((user, *role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_proxy_is_known_by_its_address_however_the_listener_tells_it() {
        let proxy = Proxy {
            addresses: vec!["10.0.0.2".parse().unwrap()],
            user_header: "remote-user".to_owned(),
            groups_header: "remote-groups".to_owned(),
            roles: BTreeMap::from([("home".to_owned(), Role::User)]),
            secret: None,
        };
        let headers = HeaderMap::from_iter([
            (
                HeaderName::from_static("remote-user"),
                HeaderValue::from_static("anna"),
            ),
            (
                HeaderName::from_static("remote-groups"),
                HeaderValue::from_static("home"),
            ),
        ]);
        for (peer, known) in [
            ("10.0.0.2", Some(("anna", Role::User))),
            ("::ffff:10.0.0.2", Some(("anna", Role::User))),
            ("10.0.0.3", None),
            ("::ffff:10.0.0.3", None),
        ] {
            assert_eq!(of_proxy(&proxy, peer.parse().unwrap(), &headers), known, "{peer}");
        }
    }
}
