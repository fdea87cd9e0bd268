//! Whom the gateway takes a request for: users of a proxy, pages of other sites, tokens that ask too often.

use crate::it::gateway::{Served, answered, mail, token};
use crate::it::lab::{Lab, MAIL};
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_TYPE, HeaderName, ORIGIN, RETRY_AFTER, VARY,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

/// Where the proxy comes from: an address of this machine from which nobody comes who does not ask for it.
const PROXY: &str = "127.0.0.2";

const DATASETS: &str = "/api/v1/datasets";

/// For everybody, for all but the public, for dev.
const FOR_ROLES: [&str; 3] = [DATASETS, "/api/v1/runs", "/api/v1/tokens"];

/// A page that may ask.
const PAGE: &str = "https://home.example.org";

/// A lab with a mail and more of a configuration.
fn lab(more: &str) -> Lab {
    let lab = Lab::new(&format!("{MAIL}{more}"));
    lab.deliver("", &[mail(1)]);
    lab.run();
    lab
}

/// A lab that trusts a proxy.
fn proxied(more: &str) -> Lab {
    let roles = "{ home = \"user\", admins = \"dev\", guests = \"public\", jobs = \"automated\" }";
    lab(&format!(
        "[serve.proxy]\naddresses = [\"{PROXY}\"]\nroles = {roles}\n{more}"
    ))
}

/// A client that comes from the address of the proxy.
fn proxy() -> Client {
    let address: IpAddr = PROXY.parse().unwrap();
    Client::builder().local_address(address).build().unwrap()
}

