//! By mail, to a real server.

use super::peer::Peer;
use super::*;
use serde_json::{Value, json};

/// A mail server.
fn server(stage: &Stage, arguments: &[&str]) -> Peer {
    Peer::new(stage, "smtp_server.py", arguments)
}

impl Peer {
    fn channels(&self, tls: Tls, user: Option<&str>) -> Channels {
        Channels {
            smtp: Some(Smtp {
                host: "localhost".to_owned(),
                port: self.port,
                tls,
                user: user.map(str::to_owned),
                password: user.map(|_| "hush".into()),
                from: "DKC <dkc@example.org>".to_owned(),
                to: vec!["me@example.org".to_owned(), "You <you@example.org>".to_owned()],
                ca_file: (tls != Tls::None).then(|| self.certificate.clone()),
            }),
            ..Channels::default()
        }
    }
}

/// The mail about two pipelines that fail, as it was taken: what varies is checked, and taken away.
fn checked(mut mail: Value, tls: bool) {
    let headers = mail["headers"].as_object_mut().unwrap();
    let id = headers.remove("Message-ID").unwrap();
    let id = id.as_str().unwrap();
    assert!(
        id.starts_with('<') && id.ends_with('>') && id.contains('@'),
        "{id}"
    );
    assert!(headers.remove("Date").is_some());
    assert!(headers.remove("Content-Transfer-Encoding").is_some());
    let what = "its run 0198 failed (try 3); its error, quoted: \"no such host\"";
    let next = "look at `dkc runs show 0198`, mend what it says, then `dkc runs retry 0198`";
    let problem = |name: &str| {
        format!("{name} fails\n  What: {what}\n  Since: 2027-01-15T08:00:00Z\n  Next: {next}\n\n")
    };
    let body = format!(
        "{}{}Sent by dkc on {}.",
        problem("mail"),
        problem("photos"),
        host()
    );
    assert_eq!(mail["body"].as_str().unwrap().trim_end(), body);
    assert_eq!(
        mail,
        json!({
            "from": "dkc@example.org",
            "to": ["me@example.org", "you@example.org"],
            "tls": tls,
            "headers": {
                "From": "DKC <dkc@example.org>",
                "To": "me@example.org, You <you@example.org>",
                "Subject": "[dkc] 2 problems: mail fails, photos fails",
                "Auto-Submitted": "auto-generated",
                "MIME-Version": "1.0",
                "Content-Type": "text/plain; charset=\"utf-8\"",
            },
            "body": mail["body"],
        })
    );
}

#[tokio::test]
async fn one_mail_tells_all_over_starttls_by_who_signed_in() {
    let stage = Stage::new().await;
    let server = server(
        &stage,
        &["--tls", "starttls", "--user", "me", "--password", "hush"],
    );
    let alerts = stage.alerts(server.channels(Tls::StartTls, Some("me")), PATIENCE);
    stage.fails(&["mail", "photos"], BEGIN).await;
    alerts.tell(BEGIN).await;
    alerts.tell(BEGIN + 10 * MINUTE).await;
    let said = server.rest();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], json!({ "auth": "me", "taken": true }));
    checked(said[1].clone(), true);
}

#[tokio::test]
async fn one_mail_tells_all_over_tls_from_the_first_byte() {
    let stage = Stage::new().await;
    let server = server(
        &stage,
        &["--tls", "implicit", "--user", "me", "--password", "hush"],
    );
    let alerts = stage.alerts(server.channels(Tls::Implicit, Some("me")), PATIENCE);
    stage.fails(&["mail", "photos"], BEGIN).await;
    alerts.tell(BEGIN).await;
    let said = server.rest();
    assert_eq!(said.len(), 2, "{said:?}");
    checked(said[1].clone(), true);
}

#[tokio::test]
async fn a_server_of_this_machine_takes_it_in_clear_at_the_third_try() {
    let stage = Stage::new().await;
    let server = server(&stage, &["--tls", "none", "--busy", "2"]);
    let alerts = stage.alerts(server.channels(Tls::None, None), PATIENCE);
    stage.fails(&["mail", "photos"], BEGIN).await;
    alerts.tell(BEGIN).await;
    let said = server.rest();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[..2], [json!({ "busy": true }), json!({ "busy": true })]);
    checked(said[2].clone(), false);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let stage = Stage::new().await;
    let server = server(
        &stage,
        &["--tls", "starttls", "--user", "me", "--password", "other"],
    );
    let alerts = stage.alerts(server.channels(Tls::StartTls, Some("me")), PATIENCE);
    let outcomes = alerts.test().await;
    let error = outcomes[0].1.as_ref().unwrap_err();
    assert!(
        matches!(error, ChannelError::Server(error) if error.is_permanent()),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    assert_eq!(server.rest(), [json!({ "auth": "me", "taken": false })]);
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_cannot_show_who_it_is() {
    let stage = Stage::new().await;
    let server = server(
        &stage,
        &["--tls", "starttls", "--user", "me", "--password", "hush"],
    );
    let mut channels = server.channels(Tls::StartTls, Some("me"));
    channels.smtp.as_mut().unwrap().ca_file = None;
    let outcomes = stage.alerts(channels, PATIENCE).test().await;
    assert!(matches!(outcomes[..], [("smtp", Err(ChannelError::Server(_)))]));
    assert_eq!(server.rest(), Vec::<Value>::new());
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_does_not_encrypt() {
    let stage = Stage::new().await;
    let server = server(&stage, &["--tls", "none"]);
    let alerts = stage.alerts(server.channels(Tls::StartTls, Some("me")), PATIENCE);
    let outcomes = alerts.test().await;
    assert!(matches!(outcomes[..], [("smtp", Err(ChannelError::Server(_)))]));
    assert_eq!(server.rest(), Vec::<Value>::new());
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let stage = Stage::new().await;
    let right = Smtp {
        host: "mail.example.org".to_owned(),
        port: 25,
        tls: Tls::None,
        user: Some("me".to_owned()),
        password: Some("hush".into()),
        from: "dkc@example.org".to_owned(),
        to: vec!["me@example.org".to_owned()],
        ca_file: None,
    };
    let of = async |smtp: Smtp| {
        let channels = Channels {
            smtp: Some(smtp),
            ..Channels::default()
        };
        let mut outcomes = stage.alerts(channels, PATIENCE).test().await;
        outcomes.pop().unwrap().1.unwrap_err()
    };
    let in_clear = of(right.clone()).await;
    assert!(matches!(in_clear, ChannelError::Plaintext), "{in_clear}");
    let nobody = of(Smtp {
        to: vec!["me".to_owned()],
        ..right.clone()
    });
    assert_eq!(nobody.await.to_string(), "`me` is not an address of mail");
    let no_file = of(Smtp {
        tls: Tls::StartTls,
        ca_file: Some(stage.folder.path().join("none.pem")),
        ..right
    });
    assert!(matches!(no_file.await, ChannelError::Certificates(..)));
}

#[tokio::test]
async fn a_test_mail_says_that_it_is_one() {
    let stage = Stage::new().await;
    let server = server(&stage, &["--tls", "none"]);
    let outcomes = stage
        .alerts(server.channels(Tls::None, None), PATIENCE)
        .test()
        .await;
    assert!(matches!(outcomes[..], [("smtp", Ok(()))]), "{outcomes:?}");
    let said = server.rest();
    assert_eq!(said[0]["headers"]["Subject"], "[dkc] 1 problem: this is a test");
}
