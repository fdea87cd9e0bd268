//! MCP as it is on the wire: JSON-RPC over the standard input and output of `dkc mcp`, and over HTTP at `/mcp`.
//!
//! - Not here: what official clients make of it (`mcp_peers`), many at once (`load`).

use crate::it::gateway::{self, Served};
use crate::it::lab::Lab;
use fixtures::corpus;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// The versions of the protocol that begin with `initialize`.
const WITH_INITIALIZE: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// The version without.
const STATELESS: &str = "2026-07-28";

/// Longer, and dkc hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is no message, and the error that tells so.
const NO_MESSAGES: [(&str, i64); 3] = [
    ("{ this is not JSON", -32700),
    ("[]", -32600),
    (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
];

/// What the tools may cost an agent that has not asked for more of them.
const CATALOGUE_TOKENS: u64 = 2_500;

/// `dkc mcp`, spoken to by lines; ended when this is dropped.
pub struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    err: Option<JoinHandle<String>>,
    asked: u64,
    heard: Vec<String>,
}

impl Agent {
    /// Starts it in a lab. No word is said yet.
    pub fn start(lab: &Lab, more: &[&str]) -> Self {
        let mut child = lab
            .command::<&str>(&[], &[&["mcp"], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut err = child.stderr.take().unwrap();
        let err = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            err: Some(err),
            asked: 0,
            heard: Vec::new(),
        }
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// The next line, as it is.
    pub fn line(&mut self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        self.heard.push(line.clone());
        line
    }

    /// The line that answers a request, and the number of the request. All lines must be messages.
    fn line_of(&mut self, method: &str, params: &Value) -> (u64, String) {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        loop {
            let line = self.line();
            let message: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(message["jsonrpc"], "2.0", "{line}");
            if message["id"] == id {
                return (id, line);
            }
        }
    }

    /// The answer to a request: `result` or `error` is in it.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        serde_json::from_str(&self.line_of(method, params).1).unwrap()
    }

    /// The handshake of a version that has one; its result.
    pub fn initialize(&mut self, version: &str) -> Value {
        let about = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client_info() });
        let answer = self.ask("initialize", &about);
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer["result"].clone()
    }

    /// The result of a call of a tool.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        answer
            .get("result")
            .unwrap_or_else(|| panic!("{tool} {arguments}: {answer}"))
            .clone()
    }

    /// Its input ends; its exit code, and its standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.finish()
    }

    /// Its input ends, and so does it, well; all that it said, and its standard error.
    pub fn heard_to_its_end(mut self) -> (Vec<String>, String) {
        let (code, err) = self.finish();
        assert_eq!(code, Some(0), "{err}");
        (std::mem::take(&mut self.heard), err)
    }

    fn finish(&mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        // The lines end when it has.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
                    self.heard.push(line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("dkc mcp does not end with its input"),
            }
        }
        let code = self.child.wait().unwrap().code();
        (code, self.err.take().unwrap().join().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client_info() -> Value {
    json!({ "name": "test", "version": "1.0.0" })
}

/// Parameters of the stateless version: who asks is in each request.
pub fn stateless(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

/// A request of the stateless version over HTTP.
pub fn request(served: &Served, token: &str, method: &str, params: Value) -> RequestBuilder {
    request_at(served, "/mcp", token, method, params)
}

/// The same, where the address says which tools are wanted.
pub fn request_at(served: &Served, path: &str, token: &str, method: &str, params: Value) -> RequestBuilder {
    let mut request = served
        .client
        .post(format!("{}{path}", served.url))
        .header(ACCEPT, "application/json, text/event-stream")
        .header("MCP-Protocol-Version", STATELESS)
        .header("Mcp-Method", method);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let name = params.get("name").or_else(|| params.get("uri"));
    if let Some(name) = name.and_then(Value::as_str) {
        request = request.header("Mcp-Name", name);
    }
    request.json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": stateless(params) }))
}

/// The message that answers a request, which may have come as the last event of a stream.
pub async fn message(response: Response) -> Value {
    let is_stream = response.headers()[CONTENT_TYPE]
        .to_str()
        .unwrap()
        .starts_with("text/event-stream");
    let text = response.text().await.unwrap();
    let json = match is_stream {
        false => text.as_str(),
        true => text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .rfind(|data| !data.is_empty())
            .unwrap(),
    };
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The result of a request over HTTP.
async fn result(served: &Served, token: &str, method: &str, params: Value) -> Value {
    let response = request(served, token, method, params).send().await.unwrap();
    let answer = message(response).await;
    answer
        .get("result")
        .unwrap_or_else(|| panic!("{method}: {answer}"))
        .clone()
}

fn names(list: &Value, name: &str) -> BTreeSet<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("{list}"));
    items
        .iter()
        .map(|item| item[name].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_version_begins_as_it_should() {
    let lab = gateway::lab();
    for version in WITH_INITIALIZE {
        let mut agent = Agent::start(&lab, &[]);
        let begun = agent.initialize(version);
        assert_eq!(begun["protocolVersion"], version);
        for what in ["tools", "resources", "prompts", "completions"] {
            assert!(
                begun["capabilities"][what].is_object(),
                "{version} {what}: {begun}"
            );
        }
        assert_eq!(begun["serverInfo"]["name"], "dkc", "{begun}");
        let found = agent.call("search", &json!({ "q": "sesame7" }));
        assert!(found.to_string().contains("Letter 7"), "{found}");
        assert_eq!(agent.end(), (Some(0), String::new()), "{version}");
    }
    // A version that nobody knows is answered with one that dkc speaks.
    let mut agent = Agent::start(&lab, &[]);
    let begun = agent.initialize("1999-01-01");
    let version = begun["protocolVersion"].as_str().unwrap();
    assert!(WITH_INITIALIZE.contains(&version), "{begun}");

    let mut agent = Agent::start(&lab, &[]);
    let found = agent.ask("server/discover", &stateless(json!({})));
    let versions = found["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&STATELESS.into()), "{found}");
    assert!(found["result"]["capabilities"]["tools"].is_object(), "{found}");
    let called = agent.ask(
        "tools/call",
        &stateless(json!({ "name": "search", "arguments": { "q": "sesame7" } })),
    );
    assert!(called["result"].to_string().contains("Letter 7"), "{called}");
    assert_eq!(agent.end(), (Some(0), String::new()));
}

#[test]
fn what_is_wrong_is_said_and_ends_nothing() {
    let lab = gateway::lab();
    let mut agent = Agent::start(&lab, &[]);
    agent.initialize("2025-11-25");
    for (tool, arguments) in [
        ("no_such_tool", json!({})),
        ("list_datasets", json!({ "colour": "red" })),
        ("search", json!({ "q": "x", "limitt": 1 })),
        ("search", json!({})),
        ("search", json!({ "q": 7 })),
        ("search", json!({ "q": "x", "limit": 100_000 })),
        ("search", json!({ "q": "x", "max_tokens": "many" })),
        ("search", json!({ "q": "x", "continue": "bogus" })),
        ("describe_dataset", json!({ "dataset": "emials" })),
        ("run_sql", json!({ "query": "DELETE FROM emails" })),
        ("run_sql", json!({ "query": "COPY (SELECT 1) TO 'x.csv'" })),
    ] {
        let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        let is_refused = answer["error"]["code"] == -32602 || answer["result"]["isError"] == true;
        assert!(is_refused, "{tool} {arguments}: {answer}");
        let home = lab.path("").display().to_string();
        assert!(!answer.to_string().contains(&home), "{answer}");
    }
    // A wrong limit or continuation is a mistake of input, which an agent can correct (MCP 2025-11-25, Tools, §Error Handling).
    for wrong in [
        json!({ "max_tokens": 100 }),
        json!({ "max_tokens": "many" }),
        json!({ "continue": 7 }),
    ] {
        let refused = agent.call("list_datasets", &wrong);
        assert_eq!(refused["isError"], true, "{wrong}: {refused}");
    }
    let near = agent.ask(
        "tools/call",
        &json!({ "name": "describe_dataset", "arguments": { "dataset": "emials" } }),
    );
    assert!(near.to_string().contains("emails"), "{near}");
    assert_eq!(agent.ask("no/such/method", &json!({}))["error"]["code"], -32601);
    for (method, params) in [
        ("tools/call", json!({ "name": 5 })),
        ("tools/call", json!({})),
        ("tools/call", json!({ "name": "search", "arguments": [] })),
        ("resources/read", json!({})),
        ("prompts/get", json!({})),
        ("tools/list", json!({ "cursor": "bogus" })),
        ("prompts/list", json!({ "cursor": "bogus" })),
        ("resources/list", json!({ "cursor": "bogus" })),
    ] {
        let answer = agent.ask(method, &params);
        assert_eq!(answer["error"]["code"], -32602, "{method} {params}: {answer}");
    }
    // A line that is no JSON, or no request, is told so, and is no reason to leave.
    for (line, code) in NO_MESSAGES {
        agent.say(line);
        let told: Value = serde_json::from_str(&agent.line()).unwrap();
        assert_eq!(told["error"]["code"], code, "{line}: {told}");
        assert_eq!(
            (&told["jsonrpc"], told.get("id")),
            (&json!("2.0"), None),
            "{line}"
        );
    }
    let listed = agent.call("list_datasets", &json!({}));
    let names = names(&listed["structuredContent"]["datasets"], "name");
    assert!(names.contains("emails"), "{listed}");
    assert_eq!(agent.end().0, Some(0));
}

#[tokio::test]
async fn what_is_no_message_is_told_over_http_as_over_stdio() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    for (text, code) in NO_MESSAGES {
        let request = request(&served, &dev, "ping", json!({})).body(text);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{text}");
        let told = message(response).await;
        assert_eq!(told["error"]["code"], code, "{text}: {told}");
        assert_eq!(
            (&told["jsonrpc"], told.get("id")),
            (&json!("2.0"), None),
            "{text}"
        );
    }
    // What is not said to be JSON is not looked at.
    let request = served
        .client
        .post(format!("{}/mcp", served.url))
        .bearer_auth(&dev);
    let request = request.header(ACCEPT, "application/json, text/event-stream");
    let request = request.header(CONTENT_TYPE, "text/plain").body("{");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 415);
}

#[test]
fn it_ends_when_nobody_reads_what_it_says() {
    let lab = gateway::lab();
    let mut child = lab
        .command::<&str>(&[], &["mcp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    input.write_all(b"at work?\n").unwrap();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("-32700"), "{line}");
    drop(out);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    let status = ended
        .recv_timeout(PATIENCE)
        .expect("it stays, and nobody reads it");
    assert_eq!(status.unwrap().code(), Some(0));
    // Its input was open all the time.
    drop(input);
}

#[test]
fn the_catalogue_is_the_same_in_each_process_and_small() {
    let lab = gateway::lab();
    let lists = [
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    ];
    let catalogue = || {
        let mut agent = Agent::start(&lab, &[]);
        agent.initialize("2025-11-25");
        lists.map(|list| agent.line_of(list, &json!({})).1)
    };
    assert_eq!(catalogue(), catalogue());
    let cost = lab.json(&["mcp", "cost"]);
    let tokens = cost["tokens"].as_u64().unwrap_or_else(|| panic!("{cost}"));
    assert!((1..CATALOGUE_TOKENS).contains(&tokens), "{cost}");
}

#[test]
fn sections_are_completed_of_the_document_that_is_given() {
    let lab = gateway::lab();
    lab.write("notes/ice.md", "# Ice\n\n## A1) Thin\n\nText.\n");
    lab.write("notes/snow.md", "# Snow\n\n## A2) Deep\n\nText.\n");
    lab.runs();
    let mut agent = Agent::start(&lab, &[]);
    agent.initialize("2025-11-25");
    let mut completed = |context: Value| {
        let asked = json!({
            "ref": { "type": "ref/resource", "uri": "dkc://masterplan-rag/section{?path,section}" },
            "argument": { "name": "section", "value": "a" },
            "context": context,
        });
        agent.ask("completion/complete", &asked)["result"]["completion"]["values"].clone()
    };
    assert_eq!(completed(json!({})), json!(["A1", "A2"]));
    let path = lab.value("SELECT path FROM documents WHERE path LIKE '%ice.md'");
    assert_eq!(completed(json!({ "arguments": { "path": path } })), json!(["A1"]));
}

#[test]
fn what_is_read_is_of_the_kind_that_was_listed() {
    let lab = gateway::lab();
    let mut agent = Agent::start(&lab, &[]);
    agent.initialize("2025-11-25");
    let listed = agent.ask("resources/list", &json!({}))["result"]["resources"].clone();
    let mut kinds = BTreeSet::new();
    for resource in listed.as_array().unwrap() {
        let read = agent.ask("resources/read", &json!({ "uri": resource["uri"] }));
        // What nobody configured cannot be read.
        if let Some(content) = read["result"]["contents"].get(0) {
            assert_eq!(content["mimeType"], resource["mimeType"], "{resource}: {read}");
            kinds.insert(content["mimeType"].as_str().unwrap().to_owned());
        }
    }
    assert!(kinds.contains("text/plain"), "{kinds:?}");
}

#[test]
fn an_end_before_the_first_word_is_an_end_like_any_other() {
    let lab = gateway::lab();
    assert_eq!(Agent::start(&lab, &[]).end(), (Some(0), String::new()));
}

/// The rows of an answer in pieces, and how many pieces they were.
fn pieces(agent: &mut Agent, arguments: &Value) -> (Vec<Value>, usize) {
    let mut arguments = arguments.clone();
    let mut rows = Vec::new();
    for pieces in 1..=1_000 {
        let answer = agent.call("run_sql", &arguments);
        assert_ne!(answer["isError"], true, "{answer}");
        let piece = &answer["structuredContent"];
        let columns = piece["columns"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let arrays = piece["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
        rows.extend(arrays.iter().map(|row| {
            let named = columns.iter().zip(row.as_array().unwrap());
            let named = named.map(|(column, cell)| (column.as_str().unwrap().to_owned(), cell.clone()));
            Value::Object(named.collect())
        }));
        match piece["continue"].as_str() {
            Some(rest) => arguments["continue"] = rest.into(),
            None => return (rows, pieces),
        }
    }
    panic!("it goes on and on");
}

#[test]
fn a_long_answer_comes_in_pieces_that_are_the_whole() {
    let lab = gateway::lab();
    let mut agent = Agent::start(&lab, &[]);
    agent.initialize("2025-11-25");
    let query = "SELECT a.subject AS a, b.subject AS b FROM emails a, emails b \
                 WHERE b.size_bytes > 0 ORDER BY a.subject, b.subject LIMIT 200";
    let (whole, once) = pieces(&mut agent, &json!({ "query": query, "max_tokens": 20_000 }));
    assert_eq!((whole.len(), once), (200, 1));
    assert_eq!(whole, lab.sql(query));
    for most in [500, 1_000] {
        let (rows, count) = pieces(&mut agent, &json!({ "query": query, "max_tokens": most }));
        assert!(count > 2, "{most}: {count}");
        assert_eq!(rows, whole, "{most}");
    }
    // What goes on belongs to what was asked.
    let first = agent.call("run_sql", &json!({ "query": query, "max_tokens": 500 }));
    let rest = &first["structuredContent"]["continue"];
    let other = json!({ "query": "SELECT 1 AS one", "continue": rest });
    let refused = agent.ask("tools/call", &json!({ "name": "run_sql", "arguments": other }));
    let is_refused = refused["error"]["code"] == -32602 || refused["result"]["isError"] == true;
    assert!(is_refused, "{refused}");
}

/// Reads pairs of a schema and a value, and says what is wrong.
const JUDGE: &str = "
import json, sys
from jsonschema import Draft202012Validator
for name, schema, value in json.load(sys.stdin):
    Draft202012Validator.check_schema(schema)
    for error in Draft202012Validator(schema).iter_errors(value):
        print(name, error.json_path, error.message)
";

#[test]
fn structured_answers_are_what_their_schema_says() {
    let lab = gateway::lab();
    let mut agent = Agent::start(&lab, &[]);
    agent.initialize("2025-11-25");
    let tools = agent.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let item = lab.value("SELECT _item FROM emails ORDER BY date LIMIT 1");
    let calls = [
        ("list_datasets", json!({})),
        ("describe_dataset", json!({ "dataset": "emails" })),
        ("get_item", json!({ "dataset": "emails", "item": item })),
        ("search", json!({ "q": "sesame7" })),
        ("search", json!({ "q": "letter", "limit": 40, "max_tokens": 300 })),
        (
            "run_sql",
            json!({ "query": "SELECT subject, date FROM emails LIMIT 3" }),
        ),
        (
            "run_sql",
            json!({ "query": "SELECT * FROM emails", "max_tokens": 500 }),
        ),
    ];
    let mut judged = Vec::new();
    for (name, arguments) in calls {
        let tool = tools
            .as_array()
            .unwrap()
            .iter()
            .find(|tool| tool["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {tools}"));
        judged.push(json!(["input", tool["inputSchema"], arguments]));
        let answer = agent.call(name, &arguments);
        assert_ne!(answer["isError"], true, "{name} {arguments}: {answer}");
        if let Some(schema) = tool.get("outputSchema") {
            judged.push(json!([name, schema, answer["structuredContent"]]));
        }
    }
    let outputs = judged.iter().filter(|case| case[0] != "input").count();
    assert!(outputs > 0, "no tool says what it answers");
    let mut judge = corpus::python();
    judge.args(["-c", JUDGE]);
    let output = assert_cmd::Command::from_std(judge)
        .write_stdin(json!(judged).to_string())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (String::new(), String::new())
    );
}

#[tokio::test]
async fn without_a_token_an_agent_learns_only_where_to_get_one() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    for wrong in ["", "dkc_wrong", "dkc_0000000000000000000000000000000000000000000"] {
        let response = request(&served, wrong, "tools/list", json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 401, "{wrong}");
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        let about = challenge
            .split_once("resource_metadata=\"")
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or_else(|| panic!("{challenge}"))
            .to_owned();
        // RFC 9728: open to whoever has no token.
        let about = served.client.get(about).send().await.unwrap();
        assert_eq!(about.status().as_u16(), 200);
        let about: Value = about.json().await.unwrap();
        assert_eq!(about["resource"], format!("{}/mcp", served.url), "{about}");
        // What has no values is left out (RFC 9728 §3.2).
        assert_eq!(about.get("authorization_servers"), None, "{about}");
    }
    let tools = result(&served, &token, "tools/list", json!({})).await;
    assert!(names(&tools["tools"], "name").contains("search"));
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_answer_from_any_face() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    let port = served.url.rsplit(':').next().unwrap().to_owned();
    let own = format!("localhost:{port}");
    let hostile = [
        ("evil.test".to_owned(), None),
        (format!("evil.test:{port}"), None),
        (format!("localhost.evil.test:{port}"), None),
        (format!("127.0.0.1.evil.test:{port}"), None),
        (own.clone(), Some("http://evil.test".to_owned())),
        (own.clone(), Some("null".to_owned())),
        (own.clone(), Some("http://localhost:1".to_owned())),
        (own.clone(), Some(format!("http://localhost:{port}.evil.test"))),
    ];
    let faces = ["/api/v1/datasets", "/api/v1/events", "/mcp"];
    let ask = |face: &str| match face {
        "/mcp" => request(&served, &dev, "tools/list", json!({})),
        "/api/v1/events" => served.get(&dev, face).header(ACCEPT, "text/event-stream"),
        _ => served.get(&dev, face),
    };
    let mut refused = 0;
    for face in faces {
        for (host, origin) in &hostile {
            let mut request = ask(face).header(HOST, host);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            let status = request.send().await.unwrap().status().as_u16();
            assert_eq!(status, 403, "{face} {host} {origin:?}");
            refused += 1;
        }
        let ours = ask(face)
            .header(HOST, &own)
            .header(ORIGIN, format!("http://{own}"));
        assert_eq!(ours.send().await.unwrap().status().as_u16(), 200, "{face}");
    }
    assert_eq!(refused, 24);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    let long = "x".repeat(16 << 20);
    let call = json!({ "name": "search", "arguments": { "q": long } });
    // The answer may come while the rest is still sent, and then the connection ends.
    if let Ok(response) = request(&served, &dev, "tools/call", call).send().await {
        assert_eq!(response.status().as_u16(), 413);
    }
    let tools = result(&served, &dev, "tools/list", json!({})).await;
    assert!(!tools["tools"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn each_token_is_shown_what_it_may_use() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    let public = gateway::token(&lab, "public", &["--role", "public"]);
    let notes = gateway::token(&lab, "notes", &["--role", "user", "--datasets", "documents"]);
    let all = "/mcp?toolsets=all";
    let mut seen = Vec::new();
    for token in [&dev, &public, &notes] {
        let mut lists = Vec::new();
        for (list, items, name) in [
            ("tools/list", "tools", "name"),
            ("resources/list", "resources", "uri"),
        ] {
            let listed = request_at(&served, all, token, list, json!({})).send().await;
            let listed = message(listed.unwrap()).await;
            lists.push(names(&listed["result"][items], name));
        }
        seen.push((lists.remove(0), lists.remove(0)));
    }
    let [of_dev, of_public, of_notes] = [0, 1, 2].map(|who| seen[who].clone());
    // What only programs and people of the owner may ask, and what only its developer.
    assert!(
        of_dev.0.contains("list_runs") && of_notes.0.contains("get_alerts"),
        "{seen:#?}"
    );
    // Runs are of all datasets.
    for of_runs in ["list_runs", "get_run", "start_run"] {
        assert!(!of_notes.0.contains(of_runs), "{seen:#?}");
    }
    assert!(
        of_public.0.contains("search") && of_public.0.is_subset(&of_dev.0),
        "{seen:#?}"
    );
    assert!(!of_public.0.contains("list_runs"), "{seen:#?}");
    assert!(!of_notes.0.contains("verify_audit"), "{seen:#?}");
    let mails = |uris: &BTreeSet<String>| uris.iter().any(|uri| uri.contains("emails"));
    assert!(mails(&of_dev.1), "{seen:#?}");
    assert!(!mails(&of_notes.1), "{seen:#?}");
    // What is not shown is not there either.
    for (tool, arguments) in [
        ("describe_dataset", json!({ "dataset": "emails" })),
        ("run_sql", json!({ "query": "SELECT subject FROM emails" })),
    ] {
        let call = json!({ "name": tool, "arguments": arguments });
        let answer = request(&served, &notes, "tools/call", call).send().await.unwrap();
        let answer = message(answer).await;
        let is_refused = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(is_refused && !answer.to_string().contains("Letter"), "{answer}");
    }
    let found = json!({ "name": "search", "arguments": { "q": "sesame7" } });
    let found = result(&served, &notes, "tools/call", found).await;
    assert_eq!(found["structuredContent"]["hits"], json!([]), "{found}");
    for hidden in of_dev.0.difference(&of_public.0) {
        let call = json!({ "name": hidden, "arguments": {} });
        let answer = request(&served, &public, "tools/call", call)
            .send()
            .await
            .unwrap();
        let answer = message(answer).await;
        let is_refused = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(is_refused, "{hidden}: {answer}");
    }
}

#[tokio::test]
async fn private_data_are_nobody_elses_to_keep() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    for list in [
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    ] {
        let listed = result(&served, &dev, list, json!({})).await;
        assert_eq!(listed["cacheScope"], "private", "{list}: {listed}");
        assert!(listed["ttlMs"].is_u64(), "{list}: {listed}");
    }
}
