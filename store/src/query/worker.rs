//! The process that runs queries one after another, and what it says.
//!
//! - In: a data directory and limits, which it puts on itself before it looks at anything; then, as lines of JSON on
//!   standard input, the address of the Postgres that keeps the tables, or null, and each [`Query`] when the one before
//!   was answered. It ends when its input does, so it cannot outlive whoever asked.
//! - Out, for each query, on standard output: a line that says whether rows follow; the rows as an Arrow IPC stream; a
//!   last line. A stream without the last line was cut, whatever came before.
//! - A part of a plan whose rows nobody wants any more may go on for long (F3). With such a one, or when a query has left
//!   much of its memory behind, it ends itself, and leaves the next query to another process.
//! - Not here: how long it may take. Whoever asked kills it (F3).

use super::{Limits, Query, QueryError, Reader, information};
use crate::database::Place;
use crate::search::Models;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use rustix::process::{Resource, Rlimit, setrlimit};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

/// A line that stands before and after the rows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// Rows follow.
    Rows,
    /// That was all.
    Done,
    /// The query was refused, or broke off.
    Failed(QueryError),
    /// The query before is still at work in this process, or has left too much behind: another one must answer.
    Leaving,
}

/// What stands before the words of a panic.
const ENGINE_BUG: &str = "the engine has a bug there: ";

/// Address space beside the memory of the query: the program itself, stacks, pages of files, rows on their way out.
const BASE_BYTES: u64 = 1280 << 20;

/// How long what is left of a query may take to end, and how often that is looked at.
const ENDING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1));

/// Address space that queries may leave behind: the next one has so much less of [`BASE_BYTES`].
const LEFT_BYTES: u64 = 512 << 20;

/// Whether something panicked, whose words would be taken for those of the next query.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Open files: three databases, and a data file for each thread, whose spilled parts are merged many at once.
const FILES: u64 = 512;

/// Stack of a thread. Deep plans recurse (F1).
const STACK_BYTES: usize = 16 << 20;

/// Threads that read files. Each has a stack.
const BLOCKING_THREADS: usize = 8;

/// Rows go out in pieces of about this size, so that whoever reads them needs no more; a single row may be larger.
const PIECE_BYTES: usize = 4 << 20;

/// Answers the queries that come on standard input.
///
/// # Errors
/// When limits cannot be set or whoever asks has gone.
pub fn serve(data: &Path, spill: PathBuf, limits: Limits, models: Models) -> io::Result<()> {
    confine(&limits)?;
    // Not where in the source it was: whoever asked is shown this.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("it panicked");
        let _ = writeln!(io::stderr(), "{ENGINE_BUG}{words}");
        PANICKED.store(true, Ordering::Relaxed);
    }));
    let (sender, mut receiver) = unbounded_channel();
    let left_behind = spill.clone();
    std::thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        let mut pass_on = || {
            let mut line = String::new();
            input.read_line(&mut line).is_ok_and(|read| read > 0) && sender.send(line).is_ok()
        };
        while pass_on() {}
        // Whoever asked is gone, and cannot clear it away any more.
        let _ = std::fs::remove_dir_all(&left_behind);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(limits.threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    // Not through `io::stdout`, which looks for line ends in everything.
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let data = data.to_owned();
    let answered = runtime.spawn(async move {
        let Some(postgres) = receiver.recv().await else {
            return Ok(());
        };
        let postgres: Option<String> = serde_json::from_str(&postgres)?;
        let place = Place {
            data,
            postgres: postgres.map(SecretString::from),
        };
        let mut kept = Reader::open(place.clone(), limits, spill.clone(), models.clone())
            .await
            .ok();
        if let Some(reader) = &kept
            // One that is asked already gains nothing.
            && receiver.is_empty()
        {
            warm(reader).await;
        }
        let mut out = BufWriter::new(out);
        let own = address_space();
        while let Some(line) = receiver.recv().await {
            let reader = match kept.take() {
                Some(reader) => Ok(reader),
                None => Reader::open(place.clone(), limits, spill.clone(), models.clone()).await,
            };
            let before = Handle::current().metrics().num_alive_tasks();
            let said = match (&reader, serde_json::from_str::<Query>(&line)) {
                (Ok(reader), Ok(query)) => {
                    let said = answer(reader, &query, &limits, &mut out).await?;
                    said.map_err(|error| hiding(error, &reader.places()))
                }
                (Err(error), _) => Err(QueryError::NoWorker(error.to_string())),
                (_, Err(error)) => Err(QueryError::NoWorker(error.to_string())),
            };
            say(&mut out, &said.map_or_else(Line::Failed, |()| Line::Done))?;
            kept = reader.ok();
            if !has_ended(before).await || address_space() > own.saturating_add(LEFT_BYTES) {
                say(&mut out, &Line::Leaving)?;
                // Not by waiting for threads that may not end.
                std::process::exit(0);
            }
        }
        Ok(())
    });
    runtime.block_on(answered).map_err(io::Error::other)?
}

