//! A server in a process of its own, with a certificate that nobody vouches for, and what it says it was told.

use super::Stage;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

/// A server, and what it says.
pub(super) struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The file of its certificate, for `localhost`.
    pub certificate: PathBuf,
}

impl Peer {
    /// Starts a script of `fixtures/oracle` with these arguments, a certificate and a key.
    pub fn new(stage: &Stage, script: &str, arguments: &[&str]) -> Self {
        let (certificate, key) = (
            stage.folder.path().join("server.pem"),
            stage.folder.path().join("key.pem"),
        );
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut child = fixtures::corpus::oracle(script)
            .args(arguments)
            .arg("--certificate")
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self {
            child,
            lines,
            port: 0,
            certificate,
        };
        let begun = peer.next().expect("the server begins");
        peer.port = u16::try_from(begun["port"].as_u64().unwrap()).unwrap();
        peer
    }

    /// What it says next; nothing if it says no more.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).ok()
    }

    /// All that it says until it ends.
    pub fn rest(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        std::iter::from_fn(|| self.next()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
