//! Models, vectors and words: what a text costs and what a query takes.
//!
//! - Out: a line a figure: what, number, unit, with tabs between.
//! - In: what is to be done, as arguments: `static`, `transformer`, `near`, `words`, `large` measure; all of them if none
//!   is given. `fill`, which `near`, `enlarge` and `peers` need, embeds 60,000 chunks of the corpus, and resumes where it was
//!   stopped; `enlarge`, which `large` needs, makes 500,000 vectors of them, and measures how long their index takes;
//!   `peers` writes what `search_peers.py` reads; `answers` asks the data directory `DKC_BENCH_LAKE`.
//! - The data stay in `DKC_BENCH_SEARCH`, else in `bench-search` of the cache directory.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::logical_expr::{Expr, col, lit};
use lancedb::index::scalar::{FtsQuery, MatchQuery, MultiMatchQuery};
use schemas::{Attributes, Digest, Original, Provenance, RawItem, RunId, SourceName};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::embedder::{DEFAULT_STATIC, DEFAULT_TRANSFORMER, Embedder, ModelStamp};
use store::vectors::chunks::Followed;
use store::vectors::{Chunks, Facts, Hot, Space, Vectors};

mod answers;
mod corpus;
mod near;
mod words;

use corpus::{Mail, mails, pieces};

/// As in `dkc`: memory is a figure.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Chunks, and mails, that a query is asked of.
const MANY: usize = 60_000;

/// Bytes of a chunk, about. So small that the corpus has [`MANY`].
const CHUNK: usize = 170;

/// August 2002, when most of the corpus was written.
const AUGUST: (i64, i64) = (1_028_160_000_000_000, 1_030_838_400_000_000);

/// Who wrote much of it.
const SENDER: &str = "rssfeeds@spamassassin.taint.org";

/// Queries of a measurement.
const QUERIES: usize = 200;

fn main() -> Outcome {
    let chosen: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_chosen = |what: &str| match chosen.is_empty() {
        true => !["answers", "enlarge", "fill", "peers"].contains(&what),
        false => chosen.iter().any(|chosen| chosen == what),
    };
    let bench = Bench::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if is_chosen("static") {
        bench.static_model()?;
    }
    if is_chosen("transformer") {
        bench.transformer()?;
    }
    if is_chosen("fill") {
        runtime.block_on(bench.fill())?;
    }
    if is_chosen("peers") {
        runtime.block_on(bench.peers())?;
    }
    if is_chosen("near") {
        runtime.block_on(bench.near())?;
    }
    if is_chosen("words") {
        runtime.block_on(bench.words())?;
    }
    if is_chosen("answers") {
        runtime.block_on(bench.answers())?;
    }
    if is_chosen("enlarge") {
        runtime.block_on(bench.enlarge())?;
    }
    if is_chosen("large") {
        runtime.block_on(bench.large())?;
    }
    Ok(())
}

fn print(what: &str, number: f64, unit: &str) {
    println!("{what}\t{number:.3}\t{unit}");
}

/// The middle and the 99th of a hundred of what was measured, in milliseconds.
fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let of = |part: usize| {
        times
            .get(times.len() * part / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    print(&format!("{what}, p50"), of(50), "ms");
    print(&format!("{what}, p99"), of(99), "ms");
}

/// Megabytes of memory of this process.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}

struct Bench {
    models: PathBuf,
    data: PathBuf,
    mails: Vec<Mail>,
}

impl Bench {
    fn new() -> Outcome<Self> {
        let path = |name: &str| env::var_os(name).map(PathBuf::from);
        let home = path("HOME").unwrap_or_default();
        let cache = path("DKC_CACHE").unwrap_or_else(|| home.join(".cache/dkc"));
        let models = path("DKC_MODELS").unwrap_or_else(|| cache.join("models"));
        if !models.join(DEFAULT_STATIC).is_dir() {
            store::embedder::distil(&models)?;
        }
        Ok(Self {
            models,
            data: path("DKC_BENCH_SEARCH").unwrap_or_else(|| cache.join("bench-search")),
            mails: mails()?,
        })
    }

    fn open(&self, model: &str, threads: usize) -> Outcome<Embedder> {
        let threads = NonZeroUsize::new(threads).ok_or("no threads")?;
        Ok(Embedder::open(&self.models, model, threads)?)
    }

    /// Pieces of mails: subject, sender, date, text; [`MANY`] of them.
    fn chunks(&self) -> Vec<(&Mail, &str)> {
        let of = |mail| pieces(mail).into_iter().map(move |piece| (mail, piece));
        self.mails.iter().flat_map(of).take(MANY).collect()
    }

    fn static_model(&self) -> Outcome {
        let embedder = self.open(DEFAULT_STATIC, 2)?;
        let texts: Vec<String> = self.chunks().iter().map(|(_, text)| (*text).to_owned()).collect();
        let tokens: usize = texts
            .iter()
            .take(1_000)
            .map(|text| embedder.count_tokens(text))
            .sum();
        print("static model, tokens a chunk", tokens as f64 / 1e3, "tokens");
        let took = benches::fastest(|| embedder.embed(&texts).map(|_| ()))?;
        print(
            "static model",
            texts.len() as f64 / took.as_secs_f64(),
            "chunks/s",
        );
        let query = vec!["invoice from the hosting company last spring".to_owned()];
        let took = benches::fastest(|| embedder.embed(&query).map(|_| ()))?;
        print("static model, a query", took.as_secs_f64() * 1e3, "ms");
        Ok(())
    }

    /// Some chunks from all over the corpus.
    fn some_texts(&self) -> Vec<String> {
        let all = self.chunks();
        all.iter()
            .step_by((all.len() / 300).max(1))
            .map(|(_, text)| (*text).to_owned())
            .collect()
    }

    fn transformer(&self) -> Outcome {
        let texts = self.some_texts();
        for threads in [1, 2] {
            let embedder = self.open(DEFAULT_TRANSFORMER, threads)?;
            let word = |count: usize| vec!["word ".repeat(count); 1];
            for tokens in [32, 128, 256] {
                // Equal texts are computed once, so each begins with a number of its own.
                let texts: Vec<String> = (0..4_096 / tokens)
                    .map(|n| format!("{} {}", 100 + n, word(tokens - 3).concat()))
                    .collect();
                let took = benches::fastest(|| embedder.embed(&texts).map(|_| ()))?;
                let what = format!("transformer, {tokens} tokens, {threads} threads");
                print(&what, texts.len() as f64 / took.as_secs_f64(), "texts/s");
            }
            let took = benches::fastest(|| embedder.embed(&texts).map(|_| ()))?;
            let what = format!("transformer, chunks of mails, {threads} threads");
            print(&what, texts.len() as f64 / took.as_secs_f64(), "texts/s");
        }
        let embedder = self.open(DEFAULT_TRANSFORMER, 1)?;
        let query = vec!["invoice from the hosting company last spring".to_owned()];
        let took = benches::fastest(|| embedder.embed(&query).map(|_| ()))?;
        print("transformer, a query", took.as_secs_f64() * 1e3, "ms");
        print("memory with one transformer", resident(), "MB");
        Ok(())
    }
}
