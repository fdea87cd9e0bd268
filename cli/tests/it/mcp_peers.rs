//! The official clients of MCP, and the official conformance suite, with `dkc mcp` and with `dkc serve`.
//!
//! - Each client does what an agent does, over both transports, in the protocol of both eras.
//! - Of the suite's scenarios those apply that ask for what every server has; the others want tools, prompts and
//!   resources called `test_…`.

use crate::it::gateway::{self, Served};
use crate::it::lab::{Lab, program, said};
use fixtures::corpus;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The protocol with `initialize`, as the clients negotiate it, and that without.
const MODES: [(&str, &str); 3] = [
    ("legacy", "2025-11-25"),
    ("auto", "2026-07-28"),
    ("2026-07-28", "2026-07-28"),
];

/// Checks that cannot pass here, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "sep-2575-server-rejects-undeclared-capability",
        "it calls the tool `test_missing_capability`, which asks the client for a model's answer; no tool of dkc does",
    ),
    (
        "sep-2575-missing-capability-http-400",
        "it is of the answer of that same tool",
    ),
];

/// How the suite begins what it could not try.
const NOT_TESTABLE: &str = "Not testable: server does not list the diagnostic tool";

const _: () = assert!(EXCEPTIONS.len() <= 3, "exceptions are few");

/// Scenarios of what every server has, by version. `server-session-lifecycle` is not among them, nor
/// `server-sse-multiple-streams` of the version that has sessions: they are optional, and the gateway keeps none.
const OVER_HTTP: [(&str, &str); 3] = [
    (
        "2025-06-18",
        "server-initialize,ping,tools-list,resources-list,prompts-list",
    ),
    (
        "2025-11-25",
        "server-initialize,ping,tools-list,resources-list,prompts-list,dns-rebinding-protection",
    ),
    (
        "2026-07-28",
        "server-stateless,tools-list,resources-list,prompts-list,sep-2164-resource-not-found,caching,\
         http-header-validation,dns-rebinding-protection,server-sse-multiple-streams,\
         input-required-result-unsupported-methods,input-required-result-ignore-extra-params",
    ),
];

/// The same, without those of HTTP itself.
const OVER_STDIO: [(&str, &str); 3] = [
    (
        "2025-06-18",
        "server-initialize,ping,tools-list,resources-list,prompts-list",
    ),
    (
        "2025-11-25",
        "server-initialize,ping,tools-list,resources-list,prompts-list",
    ),
    (
        "2026-07-28",
        "tools-list,resources-list,prompts-list,sep-2164-resource-not-found,caching",
    ),
];

/// A script beside this file. Tests run in their package's folder.
fn script(name: &str) -> PathBuf {
    std::path::absolute("tests/it/mcp_peers").unwrap().join(name)
}

/// `dkc mcp` in a lab, as the scripts start it.
fn agent(lab: &Lab) -> String {
    let command = lab.command::<&str>(&[], &["mcp"]);
    let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
    let args: Vec<String> = command.get_args().map(text).collect();
    let env: serde_json::Map<String, Value> = command
        .get_envs()
        .filter_map(|(name, value)| Some((text(name), text(value?).into())))
        .collect();
    json!({
        "command": text(command.get_program()),
        "args": args,
        "env": env,
        "cwd": command.get_current_dir().unwrap().to_str().unwrap(),
    })
    .to_string()
}

