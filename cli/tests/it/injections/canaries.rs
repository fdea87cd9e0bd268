//! What secrets hold stays where it is: texts that nobody can guess, in every place where a secret may lie, are in no answer,
//! log, table, file or export.
//!
//! - All tools are called, all resources are read, by an agent and by a developer; then all that was said is searched.
//! - Not here: what mails and files say to an agent (`injections`): what was collected is its owner's to read.

use crate::it::gateway::{self, Served};
use crate::it::git;
use crate::it::lab::{self, Lab, MAIL};
use crate::it::mcp::Agent;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;

/// A text that is nowhere else.
struct Canary {
    /// Where it is.
    place: &'static str,
    text: String,
}

/// Where canaries are.
const PLACES: [&str; 16] = [
    "serve.github.token, by env:",
    "the password of a mail server, by file:",
    "the secret of a proxy, by file:",
    "another variable of the environment",
    "a private key in a folder of credentials",
    "a .env in a folder of credentials",
    "a database of passwords",
    "a .env in an allowed folder",
    "an .npmrc in an allowed folder",
    "a key in an allowed folder",
    "a committed .env in an allowed folder",
    "the password of a remote",
    "the token of a remote, as its user",
    "the password of a dependency",
    "the token of a dependency",
    "a committed .env that was renamed",
];

/// The canaries, another at each call.
fn canaries() -> Vec<Canary> {
    let random = || RandomState::new().hash_one(0_u8);
    let canary = |place| Canary {
        place,
        text: format!("zq{:016x}{:016x}", random(), random()),
    };
    PLACES.map(canary).into()
}

