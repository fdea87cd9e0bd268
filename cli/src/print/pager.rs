//! What is longer than the screen goes through a pager, what is not is just shown.
//!
//! - In: bytes that a terminal may have. Out: the same, on standard output or in `$PAGER`. Dropping it waits until the
//!   reader has seen enough.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

/// What is used where `PAGER` says nothing.
const USUAL: &str = "less";

/// How it behaves unless `LESS` says otherwise: lines are cut and can be moved sideways, the screen stays as it was.
const USUAL_OPTIONS: &str = "SX";

pub struct Pager {
    /// Lines of the screen.
    height: usize,
    /// What has been written and may still fit the screen.
    held: Vec<u8>,
    lines: usize,
    program: Option<Child>,
    /// There is no pager.
    is_absent: bool,
}

impl Pager {
    pub fn new(height: usize) -> Self {
        Self {
            height,
            held: Vec::new(),
            lines: 0,
            program: None,
            is_absent: std::env::var("PAGER").is_ok_and(|pager| ["", "cat"].contains(&pager.as_str())),
        }
    }

    /// Writes what was held, to the pager if it does not fit the screen.
    fn let_go(&mut self) -> io::Result<()> {
        if self.lines >= self.height && !self.is_absent {
            self.program = start().ok();
            self.is_absent = self.program.is_none();
        }
        let held = std::mem::take(&mut self.held);
        self.pass_on(&held)
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.program.as_mut().and_then(|program| program.stdin.as_mut()) {
            Some(input) => input.write_all(bytes),
            None => io::stdout().write_all(bytes),
        }
    }
}

/// As other programs start it: `PAGER` is a command with its options.
#[expect(
    clippy::disallowed_methods,
    reason = "the user has chosen this program to read with"
)]
fn start() -> io::Result<Child> {
    let mut command = match std::env::var_os("PAGER") {
        Some(pager) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(pager);
            shell
        }
        None => Command::new(USUAL),
    };
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", USUAL_OPTIONS);
    }
    command.stdin(Stdio::piped()).spawn()
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.program.is_some() || self.is_absent {
            return self.pass_on(bytes).map(|()| bytes.len());
        }
        self.held.extend_from_slice(bytes);
        self.lines += bytes.iter().filter(|&&byte| byte == b'\n').count();
        if self.lines >= self.height {
            self.let_go()?;
        }
        Ok(bytes.len())
    }

    /// Whether all fits the screen is known at the end only.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // Nobody is left to be told that standard output is closed.
        if self.program.is_none() {
            let _ = self.let_go();
        }
        let _ = io::stdout().flush();
        if let Some(mut program) = self.program.take() {
            drop(program.stdin.take());
            let _ = program.wait();
        }
    }
}
