//! Asking the process that runs a query, and ending it.
//!
//! - In: queries. Out: streams of batches. A process that has answered a query to its end may be asked the next; one whose
//!   query failed, took too long (F3) or was not wanted any more is killed.
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Variables of the environment that a process gets: how to tell local time. It needs no other, and no secret is in
/// reach of a query.
const PASSED_ON: &[&str] = &["TZ", "TZDIR"];

/// Longest text that is sent at all; `guard` refuses texts that are much shorter.
const SENT_BYTES: usize = 1 << 20;

/// Most processes that wait for a query.
const READY: usize = 2;

/// After so long without a query nobody is asking.
const UNASKED: Duration = Duration::from_secs(60);

/// How often, and after how long, a process that has closed its output is looked after before it is killed.
const LAST_BREATH: (u32, Duration) = (100, Duration::from_millis(10));

/// Runs readers' queries, each in a process that runs no other meanwhile.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    program: PathBuf,
    place: Place,
    limits: Limits,
    models: Models,
    spare: Spare,
    ready: Mutex<Vec<Worker>>,
    /// When the last query came.
    asked: Mutex<Instant>,
}

/// When a process waits for a query that nobody has asked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// From the start until the first one.
    First,
    /// From the start on, also after each.
    Always,
    /// After each, for a while: where nobody asks there is none, and its memory is free.
    Asked,
}

