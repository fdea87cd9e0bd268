//! Many agents at once: over HTTP, and as processes of their own.
//!
//! - Nobody may be refused, all must be answered rightly, and memory must stay within bounds.
//! - `DKC_LOAD_CALLS`, `DKC_LOAD_AT_ONCE` and `DKC_LOAD_AGENTS` ask for more of it.

use crate::it::gateway::{self, Served};
use crate::it::lab::setting;
use crate::it::mcp::{Agent, message, request};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::fs;
use std::time::Instant;

/// The most memory that a server may ever have had, in MiB. A debug build: its code alone takes more than a hundred.
const SERVER_MIB: u64 = 512;

/// The same of `dkc mcp`.
const AGENT_MIB: u64 = 400;

/// Calls of each agent that is a process.
const CALLS_EACH: usize = 6;

/// The most memory that a process has had so far, in MiB (proc(5)).
fn most_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kib / 1024
}

/// What is asked, and a word that must be in the answer.
fn question(number: usize) -> (Value, String) {
    let mail = number % 40;
    match number % 3 {
        0 => (
            json!({ "name": "list_datasets", "arguments": {} }),
            "emails".to_owned(),
        ),
        1 => (
            json!({ "name": "describe_dataset", "arguments": { "dataset": "emails" } }),
            "message_id".to_owned(),
        ),
        _ => (
            json!({ "name": "search", "arguments": { "q": format!("sesame{mail}"), "mode": "words", "limit": 1 } }),
            format!("Letter {mail}"),
        ),
    }
}

/// Asserts that an answer is the right one.
fn is_right(answer: &Value, wanted: &str) {
    let is_well = answer["error"].is_null() && answer["result"]["isError"] != true;
    assert!(
        is_well && answer.to_string().contains(wanted),
        "{wanted}: {answer}"
    );
}

#[tokio::test]
async fn a_thousand_calls_of_two_hundred_at_once_are_all_answered() {
    let lab = gateway::lab();
    let (served, token) = Served::start(&lab);
    let calls = setting("DKC_LOAD_CALLS", 1_000);
    let at_once = setting("DKC_LOAD_AT_ONCE", 200);
    let began = Instant::now();
    let asked = futures::stream::iter(0..calls).map(|number| {
        let (call, wanted) = question(number);
        let request = request(&served, &token, "tools/call", call);
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), 200, "{number}");
            is_right(&message(response).await, &wanted);
        }
    });
    let answered = asked.buffer_unordered(at_once).count().await;
    let took = began.elapsed();
    assert_eq!(answered, calls);
    let memory = most_memory(served.process());
    eprintln!("{calls} calls, {at_once} at once: {took:.1?}, at most {memory} MiB");
    assert!(memory < SERVER_MIB, "{memory} MiB");
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn twenty_agents_that_are_processes_do_not_disturb_each_other() {
    let lab = gateway::lab();
    let agents = setting("DKC_LOAD_AGENTS", 20);
    let one = |number: usize| {
        let mut agent = Agent::start(&lab, &[]);
        agent.initialize("2025-11-25");
        for call in 0..CALLS_EACH {
            let (question, wanted) = question(number * CALLS_EACH + call);
            is_right(&agent.ask("tools/call", &question), &wanted);
        }
        let memory = most_memory(agent.process());
        let (code, err) = agent.end();
        assert_eq!((code, err.as_str()), (Some(0), ""), "agent {number}");
        memory
    };
    let began = Instant::now();
    let memory: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..agents)
            .map(|number| {
                let one = &one;
                scope.spawn(move || one(number))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let most = memory.iter().max().unwrap();
    let took = began.elapsed();
    eprintln!("{agents} agents: {took:.1?}, each at most {most} MiB");
    assert!(*most < AGENT_MIB, "{most} MiB");
    // Nothing that they did is lost from the audit, or in two minds about its order.
    lab.output(&["audit", "verify"]);
    lab.is_whole();
}
