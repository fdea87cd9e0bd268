//! Starts other programs: the only place of this crate that does.
//!
//! - In: a program and its arguments, as the configuration has them. Out: how it ended and the last of what it wrote.
//! - No shell reads anything; the program gets a small environment, nothing to read, and a process group of its own,
//!   of which nothing is left when it is done with, be it by its own end, a cancel, a time-out or a dropped future.
//! - Not here: which programs there are (`machines`, `builds`).

mod kept;

pub(crate) use kept::{Kept, Text};

use crate::problem::{Kind, Problem};
use futures::FutureExt as _;
use futures::future::{BoxFuture, FusedFuture as _};
use kept::Stream;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a program that is asked to end may take before it is made to.
const GRACE: Duration = Duration::from_secs(2);

/// How long what it wrote is waited for once it has ended: a process that left its group may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of a line; a longer one comes in pieces.
const MOST_LINE: u64 = 8_192;

/// What a program is told of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// What any program needs.
    Plain,
    /// That, and where the programs of the clouds keep their configuration.
    Cloud,
}

impl Environment {
    /// The variables that are passed on, if they are set.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let plain = ["PATH", "HOME", "USER", "LANG", "TMPDIR"];
        let cloud = ["CLOUDSDK_CONFIG", "OCI_CLI_CONFIG_FILE", "OCI_CLI_RC_FILE"];
        let more = cloud.into_iter().filter(move |_| self == Self::Cloud);
        plain.into_iter().chain(more)
    }
}

/// A program, and how it is to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    /// The program: a path, or a name that is looked for on the path.
    pub(crate) program: &'a OsStr,
    /// Its arguments.
    pub(crate) arguments: &'a [OsString],
    /// Where it runs; where the gateway does if absent.
    pub(crate) folder: Option<&'a Path>,
    /// What it is told of the environment.
    pub(crate) environment: Environment,
    /// How long it may take.
    pub(crate) time: Duration,
    /// Bytes that are kept of each of its outputs: the last ones.
    pub(crate) most_output: usize,
    /// Whether both outputs are kept as one, as a terminal shows them.
    pub(crate) is_merged: bool,
}

impl Command<'_> {
    /// What the program is called, without the folders before it.
    fn name(&self) -> String {
        let name = Path::new(self.program).file_name().unwrap_or(self.program);
        name.to_string_lossy().into_owned()
    }
}

/// How a program ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote; with its errors if those were to be merged.
    pub(crate) output: Text,
    /// Its errors, unless they were to be merged.
    pub(crate) errors: Text,
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// There is no such program.
    #[error("the program `{program}` is not there; install it, or give its path in the configuration")]
    NoProgram {
        /// What it is called.
        program: String,
    },
    /// There is no such folder.
    #[error(
        "the folder in which `{program}` is to run is not there; make it, or correct it in the configuration"
    )]
    NoFolder {
        /// What the program is called.
        program: String,
    },
    /// The system did not start it, or lost it.
    #[error("`{program}` cannot be run; see that it is a program that dkc may execute")]
    Failed {
        /// What it is called.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error(
        "`{program}` was ended after {seconds} s; give it more time in the configuration, or see what it waits for"
    )]
    TimedOut {
        /// What it is called.
        program: String,
        /// How long it had.
        seconds: u64,
        /// What it had written.
        output: Box<Output>,
    },
    /// The caller wants it no longer.
    #[error("`{program}` was ended, because the call was cancelled; call again to run it anew")]
    Cancelled {
        /// What it is called.
        program: String,
    },
}

impl From<ExecError> for Problem {
    fn from(error: ExecError) -> Self {
        match &error {
            ExecError::Failed { program, source } => {
                tracing::warn!(%program, error = %source, "a program cannot be run");
                Self::new(Kind::Unavailable, error.to_string())
            }
            ExecError::Cancelled { .. } => Self::new(Kind::Conflict, error.to_string()),
            ExecError::NoProgram { .. } | ExecError::NoFolder { .. } | ExecError::TimedOut { .. } => {
                Self::new(Kind::Unavailable, error.to_string())
            }
        }
    }
}

