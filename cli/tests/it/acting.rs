//! What agents do to the world outside: plan, approval, apply; what they cannot do, whatever they have read or send.
//!
//! - A daemon of containers, the programs of the clouds and GitHub are stood in for, see the modules; builds are real.
//! - Not here: what the operations answer in detail (their unit tests), MCP itself (`mcp`).

mod clouds;
mod docker;
mod github;

use crate::it::gateway::{self, Served, answer, mail};
use crate::it::lab::{Lab, MAIL};
use crate::it::mcp::{self, Agent};
use axum::Router;
use axum::serve::Listener;
use clouds::Clouds;
use docker::Docker;
use github::GitHub;
use reqwest::header::ACCEPT;
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

/// Calls a tool by a request with this id, and hears everything until its answer, which is given; `hear` may speak.
fn call_hearing(
    agent: &mut Agent,
    id: &str,
    params: &Value,
    mut hear: impl FnMut(&mut Agent, &Value),
) -> Value {
    agent.say(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string());
    loop {
        let message = heard(agent);
        if message["id"] == id && message.get("method").is_none() {
            return message["result"].clone();
        }
        hear(agent, &message);
    }
}

/// The next message.
fn heard(agent: &Agent) -> Value {
    let line = agent.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Parameters of the stateless version, of a client that says it can ask a person.
fn elicited(params: Value) -> Value {
    let mut params = mcp::stateless(params);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": { "form": {} } });
    params
}

#[test]
fn what_the_owner_approves_is_done_once() {
    let world = World::new(&[]);
    let mut agent = world.agent(&[]);
    let mut before = world.acts();
    for (tool, arguments) in acting() {
        let planned = plan(&mut agent, tool, &arguments);
        assert_eq!(planned["needs_approval"], true, "{tool}: {planned}");
        let arguments = applying(&arguments, &planned);
        let first = agent.call(tool, &arguments);
        assert_waits(&first);
        let id = world.only_waiting();
        assert!(
            first.to_string().contains(&format!("dkc approve {id}")),
            "{first}"
        );
        // Asking again is no second request, and no approval.
        assert_waits(&agent.call(tool, &arguments));
        assert_eq!(world.only_waiting(), id);
        assert_eq!(world.acts(), before, "{tool}");

        world.approve(&id);
        assert_done(&agent.call(tool, &arguments));
        let after = world.acts();
        let done = before.iter().sum::<usize>() + 1;
        assert_eq!(after.iter().sum::<usize>(), done, "{tool}: {before:?} {after:?}");

        let third = agent.call(tool, &arguments);
        assert_refused(&third);
        assert_eq!(kind(&third), "conflict", "{tool}: {third}");
        assert_eq!(world.acts(), after, "{tool}");
        // Where the world is as it was, that is another request.
        assert!(
            world.waiting().iter().all(|waiting| waiting["id"] != id.as_str()),
            "{tool}"
        );
        world.refuse();
        before = after;
    }
    assert_eq!(before, [1, 2, 1, 1]);
    assert_eq!(agent.end().0, Some(0));

    for (tool, _) in acting() {
        let records = world.lab.json(&["audit", "list", "--operation", tool]);
        let records = records["records"].as_array().unwrap();
        let all = |name: &str| -> Vec<&str> {
            records
                .iter()
                .map(|record| record[name].as_str().unwrap())
                .collect()
        };
        let outcomes = all("outcome");
        let count = |wanted: &str| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        assert_eq!(
            (count("planned"), count("ok"), count("begun")),
            (1, 1, 5),
            "{outcomes:?}"
        );
        assert!(count("waiting-for-approval") >= 2, "{outcomes:?}");
        let inputs: BTreeSet<&str> = all("input").into_iter().collect();
        assert_eq!(inputs.len(), 1, "{tool}: {records:#?}");
    }
    world.lab.output(&["audit", "verify"]);
}

#[test]
fn what_the_owner_refuses_is_not_done() {
    let world = World::new(&[]);
    let mut agent = world.agent(&[]);
    for (tool, arguments) in acting() {
        let arguments = applying(&arguments, &plan(&mut agent, tool, &arguments));
        assert_waits(&agent.call(tool, &arguments));
        let id = world.only_waiting();
        world.refuse();
        assert_refused(&agent.call(tool, &arguments));
        // A no is not turned into a yes.
        assert_ne!(world.lab.said(&["approve", &id]).code, Some(0));
        assert_refused(&agent.call(tool, &arguments));
        assert!(
            world.waiting().iter().all(|waiting| waiting["id"] != id.as_str()),
            "{tool}"
        );
        world.refuse();
    }
    assert_eq!(world.acts(), [0; 4]);
}

#[test]
fn a_plan_for_another_world_is_not_carried_out() {
    let world = World::new(&[]);
    let mut agent = world.agent(&[]);
    let [container, .., workflow] = acting();
    for (tool, arguments) in [container, workflow] {
        let planned = applying(&arguments, &plan(&mut agent, tool, &arguments));
        world.move_on();
        assert_outdated(&agent.call(tool, &planned));
        assert_eq!(world.waiting(), Vec::<Value>::new());
        // Not even when the owner had approved it.
        let approved = world.approved(&mut agent, tool, &arguments);
        world.move_on();
        assert_outdated(&agent.call(tool, &approved["arguments"]));
    }
    // Nor with another input than was planned.
    for ((tool, arguments), (_, other)) in acting().into_iter().zip(acting_else()) {
        let planned = applying(&other, &plan(&mut agent, tool, &arguments));
        assert_outdated(&agent.call(tool, &planned));
    }
    assert_eq!(world.waiting(), Vec::<Value>::new());
    assert_eq!(world.acts(), [0; 4]);
}

#[test]
fn a_person_before_the_agents_program_is_asked_by_it() {
    let world = World::new(&[]);
    let (tool, arguments) = acting()[0].clone();
    for (word, acts) in [("cancel", 0), ("decline", 0), ("accept", 1)] {
        let mut agent = world.silent(&[]);
        let about = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "test", "version": "1.0.0" },
        });
        agent.ask("initialize", &about);
        agent.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let before = world.count();
        let arguments = applying(&arguments, &plan(&mut agent, tool, &arguments));
        let params = json!({ "name": tool, "arguments": arguments });
        let mut asked = 0;
        let result = call_hearing(&mut agent, "act", &params, |agent, message| {
            assert_eq!(message["method"], "elicitation/create", "{message}");
            let question = message["params"]["message"].as_str().unwrap();
            assert!(question.contains("restarts the container `web`"), "{question}");
            // Nothing is done while a person thinks.
            assert_eq!(world.count(), before);
            asked += 1;
            let said = json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "action": word } });
            agent.say(&said.to_string());
        });
        assert_eq!(asked, 1, "{word}");
        match word {
            "accept" => assert_done(&result),
            "decline" => assert_eq!(kind(&result), "forbidden", "{result}"),
            _ => assert_waits(&result),
        }
        assert_eq!(world.count(), before + acts, "{word}");
        // What was closed without a word waits for a terminal; all else is decided.
        assert_eq!(world.waiting().len(), usize::from(word == "cancel"), "{word}");
        world.refuse();
        assert_eq!(agent.end().0, Some(0));
    }
}

