//! The gateway as its clients meet it: a server that the test starts, asked over HTTP.

use crate::it::lab::{Lab, MAIL, PATIENCE};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, ORIGIN, VARY,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::BufReader;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// A server, ended when this is dropped.
pub struct Served {
    child: Child,
    /// Nobody prints to whoever has left.
    _out: BufReader<ChildStdout>,
    /// Who asks it.
    pub client: Client,
    /// Where it listens.
    pub url: String,
}

impl Served {
    /// Serves the data directory of a lab, with its log among what a failed test shows; the token is that of the first
    /// start, or empty.
    pub fn start(lab: &Lab) -> (Self, String) {
        let (served, said) = Self::start_telling(lab, &[], Stdio::inherit());
        (served, said["token"].as_str().unwrap_or_default().to_owned())
    }

    /// The same with more options, its log going elsewhere; what it said when it began.
    pub fn start_telling(lab: &Lab, more: &[&str], log: impl Into<Stdio>) -> (Self, Value) {
        let usual = ["serve", "--listen", "127.0.0.1:0", "--json"];
        let mut child = lab
            .command::<&str>(&[], &[usual.as_slice(), more].concat())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        // It says where it listens once it does.
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let said: Value = serde_json::Deserializer::from_reader(&mut out)
            .into_iter()
            .next()
            .unwrap()
            .unwrap();
        let served = Self {
            child,
            _out: out,
            client: Client::new(),
            url: said["listening"].as_str().unwrap().to_owned(),
        };
        (served, said)
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A request for a path, by whoever has the token.
    pub fn get(&self, token: &str, path: &str) -> RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.url));
        match token {
            "" => request,
            token => request.bearer_auth(token),
        }
    }

    async fn json(&self, token: &str, path: &str) -> (u16, Value) {
        answer(self.get(token, path).send().await.unwrap()).await
    }

    async fn sql(&self, token: &str, query: &str) -> (u16, Value) {
        let request = self
            .client
            .post(format!("{}/api/v1/sql", self.url))
            .bearer_auth(token);
        answer(request.json(&json!({ "query": query })).send().await.unwrap()).await
    }

    /// Ends it as a service manager does, and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let told = crate::it::lab::program("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the body, JSON if it is.
pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// What a service answers on a path, once that is what is waited for.
pub async fn answered(
    served: &Served,
    token: &str,
    path: &str,
    is_it: impl Fn(u16, &Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, told) = answer(served.get(token, path).send().await.unwrap()).await;
        if is_it(status, &told) {
            return told;
        }
        assert!(Instant::now() < deadline, "{path}: {status} {told:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A mail with a subject, a sender and a word of its own.
pub fn mail(number: usize) -> String {
    format!(
        "From: Writer {} <writer{}@example.org>\r\nTo: me@example.org\r\nDate: {} Mar 2024 10:00:00 +0000\r\n\
         Subject: Letter {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\nThe secret word is sesame{number}.\r\n",
        number % 3,
        number % 3,
        1 + number % 28,
    )
}

/// A lab with 40 mails and a note.
pub fn lab() -> Lab {
    let notes = "[[pipeline]]\nname = \"notes\"\nsource = { kind = \"documents\", roots = [\"notes\"] }\n";
    let lab = Lab::new(&format!("{MAIL}{notes}"));
    lab.deliver("", &(0..40).map(mail).collect::<Vec<_>>());
    lab.write("notes/plan.md", "# Plan\n\nBuy a boat.\n");
    lab.runs();
    lab
}

/// A token, made by the command line.
pub fn token(lab: &Lab, name: &str, more: &[&str]) -> String {
    let made = lab.json(&[&["token", "create", name], more].concat());
    made["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_has_no_token_learns_only_that_it_lives() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let (_, document) = served.json(&dev, "/openapi.json").await;
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let method = document["paths"][path]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .to_uppercase();
        let url = format!("{}{}", served.url, path.replace(['{', '}'], ""));
        let method = method.parse().unwrap();
        for token in ["", "dkc_wrong", "dkc_0000000000000000000000000000000000000000000"] {
            let request = served.client.request(Method::clone(&method), &url);
            let request = if token.is_empty() {
                request
            } else {
                request.bearer_auth(token)
            };
            let response = request.send().await.unwrap();
            let public = ["/healthz", "/readyz"].contains(&path.as_str());
            let wanted = if public {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(response.status(), wanted, "{path} {token}");
            assert!(public || response.headers().contains_key("www-authenticate"));
        }
    }
    // What it tells before somebody authorises is what there is to be asked without.
    let (_, anonymous) = served.json("", "/openapi.json").await;
    let open: Vec<&String> = anonymous["paths"].as_object().unwrap().keys().collect();
    assert_eq!(open, ["/healthz", "/readyz"]);
    assert_eq!(served.json("dkc_wrong", "/openapi.json").await.0, 401);
}

#[tokio::test]
async fn without_a_token_nobody_finds_out_what_there_is() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let asked = |method: &str, path: &str, token: &str| {
        let method: Method = method.parse().unwrap();
        let request = served.client.request(method, format!("{}{path}", served.url));
        match token {
            "" => request,
            token => request.bearer_auth(token),
        }
    };
    let paths = [
        "/api/v1/datasets",
        "/api/v1/datasets/",
        "/api/v1/datasets/%ff",
        "/api/v1/dataset",
        "/api/v1/sql",
        "/api/v1/runs/x/cancel",
        "/api/v2",
        "/api/",
    ];
    for token in ["", "dkc_wrong"] {
        let mut answers = BTreeSet::new();
        for path in paths {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let response = asked(method, path, token).send().await.unwrap();
                let headers = response.headers().keys();
                let headers: BTreeSet<String> = headers.map(|name| name.to_string()).collect();
                let (status, mut body) = answer(response).await;
                body.as_object_mut().unwrap().remove("request_id").unwrap();
                assert_eq!(status, 401, "{method} {path}");
                answers.insert((headers, body.to_string()));
            }
            let head = asked("HEAD", path, token).send().await.unwrap();
            assert_eq!(head.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(answers.len(), 1, "{answers:#?}");
    }
    // Whoever has one is helped.
    let (status, near) = served.json(&dev, "/api/v1/dataset").await;
    assert_eq!(status, 404);
    let near = near["detail"].as_str().unwrap();
    assert!(near.contains("did you mean `/api/v1/datasets`?"), "{near}");
    let other = asked("POST", "/api/v1/datasets", &dev).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(other.headers()[ALLOW], "GET, HEAD");
}

#[tokio::test]
async fn a_token_is_offered_what_it_may_call() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let limited = token(&lab, "limited", &["--role", "user", "--datasets", "documents"]);
    for (token, is_offered) in [(&dev, true), (&limited, false)] {
        let (status, near) = served.json(token, "/api/v1/run").await;
        assert_eq!(status, 404, "{near}");
        assert_eq!(near.to_string().contains("/api/v1/runs"), is_offered, "{near}");
        let (_, document) = served.json(token, "/openapi.json").await;
        let of_runs = [
            "/api/v1/runs",
            "/api/v1/runs/{run}/cancel",
            "/api/v1/runs/{run}/log",
        ];
        for path in of_runs {
            assert_eq!(document["paths"].get(path).is_some(), is_offered, "{path}");
        }
        assert!(document["paths"].get("/api/v1/monitoring/alerts").is_some());
    }
    let start = served.client.post(format!("{}/api/v1/runs", served.url));
    let start = start.bearer_auth(&limited).json(&json!({ "pipeline": "mail" }));
    assert_eq!(start.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let port = served.url.rsplit(':').next().unwrap().to_owned();
    let own = format!("http://localhost:{port}");
    let cases = [
        (format!("evil.test:{port}"), None, 403),
        ("localhost.evil.test".to_owned(), None, 403),
        (format!("127.0.0.1.evil.test:{port}"), None, 403),
        (format!("localhost:{port}"), None, 200),
        (format!("[::1]:{port}"), None, 200),
        (format!("localhost:{port}"), Some("http://evil.test"), 403),
        (format!("localhost:{port}"), Some("null"), 403),
        (format!("localhost:{port}"), Some("http://localhost:1"), 403),
        (format!("localhost:{port}"), Some(own.as_str()), 200),
    ];
    for (host, origin, status) in cases {
        let mut request = served.get(&dev, "/api/v1/datasets").header(HOST, &host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        assert_eq!(
            request.send().await.unwrap().status().as_u16(),
            status,
            "{host} {origin:?}"
        );
    }
}

#[tokio::test]
async fn pages_have_each_row_once_in_the_order_of_sql() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    for sort in ["-date", "date", "list_id", "-list_id", "-subject"] {
        // Of a long column, too, which is not in memory.
        for column in ["subject", "body_text"] {
            let mut path =
                format!("/api/v1/datasets/emails/rows?columns=_item&columns={column}&sort={sort}&limit=7");
            let mut seen = Vec::new();
            loop {
                let (status, page) = served.json(&dev, &path).await;
                assert_eq!(status, 200, "{page}");
                let rows = page["rows"].as_array().unwrap();
                seen.extend(rows.iter().map(|row| row["_item"].as_str().unwrap().to_owned()));
                match page["next_url"].as_str() {
                    Some(next) => next.clone_into(&mut path),
                    None => break,
                }
            }
            let (name, direction) = sort
                .strip_prefix('-')
                .map_or((sort, "ASC"), |name| (name, "DESC"));
            let wanted = lab.sql(&format!(
                "SELECT _item FROM emails ORDER BY {name} {direction} NULLS LAST, _source {direction}, _item {direction}"
            ));
            let wanted: Vec<&str> = wanted.iter().map(|row| row["_item"].as_str().unwrap()).collect();
            assert_eq!(seen, wanted, "{sort} {column}");
        }
    }
}

#[tokio::test]
async fn a_page_goes_on_only_in_the_listing_it_is_of() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let rows = "/api/v1/datasets/emails/rows?columns=subject&limit=2";
    let (_, page) = served
        .json(&dev, &format!("{rows}&filter=subject:contains:Letter"))
        .await;
    let next = page["next_url"].as_str().unwrap();
    let url = reqwest::Url::parse(&format!("{}{next}", served.url)).unwrap();
    let (_, after) = url.query_pairs().find(|(name, _)| name == "after").unwrap();
    let snapshot = page["snapshot"].as_i64().unwrap();
    for (more, status) in [
        ("filter=subject:contains:Letter".to_owned(), 200),
        (format!("filter=subject:contains:Letter&as_of={snapshot}"), 200),
        ("filter=subject:contains:Letter&as_of=1".to_owned(), 422),
        ("filter=subject:contains:Letter&as_of=bogus".to_owned(), 422),
        ("filter=subject:contains:1".to_owned(), 422),
        ("sort=date".to_owned(), 422),
        (String::new(), 422),
    ] {
        let (found, told) = served.json(&dev, &format!("{rows}&after={after}&{more}")).await;
        assert_eq!(found, status, "{more}: {told}");
    }
}

#[tokio::test]
async fn pages_go_on_after_keys_that_have_numbers() {
    let lab = lab();
    lab.write("notes/log.md", "# One\n\na\n\n# Two\n\nb\n\n## Three\n\nc\n");
    lab.runs();
    let (served, dev) = Served::start(&lab);
    let mut path = "/api/v1/datasets/document_sections/rows?columns=_item&columns=ordinal&limit=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let (status, page) = served.json(&dev, &path).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["rows"].as_array().unwrap().clone());
        match page["next_url"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    let wanted = lab.sql("SELECT _item, ordinal FROM document_sections ORDER BY _source, _item, ordinal");
    assert!(wanted.len() > 2, "{wanted:?}");
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn filters_say_what_sql_says() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let cases = [
        (
            "from_addr:eq:writer1@example.org",
            "from_addr = 'writer1@example.org'",
        ),
        (
            "from_addr:ne:writer1@example.org",
            "from_addr <> 'writer1@example.org'",
        ),
        ("date:ge:2024-03-10", "date >= '2024-03-10T00:00:00Z'"),
        ("date:lt:2024-03-10T10:00:00Z", "date < '2024-03-10T10:00:00Z'"),
        ("size_bytes:gt:180", "size_bytes > 180"),
        ("subject:contains:LETTER 1", "subject ILIKE '%letter 1%'"),
        ("to:has:me@example.org", "array_has(\"to\", 'me@example.org')"),
        ("list_id:null", "list_id IS NULL"),
        ("list_id:notnull", "list_id IS NOT NULL"),
        ("body_text:contains:sesame7", "body_text LIKE '%sesame7%'"),
    ];
    for (filter, condition) in cases {
        let path = format!("/api/v1/datasets/emails/rows?columns=_item&limit=1000&filter={filter}");
        let (status, page) = served.json(&dev, &path).await;
        assert_eq!(status, 200, "{filter}: {page}");
        let count = lab.number(&format!("SELECT count(*) FROM emails WHERE {condition}"));
        assert_eq!(page["rows"].as_array().unwrap().len() as i64, count, "{filter}");
    }
    for (query, status, words) in [
        ("filter=from_adr:eq:x", 422, "did you mean `from_addr`?"),
        ("filter=from_addr:is:x", 422, "comparison"),
        ("filter=date:ge:yesterday", 422, "date"),
        ("filter=to:lt:x", 422, "cannot be asked"),
        ("filter=subject", 422, "COLUMN:COMPARISON:VALUE"),
        ("columns=subject&columns=subject", 422, "`subject` is twice"),
        ("columns=body_text&columns=date&columns=body_text", 422, "twice"),
        ("filter=subject:eq:%FF", 400, "UTF-8"),
        ("fliter=subject:eq:x", 400, "did you mean `filter`?"),
        ("limit=0", 400, "at least 1"),
        ("limit=many", 400, "integer"),
        ("after=bogus", 422, "next_url"),
        ("as_of=bogus", 422, "as_of"),
        ("format=xlsx", 400, "format"),
    ] {
        let (found, problem) = served
            .json(&dev, &format!("/api/v1/datasets/emails/rows?{query}"))
            .await;
        assert_eq!(found, status, "{query}: {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(words),
            "{query}: {problem}"
        );
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn what_was_named_before_a_restart_is_sent_again() {
    let lab = lab();
    let path = "/api/v1/datasets/runs/rows?limit=1";
    let (served, dev) = Served::start(&lab);
    let before = served.get(&dev, path).send().await.unwrap();
    let tag = before.headers()[ETAG].clone();
    assert_eq!(served.stop(), Some(0));
    let (served, _) = Served::start(&lab);
    let after = served.get(&dev, path).header(IF_NONE_MATCH, tag);
    assert_eq!(after.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_in_the_lake_has_no_past() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    for path in ["/api/v1/datasets/runs/rows", "/api/v1/exports/runs.json"] {
        let (status, now) = served.json(&dev, path).await;
        assert_eq!(status, 200, "{path}: {now}");
        let (status, then) = served.json(&dev, &format!("{path}?as_of=1")).await;
        assert_eq!(status, 422, "{path}: {then}");
        assert!(
            then["detail"].as_str().unwrap().contains("not in the lake"),
            "{then}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_had_in_each_format_and_only_once() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let path = "/api/v1/datasets/emails/rows?columns=subject&limit=2";
    for (accept, media_type, part) in [
        ("text/csv", "text/csv", "subject\n"),
        ("application/x-ndjson", "application/x-ndjson", "{\"subject\""),
        ("text/markdown;q=0.5, text/html", "text/markdown", "| subject |"),
        ("*/*", "application/json", "\"rows\""),
        ("", "application/json", "\"rows\""),
    ] {
        let response = served
            .get(&dev, path)
            .header(ACCEPT, accept)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], media_type);
        let text = response.text().await.unwrap();
        assert!(text.contains(part), "{accept}: {text}");
    }
    let refused = served
        .get(&dev, path)
        .header(ACCEPT, "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    let deadline = Instant::now() + PATIENCE;
    let tag_now = async || {
        let now = served.get(&dev, path).send().await.unwrap();
        now.headers()[ETAG].to_str().unwrap().to_owned()
    };
    for coding in ["identity", "gzip", "zstd"] {
        for (known, status) in [
            ("\"other\"", StatusCode::OK),
            ("TAG", StatusCode::NOT_MODIFIED),
            ("W/TAG", StatusCode::NOT_MODIFIED),
            ("\"other\", W/TAG", StatusCode::NOT_MODIFIED),
            ("*", StatusCode::NOT_MODIFIED),
        ] {
            loop {
                let tag = tag_now().await;
                // The same in each coding, which only a weak one may be.
                let known = known.replace("TAG", tag.strip_prefix("W/").unwrap());
                let again = served
                    .get(&dev, path)
                    .header(ACCEPT_ENCODING, coding)
                    .header(IF_NONE_MATCH, &known)
                    .send()
                    .await
                    .unwrap();
                // One that has just begun may learn of something between two requests.
                if again.headers()[ETAG] != tag.as_str() {
                    assert!(
                        Instant::now() < deadline,
                        "{coding} {known}: never twice the same"
                    );
                    continue;
                }
                assert_eq!(again.status(), status, "{coding} {known}");
                assert_eq!(again.headers()[VARY], "Accept, Accept-Encoding, Authorization");
                break;
            }
        }
    }
    // Of what there is not nobody has anything.
    let nothing = served.get(&dev, "/api/v1/datasets/nothing/rows");
    let nothing = nothing.header(IF_NONE_MATCH, "*").send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    let tag = tag_now().await;
    lab.deliver("", &[mail(77)]);
    lab.runs();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let changed = served
            .get(&dev, path)
            .header(IF_NONE_MATCH, &tag)
            .send()
            .await
            .unwrap();
        if changed.status() == StatusCode::OK {
            break;
        }
        assert!(Instant::now() < deadline, "it never sees the new snapshot");
    }
    // A run makes several snapshots, and the gateway may have looked between two.
    loop {
        let csv = served
            .get(&dev, "/api/v1/exports/emails.csv")
            .send()
            .await
            .unwrap();
        assert_eq!(csv.headers()["content-type"], "text/csv");
        let csv = csv.text().await.unwrap();
        if csv.contains("sesame77") {
            break;
        }
        assert!(Instant::now() < deadline, "{csv}");
    }
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_counted_and_is_nobody_elses() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let public = token(&lab, "public", &["--role", "public"]);
    let path = "/api/v1/datasets/emails/rows?columns=subject&sort=-date&limit=2";
    let deadline = Instant::now() + PATIENCE;
    // One that has just begun may learn of something between two requests.
    let first = loop {
        let twice = [served.json(&dev, path).await.1, served.json(&dev, path).await.1];
        if twice[0] == twice[1] {
            break twice[0].clone();
        }
        assert!(Instant::now() < deadline, "never twice the same: {twice:?}");
    };
    assert!(
        first["rows"][0]["subject"].is_string() && first["next_url"].is_string(),
        "{first}"
    );
    let (_, masked) = served.json(&public, path).await;
    assert_eq!(masked["rows"][0]["subject"], Value::Null);
    let response = served.get(&dev, path).send().await.unwrap();
    assert!(
        response.headers()["link"]
            .to_str()
            .unwrap()
            .contains("rel=\"next\"")
    );
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let query = "SELECT min(rows) AS least, min(bytes) AS bytes, count(*) AS n FROM audit WHERE operation = 'read_rows'";
        let (_, counted) = served.sql(&dev, query).await;
        let counted = &counted["rows"][0];
        if counted["n"].as_i64() >= Some(4) {
            assert_eq!(counted["least"], 2, "{counted}");
            assert!(counted["bytes"].as_i64() > Some(100), "{counted}");
            break;
        }
        assert!(Instant::now() < deadline, "{counted}");
    }
    lab.deliver("", &[mail(77)]);
    lab.runs();
    answered(
        &served,
        &dev,
        &format!("{path}&filter=subject:contains:77"),
        |_, told| told["rows"] != json!([]),
    )
    .await;
    assert_ne!(served.json(&dev, path).await.1["snapshot"], first["snapshot"]);
}

#[tokio::test]
async fn a_token_sees_what_it_was_given_and_nothing_tells_of_the_rest() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let limited = token(
        &lab,
        "limited",
        &["--role", "user", "--datasets", "documents,document_sections"],
    );
    let (_, all) = served.json(&limited, "/api/v1/datasets").await;
    let names: Vec<&str> = all["datasets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["documents", "document_sections"])
    );
    // Of what is hidden the same is said as of what never was.
    let same = |hidden: &Value, absent: &Value| {
        let plain = |value: &Value| {
            let mut value = value.clone();
            if let Some(object) = value.as_object_mut() {
                object.remove("request_id");
            }
            value
                .to_string()
                .replace("emails", "NAME")
                .replace("nothing", "NAME")
        };
        assert_eq!(plain(hidden), plain(absent));
    };
    for path in [
        "/api/v1/datasets/NAME",
        "/api/v1/datasets/NAME/rows",
        "/api/v1/datasets/NAME/items/x",
        "/api/v1/datasets/NAME/items/x/original",
        "/api/v1/datasets/NAME/items/x/thumbnail",
        "/api/v1/exports/NAME.csv",
        "/api/v1/search?q=boat&in=NAME",
        "/api/v1/search?q=boat+in:NAME",
    ] {
        let (status, hidden) = served.json(&limited, &path.replace("NAME", "emails")).await;
        let (wanted, absent) = served.json(&limited, &path.replace("NAME", "nothing")).await;
        assert_eq!(status, wanted, "{path}: {hidden}");
        assert!(status >= 400, "{path}: {hidden}");
        if !path.contains("in:") {
            same(&hidden, &absent);
        }
    }
    for query in [
        "SELECT * FROM NAME",
        "SELECT * FROM as_of('NAME', 1)",
        "SELECT * FROM changes('NAME', 1)",
        "SELECT * FROM search('NAME', 'boat')",
        "DESCRIBE NAME",
        "EXPLAIN SELECT * FROM lake.main.NAME",
    ] {
        let (status, hidden) = served.sql(&limited, &query.replace("NAME", "emails")).await;
        let (_, absent) = served.sql(&limited, &query.replace("NAME", "nothing")).await;
        assert_eq!(status, 422, "{query}: {hidden}");
        same(&hidden, &absent);
    }
    let (_, tables) = served
        .sql(&limited, "SELECT table_name FROM information_schema.tables")
        .await;
    assert!(!tables.to_string().contains("emails"), "{tables}");
    let (_, document) = served.json(&limited, "/openapi.json").await;
    assert!(document["paths"].get("/api/v1/sql").is_some(), "{document}");
    assert!(!document.to_string().contains("emails"), "{document}");
    let (_, document) = served.json(&dev, "/openapi.json").await;
    assert!(document.to_string().contains("emails.csv"), "{document}");
    let (_, found) = served
        .json(&limited, "/api/v1/search?q=letter+sesame1&mode=words")
        .await;
    assert!(!found.to_string().contains("emails"), "{found}");
    let (_, found) = served.json(&dev, "/api/v1/search?q=sesame1&mode=words").await;
    assert_eq!(found["hits"][0]["dataset"], "emails", "{found}");
}

#[tokio::test]
async fn a_passage_says_how_many_others_of_its_document_fit() {
    let notes = "[[pipeline]]\nname = \"notes\"\nsource = { kind = \"documents\", roots = [\"notes\"] }\n";
    let lab = Lab::new(notes);
    lab.write(
        "notes/plan.md",
        "# Harbour\n\n## One\n\nAn anchor.\n\n## Two\n\nAn anchor of iron.\n\n## Three\n\nNo anchor.\n",
    );
    lab.write("notes/sea.md", "# Sea\n\nAn anchor.\n");
    lab.runs();
    let (served, dev) = Served::start(&lab);
    let (status, found) = served.json(&dev, "/api/v1/documents/search?q=anchor").await;
    assert_eq!(status, 200, "{found}");
    let hits = found["hits"].as_array().unwrap();
    let others = |file: &str| {
        let hit = hits
            .iter()
            .find(|hit| hit["path"].as_str().unwrap().ends_with(file));
        hit.unwrap().get("other_parts").and_then(Value::as_u64)
    };
    assert_eq!((others("plan.md"), others("sea.md")), (Some(2), None), "{found}");
}

#[tokio::test]
async fn a_service_answers_while_its_index_is_made_anew_and_follows_it() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let path = "/api/v1/search?q=sesame1&mode=words";
    let finds = |found: &Value, subject: &str| found["hits"][0]["title"] == *subject;
    let mut build = lab
        .command::<&str>(&[], &["index", "build", "--anew"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ended = loop {
        let (status, found) = served.json(&dev, path).await;
        assert!(status == 200 && finds(&found, "Letter 1"), "{status} {found:#}");
        if let Some(ended) = build.try_wait().unwrap() {
            break ended;
        }
    };
    assert!(ended.success());
    let (status, found) = served.json(&dev, path).await;
    assert!(status == 200 && finds(&found, "Letter 1"), "{status} {found:#}");
    // It is in the new one alone.
    lab.deliver("", &[mail(50)]);
    lab.runs();
    let path = "/api/v1/search?q=sesame50&mode=words";
    let is_it = |status: u16, found: &Value| {
        assert_eq!(status, 200, "{found:#}");
        finds(found, "Letter 50")
    };
    answered(&served, &dev, path, is_it).await;
}

#[tokio::test]
async fn private_columns_are_null_for_the_public() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let public = token(&lab, "public", &["--role", "public"]);
    let (_, rows) = served
        .json(
            &public,
            "/api/v1/datasets/emails/rows?columns=subject&columns=size_bytes&limit=1",
        )
        .await;
    assert_eq!(rows["rows"][0]["subject"], Value::Null);
    assert!(rows["rows"][0]["size_bytes"].is_i64());
    let (status, _) = served
        .json(
            &public,
            "/api/v1/datasets/emails/rows?filter=subject:contains:Letter",
        )
        .await;
    assert_eq!(status, 403);
    for query in [
        "SELECT count(subject) AS n FROM emails",
        "SELECT count(*) AS n FROM emails WHERE subject LIKE '%Letter%'",
        "SELECT count(body_text) AS n FROM as_of('emails', (1))",
    ] {
        let (status, answer) = served.sql(&public, query).await;
        assert!(status == 422 || answer["rows"][0]["n"] == 0, "{query}: {answer}");
    }
    let (_, found) = served.json(&public, "/api/v1/search?q=sesame1").await;
    assert_eq!(found["hits"], json!([]));
    // What is masked is not told as if there were nothing.
    for (token, notes) in [
        (&public, json!(["the folders of mail are masked for this token"])),
        (&dev, json!([])),
    ] {
        let (_, listed) = served.json(token, "/api/v1/emails/folders").await;
        assert_eq!(listed["notes"], notes, "{listed}");
    }
    for path in [
        "/api/v1/emails/search?folder=INBOX",
        "/api/v1/photos/search?album=x",
    ] {
        let (status, refused) = served.json(&public, path).await;
        assert_eq!(status, 403, "{refused}");
        assert!(
            refused["detail"].as_str().unwrap().contains("masked"),
            "{refused}"
        );
    }
    let (status, _) = served.json(&public, "/api/v1/runs").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn each_event_comes_once_also_after_a_restart() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let (_, before) = served
        .json(&dev, "/api/v1/events?after=0&dataset=emails&kind=rows&wait=10")
        .await;
    let last = before["last"].as_i64().unwrap();
    lab.deliver("", &[mail(50)]);
    lab.runs();
    let (_, one) = served
        .json(
            &dev,
            &format!("/api/v1/events?after={last}&dataset=emails&kind=rows&wait=10"),
        )
        .await;
    assert_eq!(one["events"][0]["data"]["rows"], 41, "{one}");
    let seen = one["events"][0]["id"].as_i64().unwrap();
    assert_eq!(served.stop(), Some(0));
    // Nobody looks while this happens.
    lab.deliver("", &[mail(51)]);
    lab.runs();
    let (served, _) = Served::start(&lab);
    let mut stream = served
        .get(&dev, "/api/v1/events?dataset=emails&kind=rows")
        .header(ACCEPT, "text/event-stream")
        .header("Last-Event-ID", seen)
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains("\"rows\":42") {
        let piece = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap().unwrap()));
    }
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids.len(), 1, "{text}");
    assert!(!text.contains("\"rows\":41,"), "{text}");
    let (status, gone) = served.json(&dev, "/api/v1/events?after=999999999").await;
    assert_eq!(status, 410, "{gone}");
    assert!(gone["detail"].as_str().unwrap().contains("`after="), "{gone}");
    let (status, unknown) = served.json(&dev, "/api/v1/events?after=0&dataset=email").await;
    assert_eq!(status, 404, "{unknown}");
    assert!(
        unknown["detail"].as_str().unwrap().contains("`emails`"),
        "{unknown}"
    );
    let (_, all) = served.json(&dev, "/api/v1/events?after=0").await;
    let (_, of_one) = served
        .json(&dev, "/api/v1/events?after=0&dataset=emails&wait=10")
        .await;
    let has_runs = |told: &Value| {
        let events = told["events"].as_array().unwrap();
        events.iter().any(|event| event["kind"] != "rows")
    };
    assert!(has_runs(&all) && !has_runs(&of_one), "{all} {of_one}");
}

#[tokio::test]
async fn a_stream_of_events_ends_with_its_token() {
    let lab = lab();
    let (served, _) = Served::start(&lab);
    let short = token(&lab, "short", &["--expires", "5s"]);
    let stream = served
        .get(&short, "/api/v1/events")
        .header(ACCEPT, "text/event-stream");
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    answered(&served, &short, "/api/v1/datasets", |status, _| status == 401).await;
    lab.deliver("", &[mail(50)]);
    lab.runs();
    let told = tokio::time::timeout(PATIENCE, stream.text()).await;
    let told = told.unwrap().unwrap();
    assert!(!told.contains("\"rows\":41"), "{told}");
}

#[tokio::test]
async fn every_call_is_in_the_log_and_the_log_is_whole() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let calls = 200;
    let paths = [
        "/api/v1/datasets",
        "/api/v1/datasets/nothing",
        "/api/v1/datasets/emails/rows?limit=3",
    ];
    let requests = (0..calls).map(|number| served.json(&dev, paths[number % paths.len()]));
    futures::future::join_all(requests).await;
    served.json("dkc_wrong", "/api/v1/datasets").await;
    assert_eq!(served.stop(), Some(0));
    let records = lab.json(&["audit", "list", "--limit", "1000"]);
    let records = records
        .as_array()
        .or_else(|| records["records"].as_array())
        .unwrap();
    assert_eq!(records.len(), calls + 1);
    let outcomes: BTreeSet<&str> = records
        .iter()
        .map(|record| record["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, BTreeSet::from(["not-found", "ok", "unauthorized"]));
    lab.output(&["audit", "verify"]);
}

#[tokio::test]
async fn what_is_asked_by_its_path_alone_needs_no_body() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let (_, listed) = served.json(&dev, "/api/v1/runs?pipeline=mail").await;
    let run = listed["runs"][0]["run"].as_str().unwrap();
    let post = |path: &str| {
        let url = format!("{}/api/v1/runs{path}", served.url);
        served.client.post(url).bearer_auth(&dev)
    };
    for path in [format!("/{run}/cancel"), format!("/{run}/retry")] {
        for (what, request) in [
            ("no body", post(&path)),
            ("an empty body", post(&path).body("")),
            (
                "an empty body of JSON",
                post(&path).header(CONTENT_TYPE, "application/json").body(""),
            ),
            ("an empty object", post(&path).json(&json!({}))),
        ] {
            // It went well, and so it can be neither ended nor tried again.
            let (status, told) = answer(request.send().await.unwrap()).await;
            assert_eq!(status, 409, "{path} with {what}: {told}");
        }
        let (status, told) = answer(post(&path).body("{}").send().await.unwrap()).await;
        assert_eq!(status, 415, "{told}");
    }
    // What needs more says what.
    let (status, told) = answer(post("").send().await.unwrap()).await;
    assert_eq!(status, 400, "{told}");
    assert!(told["detail"].as_str().unwrap().contains("pipeline"), "{told}");
    let (_, document) = served.json(&dev, "/openapi.json").await;
    let needs = |path: &str| document["paths"][path]["post"]["requestBody"]["required"].as_bool();
    assert_ne!(needs("/api/v1/runs/{run}/cancel"), Some(true));
    assert_eq!(needs("/api/v1/runs"), Some(true));
}

#[tokio::test]
async fn the_log_of_calls_tells_times_as_all_else_does() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    served.json(&dev, "/api/v1/datasets").await;
    let began = Instant::now();
    // It is written a little later.
    let told = loop {
        let (_, told) = served.json(&dev, "/api/v1/audit?operation=list_datasets").await;
        if let Some(record) = told["records"].get(0) {
            break record.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{told}");
    };
    let at = told["at"].as_str().unwrap();
    assert!(at.parse::<jiff::Timestamp>().is_ok(), "{told}");
    assert_eq!(told["outcome"], "ok");
}

#[tokio::test]
async fn the_log_of_calls_is_a_table_for_dev_and_for_nobody_else() {
    let lab = lab();
    // Who looks before anything was asked makes no log.
    assert_eq!(lab.number("SELECT count(*) AS n FROM audit"), 0);
    assert!(!lab.data().join("audit.sqlite").exists());
    let (served, dev) = Served::start(&lab);
    let user = token(&lab, "user", &["--role", "user"]);
    for token in [&dev, &user, &user] {
        assert_eq!(served.json(token, "/api/v1/datasets").await.0, 200);
    }
    let began = Instant::now();
    // It is written a little later.
    let told = loop {
        let (_, told) = served.json(&dev, "/api/v1/audit?operation=list_datasets").await;
        let records = told["records"].as_array().unwrap();
        if records.len() == 3 {
            break records.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{told}");
    };
    let ordered = "SELECT * FROM NAME WHERE operation = 'list_datasets' ORDER BY seq DESC";
    let (status, table) = served.sql(&dev, &ordered.replace("NAME", "audit")).await;
    assert_eq!(status, 200, "{table}");
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), told.len(), "{table}");
    for (row, record) in rows.iter().zip(&told) {
        let at = |value: &Value| value["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(at(row), at(record));
        let rest = |value: &Value| {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove("at");
            value
        };
        assert_eq!(rest(row), rest(record));
    }
    // The id of a token is its first characters after `dkc_`.
    let of_user = format!(
        "SELECT count(*) AS n FROM audit WHERE who = '{}' AND operation = 'list_datasets'",
        &user[4..12]
    );
    let (_, counted) = served.sql(&dev, &of_user).await;
    assert_eq!(counted["rows"][0]["n"], 2, "{counted}");
    assert_eq!(lab.number(&of_user), 2, "and at the command line");

    let known = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'aud%' \
                 UNION ALL SELECT column_name FROM information_schema.columns WHERE table_name = 'audit'";
    let (_, seen) = served.sql(&dev, known).await;
    assert_eq!(seen["rows"].as_array().unwrap().len(), 14, "{seen}");
    // It is listed to whom it is there for, and said to have no past.
    let (_, listed) = served.json(&dev, "/api/v1/datasets").await;
    assert!(listed.to_string().contains(r#""name":"audit""#), "{listed}");
    let (_, found) = served
        .json(&dev, "/api/v1/schema?q=hash+of+the+record&limit=200")
        .await;
    assert!(found.to_string().contains(r#""dataset":"audit""#), "{found}");
    let (status, described) = served.json(&dev, "/api/v1/datasets/audit").await;
    assert_eq!((status, &described["key"]), (200, &json!(["seq"])), "{described}");
    for path in ["/api/v1/datasets/audit/rows", "/api/v1/exports/audit.csv"] {
        let (status, told) = served.json(&dev, path).await;
        assert_eq!(status, 422, "{path}: {told}");
        assert!(told.to_string().contains("GET /api/v1/audit"), "{path}: {told}");
    }
    for query in [
        "SELECT * FROM as_of('audit', 1)",
        "SELECT * FROM changes('audit', 1)",
    ] {
        let (status, told) = served.sql(&dev, query).await;
        assert_eq!(status, 422, "{query}: {told}");
        let told = [told.to_string(), lab.said(&["sql", "-c", query]).err];
        assert!(
            told.iter().all(|told| told.contains("has no snapshots")),
            "{told:?}"
        );
    }
    for call in [
        json!({ "name": "list_datasets", "arguments": {} }),
        json!({ "name": "describe_dataset", "arguments": { "dataset": "audit" } }),
    ] {
        let asked = crate::it::mcp::request(&served, &dev, "tools/call", call);
        let told = crate::it::mcp::message(asked.send().await.unwrap()).await;
        assert!(
            !told.to_string().contains("One row a request"),
            "for people: {told}"
        );
    }
    let others = [
        user,
        token(&lab, "public", &["--role", "public"]),
        token(&lab, "automated", &["--role", "automated"]),
        token(&lab, "photos", &["--role", "user", "--datasets", "photos"]),
        token(&lab, "photos-dev", &["--role", "dev", "--datasets", "photos"]),
    ];
    for other in &others {
        let (status, seen) = served.sql(other, known).await;
        assert_eq!((status, &seen["rows"]), (200, &json!([])), "{seen}");
        for query in [
            ordered,
            "SELECT count(*) AS n FROM lake.main.NAME",
            "SELECT * FROM as_of('NAME', 1)",
            "SELECT * FROM search('NAME', 'boat')",
            "DESCRIBE NAME",
            "EXPLAIN SELECT * FROM NAME",
        ] {
            // Of what is hidden the same is said as of what never was.
            let of = async |name: &str| {
                let (status, mut said) = served.sql(other, &query.replace("NAME", name)).await;
                said.as_object_mut().unwrap().remove("request_id");
                // What is near to the one is not to the other.
                let said = said.to_string().replace(name, "NAME");
                let mut words: Vec<String> = said.split([' ', ',', '"']).map(str::to_owned).collect();
                words.sort();
                (status, words)
            };
            let hidden = of("audit").await;
            assert_eq!(hidden.0, 422, "{query}: {hidden:?}");
            assert_eq!(hidden, of("zebra").await, "{query}");
        }
        let (_, near) = served.sql(other, "SELECT * FROM audi").await;
        assert!(!near.to_string().contains("audit"), "{near}");
        let (_, near) = served.json(other, "/api/v1/datasets/audi").await;
        assert!(!near.to_string().contains("audit"), "{near}");
        for path in ["/api/v1/datasets", "/api/v1/schema?q=hash+of+the+record"] {
            let (_, listed) = served.json(other, path).await;
            assert!(!listed.to_string().contains("audit"), "{path}: {listed}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let made = served
        .client
        .post(format!("{}/api/v1/tokens", served.url))
        .bearer_auth(&dev)
        .json(&json!({ "name": "short", "role": "user" }));
    let (status, made) = answer(made.send().await.unwrap()).await;
    assert_eq!(status, 200, "{made}");
    let text = made["text"].as_str().unwrap();
    assert_eq!(served.json(text, "/api/v1/datasets").await.0, 200);
    let id = made["token"]["id"].as_str().unwrap();
    let revoke = served
        .client
        .delete(format!("{}/api/v1/tokens/{id}", served.url))
        .bearer_auth(&dev);
    assert_eq!(revoke.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(served.json(text, "/api/v1/datasets").await.0, 401);
    // One that has ended is not made.
    let past = json!({ "name": "past", "role": "user", "expires_at": "2020-01-01T00:00:00Z" });
    let request = served.client.post(format!("{}/api/v1/tokens", served.url));
    let (status, told) = answer(request.bearer_auth(&dev).json(&past).send().await.unwrap()).await;
    assert_eq!(status, 422, "{told}");
    // A user makes none.
    let user = token(&lab, "user", &["--role", "user"]);
    let refused = served
        .client
        .post(format!("{}/api/v1/tokens", served.url))
        .bearer_auth(&user);
    let (status, _) = answer(
        refused
            .json(&json!({ "name": "x", "role": "dev" }))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_parameter_of_sql_may_be_null() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    for (value, is_null) in [(Value::Null, true), (json!("a"), false), (json!(1), false)] {
        let request = served
            .client
            .post(format!("{}/api/v1/sql", served.url))
            .bearer_auth(&dev)
            .json(&json!({ "query": "SELECT :x IS NULL AS is_null", "parameters": { "x": value } }));
        let (status, told) = answer(request.send().await.unwrap()).await;
        assert_eq!(
            (status, &told["rows"][0]["is_null"]),
            (200, &json!(is_null)),
            "{told}"
        );
    }
}

#[tokio::test]
async fn heavy_and_hostile_queries_do_not_stop_the_others() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let bombs = [
        "SELECT count(*) FROM emails a, emails b, emails c, emails d, emails e WHERE a.subject < b.subject AND c.date < d.date AND e.size_bytes > a.size_bytes",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
        "SELECT repeat('x', 2000000000)",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
    ];
    let asked = futures::future::join_all(bombs.iter().map(|bomb| served.sql(&dev, bomb)));
    let healthy = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let began = Instant::now();
            assert_eq!(
                served.get("", "/healthz").send().await.unwrap().status(),
                StatusCode::OK
            );
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(asked, healthy);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    for (status, answer) in &answers[1..] {
        assert_eq!(*status, 422, "{answer}");
    }
}

#[tokio::test]
async fn whether_it_lives_is_answered_with_what_all_answers_say_and_to_who_may_ask() {
    let lab = lab();
    let (served, _) = Served::start(&lab);
    for path in ["/healthz", "/readyz", "/nothing"] {
        let answer = served.get("", path).send().await.unwrap();
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("cache-control", "private, no-cache"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            let found = answer.headers().get_all(header).iter().collect::<Vec<_>>();
            assert_eq!(found, [value], "{path} {header}");
        }
        assert_eq!(answer.headers().contains_key("x-request-id"), path != "/healthz");
        let foreign = served
            .get("", path)
            .header(HOST, "evil.test")
            .send()
            .await
            .unwrap();
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
        assert_eq!(foreign.headers()["cross-origin-resource-policy"], "same-origin");
        let id = foreign.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = foreign.json().await.unwrap();
        assert_eq!(
            (problem["request_id"].as_str(), id.len()),
            (Some(id.as_str()), 32)
        );
    }
    let alive = served.get("", "/healthz").send().await.unwrap();
    assert_eq!(alive.text().await.unwrap(), "ok\n");
    let request = served.client.post(format!("{}/healthz", served.url));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()[ALLOW], "GET, HEAD");
    assert!(answer.headers().contains_key("x-request-id"));
}

/// What takes long to answer and to read: 2,560,000 rows.
pub const MANY_ROWS: &str =
    "SELECT a.subject AS a, b.subject AS b, c.subject AS c FROM emails a, emails b, emails c, emails d";

#[tokio::test]
async fn a_long_answer_comes_whole_in_each_format() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    // Many times what may wait to be read.
    let query = MANY_ROWS;
    for (format, least) in [
        ("ndjson", 64_000_000),
        ("csv", 64_000_000),
        ("json", 64_000_000),
        ("arrows", 40_000_000),
    ] {
        let request = served
            .client
            .post(format!("{}/api/v1/sql?format={format}", served.url))
            .bearer_auth(&dev);
        let answer = request.json(&json!({ "query": query })).send();
        let answer = tokio::time::timeout(Duration::from_secs(60), async { answer.await?.bytes().await });
        let bytes = answer.await.unwrap_or_else(|_| panic!("{format} hangs")).unwrap();
        assert!(bytes.len() > least, "{format}: {}", bytes.len());
        if format == "ndjson" {
            assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 2_560_000);
        }
    }
}

#[tokio::test]
async fn whoever_does_not_read_leaves_room_for_the_others() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let slow = token(&lab, "slow", &["--role", "user"]);
    let query = json!({ "query": MANY_ROWS });
    let mut unread = Vec::new();
    for _ in 0..2 {
        let request = served
            .client
            .post(format!("{}/api/v1/sql?format=ndjson", served.url))
            .bearer_auth(&slow);
        unread.push(request.json(&query).send().await.unwrap());
    }
    let (status, answer) = served.sql(&dev, "SELECT 1 AS one").await;
    assert_eq!((status, &answer["rows"][0]["one"]), (200, &json!(1)));
    drop(unread);
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_is_a_problem_like_any_other() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    assert_eq!(served.json("", "/api/v1/datasets/%FF").await.0, 401);
    let (status, problem) = served.json(&dev, "/api/v1/datasets/%FF").await;
    assert_eq!((status, &problem["status"]), (400, &json!(400)));
}

#[tokio::test]
async fn a_script_of_rows_is_that_of_the_command_line_and_for_no_page_of_another_site() {
    let lab = lab();
    let (served, dev) = Served::start(&lab);
    let script = served
        .get(&dev, "/api/v1/exports/emails.js")
        .send()
        .await
        .unwrap();
    for (header, value) in [
        ("content-type", "text/javascript"),
        ("content-disposition", "attachment; filename=\"emails.js\""),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(script.headers()[header], value, "{header}");
    }
    let script = script.text().await.unwrap();
    assert!(script.starts_with("const emails = ["), "{script}");
    // The name of the file says what is in it, and nothing else does.
    let (status, told) = served.json(&dev, "/api/v1/exports/emails.json?format=csv").await;
    assert_eq!(status, 400, "{told}");
    let csv = served
        .get(&dev, "/api/v1/exports/emails.csv")
        .header(ACCEPT, "text/plain");
    let csv = csv.send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv");
    lab.output(&["export", "emails", "--to", "emails.js"]);
    let file = std::fs::read_to_string(lab.path("emails.js")).unwrap();
    assert_eq!(script, file);
    // What cannot be written is refused before anything is.
    let request = served
        .client
        .post(format!("{}/api/v1/sql?format=js", served.url))
        .bearer_auth(&dev)
        .json(&json!({ "query": "SELECT 1 AS \"__proto__\"" }));
    let (status, problem) = answer(request.send().await.unwrap()).await;
    assert_eq!(status, 422, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("__proto__"),
        "{problem}"
    );
}
