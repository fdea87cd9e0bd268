//! Over HTTP: webhook, ntfy, the dead man's switch.

use super::*;
use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// What a server was asked.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    line: String,
    token: Option<String>,
    kind: Option<String>,
    agent: Option<String>,
    body: String,
}

/// What it answers.
enum Answer {
    Status(u16),
    Elsewhere,
    Never,
}

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// One that answers the nth question, from 1, so.
    async fn new(answer: fn(usize) -> Answer) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = Arc::clone(&asked);
        let handle = move |method: Method, uri: Uri, headers: HeaderMap, body: String| {
            let text = |name: HeaderName| Some(headers.get(name)?.to_str().unwrap().to_owned());
            let question = Asked {
                line: format!("{method} {}", uri.path()),
                token: text(AUTHORIZATION),
                kind: text(CONTENT_TYPE),
                agent: text(USER_AGENT),
                body,
            };
            let mut asked = held(&kept);
            asked.push(question);
            let answer = answer(asked.len());
            async move {
                match answer {
                    Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
                    Answer::Elsewhere => {
                        (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/elsewhere")]).into_response()
                    }
                    Answer::Never => std::future::pending::<Response>().await,
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        held(&self.asked).clone()
    }

    fn webhook(&self) -> Channels {
        Channels {
            webhook: Some(Webhook {
                url: format!("{}/hook/hush", self.address).into(),
                token: Some("hush-token".into()),
            }),
            ..Channels::default()
        }
    }

    fn dead_man(&self, every: Duration) -> Channels {
        Channels {
            dead_man: Some(DeadMan {
                url: format!("{}/ping/hush", self.address).into(),
                every,
            }),
            ..Channels::default()
        }
    }
}

fn posted(path: &str, body: String) -> Asked {
    Asked {
        line: format!("POST {path}"),
        token: Some("Bearer hush-token".to_owned()),
        kind: Some("application/json".to_owned()),
        agent: Some("dkc".to_owned()),
        body,
    }
}

fn webhook_json(name: &str, state: &str) -> String {
    format!(
        concat!(
            r#"{{"version":1,"state":"{state}","key":"failing:{name}","kind":"failing","subject":"{name}","#,
            r#""what":"its run 0198 failed (try 3); its error, quoted: \"no such host\"","#,
            r#""next_step":"look at `dkc runs show 0198`, mend what it says, then `dkc runs retry 0198`","#,
            r#""since":"2027-01-15T08:00:00Z","host":"{host}"}}"#
        ),
        state = state,
        name = name,
        host = host(),
    )
}

#[tokio::test]
async fn a_webhook_gets_this_json_once_when_it_opens_and_once_when_it_is_over() {
    let server = Server::new(|_| Answer::Status(204)).await;
    let stage = Stage::new().await;
    let alerts = stage.alerts(server.webhook(), PATIENCE);
    stage.fails(&["mail", "photos"], BEGIN).await;
    alerts.tell(BEGIN).await;
    alerts.tell(BEGIN + MINUTE).await;
    let opened = ["mail", "photos"].map(|name| posted("/hook/hush", webhook_json(name, "open")));
    assert_eq!(server.asked(), opened);
    stage.fails(&["photos"], BEGIN + MINUTE).await;
    alerts.tell(BEGIN + MINUTE).await;
    alerts.tell(BEGIN + 2 * MINUTE).await;
    let over = posted("/hook/hush", webhook_json("mail", "recovered"));
    assert_eq!(server.asked().get(2..), Some([over].as_slice()));
}

#[tokio::test]
async fn a_webhook_that_fails_twice_is_told_at_the_third_try() {
    let server = Server::new(|nth| Answer::Status(if nth < 3 { 503 } else { 200 })).await;
    let stage = Stage::new().await;
    let alerts = stage.alerts(server.webhook(), PATIENCE);
    stage.fails(&["mail"], BEGIN).await;
    alerts.tell(BEGIN).await;
    alerts.tell(BEGIN + 10 * MINUTE).await;
    let tries = server.asked();
    assert_eq!(tries.len(), 3, "{tries:?}");
    assert!(tries.iter().all(|one| one.body == webhook_json("mail", "open")));
}

#[tokio::test]
async fn what_a_webhook_was_not_told_it_is_told_later_and_nothing_twice() {
    // It takes the first message, refuses the second, and takes all that come after.
    let server = Server::new(|nth| Answer::Status(if nth == 2 { 403 } else { 200 })).await;
    let stage = Stage::new().await;
    let alerts = stage.alerts(server.webhook(), PATIENCE);
    stage.fails(&["a", "b", "c"], BEGIN).await;
    alerts.tell(BEGIN).await;
    // A refusal is not tried again at once, and what came after it was not tried.
    assert_eq!(server.asked().len(), 2);
    // Meanwhile one of them is over: of that there is nothing to tell any more.
    stage.fails(&["a", "c"], BEGIN + MINUTE).await;
    alerts.tell(BEGIN + 3 * MINUTE).await;
    let told: Vec<String> = server.asked().into_iter().map(|one| one.body).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2], webhook_json("c", "open"));
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let server = Server::new(|_| Answer::Elsewhere).await;
    let stage = Stage::new().await;
    let outcomes = stage.alerts(server.webhook(), PATIENCE).test().await;
    assert!(matches!(
        outcomes[..],
        [("webhook", Err(ChannelError::Refused(307)))]
    ));
    let lines: Vec<String> = server.asked().into_iter().map(|one| one.line).collect();
    assert_eq!(lines, ["POST /hook/hush"]);
}