#[test]
fn a_person_is_asked_between_two_calls_of_the_stateless_protocol() {
    let world = World::new(&[]);
    let (tool, arguments) = acting()[0].clone();
    for (word, acts) in [("cancel", 0), ("decline", 0), ("accept", 1)] {
        let mut agent = world.silent(&[]);
        agent.ask("server/discover", &elicited(json!({})));
        let before = world.count();
        let mut ask = |params: Value| {
            let answer = agent.ask("tools/call", &elicited(params));
            let result = answer.get("result").unwrap_or_else(|| panic!("{answer}"));
            result.clone()
        };
        let planned = ask(json!({ "name": tool, "arguments": arguments }));
        let arguments = applying(&arguments, &planned["structuredContent"]);
        assert!(arguments["apply"].is_string(), "{planned}");
        let call = json!({ "name": tool, "arguments": arguments });
        let question = ask(call.clone());
        assert_eq!(question["resultType"], "input_required", "{question}");
        let requests = question["inputRequests"].as_object().unwrap();
        let (name, request) = requests.iter().next().unwrap();
        assert_eq!(
            (requests.len(), &request["method"]),
            (1, &json!("elicitation/create"))
        );
        let message = request["params"]["message"].as_str().unwrap();
        assert!(message.contains("restarts the container `web`"), "{message}");

        let said = |state: &Value, word: &str| {
            let mut call = call.clone();
            call["requestState"] = state.clone();
            call["inputResponses"] = json!({ name: { "action": word } });
            call
        };
        // A yes to another question is none to this one.
        let again = ask(said(&json!("A1b2C3d4"), "accept"));
        assert_eq!(again["resultType"], "input_required", "{again}");
        assert_eq!(again["requestState"], question["requestState"]);
        assert_eq!(world.count(), before, "{word}");

        let result = ask(said(&question["requestState"], word));
        match word {
            "accept" => assert_done(&result),
            "decline" => assert_eq!(kind(&result), "forbidden", "{result}"),
            _ => assert_waits(&result),
        }
        assert_eq!(world.count(), before + acts, "{word}");
        if word != "cancel" {
            // What was said is used up.
            let late = ask(said(&question["requestState"], "accept"));
            assert!(
                late["resultType"] == "input_required" || late["isError"] == true,
                "{late}"
            );
            assert_eq!(world.count(), before + acts, "{word}");
        }
        world.refuse();
        assert_eq!(agent.end().0, Some(0));
    }
}

