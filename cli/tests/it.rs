//! The binary as its users meet it.

// Tests may panic, and so may what serves them.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "for tests"
)]

mod it {
    mod acting;
    mod add;
    mod asked;
    mod away;
    mod bad_input;
    mod bombs;
    mod callers;
    mod churn;
    mod config;
    mod contracts;
    mod crash;
    mod cursor;
    mod disk;
    mod documents;
    mod encryption;
    mod export;
    mod faults;
    mod gateway;
    mod git;
    mod help;
    mod hostile_server;
    mod hostile_sql;
    mod injections;
    mod interrupted;
    mod journey;
    mod lab;
    mod legal_sql;
    mod load;
    mod mcp;
    mod mcp_peers;
    mod meaning;
    mod open_formats;
    mod oracle;
    mod originals;
    mod photos;
    mod power;
    mod public;
    mod roots;
    mod search;
    mod serve_openapi;
    mod service;
    mod shell;
    mod sources;
    mod token;
    mod workers;
    mod writers;
}

use assert_cmd::Command;
use std::path::Path;

/// `dkc` in `folder`, with no configuration or data from outside it.
fn dkc(folder: &Path) -> Command {
    let mut dkc = Command::new(assert_cmd::cargo::cargo_bin!("dkc"));
    dkc.current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("COLUMNS", "100");
    dkc
}

/// What `dkc` with these arguments says: its exit code, standard output and standard error.
fn said(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = dkc(folder).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}
