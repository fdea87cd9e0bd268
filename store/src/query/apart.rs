//! Asking the process that runs a query, and ending it.
//!
//! - In: queries. Out: streams of batches. A process answers one query and is then killed: at its end, when nobody
//!   wants the rest, and when it takes too long (F3).
//! - Whatever becomes of the process, here it is an error of that query and nothing else (F1, F2).

use super::worker::Line;
use super::{Limits, Query, QueryError};
use crate::database::Place;
use crate::search::Models;
use arrow::ipc::reader::StreamReader;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use secrecy::ExposeSecret;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Variables of the environment that a process gets: how to tell local time. It needs no other, and no secret is in
/// reach of a query.
const PASSED_ON: &[&str] = &["TZ", "TZDIR"];

/// Longest text that is sent at all; `guard` refuses texts that are much shorter.
const SENT_BYTES: usize = 1 << 20;

/// How often, and after how long, a process that has closed its output is looked after before it is killed.
const LAST_BREATH: (u32, Duration) = (100, Duration::from_millis(10));

/// Runs readers' queries, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    program: PathBuf,
    place: Place,
    limits: Limits,
    models: Models,
    keeps_ready: bool,
    ready: Mutex<Option<Worker>>,
}

impl Workers {
    /// Who answers queries over the store at `place`, within `limits`. The first process is started at once, and
    /// is ready when the first query comes; with `keeps_ready` there is always one.
    ///
    /// `program` is `dkc`: it is started as `dkc --data DATA query-worker`, and calls `worker::serve`.
    pub fn start(
        program: &Path,
        place: impl Into<Place>,
        limits: Limits,
        models: Models,
        keeps_ready: bool,
    ) -> Self {
        let workers = Self(Arc::new(Desk {
            program: program.to_owned(),
            place: place.into(),
            limits,
            models,
            keeps_ready,
            ready: Mutex::new(None),
        }));
        workers.0.make_ready();
        workers
    }