/// The result of a call over HTTP by a client that says it can ask a person, or that it cannot.
async fn called(served: &Served, token: &str, params: &Value, can_ask: bool) -> Value {
    let params = match can_ask {
        true => elicited(params.clone()),
        false => mcp::stateless(params.clone()),
    };
    let response = served
        .client
        .post(format!("{}/mcp?toolsets=all", served.url))
        .bearer_auth(token)
        .header(ACCEPT, "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", params["name"].as_str().unwrap())
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }))
        .send()
        .await
        .unwrap();
    let message = mcp::message(response).await;
    let result = message.get("result").unwrap_or_else(|| panic!("{message}"));
    result.clone()
}

/// Status and body of what is sent to a path.
async fn posted(served: &Served, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = served.client.post(format!("{}{path}", served.url));
    answer(request.bearer_auth(token).json(body).send().await.unwrap()).await
}

#[tokio::test]
async fn nobody_approves_their_own() {
    let world = World::new(&[]);
    let (served, _dev) = Served::start(&world.lab);
    let token = |name: &str, role: &str| gateway::token(&world.lab, name, &["--role", role]);
    let (agent, owner, other) = (
        token("agent", "automated"),
        token("owner", "user"),
        token("other", "user"),
    );
    let (tool, arguments) = acting()[0].clone();
    let planned = called(
        &served,
        &agent,
        &json!({ "name": tool, "arguments": arguments }),
        true,
    )
    .await;
    let call = json!({ "name": tool, "arguments": applying(&arguments, &planned["structuredContent"]) });
    // A program that runs by itself has nobody before it, whatever it says of itself.
    assert_waits(&called(&served, &agent, &call, true).await);
    let id = world.only_waiting();
    let mut forged = call.clone();
    forged["requestState"] = id.clone().into();
    forged["inputResponses"] = json!({ "approve": { "action": "accept", "content": {} } });
    assert_waits(&called(&served, &agent, &forged, true).await);
    let approve = format!("/api/v1/approvals/{id}/approve");
    let (status, body) = posted(&served, &agent, &approve, &json!({})).await;
    assert_eq!(status, 403, "{body}");
    // Over REST it is as it is over MCP.
    let restart = "/api/v1/containers/web/restart";
    let apply = json!({ "apply": call["arguments"]["apply"] });
    assert_eq!(posted(&served, &agent, restart, &apply).await.0, 409);
    assert_eq!((world.count(), world.only_waiting()), (0, id));

    let (status, body) = posted(&served, &owner, &approve, &json!({})).await;
    assert_eq!((status, &body["state"]), (200, &json!("approved")), "{body}");
    assert_done(&called(&served, &agent, &call, true).await);
    assert_eq!(world.count(), 1);

    // A person's agent, which cannot ask the person.
    let planned = called(
        &served,
        &owner,
        &json!({ "name": tool, "arguments": arguments }),
        false,
    )
    .await;
    let call = json!({ "name": tool, "arguments": applying(&arguments, &planned["structuredContent"]) });
    assert_waits(&called(&served, &owner, &call, false).await);
    let approve = format!("/api/v1/approvals/{}/approve", world.only_waiting());
    let (status, body) = posted(&served, &owner, &approve, &json!({})).await;
    assert_eq!(status, 403, "{body}");
    assert_waits(&called(&served, &owner, &call, false).await);
    assert_eq!(world.count(), 1);
    assert_eq!(posted(&served, &other, &approve, &json!({})).await.0, 200);
    // Nor is it another's to use.
    assert_refused(&called(&served, &agent, &call, false).await);
    assert_eq!(world.count(), 1);
    assert_done(&called(&served, &owner, &call, false).await);
    assert_eq!(world.count(), 2);

    // A person who has seen the plan, and sends it back, has approved it.
    let (status, planned) = posted(&served, &other, restart, &json!({})).await;
    assert_eq!((status, world.count()), (202, 2), "{planned}");
    let apply = json!({ "apply": planned["apply"] });
    let (status, body) = posted(&served, &other, restart, &apply).await;
    assert_eq!((status, world.count()), (200, 3), "{body}");
    assert_eq!(posted(&served, &other, restart, &apply).await.0, 409);
    assert_eq!(world.count(), 3);
}