/// The status of an answer to a request with these headers, of which a name may come twice.
async fn status(client: &Client, served: &Served, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = client.get(format!("{}{path}", served.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn who_is_not_the_proxy_is_not_heard_on_who_asks() {
    let lab = proxied("");
    let (served, _) = Served::start(&lab);
    let user = format!("Bearer {}", token(&lab, "user", &["--role", "user"]));
    let (stranger, proxy) = (Client::new(), proxy());
    let anna = [("Remote-User", "anna"), ("Remote-Groups", "admins")];
    let with = |more: &[(&'static str, &'static str)]| [anna.as_slice(), more].concat();
    let spoofed = [
        with(&[]),
        with(&[("X-Forwarded-For", PROXY)]),
        with(&[("Forwarded", "for=127.0.0.2"), ("X-Real-IP", PROXY)]),
    ];
    for path in [DATASETS, "/api/v1/tokens", "/api/v1/nothing", "/metrics", "/mcp"] {
        for headers in &spoofed {
            assert_eq!(
                status(&stranger, &served, path, headers).await,
                401,
                "{path} {headers:?}"
            );
        }
    }
    for (path, wanted) in [
        (DATASETS, 200),
        ("/api/v1/tokens", 200),
        ("/metrics", 200),
        ("/api/v1/nothing", 404),
    ] {
        assert_eq!(status(&proxy, &served, path, &anna).await, wanted, "{path}");
    }
    // Where there is a token, it says who asks, and one that is wrong is nobody's.
    for client in [&stranger, &proxy] {
        let headers = [anna.as_slice(), &[("Authorization", user.as_str())]].concat();
        assert_eq!(status(client, &served, DATASETS, &headers).await, 200);
        assert_eq!(status(client, &served, "/api/v1/tokens", &headers).await, 403);
        let headers = with(&[("Authorization", "Bearer dkc_wrong")]);
        assert_eq!(status(client, &served, DATASETS, &headers).await, 401);
    }
    // The proxy itself is nobody.
    assert_eq!(status(&proxy, &served, DATASETS, &[]).await, 401);
}

#[tokio::test]
async fn a_proxy_gives_the_role_of_the_groups_it_names_once() {
    let lab = proxied("");
    let (served, _) = Served::start(&lab);
    let proxy = proxy();
    let user = ("Remote-User", "anna");
    for (groups, wanted) in [
        ("guests", [200, 403, 403]),
        ("jobs", [200, 200, 403]),
        ("home", [200, 200, 403]),
        ("admins", [200, 200, 200]),
        ("guests,home", [200, 200, 403]),
        ("home, admins", [200, 200, 200]),
        ("admins , guests,nobody", [200, 200, 200]),
        ("nobody,guests", [200, 403, 403]),
        // No group that has a role.
        ("", [401; 3]),
        (",", [401; 3]),
        ("nobody", [401; 3]),
        ("dev", [401; 3]),
        ("Admins", [401; 3]),
        ("admins2", [401; 3]),
        ("home;admins", [401; 3]),
    ] {
        for (path, wanted) in FOR_ROLES.into_iter().zip(wanted) {
            let headers = [user, ("Remote-Groups", groups)];
            let found = status(&proxy, &served, path, &headers).await;
            assert_eq!(found, wanted, "{groups:?} {path}");
        }
    }
    // The first could be the client's, and the second the proxy's.
    let admins = ("Remote-Groups", "admins");
    for headers in [
        vec![user],
        vec![admins],
        vec![("Remote-User", ""), admins],
        vec![user, ("Remote-User", "bert"), admins],
        vec![user, user, admins],
        vec![user, ("Remote-Groups", "guests"), admins],
        vec![user, admins, admins],
    ] {
        for path in FOR_ROLES {
            let found = status(&proxy, &served, path, &headers).await;
            assert_eq!(found, 401, "{headers:?} {path}");
        }
    }
    assert_eq!(served.stop(), Some(0));
    let rows = lab.sql("SELECT DISTINCT role FROM audit WHERE who = 'proxy:anna'");
    let roles: BTreeSet<&str> = rows.iter().map(|row| row["role"].as_str().unwrap()).collect();
    assert_eq!(roles, BTreeSet::from(["automated", "dev", "public", "user"]));
    let others = "SELECT count(*) AS n FROM audit WHERE who LIKE 'proxy:%' AND who <> 'proxy:anna'";
    assert_eq!(lab.number(others), 0);
}

#[tokio::test]
async fn who_shares_the_address_of_the_proxy_needs_its_secret() {
    let lab = proxied("user_header = \"X-Auth-User\"\nsecret = \"file:proxy.secret\"\n");
    lab.write("proxy.secret", "open sesame\n");
    let (served, _) = Served::start(&lab);
    let (stranger, proxy) = (Client::new(), proxy());
    let (user, groups) = (("X-Auth-User", "anna"), ("Remote-Groups", "home"));
    let secret = |text| ("X-Dkc-Proxy-Secret", text);
    let right = secret("open sesame");
    for (headers, wanted) in [
        (vec![user, groups, right], 200),
        (vec![user, groups], 401),
        (vec![user, groups, secret("")], 401),
        (vec![user, groups, secret("open")], 401),
        (vec![user, groups, secret("open sesame!")], 401),
        (vec![user, groups, secret("open"), right], 401),
        (vec![("Remote-User", "anna"), groups, right], 401),
    ] {
        let found = status(&proxy, &served, DATASETS, &headers).await;
        assert_eq!(found, wanted, "{headers:?}");
        // The secret alone is not enough.
        let found = status(&stranger, &served, DATASETS, &headers).await;
        assert_eq!(found, 401, "{headers:?}");
    }
}

/// What a browser asks before it lets a page ask.
fn preflight(served: &Served, path: &str) -> RequestBuilder {
    let request = served
        .client
        .request(Method::OPTIONS, format!("{}{path}", served.url));
    request
        .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization")
}

/// What an answer says to a browser of other sites' pages.
fn allowed(answer: &Response) -> BTreeSet<&str> {
    let names = answer.headers().keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn no_page_of_another_site_is_allowed_anything_unless_it_is_named() {
    let lab = lab("");
    let (served, dev) = Served::start(&lab);
    let own = served.url.clone();
    for path in [
        DATASETS,
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/mcp",
        "/nothing",
    ] {
        for origin in [PAGE, "null", own.as_str()] {
            for request in [
                preflight(&served, path),
                served.get("", path),
                served.get(&dev, path),
            ] {
                let answer = request.header(ORIGIN, origin).send().await.unwrap();
                let is_refused = answer.status().as_u16() == 403;
                assert_eq!(is_refused, origin != own, "{path} {origin}: {}", answer.status());
                assert_eq!(allowed(&answer), BTreeSet::new(), "{path} {origin}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_is_named_may_ask_with_a_token_and_no_other_may() {
    let lab = lab(&format!("[serve]\norigins = [\"{PAGE}\"]\n"));
    let (served, dev) = Served::start(&lab);
    let said = |answer: &Response, name: HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
    for path in [DATASETS, "/healthz", "/mcp"] {
        let answer = preflight(&served, path).header(ORIGIN, PAGE);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(said(&answer, ACCESS_CONTROL_ALLOW_ORIGIN), PAGE, "{path}");
        let methods = said(&answer, ACCESS_CONTROL_ALLOW_METHODS);
        assert!(["GET", "POST", "DELETE"].iter().all(|one| methods.contains(one)));
        let headers = said(&answer, ACCESS_CONTROL_ALLOW_HEADERS);
        for header in ["authorization", "content-type", "last-event-id", "mcp-method"] {
            assert!(headers.contains(header), "{path}: {headers}");
        }
        assert!(!allowed(&answer).contains("access-control-allow-credentials"));

        // Also why it was refused: the first is without a token.
        for (token, wanted) in [("", 401), (dev.as_str(), 200)] {
            let answer = served.get(token, path).header(ORIGIN, PAGE);
            let answer = answer.send().await.unwrap();
            match path {
                DATASETS => assert_eq!(answer.status(), wanted),
                _ => assert_ne!(answer.status(), 403, "{path}"),
            }
            assert_eq!(said(&answer, ACCESS_CONTROL_ALLOW_ORIGIN), PAGE, "{path}");
            assert!(said(&answer, ACCESS_CONTROL_EXPOSE_HEADERS).contains("retry-after"));
            assert!(!allowed(&answer).contains("access-control-allow-credentials"));
            // Who keeps answers for others must not give them to another page.
            let mut vary = answer.headers().get_all(VARY).iter();
            assert!(vary.any(|value| value.to_str().unwrap().contains("origin")));
        }

        for origin in [
            "https://evil.test",
            "https://home.example.org.evil.test",
            "https://evil.home.example.org",
            "http://home.example.org",
            "https://home.example.org:8443",
            "HTTPS://HOME.EXAMPLE.ORG",
            "null",
            "*",
        ] {
            let answer = preflight(&served, path).header(ORIGIN, origin);
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {origin}");
            assert_eq!(allowed(&answer), BTreeSet::new(), "{path} {origin}");
            let answer = served.get(&dev, path).header(ORIGIN, origin);
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} {origin}");
            assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        }
        let twice = served.get(&dev, path).header(ORIGIN, PAGE).header(ORIGIN, PAGE);
        assert_eq!(twice.send().await.unwrap().status(), 403, "{path}");
    }
    // Who is no page is answered as ever.
    let answer = served.get(&dev, DATASETS).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back_and_no_other_is() {
    let lab = lab("");
    let (served, dev) = Served::start(&lab);
    let slowed = |name| token(&lab, name, &["--role", "automated", "--rate", "1"]);
    let (one, other) = (slowed("one"), slowed("other"));
    let began = Instant::now();
    // All at once, and the first that it asks.
    let requests = (0..30).map(|_| served.get(&one, DATASETS).send());
    let answers = futures::future::join_all(requests).await;
    let most = 1 + began.elapsed().as_secs();
    let mut answered_well = 0;
    for answer in answers {
        let answer = answer.unwrap();
        if answer.status() == 200 {
            answered_well += 1;
            continue;
        }
        assert_eq!(answer.status(), 429);
        let headers = answer.headers();
        let seconds: u64 = headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "{seconds}");
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], 429, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("--rate"),
            "{problem}"
        );
    }
    assert!((1..=most).contains(&answered_well), "{answered_well} of {most}");
    // The others are not held up, nor is it for longer.
    assert_eq!(served.get(&other, DATASETS).send().await.unwrap().status(), 200);
    for _ in 0..30 {
        assert_eq!(served.get(&dev, DATASETS).send().await.unwrap().status(), 200);
    }
    answered(&served, &one, DATASETS, |status, _| status == 200).await;
}
