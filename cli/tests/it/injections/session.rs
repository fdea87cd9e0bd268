//! `dkc mcp` with an environment of its own; all that it says is kept.
//!
//! - Not here: an agent in the plain environment of a lab (`crate::it::mcp::Agent`).

use crate::it::lab::Lab;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer, and dkc hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session; ended when this is dropped.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    err: Option<JoinHandle<String>>,
    asked: u64,
    heard: Vec<String>,
}

impl Session {
    /// Begins one, with the handshake.
    pub fn begin(lab: &Lab, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut child = lab
            .command::<&str>(&[], arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut err = child.stderr.take().unwrap();
        let err = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let mut session = Self {
            input: child.stdin.take(),
            child,
            lines,
            err: Some(err),
            asked: 0,
            heard: Vec::new(),
        };
        let about = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1.0.0" },
        });
        session.ask("initialize", &about);
        session.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session
    }

    fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
        input.flush().unwrap();
    }

    /// The message that answers a request.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let message: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.heard.push(line);
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The result of a call of a tool, or the error that it is.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        answer.get("result").unwrap_or(&answer["error"]).clone()
    }

    /// Its input ends, and so does it; all that it said to the agent, and to its owner.
    pub fn end(mut self) -> (Vec<String>, String) {
        drop(self.input.take());
        let err = self.err.take().unwrap().join().unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{err}");
        (std::mem::take(&mut self.heard), err)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
