//! What agents do to the world outside: plan, approval, apply; what they cannot do, whatever they have read or send.
//!
//! - A daemon of containers, the programs of the clouds and GitHub are stood in for, see the modules; builds are real.
//! - Not here: what the operations answer in detail (their unit tests), MCP itself (`mcp`).

mod approval;
mod clouds;
mod docker;
mod github;
mod hostile;

use crate::it::gateway::{Served, answer, mail};
use crate::it::lab::{Lab, MAIL};
use crate::it::mcp::Agent;
use axum::Router;
use axum::serve::Listener;
use clouds::Clouds;
use docker::Docker;
use github::GitHub;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Longer, and dkc hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds. The first writes down that it ran, the last sleeps until it is ended and says in which process.
const MAKEFILE: &str = "site:\n\t@echo run >> runs\n\t@echo built\n\
                        broken:\n\t@echo one\n\t@echo two >&2\n\t@exit 3\n\
                        slow:\n\t@echo begun\n\t@echo $$$$ > process; echo asleep; exec sleep 1000\n";

/// Each tool that acts, with an input that can be carried out.
fn acting() -> [(&'static str, Value); 5] {
    [
        ("restart_container", json!({ "container": "web" })),
        ("start_machine", json!({ "machine": "web" })),
        ("stop_machine", json!({ "machine": "cache" })),
        ("run_build", json!({ "build": "site" })),
        (
            "run_workflow",
            json!({ "repository": "me/site", "workflow": "deploy.yml", "reference": "main" }),
        ),
    ]
}

/// The same tools with other inputs, which can be carried out, too.
fn acting_else() -> [(&'static str, Value); 5] {
    [
        ("restart_container", json!({ "container": "db" })),
        ("start_machine", json!({ "machine": "db" })),
        ("stop_machine", json!({ "machine": "app" })),
        ("run_build", json!({ "build": "broken" })),
        (
            "run_workflow",
            json!({ "repository": "me/site", "workflow": "deploy.yml", "reference": "feature/x" }),
        ),
    ]
}

/// Serves what stands in for something, in a thread of its own, until what it gives is dropped.
fn serve<L>(listener: impl FnOnce() -> L + Send + 'static, router: Router) -> oneshot::Sender<()>
where
    L: Listener,
    L::Addr: Debug,
{
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            let serving = axum::serve(listener(), router).with_graceful_shutdown(stopped);
            serving.await.unwrap();
        });
    });
    stop
}

/// A lab with mails, whose configuration allows all that there is to be done.
struct World {
    lab: Lab,
    docker: Docker,
    clouds: Clouds,
    github: GitHub,
    config: String,
}

impl World {
    /// A world in which the owner trusts these operations.
    fn new(trusted: &[&str]) -> Self {
        let (docker, clouds, github) = (Docker::start(), Clouds::start(), GitHub::start());
        let lab = Lab::new(&format!(
            "{MAIL}\n[serve.agents]\ntrusted = {trusted:?}\n{}{}{}{}",
            docker.table(),
            clouds.table(),
            builds(),
            github.table()
        ));
        lab.write("site/Makefile", MAKEFILE);
        lab.deliver("", &(0..3).map(mail).collect::<Vec<_>>());
        lab.runs();
        let config = lab.path("dkc.toml").display().to_string();
        Self {
            lab,
            docker,
            clouds,
            github,
            config,
        }
    }

    /// Starts `dkc mcp` with all tools. No word is said yet.
    fn silent(&self, more: &[&str]) -> Agent {
        let usual = ["--config", self.config.as_str(), "--toolsets", "all"];
        Agent::start(&self.lab, &[usual.as_slice(), more].concat())
    }

    /// An agent whose program cannot ask anybody anything.
    fn agent(&self, more: &[&str]) -> Agent {
        let mut agent = self.silent(more);
        agent.initialize("2025-11-25");
        agent
    }