/// The clients, about to ask.
fn clients() -> [(&'static str, Command); 2] {
    let mut python = corpus::python();
    python.arg(script("client.py"));
    let mut node = corpus::node();
    node.arg(script("client.mjs"));
    [("Python", python), ("TypeScript", node)]
}

/// What a script prints, which must end well.
fn printed(command: Command, who: &str) -> Value {
    let said = said(command);
    assert_eq!(said.code, Some(0), "{who}: {said:#?}");
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{who}: {error}: {said:#?}"))
}

/// Asserts that a client saw what there is.
fn saw_all(seen: &Value, version: &str, who: &str) {
    assert_eq!(seen["version"], version, "{who}");
    for (list, name) in [
        ("tools", "list_datasets"),
        ("tools", "search"),
        ("tools", "run_sql"),
        ("prompts", "weekly_review"),
        ("prompts", "find_document"),
        ("prompts", "explain_cost_rise"),
    ] {
        let names = seen[list].as_array().unwrap();
        assert!(names.contains(&name.into()), "{who}: {list}: {names:?}");
    }
    for list in ["resources", "templates", "read", "prompt"] {
        assert!(!seen[list].as_array().unwrap().is_empty(), "{who}: {list}");
    }
    let completed = seen["completed"].as_object().unwrap();
    let some = completed.values().any(|count| count.as_u64() > Some(0));
    assert!(some, "{who}: {completed:?}");
    for answer in ["datasets", "found"] {
        assert_ne!(seen[answer]["isError"], true, "{who}: {}", seen[answer]);
        assert!(
            !seen[answer]["content"].as_array().unwrap().is_empty(),
            "{who}: {answer}"
        );
    }
    let datasets = seen["datasets"]["structuredContent"]["datasets"]
        .as_array()
        .unwrap_or_else(|| panic!("{who}: {}", seen["datasets"]));
    let emails = datasets
        .iter()
        .find(|dataset| dataset["name"] == "emails")
        .unwrap();
    assert_eq!(emails["rows"], 40, "{who}");
    let hits = seen["found"]["structuredContent"]["hits"].as_array();
    let hits = hits.unwrap_or_else(|| panic!("{who}: {}", seen["found"]));
    assert_eq!(hits[0]["title"], "Letter 7", "{who}: {hits:?}");
}

/// What a client saw that must not hang on which client it is.
fn names(seen: &Value) -> [Value; 4] {
    ["tools", "resources", "templates", "prompts"].map(|list| seen[list].clone())
}

/// Asserts that each client does all that an agent does, in each mode, and finds the same, where it is sent by `way`.
fn all_do_the_same(way: &[&str]) {
    let mut all = BTreeSet::new();
    for (mode, version) in MODES {
        for (who, mut client) in clients() {
            client.args(["--mode", mode]).args(way);
            let who = format!("{who}, {mode}");
            let seen = printed(client, &who);
            saw_all(&seen, version, &who);
            all.insert(json!(names(&seen)).to_string());
        }
    }
    assert_eq!(all.len(), 1, "{all:#?}");
}

#[test]
fn the_official_clients_do_over_stdio_what_an_agent_does() {
    let lab = gateway::lab();
    all_do_the_same(&["--program", &agent(&lab)]);
}

#[test]
fn the_official_clients_do_over_http_what_an_agent_does() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let url = format!("{}/mcp", served.url);
    all_do_the_same(&["--url", &url, "--token", &token]);
}

#[test]
fn who_watches_a_resource_hears_of_its_change() {
    for (mode, _) in [MODES[0], MODES[2]] {
        for (who, mut client) in clients() {
            let lab = gateway::lab();
            let who = format!("{who}, {mode}");
            let mut child = client
                .args(["--mode", mode, "--program", &agent(&lab), "--watch"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert!(line.contains("watching"), "{who}: {line}");
            lab.deliver("", &[gateway::mail(50)]);
            lab.runs();
            let mut rest = String::new();
            // The client gives up after a minute of its own.
            out.read_to_string(&mut rest).unwrap();
            assert!(child.wait().unwrap().success(), "{who}: {rest}");
            let seen: Value = serde_json::from_str(&rest).unwrap();
            let emails = seen["datasets"]["structuredContent"]["datasets"]
                .as_array()
                .unwrap()
                .iter()
                .find(|dataset| dataset["name"] == "emails")
                .unwrap()
                .clone();
            assert_eq!(emails["rows"], 41, "{who}");
        }
    }
}

/// Runs scenarios; none may fail but for the exceptions.
fn conforms(version: &str, scenarios: &str, server: &[&str]) {
    let mut node = corpus::node();
    node.arg(script("conformance.mjs"))
        .args(["--version", version, "--scenarios", scenarios])
        .args(server);
    let found = printed(node, version);
    for (scenario, found) in found.as_object().unwrap() {
        assert!(
            found["passed"].as_u64() > Some(0),
            "{version} {scenario}: {found:#}"
        );
        let failed = found["failed"].as_object().unwrap();
        let failed: Vec<_> = failed
            .iter()
            .filter(|(check, _)| !EXCEPTIONS.iter().any(|(exception, _)| check == exception))
            // The suite says so itself where it finds none of its own test tools.
            .filter(|(_, why)| !why.as_str().is_some_and(|why| why.starts_with(NOT_TESTABLE)))
            .collect();
        assert!(failed.is_empty(), "{version} {scenario}: {failed:#?}");
        let warned = found["warned"].as_object().unwrap();
        if !warned.is_empty() {
            eprintln!("{version} {scenario} warns: {warned:#?}");
        }
    }
}

#[test]
fn the_conformance_suite_finds_no_failure_over_http() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let url = format!("{}/mcp", served.url);
    for (version, scenarios) in OVER_HTTP {
        conforms(version, scenarios, &["--url", &url, "--token", &token]);
    }
}

#[test]
fn the_conformance_suite_finds_no_failure_over_stdio() {
    let lab = gateway::lab();
    let agent = agent(&lab);
    for (version, scenarios) in OVER_STDIO {
        conforms(version, scenarios, &["--program", &agent]);
    }
}

/// The Inspector's command line.
fn inspector(lab: &Lab) -> Command {
    let packages = corpus::node_packages();
    let mut command = program(packages.join("node_modules/.bin/node"));
    command
        .arg(packages.join("node_modules/.bin/mcp-inspector"))
        .arg("--cli")
        // It keeps a list of servers there.
        .env("HOME", lab.path("inspector"));
    command
}

#[test]
fn the_inspector_lists_and_calls_over_both_transports() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let dkc = lab.command::<&str>(&[], &["mcp"]);
    let url = format!("{}/mcp", served.url);
    let header = format!("Authorization: Bearer {token}");
    for era in ["legacy", "modern"] {
        for over_http in [false, true] {
            let ask = |arguments: &[&str]| {
                let mut command = inspector(&lab);
                command.args(arguments).args(["--protocol-era", era]);
                if over_http {
                    command.args(["--transport", "http", "--server-url", &url, "--header", &header]);
                } else {
                    let home = format!("HOME={}", lab.path("").display());
                    command.args(["-e", &home]).arg("--cwd").arg(lab.path(""));
                    command.arg("--").arg(dkc.get_program()).args(dkc.get_args());
                }
                printed(command, &format!("{era} {over_http} {arguments:?}"))
            };
            let tools = ask(&["--method", "tools/list"]);
            let tools = tools["tools"].as_array().unwrap();
            assert!(tools.iter().any(|tool| tool["name"] == "search"), "{tools:?}");
            for (method, list) in [
                ("resources/list", "resources"),
                ("resources/templates/list", "resourceTemplates"),
                ("prompts/list", "prompts"),
            ] {
                let found = ask(&["--method", method]);
                assert!(!found[list].as_array().unwrap().is_empty(), "{era}: {found}");
            }
            let call = ["--method", "tools/call", "--tool-name", "list_datasets"];
            let called = ask(&call);
            assert!(
                called["structuredContent"]["datasets"][0]["rows"].is_i64(),
                "{called}"
            );
        }
    }
}
