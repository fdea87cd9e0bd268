//! Converting in a process of its own: what a hostile document does to its parser, it does to nobody else (F11).
//!
//! - In: originals of an isolated converter. Out: what it makes of them. A document that ends the process, or takes
//!   too long in it, becomes a reject, and the others are converted by the next process.
//! - A process is dkc itself, with limits on memory and time, no environment and no file of the caller open. It
//!   converts one document at a time, and ends when its input does. It speaks through standard input, which is a
//!   socket: parsers print what they please on standard output.

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use schemas::{
    Attributes, Digest, Instant, Original, Provenance, RawItem, Reject, RunId, SourceName, datasets,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use transforms::{Converted, converter_of};

/// Processes at once; each may take [`MEMORY_BYTES`].
const PROCESSES: usize = 2;

/// Address space of a process: a document of 64 MiB, what it unpacks to, and the program.
const MEMORY_BYTES: u64 = 1 << 30;

/// How long one document may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Open files of a process.
const FILES: u64 = 32;

/// The hidden command that [`serve`]s.
pub const COMMAND: &str = "convert-worker";

/// What comes before the bytes of a document.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    source: SourceName,
    run: RunId,
    item: String,
    media_type: String,
    fetched_at: Instant,
    sha256: [u8; 32],
    attributes: Attributes,
    size: usize,
}

/// What comes before the rows: of each table its name and how many bytes they take as an Arrow IPC stream.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    rejects: Vec<(String, String, Option<String>)>,
    tables: Vec<(String, usize)>,
}