#[test]
fn what_is_trusted_needs_no_approval_until_others_words_were_read() {
    let trusted = acting().map(|(tool, _)| tool);
    let world = World::new(&trusted);
    let [container, start, _, build, workflow] = acting();
    // Each in a session of its own: what was done may be told in others' words.
    for (done, (tool, arguments)) in [container, start, build, workflow].into_iter().enumerate() {
        let mut agent = world.agent(&[]);
        let planned = plan(&mut agent, tool, &arguments);
        assert_eq!(planned["needs_approval"], false, "{tool}: {planned}");
        assert_done(&agent.call(tool, &applying(&arguments, &planned)));
        assert_eq!(world.count(), done + 1, "{tool}");
    }
    assert_eq!(world.waiting(), Vec::<Value>::new());
    let before = world.acts();

    let mut agent = world.agent(&[]);
    let (tool, arguments) = acting()[4].clone();
    let early = applying(&arguments, &plan(&mut agent, tool, &arguments));
    assert_done(&agent.call("search", &json!({ "q": "sesame1" })));
    // A plan of before does not help.
    assert_waits(&agent.call(tool, &early));
    let (mut tried, mut held) = (0, 0);
    for _ in 0..5 {
        for (tool, arguments) in acting().into_iter().chain(acting_else()) {
            let planned = plan(&mut agent, tool, &arguments);
            assert_eq!(planned["needs_approval"], true, "{tool}: {planned}");
            assert_waits(&agent.call(tool, &applying(&arguments, &planned)));
            tried += 1;
            held += usize::from(world.acts() == before);
        }
    }
    assert_eq!((tried, held), (50, 50));
    assert_eq!(world.acts(), before);
    let waiting = world.waiting();
    assert_eq!(waiting.len(), 10, "{waiting:#?}");
    for waiting in &waiting {
        assert_eq!(waiting["untrusted"], true, "{waiting}");
    }
    // One mail read whole is enough, too; and it is of that session only.
    let item = world.lab.value("SELECT _item FROM emails ORDER BY date LIMIT 1");
    let mut agent = world.agent(&[]);
    assert_done(&agent.call("get_email", &json!({ "item": item })));
    let planned = plan(&mut agent, tool, &arguments);
    assert_waits(&agent.call(tool, &applying(&arguments, &planned)));
    let mut fresh = world.agent(&[]);
    let planned = plan(&mut fresh, tool, &arguments);
    assert_eq!(
        (&planned["needs_approval"], world.acts()),
        (&json!(false), before)
    );
}

/// Numbers that look like any, and are the same each time (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.throw(all.len())]
    }
}

/// What would do harm where a shell, a path, an option or an address is made of it.
const HARM: [&str; 28] = [
    ";",
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "| tee pwned",
    "&& touch pwned",
    "\n",
    "\r\ntouch pwned",
    "\u{0}",
    "--flag",
    "--project=evil",
    "-rf",
    "--help",
    "../",
    "../../hidden",
    "/etc/passwd",
    "%2e%2e%2f",
    "%0atouch pwned",
    "?t=0",
    "#",
    "*",
    "~",
    "${HOME}",
    "'\"",
    "\\",
    " ",
    "\u{202e}",
    "hidden",
];