#[tokio::test]
async fn a_channel_that_hangs_keeps_nobody_else_from_being_told() {
    let (hangs, works) = (
        Server::new(|_| Answer::Never).await,
        Server::new(|_| Answer::Status(200)).await,
    );
    let stage = Stage::new().await;
    let channels = Channels {
        ntfy: Some(Ntfy {
            server: works.address.clone(),
            topic: "t".into(),
            token: None,
        }),
        ..hangs.webhook()
    };
    let patience = Patience {
        answer: Duration::from_secs(1),
        ..PATIENCE
    };
    let alerts = stage.alerts(channels.clone(), patience);
    stage.fails(&["mail"], BEGIN).await;
    alerts.tell(BEGIN).await;
    assert_eq!(hangs.asked().len(), 3);
    assert_eq!(works.asked().len(), 1);
    let untold = async |channel: &str| {
        let news = stage.log.untold(channel, alerts.inner.repeat, BEGIN + 3 * MINUTE);
        news.await.unwrap().len()
    };
    assert_eq!((untold("webhook").await, untold("ntfy").await), (1, 0));
    // However many messages there are, the whole has an end, too.
    let patience = Patience {
        whole: Duration::from_millis(50),
        ..PATIENCE
    };
    let outcomes = stage.alerts(channels, patience).test().await;
    assert!(matches!(
        outcomes.first(),
        Some(("webhook", Err(ChannelError::TooLong(_))))
    ));
}