    /// Runs one statement that somebody wrote.
    ///
    /// # Errors
    /// [`QueryError`] when it is not one read-only statement, is refused by the planner, or does not answer in time.
    /// Errors while rows are made come through the stream; a stream that ends without one is whole.
    pub async fn run_user_sql(&self, query: &Query) -> Result<SendableRecordBatchStream, QueryError> {
        let request =
            serde_json::to_string(query).map_err(|error| QueryError::NoWorker(error.to_string()))?;
        if request.len() > SENT_BYTES {
            return Err(QueryError::TooLarge {
                what: format!("{} bytes", request.len()),
                most: SENT_BYTES,
            });
        }
        let mut worker = self.0.take()?;
        let (sender, said) = mpsc::channel(1);
        let (Some(input), Some(output)) = (worker.child.stdin.take(), worker.child.stdout.take()) else {
            return Err(QueryError::NoWorker("it has no input or output".to_owned()));
        };
        tokio::task::spawn_blocking(move || listen(&request, input, output, &sender));
        let mut answer = Answer {
            worker,
            said,
            left: self.0.limits.time,
            desk: Arc::clone(&self.0),
        };
        let schema = match answer.next().await {
            Some(Said::Columns(schema)) => schema,
            Some(Said::Failed(error)) => return Err(error),
            _ => return Err(QueryError::NoWorker("it said nothing of columns".to_owned())),
        };
        let rows = futures::stream::unfold(Some(answer), async |answer| {
            let mut answer = answer?;
            match answer.next().await? {
                Said::Rows(batch) => Some((Ok(batch), Some(answer))),
                Said::Failed(error) => Some((Err(error.within()), None)),
                Said::Columns(_) | Said::Done => None,
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

impl Desk {
    /// A process that waits for its query.
    fn take(&self) -> Result<Worker, QueryError> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut worker) = ready
            // It may have been killed while it waited.
            && matches!(worker.child.try_wait(), Ok(None))
        {
            return Ok(worker);
        }
        self.spawn()
    }

    fn make_ready(&self) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_none() {
            // Where it fails, the next query tries again and says why.
            *ready = self.spawn().ok();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a query runs in a process of its own")]
    fn spawn(&self) -> Result<Worker, QueryError> {
        let failed = |error: io::Error| QueryError::NoWorker(error.to_string());
        let spill = tempfile::Builder::new()
            .prefix("dkc-query-")
            .tempdir()
            .map_err(failed)?;
        let limits = serde_json::to_string(&self.limits).map_err(|error| failed(error.into()))?;
        let models = serde_json::to_string(&self.models).map_err(|error| failed(error.into()))?;
        let passed_on = PASSED_ON
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let postgres = self.place.postgres.as_ref().map(|url| url.expose_secret());
        let postgres = serde_json::to_string(&postgres).map_err(|error| failed(error.into()))?;
        let mut child = Command::new(&self.program)
            .arg("--data")
            .arg(&self.place.data)
            .arg("query-worker")
            .arg(spill.path())
            .arg(limits)
            .arg(models)
            .env_clear()
            .envs(passed_on)
            .env("_RJEM_MALLOC_CONF", ALLOCATOR)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for whoever asked, who then decides.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        // What every user of the machine may read of a process are its arguments. One that is gone already is noticed when
        // it is asked.
        if let Some(input) = &mut child.stdin {
            let _ = writeln!(input, "{postgres}");
        }
        Ok(Worker { child, spill })
    }
}

/// How jemalloc keeps memory for one query: what is free is used again rather than given back, and comes in huge pages. A
/// process that lives for a query would spend much of its time on faults of small ones.
const ALLOCATOR: &str =
    "thp:always,metadata_thp:always,narenas:2,dirty_decay_ms:-1,muzzy_decay_ms:-1,background_thread:false";

/// A process, and the folder for what does not fit into its memory. Both go with this.
#[derive(Debug)]
struct Worker {
    child: Child,
    #[expect(dead_code, reason = "it is held until it is deleted")]
    spill: TempDir,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process says, part by part.
enum Said {
    Columns(SchemaRef),
    Rows(RecordBatch),
    Done,
    Failed(QueryError),
}

/// Sends a request to a process and passes on what it says, until its last line or its end.
fn listen(request: &str, mut input: ChildStdin, output: ChildStdout, say: &mpsc::Sender<Said>) {
    // A process that is gone has no reader either; that it is gone is seen below.
    let _ = writeln!(input, "{request}");
    let mut output = BufReader::new(output);
    // Without the last line the channel just ends: the process died, and whoever waits finds out how.
    let _ = pass_on(&mut output, say);
}

fn pass_on(output: &mut BufReader<ChildStdout>, say: &mpsc::Sender<Said>) -> Option<()> {
    match line(output)? {
        Line::Rows => {}
        Line::Done => return say.blocking_send(Said::Done).ok(),
        Line::Failed(error) => return say.blocking_send(Said::Failed(error)).ok(),
    }
    let mut rows = StreamReader::try_new(output, None).ok()?;
    say.blocking_send(Said::Columns(rows.schema())).ok()?;
    for batch in rows.by_ref() {
        say.blocking_send(Said::Rows(batch.ok()?)).ok()?;
    }
    match line(rows.get_mut())? {
        Line::Failed(error) => say.blocking_send(Said::Failed(error)).ok(),
        Line::Rows | Line::Done => say.blocking_send(Said::Done).ok(),
    }
}

fn line(output: &mut impl BufRead) -> Option<Line> {
    let mut text = String::new();
    output.read_line(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// An answer on its way. Dropping it kills the process.
struct Answer {
    worker: Worker,
    said: mpsc::Receiver<Said>,
    /// How long the rest may be waited for.
    left: Duration,
    desk: Arc<Desk>,
}

impl Answer {
    /// What is said next, or why nothing is.
    async fn next(&mut self) -> Option<Said> {
        let began = Instant::now();
        let said = timeout(self.left, self.said.recv()).await;
        self.left = self.left.saturating_sub(began.elapsed());
        Some(match said {
            Ok(Some(said)) => said,
            Ok(None) => Said::Failed(self.cause().await),
            Err(_) => Said::Failed(QueryError::TooSlow(self.desk.limits.time)),
        })
    }

    /// Why the process ended before its last line.
    async fn cause(&mut self) -> QueryError {
        let child = &mut self.worker.child;
        for _ in 0..LAST_BREATH.0 {
            match child.try_wait() {
                Ok(Some(status)) => {
                    let mut words = Vec::new();
                    if let Some(errors) = child.stderr.take() {
                        let _ = errors.take(1 << 12).read_to_end(&mut words);
                    }
                    return QueryError::died(status, &String::from_utf8_lossy(&words), &self.desk.limits);
                }
                Ok(None) => tokio::time::sleep(LAST_BREATH.1).await,
                Err(_) => break,
            }
        }
        QueryError::WorkerDied {
            how: "it closed its output".to_owned(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.worker.child.kill();
        if self.desk.keeps_ready {
            self.desk.make_ready();
        }
    }
}
