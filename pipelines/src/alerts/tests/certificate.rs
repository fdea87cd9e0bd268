//! Over HTTPS, to a server whose certificate nobody vouches for.

use super::peer::Peer;
use super::*;
use reqwest::{Certificate, Client};
use serde_json::json;

#[tokio::test]
async fn a_webhook_that_cannot_show_who_it_is_is_told_nothing() {
    let stage = Stage::new().await;
    let server = Peer::new(&stage, "https_server.py", &[]);
    let address = format!("https://localhost:{}/hook", server.port);
    let channels = Channels {
        webhook: Some(Webhook {
            url: address.clone().into(),
            token: Some("hush".into()),
        }),
        ..Channels::default()
    };
    let alerts = stage.alerts(channels, PATIENCE);
    stage.fails(&["mail"], BEGIN).await;
    alerts.tell(BEGIN).await;
    let untold = stage
        .log
        .untold("webhook", alerts.inner.repeat, BEGIN + 3 * MINUTE);
    assert_eq!(untold.await.unwrap().len(), 1);

    let outcomes = alerts.test().await;
    let error = outcomes[0].1.as_ref().unwrap_err();
    assert!(matches!(error, ChannelError::Unreachable(_)), "{error}");
    let words = error.to_string();
    assert!(
        words.starts_with("it cannot be reached: ") && words.contains("invalid peer certificate"),
        "{words}"
    );

    // Who trusts it is answered, and is the first of whom it hears.
    let certificate = std::fs::read(&server.certificate).unwrap();
    let trusting = Client::builder()
        .add_root_certificate(Certificate::from_pem(&certificate).unwrap())
        .build()
        .unwrap();
    let answer = trusting.post(address).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(server.rest(), [json!({ "line": "POST /hook" })]);
}