    /// How often something was done: containers, machines, builds, workflows.
    fn acts(&self) -> [usize; 4] {
        let runs = fs::read_to_string(self.lab.path("site/runs")).unwrap_or_default();
        [
            self.docker.acts(),
            self.clouds.acts(),
            runs.lines().count(),
            self.github.acts(),
        ]
    }

    /// How often something was done in all.
    fn count(&self) -> usize {
        self.acts().iter().sum()
    }

    /// What waits for the owner.
    fn waiting(&self) -> Vec<Value> {
        self.lab.json(&["approve"])["approvals"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The id of the only approval that waits.
    fn only_waiting(&self) -> String {
        let waiting = self.waiting();
        assert_eq!(waiting.len(), 1, "{waiting:#?}");
        waiting[0]["id"].as_str().unwrap().to_owned()
    }

    /// The owner says yes in a terminal.
    fn approve(&self, id: &str) {
        assert_eq!(self.lab.json(&["approve", id])["state"], "approved", "{id}");
    }

    /// The owner says no to all that waits.
    fn refuse(&self) {
        for waiting in self.waiting() {
            let refused = self
                .lab
                .json(&["approve", waiting["id"].as_str().unwrap(), "--refuse"]);
            assert_eq!(refused["state"], "refused", "{refused}");
        }
    }

    /// Others start containers anew, and commit.
    fn move_on(&self) {
        self.docker.move_on();
        self.github.move_on();
    }

    /// Plans, and has it approved: parameters of the call that carries it out.
    fn approved(&self, agent: &mut Agent, tool: &str, arguments: &Value) -> Value {
        let arguments = applying(arguments, &plan(agent, tool, arguments));
        assert_waits(&agent.call(tool, &arguments));
        self.approve(&self.only_waiting());
        json!({ "name": tool, "arguments": arguments })
    }
}

/// The part of a configuration that allows the builds, in the folder `site` beside it.
fn builds() -> String {
    let tables = ["site", "broken", "slow"].map(|target| {
        format!(
            "[serve.builds.{target}]\nabout = \"The target {target}\"\nfolder = \"site\"\n\
             command = [\"make\", \"{target}\"]\n"
        )
    });
    tables.concat()
}

/// What a tool says that it would do.
fn plan(agent: &mut Agent, tool: &str, arguments: &Value) -> Value {
    let planned = agent.call(tool, arguments);
    let is_plan = planned["isError"] != true && planned["structuredContent"]["apply"].is_string();
    assert!(is_plan, "{tool} {arguments}: {planned}");
    planned["structuredContent"].clone()
}

/// An input with which a plan is carried out.
fn applying(arguments: &Value, planned: &Value) -> Value {
    let mut arguments = arguments.clone();
    arguments["apply"] = planned["apply"].clone();
    arguments
}

/// Whether an answer, a whole message, says that nothing comes of it.
fn is_refused(answer: &Value) -> bool {
    answer.get("error").is_some() || answer["result"]["isError"] == true
}

/// The kind of the problem that is a result.
fn kind(result: &Value) -> &str {
    result["_meta"]["org.dkc/problem"]["kind"]
        .as_str()
        .unwrap_or_default()
}

/// Asserts that a result says that the owner has to approve first.
fn assert_waits(result: &Value) {
    let waits = result["isError"] == true
        && kind(result) == "conflict"
        && result["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .contains("waits for its owner");
    assert!(waits, "{result}");
}

/// Asserts that a result says that a plan does not hold any more.
fn assert_outdated(result: &Value) {
    let is_outdated = result["isError"] == true
        && kind(result) == "conflict"
        && result["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .contains("plan it again");
    assert!(is_outdated, "{result}");
}

/// Asserts that a result says that nothing was done.
fn assert_refused(result: &Value) {
    assert_eq!(result["isError"], true, "{result}");
}

/// Asserts that a result is that of something done.
fn assert_done(result: &Value) {
    let is_done = result["isError"] != true && result["structuredContent"].is_object();
    assert!(is_done, "{result}");
}

/// The names of the tools that an agent is given.
fn tools(agent: &mut Agent) -> BTreeSet<String> {
    let listed = agent.ask("tools/list", &json!({}));
    let tools = listed["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{listed}"));
    let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
    tools.iter().map(name).collect()
}

/// The next message.
fn heard(agent: &mut Agent) -> Value {
    let line = agent.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Status and body of what is sent to a path.
async fn posted(served: &Served, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = served.client.post(format!("{}{path}", served.url));
    answer(request.bearer_auth(token).json(body).send().await.unwrap()).await
}

/// Whether a process is there and has not ended.
fn is_alive(process: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
        return false;
    };
    // Its name, in parentheses, may hold anything; its state comes after it (proc_pid_stat(5)).
    let state = stat.rsplit(')').next().unwrap().trim_start();
    !state.starts_with(['Z', 'X'])
}

#[test]
fn a_build_tells_its_lines_and_ends_when_it_is_cancelled() {
    let world = World::new(&[]);
    let mut agent = world.agent(&[]);
    let tool = "run_build";
    let broken = world.approved(&mut agent, tool, &json!({ "build": "broken" }));
    let result = agent.call(tool, &broken["arguments"]);
    assert_done(&result);
    let result = &result["structuredContent"];
    // That of make itself, when a line of a rule fails.
    assert_eq!(
        (&result["ended"], &result["exit_code"]),
        (&json!("exited"), &json!(2)),
        "{result}"
    );
    let lines: Vec<&str> = result["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert!(lines.contains(&"one") && lines.contains(&"two"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("Error 3")), "{lines:?}");

    let mut slow = world.approved(&mut agent, tool, &json!({ "build": "slow" }));
    slow["_meta"] = json!({ "progressToken": "lines" });
    agent.say(&json!({ "jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": slow }).to_string());
    let mut told: Vec<(f64, String)> = Vec::new();
    while told.last().is_none_or(|(_, line)| line != "asleep") {
        let message = heard(&mut agent);
        assert_eq!(message["method"], "notifications/progress", "{message}");
        let progress = &message["params"];
        assert_eq!(progress["progressToken"], "lines", "{message}");
        let line = progress["message"].as_str().unwrap().to_owned();
        told.push((progress["progress"].as_f64().unwrap(), line));
    }
    assert_eq!(told, [(1.0, "begun".to_owned()), (2.0, "asleep".to_owned())]);
    let process = fs::read_to_string(world.lab.path("site/process")).unwrap();
    let process = process.trim();
    assert!(is_alive(process), "{process}");
    let cancel = json!({
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": { "requestId": "slow", "reason": "enough" },
    });
    agent.say(&cancel.to_string());
    let began = Instant::now();
    loop {
        let listed = agent.call("list_builds", &json!({}));
        let builds = listed["structuredContent"]["builds"].as_array();
        // Who asks too often is told nothing.
        let is_running = builds.is_none_or(|builds| builds.iter().any(|build| build["is_running"] == true));
        if !is_running && !is_alive(process) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{listed}");
    }
    assert_eq!(agent.end().0, Some(0));
    // Only the first was carried out to its end.
    let records = world.lab.json(&["audit", "list", "--operation", tool]);
    let records = records["records"].as_array().unwrap();
    let well = records.iter().filter(|record| record["outcome"] == "ok").count();
    assert_eq!(well, 1, "{records:#?}");
}

#[tokio::test]
async fn nothing_acts_unless_the_owner_turned_it_on() {
    let world = World::new(&[]);
    let off = Lab::new(MAIL);
    let config = off.path("dkc.toml").display().to_string();
    let mut agent = Agent::start(&off, &["--config", &config, "--toolsets", "all"]);
    agent.initialize("2025-11-25");
    let without = tools(&mut agent);
    assert!(without.contains("search"), "{without:?}");
    let related = [
        "list_machines",
        "get_machine",
        "list_containers",
        "get_container",
        "get_container_logs",
        "list_builds",
        "list_pull_requests",
        "list_workflow_runs",
    ];
    for (tool, arguments) in acting() {
        assert!(!without.contains(tool), "{tool}");
        let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert!(is_refused(&answer), "{tool}: {answer}");
    }
    for tool in related {
        assert!(!without.contains(tool), "{tool}");
    }
    let (served, dev) = Served::start(&off);
    for path in [
        "/api/v1/containers/web/restart",
        "/api/v1/machines/web/start",
        "/api/v1/machines/cache/stop",
        "/api/v1/builds/site/runs",
    ] {
        assert_eq!(posted(&served, &dev, path, &json!({})).await.0, 404, "{path}");
    }
    let (_, workflow) = acting()[4].clone();
    let (status, body) = posted(&served, &dev, "/api/v1/github/workflow-runs", &workflow).await;
    assert_eq!(status, 404, "{body}");

    let some = Lab::new(&world.docker.table());
    let config = some.path("dkc.toml").display().to_string();
    let mut agent = Agent::start(&some, &["--config", &config, "--toolsets", "all"]);
    agent.initialize("2025-11-25");
    let with: BTreeSet<String> = tools(&mut agent).difference(&without).cloned().collect();
    let wanted = [
        "get_container",
        "get_container_logs",
        "list_containers",
        "restart_container",
    ];
    assert_eq!(with, BTreeSet::from(wanted.map(str::to_owned)));
    plan(&mut agent, "restart_container", &json!({ "container": "web" }));
    for (tool, arguments) in acting().into_iter().skip(1) {
        let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert!(is_refused(&answer), "{tool}: {answer}");
    }
    // Beyond the list there is no container, either.
    let hidden = json!({ "name": "restart_container", "arguments": { "container": "hidden" } });
    assert!(is_refused(&agent.ask("tools/call", &hidden)));
    assert_eq!(world.acts(), [0; 4]);
    assert_eq!(world.clouds.asked(), Vec::<Vec<String>>::new());
    assert_eq!(world.github.asked(), Vec::<String>::new());
}

#[test]
fn a_configuration_that_lies_where_an_agent_runs_changes_nothing() {
    // It lies there with all that there is to be done, trusted.
    let trusted = acting().map(|(tool, _)| tool);
    let world = World::new(&trusted);
    let start = || {
        let mut agent = Agent::start(&world.lab, &["--toolsets", "all"]);
        agent.initialize("2025-11-25");
        agent
    };
    let empty = Lab::new("");
    let mut agent = Agent::start(&empty, &["--toolsets", "all"]);
    agent.initialize("2025-11-25");
    let without = tools(&mut agent);
    let mut agent = start();
    assert_eq!(tools(&mut agent), without);
    for (tool, arguments) in acting() {
        assert!(!without.contains(tool), "{tool}");
        let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert!(is_refused(&answer), "{tool}: {answer}");
    }
    assert_eq!(agent.end().0, Some(0));

    // Beside the owner's own, which allows containers of another daemon, and trusts nothing.
    let own = Docker::start();
    world.lab.write(".config/dkc/dkc.toml", own.table());
    let mut agent = start();
    let with = tools(&mut agent);
    assert!(with.contains("restart_container"), "{with:?}");
    for (tool, _) in acting().into_iter().skip(1) {
        assert!(!with.contains(tool), "{tool}");
    }
    let (tool, arguments) = acting()[0].clone();
    let planned = plan(&mut agent, tool, &arguments);
    assert_eq!(planned["needs_approval"], true, "{planned}");
    assert_waits(&agent.call(tool, &applying(&arguments, &planned)));
    assert!(own.acts() == 0 && !own.asked().is_empty());
    assert_eq!(agent.end().0, Some(0));

    // Nor can it keep the agent from its work.
    world.lab.write("dkc.toml", "[serve\nnonsense");
    let mut agent = start();
    assert_eq!(tools(&mut agent), with);
    assert_eq!(agent.end().0, Some(0));
    assert_eq!(world.acts(), [0; 4]);
    assert_eq!(world.docker.asked(), Vec::<String>::new());
    assert_eq!(world.clouds.asked(), Vec::<Vec<String>>::new());
    assert_eq!(world.github.asked(), Vec::<String>::new());
}
