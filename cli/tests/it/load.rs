//! Many agents at once: over HTTP, and as processes of their own.
//!
//! - Nobody may be refused who keeps to their limits, all must be answered rightly, and memory must stay within bounds.
//! - `DKC_LOAD_CALLS`, `DKC_LOAD_AT_ONCE`, `DKC_LOAD_AGENTS` and `DKC_LOAD_SECONDS` ask for more of it.

use crate::it::gateway::{self, MANY_ROWS, Served};
use crate::it::lab::setting;
use crate::it::mcp::{Agent, message, request};
use futures::StreamExt as _;
use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// The most memory that a server may ever have had, in MiB. A debug build: its code alone takes more than a hundred.
const SERVER_MIB: u64 = 512;

/// The same of `dkc mcp`.
const AGENT_MIB: u64 = 400;

/// Calls of each agent that is a process.
const CALLS_EACH: usize = 6;

/// Clients of all kinds at once.
const CLIENTS: usize = 200;

/// How often a client that is slow reads a piece.
const PACE: Duration = Duration::from_millis(100);

/// How long whoever asks whether it lives waits at most.
const PROBE: Duration = Duration::from_secs(5);

/// What is answered at once.
const SMALL: [&str; 3] = [
    "/api/v1/datasets",
    "/api/v1/datasets/emails/rows?columns=subject&limit=5",
    "/api/v1/search?q=sesame7&mode=words&limit=1",
];

/// What keeps a core busy and has one row.
const HEAVY: &str = "SELECT count(*) AS n FROM emails a, emails b, emails c, emails d \
                     WHERE a.size_bytes + b.size_bytes < c.size_bytes + d.size_bytes";

/// What a client is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Asks what is small, as often as it can.
    Small,
    /// The same, with a token that may not.
    Limited,
    /// Asks what takes long.
    Heavy,
    /// Takes its time to read what is long.
    Slow,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number {
            0 => Self::Heavy,
            1..=10 => Self::Slow,
            _ if number.is_multiple_of(4) => Self::Limited,
            _ => Self::Small,
        }
    }
}

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

/// Asks as a client of a kind does, until then; how often each status came.
async fn statuses(served: &Served, kind: Kind, token: &str, until: Instant) -> BTreeMap<u16, usize> {
    let sql = |query: &str| {
        let request = served
            .client
            .post(format!("{}/api/v1/sql?format=ndjson", served.url));
        request.bearer_auth(token).json(&json!({ "query": query }))
    };
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for small in SMALL.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let request = match kind {
            Kind::Small | Kind::Limited => served.get(token, small),
            Kind::Heavy => sql(HEAVY),
            Kind::Slow => sql(MANY_ROWS),
        };
        let mut response = request.send().await.unwrap();
        let status = response.status().as_u16();
        assert!(
            status != 429 || response.headers().contains_key(RETRY_AFTER),
            "{kind:?}"
        );
        *statuses.entry(status).or_default() += 1;
        if kind != Kind::Slow {
            response.bytes().await.unwrap();
            continue;
        }
        let mut pace = tokio::time::interval(PACE);
        // Who is too slow is left by the server, too.
        while Instant::now() < until && matches!(response.chunk().await, Ok(Some(_))) {
            pace.tick().await;
        }
    }
    statuses
}

#[tokio::test]
async fn two_hundred_clients_of_all_kinds_are_answered_or_told_to_come_back() {
    let lab = gateway::lab();
    let (served, dev) = Served::start(&lab);
    let token = |name, more: &[&str]| gateway::token(&lab, name, more);
    let tokens = BTreeMap::from([
        (Kind::Small, dev),
        (
            Kind::Limited,
            token("limited", &["--role", "automated", "--rate", "20"]),
        ),
        (Kind::Heavy, token("heavy", &["--role", "user"])),
        (Kind::Slow, token("slow", &["--role", "user"])),
    ]);
    let kinds: Vec<Kind> = (0..CLIENTS).map(Kind::of).collect();
    let seconds = setting("DKC_LOAD_SECONDS", 3) as u64;
    let until = Instant::now() + Duration::from_secs(seconds);
    let clients = kinds
        .iter()
        .map(|kind| statuses(&served, *kind, &tokens[kind], until));
    let alive = async {
        let probe = Client::builder().timeout(PROBE).build().unwrap();
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let began = Instant::now();
            let answer = probe.get(format!("{}/healthz", served.url)).send().await;
            assert_eq!(answer.unwrap().status(), 200);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(futures::future::join_all(clients), alive);
    let mut told: BTreeMap<Kind, BTreeMap<u16, usize>> = BTreeMap::new();
    for (kind, statuses) in kinds.iter().zip(answers) {
        for (status, times) in statuses {
            *told.entry(*kind).or_default().entry(status).or_default() += times;
        }
    }
    let memory = most_memory(served.process());
    eprintln!(
        "{CLIENTS} clients for {seconds} s: {told:?}, /healthz within {slowest:.1?}, at most {memory} MiB"
    );
    let of = |kind: Kind| told[&kind].keys().copied().collect::<Vec<u16>>();
    assert_eq!(of(Kind::Small), [200], "{told:?}");
    assert_eq!(of(Kind::Limited), [200, 429], "{told:?}");
    for kind in [Kind::Heavy, Kind::Slow] {
        assert!(matches!(of(kind).as_slice(), [200] | [200, 429]), "{told:?}");
    }
    assert!(memory < SERVER_MIB, "{memory} MiB");
    assert_eq!(served.stop(), Some(0));
    lab.output(&["audit", "verify"]);
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
