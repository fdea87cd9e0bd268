//! What the gateway says that it can be asked, and whether it can: asked by schemathesis, and by Swagger UI in a browser.

use crate::it::gateway::{self, Served};
use crate::it::lab::setting;
use fixtures::corpus;
use serde_json::Value;

/// What a script of this folder prints of a gateway, which must end well.
fn seen(script: &str, served: &Served, token: &str, more: &[&str]) -> Value {
    // Tests run in their package's folder.
    let script = std::path::absolute("tests/it").unwrap().join(script);
    let output = corpus::python()
        .arg(script)
        .args(["--url", &served.url, "--token", token])
        .args(more)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// `DKC_FUZZ_EXAMPLES` asks more of each operation, `DKC_FUZZ_SEED` something else.
#[test]
fn what_the_document_says_is_so() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let examples = setting("DKC_FUZZ_EXAMPLES", 20).to_string();
    let seed = setting("DKC_FUZZ_SEED", 1).to_string();
    let more = ["--examples", &examples, "--seed", &seed];
    let seen = seen("openapi_fuzz.py", &served, &token, &more);
    // All of a developer's, and the two of the service.
    assert!(seen["operations"].as_u64().unwrap() >= 23, "{seen}");
}

#[test]
fn swagger_ui_shows_what_a_token_may_ask_and_tries_it() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let picture = lab.path("docs.png");
    let seen = seen(
        "swagger_ui.py",
        &served,
        &token,
        &["--screenshot", picture.to_str().unwrap()],
    );
    assert!(picture.exists());
    assert_eq!(seen["without"], 2, "{seen}");
}