/// Puts limits on this process: no query may take more than it was given, nor leave its memory behind in a file. Of the
/// processors it gets what two may take, since whoever asks leaves it after queries that took as long as one may.
fn confine(limits: &Limits) -> io::Result<()> {
    let both = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let seconds = limits
        .time
        .as_secs()
        .saturating_add(2)
        .saturating_mul(2 * limits.threads as u64);
    setrlimit(
        Resource::As,
        both(BASE_BYTES.saturating_add(limits.memory_bytes as u64)),
    )?;
    // Past the first it gets SIGXCPU, which says why; past the second it is killed.
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(seconds),
            maximum: Some(seconds.saturating_add(1)),
        },
    )?;
    setrlimit(Resource::Core, both(0))?;
    Ok(setrlimit(Resource::Nofile, both(FILES))?)
}

/// What goes through most of the engine and asks the catalog all that it is asked for a table, and reads next to nothing.
const WARMS: &str = "SELECT a, count(*) AS n, sum(b) AS b, min(c) AS c \
                     FROM (SELECT 'x' AS a, 1 AS b, TIMESTAMP '2000-01-01' AS c UNION ALL \
                           SELECT * FROM (SELECT _item, 2, NULL FROM rejects LIMIT 1) AS r) AS t \
                     WHERE a LIKE '%x%' OR b > 0 GROUP BY a ORDER BY n DESC, a LIMIT 1";

/// Whether nothing of a query is at work any more, before which there were so many tasks.
async fn has_ended(before: usize) -> bool {
    let (most, between) = ENDING;
    let ended = timeout(most, async {
        while Handle::current().metrics().num_alive_tasks() > before {
            sleep(between).await;
        }
    });
    ended.await.is_ok() && !PANICKED.load(Ordering::Relaxed)
}

/// Bytes of the address space of this process, where the system tells (proc(5)).
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kibibytes = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes << 10)
}

/// Answers once, so that what is made at first use is there when it matters.
async fn warm(reader: &Reader) {
    // What is wrong with the store is told to whoever asks.
    if let Ok(mut rows) = reader.answer(&Query::from(WARMS)).await {
        while rows.next().await.is_some() {}
    }
}

/// Writes the answer, but for its last line. The outer error says that nobody listens.
async fn answer(
    reader: &Reader,
    query: &Query,
    limits: &Limits,
    out: &mut BufWriter<File>,
) -> io::Result<Result<(), QueryError>> {
    let rows = match reader.answer(query).await {
        Ok(rows) => rows,
        Err(error) => return Ok(Err(error)),
    };
    say(out, &Line::Rows)?;
    let mut writer = StreamWriter::try_new(&mut *out, &rows.schema()).map_err(io::Error::other)?;
    writer.flush().map_err(io::Error::other)?;
    let poured = pour(rows, limits, &mut writer).await?;
    // Its end is written also when it broke off, so that the last line can follow.
    writer.finish().map_err(io::Error::other)?;
    Ok(poured)
}

async fn pour(
    mut rows: SendableRecordBatchStream,
    limits: &Limits,
    writer: &mut StreamWriter<&mut BufWriter<File>>,
) -> io::Result<Result<(), QueryError>> {
    let (mut rows_left, mut bytes_left) = (limits.rows, limits.bytes);
    let schema = rows.schema();
    while let Some(batch) = rows.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = take("rows", limits.rows, &mut rows_left, batch.num_rows()) {
            return Ok(Err(error));
        }
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            let piece = compact(&piece, &schema).map_err(io::Error::other)?;
            let size = size(&piece);
            let half = piece.num_rows() / 2;
            if size > PIECE_BYTES && half > 0 {
                pieces.push(piece.slice(half, piece.num_rows() - half));
                pieces.push(piece.slice(0, half));
                continue;
            }
            if let Err(error) = take("bytes", limits.bytes, &mut bytes_left, size) {
                return Ok(Err(error));
            }
            writer.write(&piece).map_err(io::Error::other)?;
        }
        writer.flush().map_err(io::Error::other)?;
    }
    Ok(Ok(()))
}

/// Takes some of what is left of a limit.
fn take(what: &str, most: Option<u64>, left: &mut Option<u64>, some: usize) -> Result<(), QueryError> {
    let (Some(most), Some(rest)) = (most, *left) else {
        return Ok(());
    };
    match rest.checked_sub(some as u64) {
        Some(rest) => {
            *left = Some(rest);
            Ok(())
        }
        None => Err(QueryError::TooMuch {
            what: what.to_owned(),
            most,
        }),
    }
}

/// A batch whose views hold no bytes that no row shows: they would all be sent.
fn compact(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    });
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &options)
        .or_else(|_| Ok(batch.clone()))
}

/// Bytes of the rows of a batch that [`compact`] gave.
fn size(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View | DataType::BinaryView => column.get_array_memory_size(),
        _ => column
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size()),
    });
    sizes.sum()
}

/// An error without the places of files.
fn hiding(error: QueryError, places: &[String]) -> QueryError {
    match error {
        QueryError::Engine(words) => QueryError::Engine(information::hidden(&words, places)),
        other => other,
    }
}

fn say(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
