//! What is measured, as Rust sees it: the mails of the corpus, and the fastest of some rounds.
//!
//! - In: the directory that `DKC_CORPUS` names (`make bench` sets it).
//! - Here: what the targets in `benches/` share. `run.py` measures whole programs, and writes `RESULTS.md`.
//! - Not here: tests; a figure that is too low is `run.py`'s to judge.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, io};

/// Rounds of a measurement. More: steadier figures. Fewer: sooner.
const ROUNDS: usize = 5;

/// Each mail of the corpus as a Maildir would hold it, that is without the mbox separator most begin with.
///
/// # Errors
/// When `DKC_CORPUS` is not set or not readable.
pub fn mails() -> io::Result<Vec<Vec<u8>>> {
    let corpus = env::var_os("DKC_CORPUS").map(PathBuf::from);
    let corpus = corpus.ok_or_else(|| io::Error::other("DKC_CORPUS is not set; run: make bench"))?;
    let mut paths = Vec::new();
    for group in fs::read_dir(corpus)? {
        let group = group?.path();
        if group.is_dir() {
            for file in fs::read_dir(group)? {
                paths.push(file?.path());
            }
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).map(without_separator))
        .collect()
}

fn without_separator(mut mail: Vec<u8>) -> Vec<u8> {
    if mail.starts_with(b"From ") {
        let end = mail
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        mail.drain(..end);
    }
    mail
}

/// The fastest of some rounds: all noise slows down.
///
/// # Errors
/// The first error of a round.
pub fn fastest<E>(mut round: impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        round()?;
        fastest = fastest.min(begin.elapsed());
    }
    Ok(fastest)
}