/// Names that are no parameter.
const EXTRA: [&str; 12] = [
    "program",
    "command",
    "args",
    "--flag",
    "id",
    "zone",
    "folder",
    "socket",
    "$(touch pwned)",
    "machine;",
    "Apply",
    "__proto__",
];

/// What is tried with an input that is good, and whether a parameter that does not exist is what is wrong.
fn spoilt(dice: &mut Dice, good: &Value, way: usize) -> (Value, bool) {
    let mut input = good.clone();
    let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    let name = dice.pick(&names).clone();
    let value = good[&name].as_str().unwrap();
    let (one, two) = (*dice.pick(&HARM), *dice.pick(&HARM));
    match way % 6 {
        0 => {
            let forms = [
                format!("{value}{one}"),
                format!("{one}{value}"),
                format!("{value}{one}{two}"),
                one.to_owned(),
                format!("{one}{two}"),
                value.to_uppercase(),
                one.repeat(200),
            ];
            input[&name] = dice.pick(&forms).as_str().into();
        }
        1 => input[dice.pick(&EXTRA)] = one.into(),
        2 => {
            let kinds = [
                json!(1),
                json!(true),
                json!([value]),
                json!({ "name": value }),
                json!(-0.5),
                json!([]),
                json!(null),
            ];
            input[&name] = dice.pick(&kinds).clone();
        }
        // The input is good; nobody planned it.
        3 => input["apply"] = "0".repeat(dice.throw(70)).into(),
        4 => input["apply"] = one.into(),
        _ => {
            input[&name] = one.into();
            input[dice.pick(&EXTRA)] = json!([two]);
        }
    }
    (input, way % 6 == 1)
}

#[test]
fn whatever_an_agent_sends_nothing_is_started_but_what_the_owner_wrote() {
    // Trusted, so that no approval is what holds it back.
    let trusted = acting().map(|(tool, _)| tool);
    let world = World::new(&trusted);
    // Faster than an agent may be otherwise.
    let more = ["--role", "automated", "--rate", "1000000"];
    world
        .lab
        .write("agent.token", gateway::token(&world.lab, "agent", &more));
    let reference = format!("file:{}", world.lab.path("agent.token").display());
    let mut agent = world.agent(&["--token", &reference]);
    let mut dice = Dice(25);
    for (tool, good) in acting() {
        for way in 0..200 {
            let (arguments, is_unknown) = spoilt(&mut dice, &good, way);
            let answer = agent.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
            assert!(is_refused(&answer), "{tool} {arguments}: {answer}");
            let kind = kind(&answer["result"]);
            assert!(
                !["too-many-requests", "internal"].contains(&kind),
                "{tool} {arguments}: {answer}"
            );
            assert!(
                !is_unknown || kind == "unknown-parameter",
                "{tool} {arguments}: {answer}"
            );
        }
        // A tool of that name with more to it is none.
        for harm in HARM {
            let call = json!({ "name": format!("{tool}{harm}"), "arguments": good });
            assert!(is_refused(&agent.ask("tools/call", &call)), "{tool}{harm}");
        }
    }
    assert_eq!(world.acts(), [0; 4]);
    assert_eq!(world.waiting(), Vec::<Value>::new());
    for folder in ["", "site"] {
        assert!(!world.lab.path(folder).join("pwned").exists());
    }
    // Some inputs were good, and were looked at.
    let looks = Clouds::looks();
    let asked = world.clouds.asked();
    assert!(!asked.is_empty());
    for call in &asked {
        assert!(looks.contains(call), "{call:?}");
    }
    let asked = world.docker.asked();
    assert!(!asked.is_empty());
    for line in &asked {
        assert_eq!(line, "GET /containers/web/json");
    }
    let asked = world.github.asked();
    assert!(!asked.is_empty());
    for line in &asked {
        let branch = line.strip_prefix("GET /repos/me/site/commits/heads/");
        let is_branch = |branch: &str| {
            let is_plain = |char: char| char.is_ascii_alphanumeric() || "._/-".contains(char);
            !branch.contains("..") && !branch.starts_with('-') && branch.chars().all(is_plain)
        };
        assert!(
            branch.is_some_and(|branch| is_branch(branch.trim_end())),
            "{line}"
        );
    }
    assert_eq!(agent.end().0, Some(0));
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
        let message = heard(&agent);
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
