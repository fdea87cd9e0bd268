//! Who approves what an agent would do: its owner in a terminal, a person whom its program asks, or nobody; and what is done
//! without that.

use super::{
    World, acting, acting_else, applying, assert_done, assert_outdated, assert_refused, assert_waits, heard,
    kind, plan, posted,
};
use crate::it::gateway::{self, Served};
use crate::it::mcp::{self, Agent};
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