#[tokio::test]
async fn a_channel_that_failed_rests() {
    let server = Server::new(|_| Answer::Status(401)).await;
    let stage = Stage::new().await;
    let patience = Patience {
        rest: Duration::from_secs(3_600),
        ..PATIENCE
    };
    let alerts = stage.alerts(server.webhook(), patience);
    stage.fails(&["mail"], BEGIN).await;
    alerts.tell(BEGIN).await;
    stage.fails(&["mail", "photos"], BEGIN + 10 * MINUTE).await;
    alerts.tell(BEGIN + 10 * MINUTE).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_error_names_no_address() {
    let stage = Stage::new().await;
    // Nobody listens there: the port was given back.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let addresses = [
        format!("http://127.0.0.1:{port}/hush"),
        "file:///etc/hush".to_owned(),
        "ftp://127.0.0.1/hush".to_owned(),
        "hush".to_owned(),
    ];
    for address in addresses {
        let channels = Channels {
            webhook: Some(Webhook {
                url: address.clone().into(),
                token: Some("hush".into()),
            }),
            ..Channels::default()
        };
        assert!(!format!("{channels:?}").contains("hush"));
        let outcomes = stage.alerts(channels, PATIENCE).test().await;
        let error = outcomes[0].1.as_ref().unwrap_err();
        match address.starts_with("http:") {
            true => assert!(matches!(error, ChannelError::Unreachable(_)), "{error}"),
            false => assert!(matches!(error, ChannelError::Address), "{error}"),
        }
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn ntfy_gets_this_json_at_its_root() {
    let server = Server::new(|_| Answer::Status(200)).await;
    let stage = Stage::new().await;
    let channels = Channels {
        ntfy: Some(Ntfy {
            server: server.address.clone(),
            topic: "attic-é".into(),
            token: Some("hush-token".into()),
        }),
        ..Channels::default()
    };
    let alerts = stage.alerts(channels, PATIENCE);
    stage.fails(&["mail"], BEGIN).await;
    alerts.tell(BEGIN).await;
    stage.fails(&[], BEGIN + MINUTE).await;
    alerts.tell(BEGIN + MINUTE).await;
    let asked = server.asked();
    let bodies: Vec<Value> = asked
        .iter()
        .map(|one| serde_json::from_str(&one.body).unwrap())
        .collect();
    let what = "its run 0198 failed (try 3); its error, quoted: \"no such host\"";
    let next = "look at `dkc runs show 0198`, mend what it says, then `dkc runs retry 0198`";
    let host = host();
    assert_eq!(
        bodies,
        [
            json!({
                "topic": "attic-é",
                "title": "[dkc] mail fails",
                "message": format!("{what}\nSince: 2027-01-15T08:00:00Z\nNext: {next}\nHost: {host}"),
                "priority": 4,
                "tags": ["warning", "failing"],
            }),
            json!({
                "topic": "attic-é",
                "title": "[dkc] recovered: mail (failing)",
                "message": format!("It is over since now; since 2027-01-15T08:00:00Z it was so: {what}\nHost: {host}"),
                "priority": 3,
                "tags": ["white_check_mark", "failing"],
            }),
        ]
    );
    for one in asked {
        let body = one.body.clone();
        assert_eq!(one, posted("/", body));
    }
}

#[tokio::test]
async fn the_dead_man_is_asked_while_all_is_well_and_no_oftener_than_configured() {
    let server = Server::new(|_| Answer::Status(200)).await;
    let stage = Stage::new().await;
    let alerts = stage.alerts(server.dead_man(Duration::from_secs(3_600)), PATIENCE);
    // Nobody has looked yet.
    alerts.ping().await;
    assert_eq!(server.asked(), []);
    alerts.look().await.unwrap();
    alerts.ping().await;
    alerts.ping().await;
    let asked = Asked {
        line: "GET /ping/hush".to_owned(),
        token: None,
        kind: None,
        agent: Some("dkc".to_owned()),
        body: String::new(),
    };
    assert_eq!(server.asked(), [asked]);
    let outcomes = alerts.test().await;
    assert!(matches!(outcomes[..], [("dead_man", Ok(()))]));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_dead_man_is_not_asked_while_a_pipeline_is_late_or_nothing_can_be_seen() {
    let server = Server::new(|_| Answer::Status(200)).await;
    let stage = Stage::new().await;
    let watched = looks::watched("mail", Some(30));
    let channels = server.dead_man(Duration::ZERO);
    let alerts = stage.watching(vec![watched], Vec::new(), channels, PATIENCE);
    alerts.look_at(BEGIN).await.unwrap();
    alerts.ping().await;
    assert_eq!(server.asked().len(), 1);
    // It is late, though that is not told so soon after a sleep.
    alerts.look_at(BEGIN + 31 * MINUTE).await.unwrap();
    alerts.ping().await;
    assert_eq!(server.asked().len(), 1);
    stage.log.close().await;
    assert!(alerts.look_at(BEGIN + 32 * MINUTE).await.is_err());
    alerts.ping().await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn that_nothing_can_be_seen_is_told_all_the_same() {
    let server = Server::new(|_| Answer::Status(200)).await;
    let stage = Stage::new().await;
    let alerts = stage.alerts(server.webhook(), PATIENCE);
    stage.log.close().await;
    for _ in 0..3 {
        assert!(alerts.look().await.is_err());
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(body["key"], "unreadable:state database");
    assert_eq!(body["state"], "open");
    // It is there again.
    alerts.can_see().await;
    alerts.can_see().await;
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    assert_eq!(body["state"], "recovered");
}