/// Runs a program until it ends, its time is over, or `cancel` is cancelled. Its lines go to `on_line` as they come; who
/// does not take them in time misses some.
///
/// # Errors
/// [`ExecError`] when it cannot be started, or was ended. An exit code that is not 0 is no error.
pub(crate) async fn run(
    command: Command<'_>,
    cancel: &CancellationToken,
    on_line: Option<&mpsc::Sender<String>>,
) -> Result<Output, ExecError> {
    let program = command.name();
    if cancel.is_cancelled() {
        return Err(ExecError::Cancelled { program });
    }
    if let Some(folder) = command.folder
        && !tokio::fs::metadata(folder)
            .await
            .is_ok_and(|found| found.is_dir())
    {
        return Err(ExecError::NoFolder { program });
    }
    let mut running = Running::start(&command, &program)?;
    let (output, errors) = (Kept::new(command.most_output), Kept::new(command.most_output));
    let (output, errors) = (Mutex::new(output), Mutex::new(errors));
    let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
    let errors_go_to = if command.is_merged { &output } else { &errors };
    let left = running.left().shared();
    let end = {
        let both = async {
            tokio::join!(
                read(stdout, (&output, Stream::Output), on_line),
                read(stderr, (errors_go_to, Stream::Errors), on_line)
            )
        };
        let mut reading = pin!(both.fuse());
        let end = tokio::select! {
            () = left.clone() => End::Left,
            () = cancel.cancelled() => End::Cancelled,
            () = tokio::time::sleep(command.time) => End::TimedOut,
            // It may write no more and still work.
            () = async { reading.as_mut().await; left.clone().await } => End::Left,
        };
        if end == End::Left && !reading.is_terminated() {
            // Children that it did not wait for may still write.
            let _ = tokio::time::timeout(LAST_WORDS, reading.as_mut()).await;
        }
        if end != End::Left {
            running.signal(Signal::TERM);
            let asked = async {
                left.await;
                if !reading.is_terminated() {
                    reading.as_mut().await;
                }
            };
            let _ = tokio::time::timeout(GRACE, asked).await;
        }
        running.signal(Signal::KILL);
        if !reading.is_terminated() {
            let _ = tokio::time::timeout(LAST_WORDS, reading.as_mut()).await;
        }
        end
    };
    let status = running.reap().await;
    let status = status.map_err(|source| ExecError::Failed {
        program: program.clone(),
        source,
    })?;
    let output = Output {
        code: status.code(),
        output: text(output),
        errors: text(errors),
    };
    match end {
        End::Left => Ok(output),
        End::Cancelled => Err(ExecError::Cancelled { program }),
        End::TimedOut => Err(ExecError::TimedOut {
            program,
            seconds: command.time.as_secs(),
            output: Box::new(output),
        }),
    }
}

/// Why a program is no longer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ended.
    Left,
    /// Nobody wants it any more.
    Cancelled,
    /// Its time is over.
    TimedOut,
}

/// A program at work; dropped, its whole process group ends.
struct Running {
    child: Child,
    /// Its group, as long as the system cannot have given the number to another: until the first process is reaped.
    group: Option<Pid>,
}

impl Running {
    fn start(command: &Command<'_>, program: &str) -> Result<Self, ExecError> {
        let mut process = tokio::process::Command::new(command.program);
        let passed = command.environment.names();
        process
            .args(command.arguments)
            .env_clear()
            .envs(passed.filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        if let Some(folder) = command.folder {
            process.current_dir(folder);
        }
        let child = process.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ExecError::NoProgram {
                program: program.to_owned(),
            },
            _ => ExecError::Failed {
                program: program.to_owned(),
                source,
            },
        })?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Waits for the first process to end, and leaves it to be reaped: until then its group's number is its own.
    fn left(&self) -> BoxFuture<'static, ()> {
        let first = self.group;
        let waiting = tokio::task::spawn_blocking(move || {
            let Some(first) = first else { return };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(first), options), Err(Errno::INTR)) {}
        });
        waiting.map(|_| ()).boxed()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // That nobody is left is as well.
            let _ = kill_process_group(group, signal);
        }
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn text(kept: Mutex<Kept>) -> Text {
    kept.into_inner().unwrap_or_else(PoisonError::into_inner).text()
}