/// What was said or written, and where.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, whose: impl Into<String>, text: impl Into<String>) {
        self.0.push((whose.into(), text.into()));
    }

    /// All files beneath a folder.
    fn add_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            if kind.is_dir() {
                self.add_folder(&path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).unwrap();
                self.add(path.display().to_string(), String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// Asserts that no canary is in it.
    fn is_silent_of(&self, canaries: &[Canary]) {
        let mut leaks = BTreeSet::new();
        for (whose, text) in &self.0 {
            for canary in canaries.iter().filter(|canary| text.contains(&canary.text)) {
                leaks.insert(format!("{} is in {whose}", canary.place));
            }
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}

/// GitHub, as it refuses everybody and says the token back; what it was sent comes out at the other end.
async fn github() -> (String, mpsc::Receiver<String>) {
    let (sent, heard) = mpsc::channel();
    let refuse = move |headers: HeaderMap| {
        let sent = sent.clone();
        async move {
            let token = headers.get("authorization").and_then(|value| value.to_str().ok());
            let token = token.unwrap_or_default().to_owned();
            let body = json!({ "message": format!("Bad credentials: {token}") }).to_string();
            // The test may have ended.
            let _ = sent.send(token);
            (StatusCode::UNAUTHORIZED, body)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(refuse)).await });
    (address, heard)
}

/// A lab in which each canary is at its place, and mail, notes and code are collected.
fn lab(api: &str, canaries: &[Canary]) -> Lab {
    let of = |place: usize| canaries[place].text.as_str();
    let config = format!(
        r#"
[serve]
roots = {{ code = "code", notes = "notes" }}

[serve.agents]
secrets = ["keys"]

[serve.proxy]
addresses = ["192.0.2.1"]
roles = {{ family = "user" }}
secret = "file:proxy.secret"

[serve.github]
api = "{api}"
token = "env:GITHUB_TOKEN"
repositories = ["me/site"]
workflows = ["deploy.yml"]

[serve.queries.mails_of]
about = "The newest mails of somebody"
sql = "SELECT date, subject FROM emails WHERE from_addr = :who ORDER BY date DESC LIMIT 20"

[[pipeline]]
name = "remote"
source = {{ kind = "imap", host = "127.0.0.1", port = 1, user = "me", password = "file:imap.password", tls = "none" }}

[[pipeline]]
name = "notes"
source = {{ kind = "documents", roots = ["notes"] }}

[[pipeline]]
name = "code"
source = {{ kind = "git", paths = ["code"] }}

{MAIL}"#
    );
    let lab = Lab::new(&config);
    lab.deliver("", &(0..3).map(gateway::mail).collect::<Vec<_>>());
    lab.write("notes/plan.md", "# Plan\n\nBuy a boat.\n");
    lab.write("imap.password", format!("{}\n", of(1)));
    lab.write("proxy.secret", format!("{}\n", of(2)));
    lab.write(
        "keys/id_ed25519",
        format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            of(4)
        ),
    );
    lab.write(
        "keys/id_ed25519.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me@example.org\n",
    );
    lab.write(
        "keys/web/.env",
        format!("DATABASE_URL=postgres://me:{}@db/web\n", of(5)),
    );
    lab.write(
        "keys/passwords.kdbx",
        [b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5".as_slice(), of(6).as_bytes()].concat(),
    );
    let shop = git::init(&lab, "code/shop");
    lab.write("code/shop/deploy.env", format!("TOKEN={}\n", of(10)));
    lab.write(
        "code/shop/package.json",
        json!({
            "name": "shop",
            "version": "1.0.0",
            "dependencies": {
                "left": format!("git+https://bot:{}@example.org/left.git", of(13)),
                "right": format!("https://npm.example.org/right.tgz?access_token={}", of(14)),
            },
        })
        .to_string(),
    );
    git::commit(&shop, "main.txt", "one\ntwo\n");
    let url = format!("https://me:{}@example.org/shop.git", of(11));
    git::git(&shop, &["remote", "add", "origin", &url]);
    let other = git::init(&lab, "code/other");
    git::commit(&other, "main.txt", "three\n");
    let url = format!("https://{}@example.org/other.git", of(12));
    git::git(&other, &["remote", "add", "origin", &url]);
    let moved = git::init(&lab, "code/moved");
    git::commit(&moved, "old.env", &format!("TOKEN={}\nPORT=1\nHOST=a\n", of(15)));
    git::git(&moved, &["mv", "old.env", "settings.txt"]);
    git::git(&moved, &["commit", "--quiet", "-m", "Rename it"]);
    git::commit(
        &moved,
        "settings.txt",
        &format!("TOKEN={}\nPORT=2\nHOST=a\n", of(15)),
    );
    // And one that a merge renamed.
    let merged = git::init(&lab, "code/merged");
    git::commit(&merged, "old.env", &format!("TOKEN={}\nPORT=1\nHOST=a\n", of(15)));
    git::git(&merged, &["switch", "--quiet", "-c", "side"]);
    git::commit(&merged, "side.txt", "four\n");
    git::git(&merged, &["switch", "--quiet", "main"]);
    git::commit(&merged, "main.txt", "five\n");
    git::git(&merged, &["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    git::git(&merged, &["mv", "old.env", "settings.txt"]);
    for port in [2, 3] {
        git::commit(
            &merged,
            "settings.txt",
            &format!("TOKEN={}\nPORT={port}\nHOST=a\n", of(15)),
        );
    }
    lab.write("code/shop/.env", format!("PASSWORD={}\n", of(7)));
    lab.write(
        "code/shop/.npmrc",
        format!("//npm.example.org/:_authToken={}\n", of(8)),
    );
    lab.write(
        "code/shop/server.pem",
        format!("-----BEGIN PRIVATE KEY-----\n{}\n", of(9)),
    );
    symlink(lab.path("keys/id_ed25519"), lab.path("code/shop/notes.txt")).unwrap();
    symlink(lab.path("keys"), lab.path("code/shop/assets")).unwrap();
    symlink(lab.path("imap.password"), lab.path("code/shop/readme.txt")).unwrap();
    lab
}

/// What is known of the lab, so that tools have something to answer.
struct Known {
    item: String,
    commit: String,
    run: String,
    /// The operations, with examples.
    operations: Vec<Value>,
}

impl Known {
    fn of(lab: &Lab, operations: Vec<Value>) -> Self {
        let text = |query: &str| lab.value(query).as_str().unwrap().to_owned();
        Self {
            item: text("SELECT _item FROM emails ORDER BY date LIMIT 1"),
            commit: text("SELECT \"commit\" FROM git_commits WHERE repository = 'shop' LIMIT 1"),
            run: text("SELECT _run FROM emails ORDER BY date LIMIT 1"),
            operations,
        }
    }

    /// What a tool is called with, where its example is of another lab.
    fn input(&self, tool: &str, example: &Value) -> Value {
        match tool {
            "get_email" => json!({ "item": self.item }),
            "get_item" | "get_original" => json!({ "dataset": "emails", "item": self.item }),
            "get_attachment" | "read_attachment" => json!({ "item": self.item, "ordinal": 0 }),
            "get_run" => json!({ "run": self.run }),
            "read_file" => json!({ "path": "code/shop/main.txt" }),
            "find_file" => json!({ "name": "*", "limit": 200 }),
            "list_project" => json!({ "path": "code/shop" }),
            "tree_structure" => json!({ "path": "code/shop" }),
            "get_package_json" | "list_dependencies" => json!({ "path": "code/shop" }),
            "list_sections" => json!({}),
            "get_section" => json!({ "path": "plan.md", "line": 1 }),
            "get_commit_history" => json!({ "repository": "shop" }),
            "get_commit" => json!({ "repository": "shop", "commit": self.commit, "path": "main.txt" }),
            "get_file_blame" => json!({ "repository": "shop", "path": "main.txt" }),
            "semantic_search" => json!({ "q": "boat" }),
            _ => example.clone(),
        }
    }
}

/// Calls that ask for what nobody is told.
fn probes(lab: &Lab, known: &Known) -> Vec<(&'static str, Value)> {
    let mut probes = Vec::new();
    for path in [
        "code/shop/.env",
        "code/shop/.npmrc",
        "code/shop/server.pem",
        "code/shop/deploy.env",
        "code/shop/.git/config",
        "code/other/.git/config",
        "code/shop/notes.txt",
        "code/shop/readme.txt",
        "code/shop/assets/id_ed25519",
        "code/shop/assets/web/.env",
        "code/../keys/id_ed25519",
        "code/../dkc.toml",
        "code/../imap.password",
        "keys/id_ed25519",
        "/proc/self/environ",
        "code//proc/self/environ",
    ] {
        probes.push(("read_file", json!({ "path": path })));
        probes.push(("get_package_json", json!({ "path": path })));
    }
    for path in [
        ".env",
        "deploy.env",
        ".git/config",
        "notes.txt",
        "../../imap.password",
    ] {
        probes.push(("get_file_blame", json!({ "repository": "shop", "path": path })));
        let commit = &known.commit;
        probes.push((
            "get_commit",
            json!({ "repository": "shop", "commit": commit, "path": path }),
        ));
    }
    for path in ["old.env", "settings.txt"] {
        for repository in ["moved", "merged"] {
            probes.push((
                "get_file_blame",
                json!({ "repository": repository, "path": path }),
            ));
        }
    }
    let commits = "SELECT repository, \"commit\" FROM git_commits WHERE repository IN ('moved', 'merged')";
    for commit in lab.sql(commits) {
        probes.push(("get_commit", commit));
    }
    for path in [
        "keys/web/.env",
        "keys/id_ed25519",
        "dkc.toml",
        "imap.password",
        "code/shop/.env",
    ] {
        let path = lab.path(path).display().to_string();
        for query in [
            format!("SELECT * FROM '{path}'"),
            format!("SELECT * FROM read_csv('{path}')"),
            format!("COPY (SELECT 1) TO '{path}'"),
        ] {
            probes.push(("run_sql", json!({ "query": query })));
        }
    }
    probes.push(("run_sql", json!({ "query": "SELECT getenv('GITHUB_TOKEN')" })));
    for name in ["id_ed25519", "web/.env", "passwords.kdbx", "../imap.password"] {
        probes.push(("confirm_credential_exists", json!({ "name": name })));
        probes.push(("get_ssh_key_path", json!({ "name": name })));
    }
    probes
}

/// An agent that has said who it is.
fn begun(lab: &Lab, arguments: &[&str]) -> Agent {
    let mut agent = Agent::start(lab, arguments);
    agent.initialize("2025-11-25");
    agent
}

/// The result of a call of a tool, or the error that it is.
fn called(agent: &mut Agent, tool: &str, arguments: &Value) -> Value {
    let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
    answer.get("result").unwrap_or(&answer["error"]).clone()
}

/// Calls all tools and reads all resources. Gives the names of the tools that answered, and what the tools said.
fn ask_all(agent: &mut Agent, lab: &Lab, known: &Known) -> (BTreeSet<String>, Value) {
    let listed = agent.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let (mut answered, mut said) = (BTreeSet::new(), json!({}));
    for tool in listed.as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let about = known
            .operations
            .iter()
            .find(|about| about["name"] == name)
            .unwrap_or_else(|| panic!("{name} is no operation"));
        let answer = called(agent, name, &known.input(name, &about["example"]));
        if answer.get("content").is_some() && answer["isError"] != true {
            answered.insert(name.to_owned());
        }
        said[name] = answer;
    }
    for (tool, arguments) in probes(lab, known) {
        called(agent, tool, &arguments);
    }
    let resources = agent.ask("resources/list", &json!({}))["result"]["resources"].clone();
    let templates = agent.ask("resources/templates/list", &json!({}));
    assert!(
        !templates["result"]["resourceTemplates"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let uris = resources.as_array().unwrap().iter();
    let mut uris: Vec<String> = uris
        .map(|resource| resource["uri"].as_str().unwrap().to_owned())
        .collect();
    assert!(!uris.is_empty());
    uris.push(format!("dkc://emails/message/{}", known.item));
    uris.push(format!(
        "dkc://git-integration/commit?repository=shop&commit={}&path=deploy.env",
        known.commit
    ));
    for uri in [
        "dkc://emails/search?q=letter",
        "dkc://masterplan-rag/search?q=boat",
        "dkc://file-navigator/folder/code/shop",
        "dkc://file-navigator/tree/code/shop",
        "dkc://file-navigator/file/code/shop/.env",
        "dkc://file-navigator/file/code/shop/notes.txt",
        "dkc://file-navigator/find?name=*",
        "dkc://git-integration/history?repository=shop",
        "dkc://git-integration/search?q=change",
        "dkc://git-integration/blame?repository=shop&path=deploy.env",
        "dkc://secrets-manager/credential/id_ed25519",
        "dkc://secrets-manager/credential/passwords.kdbx",
        "dkc://secrets-manager/ssh-key/id_ed25519",
        "dkc://project-config/manifest/code/shop",
        "dkc://project-config/dependencies/code/shop",
    ] {
        uris.push(uri.to_owned());
    }
    for uri in uris {
        agent.ask("resources/read", &json!({ "uri": uri }));
    }
    agent.ask("prompts/list", &json!({}));
    (answered, said)
}

/// The server's answer to whoever has this token: status, headers and body.
async fn get(served: &Served, token: &str, path: &str) -> (u16, String, String) {
    let response = served.get(token, path).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
    (status, headers, response.text().await.unwrap())
}

/// The operations, with examples.
async fn operations(served: &Served, token: &str) -> Vec<Value> {
    let (_, _, text) = get(served, token, "/api/v1/tools").await;
    let said: Value = serde_json::from_str(&text).unwrap();
    said["tools"].as_array().unwrap().clone()
}

/// What the server says to a developer, and to who has a wrong token.
async fn ask_over_http(served: &Served, token: &str, heard: &mut Heard) {
    let wrong = format!("{token}x");
    for (path, is_given) in [
        ("/metrics", true),
        ("/openapi.json", true),
        ("/api/v1/tools", true),
        ("/api/v1/audit?limit=1000", true),
        ("/api/v1/tokens", true),
        ("/api/v1/approvals", true),
        ("/api/v1/pipelines", true),
        ("/api/v1/runs", true),
        ("/api/v1/datasets", true),
        ("/api/v1/projects", true),
        ("/api/v1/files?name=*", true),
        ("/api/v1/files/text?path=code/shop/.env", false),
        ("/api/v1/files/text?path=code/shop/notes.txt", false),
        ("/api/v1/datasets/git_repositories/rows", true),
        ("/api/v1/no/such/path", false),
    ] {
        let (status, headers, text) = get(served, token, path).await;
        assert_eq!(status == 200, is_given, "{path}: {status} {text}");
        heard.add(format!("{path} over HTTP"), format!("{headers}\n{text}"));
        let (status, headers, text) = get(served, &wrong, path).await;
        assert_ne!(status, 200, "{path}: {text}");
        heard.add(format!("{path} with a wrong token"), format!("{headers}\n{text}"));
    }
}

/// All that is in the tables, as `dkc` exports it, and all that commands say.
fn by_command(lab: &Lab, heard: &mut Heard) {
    for dataset in lab::lake() {
        let name = dataset.name;
        let query = format!("SELECT * FROM {name}");
        let to = format!("exports/{name}.ndjson");
        fs::create_dir_all(lab.path("exports")).unwrap();
        lab.output(&["export", "--force", "--query", &query, "--to", &to]);
        heard.add(
            format!("the table `{name}`"),
            fs::read_to_string(lab.path(&to)).unwrap(),
        );
    }
    for arguments in [
        ["audit", "list", "--limit=100000", "--json"].as_slice(),
        &["audit", "verify", "--json"],
        &["approve", "--json"],
        &["token", "list", "--json"],
        &["runs", "--json"],
        &["-vv", "doctor", "--json"],
        &["-vv", "run", "remote", "--json"],
        &[
            "mcp",
            "cost",
            "--json",
            "--config",
            "dkc.toml",
            "--toolsets",
            "all",
        ],
    ] {
        let said = lab.said(arguments);
        heard.add(
            format!("dkc {arguments:?}"),
            format!("{}\n{}", said.out, said.err),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_secrets_hold_is_told_nowhere() {
    let mut canaries = canaries();
    let (api, sent) = github().await;
    let lab = lab(&api, &canaries);
    let of_github = canaries[0].text.clone();
    let serving = lab
        .clone()
        .with("GITHUB_TOKEN", &of_github)
        .with("AWS_SECRET_ACCESS_KEY", &canaries[3].text);
    let mut heard = Heard::default();
    // The mail server is not there; the others are.
    for pipeline in ["remote", "mail", "notes", "code"] {
        let said = lab.said(&["-vv", "run", pipeline, "--json"]);
        assert_eq!(said.code == Some(0), pipeline != "remote", "{said:#?}");
        heard.add(
            format!("the run of `{pipeline}`"),
            format!("{}\n{}", said.out, said.err),
        );
    }
    let token = gateway::token(&lab, "developer", &["--role", "dev"]);
    lab.write("dev.token", &token);
    let log = fs::File::create(lab.path("serve.log")).unwrap();
    let (served, begun_with) = Served::start_telling(&serving, &["-vv"], log);
    heard.add("the output of `dkc serve`", begun_with.to_string());
    let known = Known::of(&lab, operations(&served, &token).await);
    let all = ["-vv", "--config", "dkc.toml", "--toolsets", "all"];

    let mut agent = begun(&serving, &all);
    let (answered, said) = ask_all(&mut agent, &lab, &known);
    for tool in [
        "export_dataset",
        "find_file",
        "get_commit",
        "get_commit_history",
        "get_email",
        "get_file_blame",
        "get_item",
        "get_package_json",
        "get_run",
        "get_section",
        "get_ssh_key_path",
        "get_vault_structure",
        "confirm_credential_exists",
        "list_dependencies",
        "list_pipelines",
        "list_projects",
        "read_file",
        "read_rows",
        "run_query",
        "run_sql",
        "search",
        "tree_structure",
    ] {
        assert!(answered.contains(tool), "{tool}: {}", said[tool]);
    }
    // That they are there is told.
    let vault = said["get_vault_structure"].to_string();
    for name in ["id_ed25519", ".env", "passwords.kdbx"] {
        assert!(vault.contains(name), "{name}: {vault}");
    }
    let dependencies = said["list_dependencies"].to_string();
    assert!(
        dependencies.contains("left") && dependencies.contains("***"),
        "{dependencies}"
    );
    // GitHub was asked with its token, and said it back.
    let was_sent = sent.try_iter().any(|token| token.contains(&of_github));
    assert!(was_sent, "{}", said["list_pull_requests"]);
    let (answers, log) = agent.heard_to_its_end();
    heard.add("the answers to an agent", answers.join("\n"));
    heard.add("the log of an agent", log);

    let with_token = [all.as_slice(), &["--token", "file:dev.token"]].concat();
    let mut developer = begun(&serving, &with_token);
    let (answered, said) = ask_all(&mut developer, &lab, &known);
    assert!(answered.contains("get_original"), "{}", said["get_original"]);
    let (answers, log) = developer.heard_to_its_end();
    heard.add("the answers to a developer", answers.join("\n"));
    heard.add("the log of a developer", log);

    ask_over_http(&served, &token, &mut heard).await;
    drop(served);
    heard.add(
        "the log of `dkc serve`",
        fs::read_to_string(lab.path("serve.log")).unwrap(),
    );
    by_command(&lab, &mut heard);
    heard.add_folder(lab.data());
    canaries.push(Canary {
        place: "a token of dkc",
        text: token,
    });
    assert!(canaries.len() > 12 && heard.0.len() > 40, "{}", heard.0.len());
    heard.is_silent_of(&canaries);
}

#[test]
fn a_canary_that_sings_is_heard() {
    let canaries = canaries();
    let texts: BTreeSet<&str> = canaries.iter().map(|canary| canary.text.as_str()).collect();
    assert_eq!(texts.len(), PLACES.len());
    let mut heard = Heard::default();
    heard.add("nothing", "zq");
    heard.is_silent_of(&canaries);
    heard.add("an answer", format!("…{}…", canaries[3].text));
    let caught = std::panic::catch_unwind(|| heard.is_silent_of(&canaries));
    assert!(caught.is_err());
}
