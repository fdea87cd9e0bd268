//! What an agent that means harm sends, at random, and that nothing is started by it.

use super::clouds::Clouds;
use super::{World, acting, is_refused, kind};
use crate::it::gateway;
use serde_json::{Value, json};

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