impl Workers {
    /// Who answers queries over the store at `place`, within `limits`, in a runtime of tokio.
    ///
    /// `program` is `dkc`: it is started as `dkc --data DATA query-worker`, and calls `worker::serve`.
    pub fn start(
        program: &Path,
        place: impl Into<Place>,
        limits: Limits,
        models: Models,
        spare: Spare,
    ) -> Self {
        let desk = Arc::new(Desk {
            program: program.to_owned(),
            place: place.into(),
            limits,
            models,
            spare,
            ready: Mutex::new(Vec::new()),
            asked: Mutex::new(Instant::now()),
        });
        match spare {
            Spare::First | Spare::Always => desk.make_ready(),
            Spare::Asked => {
                tokio::spawn(end_unasked(Arc::downgrade(&desk)));
            }
        }
        Self(desk)
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
        let request: Arc<str> = request.into();
        let (schema, answer) = loop {
            let mut worker = self.0.take()?;
            let (sender, said) = mpsc::channel(1);
            let Some(pipes) = worker.pipes.take() else {
                return Err(QueryError::NoWorker("it has no input or output".to_owned()));
            };
            let asked = Arc::clone(&request);
            tokio::task::spawn_blocking(move || listen(&asked, pipes, &sender));
            let mut answer = Answer {
                worker: Some(worker),
                said,
                began: Instant::now(),
                left: self.0.limits.time,
                desk: Arc::clone(&self.0),
            };
            match answer.next().await {
                Some(Said::Columns(schema)) => break (schema, answer),
                // One that was never asked before does not say so.
                Some(Said::Leaving) => {}
                Some(Said::Failed(error)) => return Err(error),
                _ => return Err(QueryError::NoWorker("it said nothing of columns".to_owned())),
            }
        };
        let rows = futures::stream::unfold(Some(answer), async |answer| {
            let mut answer = answer?;
            match answer.next().await? {
                Said::Rows(batch) => Some((Ok(batch), Some(answer))),
                Said::Failed(error) => Some((Err(error.within()), None)),
                Said::Columns(_) | Said::Leaving => None,
                Said::Done(pipes) => {
                    answer.give_back(pipes);
                    None
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Ends processes that wait when nobody has asked for a while, as long as there is a desk.
async fn end_unasked(desk: Weak<Desk>) {
    loop {
        tokio::time::sleep(UNASKED).await;
        let Some(desk) = desk.upgrade() else {
            return;
        };
        let asked = *desk.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.elapsed() >= UNASKED {
            desk.ready().clear();
        }
    }
}

impl Desk {
    /// A process that waits for its query.
    fn take(&self) -> Result<Worker, QueryError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        while let Some(mut worker) = self.ready().pop() {
            // It may have been killed while it waited.
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
        self.spawn()
    }

    fn make_ready(&self) {
        let mut ready = self.ready();
        if ready.is_empty() {
            // Where it fails, the next query tries again and says why.
            ready.extend(self.spawn());
        }
    }

    /// Keeps a process for the next query, unless enough wait or its answers took as long as one may: its time on the
    /// processors is limited (`worker::confine`), and what it may have lost of its memory goes with it.
    fn put_back(&self, worker: Worker) {
        let mut ready = self.ready();
        if self.spare != Spare::First && worker.spent < self.limits.time && ready.len() < READY {
            ready.push(worker);
        }
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "queries run in processes apart")]
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
            .env("MALLOC_CONF", ALLOCATOR)
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
        let pipes = child.stdin.take().zip(child.stdout.take());
        let pipes = pipes.map(|(mut input, output)| {
            let _ = writeln!(input, "{postgres}");
            Pipes {
                input,
                output: BufReader::new(output),
            }
        });
        Ok(Worker {
            child,
            pipes,
            spill,
            spent: Duration::ZERO,
        })
    }
}

/// How jemalloc keeps memory for queries: what is free is used again for some seconds, since a query would spend much of
/// its time on faults of pages, and is then given back with its addresses, which are limited.
const ALLOCATOR: &str = "narenas:2,dirty_decay_ms:10000,muzzy_decay_ms:0,background_thread:true,retain:false";

/// A process, and the folder for what does not fit into its memory. Both go with this.
#[derive(Debug)]
struct Worker {
    child: Child,
    /// Absent while an answer is on its way.
    pipes: Option<Pipes>,
    /// How long its answers took.
    spent: Duration,
    #[expect(dead_code, reason = "it is held until it is deleted")]
    spill: TempDir,
}

impl Worker {
    /// Why it ended before its last line.
    async fn cause(&mut self, limits: &Limits) -> QueryError {
        for _ in 0..LAST_BREATH.0 {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    let mut words = Vec::new();
                    if let Some(errors) = self.child.stderr.take() {
                        let _ = errors.take(1 << 12).read_to_end(&mut words);
                    }
                    return QueryError::died(status, &String::from_utf8_lossy(&words), limits);
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

/// What a process is asked by, and what it answers by.
#[derive(Debug)]
struct Pipes {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
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
    /// The answer is whole, and the process waits for the next query.
    Done(Pipes),
    /// The process ends itself.
    Leaving,
    Failed(QueryError),
}

/// Sends a request to a process and passes on what it says, until its last line or its end.
fn listen(request: &str, mut pipes: Pipes, say: &mpsc::Sender<Said>) {
    // A process that is gone has no reader either; that it is gone is seen below.
    let _ = writeln!(pipes.input, "{request}");
    // Without the last line the channel just ends: the process died, and whoever waits finds out how.
    let _ = pass_on(pipes, say);
}

fn pass_on(mut pipes: Pipes, say: &mpsc::Sender<Said>) -> Option<()> {
    match line(&mut pipes.output)? {
        Line::Rows => {}
        Line::Done => return say.blocking_send(Said::Done(pipes)).ok(),
        Line::Leaving => return say.blocking_send(Said::Leaving).ok(),
        Line::Failed(error) => return say.blocking_send(Said::Failed(error)).ok(),
    }
    let rows = StreamReader::try_new(&mut pipes.output, None).ok()?;
    say.blocking_send(Said::Columns(rows.schema())).ok()?;
    for batch in rows {
        say.blocking_send(Said::Rows(batch.ok()?)).ok()?;
    }
    let said = match line(&mut pipes.output)? {
        Line::Failed(error) => Said::Failed(error),
        Line::Done => Said::Done(pipes),
        Line::Rows | Line::Leaving => return None,
    };
    say.blocking_send(said).ok()
}

fn line(output: &mut impl BufRead) -> Option<Line> {
    let mut text = String::new();
    output.read_line(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// An answer on its way. Dropping it kills the process, unless it was given back.
struct Answer {
    worker: Option<Worker>,
    said: mpsc::Receiver<Said>,
    began: Instant,
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
            Ok(None) => {
                let worker = self.worker.as_mut()?;
                Said::Failed(worker.cause(&self.desk.limits).await)
            }
            Err(_) => Said::Failed(QueryError::TooSlow(self.desk.limits.time)),
        })
    }

    /// Leaves the process, which has said its last line, to the next query.
    fn give_back(mut self, pipes: Pipes) {
        if let Some(mut worker) = self.worker.take() {
            worker.pipes = Some(pipes);
            // Also while nobody took what it had.
            worker.spent += self.began.elapsed();
            self.desk.put_back(worker);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.child.kill();
        }
        if self.desk.spare != Spare::First {
            self.desk.make_ready();
        }
    }
}