/// Reads a stream to its end, line by line.
async fn read(
    stream: Option<impl AsyncRead + Unpin>,
    (kept, of): (&Mutex<Kept>, Stream),
    on_line: Option<&mpsc::Sender<String>>,
) {
    let Some(stream) = stream else { return };
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut stream).take(MOST_LINE).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_of(of, &line);
        if let Some(on_line) = on_line {
            let line = String::from_utf8_lossy(&line);
            let _ = on_line.try_send(line.trim_end_matches(['\r', '\n']).to_owned());
        }
    }
}

/// Programs for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    /// A script as a program.
    pub(crate) fn program(folder: &Path, name: &str, body: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tokio::net::unix::pipe;

    fn command<'a>(program: &'a OsStr, arguments: &'a [OsString]) -> Command<'a> {
        Command {
            program,
            arguments,
            folder: None,
            environment: Environment::Plain,
            time: Duration::from_secs(60),
            most_output: 10_000,
            is_merged: false,
        }
    }

    async fn ran(program: &str, arguments: &[&str]) -> Result<Output, ExecError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        run(
            command(program.as_ref(), &arguments),
            &CancellationToken::new(),
            None,
        )
        .await
    }

    #[tokio::test]
    async fn what_a_program_writes_is_told_with_its_code() {
        let output = ran("printf", &["%s|", "a b", "$HOME", "; true"]).await.unwrap();
        assert_eq!(output.code, Some(0));
        assert_eq!(output.output.text, "a b|$HOME|; true|");
        assert_eq!(output.errors, Text::default());
        let output = ran("cat", &["/no/such/file"]).await.unwrap();
        assert_eq!(output.code, Some(1));
        assert!(output.errors.text.contains("/no/such/file"));
    }

    #[tokio::test]
    async fn nothing_can_be_read_and_little_of_the_environment_is_seen() {
        assert_eq!(ran("cat", &[]).await.unwrap().output.text, "");
        assert!(std::env::vars_os().count() > Environment::Plain.names().count());
        let output = ran("env", &[]).await.unwrap();
        let names = output.output.text.lines().filter_map(|line| line.split_once('='));
        let foreign: Vec<&str> = names
            .map(|(name, _)| name)
            .filter(|name| !Environment::Plain.names().any(|known| known == *name))
            .collect();
        assert_eq!(foreign, Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_program_or_a_folder_that_is_not_there_is_named_without_its_path() {
        let error = ran("/nowhere/at/all/program", &[]).await.unwrap_err();
        assert!(matches!(error, ExecError::NoProgram { .. }));
        let problem = Problem::from(error);
        assert_eq!(problem.kind, Kind::Unavailable);
        assert!(problem.detail.contains("`program`") && !problem.detail.contains("nowhere"));
        let command = Command {
            folder: Some(Path::new("/nowhere/at/all")),
            ..command("true".as_ref(), &[])
        };
        let error = run(command, &CancellationToken::new(), None).await.unwrap_err();
        assert!(matches!(error, ExecError::NoFolder { .. }));
        assert!(!error.to_string().contains("nowhere"));
    }

    #[tokio::test]
    async fn of_much_output_the_last_is_kept_and_all_of_it_is_counted() {
        let arguments = ["1", "20000"].map(OsString::from);
        let command = Command {
            most_output: 12,
            ..command("seq".as_ref(), &arguments)
        };
        let output = run(command, &CancellationToken::new(), None)
            .await
            .unwrap()
            .output;
        assert_eq!(output.text, "19999\n20000\n");
        assert_eq!(output.lines, 20_000);
        assert_eq!(output.dropped_bytes, 108_894 - 12);
    }

    #[tokio::test]
    async fn lines_come_as_they_are_written_and_both_outputs_may_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let program = fake::program(folder.path(), "both", "echo one; echo two >&2; printf three");
        let (sender, mut lines) = mpsc::channel(10);
        let command = Command {
            is_merged: true,
            ..command(program.as_os_str(), &[])
        };
        let output = run(command, &CancellationToken::new(), Some(&sender))
            .await
            .unwrap();
        drop(sender);
        let mut heard = Vec::new();
        while let Some(line) = lines.recv().await {
            heard.push(line);
        }
        heard.sort();
        assert_eq!(heard, ["one", "three", "two"]);
        // Which of the outputs is read first is not said.
        let mut lines: Vec<&str> = output.output.text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "three", "two"]);
        assert_eq!(output.output.lines, 3);
        assert_eq!(output.errors, Text::default());
    }

    /// A program whose child would live for long, and a pipe that is closed when the last of both has ended.
    fn family(folder: &Path, body: &str) -> (PathBuf, pipe::Receiver) {
        let held = folder.join("held");
        rustix::fs::mkfifoat(rustix::fs::CWD, &held, rustix::fs::Mode::RWXU).unwrap();
        let receiver = pipe::OpenOptions::new().open_receiver(&held).unwrap();
        let body = format!(
            "exec 9>'{}'\necho held >&9\nsleep 1000 &\necho ready\n{body}",
            held.display()
        );
        (fake::program(folder, "family", &body), receiver)
    }

    async fn assert_all_ended(mut receiver: pipe::Receiver) {
        let mut text = String::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), receiver.read_to_string(&mut text));
        ended.await.unwrap().unwrap();
        assert_eq!(text, "held\n");
    }

    #[tokio::test]
    async fn a_timeout_ends_children_too_and_tells_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (program, receiver) = family(folder.path(), "trap '' TERM; wait; wait");
        let command = Command {
            time: Duration::from_secs(2),
            ..command(program.as_os_str(), &[])
        };
        let error = run(command, &CancellationToken::new(), None).await.unwrap_err();
        let ExecError::TimedOut { output, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(output.output.text, "ready\n");
        assert_all_ended(receiver).await;
    }

    #[tokio::test]
    async fn a_cancel_ends_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let (program, receiver) = family(folder.path(), "wait");
        let cancel = CancellationToken::new();
        let (sender, mut lines) = mpsc::channel(10);
        let running = run(command(program.as_os_str(), &[]), &cancel, Some(&sender));
        let cancelling = async {
            assert_eq!(lines.recv().await.unwrap(), "ready");
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(running, cancelling);
        assert!(matches!(ended.unwrap_err(), ExecError::Cancelled { .. }));
        assert_all_ended(receiver).await;
    }

    #[tokio::test]
    async fn a_future_that_is_dropped_ends_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let (program, receiver) = family(folder.path(), "wait");
        let (sender, mut lines) = mpsc::channel(10);
        let cancel = CancellationToken::new();
        tokio::select! {
            _ = run(command(program.as_os_str(), &[]), &cancel, Some(&sender)) => panic!("it ended"),
            line = lines.recv() => assert_eq!(line.unwrap(), "ready"),
        }
        assert_all_ended(receiver).await;
    }

    #[tokio::test]
    async fn children_that_nobody_waited_for_end_with_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let (program, receiver) = family(folder.path(), "exit 3");
        let cancel = CancellationToken::new();
        let output = run(command(program.as_os_str(), &[]), &cancel, None).await;
        assert_eq!(output.unwrap().code, Some(3));
        assert_all_ended(receiver).await;
    }
}
