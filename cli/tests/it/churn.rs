//! A mailbox that is changed while it is collected: at each checkpoint the lake knows every message, its place,
//! flags, arrival and bytes as the server does, and none that is gone (proof T13).
//!
//! A Dovecot, a Python that appends, flags, expunges, moves and copies, and dkc polling all the while. A few
//! seconds by default; `make churn` takes ten minutes.

use crate::it::lab::{Lab, setting};
use fixtures::dovecot::Dovecot;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::{self, TryRecvError};

#[test]
fn a_mailbox_in_motion_is_known_as_it_is_at_each_checkpoint() {
    let dovecot = Dovecot::start();
    let lab = Lab::new(&format!(
        "[[pipeline]]\nname = \"mail\"\nsource = {{ kind = \"imap\", host = \"127.0.0.1\", port = {}, user = \"me\", \
         password = \"file:password\", tls = \"none\" }}\n",
        dovecot.port_plain()
    ));
    lab.write("password", dovecot.password());
    let seconds = setting("DKC_CHURN_SECS", 2);
    let checkpoints = setting("DKC_CHECKPOINTS", 3);
    let seed = setting("DKC_SEED", 20_261_122).to_string();
    let mut churn = fixtures::corpus::oracle("churn.py")
        .args([&dovecot.port_plain().to_string(), &seed])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = churn.stdin.take().unwrap();
    let (sender, states) = mpsc::channel();
    let said = BufReader::new(churn.stdout.take().unwrap());
    std::thread::spawn(move || {
        said.lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let mut polls = 0;
    for checkpoint in 0..checkpoints {
        writeln!(orders, "{seconds}").unwrap();
        let state = loop {
            let run = lab.run();
            let rejects = lab.sql("SELECT item, reason FROM rejects");
            assert!(rejects.is_empty(), "{rejects:#?} {run:#}");
            polls += 1;
            match states.try_recv() {
                Ok(state) => break state,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("{:?}", churn.wait()),
            }
        };
        let state: Value = serde_json::from_str(&state).unwrap();
        // It may have changed after that run had looked.
        lab.run();
        let expected = state["messages"].as_object().unwrap();
        let found = lab.sql(
            "SELECT location, flags, CAST(received_at AS BIGINT) AS received_at, sha256
             FROM locations l JOIN raw r ON r._item = l._item AND r._source = l._source ORDER BY location",
        );
        let places: Vec<&str> = found
            .iter()
            .map(|row| row["location"].as_str().unwrap())
            .collect();
        let mut there: Vec<&str> = expected.keys().map(String::as_str).collect();
        there.sort_unstable();
        assert_eq!(places, there, "checkpoint {checkpoint}");
        for row in &found {
            let place = row["location"].as_str().unwrap();
            let seen =
                json!({ "flags": row["flags"], "received_at": row["received_at"], "sha256": row["sha256"] });
            assert_eq!(seen, expected[place], "checkpoint {checkpoint}: {place}");
        }
        // No mail without a place, and no place without its mail.
        let items = "SELECT count(DISTINCT _item) FROM locations";
        assert_eq!(
            lab.number("SELECT count(*) FROM emails"),
            lab.number(items),
            "checkpoint {checkpoint}"
        );
        eprintln!(
            "checkpoint {checkpoint}: {} messages, {polls} polls, {}",
            places.len(),
            state["done"]
        );
    }
    drop(orders);
    assert!(churn.wait().unwrap().success());
    lab.is_whole();
}
