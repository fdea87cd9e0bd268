//! The gateway over TLS: what it shows, and what it asks programs for beside their token.

use crate::it::gateway::{Served, mail, token};
use crate::it::lab::{Lab, MAIL, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, Identity};
use std::fs::{self, File};

/// Somebody who signs certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a name, and its key, in PEM.
fn signed(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (String, String) {
    signed_until(authority, name, 4096)
}

/// The same, of one that is no longer valid when that year begins.
fn signed_until(authority: &CertifiedIssuer<'_, KeyPair>, name: &str, year: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A client that trusts an authority, and shows a certificate.
fn client(authority: &CertifiedIssuer<'_, KeyPair>, shown: Option<&(String, String)>) -> Client {
    let trusted = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let client = Client::builder().add_root_certificate(trusted);
    let client = match shown {
        Some((certificate, key)) => {
            client.identity(Identity::from_pem(format!("{key}{certificate}").as_bytes()).unwrap())
        }
        None => client,
    };
    client.build().unwrap()
}

#[tokio::test]
async fn programs_need_a_token_and_a_certificate_and_people_a_token() {
    let files = "certificate = \"server.pem\"\nkey = \"server.key\"\nclients = \"programs.pem\"";
    let lab = Lab::new(&format!("{MAIL}[serve.tls]\n{files}\n"));
    lab.deliver("", &[mail(1)]);
    lab.run();
    let (ours, theirs) = (authority(), authority());
    let (certificate, key) = signed(&ours, "127.0.0.1");
    lab.write("server.pem", certificate);
    lab.write("server.key", key);
    lab.write("programs.pem", ours.pem());
    let log = lab.path("served.err");
    let (mut served, said) = Served::start_telling(&lab, &[], File::create(&log).unwrap());
    let person = said["token"].as_str().unwrap();
    let program = token(&lab, "job", &["--role", "automated"]);
    assert!(served.url.starts_with("https://"), "{}", served.url);
    let datasets = "/api/v1/datasets";
    // Nobody takes a certificate from someone they do not know.
    served.get(person, datasets).send().await.unwrap_err();

    served.client = client(&ours, None);
    assert_eq!(served.get(person, datasets).send().await.unwrap().status(), 200);
    for path in [datasets, "/metrics", "/openapi.json"] {
        let refused = served.get(&program, path).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
        let said = refused.text().await.unwrap();
        assert!(said.contains("needs a certificate"), "{path}: {said}");
    }
    let refused = served.get(&program, "/mcp").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let told = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(told.contains("resource_metadata=\"https://"), "{told}");

    served.client = client(&ours, Some(&signed(&ours, "job")));
    for path in [datasets, "/metrics"] {
        let answer = served.get(&program, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    // It does not stand for a token.
    assert_eq!(served.get("", datasets).send().await.unwrap().status(), 401);

    let refusals = || fs::read_to_string(&log).unwrap();
    let words = "a certificate of a program was refused";
    assert!(!refusals().contains(words), "{}", refusals());
    for (shown, reason) in [
        (signed(&theirs, "job"), "invalid peer certificate"),
        (signed_until(&ours, "job", 2001), "certificate expired"),
    ] {
        served.client = client(&ours, Some(&shown));
        served.get(&program, datasets).send().await.unwrap_err();
        // The client may be told before the log is written.
        until(reason, || {
            let log = refusals();
            let told = log.lines().find(|line| line.contains(reason))?;
            assert!(told.contains(words) && told.contains("127.0.0.1:"), "{told}");
            Some(())
        });
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_before_anything_is_made() {
    let lab = Lab::new("[serve.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n");
    let said = lab.said(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(
        said.err.contains("server.pem") && said.err.contains("[serve.tls]"),
        "{}",
        said.err
    );
    assert!(!said.out.contains("dkc_"), "{}", said.out);
    let checked = lab.said(&["doctor"]);
    assert_eq!(checked.code, Some(1), "{}", checked.out);
    assert!(checked.out.contains("serve.tls"), "{}", checked.out);
}