/// Converts originals in processes of their own.
pub fn convert_apart(originals: &[RawItem], provenance: &Provenance) -> Converted {
    let queue = Mutex::new(originals.iter());
    let all = Mutex::new(Converted::default());
    std::thread::scope(|scope| {
        for _ in 0..PROCESSES.min(originals.len()) {
            scope.spawn(|| {
                let mut worker = None;
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(original) = next else { break };
                    let converted =
                        ask(&mut worker, original, provenance).unwrap_or_else(|reason| Converted {
                            rows: Vec::new(),
                            rejects: vec![original.reject(reason)],
                        });
                    all.lock().unwrap_or_else(PoisonError::into_inner).add(converted);
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Has one document converted, by a new process where there is none.
fn ask(slot: &mut Option<Worker>, original: &RawItem, provenance: &Provenance) -> Result<Converted, String> {
    let mut worker = match slot.take() {
        Some(worker) => worker,
        None => Worker::start().map_err(|error| format!("no process could be started for it: {error}"))?,
    };
    let Original::Bytes(bytes) = &original.original else {
        return Err("its bytes are not in the lake".to_owned());
    };
    let request = Request {
        source: provenance.source.clone(),
        run: provenance.run.clone(),
        item: original.item.clone(),
        media_type: original.media_type.to_owned(),
        fetched_at: original.fetched_at,
        sha256: original.sha256.0,
        attributes: original.attributes.clone(),
        size: bytes.len(),
    };
    // A process that is gone has no reader either; why it is gone is told below.
    let _ = worker.send(&request, bytes);
    match worker.answers.recv_timeout(PATIENCE) {
        Ok(converted) => {
            *slot = Some(worker);
            Ok(converted)
        }
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("it took its parser longer than {} s", PATIENCE.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => Err(worker.cause()),
    }
}

/// A process that converts.
struct Worker {
    child: Child,
    input: BufWriter<UnixStream>,
    answers: Receiver<Converted>,
    /// Gives the end of what it said on standard error.
    words: Option<JoinHandle<Vec<u8>>>,
}

impl Worker {
    #[expect(
        clippy::disallowed_methods,
        reason = "documents are converted in a process of their own"
    )]
    fn start() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .env_clear()
            // Each arena of glibc reserves address space, of which there is little.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for whoever asked, who then decides.
            .process_group(0)
            .spawn()?;
        let (sender, answers) = channel();
        let output = ours.try_clone()?;
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Ok(converted) = read_answer(&mut output) {
                if sender.send(converted).is_err() {
                    break;
                }
            }
        });
        let errors = child.stderr.take();
        let words = std::thread::spawn(move || errors.map(last_words).unwrap_or_default());
        Ok(Self {
            child,
            input: BufWriter::new(ours),
            answers,
            words: Some(words),
        })
    }

    fn send(&mut self, request: &Request, bytes: &[u8]) -> io::Result<()> {
        serde_json::to_writer(&mut self.input, request)?;
        self.input.write_all(b"\n")?;
        self.input.write_all(bytes)?;
        self.input.flush()
    }

    /// Why it ended.
    fn cause(&mut self) -> String {
        // Its socket is closed, so it is ending; killing it would hide how.
        let status = self.child.wait();
        let words = self
            .words
            .take()
            .and_then(|words| words.join().ok())
            .unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let mut lines = words.lines().map(str::trim);
        // What follows is where it was in the source, and how to find that out.
        let line = lines.find(|line| !line.is_empty() && !line.starts_with("thread '"));
        match (line, status) {
            _ if words.contains("memory allocation of") => {
                format!(
                    "its parser asked for more than {} MiB of memory",
                    MEMORY_BYTES >> 20
                )
            }
            _ if words.contains("overflowed its stack") => {
                "it is nested deeper than its parser can follow".to_owned()
            }
            (Some(line), _) => format!("its parser ended its process: {line}"),
            (None, Ok(status)) => format!("its parser ended its process: {status}"),
            (None, Err(error)) => format!("its parser ended its process: {error}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whoever has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last of what is said, which is all read so that nobody waits for it.
fn last_words(mut errors: impl Read) -> Vec<u8> {
    let (mut words, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read) = errors.read(&mut piece) {
        let Some(said) = piece.get(..read).filter(|said| !said.is_empty()) else {
            break;
        };
        words.extend_from_slice(said);
        words.drain(..words.len().saturating_sub(piece.len()));
    }
    words
}

fn read_answer(output: &mut impl BufRead) -> io::Result<Converted> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line)?;
    let mut converted = Converted::default();
    for (item, reason, raw) in answer.rejects {
        converted.rejects.push(Reject { item, reason, raw });
    }
    for (name, size) in answer.tables {
        let dataset = datasets::by_name(&name).ok_or_else(|| io::Error::other("an unknown dataset"))?;
        let mut bytes = vec![0; size];
        output.read_exact(&mut bytes)?;
        for batch in StreamReader::try_new(bytes.as_slice(), None).map_err(io::Error::other)? {
            converted.rows.push((dataset, batch.map_err(io::Error::other)?));
        }
    }
    Ok(converted)
}

/// Converts the documents that come on standard input, one after the other, until it ends. Answers go back the same way.
///
/// # Errors
/// When limits cannot be set, or whoever asked has gone.
pub fn serve() -> io::Result<()> {
    confine()?;
    // A panic is a reject, and says so there.
    std::panic::set_hook(Box::new(|_| {}));
    let socket = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = BufWriter::new(socket.try_clone()?);
    let mut input = BufReader::new(socket);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        answer(&line, &mut input, &mut output)?;
    }
}

fn answer(line: &str, input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let request: Request = serde_json::from_str(line)?;
    let mut bytes = vec![0; request.size];
    input.read_exact(&mut bytes)?;
    let (converter, media_type) = converter_of(&request.media_type)
        .ok_or_else(|| io::Error::other(format!("no converter takes `{}`", request.media_type)))?;
    let provenance = Provenance {
        source: request.source,
        run: request.run,
    };
    let original = RawItem {
        item: request.item,
        media_type,
        fetched_at: request.fetched_at,
        sha256: Digest(request.sha256),
        original: Original::Bytes(Bytes::from(bytes)),
        attributes: request.attributes,
    };
    let converted = (converter.convert)(&[original], &provenance);
    let mut answer = Answer::default();
    let mut rows = Vec::new();
    for reject in converted.rejects {
        answer.rejects.push((reject.item, reject.reason, reject.raw));
    }
    for (dataset, batch) in converted.rows {
        let begin = rows.len();
        let mut writer = StreamWriter::try_new(&mut rows, batch.schema_ref()).map_err(io::Error::other)?;
        writer.write(&batch).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        drop(writer);
        answer.tables.push((dataset.name.to_owned(), rows.len() - begin));
    }
    serde_json::to_writer(&mut *output, &answer)?;
    output.write_all(b"\n")?;
    output.write_all(&rows)?;
    output.flush()
}

/// Puts limits on this process.
fn confine() -> io::Result<()> {
    let most = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::As, most(MEMORY_BYTES))?;
    setrlimit(Resource::Core, most(0))?;
    // It writes no file.
    setrlimit(Resource::Fsize, most(0))?;
    Ok(setrlimit(Resource::Nofile, most(FILES))?)
}
